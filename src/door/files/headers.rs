//! What every answer about files says to browsers: the workspace's content is anybody's, so it must never act with this
//! agent's origin, nor stay in a cache that others share.

use bytes::Bytes;
use hyper::http::{HeaderValue, Response, StatusCode, header};
use pid1_sdk::workspace::Metadata;

use super::METHODS;
use super::conditions::Stamp;
use crate::door::http::{Answer, whole};

/// What a page from a known origin may send.
const ASKED: &str = "Authorization, Content-Type, Destination, If-Match, If-Modified-Since, If-None-Match, If-Range, \
                     If-Unmodified-Since, Overwrite, Range";

/// What such a page may read of an answer besides what every page may.
const SHOWN: &str = "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Location";

/// How long a browser may remember what a page may do.
const PREFLIGHT_SECONDS: &str = "600";

/// An answer without content.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// Which version of a file an answer is about.
pub(super) fn stamp(answer: &mut Answer, metadata: &Metadata) {
    let stamp = Stamp::of(metadata);
    let headers = answer.headers_mut();
    headers.extend(HeaderValue::from_str(&stamp.tag).ok().map(|tag| (header::ETAG, tag)));
    let date = stamp.modified.map(httpdate::fmt_http_date);
    headers.extend(
        date.and_then(|date| HeaderValue::from_str(&date).ok()).map(|date| (header::LAST_MODIFIED, date)),
    );
}

/// What `OPTIONS` is answered: what there is; and to a page of a known origin what it may do.
pub(super) fn preflight(known_origin: bool) -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
    if known_origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ASKED));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
    }
    answer
}

/// Adds what all answers carry. `origin` is that of the page that asks, if it is one of the operator's.
pub(super) fn complete(answer: &mut Answer, origin: Option<HeaderValue>) {
    if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
    }
    let headers = answer.headers_mut();
    for (name, value) in [
        // A page that is opened from here runs no script and has no origin.
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        // Pages of other sites cannot embed what a signed URL shows.
        ("cross-origin-resource-policy", "same-origin"),
        // Kept by the browser only, and asked for again: an ETag makes that cheap.
        ("cache-control", "private, no-cache"),
        ("referrer-policy", "no-referrer"),
        ("vary", "Authorization, Origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(SHOWN));
    }
}
