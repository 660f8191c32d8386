//! A window of the Run button.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use pid1_sdk::api::output_block_start_event::ExecutionMode;
use pid1_sdk::api::{Hint, Ok as Done, OutputBlockEndEvent, OutputBlockStartEvent, State, command::Body};
use pid1_sdk::process::{
    Cause, Exit, Io, Keep, Process, Signal, StdinError, StopCause, TerminalError, WindowSize,
};
use pid1_sdk::relay::{Piece, skipped_notice};
use pid1_sdk::window::{Sizes, last_lines};
use pid1_sdk::{Channel, Error, Member, Reply, Result, Right, Service, limits, unsupported};
use tokio::sync::oneshot;

use crate::hints::{Looked, Rules};
use crate::limiter::Limiter;
use crate::plan;
use crate::program::Program;
use crate::prompt::{self, PROMPT};
use crate::runner::{self, Runner};
use crate::{Event, INTERPRETER, NOTHING, OUTPUT, SHELL};

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
    /// What is advised about it.
    rules: Arc<Rules>,
    looked: Looked,
    shell: Option<Program>,
    shells: u64,
    respawns: VecDeque<Instant>,
    /// The end of what the members were sent.
    past: String,
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
            rules: Arc::default(),
            looked: Looked::default(),
            shell: None,
            shells: SHELLS,
            respawns: VecDeque::new(),
            past: String::new(),
            sizes: Sizes::default(),
            size: WindowSize::default(),
            limiter: Limiter::new(Instant::now()),
        };
        match main {
            Some(process) => window.find(ch, process, 0),
            None => {
                let mut runs = window.runner.watch();
                if let Some(run) = window.runner.last() {
                    window.rules = run.rules;
                    window.find(ch, run.process, run.number);
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
            Body::ResizeTerm(wanted) if !self.main && from.role().may(Right::Write) => {
                let size = WindowSize::clamped(wanted.rows, wanted.cols);
                let decided = self.sizes.wants(from.session(), size);
                self.resize(decided);
            }
            Body::ResizeTerm(_) => {}
            Body::SaneTerm(_) => self.front()?.sane().map_err(refused)?,
            Body::PtyConfig(config) if !self.main => {
                self.front()?.pipe_mode(config.pipe_mode).map_err(refused)?;
            }
            Body::Input(text) if KIND != OUTPUT => {
                if KIND == SHELL && self.running().is_none() && self.shell.is_none() {
                    self.start_shell(ch)?;
                }
                if !self.main {
                    let decided = self.sizes.typed(from.session());
                    self.resize(decided);
                    self.limiter.typed(Instant::now());
                }
                match ch.type_into(self.front()?.stdin(), text) {
                    Ok(()) => {}
                    Err(StdinError::Closed) => return Err(Error::new("run: the program reads no more")),
                    Err(error) => return Err(Error::new(format!("run: {error}"))),
                }
            }
            Body::RunMain(request) if !self.main => {
                self.press_run(ch, request.file_path);
                return Ok(Reply::Later);
            }
            Body::Clear(_) if !self.main => {
                self.past.clear();
                match self.running() {
                    Some(_) => self.runner.stop(),
                    None => {
                        self.runner.stop();
                        ch.broadcast(Body::State(State::Stopped.into()));
                    }
                }
            }
            other => return unsupported(&other),
        }
        Ok(Reply::None)
    }

    async fn attach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        let runs = self.program.as_ref().is_some_and(Program::runs);
        if KIND == OUTPUT && runs {
            ch.send(member.session(), begin());
        }
        if !self.past.is_empty() {
            ch.send(member.session(), Body::Output(last_lines("", &self.past)));
        }
        let state = if runs { State::Running } else { State::Stopped };
        ch.send(member.session(), Body::State(state.into()));
    }

    async fn detach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        let decided = self.sizes.forget(member.session());
        self.resize(decided);
        if self.shell.is_none() {
            ch.close_if_empty();
        }
    }

    fn idle(&self) -> bool {
        self.shell.is_none()
    }

    async fn event(&mut self, ch: &mut Channel<Event>, event: Event) {
        match event {
            Event::Run => self.show_run(ch),
            Event::GoOn => self.limiter.go_on(),
            Event::Refused(why) => self.print_line(ch, &why),
            Event::Program { number, piece: Piece::Text { text, pace, .. } } => {
                if self.program.as_ref().is_some_and(|program| program.number == number) {
                    for hint in self.looked.at(&self.rules, &text) {
                        ch.broadcast(Body::Hint(Hint { text: hint }));
                    }
                }
                let wait = self.limiter.sent(text.len(), Instant::now());
                self.print(ch, text);
                if let Some(wait) = wait.filter(|_| !self.main) {
                    self.limiter.hold(pace, || ch.after(wait, Event::GoOn));
                }
            }
            Event::Program { piece: Piece::CaughtUp(session), .. } => {
                if let Some(skipped_bytes) = ch.resume_terminal(session) {
                    ch.send(session, skipped_notice(skipped_bytes));
                    ch.send(session, Body::Output(last_lines("", &self.past)));
                    // A full-screen program draws itself anew; where there is none, nothing is lost.
                    let _ = self.front().map(|process| process.signal_foreground(Signal::SIGWINCH));
                }
            }
            Event::Program { number, piece: Piece::Settled } => self.settled(ch, number),
            Event::Program { piece: Piece::End, .. } => {}
        }
    }

    async fn close(&mut self, _ch: &mut Channel<Event>) {
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

    /// Starts the program, or that file; other commands wait as long.
    fn press_run(&self, ch: &mut Channel<Event>, file: String) {
        let (engine, runner, size) = (ch.engine().clone(), self.runner.clone(), self.size);
        let (ticket, events) = (ch.ticket(), ch.events());
        let (done, started) = oneshot::channel::<()>();
        ch.spawn(async move {
            let _done = done;
            let planned = engine.clone();
            let plan = move || plan::plan(&planned, KIND == INTERPRETER, Some(file.as_str()));
            let plan = engine.runtimes().file_work(plan).await;
            let plan = plan.unwrap_or_else(|| Err(Error::new("run: the agent is ending")));
            match plan.and_then(|plan| runner.start(&engine, size, plan)) {
                Ok(()) => ticket.answer(Body::Ok(Done {})),
                Err(error) => {
                    // Also for who did not ask for an answer.
                    let _ = events.send(Event::Refused(error.to_string())).await;
                    ticket.fail(error);
                }
            }
        });
        ch.hold_commands(async move {
            let _ = started.await;
        });
    }

    /// Shows what is there already.
    fn find(&mut self, ch: &Channel<Event>, process: Process, number: u64) {
        let over = process.try_exit().is_some();
        let (program, past) = Program::found(ch, process, number);
        self.past = past;
        self.program = Some(if over && !self.main { program.over() } else { program });
    }

    fn show_run(&mut self, ch: &mut Channel<Event>) {
        let Some(run) = self.runner.last() else { return };
        if self.program.as_ref().is_some_and(|shown| shown.number >= run.number) {
            return;
        }
        ch.broadcast(Body::State(State::Running.into()));
        if KIND == OUTPUT {
            ch.broadcast(begin());
        }
        if KIND == SHELL {
            // Behind the prompt, as if it had been typed there.
            self.print(ch, format!("{}\r\n", run.line));
        }
        (self.rules, self.looked) = (run.rules, Looked::default());
        self.program = Some(Program::new(ch, run.process, run.number));
    }

    fn settled(&mut self, ch: &mut Channel<Event>, number: u64) {
        if let Some(program) = self.program.as_mut().filter(|program| program.number == number) {
            if program.settled()
                && let Some(exit) = program.process.try_exit()
            {
                self.ended(ch, exit);
            }
        } else if self.shell.as_ref().is_some_and(|shell| shell.number == number) {
            self.shell_exited(ch);
        }
    }

    /// The run has ended, and all of it is shown.
    fn ended(&mut self, ch: &mut Channel<Event>, exit: Exit) {
        let asked_for = matches!(exit.cause, Cause::Stopped(_));
        if !exit.success() && !asked_for && !self.main {
            for hint in self.looked.at_end(&self.rules, &self.past) {
                ch.broadcast(Body::Hint(Hint { text: hint }));
            }
            self.print_line(ch, &exit.text());
        }
        if KIND == OUTPUT {
            ch.broadcast(Body::ExitCodeEvent(exit.shell_code()));
            let measure_end_time = Some(SystemTime::now().into());
            let end = OutputBlockEndEvent { exit_code: exit.shell_code(), measure_end_time };
            ch.broadcast(Body::OutputBlockEndEvent(end));
        }
        ch.broadcast(Body::State(State::Stopped.into()));
        if KIND == SHELL && self.shell.is_some() {
            self.print(ch, PROMPT.to_owned());
        }
    }

    fn start_shell(&mut self, ch: &Channel<Event>) -> Result<()> {
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
        let now = Instant::now();
        self.respawns.retain(|then| now.duration_since(*then) < limits::RESPAWN_WINDOW);
        // Otherwise when somebody types. Nothing is started for those who only look on.
        if self.respawns.len() < limits::RESPAWNS && ch.audience().has_writer() {
            self.respawns.push_back(now);
            if let Err(error) = self.start_shell(ch) {
                self.print_line(ch, &error.to_string());
            }
        }
    }

    fn resize(&mut self, decided: Option<WindowSize>) {
        let Some(size) = decided else { return };
        self.size = size;
        // Without a terminal that is open, there is nothing to resize.
        let programs =
            self.running().into_iter().chain(self.shell.as_ref().map(|shell| shell.process.clone()));
        programs.for_each(|process| drop(process.resize(size)));
    }

    fn print(&mut self, ch: &Channel<Event>, text: String) {
        self.past += &text;
        if self.past.len() > 2 * limits::SCROLLBACK_BYTES {
            self.past = last_lines("", &self.past);
        }
        ch.send_terminal(text);
    }

    /// A line of its own.
    fn print_line(&mut self, ch: &Channel<Event>, line: &str) {
        let begins = self.past.is_empty() || self.past.ends_with('\n');
        self.print(ch, format!("{}{line}\r\n", if begins { "" } else { "\r\n" }));
    }
}

fn begin() -> Body {
    let measure_start_time = Some(SystemTime::now().into());
    let execution_mode = ExecutionMode::Run.into();
    Body::OutputBlockStartEvent(OutputBlockStartEvent {
        execution_mode,
        measure_start_time,
        cgroup: String::new(),
    })
}

fn refused(error: TerminalError) -> Error {
    Error::new(format!("run: {error}"))
}
