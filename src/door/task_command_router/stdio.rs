//! What a program prints, from an offset on, as long as anybody can print there.

use std::pin::Pin;
use std::time::SystemTime;

use futures_util::stream::{BoxStream, StreamExt as _, empty, unfold};
use pid1_sdk::limits::OUTPUT_CHUNK_BYTES;
use pid1_sdk::process::{Hold, Item, LogReader, OutputLog, Stream};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::expired;
use crate::door::lifetime;
use crate::execs::Exec;
use crate::proto::modal::task_command_router::{TaskExecStdioFileDescriptor, TaskExecStdioReadResponse};

type Answers = BoxStream<'static, Result<TaskExecStdioReadResponse, Status>>;

/// The bytes of one stream.
struct Reading {
    log: OutputLog,
    reader: LogReader,
    /// Whoever runs on behind the program's end keeps nobody waiting: a terminal is its session's, and that has ended.
    until_exit: bool,
    expiry: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: OwnedSemaphorePermit,
}

/// What `exec` prints on a stream from byte `offset` on.
pub(super) fn read(
    exec: &Exec,
    stream: TaskExecStdioFileDescriptor,
    offset: u64,
    expires: Option<SystemTime>,
) -> Result<Answers, Status> {
    let stream = match stream {
        TaskExecStdioFileDescriptor::Stdout => Stream::Stdout,
        TaskExecStdioFileDescriptor::Stderr => Stream::Stderr,
    };
    // Where it is not a stream of its own, there is nothing on it.
    let Some(log) = exec.process.output(stream) else { return Ok(empty().boxed()) };
    let (start, end) = (log.start_offset(), log.end_offset());
    if offset < start {
        return Err(lost(offset, start));
    }
    if offset > end {
        let text = format!("there is no output at byte {offset} yet: {end} bytes were printed so far");
        return Err(Status::out_of_range(text));
    }
    // Of connections that are dead, but not known to be, they go in a while.
    let too_many = || Status::unavailable("too many calls read the output of this exec: try again");
    let reading = Reading {
        _place: exec.reader().ok_or_else(too_many)?,
        reader: log.reader(offset, Hold::WhenFull),
        log: log.clone(),
        until_exit: exec.process.terminal(),
        expiry: Box::pin(lifetime::expiry(expires)),
    };
    let answers = unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        let answer = reading.next().await?;
        // An error is the last.
        let go_on = answer.is_ok().then_some(reading);
        Some((answer, go_on))
    });
    Ok(answers.boxed())
}

impl Reading {
    async fn next(&mut self) -> Option<Result<TaskExecStdioReadResponse, Status>> {
        loop {
            let all_read = self.reader.offset() >= self.log.end_offset();
            let item = tokio::select! {
                biased;
                () = &mut self.expiry => return Some(Err(expired())),
                // Whoever has closed his streams may run on; to a reader the end comes behind that of the program.
                () = self.log.at_end(), if all_read => match self.reader.offset() >= self.log.end_offset() {
                    true => return None,
                    false => continue,
                },
                item = self.reader.next(OUTPUT_CHUNK_BYTES) => item,
            };
            match item {
                Item::Chunk { bytes, .. } => return Some(Ok(TaskExecStdioReadResponse { data: bytes })),
                Item::Gap { from, to } => return Some(Err(lost(from, to))),
                Item::Settled if !self.until_exit => {}
                Item::Settled | Item::End => return None,
            }
        }
    }
}

fn lost(offset: u64, oldest: u64) -> Status {
    Status::out_of_range(format!(
        "output at byte {offset} is no longer kept: the oldest byte that is, is at {oldest}"
    ))
}
