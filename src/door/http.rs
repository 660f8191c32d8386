//! Plain HTTP: the page at `/`, health, and the way to files, to calls, and into the WebSocket door.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::{Method, Request, Response, StatusCode, Version, header};
use pid1_sdk::file_url;
use tracing::info;

use super::held::hold;
use super::{Caller, Doors, files, grpc, websocket};

/// What is answered.
pub(crate) type Answer = Response<Content>;

/// A body that is whole, or is made as the client takes it.
pub(crate) type Content = UnsyncBoxBody<Bytes, io::Error>;

const TEXT: &str = "text/plain; charset=utf-8";

/// Until there is an IDE, a person who opens the printed URL is told what this is and how to use it.
const PAGE: &str = include_str!("page.html");

/// Answers one request.
pub(crate) async fn answer(
    doors: Arc<Doors>,
    request: Request<Incoming>,
    caller: Arc<Caller>,
) -> Result<Answer, Infallible> {
    // Of HTTP/1 there is one at a time.
    if request.version() != Version::HTTP_2 || caller.place.is_identified() {
        return Ok(respond(doors, request, &caller).await);
    }
    let Ok(turn) = caller.strange_turns.clone().try_acquire_owned() else {
        return Ok(grpc::too_many(&request));
    };
    let answer = respond(doors, request, &caller).await;
    Ok(if caller.place.is_identified() { answer } else { hold(answer, turn) })
}

/// Reads no body: only files and calls take one.
async fn respond(doors: Arc<Doors>, request: Request<Incoming>, caller: &Arc<Caller>) -> Answer {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    if let Err(unwelcome) = doors.config.guard.check(request.headers(), authority, caller.secure) {
        info!(peer = %caller.peer, status = unwelcome.status.as_u16(), error = unwelcome.text.trim_end(), "refused");
        let mut answer = text(unwelcome.status, unwelcome.text);
        if grpc::is_call(&request) {
            grpc::explain(&mut answer, unwelcome.text.trim_end());
        }
        return answer;
    }
    if grpc::is_call(&request) {
        return grpc::answer(&doors, request, caller).await;
    }
    let path = request.uri().path();
    if let Some(token) = path.strip_prefix("/wsv2/") {
        let token = token.to_owned();
        return websocket::upgrade(doors, request, &token, caller.clone());
    }
    if path == "/files" || path.starts_with(file_url::PREFIX) {
        return files::answer(doors, request, caller).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
    }
    match path {
        "/" => page(),
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if doors.is_ready() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        _ => text(
            StatusCode::NOT_FOUND,
            "there is nothing here; the WebSocket is at /wsv2/TOKEN, files at /files/PATH\n",
        ),
    }
}

fn page() -> Answer {
    let mut page = body(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    // The page reads the token from the address to show it, and talks to nobody.
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'";
    page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(policy));
    page.headers_mut().insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
    page
}

/// A short answer in words.
pub(crate) fn text(status: StatusCode, text: &'static str) -> Answer {
    body(status, TEXT, text)
}

fn body(status: StatusCode, kind: &'static str, content: &'static str) -> Answer {
    let mut answer = Response::new(whole(Bytes::from_static(content.as_bytes())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    answer
}

/// A body that is there.
pub(crate) fn whole(content: Bytes) -> Content {
    Full::new(content).map_err(|never| match never {}).boxed_unsync()
}
