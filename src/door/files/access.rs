//! Who asks: a token in the header `Authorization`, or a URL that was signed for just this. Never a cookie, which a
//! browser would send for any page, and never a token in the URL, which would be in every log.

use std::time::SystemTime;

use hyper::http::{StatusCode, header, request};
use pid1_sdk::{Identity, Right};

use super::path::Wanted;
use super::refusal::Refusal;
use crate::door::Doors;
use crate::door::access::Denied;
use crate::door::listener::Peer;

/// Who asks, if he may have what this request needs. `wanted` is what its path says, if that can be read.
pub(super) fn check(
    doors: &Doors,
    head: &request::Parts,
    peer: Peer,
    wanted: Option<&Wanted>,
    needed: Right,
) -> Result<Identity, Refusal> {
    let (who, shown) = match doors.caller(&head.headers, peer, false) {
        Ok(who) => (who, "this token"),
        // Without an end: a signed URL is only needed to begin.
        Err(Denied::Missing) if !head.headers.contains_key(header::AUTHORIZATION) => {
            (by_url(doors, head, wanted)?, "this URL")
        }
        Err(denied) => return Err(refusal(&denied)),
    };
    if who.role.may(needed) {
        return Ok(who);
    }
    let (method, lowest, role) = (&head.method, needed.lowest_role(), who.role);
    let text = format!("{method} needs the role {lowest}, and {shown} has the role {role}");
    Err(Refusal::of(StatusCode::FORBIDDEN, text))
}

fn refusal(denied: &Denied) -> Refusal {
    let (status, challenge) = match denied {
        Denied::Missing => (StatusCode::UNAUTHORIZED, Some("Bearer")),
        Denied::Refused(_) => (StatusCode::UNAUTHORIZED, Some("Bearer error=\"invalid_token\"")),
        Denied::Network => (StatusCode::FORBIDDEN, None),
    };
    let refusal = Refusal::of(status, denied.text()).because(denied.why());
    match challenge {
        Some(challenge) => refusal.with(header::WWW_AUTHENTICATE, challenge),
        None => refusal,
    }
}

fn by_url(doors: &Doors, head: &request::Parts, wanted: Option<&Wanted>) -> Result<Identity, Refusal> {
    let urls = doors.router.engine().file_urls();
    let query = head.uri.query().unwrap_or_default();
    let checked = wanted
        .and_then(|wanted| urls.check(head.method.as_str(), &wanted.signed(), query, SystemTime::now()));
    match checked {
        Some(Ok(who)) => Ok(who),
        Some(Err(invalid)) => Err(Refusal::of(StatusCode::FORBIDDEN, invalid.to_string())),
        None => {
            let text = "files need a token, shown as Authorization: Bearer TOKEN, or a signed URL";
            Err(Refusal::of(StatusCode::UNAUTHORIZED, text).with(header::WWW_AUTHENTICATE, "Bearer"))
        }
    }
}
