//! What is made from the command line's own description: completions and the manual page.

use std::io::{self, Write as _};

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Flags of `pid1 completions`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell: `pid1 completions bash > /etc/bash_completion.d/pid1`
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pid1", &mut script);
    print(&script)
}

/// One page with all subcommands: `pid1 man | man -l -`.
pub(super) fn man() -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let whole = clap_mangen::Man::new(command.clone());
    whole.render(&mut page)?;
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        writeln!(page, ".SH \"PID1 {}\"", verb.get_name().to_uppercase())?;
        let man = clap_mangen::Man::new(verb.clone());
        man.render_description_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        if verb.get_name() != "serve" {
            man.render_options_section(&mut page)?;
        }
    }
    print(&page)
}

fn print(bytes: &[u8]) -> Result<()> {
    io::stdout().write_all(bytes).context("cannot write to stdout")
}
