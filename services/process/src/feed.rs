//! One member's view of a program: a task that reads its logs from the member's own offsets and sends what there
//! is as fast as that member takes it. So one member's pace is nobody else's.

use std::sync::Arc;

use pid1_sdk::api::{ProcessExited, ProcessGap, ProcessOutput, ProcessStream, command::Body, process_exited};
use pid1_sdk::channel::Audience;
use pid1_sdk::process::{Cause, Exit, ExitStatus, Hold, Item, LogReader, Process, StopCause, Stream};
use pid1_sdk::{Channel, ChannelId, Member, limits};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Ends its task when dropped.
#[derive(Debug)]
pub(crate) struct Feed {
    _stop: DropGuard,
}

/// The next byte wanted of each stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}

impl Feed {
    /// Feeds `member` until it leaves. With `holds` the program waits for it; without, it may see gaps.
    pub(crate) fn start<E: Send + 'static>(
        ch: &Channel<E>,
        member: &Member,
        process: &Process,
        holds: bool,
        from: Position,
    ) -> Feed {
        let hold = if holds { Hold::Back } else { Hold::Not };
        let streams = [(Stream::Stdout, from.stdout), (Stream::Stderr, from.stderr)];
        let sources = streams.into_iter().filter_map(|(stream, offset)| {
            let reader = process.output(stream)?.reader(offset, hold);
            Some(Source { stream, reader, settled: false, ended: false })
        });
        let task = Task {
            sources: sources.collect(),
            process: process.clone(),
            member: member.clone(),
            channel: ch.id(),
            audience: ch.audience().clone(),
            holds,
            told_exit: false,
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        ch.spawn(async move {
            stopped.run_until_cancelled(task.run()).await;
        });
        Feed { _stop: stop.drop_guard() }
    }
}

struct Task {
    sources: Vec<Source>,
    process: Process,
    member: Member,
    channel: ChannelId,
    audience: Arc<Audience>,
    holds: bool,
    told_exit: bool,
}

struct Source {
    stream: Stream,
    reader: LogReader,
    settled: bool,
    ended: bool,
}

impl Source {
    async fn next(&mut self) -> (Stream, Item) {
        (self.stream, self.reader.next(limits::OUTPUT_CHUNK_BYTES).await)
    }
}

impl Task {
    async fn run(mut self) {
        loop {
            // The program waits for this member, and so do the others who follow it here.
            self.audience.room_of(&self.member, self.holds).await;
            let Some((stream, item)) = self.next().await else { return };
            let wire = match stream {
                Stream::Stdout => ProcessStream::Stdout,
                Stream::Stderr => ProcessStream::Stderr,
            };
            let body = match item {
                Item::Chunk { offset, bytes } => {
                    Body::ProcessOutput(ProcessOutput { stream: wire.into(), offset, data: bytes })
                }
                Item::Gap { from, to } => Body::ProcessGap(ProcessGap { stream: wire.into(), from, to }),
                Item::Settled => {
                    self.mark(stream, |source| source.settled = true);
                    match self.process.try_exit() {
                        Some(exit) if !self.told_exit && self.sources.iter().all(|source| source.settled) => {
                            self.told_exit = true;
                            Body::ProcessExited(exited(&self.process, exit))
                        }
                        _ => continue,
                    }
                }
                Item::End => {
                    self.mark(stream, |source| source.ended = true);
                    continue;
                }
            };
            if !self.member.send(self.channel, body) {
                return; // it has left the channel
            }
        }
    }

    /// The next item of any stream; `None` once all have ended. Cancel-safe, as the readers are.
    async fn next(&mut self) -> Option<(Stream, Item)> {
        let mut open = self.sources.iter_mut().filter(|source| !source.ended);
        match (open.next(), open.next()) {
            (None, _) => None,
            (Some(only), None) => Some(only.next().await),
            (Some(one), Some(other)) => Some(tokio::select! {
                item = one.next() => item,
                item = other.next() => item,
            }),
        }
    }

    fn mark(&mut self, stream: Stream, change: impl Fn(&mut Source)) {
        self.sources.iter_mut().filter(|source| source.stream == stream).for_each(change);
    }
}

/// A program's end as the contract says it.
pub(crate) fn exited(process: &Process, exit: Exit) -> ProcessExited {
    let end = |stream| process.output(stream).map_or(0, |log| log.end_offset());
    let cause = match exit.cause {
        Cause::Exited => process_exited::Cause::Exited,
        Cause::Signalled => process_exited::Cause::Signalled,
        Cause::Stopped(StopCause::Request | StopCause::Closed) => process_exited::Cause::Stopped,
        Cause::Stopped(StopCause::Timeout) => process_exited::Cause::TimedOut,
        Cause::Stopped(StopCause::Shutdown) => process_exited::Cause::Shutdown,
        Cause::Unknown => process_exited::Cause::Unknown,
    };
    let status = match exit.status {
        ExitStatus::Code(code) => Some(process_exited::Status::Code(code)),
        ExitStatus::Signal(signal) => Some(process_exited::Status::Signal(signal)),
        ExitStatus::Unknown => None,
    };
    ProcessExited {
        status,
        cause: cause.into(),
        stdout_end: end(Stream::Stdout),
        stderr_end: end(Stream::Stderr),
    }
}
