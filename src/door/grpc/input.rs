//! What a client types: however much at once, handed on as fast as the program takes it; and the size of its window.

use bytes::Bytes;
use pid1_sdk::limits::{STDIN_BUFFER_BYTES, STDIN_HOLD_BYTES, STDIN_TOTAL_BYTES};
use pid1_sdk::process::{Stdin, StdinError, WindowSize};
use tonic::Status;

/// Hands `input` on, and waits while much of it is not read: then the client's window closes. A program that reads no more
/// gets no more, and that is no error.
///
/// # Errors
/// All programs together leave too much unread.
pub(crate) async fn type_in(stdin: &Stdin, mut input: Bytes) -> Result<(), Status> {
    while !input.is_empty() {
        let piece = input.split_to(input.len().min(STDIN_BUFFER_BYTES / 2));
        loop {
            match stdin.push(piece.clone()) {
                Ok(()) => break,
                Err(StdinError::Closed) => return Ok(()),
                Err(StdinError::Full) if !stdin.has_room() => stdin.room().await,
                Err(StdinError::Full) => {
                    let mib = STDIN_TOTAL_BYTES >> 20;
                    let text = format!("programs of this agent leave {mib} MiB of input unread together");
                    return Err(Status::resource_exhausted(text));
                }
            }
        }
    }
    if stdin.queued_bytes() > STDIN_HOLD_BYTES {
        stdin.room().await;
    }
    Ok(())
}

/// The size that a client asks for; `None` for what is no size, and changes nothing.
pub(crate) fn window(rows: i32, cols: i32) -> Option<WindowSize> {
    let side = |asked: i32| u16::try_from(asked.min(u16::MAX.into())).ok().filter(|side| *side > 0);
    Some(WindowSize { rows: side(rows)?, cols: side(cols)? })
}
