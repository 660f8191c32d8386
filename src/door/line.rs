//! The socket beneath everything, with what hyper does not do: a client that takes nothing for too long is given up, and
//! one that is still sending when it has been answered gets to read the answer.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep};

use crate::init::sys;

/// How long a client may go on sending what nobody reads any more.
const FAREWELL: Duration = Duration::from_secs(2);

/// How much of that is thrown away; then it is cut off.
const FAREWELL_BYTES: usize = 16 << 20;

/// What a TLS connection begins with: a record that holds a handshake.
pub(super) const TLS_HANDSHAKE: u8 = 0x16;

/// Thrown away at once.
const SCRATCH_BYTES: usize = 16 << 10;

/// What clients connect to.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Over the network.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

impl Socket {
    /// Known to the reactor of the runtime that calls this.
    pub(crate) fn here(self) -> io::Result<Socket> {
        match self {
            Socket::Tcp(stream) => TcpStream::from_std(stream.into_std()?).map(Socket::Tcp),
            Socket::Unix(stream) => UnixStream::from_std(stream.into_std()?).map(Socket::Unix),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(stream) => stream.as_fd(),
            Socket::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Whatever a method of a stream does, done to the one that it is.
macro_rules! either {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
        }
    };
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Line {
    /// There but for the moment in which it moves.
    socket: Option<Socket>,
    moved: Arc<AtomicBool>,
    /// `None` where somebody else looks to that.
    stall_timeout: Option<Duration>,
    /// Since nothing can be sent, or anything has arrived, until it is given up.
    stalled: Deadline,
    /// What had not arrived then.
    unarrived_bytes: usize,
    /// Since the last was said.
    farewell: Deadline,
    discarded_bytes: usize,
}

impl Line {
    /// Once `moved` is set, the next who uses it does so on another runtime, to stay there.
    pub(crate) fn new(socket: Socket, moved: Arc<AtomicBool>, stall_timeout: Duration) -> Line {
        Line {
            socket: Some(socket),
            moved,
            stall_timeout: Some(stall_timeout),
            stalled: Deadline::default(),
            unarrived_bytes: 0,
            farewell: Deadline::default(),
            discarded_bytes: 0,
        }
    }

    pub(crate) fn into_socket(self) -> Option<Socket> {
        self.socket
    }

    /// From here on a client may take nothing for as long as it likes.
    pub(crate) fn bear_stalls(&mut self) {
        self.stall_timeout = None;
    }

    /// Whether a TLS client has said something: the first byte that arrives is that of its hello. Cancel-safe.
    pub(crate) async fn begins_tls(&self) -> io::Result<bool> {
        let Some(Socket::Tcp(stream)) = &self.socket else { return Ok(false) };
        let mut first = [0];
        let seen = stream.peek(&mut first).await?;
        Ok(seen > 0 && first[0] == TLS_HANDSHAKE)
    }

    /// The socket, known to the reactor of the runtime that it is used on: with another's, whoever waits there would be
    /// woken for each piece that moves here.
    fn socket(&mut self) -> io::Result<&mut Socket> {
        if self.moved.swap(false, Ordering::Relaxed)
            && let Some(socket) = self.socket.take()
        {
            self.socket = Some(socket.here()?);
        }
        self.socket.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// What came of trying to send; an error if the client has taken nothing for too long.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Some(stall_timeout) = self.stall_timeout.filter(|_| done.is_pending()) else {
            self.stalled.armed = false;
            return done;
        };
        if !self.stalled.armed {
            self.unarrived_bytes = self.look_at_unarrived();
        }
        while self.stalled.poll(cx, stall_timeout).is_ready() {
            // The kernel says that there is room only when a third of its buffer is free, which may be a megabyte.
            let unarrived_bytes = self.look_at_unarrived();
            if unarrived_bytes >= self.unarrived_bytes {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")));
            }
            self.unarrived_bytes = unarrived_bytes;
            self.stalled.armed = false;
        }
        Poll::Pending
    }

    /// Where that cannot be told, nothing has arrived.
    fn look_at_unarrived(&self) -> usize {
        let known = self.socket.as_ref().and_then(|socket| sys::unarrived_bytes(socket).ok());
        known.unwrap_or(usize::MAX)
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.socket()?, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = either!(self.socket()?, stream => Pin::new(stream).poll_write(cx, bytes));
        self.bounded(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = either!(self.socket()?, stream => Pin::new(stream).poll_write_vectored(cx, pieces));
        self.bounded(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.socket()?, stream => Pin::new(stream).poll_flush(cx))
    }

    /// Ends our side, and waits for the client to end his: to close a socket with something unread in it resets the
    /// connection, and then the answer may be lost on the way.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.farewell.armed {
            ready!(either!(self.socket()?, stream => Pin::new(stream).poll_shutdown(cx)))?;
        }
        if self.farewell.poll(cx, FAREWELL).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; SCRATCH_BYTES];
        while self.discarded_bytes < FAREWELL_BYTES {
            let mut buffer = ReadBuf::new(&mut scratch);
            // However it ends, there is nobody left to tell.
            match ready!(either!(self.socket()?, stream => Pin::new(stream).poll_read(cx, &mut buffer))) {
                Ok(()) if !buffer.filled().is_empty() => self.discarded_bytes += buffer.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A time limit that begins when it is first looked at.
#[derive(Debug, Default)]
struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Deadline {
    fn poll(&mut self, cx: &mut Context<'_>, after: Duration) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(after)));
        if !self.armed {
            timer.as_mut().reset(Instant::now() + after);
            self.armed = true;
        }
        timer.as_mut().poll(cx)
    }
}
