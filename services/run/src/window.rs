//! A window of the Run button: what its members may send, and what they get for it. What it shows is in [`show`].

mod show;

use std::sync::Arc;
use std::time::Instant;

use pid1_sdk::api::{Ok as Done, RunMain, State, command::Body};
use pid1_sdk::process::{Process, Signal, StdinError, StopCause, TerminalError, WindowSize};
use pid1_sdk::relay::{Piece, skipped_notice};
use pid1_sdk::window::{Respawns, Sizes, last_lines};
use pid1_sdk::{Channel, Error, Member, Reply, Result, Right, Service, SessionId, limits, unsupported};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::limiter::Limiter;
use crate::plan;
use crate::program::Program;
use crate::prompt::PROMPT;
use crate::runner::{self, Runner};
use crate::{Event, INTERPRETER, NOTHING, OUTPUT, SHELL, Told};
use show::Next;

/// The name of the main command's channel.
const MAIN: &str = "main";

/// Shells of a window have numbers of their own.
const SHELLS: u64 = 1 << 63;

/// A window of the kind `KIND`.
#[derive(Debug)]
pub struct Window<const KIND: u8> {
    runner: Arc<Runner>,
    /// It shows the main command, and nothing else.
    main: bool,
    /// The run that is shown, or the main command.
    program: Option<Program>,
    /// The run that is shown when that one's end has been.
    next: Option<Next>,
    shell: Option<Program>,
    shells: u64,
    respawns: Respawns,
    /// The end of what the members were sent.
    past: String,
    /// Of the window's own shell; those of the run are in [`Runner`].
    sizes: Sizes,
    size: WindowSize,
    limiter: Limiter,
}

impl<const KIND: u8> Service for Window<KIND> {
    type Event = Event;
    // Only a shell is started before anybody asks for something.
    const OPEN_NEEDS: Right = if KIND == SHELL { Right::Write } else { Right::Read };

    fn needs(body: &Body) -> Right {
        // Every client with a window sends it; a viewer's changes nothing.
        if matches!(body, Body::ResizeTerm(_)) { Right::Read } else { Right::Write }
    }

    async fn open(ch: &mut Channel<Event>) -> Result<Self> {
        let main = ch.engine().main_command().filter(|_| KIND == NOTHING && ch.name() == Some(MAIN));
        let mut window = Window {
            runner: ch.engine().shared::<Runner>(),
            main: main.is_some(),
            program: None,
            next: None,
            shell: None,
            shells: SHELLS,
            respawns: Respawns::default(),
            past: String::new(),
            sizes: Sizes::default(),
            size: WindowSize::default(),
            limiter: Limiter::new(Instant::now()),
        };
        match main {
            Some(process) => {
                let (program, past) = Program::found(ch, process, 0);
                (window.program, window.past) = (Some(program), past);
            }
            None => {
                window.runner.company().add(ch.audience());
                let mut runs = window.runner.watch();
                if let Some(run) = window.runner.last() {
                    window.find(ch, run);
                }
                let events = ch.events();
                ch.spawn(async move {
                    while runs.changed().await.is_ok() && events.send(Event::Run).await.is_ok() {}
                });
            }
        }
        if KIND == SHELL {
            window.start_shell(ch)?;
        }
        Ok(window)
    }

    async fn command(&mut self, ch: &mut Channel<Event>, from: &Member, body: Body) -> Result<Reply> {
        match body {
            Body::ResizeTerm(wanted) if self.sizes_of(from) => {
                let size = WindowSize::clamped(wanted.rows, wanted.cols);
                self.runner.size(|sizes| sizes.wants((ch.id(), from.session()), size));
                let decided = self.sizes.wants(from.session(), size);
                self.resize_shell(decided);
            }
            Body::ResizeTerm(_) => {}
            Body::SaneTerm(_) => self.on_terminal(Process::sane)?,
            Body::PtyConfig(config) if !self.main => {
                // A window that says what is so anyway does not undo what the program has set.
                if self.runner.set_pipe_mode(config.pipe_mode) {
                    self.on_terminal(|process| process.pipe_mode(config.pipe_mode))?;
                }
            }
            Body::Input(text) if KIND != OUTPUT => {
                if KIND == SHELL && self.running().is_none() && self.shell.is_none() {
                    self.start_shell(ch)?;
                }
                if !self.main {
                    self.typed(ch, from.session());
                    self.limiter.typed(Instant::now());
                }
                match ch.type_into(self.front()?.stdin(), text) {
                    Ok(()) => {}
                    Err(StdinError::Closed) => return Err(Error::new("run: the program reads no more")),
                    Err(error) => return Err(Error::new(format!("run: {error}"))),
                }
            }
            Body::RunMain(request) if !self.main => {
                if self.running().is_none() && self.sizes_of(from) {
                    self.typed(ch, from.session());
                }
                self.press_run(ch, request);
                return Ok(Reply::Later);
            }
            Body::Clear(_) if !self.main => {
                // A newcomer is to see that the shell waits.
                let waits = KIND == SHELL && self.shell.is_some() && self.running().is_none();
                self.past = if waits { PROMPT.to_owned() } else { String::new() };
                let idle = self.running().is_none() && self.shows_nothing();
                let run = self.runner.stop();
                if idle {
                    let events = ch.events();
                    ch.spawn(async move {
                        if let Some(run) = run {
                            run.process.stopped().await;
                        }
                        let _ = events.send(Event::Idle).await;
                    });
                }
            }
            other => return unsupported(&other),
        }
        Ok(Reply::None)
    }

    async fn attach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        let running = self.program.as_ref().filter(|program| program.runs());
        if let Some(program) = running.filter(|_| KIND == OUTPUT) {
            ch.send(member.session(), show::begin(&program.process));
        }
        if !self.past.is_empty() {
            ch.send(member.session(), Body::Output(last_lines("", &self.past)));
        }
        let state = if running.is_some() { State::Running } else { State::Stopped };
        ch.send(member.session(), Body::State(state.into()));
    }

    async fn detach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        self.runner.size(|sizes| sizes.forget((ch.id(), member.session())));
        let decided = self.sizes.forget(member.session());
        self.resize_shell(decided);
        if self.shell.is_none() {
            ch.close_if_empty();
        }
    }

    fn idle(&self) -> bool {
        self.shell.is_none()
    }

    async fn event(&mut self, ch: &mut Channel<Event>, event: Event) {
        match event {
            Event::Run => self.run_began(ch),
            Event::GoOn => self.limiter.go_on(),
            Event::Idle => {
                if self.shows_nothing() {
                    ch.broadcast(Body::State(State::Stopped.into()));
                }
            }
            Event::Refused { why, hints } => {
                self.print_line(ch, &why);
                hints.into_iter().for_each(|text| ch.broadcast(show::hint(text)));
                // Who has shown that it starts learns that it has not.
                if self.shows_nothing() {
                    ch.broadcast(Body::State(State::Stopped.into()));
                }
            }
            Event::Of { told: Told::Piece(Piece::CaughtUp(session)), .. } => {
                if let Some(skipped_bytes) = ch.resume_terminal(session) {
                    ch.send(session, skipped_notice(skipped_bytes));
                    ch.send(session, Body::Output(last_lines("", &self.past)));
                    // A full-screen program draws itself anew; where there is none, nothing is lost.
                    let _ = self.front().map(|process| process.signal_foreground(Signal::SIGWINCH));
                }
            }
            Event::Of { number, told } => self.told(ch, number, told),
        }
    }

    async fn close(&mut self, ch: &mut Channel<Event>) {
        for member in ch.audience().members() {
            self.runner.size(|sizes| sizes.forget((ch.id(), member.session())));
        }
        if let Some(shell) = &self.shell {
            shell.process.stop(StopCause::Closed);
        }
    }
}

impl<const KIND: u8> Window<KIND> {
    /// The run, while it goes on; also before it is shown.
    fn running(&self) -> Option<Process> {
        Some(self.runner.last().filter(runner::Run::goes_on)?.process)
    }

    /// What is typed into.
    fn front(&self) -> Result<Process> {
        let program = match &self.program {
            Some(main) if self.main => Some(main.process.clone()),
            _ => self.running().or_else(|| Some(self.shell.as_ref()?.process.clone())),
        };
        program.ok_or_else(|| Error::new("run: nothing is running: press Run (runMain) first"))
    }

    /// Does something to the terminal of what is typed into. Where there is none, there is nothing to do.
    fn on_terminal(&self, work: impl FnOnce(&Process) -> Result<(), TerminalError>) -> Result<()> {
        match self.front().map(|process| work(&process)) {
            Err(_) | Ok(Ok(()) | Err(TerminalError::Closed)) => Ok(()),
            Ok(Err(error)) => Err(Error::new(format!("run: {error}"))),
        }
    }

    /// Starts the program, or that file; other commands wait as long, but not for an earlier run that takes its time to end.
    fn press_run(&self, ch: &mut Channel<Event>, asked: RunMain) {
        let (engine, runner, press) = (ch.engine().clone(), self.runner.clone(), self.runner.press());
        let (ticket, events) = (ch.ticket(), ch.events());
        let (done, started) = oneshot::channel::<()>();
        ch.spawn(async move {
            let _done = done;
            let planned = engine.clone();
            let plan = move || plan::plan(&planned, KIND == INTERPRETER, &asked);
            match runner.start(&engine, press, plan).await {
                Ok(()) => ticket.answer(Body::Ok(Done {})),
                Err(runner::Refused { error, hints }) => {
                    // Also for who did not ask for an answer.
                    let _ = events.send(Event::Refused { why: error.to_string(), hints }).await;
                    ticket.fail(error);
                }
            }
        });
        ch.hold_commands(async move {
            let _ = timeout(limits::RUN_HOLD, started).await;
        });
    }

    /// Whether `from` has a say in the size of what runs.
    fn sizes_of(&self, from: &Member) -> bool {
        !self.main && KIND != OUTPUT && from.role().may(Right::Write)
    }

    fn typed(&mut self, ch: &Channel<Event>, who: SessionId) {
        self.runner.size(|sizes| sizes.typed((ch.id(), who)));
        let decided = self.sizes.typed(who);
        self.resize_shell(decided);
    }

    fn resize_shell(&mut self, decided: Option<WindowSize>) {
        let Some(size) = decided else { return };
        self.size = size;
        // Without a terminal that is open, there is nothing to resize.
        let _ = self.shell.as_ref().map(|shell| shell.process.resize(size));
    }
}
