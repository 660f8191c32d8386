//! What is made from the command line's own description: completions and the manual page.

use std::io::{self, Write as _};

use anyhow::{Context, Result};
use clap::{Args, Command, CommandFactory};
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
    for verb in command.get_subcommands() {
        describe(verb, "PID1", &mut page)?;
    }
    print(&page)
}

/// A section for `verb` and one for each of its own verbs.
fn describe(verb: &Command, above: &str, page: &mut Vec<u8>) -> Result<()> {
    if verb.get_name() == "help" {
        return Ok(());
    }
    let title = format!("{above} {}", verb.get_name().to_uppercase());
    writeln!(page, ".SH \"{title}\"")?;
    let man = clap_mangen::Man::new(verb.clone());
    man.render_description_section(page)?;
    man.render_synopsis_section(page)?;
    // Those of `serve` stand at the top: without a verb it is meant.
    if verb.get_name() != "serve" && !verb.has_subcommands() {
        man.render_options_section(page)?;
    }
    verb.get_subcommands().try_for_each(|next| describe(next, &title, page))
}

fn print(bytes: &[u8]) -> Result<()> {
    io::stdout().write_all(bytes).context("cannot write to stdout")
}
