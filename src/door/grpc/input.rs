//! What a client types: however much at once, handed on as fast as the program takes it.

use bytes::Bytes;
use pid1_sdk::limits::{STDIN_BUFFER_BYTES, STDIN_HOLD_BYTES, STDIN_TOTAL_BYTES};
use pid1_sdk::process::{Stdin, StdinError};
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
