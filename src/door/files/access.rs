//! Who asks: a token in the header `Authorization`, or a URL that was signed for just this. Never a cookie, which a
//! browser would send for any page, and never a token in the URL, which would be in every log.

use std::time::SystemTime;

use hyper::http::{StatusCode, header, request};
use pid1_sdk::{Identity, Right};

use super::path::Wanted;
use super::refusal::Refusal;
use crate::door::Doors;
use crate::door::guard::only;

/// Who asks, if he may have what this request needs. `wanted` is what its path says, if that can be read.
pub(super) fn check(
    doors: &Doors,
    head: &request::Parts,
    wanted: Option<&Wanted>,
    needed: Right,
) -> Result<Identity, Refusal> {
    let (who, shown) = if head.headers.contains_key(header::AUTHORIZATION) {
        (by_token(doors, head)?, "this token")
    } else {
        // Without an end: a signed URL is only needed to begin.
        (by_url(doors, head, wanted)?, "this URL")
    };
    if who.role.may(needed) {
        return Ok(who);
    }
    let (method, lowest, role) = (&head.method, needed.lowest_role(), who.role);
    let text = format!("{method} needs the role {lowest}, and {shown} has the role {role}");
    Err(Refusal::of(StatusCode::FORBIDDEN, text))
}

fn by_token(doors: &Doors, head: &request::Parts) -> Result<Identity, Refusal> {
    let bearer = only(&head.headers, header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let Some(token) = bearer else {
        let text = "show a token as Authorization: Bearer TOKEN";
        return Err(Refusal::of(StatusCode::UNAUTHORIZED, text).with(header::WWW_AUTHENTICATE, "Bearer"));
    };
    let admission = doors.auth.identify(token).map_err(|refused| {
        Refusal::of(StatusCode::UNAUTHORIZED, refused.to_string())
            .with(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
            .because(format!("token refused: {}", refused.why))
    })?;
    if !doors.network.admits(admission.restrict_network) {
        return Err(Refusal::of(
            StatusCode::FORBIDDEN,
            "this token is good only where programs cannot reach the network, and here they can",
        ));
    }
    Ok(admission.identity)
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
