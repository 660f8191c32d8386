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
#![warn(missing_docs)]

mod feed;
mod seats;

use std::ffi::OsString;
use std::time::Duration;

use pid1_sdk::api::{
    ProcessAttach, ProcessExited, ProcessInfo, ProcessListResult, ProcessStart, ProcessStarted, ProcessStdin,
    ProcessStdinTaken, ResizeTerm, command::Body, process_attach::Target, process_exited,
};
use pid1_sdk::channel::Timer;
use pid1_sdk::error::printable;
use pid1_sdk::process::record::Lost;
use pid1_sdk::process::{
    Io, Keep, Process, ProcessId, SignalNumber, Stdin, StdinError, StopCause, WindowSize,
};
use pid1_sdk::{Channel, Error, Member, Reply, Result, Right, Service, limits, unsupported};

use feed::{Feed, Position};
use seats::Seats;

/// How long a program outlives its last member if `keepSeconds` is not given: time to come back from a lost
/// connection.
const KEEP: Duration = Duration::from_secs(60);

/// Longest name of a writer: room for any random identifier, and small enough to remember many.
const WRITER_BYTES: usize = 64;

/// The program of one channel.
#[derive(Debug, Default)]
pub struct Programs {
    bound: Option<Bound>,
    seats: Seats,
    /// Runs while nobody is attached.
    vacancy: Option<Timer>,
}

#[derive(Debug)]
struct Bound {
    process: Process,
    /// Whether this channel started it, and so ends it.
    own: bool,
    keep: Duration,
    /// Runs while the program may.
    _limit: Option<Timer>,
}

/// What the service's own timers report.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// Nobody has been attached for as long as the program is kept.
    Abandoned,
    /// The program has run for as long as it may.
    TimeIsUp,
}

impl Service for Programs {
    type Event = Event;

    async fn open(_ch: &mut Channel<Event>) -> Result<Self> {
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

    async fn command(&mut self, ch: &mut Channel<Event>, from: &Member, body: Body) -> Result<Reply> {
        match body {
            Body::ProcessStart(request) => self.start(ch, from, request),
            Body::ProcessAttach(request) => self.attach_to(ch, from, request),
            Body::ProcessStdin(input) => self.type_in(ch, from, input),
            Body::ProcessSignal(request) => {
                let signal = SignalNumber::new(request.signal)
                    .ok_or_else(|| Error::new(format!("process: there is no signal {}", request.signal)))?;
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

    /// Kept all the same for a while: whoever comes back and finds it empty knows that its start never arrived.
    fn idle(&self) -> bool {
        self.bound.is_none()
    }

    async fn attach(&mut self, _ch: &mut Channel<Event>, _member: &Member) {
        self.vacancy = None;
    }

    async fn detach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        self.seats.leave(member.session());
        if ch.audience().is_empty() {
            let keep = self.bound.as_ref().map_or(KEEP, |bound| bound.keep);
            self.vacancy = Some(ch.after(keep, Event::Abandoned));
        }
    }

    async fn event(&mut self, ch: &mut Channel<Event>, event: Event) {
        match (event, &self.bound) {
            // Unless somebody came back while this was on its way.
            (Event::Abandoned, _) if self.vacancy.is_some() => {
                ch.close_if_empty();
            }
            // What a program that ended in time left running goes on, as it may without a limit.
            (Event::TimeIsUp, Some(bound)) if bound.process.try_exit().is_none() => {
                bound.process.stop(StopCause::Timeout);
            }
            _ => {}
        }
    }

    async fn close(&mut self, _ch: &mut Channel<Event>) {
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

    fn start(&mut self, ch: &mut Channel<Event>, from: &Member, request: ProcessStart) -> Result<Reply> {
        if let (Some(attach), Some(_)) = (request.or_attach, &self.bound) {
            let position = self.position(&attach);
            return self.feed(ch, from, request.writer, position, true);
        }
        self.must_be_free()?;
        let mut args: Vec<OsString> = request.args.into_iter().map(OsString::from).collect();
        if args.is_empty() && request.terminal.is_some() {
            args.push(ch.engine().shell()?);
        }
        if args.is_empty() {
            return Err(Error::new("process: args is empty: nothing to run"));
        }
        let env = request.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let io = match request.terminal {
            Some(size) => Io::Terminal(WindowSize::clamped(size.rows, size.cols)),
            None => Io::Pipes { split_stderr: true },
        };
        let mut spec = ch.engine().spec_as(&request.user, args, env, io, Keep::Replay)?;
        if !request.cwd.is_empty() {
            // Relative to the workspace; an absolute one stands as it is: a program may start anywhere.
            spec.cwd = ch.engine().root().join(request.cwd);
        }
        let process = ch.engine().processes().start(spec)?;
        let keep = match request.keep_seconds {
            0 => KEEP,
            seconds => Duration::from_secs(seconds.into()),
        };
        let limit = match request.timeout_ms {
            0 => None,
            millis => Some(ch.after(Duration::from_millis(millis), Event::TimeIsUp)),
        };
        self.bound = Some(Bound { process, own: true, keep, _limit: limit });
        self.feed(ch, from, request.writer, Position::default(), false)
    }

    fn attach_to(
        &mut self,
        ch: &mut Channel<Event>,
        from: &Member,
        mut request: ProcessAttach,
    ) -> Result<Reply> {
        if let Some(target) = request.target.take() {
            self.must_be_free()?;
            let table = ch.engine().processes();
            let found = match &target {
                Target::Id(id) => table.by_id(ProcessId(*id)),
                Target::Pid(pid) => table.by_pid(*pid),
                Target::Name(name) => table.by_label(name),
            };
            let Some(process) = found else {
                let is_it = |lost: &&Lost| match target {
                    Target::Id(id) => lost.id.0 == id,
                    Target::Pid(pid) => lost.pid == pid,
                    Target::Name(_) => false,
                };
                if let Some(lost) = table.lost().iter().rfind(is_it).copied() {
                    return Ok(tell_of(ch, from, lost));
                }
                let wanted = match target {
                    Target::Id(id) => format!("id {id}"),
                    Target::Pid(pid) => format!("pid {pid}"),
                    Target::Name(name) => format!("the name {}", printable(&name)),
                };
                return Err(Error::new(format!(
                    "process: no program with {wanted} was started by this agent; processList shows all"
                )));
            };
            // Kept so that whoever types into it from here finds its place again.
            self.bound = Some(Bound { process, own: false, keep: KEEP, _limit: None });
        }
        let position = self.position(&request);
        self.feed(ch, from, request.writer, position, true)
    }

    /// Where a newcomer begins.
    fn position(&self, wanted: &ProcessAttach) -> Position {
        let mut from = Position { stdout: wanted.stdout_from, stderr: wanted.stderr_from };
        if let (true, Some(bound)) = (wanted.scrollback, &self.bound) {
            let log = bound.process.stdout();
            let end = log.end_offset();
            let (tail, bytes) = log.tail(end, limits::SCROLLBACK_LINES, limits::SCROLLBACK_BYTES);
            // Of one that has ended it may be in its file, where no line's beginning is looked for.
            let whole = end.saturating_sub(limits::SCROLLBACK_BYTES as u64).max(log.start_offset());
            from.stdout = if bytes.is_empty() { whole } else { tail };
        }
        from
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

    /// Sends the output to `from`, from `position` on; a feed that it had is replaced.
    fn feed(
        &mut self,
        ch: &mut Channel<Event>,
        from: &Member,
        writer: String,
        position: Position,
        found: bool,
    ) -> Result<Reply> {
        let Some(Bound { process, own, .. }) = &self.bound else { return Err(nothing_here()) };
        if writer.len() > WRITER_BYTES {
            return Err(Error::new(format!(
                "process: the name of a writer has at most {WRITER_BYTES} bytes, not {}",
                writer.len()
            )));
        }
        let started = ProcessStarted {
            id: process.id().0,
            pid: process.pid(),
            stdin_taken: self.seats.taken(&writer),
            terminal: terminal_size(process),
            found,
            stdout_end: process.stdout().end_offset(),
        };
        // Answered before the feed exists: a client learns which program it is before it gets its output.
        ch.ticket().answer(Body::ProcessStarted(started));
        // Nothing runs slower because somebody looks on.
        let holds = *own && from.role().may(Right::Write);
        self.seats.seat(from.session(), writer, Feed::start(ch, from, process, holds, position));
        Ok(Reply::Later)
    }

    fn type_in(&mut self, ch: &mut Channel<Event>, from: &Member, input: ProcessStdin) -> Result<Reply> {
        let stdin = self.process()?.stdin().clone();
        let taken = self.seats.taken_from(from.session());
        let known = match input.offset {
            None => 0,
            Some(offset) => taken.checked_sub(offset).ok_or_else(|| {
                // Whoever sends ahead has been told that of the input before this, which is the reason for the hole.
                let why = if stdin.closed() {
                    format!("{};", StdinError::Closed)
                } else {
                    format!("input from offset {offset} leaves a hole:")
                };
                Error::new(format!("process: {why} {taken} bytes were taken so far"))
            })?,
        };
        // What was sent before a connection broke and is sent again is dropped here.
        let fresh = input.data.slice(input.data.len().min(usize::try_from(known).unwrap_or(usize::MAX))..);
        let fresh_bytes = fresh.len() as u64;
        if fresh_bytes > 0 {
            match stdin.push(fresh) {
                Ok(()) if input.offset.is_some() => *taken += fresh_bytes,
                Ok(()) => {}
                // Somebody else filled it. Whoever counts learns, once there is room, from where to send again.
                Err(StdinError::Full) if input.offset.is_some() => {
                    return Ok(answer_with_room(ch, &stdin, *taken));
                }
                Err(error) => {
                    return Err(Error::new(format!("process: {error}; {taken} bytes were taken so far")));
                }
            }
        }
        if input.eof {
            stdin.close();
        }
        // The client waits for this before it sends more; signals and the like still get through.
        Ok(answer_with_room(ch, &stdin, *taken))
    }
}

/// Says how much was taken, as soon as there is room for more.
fn answer_with_room(ch: &mut Channel<Event>, stdin: &Stdin, taken: u64) -> Reply {
    let answer = Body::ProcessStdinTaken(ProcessStdinTaken { offset: taken });
    if stdin.has_room() {
        return Reply::now(answer);
    }
    let (room, ticket) = (stdin.room(), ch.ticket());
    ch.spawn(async move {
        room.await;
        ticket.answer(answer);
    });
    Reply::Later
}

/// Of a program that an earlier agent had started: that nobody knows how it ended. What it printed is gone as well.
fn tell_of(ch: &mut Channel<Event>, from: &Member, lost: Lost) -> Reply {
    let Lost { id, pid } = lost;
    ch.ticket().answer(Body::ProcessStarted(ProcessStarted {
        id: id.0,
        pid,
        found: true,
        ..ProcessStarted::default()
    }));
    let cause = process_exited::Cause::AgentRestarted.into();
    ch.send(from.session(), Body::ProcessExited(ProcessExited { cause, ..ProcessExited::default() }));
    Reply::Later
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
        name: process.label().unwrap_or_default().to_owned(),
    }
}
