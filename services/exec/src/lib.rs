//! The `exec` service: programs without a terminal, one at a time, in the order in which they were asked for.
//!
//! In: `exec`, `input` (to the running program's stdin), `inputClose` (its end). Out, for each run: `state Running`,
//! `output` (and `stderr`, if the request splits it off), then to the sender, with its `ref`, `ok` for exit status 0
//! or `error "exit status N"`, then `state Stopped`. Requests queue whether or not they say `blocking`: newer clients
//! say so in another field.
//!
//! The answer comes when the program itself has exited and all that it wrote is sent. What it left running may go
//! on printing; it is ended with the channel, like the program itself and everything that they started.
//!
//! Output is text: bytes that are not UTF-8 become U+FFFD. Byte-exact work goes through `process`.
#![warn(missing_docs)]

use std::collections::VecDeque;
use std::ffi::OsString;

use pid1_sdk::api::{Exec as Request, Ok as Done, State, command::Body};
use pid1_sdk::process::{Io, Keep, Process, StdinError, StopCause, Stream};
use pid1_sdk::relay::{Piece, Policy, relay};
use pid1_sdk::{Channel, Error, Member, Reply, Result, Service, Ticket, limits, unsupported};

/// The queue of one channel and what runs.
#[derive(Debug, Default)]
pub struct Exec {
    waiting: VecDeque<(Request, Ticket)>,
    waiting_bytes: usize,
    running: Option<Run>,
    /// Finished programs that left something running.
    left: Vec<Process>,
    runs: u64,
}

#[derive(Debug)]
struct Run {
    number: u64,
    process: Process,
    ticket: Ticket,
    /// Streams that have not been shown to the program's end.
    unsettled: usize,
}

/// What the relays of a run report.
#[derive(Debug)]
pub struct Event {
    run: u64,
    stream: Stream,
    piece: Piece,
}

impl Service for Exec {
    type Event = Event;

    async fn open(_ch: &mut Channel<Event>) -> Result<Self> {
        Ok(Exec::default())
    }

    async fn command(&mut self, ch: &mut Channel<Event>, _from: &Member, body: Body) -> Result<Reply> {
        match body {
            Body::Exec(request) => {
                if request.args.is_empty() {
                    return Err(Error::new("exec: args is empty: nothing to run"));
                }
                if self.waiting.len() >= limits::EXEC_QUEUE {
                    return Err(Error::new(format!("exec: {} runs are waiting already", limits::EXEC_QUEUE)));
                }
                let size_bytes = size_bytes(&request);
                if size_bytes + self.waiting_bytes > limits::EXEC_QUEUE_BYTES {
                    return Err(Error::new(format!(
                        "exec: {size_bytes} bytes of arguments and environment are too much, with {} bytes waiting",
                        self.waiting_bytes
                    )));
                }
                self.waiting_bytes += size_bytes;
                self.waiting.push_back((request, ch.ticket()));
                self.start_next(ch);
                Ok(Reply::Later)
            }
            Body::Input(text) => {
                match ch.type_into(self.running()?.process.stdin(), text) {
                    // A program that has closed its stdin wants no more, as `head` does: that is no failure.
                    Ok(()) | Err(StdinError::Closed) => Ok(Reply::None),
                    Err(error) => Err(Error::new(format!("exec: {error}"))),
                }
            }
            Body::InputClose(_) => {
                self.running()?.process.stdin().close();
                Ok(Reply::None)
            }
            other => unsupported(&other),
        }
    }

    fn idle(&self) -> bool {
        self.running.is_none() && self.left.is_empty()
    }

    async fn event(&mut self, ch: &mut Channel<Event>, event: Event) {
        match event.piece {
            Piece::Text { text, .. } if event.stream == Stream::Stderr => ch.broadcast(Body::Stderr(text)),
            Piece::Text { text, .. } => ch.broadcast(Body::Output(text)),
            Piece::Settled => self.settled(ch, event.run).await,
            Piece::End | Piece::CaughtUp(_) => {}
        }
    }

    async fn close(&mut self, _ch: &mut Channel<Event>) {
        for process in self.running.iter().map(|run| &run.process).chain(&self.left) {
            process.stop(StopCause::Closed);
        }
    }
}

impl Exec {
    fn running(&self) -> Result<&Run> {
        self.running.as_ref().ok_or_else(|| Error::new("exec: nothing is running on this channel"))
    }

    /// Starts what waits, until something runs: what cannot start is answered at once.
    fn start_next(&mut self, ch: &mut Channel<Event>) {
        while self.running.is_none() {
            let Some((request, ticket)) = self.waiting.pop_front() else { return };
            self.waiting_bytes -= size_bytes(&request);
            ch.broadcast(Body::State(State::Running.into()));
            match self.start(ch, request) {
                Ok((process, unsettled)) => {
                    self.running = Some(Run { number: self.runs, process, ticket, unsettled });
                }
                Err(error) => {
                    ticket.fail(error);
                    ch.broadcast(Body::State(State::Stopped.into()));
                }
            }
        }
    }

    fn start(&mut self, ch: &Channel<Event>, request: Request) -> Result<(Process, usize)> {
        let args = request.args.into_iter().map(OsString::from).collect();
        let env = request.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let io = Io::Pipes { split_stderr: request.split_stderr };
        let process = ch.engine().processes().start(ch.engine().spec(args, env, io, Keep::Tail))?;
        self.runs += 1;
        let run = self.runs;
        let mut streams = 0;
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(log) = process.output(stream) {
                streams += 1;
                relay(ch, log, 0, Policy::Lossless, move |piece| Event { run, stream, piece });
            }
        }
        Ok((process, streams))
    }

    /// One stream of the running program has been shown up to the program's end; with the last, it is answered.
    async fn settled(&mut self, ch: &mut Channel<Event>, run: u64) {
        let Some(running) = self.running.as_mut().filter(|running| running.number == run) else { return };
        running.unsettled -= 1;
        if running.unsettled > 0 {
            return;
        }
        if let Some(Run { process, ticket, .. }) = self.running.take() {
            match process.try_exit() {
                Some(exit) if exit.success() => ticket.answer(Body::Ok(Done {})),
                Some(exit) => ticket.fail(Error::new(exit.text())),
                None => ticket.fail(Error::new("the program's exit status is not known")),
            }
            ch.broadcast(Body::State(State::Stopped.into()));
            self.left.push(process);
            for process in std::mem::take(&mut self.left) {
                if process.left_anything().await {
                    self.left.push(process);
                }
            }
        }
        self.start_next(ch);
    }
}

fn size_bytes(request: &Request) -> usize {
    let env = request.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    // Each also costs its place in a list.
    let places = 32 * (request.args.len() + request.env.len());
    request.args.iter().map(String::len).sum::<usize>() + env + places
}
