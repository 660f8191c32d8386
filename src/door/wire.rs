//! A connection as HTTP sees it, with or without TLS: which version of HTTP is spoken is told by its first bytes.
//!
//! Not by ALPN, which clients may leave out, and which cleartext does not have.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::line::{Line, Socket, TLS_HANDSHAKE};

/// What a client of HTTP/2 says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A TLS alert: fatal, handshake failure. What a client shows for it is less of a riddle than an answer in cleartext.
const NO_TLS: [u8; 7] = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28];

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    io: Io,
    /// Read while it was found out what is spoken; read again first.
    early: [u8; PREFACE.len()],
    early_bytes: usize,
    taken_bytes: usize,
}

#[derive(Debug)]
enum Io {
    Plain(Line),
    Tls(Box<TlsStream<Line>>),
}

/// The two directions of a connection that HTTP has left.
pub(super) type Halves = (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

impl Wire {
    pub(super) fn plain(line: Line) -> Wire {
        Self::new(Io::Plain(line))
    }

    pub(super) fn tls(stream: TlsStream<Line>) -> Wire {
        Self::new(Io::Tls(Box::new(stream)))
    }

    fn new(io: Io) -> Wire {
        Wire { io, early: [0; PREFACE.len()], early_bytes: 0, taken_bytes: 0 }
    }

    /// What is spoken; an error if the connection ends before that can be told, or it is TLS although there is none here.
    pub(super) async fn version(&mut self) -> io::Result<Version> {
        while self.early_bytes < PREFACE.len() {
            let mut rest = [0; PREFACE.len()];
            let wanted = PREFACE.len() - self.early_bytes;
            let read = match &mut self.io {
                Io::Plain(line) => line.read(&mut rest[..wanted]).await?,
                Io::Tls(stream) => stream.read(&mut rest[..wanted]).await?,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.early[self.early_bytes..self.early_bytes + read].copy_from_slice(&rest[..read]);
            self.early_bytes += read;
            let seen = &self.early[..self.early_bytes];
            if seen[0] == TLS_HANDSHAKE {
                let _ = self.write_all(&NO_TLS).await;
                let _ = self.shutdown().await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "TLS, and there is no certificate"));
            }
            if !PREFACE.starts_with(seen) {
                return Ok(Version::Http1);
            }
        }
        Ok(Version::Http2)
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// Its two directions, for who speaks something else on it from now on and looks himself to clients that take nothing.
    /// `None` if the socket is gone.
    pub(super) fn into_halves(self) -> Option<Halves> {
        Some(match self.io {
            Io::Plain(line) => match line.into_socket()? {
                Socket::Tcp(stream) => {
                    let (reader, writer) = stream.into_split();
                    (Box::new(reader), Box::new(writer))
                }
                Socket::Unix(stream) => {
                    let (reader, writer) = stream.into_split();
                    (Box::new(reader), Box::new(writer))
                }
            },
            Io::Tls(mut stream) => {
                stream.get_mut().0.bear_stalls();
                let (reader, writer) = tokio::io::split(*stream);
                (Box::new(reader), Box::new(writer))
            }
        })
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match &mut self.get_mut().io {
            Io::Plain(line) => Pin::new(line),
            Io::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let early = &self.early[self.taken_bytes..self.early_bytes];
        if !early.is_empty() {
            let here = early.len().min(buffer.remaining());
            buffer.put_slice(&early[..here]);
            self.taken_bytes += here;
            return Poll::Ready(Ok(()));
        }
        match &mut self.io {
            Io::Plain(line) => Pin::new(line).poll_read(cx, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}
