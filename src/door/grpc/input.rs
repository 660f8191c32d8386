//! What a client types, handed on as fast as the program takes it; and the size of its window.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use pid1_sdk::process::{Stdin, StdinError, WindowSize};
use tokio::time::timeout;
use tonic::Status;

use crate::door::budget::FREE_BYTES;

/// Messages that may wait behind what the program has not read. While there is room for one more, the client is read: so
/// a size, a signal or the end gets past what was typed before.
const WAITING: usize = 2;

/// A large message holds part of what all clients share: it does not wait for a program that reads nothing for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program's input, and what waits for it.
pub(crate) struct Typing {
    stdin: Stdin,
    waiting: VecDeque<Bytes>,
    /// Nothing follows.
    ends: bool,
}

impl Typing {
    pub(crate) fn into(stdin: &Stdin) -> Typing {
        Typing { stdin: stdin.clone(), waiting: VecDeque::new(), ends: false }
    }

    /// Takes what the client has typed.
    ///
    /// # Errors
    /// See `push`.
    pub(crate) fn add(&mut self, input: Bytes) -> Result<(), Status> {
        if self.ends {
            return Ok(());
        }
        if !self.waiting.is_empty() && self.stdin.interrupted_by(&input) {
            // As a terminal does it, what was typed before is dropped.
            self.waiting.clear();
        }
        self.waiting.push_back(input);
        self.push()
    }

    /// The input ends behind what was added.
    pub(crate) fn end(&mut self) {
        self.ends = true;
        if self.waiting.is_empty() {
            self.stdin.close();
        }
    }

    /// Whether nothing more is to be read from the client. While a large message waits, nothing is: its part of what all
    /// share is given back when the next is asked for.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING || self.waiting.iter().any(|input| input.len() as u64 > FREE_BYTES)
    }

    /// Hands on what waits, once the program has read what was before it: then there is room for more. Cancel-safe.
    ///
    /// # Errors
    /// As `add`, or a large message waits in vain.
    pub(crate) async fn hand_on(&mut self) -> Result<(), Status> {
        loop {
            let Some(next) = self.waiting.front() else { return std::future::pending().await };
            let before = self.stdin.queued_bytes();
            let large = next.len() as u64 > FREE_BYTES;
            match timeout(PATIENCE, self.stdin.room()).await {
                Ok(()) => return self.push(),
                Err(_elapsed) if large && self.stdin.queued_bytes() >= before => {
                    return Err(Status::resource_exhausted(format!(
                        "the program has read none of its input for {} s, and a large message waits behind it",
                        PATIENCE.as_secs()
                    )));
                }
                Err(_elapsed) => {}
            }
        }
    }

    /// Hands on what there is room for. A program that reads no more gets no more, and that is no error.
    ///
    /// # Errors
    /// All programs together leave too much unread.
    fn push(&mut self) -> Result<(), Status> {
        while let Some(input) = self.waiting.front() {
            match self.stdin.push(input.clone()) {
                Ok(()) | Err(StdinError::Closed) => drop(self.waiting.pop_front()),
                Err(StdinError::Full) => return Ok(()),
                Err(error @ StdinError::Crowded) => {
                    return Err(Status::resource_exhausted(error.to_string()));
                }
            }
        }
        if self.ends {
            self.stdin.close();
        }
        Ok(())
    }
}

/// The size that a client asks for; `None` for what is no size, and changes nothing.
pub(crate) fn window(rows: i32, cols: i32) -> Option<WindowSize> {
    let side = |asked: i32| u16::try_from(asked.min(u16::MAX.into())).ok().filter(|side| *side > 0);
    Some(WindowSize { rows: side(rows)?, cols: side(cols)? })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use pid1_sdk::process::{Io, Process, ProcessTable, Spec, StopCause, TableConfig};
    use pid1_sdk::runtimes::Runtimes;

    use super::*;

    const MIB: usize = 1 << 20;

    /// A program that reads nothing.
    fn program(io: Io) -> Process {
        let table = ProcessTable::new(Runtimes::current(), TableConfig::default());
        let spec = Spec { io, ..Spec::new(["/bin/sleep", "1000"]) };
        table.start(spec).expect("sleep is there")
    }

    fn input(bytes: usize) -> Bytes {
        vec![b'x'; bytes].into()
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_leaves_room_for_one_more_word_but_not_for_ever() {
        let process = program(Io::Pipes { split_stderr: false });
        let mut typing = Typing::into(process.stdin());
        // The first is taken whole, however large; what comes behind it waits.
        for (bytes, full) in [(3 * MIB, false), (10, false), (10, true)] {
            typing.add(input(bytes)).expect("it is taken");
            assert_eq!(typing.is_full(), full, "{bytes}");
        }
        assert!(typing.hand_on().now_or_never().is_none());
        let patient = timeout(10 * PATIENCE, typing.hand_on()).await;
        assert!(patient.is_err(), "small ones wait as long as they must");

        let mut typing = Typing::into(process.stdin());
        typing.add(input(2 * MIB)).expect("it waits");
        assert!(typing.is_full(), "a large one holds what others want");
        let given_up = typing.hand_on().await.expect_err("it waits in vain");
        assert_eq!(given_up.code(), tonic::Code::ResourceExhausted);
        process.kill(StopCause::Request);
    }

    #[tokio::test]
    async fn an_interrupt_key_gets_past_what_waits() {
        let process = program(Io::Terminal(WindowSize::default()));
        let mut typing = Typing::into(process.stdin());
        typing.add(input(3 * MIB)).expect("it is taken");
        typing.add(input(10)).expect("it waits");
        typing.add(Bytes::from_static(b"\x03")).expect("it is taken");
        assert!(typing.waiting.is_empty());
        assert_eq!(process.exited().await.text(), "signal: interrupt");
    }
}
