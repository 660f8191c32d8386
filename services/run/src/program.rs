//! A program as a window shows it: its streams, relayed to the window's members.

use pid1_sdk::process::{OutputLog, Process, Stream};
use pid1_sdk::relay::{Policy, relay};
use pid1_sdk::{Channel, limits};

use crate::Event;

/// One program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) process: Process,
    /// Told apart by this in what its relays report.
    pub(crate) number: u64,
    /// Streams that have not been shown to the program's end.
    unsettled: usize,
}

impl Program {
    /// One that begins here: all of it is shown.
    pub(crate) fn new(ch: &Channel<Event>, process: Process, number: u64) -> Program {
        Program::from(ch, process, number, |_| 0)
    }

    /// One that is there already, and the end of what it has printed, standard output first.
    pub(crate) fn found(ch: &Channel<Event>, process: Process, number: u64) -> (Program, String) {
        let mut past = String::new();
        let program = Program::from(ch, process, number, |log| {
            let end = log.end_offset();
            let (_, tail) = log.tail(end, limits::SCROLLBACK_LINES, limits::SCROLLBACK_BYTES);
            past += &String::from_utf8_lossy(&tail);
            end
        });
        (program, past)
    }

    fn from(
        ch: &Channel<Event>,
        process: Process,
        number: u64,
        mut offset: impl FnMut(&OutputLog) -> u64,
    ) -> Program {
        let mut unsettled = 0;
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(log) = process.output(stream) {
                unsettled += 1;
                let from = offset(log);
                relay(ch, log, from, Policy::Terminal, move |piece| Event::Program { number, piece });
            }
        }
        Program { process, number, unsettled }
    }

    /// One of its streams has been shown up to the program's end: whether that was the last.
    pub(crate) fn settled(&mut self) -> bool {
        self.unsettled > 0 && {
            self.unsettled -= 1;
            self.unsettled == 0
        }
    }

    /// It had ended, and was shown, before this window was there.
    pub(crate) fn over(self) -> Program {
        Program { unsettled: 0, ..self }
    }

    /// Whether there is more to show of it.
    pub(crate) fn runs(&self) -> bool {
        self.unsettled > 0
    }
}
