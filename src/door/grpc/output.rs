//! What a program prints, as a call takes it: read from its logs when there is room to send it, so that a client which
//! takes nothing holds its program back and nothing else.

use bytes::Bytes;
use pid1_sdk::limits;
use pid1_sdk::process::{Exit, Hold, Item, LogReader, Process, Stream};

/// What happened.
pub(crate) enum Printed {
    /// It printed.
    Bytes(Stream, Bytes),
    /// So many bytes are no longer kept; only for who does not hold the program back.
    Lost(u64),
    /// It has ended, and all that it and those it left behind have printed was reported.
    Exited(Exit),
}

/// A program's output, from its beginning as far as that is kept.
pub(crate) struct Output {
    process: Process,
    /// Streams that go on.
    readers: Vec<(Stream, LogReader)>,
}

impl Output {
    pub(crate) fn of(process: &Process, hold: Hold) -> Output {
        let streams = [Stream::Stdout, Stream::Stderr].into_iter();
        let readers = streams.filter_map(|stream| Some((stream, process.output(stream)?.reader(0, hold))));
        Output { readers: readers.collect(), process: process.clone() }
    }

    /// The next thing that happens. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Printed {
        loop {
            let (at, item) = match &mut self.readers[..] {
                [] => return Printed::Exited(self.process.exited().await),
                [(_, only)] => (0, only.next(limits::OUTPUT_CHUNK_BYTES).await),
                [(_, one), (_, other), ..] => tokio::select! {
                    item = one.next(limits::OUTPUT_CHUNK_BYTES) => (0, item),
                    item = other.next(limits::OUTPUT_CHUNK_BYTES) => (1, item),
                },
            };
            match item {
                Item::Chunk { bytes, .. } => return Printed::Bytes(self.readers[at].0, bytes),
                Item::Gap { from, to } => return Printed::Lost(to - from),
                Item::Settled => {}
                Item::End => drop(self.readers.remove(at)),
            }
        }
    }
}

/// How it is said in the stream itself that something is missing there.
pub(crate) fn lost(bytes: u64) -> Bytes {
    format!("\r\n[{bytes} bytes of output are no longer kept]\r\n").into()
}
