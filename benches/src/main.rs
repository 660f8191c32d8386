//! The speed table: the real agent beside the bare limit of the same machine, in the same run.
//!
//! `cargo run --release -p pid1-benches [-- ROW...]`. See `README.md` for what each row means. What it deliberately
//! does not do: fail when a target is missed. It measures; people judge.

mod agent;
mod bare;
mod client;
mod frames;
mod grpc;
mod machine;
mod members;
mod metrics;
mod plot;
mod pty;
mod router;
mod rows;
mod setup;
mod shell;
mod skim;
mod stand_in;
mod table;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;

use setup::Setup;

/// Measures the agent beside the bare limit and prints the table.
#[derive(Parser)]
struct Args {
    /// Families of rows to run [default: all]
    #[arg(value_name = "ROW")]
    rows: Vec<String>,

    /// Rounds of each row; ours and the limit take turns within each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Small sizes and two rounds: to see that it works, not how fast
    #[arg(long)]
    quick: bool,

    /// Put the table into this file, between its marker comments, and the pictures into `plots/` beside it; only with
    /// all rows and no --quick
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "benches/README.md")]
    write: Option<PathBuf>,

    /// Put only the pictures of these rows into this folder
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "benches/plots")]
    plots: Option<PathBuf>,
}

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|first| first == stand_in::WORD) {
        return stand_in::run(&words.collect::<Vec<OsString>>());
    }
    let args = Args::parse();
    let chosen = rows::choose(&args.rows)?;
    if args.write.is_some() && (args.quick || !args.rows.is_empty()) {
        bail!("--write is for whole, full runs: the table must not mix days or sizes");
    }
    if args.plots.is_some() && args.quick {
        bail!("--plots is for full runs: pictures of small sizes tell nothing");
    }
    let setup = Setup::new(args.rounds, args.quick)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}\n", table::heading(&setup)?)?;
    writeln!(out, "{}", table::COLUMNS)?;
    let (mut lines, mut plots) = (Vec::new(), Vec::new());
    for family in chosen {
        let report = (family.run)(&setup)?;
        for row in report.rows {
            let line = row.line();
            writeln!(out, "{line}")?;
            lines.push(line);
        }
        plots.extend(report.plots);
    }
    let beside = args.write.as_ref().map(|path| path.with_file_name("plots"));
    for folder in beside.iter().chain(&args.plots) {
        for plot in &plots {
            plot.write(folder)?;
        }
    }
    if let Some(path) = args.write {
        table::write(&path, &table::heading(&setup)?, &lines)?;
        writeln!(out, "\nwritten to {}", path.display())?;
    }
    Ok(())
}
