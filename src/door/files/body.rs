//! A file on its way out, read as the client takes it.
//!
//! What the kernel has in memory is read right here, into a buffer that is still warm when it is sent; everything else by
//! the threads that may wait for a disk. There is never more than one piece in memory.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use hyper::body::{Body, Frame, SizeHint};
use pid1_sdk::limits::{TRANSFER_AHEAD_BYTES, TRANSFER_READ_BYTES};
use pid1_sdk::runtimes::Runtimes;
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;

use super::has_expired;
use super::turns::Turn;

/// What is left to send of one file.
pub(super) struct FileBody {
    file: Arc<File>,
    at: u64,
    left: u64,
    /// The last piece. Once it is sent nobody else has it, and the next is read into it.
    buffer: Bytes,
    reading: Option<BoxFuture<'static, Option<io::Result<Piece>>>>,
    runtimes: Runtimes,
    expires: Option<SystemTime>,
    _turn: Turn,
}

/// A buffer, and how much of it was read.
type Piece = (BytesMut, usize);

impl FileBody {
    pub(super) fn new(
        file: File,
        (from, len): (u64, u64),
        runtimes: Runtimes,
        expires: Option<SystemTime>,
        turn: Turn,
    ) -> FileBody {
        FileBody {
            file: Arc::new(file),
            at: from,
            left: len,
            buffer: Bytes::new(),
            reading: None,
            runtimes,
            expires,
            _turn: turn,
        }
    }

    /// The next piece, if it can be read without waiting; otherwise it is being read now.
    fn begin(&mut self) -> Option<io::Result<Piece>> {
        let size = self.left.min(TRANSFER_READ_BYTES as u64) as usize;
        let mut buffer = match std::mem::take(&mut self.buffer).try_into_mut() {
            Ok(free) if free.len() >= size => free,
            _ => BytesMut::zeroed(size),
        };
        let mut slices = [IoSliceMut::new(&mut buffer[..size])];
        match rustix::io::preadv2(&*self.file, &mut slices, self.at, ReadWriteFlags::NOWAIT) {
            // Nothing here may only mean that it is not in memory.
            Ok(read @ 1..) => return Some(Ok((buffer, read))),
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Some(Err(error.into())),
        }
        let (file, at, runtimes) = (self.file.clone(), self.at, self.runtimes.clone());
        self.reading = Some(Box::pin(async move {
            let read = move || {
                // So that what comes next is there when it is wanted. Only a hint.
                let ahead = NonZeroU64::new(TRANSFER_AHEAD_BYTES);
                let _ = rustix::fs::fadvise(&*file, at, ahead, Advice::WillNeed);
                file.read_at(&mut buffer[..size], at).map(|read| (buffer, read))
            };
            runtimes.long_file_work(read).await
        }));
        None
    }

    fn take(&mut self, (buffer, read): Piece) -> io::Result<Frame<Bytes>> {
        if read == 0 {
            // What was promised cannot be sent any more: a broken connection says so, a shorter answer would not.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter"));
        }
        self.at += read as u64;
        self.left -= read as u64;
        self.buffer = buffer.freeze();
        Ok(Frame::data(self.buffer.slice(..read)))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if has_expired(self.expires) {
            let error = io::Error::new(io::ErrorKind::PermissionDenied, "the token has expired");
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            let piece = match &mut self.reading {
                Some(reading) => {
                    let given_up = || Err(io::Error::other("reading was given up"));
                    let piece = ready!(reading.as_mut().poll(cx)).unwrap_or_else(given_up);
                    self.reading = None;
                    piece
                }
                None => match self.begin() {
                    Some(piece) => piece,
                    None => continue,
                },
            };
            return Poll::Ready(Some(piece.and_then(|piece| self.take(piece))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
