//! A program as a window shows it: its streams, relayed to the window's members, and for a run what is told of it.

use std::sync::Arc;

use pid1_sdk::channel::Company;
use pid1_sdk::process::{OutputLog, Process, Stream};
use pid1_sdk::relay::{Piece, Policy, relay};
use pid1_sdk::{Channel, limits};

use crate::runner::Run;
use crate::{Event, Told};

/// One program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) process: Process,
    /// Told apart by this in what its relays report.
    pub(crate) number: u64,
    /// What has not been shown to the program's end: streams, and for a run that it is over.
    unsettled: usize,
    /// Streams from which more may come.
    open: usize,
}

impl Program {
    /// One that begins here: all of it is shown.
    pub(crate) fn new(ch: &Channel<Event>, process: Process, number: u64) -> Program {
        Program::from(ch, process, number, Policy::Terminal, |_| 0)
    }

    /// A run that begins here, shown in all windows of `company`.
    pub(crate) fn run(ch: &Channel<Event>, run: Run, company: Arc<Company>) -> Program {
        let policy = Policy::Company(company);
        Program::from(ch, run.process.clone(), run.number, policy, |_| 0).hears(ch, run, 0)
    }

    /// One that is there already, and the end of what it has printed, standard output first.
    pub(crate) fn found(ch: &Channel<Event>, process: Process, number: u64) -> (Program, String) {
        Program::found_from(ch, process, number, Policy::Terminal, 0)
    }

    /// The same of a run, as far as newcomers are shown it.
    pub(crate) fn found_run(ch: &Channel<Event>, run: Run, company: Arc<Company>) -> (Program, String) {
        let (over, heard) = {
            let news = run.news.borrow();
            (news.over, news.hints.len())
        };
        let (policy, cleared) = (Policy::Company(company), run.cleared.unwrap_or_default());
        let (program, past) = Program::found_from(ch, run.process.clone(), run.number, policy, cleared);
        let program = if over { Program { unsettled: 0, ..program } } else { program };
        (if over { program } else { program.hears(ch, run, heard) }, past)
    }

    fn found_from(
        ch: &Channel<Event>,
        process: Process,
        number: u64,
        policy: Policy,
        cleared: u64,
    ) -> (Program, String) {
        let mut past = String::new();
        let program = Program::from(ch, process, number, policy, |log| {
            let end = log.end_offset();
            let (from, tail) = log.tail(end, limits::SCROLLBACK_LINES, limits::SCROLLBACK_BYTES);
            let hidden = usize::try_from(cleared.saturating_sub(from)).unwrap_or(usize::MAX);
            past += &String::from_utf8_lossy(tail.get(hidden..).unwrap_or_default());
            end
        });
        (program, past)
    }

    fn from(
        ch: &Channel<Event>,
        process: Process,
        number: u64,
        policy: Policy,
        mut offset: impl FnMut(&OutputLog) -> u64,
    ) -> Program {
        let mut streams = 0;
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(log) = process.output(stream) {
                streams += 1;
                let from = offset(log);
                let wrap = move |piece| Event::Of { number, told: Told::Piece(piece) };
                relay(ch, log, from, policy.clone(), wrap);
            }
        }
        Program { process, number, unsettled: streams, open: streams }
    }

    /// What is told of the run reaches the window, too, but for as many hints.
    fn hears(self, ch: &Channel<Event>, run: Run, mut heard: usize) -> Program {
        let (events, number, mut news) = (ch.events(), run.number, run.news);
        ch.spawn(async move {
            let (mut over, mut more) = (false, true);
            while more {
                let told = {
                    let news = news.borrow_and_update();
                    let hints = news.hints[heard..].iter().cloned().map(Told::Hint);
                    let end = (news.over && !over).then_some(Told::Over);
                    let told: Vec<Told> = hints.chain(end).collect();
                    (heard, over) = (news.hints.len(), news.over);
                    told
                };
                for told in told {
                    if events.send(Event::Of { number, told }).await.is_err() {
                        return;
                    }
                }
                more = news.changed().await.is_ok();
            }
        });
        Program { unsettled: self.unsettled + 1, ..self }
    }

    /// Something of it is handled now. Whether with that all of it has been shown, up to its end.
    pub(crate) fn is_over_with(&mut self, told: &Told) -> bool {
        match told {
            Told::Piece(Piece::Settled) | Told::Over if self.unsettled > 0 => {
                self.unsettled -= 1;
                self.unsettled == 0
            }
            Told::Piece(Piece::End) => {
                self.open = self.open.saturating_sub(1);
                false
            }
            _ => false,
        }
    }

    /// Whether it has not been shown to its end.
    pub(crate) fn runs(&self) -> bool {
        self.unsettled > 0
    }

    /// Whether nothing more comes from it.
    pub(crate) fn ended(&self) -> bool {
        self.unsettled == 0 && self.open == 0
    }
}
