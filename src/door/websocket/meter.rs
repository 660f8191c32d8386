//! Between the socket and tungstenite: bounds what large messages being received hold in memory, notes that
//! something was heard, and leads the library's own control frames into the outbox.
//!
//! It follows the frame heads that pass by. Once a message is larger than [`FREE_BYTES`], its bytes are taken from
//! the agent-wide budget; while that is used up, the socket is simply not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use pid1_sdk::outbox::Outbox;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::door::budget::{Budget, FREE_BYTES};

/// The half that is read.
pub(super) type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// Read at a time and thrown away.
const DRAIN_BYTES: usize = 16 << 10;

const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
const FINAL: u8 = 0x80;

/// The reading half of a socket, as tungstenite's stream.
pub(super) struct Meter {
    /// `None` in what [`take`](Meter::take) leaves behind.
    socket: Option<Reader>,
    outbox: Arc<Outbox>,
    heard: Arc<AtomicU64>,
    budget: Budget,
    max_message_bytes: u64,
    place: Place,
    /// Payload bytes announced of the message being received.
    message_bytes: u64,
    /// Nothing that comes is kept any more.
    draining: bool,
    /// A close frame has come.
    said_goodbye: bool,
}

/// Where in the stream of frames we are.
enum Place {
    Head { bytes: [u8; 10], have: usize },
    Payload { left: u64, ends_message: bool },
}

const AT_HEAD: Place = Place::Head { bytes: [0; 10], have: 0 };

/// Whether anything is heard from a client.
#[derive(Clone)]
pub(super) struct Activity {
    heard: Arc<AtomicU64>,
}

impl Activity {
    /// Grows with whatever is heard.
    pub(super) fn signs(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// What was heard is being handled, which may take long: until this is dropped the client counts as heard.
    pub(super) fn handling(&self) -> Handling<'_> {
        self.heard.fetch_or(HANDLING, Ordering::Relaxed);
        Handling(self)
    }

    /// Whether something is being handled now.
    pub(super) fn is_handling(&self) -> bool {
        self.signs() & HANDLING != 0
    }
}

/// The top bit of the count, which no connection ever reaches.
const HANDLING: u64 = 1 << 63;

/// See [`Activity::handling`].
pub(super) struct Handling<'a>(&'a Activity);

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        self.0.heard.fetch_and(!HANDLING, Ordering::Relaxed);
        self.0.heard.fetch_add(1, Ordering::Relaxed);
    }
}

impl Meter {
    pub(super) fn new(socket: Reader, outbox: Arc<Outbox>, budget: Budget, max_message_bytes: usize) -> Self {
        Meter {
            socket: Some(socket),
            outbox,
            heard: Arc::default(),
            budget,
            max_message_bytes: max_message_bytes as u64,
            place: AT_HEAD,
            message_bytes: 0,
            draining: false,
            said_goodbye: false,
        }
    }

    pub(super) fn activity(&self) -> Activity {
        Activity { heard: self.heard.clone() }
    }

    /// Reads what still comes and keeps nothing, up to the client's own goodbye. The library gives up at the first error,
    /// and a socket closed with unread data takes back what was said last: the reason for the close.
    pub(super) async fn drain(&mut self) {
        self.draining = true;
        self.budget.release();
        let mut sink = vec![0; DRAIN_BYTES];
        while !self.said_goodbye && matches!(self.read(&mut sink).await, Ok(1..)) {}
    }

    /// The meter itself, for another stream; what is left behind has come to its end.
    pub(super) fn take(&mut self) -> Meter {
        let (outbox, budget) = (self.outbox.clone(), self.budget.another());
        let left = Meter {
            socket: None,
            outbox,
            heard: self.heard.clone(),
            budget,
            max_message_bytes: self.max_message_bytes,
            place: AT_HEAD,
            message_bytes: 0,
            draining: self.draining,
            said_goodbye: self.said_goodbye,
        };
        std::mem::replace(self, left)
    }

    /// What may be read in one go. Behind a large message nothing is, so that the buffer which held it can be given up
    /// with it.
    fn most(&self) -> usize {
        match self.place {
            Place::Payload { left, ends_message: true } if self.message_bytes > FREE_BYTES => {
                usize::try_from(left).unwrap_or(usize::MAX)
            }
            _ => usize::MAX,
        }
    }

    /// Follows the frames through `bytes`.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Payload { left, ends_message } => {
                    let here = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= here as u64;
                    bytes = &bytes[here..];
                    if *left == 0 {
                        if *ends_message {
                            self.message_bytes = 0;
                        }
                        self.place = AT_HEAD;
                    }
                }
                Place::Head { bytes: head, have } => {
                    head[*have] = bytes[0];
                    *have += 1;
                    bytes = &bytes[1..];
                    if let Some(length) = payload_length(&head[..*have]) {
                        let (first, masked) = (head[0], head[1] & 0x80 != 0);
                        self.frame(first, length, masked);
                    }
                }
            }
        }
    }

    fn frame(&mut self, first: u8, length: u64, masked: bool) {
        let data = first & OPCODE < CLOSE;
        let ends_message = data && first & FINAL != 0;
        self.said_goodbye |= first & OPCODE == CLOSE;
        if data {
            let whole = ends_message && self.message_bytes == 0;
            self.message_bytes = self.message_bytes.saturating_add(length);
            // A message over the limit is refused at its head; nothing of it is kept.
            if self.message_bytes > FREE_BYTES {
                // Of a message in fragments the end is not known: it takes for the largest.
                let bytes = if whole { length.min(self.max_message_bytes) } else { self.max_message_bytes };
                self.budget.want(bytes);
            }
        }
        let mask = if masked { 4 } else { 0 };
        self.place = match length.saturating_add(mask) {
            0 => {
                if ends_message {
                    self.message_bytes = 0;
                }
                AT_HEAD
            }
            left => Place::Payload { left, ends_message },
        };
    }

    /// Waits for the budget that the current message needs.
    fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.draining {
            return Poll::Ready(Ok(()));
        }
        if self.message_bytes == 0 {
            // The message that held it has been handled: the library reads on only then.
            self.budget.release();
        }
        self.budget.poll(cx)
    }
}

/// The payload length in a frame's head without mask; `None` while the head is not complete.
fn payload_length(head: &[u8]) -> Option<u64> {
    match (head.get(1)? & 0x7f, head) {
        (126, [_, _, high, low]) => Some(u16::from_be_bytes([*high, *low]).into()),
        (127, [_, _, rest @ ..]) => rest.try_into().ok().map(u64::from_be_bytes),
        (126, _) => None,
        (short, _) => Some(short.into()),
    }
}

impl AsyncRead for Meter {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_budget(cx))?;
        let room = this.most().min(buf.remaining());
        let Some(socket) = &mut this.socket else { return Poll::Ready(Ok(())) };
        let mut here = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(socket).poll_read(cx, &mut here))?;
        let new = here.filled();
        let new_bytes = new.len();
        this.heard.fetch_add(new_bytes as u64, Ordering::Relaxed);
        this.follow(new);
        buf.advance(new_bytes);
        Poll::Ready(Ok(()))
    }
}

/// What tungstenite writes by itself: a pong for each ping, and the answer to a close.
impl AsyncWrite for Meter {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, frames: &[u8]) -> Poll<io::Result<usize>> {
        // Control frames only, so each is two bytes and what the second one says.
        let mut rest = frames;
        while let [first, len, ..] = *rest {
            let (frame, after) = rest.split_at(rest.len().min(2 + usize::from(len)));
            // The close is said by the writer, behind everything that is queued.
            if first & OPCODE != CLOSE {
                self.outbox.push_framed(Bytes::copy_from_slice(frame));
            }
            rest = after;
        }
        Poll::Ready(Ok(frames.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
