//! What a window shows: one run after the other, each from its begin to its end, and between them the shell.
//!
//! The next run may begin before a window has shown the end of the earlier one. It is heard, but what it prints is held back
//! until then, and so is the program. Of several that come and go meanwhile the window shows the last one, and nothing of
//! the others.

use std::time::{Instant, SystemTime};

use pid1_sdk::api::output_block_start_event::ExecutionMode;
use pid1_sdk::api::{Hint, OutputBlockEndEvent, OutputBlockStartEvent, State, command::Body};
use pid1_sdk::process::{Exit, Io, Keep, Process};
use pid1_sdk::relay::Piece;
use pid1_sdk::window::last_lines;
use pid1_sdk::{Channel, Result, limits};

use super::{SHELLS, Window};
use crate::follow::failed;
use crate::program::Program;
use crate::prompt::{self, PROMPT};
use crate::runner::Run;
use crate::{Event, OUTPUT, SHELL, Told};

/// A run that is shown later.
#[derive(Debug)]
pub(super) struct Next {
    program: Program,
    line: String,
    /// What was told of it. Few: its relay reads two pieces ahead, and its hints are counted.
    told: Vec<Told>,
}

impl<const KIND: u8> Window<KIND> {
    /// Shows what is there already.
    pub(super) fn find(&mut self, ch: &Channel<Event>, run: Run) {
        let (process, shown) = (run.process.clone(), run.cleared.is_none());
        let (program, past) = Program::found_run(ch, run, self.runner.company().clone());
        self.past = past;
        // Asked afterwards: what is over by now has ended.
        if let Some(exit) = process.try_exit().filter(|exit| shown && !program.runs() && failed(*exit)) {
            self.past += &self.own_line(&exit.text());
        }
        self.program = Some(program);
    }

    /// Whether no run is shown, nor will be before there is another.
    pub(super) fn shows_nothing(&self) -> bool {
        !self.program.as_ref().is_some_and(Program::runs) && self.next.is_none()
    }

    /// There is another run.
    pub(super) fn run_began(&mut self, ch: &mut Channel<Event>) {
        let Some(run) = self.runner.last() else { return };
        let known = self.next.as_ref().map(|next| &next.program).or(self.program.as_ref());
        if known.is_some_and(|program| program.number >= run.number) {
            return;
        }
        let line = run.line.clone();
        self.next = Some(Next {
            program: Program::run(ch, run, self.runner.company().clone()),
            line,
            told: Vec::new(),
        });
        self.show_next(ch);
    }

    /// Shows the next run, if there is one and nothing more comes from the one before.
    fn show_next(&mut self, ch: &mut Channel<Event>) {
        if self.program.as_ref().is_some_and(|shown| !shown.ended()) {
            return;
        }
        let Some(Next { program, line, told }) = self.next.take() else { return };
        ch.broadcast(Body::State(State::Running.into()));
        if KIND == OUTPUT {
            ch.broadcast(begin(&program.process));
        }
        if KIND == SHELL {
            // Behind the prompt, as if it had been typed there.
            self.print(ch, format!("{line}\r\n"));
        }
        let number = program.number;
        self.program = Some(program);
        for told in told {
            self.told(ch, number, told);
        }
    }

    /// Something of a program, which is shown if its turn is now.
    pub(super) fn told(&mut self, ch: &mut Channel<Event>, number: u64, told: Told) {
        let is = |program: &Program| program.number == number;
        if let Some(program) = self.program.as_mut().filter(|program| is(program)) {
            let over = program.is_over_with(&told);
            let exit = program.process.try_exit().filter(|_| over);
            self.show(ch, told);
            if let Some(exit) = exit {
                self.ended(ch, exit);
            }
            self.show_next(ch);
        } else if let Some(next) = self.next.as_mut().filter(|next| is(&next.program)) {
            next.told.push(told);
        } else if self.shell.as_ref().is_some_and(is) && matches!(told, Told::Piece(Piece::Settled)) {
            self.shell_exited(ch);
        } else if number >= SHELLS {
            // Also of an earlier shell's background: the terminal is the same to people.
            self.show(ch, told);
        }
    }

    fn show(&mut self, ch: &mut Channel<Event>, told: Told) {
        match told {
            Told::Piece(Piece::Text { text, pace, .. }) => {
                let wait = self.limiter.sent(text.len(), Instant::now());
                self.print(ch, text);
                if let Some(wait) = wait.filter(|_| !self.main) {
                    self.limiter.hold(pace, || ch.after(wait, Event::GoOn));
                }
            }
            Told::Hint(text) => ch.broadcast(hint(text)),
            Told::Piece(_) | Told::Over => {}
        }
    }

    /// The run has ended, and all of it is shown.
    fn ended(&mut self, ch: &mut Channel<Event>, exit: Exit) {
        if failed(exit) && !self.main {
            self.print_line(ch, &exit.text());
        }
        if KIND == OUTPUT {
            ch.broadcast(Body::ExitCodeEvent(exit.shell_code()));
            let measure_end_time = Some(SystemTime::now().into());
            let end = OutputBlockEndEvent { exit_code: exit.shell_code(), measure_end_time };
            ch.broadcast(Body::OutputBlockEndEvent(end));
        }
        ch.broadcast(Body::State(State::Stopped.into()));
        if KIND == SHELL {
            match self.shell {
                Some(_) => self.print(ch, PROMPT.to_owned()),
                // It has ended meanwhile. A new one shows its prompt itself, behind the last run.
                None if self.next.is_none() => _ = self.respawn(ch),
                None => {}
            }
        }
    }

    pub(super) fn start_shell(&mut self, ch: &Channel<Event>) -> Result<()> {
        let engine = ch.engine();
        let (args, env) = prompt::command(engine.shell()?, engine.workspace().scratch(), ch.id())?;
        let spec = engine.spec(args, env, Io::Terminal(self.size), Keep::Tail);
        let process = engine.processes().start(spec)?;
        self.shells += 1;
        self.shell = Some(Program::new(ch, process, self.shells));
        Ok(())
    }

    fn shell_exited(&mut self, ch: &mut Channel<Event>) {
        self.shell = None;
        if ch.audience().is_empty() && ch.close_if_empty() {
            return;
        }
        // The prompt of another would stand in the middle of a run, and be taken for its end.
        if self.shows_nothing() && !self.respawn(ch) {
            ch.broadcast(Body::State(State::Stopped.into()));
        }
    }

    /// Starts a shell in the place of one that has ended, unless that is in vain.
    fn respawn(&mut self, ch: &mut Channel<Event>) -> bool {
        if !self.respawns.again(ch.audience()) {
            return false;
        }
        match self.start_shell(ch) {
            Ok(()) => true,
            Err(error) => {
                self.print_line(ch, &error.to_string());
                false
            }
        }
    }

    fn print(&mut self, ch: &Channel<Event>, text: String) {
        self.past += &text;
        if self.past.len() > 2 * limits::SCROLLBACK_BYTES {
            self.past = last_lines("", &self.past);
        }
        ch.send_terminal(text);
    }

    /// A line of its own.
    pub(super) fn print_line(&mut self, ch: &Channel<Event>, line: &str) {
        self.print(ch, self.own_line(line));
    }

    /// What puts `line` behind what is there, on a line of its own.
    fn own_line(&self, line: &str) -> String {
        let begins = self.past.is_empty() || self.past.ends_with('\n');
        format!("{}{line}\r\n", if begins { "" } else { "\r\n" })
    }
}

pub(super) fn begin(process: &Process) -> Body {
    Body::OutputBlockStartEvent(OutputBlockStartEvent {
        execution_mode: ExecutionMode::Run.into(),
        measure_start_time: Some(process.started().into()),
        cgroup: String::new(),
    })
}

pub(super) fn hint(text: String) -> Body {
    Body::Hint(Hint { text })
}
