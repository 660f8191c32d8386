//! `PUT`: a file, whole or not at all.
//!
//! What comes is gathered in a draft, which takes the file's place when all is there. While one piece is being written
//! the next is received; who sends faster than the disk takes it waits. Whatever ends an upload before, nothing has
//! happened.

use std::io::{self, Write};
use std::mem;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Fuse, FusedFuture, FutureExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::http::{StatusCode, Version, header};
use pid1_sdk::limits::TRANSFER_WRITE_BYTES;
use pid1_sdk::runtimes::Runtimes;
use pid1_sdk::workspace::{Draft, FileError};

use super::conditions::Conditions;
use super::refusal::Refusal;
use super::{Visit, headers};
use crate::door::http::Answer;

pub(super) async fn put(visit: Visit, body: Incoming) -> Result<Answer, Refusal> {
    whole_file_only(&visit)?;
    let conditions = Conditions::of(&visit.headers);
    let path = visit.wanted.path.clone();
    let draft = visit.files(move |workspace| workspace.create(&path)).await?;
    let draft = Idle { draft: Some(draft), runtimes: visit.runtimes.clone() };
    // Now, so that nobody sends in vain; and once more when it matters.
    conditions.check_change(draft.draft.as_ref().and_then(Draft::replaces))?;
    let draft = receive(&visit, draft, body).await?.into_draft();
    let (mut created, mut refused) = (false, None);
    let commit = move || {
        let committed = draft.commit_if(|there| {
            created = there.is_none();
            refused = conditions.check_change(there).err();
            if refused.is_some() { Err(String::new()) } else { Ok(()) }
        });
        refused.map_or(Ok(committed), Err).map(|committed| (committed, created))
    };
    let (committed, created) =
        visit.runtimes.long_file_work(commit).await.ok_or_else(Refusal::given_up)??;
    let metadata = committed.map_err(|error| Refusal::of_file(&error, false))?;
    let mut answer = headers::empty(if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT });
    headers::stamp(&mut answer, &metadata);
    Ok(answer)
}

/// What is not the content of one file is refused, not misunderstood.
fn whole_file_only(visit: &Visit) -> Result<(), Refusal> {
    if visit.wanted.folder {
        let text = "the path ends with a slash, so it names a folder: MKCOL makes one";
        return Err(Refusal::of(StatusCode::CONFLICT, text));
    }
    if visit.headers.contains_key(header::CONTENT_RANGE) {
        return Err(Refusal::of(
            StatusCode::BAD_REQUEST,
            "a file is written whole: there is no Content-Range",
        ));
    }
    // hyper takes the last coding off, and would hand out what is left as the content.
    let codings = visit.headers.get_all(header::TRANSFER_ENCODING);
    if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        let text = "of transfer codings only chunked is known";
        return Err(Refusal::of(StatusCode::NOT_IMPLEMENTED, text));
    }
    // The content ends with the connection then, so nobody could tell a whole one from a part; hyper takes it for none.
    let has_length = visit.headers.contains_key(header::CONTENT_LENGTH);
    if visit.version < Version::HTTP_11 && !has_length {
        return Err(Refusal::of(StatusCode::LENGTH_REQUIRED, "HTTP/1.0 needs a Content-Length"));
    }
    if visit.headers.contains_key(header::CONTENT_ENCODING) {
        let text = "a file is written as it comes: send it without Content-Encoding";
        return Err(Refusal::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    Ok(())
}

/// Receives all of the body into the draft.
async fn receive(visit: &Visit, draft: Idle, mut body: Incoming) -> Result<Idle, Refusal> {
    let mut idle = Some(draft);
    let mut writing = pin!(Fuse::terminated());
    let (mut batch, mut batch_bytes, mut ended) = (Vec::new(), 0, false);
    loop {
        // Nobody sees any of it before its end, so nothing is gained by small pieces.
        let due = batch_bytes >= TRANSFER_WRITE_BYTES || (ended && !batch.is_empty());
        if let Some(draft) = idle.take_if(|_| due) {
            batch_bytes = 0;
            writing.set(write(draft, mem::take(&mut batch), visit.runtimes.clone()).fuse());
        } else if ended && let Some(draft) = idle.take() {
            return Ok(draft);
        }
        tokio::select! {
            piece = next(&mut body, visit.transfer_timeout), if !ended && batch_bytes < TRANSFER_WRITE_BYTES => {
                match piece? {
                    Some(piece) => {
                        batch_bytes += piece.len();
                        batch.push(piece);
                    }
                    None => ended = true,
                }
                if visit.has_expired() {
                    return Err(Refusal::of(StatusCode::UNAUTHORIZED, "the token has expired"));
                }
            }
            written = &mut writing, if !writing.is_terminated() => {
                let (draft, written) = written.ok_or_else(Refusal::given_up)?;
                written.map_err(|error| {
                    Refusal::of_file(&FileError::new("write", &visit.wanted.path, error), false)
                })?;
                idle = Some(draft);
            }
        }
    }
}

async fn write(draft: Idle, batch: Vec<Bytes>, runtimes: Runtimes) -> Option<(Idle, io::Result<()>)> {
    let write = move || {
        let mut draft = draft;
        let file = draft.draft.as_mut();
        let written = file.map_or(Ok(()), |file| batch.iter().try_for_each(|piece| file.write_all(piece)));
        (draft, written)
    };
    runtimes.long_file_work(write).await
}

/// The next piece of the body; `None` at its end.
async fn next(body: &mut Incoming, patience: Duration) -> Result<Option<Bytes>, Refusal> {
    loop {
        let Ok(frame) = tokio::time::timeout(patience, body.frame()).await else {
            let text = format!("nothing came for {patience:?}: the upload is given up");
            return Err(Refusal::of(StatusCode::REQUEST_TIMEOUT, text));
        };
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Ok(Some(piece)),
                // What may stand behind the content says nothing here.
                Err(_trailers) => {}
            },
            Some(Err(error)) => {
                return Err(Refusal::of(StatusCode::BAD_REQUEST, format!("the upload broke off: {error}")));
            }
        }
    }
}

/// A draft that nobody writes to. To forget a large one takes its time, so it is done where there is time.
struct Idle {
    draft: Option<Draft>,
    runtimes: Runtimes,
}

impl Idle {
    fn into_draft(mut self) -> Draft {
        self.draft.take().expect("only the drop takes it otherwise")
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            drop(self.runtimes.spawn_blocking(move || drop(draft)));
        }
    }
}
