//! One life of the terminal: the shell's process, what of it has been shown, and the past before it.

use pid1_sdk::process::{Io, Keep, Process, Signal, WindowSize};
use pid1_sdk::relay::{Policy, relay, skipped_notice};
use pid1_sdk::window::last_lines;
use pid1_sdk::{Channel, Result, SessionId, api::command::Body, limits};

use super::Event;

/// A running (or exited) shell on its terminal.
#[derive(Debug)]
pub(crate) struct Screen {
    process: Process,
    size: WindowSize,
    life: u64,
    /// Up to here the members have been sent the log.
    shown: u64,
    /// The end of what earlier lives showed.
    before: String,
}

impl Screen {
    /// Starts a shell; its past is that of `earlier`.
    pub(crate) fn start(ch: &Channel<Event>, size: WindowSize, earlier: Option<&Screen>) -> Result<Screen> {
        let engine = ch.engine();
        let spec = engine.spec(vec![engine.shell()?], Vec::new(), Io::Terminal(size), Keep::Tail);
        let process = engine.processes().start(spec)?;
        let life = earlier.map_or(0, |earlier| earlier.life + 1);
        relay(ch, process.stdout(), 0, Policy::Terminal, move |piece| Event::Terminal(life, piece));
        Ok(Screen { process, size, life, shown: 0, before: earlier.map(Screen::past).unwrap_or_default() })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn into_process(self) -> Process {
        self.process
    }

    /// Changes the window; an exited shell's successor gets it.
    pub(crate) fn resize(&mut self, size: WindowSize) {
        self.size = size;
        let _ = self.process.resize(size);
    }

    pub(crate) fn size(&self) -> WindowSize {
        self.size
    }

    pub(crate) fn life(&self) -> u64 {
        self.life
    }

    /// The members have been sent everything up to this offset.
    pub(crate) fn shown(&mut self, end: u64) {
        self.shown = end;
    }

    /// What a newcomer is shown: the last lines of what the others have been sent.
    pub(crate) fn past(&self) -> String {
        let (_, tail) =
            self.process.stdout().tail(self.shown, limits::SCROLLBACK_LINES, limits::SCROLLBACK_BYTES);
        let tail = String::from_utf8_lossy(&tail);
        if self.before.is_empty() { tail.into_owned() } else { last_lines(&self.before, &tail) }
    }

    /// A member that was skipped has caught up: it is told, shown the past, and the program in front redraws.
    pub(crate) fn bring_back(&self, ch: &Channel<Event>, session: SessionId) {
        if let Some(skipped_bytes) = ch.resume_terminal(session) {
            ch.send(session, skipped_notice(skipped_bytes));
            ch.send(session, Body::Output(self.past()));
            // A full-screen program draws itself anew; where there is none, nothing is lost.
            let _ = self.process.signal_foreground(Signal::SIGWINCH);
        }
    }
}
