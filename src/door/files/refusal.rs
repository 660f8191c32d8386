//! What is not done, with the status and the words for it.

use bytes::Bytes;
use hyper::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use nix::errno::Errno;
use pid1_sdk::error::printable;
use pid1_sdk::workspace::{Cause, FileError};

use crate::door::http::{Answer, whole};

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    text: String,
    /// What only the log is told.
    reason: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn of(status: StatusCode, text: impl Into<String>) -> Refusal {
        Refusal { status, text: text.into(), reason: None, headers: Vec::new() }
    }

    /// The same with one more header.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Refusal {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// The same with more for the log than for whoever asks.
    pub(super) fn because(mut self, reason: String) -> Refusal {
        self.reason = Some(reason);
        self
    }

    /// What a file operation has failed with. One that only reads conflicts with nothing: what it asks for is not there.
    pub(super) fn of_file(error: &FileError, reads: bool) -> Refusal {
        Refusal::of(status_of(&error.cause, reads), error.to_string())
    }

    /// The work on files ended without a result.
    pub(super) fn given_up() -> Refusal {
        Refusal::of(StatusCode::SERVICE_UNAVAILABLE, "given up, because the agent ends or has failed")
    }

    /// As the log has it.
    pub(super) fn why(&self) -> &str {
        self.reason.as_deref().unwrap_or(&self.text)
    }

    pub(super) fn into_answer(self) -> Answer {
        let mut answer = Response::new(whole(Bytes::from(printable(&self.text) + "\n")));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.extend(self.headers);
        answer
    }
}

fn status_of(cause: &Cause, reads: bool) -> StatusCode {
    let errno = match cause {
        Cause::System(errno) => *errno,
        Cause::Hidden => return StatusCode::NOT_FOUND,
        Cause::Outside | Cause::Link { .. } | Cause::Special | Cause::Root => return StatusCode::FORBIDDEN,
        Cause::IntoItself | Cause::Busy => return StatusCode::CONFLICT,
        Cause::TooMuch { .. } => return StatusCode::PAYLOAD_TOO_LARGE,
        _ => return StatusCode::INTERNAL_SERVER_ERROR,
    };
    match errno {
        Errno::ENOENT => StatusCode::NOT_FOUND,
        Errno::ENOTDIR if reads => StatusCode::NOT_FOUND,
        Errno::EACCES | Errno::EPERM | Errno::EROFS => StatusCode::FORBIDDEN,
        Errno::EEXIST | Errno::EISDIR | Errno::ENOTDIR | Errno::ELOOP | Errno::EBUSY | Errno::ETXTBSY => {
            StatusCode::CONFLICT
        }
        Errno::ENAMETOOLONG => StatusCode::URI_TOO_LONG,
        Errno::EINVAL | Errno::EILSEQ => StatusCode::BAD_REQUEST,
        Errno::EFBIG => StatusCode::PAYLOAD_TOO_LARGE,
        Errno::ENOSPC | Errno::EDQUOT => StatusCode::INSUFFICIENT_STORAGE,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
