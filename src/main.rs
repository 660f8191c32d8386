//! The binary: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    pid1::cli::main()
}
