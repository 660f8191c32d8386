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
mod tests;
