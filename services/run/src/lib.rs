//! The `run` service: watches the main command, what the container is there for.
//!
//! The channel is the one named `main`. Out: `output`, what the command prints on both of its streams; `state` Running to
//! who comes, Stopped when it has exited. In: `input`, what it reads; `saneTerm`. A newcomer is shown the end of what was
//! there before it (1,000 lines or 256 KiB of each stream, standard output first).
//!
//! **Window size.** On a terminal, the command has the size of the one that the container was started on: `resizeTerm`
//! is answered and changes nothing.
//!
//! What it deliberately does not do yet: start anything. Other names, `runMain` and `clear` are refused.
#![warn(missing_docs)]

use pid1_sdk::api::{State, command::Body};
use pid1_sdk::process::{OutputLog, Process, Stream};
use pid1_sdk::relay::{Piece, Policy, relay, skipped_notice};
use pid1_sdk::{Channel, Error, Member, Reply, Result, Right, Service, limits, unsupported};

/// The name of the channel.
const MAIN: &str = "main";

/// The main command and what of it has been shown.
#[derive(Debug)]
pub struct Run {
    process: Process,
    streams: Vec<Watched>,
    exited: bool,
}

#[derive(Debug)]
struct Watched {
    log: OutputLog,
    /// Up to here the members have been sent it.
    shown: u64,
}

/// What the relay of a stream reports, with the stream's number.
#[derive(Debug)]
pub struct Event(usize, Piece);

impl Service for Run {
    type Event = Event;
    // It starts nothing.
    const OPEN_NEEDS: Right = Right::Read;

    fn needs(body: &Body) -> Right {
        // It changes nothing here, and every client with a window sends it.
        if matches!(body, Body::ResizeTerm(_)) { Right::Read } else { Right::Write }
    }

    async fn open(ch: &mut Channel<Event>) -> Result<Self> {
        let process = ch.engine().main_command().filter(|_| ch.name() == Some(MAIN));
        let process = process.ok_or_else(|| {
            Error::new(
                "run: there is only the channel named main, if the agent was started with a command \
                 (pid1 serve -- CMD)",
            )
        })?;
        let logs = [Stream::Stdout, Stream::Stderr].into_iter();
        let logs = logs.filter_map(|stream| process.output(stream).cloned());
        let streams: Vec<Watched> = logs.map(|log| Watched { shown: log.end_offset(), log }).collect();
        for (number, stream) in streams.iter().enumerate() {
            relay(ch, &stream.log, stream.shown, Policy::Terminal, move |piece| Event(number, piece));
        }
        let exited = process.try_exit().is_some();
        Ok(Run { process, streams, exited })
    }

    async fn command(&mut self, ch: &mut Channel<Event>, _from: &Member, body: Body) -> Result<Reply> {
        match body {
            Body::Input(text) => {
                let stdin = self.process.stdin();
                stdin.push(text.into()).map_err(|error| Error::new(format!("run: {error}")))?;
                if stdin.queued_bytes() > limits::STDIN_HOLD_BYTES {
                    // Whoever types more waits until the command reads; nothing typed is lost.
                    ch.hold_commands(stdin.room());
                }
            }
            Body::ResizeTerm(_) => {}
            Body::SaneTerm(_) => {
                self.process.sane().map_err(|error| Error::new(format!("run: {error}")))?;
            }
            other => return unsupported(&other),
        }
        Ok(Reply::None)
    }

    async fn attach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        let past = self.past();
        if !past.is_empty() {
            ch.send(member.session(), Body::Output(past));
        }
        let state = if self.exited { State::Stopped } else { State::Running };
        ch.send(member.session(), Body::State(state.into()));
    }

    async fn detach(&mut self, ch: &mut Channel<Event>, _member: &Member) {
        ch.close_if_empty();
    }

    async fn event(&mut self, ch: &mut Channel<Event>, Event(number, piece): Event) {
        match piece {
            Piece::Text { text, end, .. } => {
                if let Some(stream) = self.streams.get_mut(number) {
                    stream.shown = end;
                }
                ch.send_terminal(text);
            }
            Piece::CaughtUp(session) => {
                if let Some(skipped_bytes) = ch.resume_terminal(session) {
                    ch.send(session, skipped_notice(skipped_bytes));
                    ch.send(session, Body::Output(self.past()));
                }
            }
            Piece::Settled if !self.exited => {
                self.exited = true;
                ch.broadcast(Body::State(State::Stopped.into()));
            }
            Piece::Settled | Piece::End => {}
        }
    }
}

impl Run {
    /// What a newcomer is shown: the last lines of what the others have been sent.
    fn past(&self) -> String {
        let tail = |stream: &Watched| {
            let (_, tail) = stream.log.tail(stream.shown, limits::SCROLLBACK_LINES, limits::SCROLLBACK_BYTES);
            String::from_utf8_lossy(&tail).into_owned()
        };
        self.streams.iter().map(tail).collect()
    }
}
