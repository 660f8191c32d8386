//! What is in a folder, as JSON, made piece by piece as the client takes it: a folder may have a million entries.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use pid1_sdk::runtimes::Runtimes;
use pid1_sdk::workspace::{Entry, Kind, Listing, to_wire};
use serde::Serialize;

use super::has_expired;
use super::turns::Turn;
use crate::door::http::Content;

/// What may stand in a URL as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// About as much is made at once.
const PIECE_BYTES: usize = 64 << 10;

/// One entry. What cannot be told is left out.
#[derive(Serialize)]
struct Line<'a> {
    /// As the protocol writes names that are no text.
    name: &'a str,
    /// To be put behind the folder's URL.
    href: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
}

struct Rest {
    listing: Listing,
    begun: bool,
    runtimes: Runtimes,
    expires: Option<SystemTime>,
    turn: Turn,
}

/// All entries, in no order.
pub(super) fn content(
    listing: Listing,
    runtimes: Runtimes,
    expires: Option<SystemTime>,
    turn: Turn,
) -> Content {
    let rest = Rest { listing, begun: false, runtimes, expires, turn };
    let pieces = stream::unfold(Some(rest), |rest| async move {
        let Rest { listing, begun, runtimes, expires, turn } = rest?;
        if begun && has_expired(expires) {
            return Some((
                Err(io::Error::new(io::ErrorKind::PermissionDenied, "the token has expired")),
                None,
            ));
        }
        let made = runtimes.file_work(move || piece(listing, begun)).await;
        match made.unwrap_or_else(|| Err(io::Error::other("listing was given up"))) {
            Ok((bytes, more)) => {
                let rest = more.map(|listing| Rest { listing, begun: true, runtimes, expires, turn });
                Some((Ok(Frame::data(bytes)), rest))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// The next piece, and the listing if there is more.
fn piece(mut listing: Listing, begun: bool) -> io::Result<(Bytes, Option<Listing>)> {
    let mut text = Vec::with_capacity(PIECE_BYTES + 1024);
    let mut separator: &[u8] = if begun { b",\n" } else { b"[\n" };
    while text.len() < PIECE_BYTES {
        let Some(entry) = listing.next() else {
            text.extend(if separator == b"[\n" { &b"[]\n"[..] } else { b"\n]\n" });
            return Ok((text.into(), None));
        };
        let entry = entry.map_err(|error| io::Error::other(error.to_string()))?;
        text.extend(separator);
        separator = b",\n";
        serde_json::to_writer(&mut text, &line(&listing, &entry, &to_wire(&entry.name)))?;
    }
    Ok((text.into(), Some(listing)))
}

fn line<'a>(listing: &Listing, entry: &Entry, name: &'a str) -> Line<'a> {
    let found = listing.stat(entry);
    let (kind, slash) = match entry.kind {
        Kind::File => ("file", ""),
        Kind::Folder => ("folder", "/"),
        Kind::Link => ("link", ""),
        Kind::Special => ("special", ""),
    };
    Line {
        name,
        href: percent_encode(entry.name.as_bytes(), PLAIN).to_string() + slash,
        kind,
        size: found.filter(|found| found.kind == Kind::File).map(|found| found.size_bytes),
        modified: found.map(|found| found.modified.0),
        mode: found.map(|found| found.mode_text()),
    }
}
