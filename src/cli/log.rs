//! The agent's own log: lines on stderr, written by a thread of its own.
//!
//! A container's log is a pipe that somebody reads, or not. Where nobody does, lines are lost once the queue is full; the
//! agent does not wait.

use std::io::{self, IsTerminal, Write};

use anyhow::{Result, anyhow};
use rustix::termios::{OutputModes, tcgetattr};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::config::{LogArgs, LogFormat};

/// Lines that wait for a reader; some 100 bytes each.
const QUEUED_LINES: usize = 16 << 10;

/// What is queued is written, if it can be, when this is dropped.
pub(super) type Log = WorkerGuard;

/// Begins to log.
pub(super) fn begin(args: &LogArgs) -> Result<Log> {
    // Not the filter that knows patterns for fields: it brings an engine for regular expressions.
    let filter: Targets =
        args.log.parse().map_err(|error| anyhow!("cannot use --log {}: {error}", args.log))?;
    let (queue, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUED_LINES)
        .thread_name("pid1-log")
        .finish(Stderr);
    let (filtered, lines) = (tracing_subscriber::registry().with(filter), fmt::layer().with_writer(queue));
    match args.log_format {
        LogFormat::Pretty => {
            filtered.with(lines.with_ansi(io::stderr().is_terminal()).with_target(false)).init();
        }
        LogFormat::Json => filtered.with(lines.json().with_ansi(false)).init(),
    }
    Ok(guard)
}

/// Stderr; its lines begin at the left also on a terminal that is raw because the main command has it.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let raw = tcgetattr(rustix::stdio::stderr())
            .is_ok_and(|modes| !modes.output_modes.contains(OutputModes::OPOST));
        if !raw {
            return io::stderr().write(lines);
        }
        let mut text = Vec::with_capacity(lines.len() + 8);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            if line.ends_with(b"\n") {
                text.extend_from_slice(b"\r\n");
            }
        }
        io::stderr().write_all(&text)?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
