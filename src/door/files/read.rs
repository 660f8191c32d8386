//! `GET` and `HEAD`: a file or a part of it, or what is in a folder.

use std::fs::File;

use http_body_util::BodyExt;
use hyper::http::{HeaderValue, Method, Response, StatusCode, header};
use nix::errno::Errno;
use pid1_sdk::workspace::{Cause, FileError, Listing, Metadata, Workspace};

use super::body::FileBody;
use super::conditions::{Conditions, Verdict, range_holds};
use super::path::Wanted;
use super::range::{self, Span};
use super::refusal::Refusal;
use super::{Visit, headers, kind, listing};
use crate::door::http::Answer;

enum Opened {
    File(File, Metadata),
    Folder(Listing),
}

pub(super) async fn get(visit: Visit) -> Result<Answer, Refusal> {
    let wanted = visit.wanted.clone();
    match visit.files(move |workspace| open(workspace, &wanted)).await? {
        Opened::File(file, metadata) => send(visit, file, &metadata),
        Opened::Folder(entries) => Ok(list(visit, entries)),
    }
}

fn open(workspace: &Workspace, wanted: &Wanted) -> Result<Opened, FileError> {
    match workspace.open_file(&wanted.path) {
        Err(FileError { cause: Cause::System(Errno::EISDIR), .. }) => {
            workspace.list(&wanted.path).map(Opened::Folder)
        }
        Ok(_) if wanted.folder => Err(FileError::new("open", &wanted.path, Errno::ENOTDIR)),
        opened => opened.map(|(file, metadata)| Opened::File(file, metadata)),
    }
}

/// A file that is open stays what it is, whatever takes its name meanwhile.
fn send(visit: Visit, file: File, metadata: &Metadata) -> Result<Answer, Refusal> {
    match Conditions::of(&visit.headers).check(Some(metadata), true) {
        Verdict::Go => {}
        Verdict::NotModified => {
            let mut answer = headers::empty(StatusCode::NOT_MODIFIED);
            headers::stamp(&mut answer, metadata);
            return Ok(answer);
        }
        Verdict::Failed(why) => return Err(Refusal::of(StatusCode::PRECONDITION_FAILED, why)),
    }
    let size_bytes = metadata.size_bytes;
    let parts = visit.method == Method::GET && range_holds(&visit.headers, metadata);
    let span = if parts { range::of(&visit.headers, size_bytes) } else { Span::Whole };
    let (status, part) = match span {
        Span::Whole => (StatusCode::OK, (0, size_bytes)),
        Span::Part(first, last) => (StatusCode::PARTIAL_CONTENT, (first, last - first + 1)),
        Span::Nowhere => {
            let text = format!("the file has {size_bytes} bytes, and none in that range");
            let refusal = Refusal::of(StatusCode::RANGE_NOT_SATISFIABLE, text);
            return Err(refusal.with(header::CONTENT_RANGE, &format!("bytes */{size_bytes}")));
        }
    };
    let mut answer = headers::empty(status);
    headers::stamp(&mut answer, metadata);
    let kind = kind::of(&visit.wanted.path);
    let fields = answer.headers_mut();
    if !kind::is_shown(&kind) {
        fields.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    fields.extend(HeaderValue::try_from(kind).ok().map(|kind| (header::CONTENT_TYPE, kind)));
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CONTENT_LENGTH, part.1.into());
    if let Span::Part(first, last) = span {
        let range = HeaderValue::try_from(format!("bytes {first}-{last}/{size_bytes}"));
        fields.extend(range.ok().map(|range| (header::CONTENT_RANGE, range)));
    }
    if visit.method == Method::GET {
        let body = FileBody::new(file, part, visit.runtimes, visit.expires, visit.turn);
        *answer.body_mut() = body.boxed_unsync();
    }
    Ok(answer)
}

fn list(visit: Visit, entries: Listing) -> Answer {
    let mut answer = match visit.method {
        Method::GET => Response::new(listing::content(entries, visit.runtimes, visit.expires, visit.turn)),
        _ => headers::empty(StatusCode::OK),
    };
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
