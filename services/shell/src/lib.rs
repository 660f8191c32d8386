//! The `shell` service: one terminal, shared by every member of the channel.
//!
//! In: `input`, `resizeTerm`, `saneTerm`, `PTYConfig`. Out: `output`; `state` when the shell stays down and when it
//! is up again. A newcomer is shown the end of what was there before it (1,000 lines or 256 KiB).
//!
//! **Window size.** Each member may have a window of its own size, a terminal has one. *The last to type wins*: the
//! terminal has the size of the member who typed last; the size of anybody else is remembered and used as soon as
//! that member types. So looking on with a phone does not reflow the laptop where the work happens.
//!
//! **Life.** A shell that exits while members are attached who may type is started again, at most 3 times in 10 s, then when
//! somebody types. One that exits with nobody attached ends its channel. A named shell that runs with nobody
//! attached is kept as long as the operator says. Programs in the background survive an `exit` as they do in any
//! terminal; they are ended with the channel.
//!
//! `input` and `output` are text: bytes that are not UTF-8 become U+FFFD. Byte-exact work goes through `process`.
#![warn(missing_docs)]

mod screen;

use pid1_sdk::api::{State, command::Body};
use pid1_sdk::channel::Timer;
use pid1_sdk::process::{Process, StdinError, StopCause, TerminalError, WindowSize};
use pid1_sdk::relay::Piece;
use pid1_sdk::window::{Respawns, Sizes};
use pid1_sdk::{Bytes, Channel, Error, Member, Reply, Result, Service, limits, unsupported};

use screen::Screen;

/// One terminal and the shell in it.
#[derive(Debug)]
pub struct Shell {
    screen: Screen,
    /// Earlier shells that left programs running in the background.
    earlier: Vec<Process>,
    /// The shell has exited and was not started again.
    down: bool,
    /// Typed between the exit of one shell and the start of the next.
    ahead: Vec<u8>,
    sizes: Sizes,
    /// When it was last started by itself.
    respawns: Respawns,
    /// Runs while nobody is attached, if shells are not kept for ever.
    vacancy: Option<Timer>,
}

/// What the shell's own tasks report.
#[derive(Debug)]
pub enum Event {
    /// Something of the terminal of the given life.
    Terminal(u64, Piece),
    /// Nobody has been attached for as long as a shell is kept.
    Abandoned,
}

impl Service for Shell {
    type Event = Event;

    async fn open(ch: &mut Channel<Event>) -> Result<Self> {
        let screen = Screen::start(ch, WindowSize::default(), None)?;
        Ok(Shell {
            screen,
            earlier: Vec::new(),
            down: false,
            ahead: Vec::new(),
            sizes: Sizes::default(),
            respawns: Respawns::default(),
            vacancy: None,
        })
    }

    async fn command(&mut self, ch: &mut Channel<Event>, from: &Member, body: Body) -> Result<Reply> {
        match body {
            Body::Input(text) => {
                if self.down {
                    self.restart(ch).await?;
                    ch.broadcast(Body::State(State::Running.into()));
                }
                if let Some(size) = self.sizes.typed(from.session()) {
                    self.screen.resize(size);
                }
                self.type_in(ch, text.into())?;
            }
            Body::ResizeTerm(wanted) => {
                let size = WindowSize::clamped(wanted.rows, wanted.cols);
                if let Some(size) = self.sizes.wants(from.session(), size) {
                    self.screen.resize(size);
                }
            }
            Body::SaneTerm(_) => self.screen.process().sane().map_err(refused)?,
            Body::PtyConfig(config) => self.screen.process().pipe_mode(config.pipe_mode).map_err(refused)?,
            other => return unsupported(&other),
        }
        Ok(Reply::None)
    }

    async fn attach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        self.vacancy = None;
        let past = self.screen.past();
        if !past.is_empty() {
            ch.send(member.session(), Body::Output(past));
        }
        if self.down {
            ch.send(member.session(), Body::State(State::Stopped.into()));
        }
    }

    async fn detach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        if let Some(size) = self.sizes.forget(member.session()) {
            self.screen.resize(size);
        }
        if !ch.audience().is_empty() {
            return;
        }
        if self.down {
            ch.close_if_empty();
        } else if let Some(keep) = ch.engine().keep_shells() {
            self.vacancy = Some(ch.after(keep, Event::Abandoned));
        }
    }

    async fn event(&mut self, ch: &mut Channel<Event>, event: Event) {
        match event {
            Event::Terminal(life, piece) if life == self.screen.life() => self.terminal(ch, piece).await,
            // A program left in the background by an earlier shell still prints: the terminal is the same to people.
            Event::Terminal(_, Piece::Text { text, .. }) => ch.send_terminal(text),
            Event::Terminal(_, Piece::CaughtUp(session)) => self.screen.bring_back(ch, session),
            Event::Terminal(_, Piece::Settled | Piece::End) => {}
            Event::Abandoned if self.vacancy.is_some() => {
                ch.close_if_empty();
            }
            // Somebody came back while this was on its way.
            Event::Abandoned => {}
        }
    }

    async fn close(&mut self, _ch: &mut Channel<Event>) {
        for process in self.earlier.iter().chain([self.screen.process()]) {
            process.stop(StopCause::Closed);
        }
    }
}

impl Shell {
    fn type_in(&mut self, ch: &mut Channel<Event>, typed: Bytes) -> Result<()> {
        let stdin = self.screen.process().stdin();
        match ch.type_into(stdin, typed.clone()) {
            Ok(()) => Ok(()),
            // The shell has just exited: its successor gets it.
            Err(StdinError::Closed) if self.ahead.len() + typed.len() <= limits::STDIN_BUFFER_BYTES => {
                self.ahead.extend_from_slice(&typed);
                Ok(())
            }
            Err(error) => Err(Error::new(format!("the shell takes no input: {error}"))),
        }
    }

    async fn terminal(&mut self, ch: &mut Channel<Event>, piece: Piece) {
        match piece {
            Piece::Text { text, end, .. } => {
                self.screen.shown(end);
                ch.send_terminal(text);
            }
            Piece::CaughtUp(session) => self.screen.bring_back(ch, session),
            Piece::Settled => self.exited(ch).await,
            Piece::End => {}
        }
    }

    /// The shell has exited and everything it wrote is shown.
    async fn exited(&mut self, ch: &mut Channel<Event>) {
        if ch.audience().is_empty() && ch.close_if_empty() {
            return;
        }
        if self.respawns.again(ch.audience()) {
            match self.restart(ch).await {
                Ok(()) => return,
                Err(error) => ch.broadcast(Body::Output(format!("\r\n{error}\r\n"))),
            }
        }
        self.down = true;
        ch.broadcast(Body::State(State::Stopped.into()));
    }

    async fn restart(&mut self, ch: &mut Channel<Event>) -> Result<()> {
        let next = Screen::start(ch, self.screen.size(), Some(&self.screen))?;
        self.earlier.push(std::mem::replace(&mut self.screen, next).into_process());
        for process in std::mem::take(&mut self.earlier) {
            if process.left_anything().await {
                self.earlier.push(process);
            }
        }
        self.down = false;
        let ahead = std::mem::take(&mut self.ahead);
        if !ahead.is_empty() { self.type_in(ch, ahead.into()) } else { Ok(()) }
    }
}

fn refused(error: TerminalError) -> Error {
    Error::new(format!("shell: {error}"))
}
