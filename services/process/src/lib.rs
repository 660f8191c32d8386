//! The `process` service: programs byte for byte, resumable, with their exact end. Not part of the published
//! protocol; its messages are 2000 and up in `api.proto`.
//!
//! A channel has one program: started here by `processStart`, or found by `processAttach`. All positions are byte
//! offsets since the program's start, in both directions. A client that lost its connection attaches to the named
//! channel again, says how far it had read, sends its input again from what was last taken, and nothing is lost or
//! doubled. `processGap` says so where the past is no longer kept.
//!
//! The program waits for the members who started it or attached to it here; whoever looks on from another channel
//! (`processAttach` with a target) never slows it down and sees gaps instead.
//!
//! An anonymous channel's program ends with its client. A named channel's program is kept for `keepSeconds` (60 if
//! not given) after its last member has left, and so is its end, for whoever comes back to ask.

mod feed;

use std::ffi::OsString;
use std::time::Duration;

use pid1_sdk::api::{
    ProcessAttach, ProcessInfo, ProcessListResult, ProcessStart, ProcessStarted, ProcessStdin,
    ProcessStdinTaken, ResizeTerm, command::Body, process_attach::Target,
};
use pid1_sdk::channel::Timer;
use pid1_sdk::process::{Io, Keep, Process, ProcessId, Signal, StopCause, WindowSize};
use pid1_sdk::{Channel, Error, Member, Reply, Result, Right, Service, SessionId, unsupported};

use feed::{Feed, Position};

/// How long a program outlives its last member if `keepSeconds` is not given: time to come back from a lost
/// connection.
const KEEP: Duration = Duration::from_secs(60);

/// The program of one channel.
#[derive(Debug, Default)]
pub struct Programs {
    bound: Option<Bound>,
    feeds: Vec<(SessionId, Feed)>,
    /// Runs while nobody is attached.
    vacancy: Option<Timer>,
}

#[derive(Debug)]
struct Bound {
    process: Process,
    /// Whether this channel started it, and so ends it.
    own: bool,
    /// Bytes of input taken from members who count them.
    stdin_taken: u64,
    keep: Duration,
}

/// Nobody has been attached for as long as the program is kept.
#[derive(Debug)]
pub struct Abandoned;

impl Service for Programs {
    type Event = Abandoned;

    async fn open(_ch: &mut Channel<Abandoned>) -> Result<Self> {
        Ok(Programs::default())
    }

    fn needs(body: &Body) -> Right {
        match body {
            // A program of this channel: whoever may join may look.
            Body::ProcessAttach(ProcessAttach { target: None, .. }) => Right::Read,
            // Other people's programs.
            Body::ProcessAttach(_) | Body::ProcessList(_) => Right::Own,
            _ => Right::Write,
        }
    }

    async fn command(&mut self, ch: &mut Channel<Abandoned>, from: &Member, body: Body) -> Result<Reply> {
        match body {
            Body::ProcessStart(request) => self.start(ch, from, request),
            Body::ProcessAttach(request) => self.attach_to(ch, from, request),
            Body::ProcessStdin(input) => self.type_in(ch, input),
            Body::ProcessSignal(request) => {
                let signal = Signal::try_from(request.signal)
                    .map_err(|_| Error::new(format!("process: there is no signal {}", request.signal)))?;
                let process = self.process()?;
                let sent = if process.terminal() {
                    process.signal_foreground(signal)
                } else {
                    process.signal(signal)
                };
                sent.map_err(|error| Error::new(format!("process: {error}")))?;
                Ok(Reply::None)
            }
            Body::ResizeTerm(wanted) => {
                let size = WindowSize::clamped(wanted.rows, wanted.cols);
                self.process()?.resize(size).map_err(|error| Error::new(format!("process: {error}")))?;
                Ok(Reply::None)
            }
            Body::ProcessList(_) => {
                let processes = ch.engine().processes().list().iter().map(info).collect();
                Ok(Reply::now(Body::ProcessListResult(ProcessListResult { processes })))
            }
            other => unsupported(&other),
        }
    }

    async fn attach(&mut self, _ch: &mut Channel<Abandoned>, _member: &Member) {
        self.vacancy = None;
    }

    async fn detach(&mut self, ch: &mut Channel<Abandoned>, member: &Member) {
        self.feeds.retain(|(session, _)| *session != member.session());
        if ch.audience().is_empty() {
            let keep = self.bound.as_ref().map_or(Duration::ZERO, |bound| bound.keep);
            self.vacancy = Some(ch.after(keep, Abandoned));
        }
    }

    async fn event(&mut self, ch: &mut Channel<Abandoned>, Abandoned: Abandoned) {
        // Unless somebody came back while this was on its way.
        if self.vacancy.is_some() {
            ch.close_if_empty();
        }
    }

    async fn close(&mut self, _ch: &mut Channel<Abandoned>) {
        if let Some(Bound { process, own: true, .. }) = &self.bound {
            process.stop(StopCause::Closed);
        }
    }
}

impl Programs {
    fn process(&self) -> Result<&Process> {
        let bound = self.bound.as_ref().ok_or_else(nothing_here)?;
        Ok(&bound.process)
    }

    fn start(&mut self, ch: &mut Channel<Abandoned>, from: &Member, request: ProcessStart) -> Result<Reply> {
        self.must_be_free()?;
        if request.args.is_empty() {
            return Err(Error::new("process: args is empty: nothing to run"));
        }
        let args = request.args.into_iter().map(OsString::from).collect();
        let env = request.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let io = match request.terminal {
            Some(size) => Io::Terminal(WindowSize::clamped(size.rows, size.cols)),
            None => Io::Pipes { split_stderr: true },
        };
        let mut spec = ch.engine().spec(args, env, io, Keep::Replay);
        if !request.cwd.is_empty() {
            // Relative to the workspace; an absolute one stands as it is: a program may start anywhere.
            spec.cwd = ch.engine().root().join(request.cwd);
        }
        let process = ch.engine().processes().start(spec)?;
        let keep = match request.keep_seconds {
            0 => KEEP,
            seconds => Duration::from_secs(seconds.into()),
        };
        self.bind(ch, from, Bound { process, own: true, stdin_taken: 0, keep }, Position::default())
    }

    fn attach_to(
        &mut self,
        ch: &mut Channel<Abandoned>,
        from: &Member,
        request: ProcessAttach,
    ) -> Result<Reply> {
        let position = Position { stdout: request.stdout_from, stderr: request.stderr_from };
        let Some(target) = request.target else {
            return self.feed(ch, from, position);
        };
        self.must_be_free()?;
        let table = ch.engine().processes();
        let found = match target {
            Target::Id(id) => table.by_id(ProcessId(id)),
            Target::Pid(pid) => table.by_pid(pid),
        };
        let process = found.ok_or_else(|| {
            let wanted = match target {
                Target::Id(id) => format!("id {id}"),
                Target::Pid(pid) => format!("pid {pid}"),
            };
            Error::new(format!(
                "process: no program with {wanted} was started by this agent; processList shows all"
            ))
        })?;
        self.bind(ch, from, Bound { process, own: false, stdin_taken: 0, keep: Duration::ZERO }, position)
    }

    fn must_be_free(&self) -> Result<()> {
        match &self.bound {
            None => Ok(()),
            Some(bound) => Err(Error::new(format!(
                "process: this channel has a program already (pid {}); open another",
                bound.process.pid()
            ))),
        }
    }

    fn bind(
        &mut self,
        ch: &mut Channel<Abandoned>,
        from: &Member,
        bound: Bound,
        position: Position,
    ) -> Result<Reply> {
        self.bound = Some(bound);
        self.feed(ch, from, position)
    }

    /// Sends the output to `from`, from `position` on; a feed that it had is replaced.
    fn feed(&mut self, ch: &mut Channel<Abandoned>, from: &Member, position: Position) -> Result<Reply> {
        let Some(Bound { process, own, stdin_taken, .. }) = &self.bound else { return Err(nothing_here()) };
        let started = ProcessStarted {
            id: process.id().0,
            pid: process.pid(),
            stdin_taken: *stdin_taken,
            terminal: terminal_size(process),
        };
        // Answered before the feed exists: a client learns which program it is before it gets its output.
        ch.ticket().answer(Body::ProcessStarted(started));
        self.feeds.retain(|(session, _)| *session != from.session());
        self.feeds.push((from.session(), Feed::start(ch, from, process, *own, position)));
        Ok(Reply::Later)
    }

    fn type_in(&mut self, ch: &mut Channel<Abandoned>, input: ProcessStdin) -> Result<Reply> {
        let bound = self.bound.as_mut().ok_or_else(nothing_here)?;
        let (stdin, taken) = (bound.process.stdin(), bound.stdin_taken);
        let known = match input.offset {
            None => 0,
            Some(offset) => taken.checked_sub(offset).ok_or_else(|| {
                Error::new(format!(
                    "process: input from offset {offset} leaves a hole: {taken} bytes were taken so far"
                ))
            })?,
        };
        // What was sent before a connection broke and is sent again is dropped here.
        let fresh = input.data.slice(input.data.len().min(usize::try_from(known).unwrap_or(usize::MAX))..);
        let fresh_bytes = fresh.len() as u64;
        if fresh_bytes > 0 {
            stdin
                .push(fresh)
                .map_err(|error| Error::new(format!("process: {error}; {taken} bytes were taken so far")))?;
        }
        if input.offset.is_some() {
            bound.stdin_taken += fresh_bytes;
        }
        if input.eof {
            stdin.close();
        }
        let answer = Body::ProcessStdinTaken(ProcessStdinTaken { offset: bound.stdin_taken });
        if stdin.has_room() {
            return Ok(Reply::now(answer));
        }
        // The client waits for this before it sends more; signals and the like still get through.
        let (room, ticket) = (stdin.room(), ch.ticket());
        ch.spawn(async move {
            room.await;
            ticket.answer(answer);
        });
        Ok(Reply::Later)
    }
}

fn nothing_here() -> Error {
    Error::new("process: nothing was started on this channel")
}

fn terminal_size(process: &Process) -> Option<ResizeTerm> {
    let WindowSize { rows, cols } = process.size().ok()?;
    Some(ResizeTerm { rows: rows.into(), cols: cols.into() })
}

fn info(process: &Process) -> ProcessInfo {
    let started = process.started().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    ProcessInfo {
        id: process.id().0,
        pid: process.pid(),
        args: process.args().iter().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        started_ms: i64::try_from(started.as_millis()).unwrap_or(i64::MAX),
        terminal: terminal_size(process),
        exited: process.try_exit().map(|exit| feed::exited(process, exit)),
    }
}
