//! What a program is fed, by offset: each byte once, however often it is sent.
//!
//! How much was taken is counted here, apart from what others type into the same program. What does not fit into the
//! program's queue waits where it is, and so does its sender.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pid1_sdk::limits::STDIN_ALWAYS_BYTES;
use pid1_sdk::process::{Process, Stdin, StdinError};
use tokio_util::sync::CancellationToken;

use super::Person;
use super::waiting::{MOST_BYTES, Waiting};

/// Why input was not taken.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It begins behind what was taken.
    #[error(
        "stdin offset mismatch: {taken} bytes were taken so far, so input from {offset} on leaves a hole"
    )]
    Hole {
        /// Where it begins.
        offset: u64,
        /// What was taken.
        taken: u64,
    },
    /// A stream begins before what was taken.
    #[error(
        "stdin offset mismatch: {taken} bytes were taken so far, so a stream begins there and not at {offset}"
    )]
    Elsewhere {
        /// Where it begins.
        offset: u64,
        /// What was taken.
        taken: u64,
    },
    /// Nobody reads any more.
    #[error("the program has closed its input or ended: {taken} bytes were taken, and no more will be")]
    Closed {
        /// What was taken.
        taken: u64,
    },
    /// A later stream, or a question for the status, has ended this one.
    #[error("another call has taken over this input after {taken} bytes")]
    TakenOver {
        /// What was taken.
        taken: u64,
    },
    /// Too much waits already.
    #[error(
        "too much input waits for programs here (at most {} MiB, half of it of one person): {taken} bytes were taken so \
         far, send the rest again later",
        MOST_BYTES >> 20
    )]
    Crowded {
        /// What was taken.
        taken: u64,
    },
}

/// A program's input.
pub struct Input {
    stdin: Stdin,
    taken: Mutex<Taken>,
    starter: Person,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: u64,
    /// Ends the stream that has the input.
    stream: CancellationToken,
}

impl Input {
    pub(super) fn of(process: &Process, starter: Person, waiting: Arc<Waiting>) -> Input {
        Input { stdin: process.stdin().clone(), taken: Mutex::default(), starter, waiting }
    }

    /// Takes `data`, whose first byte is byte `offset` of the whole input, but for what was taken before; then ends the
    /// input if `eof`. Resolves when all is taken, which may be never. Dropped before, it may have taken a part or all.
    ///
    /// # Errors
    /// All but `TakenOver` and `Elsewhere`. None for what was taken before, and for an end that comes again.
    pub async fn write(&self, offset: u64, data: &Bytes, eof: bool) -> Result<(), InputError> {
        // The end alone stands wherever the input is.
        if !(eof && data.is_empty()) {
            self.take(offset, data, None).await?;
        }
        if eof {
            self.stdin.close();
        }
        Ok(())
    }

    /// Begins to take a stream from byte `offset` on; a stream that there was ends.
    ///
    /// # Errors
    /// `Hole` or `Elsewhere` unless exactly `offset` bytes were taken before.
    pub fn stream(&self, offset: u64) -> Result<InputStream<'_>, InputError> {
        let mut state = self.lock();
        let taken = state.bytes;
        if offset > taken {
            return Err(InputError::Hole { offset, taken });
        }
        if offset < taken {
            return Err(InputError::Elsewhere { offset, taken });
        }
        let has_it = state.take_over();
        Ok(InputStream { input: self, offset, has_it })
    }

    /// How much was taken, and whether no more will be. Nothing more is taken of a stream that there was.
    pub fn status(&self) -> (u64, bool) {
        let mut state = self.lock();
        state.take_over();
        (state.bytes, self.stdin.closed())
    }

    async fn take(
        &self,
        offset: u64,
        data: &Bytes,
        has_it: Option<&CancellationToken>,
    ) -> Result<(), InputError> {
        let mut held = None;
        loop {
            if self.push(offset, data, has_it)? {
                return Ok(());
            }
            if held.is_none() {
                held = self.waiting.hold(&self.starter, data.len());
                if held.is_none() {
                    return Err(InputError::Crowded { taken: self.lock().bytes });
                }
            }
            // Once nothing waits for the program, at least a piece is taken.
            let room = self.stdin.room();
            match has_it {
                None => room.await,
                Some(has_it) => drop(has_it.run_until_cancelled(room).await),
            }
        }
    }

    /// Whether all is taken now; otherwise there was no room for the rest.
    fn push(
        &self,
        offset: u64,
        data: &Bytes,
        has_it: Option<&CancellationToken>,
    ) -> Result<bool, InputError> {
        let mut state = self.lock();
        let taken = state.bytes;
        if has_it.is_some_and(CancellationToken::is_cancelled) {
            return Err(InputError::TakenOver { taken });
        }
        let known = taken.checked_sub(offset).ok_or(InputError::Hole { offset, taken })?;
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let fresh = data.slice(known.min(data.len())..);
        if fresh.is_empty() {
            return Ok(true);
        }
        let mut pushed = fresh.len();
        let mut result = self.stdin.push(fresh.clone());
        if result == Err(StdinError::Crowded) {
            pushed = pushed.min(STDIN_ALWAYS_BYTES);
            result = self.stdin.push(fresh.slice(..pushed));
        }
        match result {
            Ok(()) => {
                state.bytes += pushed as u64;
                Ok(pushed == fresh.len())
            }
            Err(StdinError::Full | StdinError::Crowded) => Ok(false),
            Err(StdinError::Closed) => Err(InputError::Closed { taken }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("taken", &self.lock().bytes).finish_non_exhaustive()
    }
}

impl Taken {
    /// Ends who had the input; what ends who has it now.
    fn take_over(&mut self) -> CancellationToken {
        self.stream.cancel();
        self.stream = CancellationToken::new();
        self.stream.clone()
    }
}

/// Input that comes in one piece after the other.
pub struct InputStream<'a> {
    input: &'a Input,
    offset: u64,
    has_it: CancellationToken,
}

impl InputStream<'_> {
    /// Takes the next piece; as [`Input::write`].
    ///
    /// # Errors
    /// `TakenOver`, `Closed` or `Crowded`.
    pub async fn write(&mut self, data: &Bytes) -> Result<(), InputError> {
        self.input.take(self.offset, data, Some(&self.has_it)).await?;
        self.offset += data.len() as u64;
        Ok(())
    }

    /// Resolves when it has ended, because another has the input. Cancel-safe.
    pub async fn taken_over(&self) -> InputError {
        self.has_it.cancelled().await;
        InputError::TakenOver { taken: self.input.lock().bytes }
    }

    /// Nothing follows.
    ///
    /// # Errors
    /// `TakenOver`.
    pub fn end(self) -> Result<(), InputError> {
        let state = self.input.lock();
        if self.has_it.is_cancelled() {
            return Err(InputError::TakenOver { taken: state.bytes });
        }
        self.input.stdin.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use nix::sys::signal::Signal;
    use pid1_sdk::process::{Exit, Io, ProcessTable, Spec, StopCause, TableConfig};
    use pid1_sdk::runtimes::Runtimes;
    use tokio::time::timeout;

    use super::*;

    const MIB: usize = 1 << 20;
    const SOON: Duration = Duration::from_secs(20);

    fn cat() -> (Process, Input) {
        let table = ProcessTable::new(Runtimes::current(), TableConfig::default());
        let spec = Spec { io: Io::Pipes { split_stderr: false }, ..Spec::new(["/bin/cat"]) };
        let process = table.start(spec).expect("cat is there");
        let input = Input::of(&process, Person(0, String::new()), Arc::default());
        (process, input)
    }

    async fn end(process: &Process) -> Exit {
        timeout(SOON, process.exited()).await.expect("it ends")
    }

    /// All that it printed, as long as that is not much.
    async fn printed(process: &Process) -> String {
        end(process).await;
        timeout(SOON, process.stdout().at_end()).await.expect("its output ends");
        let (from, bytes) = process.stdout().tail(u64::MAX, usize::MAX, usize::MAX);
        assert_eq!(from, 0);
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    /// One that reads nothing until it is told to go on, and whose queue is full.
    async fn stuck() -> (Process, Input) {
        let (process, input) = cat();
        process.signal(Signal::SIGSTOP).expect("it runs");
        input.write(0, &vec![b'x'; 2 * MIB].into(), false).await.expect("a first one is taken whole");
        (process, input)
    }

    #[tokio::test]
    async fn each_byte_is_taken_once() {
        let (process, input) = cat();
        for (offset, data, eof) in
            [(0, "abc", false), (0, "abc", false), (1, "bcde", false), (5, "", false), (5, "fg", true)]
        {
            input.write(offset, &data.into(), eof).await.expect(data);
        }
        // What came before, and the end, may come again; and the end alone comes from anywhere.
        for (offset, data, eof) in [(0, "abcdefg", true), (5, "fg", false), (0, "", true), (99, "", true)] {
            input.write(offset, &data.into(), eof).await.expect(data);
        }
        let hole = input.write(9, &"x".into(), false).await.expect_err("a hole");
        assert!(matches!(hole, InputError::Hole { offset: 9, taken: 7 }), "{hole}");
        let closed = input.write(5, &"fgh".into(), false).await.expect_err("it is closed");
        assert!(matches!(closed, InputError::Closed { taken: 7 }), "{closed}");
        assert_eq!(input.status(), (7, true));
        assert_eq!(printed(&process).await, "abcdefg");
    }

    #[tokio::test]
    async fn who_waits_for_the_program_may_go_and_come_again() {
        let (process, input) = stuck().await;
        let offset = 2 * MIB as u64;
        let (data, more) = (Bytes::from(vec![b'y'; 80 * MIB]), Bytes::from_static(b"z"));
        assert!(input.write(offset, &data, false).now_or_never().is_none());
        // Twice at once, as from a connection that is dead and one that is not; then there is no room to wait in.
        let mut first = Box::pin(input.write(offset, &data, false));
        assert!(first.as_mut().now_or_never().is_none());
        let crowded = input.write(offset, &data, false).await.expect_err("it is full");
        assert!(matches!(crowded, InputError::Crowded { taken } if taken == offset), "{crowded}");
        process.signal(Signal::SIGCONT).expect("it runs");
        let (one, other) = timeout(SOON, async {
            tokio::join!(first, async {
                // Also in vain at first, while the other waits.
                while input.write(offset, &data, false).await.is_err() {
                    tokio::task::yield_now().await;
                }
                input.write(offset + data.len() as u64, &more, true).await
            })
        })
        .await
        .expect("both are taken");
        one.and(other).expect("both are taken");
        end(&process).await;
        timeout(SOON, process.stdout().at_end()).await.expect("its output ends");
        assert_eq!(process.stdout().end_offset(), offset + data.len() as u64 + 1);
    }

    #[tokio::test]
    async fn what_others_leave_unread_makes_it_slow_but_holds_nobody_up() {
        let table = ProcessTable::new(Runtimes::current(), TableConfig::default());
        let start = |words: &[&str]| table.start(Spec::new(words)).expect("it is there");
        let deaf = start(&["/bin/sleep", "1000"]);
        deaf.stdin().push(vec![0; 255 * MIB].into()).expect("there is room");
        let process = start(&["/usr/bin/wc", "-c"]);
        let input = Input::of(&process, Person(0, String::new()), Arc::default());
        let data = Bytes::from(vec![b'x'; 5 * MIB]);
        timeout(SOON, input.write(0, &data, true)).await.expect("soon").expect("it is taken");
        assert_eq!(printed(&process).await.trim(), data.len().to_string());
        deaf.kill(StopCause::Request);
        end(&deaf).await;
    }

    #[tokio::test]
    async fn one_stream_has_the_input() {
        let (process, input) = cat();
        let mut stream = input.stream(0).expect("the first");
        stream.write(&"one ".into()).await.expect("taken");
        let elsewhere = input.stream(0).err().expect("it begins too early");
        assert!(matches!(elsewhere, InputError::Elsewhere { offset: 0, taken: 4 }), "{elsewhere}");
        let hole = input.stream(5).err().expect("it begins too late");
        assert!(matches!(hole, InputError::Hole { offset: 5, taken: 4 }), "{hole}");
        // Which ended nothing.
        stream.write(&"two ".into()).await.expect("taken");
        assert_eq!(input.status(), (8, false));
        let over = stream.write(&"never ".into()).await.expect_err("the question has ended it");
        assert!(matches!(over, InputError::TakenOver { taken: 8 }), "{over}");
        let over = stream.end().expect_err("the question has ended it");
        assert!(matches!(over, InputError::TakenOver { taken: 8 }), "{over}");
        let old = input.stream(8).expect("the second");
        let mut stream = input.stream(8).expect("the third");
        assert!(old.end().is_err(), "the third has ended it");
        stream.write(&"three".into()).await.expect("taken");
        stream.end().expect("it is the last");
        assert_eq!(printed(&process).await, "one two three");
    }

    #[tokio::test]
    async fn a_stream_that_waits_is_ended_too() {
        let (process, input) = stuck().await;
        let mut stream = input.stream(2 * MIB as u64).expect("the first");
        let data = Bytes::from_static(b"never");
        let mut waiting = Box::pin(stream.write(&data));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(input.status(), (2 * MIB as u64, false));
        let over = timeout(SOON, waiting).await.expect("at once").expect_err("it has ended");
        assert!(matches!(over, InputError::TakenOver { .. }), "{over}");
        process.kill(StopCause::Request);
        end(&process).await;
        let closed = timeout(SOON, async {
            // Once nobody has the pipe any more.
            loop {
                match input.write(2 * MIB as u64, &data, false).now_or_never() {
                    Some(Err(closed @ InputError::Closed { .. })) => return closed,
                    _ => tokio::task::yield_now().await,
                }
            }
        });
        assert!(closed.await.is_ok());
    }
}
