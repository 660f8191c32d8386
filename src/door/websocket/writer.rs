//! Writes a session's outbox to its socket: a header of 2 to 10 bytes and the shared payload for each message, many
//! in one gathered write, no copy.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use pid1_sdk::outbox::{Batch, Ended, Frame, Outbox};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::FAREWELL;

/// Final fragment, binary data.
const BINARY: u8 = 0x82;
/// Final fragment, close.
const CLOSE: u8 = 0x88;

/// Writes until the outbox ends or the socket fails. An orderly end is said by a close frame.
pub(super) async fn write<S: AsyncWrite + Unpin>(
    mut socket: S,
    outbox: Arc<Outbox>,
    stall_timeout: Duration,
) -> io::Result<()> {
    let mut batch = Batch::default();
    while outbox.next_batch(&mut batch).await {
        if let Err(error) = write_batch(&mut socket, &batch, &outbox, stall_timeout).await {
            outbox.end(Ended::Gone);
            return Err(error);
        }
        outbox.written(&mut batch);
    }
    let goodbye = match outbox.ended() {
        Some(Ended::Close { code, reason }) => close_frame(code, &reason),
        Some(Ended::TooSlow(reason)) => close_frame(super::CLOSE_POLICY, &reason),
        Some(Ended::Gone) | None => return Ok(()),
    };
    timeout(FAREWELL, socket.write_all(&goodbye)).await??;
    timeout(FAREWELL, socket.shutdown()).await?
}

async fn write_batch<S: AsyncWrite + Unpin>(
    socket: &mut S,
    batch: &Batch,
    outbox: &Outbox,
    stall_timeout: Duration,
) -> io::Result<()> {
    let headers: Vec<Header> = batch.frames.iter().map(Header::of).collect();
    let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(3 * headers.len());
    for (header, frame) in headers.iter().zip(&batch.frames) {
        slices.push(IoSlice::new(header.bytes()));
        slices.push(IoSlice::new(&frame.bytes));
        if !frame.tail.is_empty() {
            slices.push(IoSlice::new(&frame.tail));
        }
    }
    let mut rest = &mut slices[..];
    loop {
        // At last what TLS has taken and not sent.
        let step = async {
            match rest.is_empty() {
                true => socket.flush().await.map(|()| None),
                false => socket.write_vectored(rest).await.map(Some),
            }
        };
        match timeout(stall_timeout, step).await {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(0))) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(Ok(Some(taken))) => {
                outbox.taken(taken);
                IoSlice::advance_slices(&mut rest, taken);
            }
            Ok(Err(error)) => return Err(error),
            // A quiet client may be asleep; one that asked for much, or keeps others waiting, is given up.
            Err(_elapsed) if outbox.owes() => {
                let reason = format!(
                    "took nothing for {stall_timeout:?} with {} bytes waiting",
                    outbox.queued_bytes()
                );
                outbox.end(Ended::TooSlow(reason.clone()));
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            Err(_elapsed) if outbox.ended().is_some() => return Err(io::ErrorKind::TimedOut.into()),
            Err(_elapsed) => {}
        }
    }
}

/// The head of one server frame: never masked.
struct Header {
    buffer: [u8; 10],
    len: usize,
}

impl Header {
    fn of(frame: &Frame) -> Header {
        let mut buffer = [0; 10];
        if frame.framed {
            return Header { buffer, len: 0 };
        }
        buffer[0] = BINARY;
        let size = frame.size_bytes();
        let len = match (u8::try_from(size), u16::try_from(size)) {
            (Ok(small @ 0..=125), _) => {
                buffer[1] = small;
                2
            }
            (_, Ok(medium)) => {
                buffer[1] = 126;
                buffer[2..4].copy_from_slice(&medium.to_be_bytes());
                4
            }
            _ => {
                buffer[1] = 127;
                buffer[2..].copy_from_slice(&(size as u64).to_be_bytes());
                10
            }
        };
        Header { buffer, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// A close frame; the reason is cut to what a control frame holds.
fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason[..reason.floor_char_boundary(123)];
    let mut frame = vec![CLOSE, 2 + reason.len() as u8]; // at most 125
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::StreamExt;
    use pid1_sdk::ChannelId;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::{Message, protocol::Role};

    #[tokio::test]
    async fn a_standard_client_reads_frames_of_every_size_and_the_close() {
        let (ours, theirs) = tokio::io::duplex(1000); // small: writes end in the middle of frames
        let outbox = Outbox::new(1 << 20);
        let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000];
        for size in sizes {
            outbox.push(ChannelId::CONTROL, Bytes::from(vec![b'x'; size]));
        }
        outbox.end(Ended::Close { code: 1007, reason: "é".repeat(100) });
        let writing = write(ours, outbox, Duration::from_secs(5));
        let reading = async {
            let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
            for size in sizes {
                match client.next().await {
                    Some(Ok(Message::Binary(bytes))) => assert_eq!(bytes.len(), size),
                    other => panic!("{other:?} instead of {size} bytes"),
                }
            }
            match client.next().await {
                Some(Ok(Message::Close(Some(close)))) => {
                    assert_eq!(
                        (u16::from(close.code), close.reason.as_str()),
                        (1007, "é".repeat(61).as_str())
                    );
                }
                other => panic!("{other:?} instead of a close"),
            }
        };
        let (written, ()) = tokio::join!(writing, reading);
        assert!(written.is_ok());
    }
}
