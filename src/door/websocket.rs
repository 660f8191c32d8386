//! The WebSocket door: Replit's protocol at `/wsv2/<token>`, one binary message per `Command`.
//!
//! tokio-tungstenite reads: frames, masks, fragments, control frames. Data is written by the [`writer`] straight from
//! the outbox's shared buffers, because the library would copy each message for each connection.

mod meter;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::http::{Method, Request, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use pid1_sdk::api::{
    BootStatus, ContainerState, FirewallDenied, Redirect, Toast, boot_status::Stage, command::Body,
    container_state,
};
use pid1_sdk::outbox::{Ended, Outbox};
use pid1_sdk::wire::{self, Target};
use pid1_sdk::{ChannelId, SessionId, limits};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tracing::{Instrument, debug, info, info_span};

use super::budget::{Budget, FREE_BYTES};
use super::http::{Answer, text};
use super::wire::Wire;
use super::{Caller, Doors, HEAD_BYTES, lifetime};
use crate::auth::{Admission, Refused};
use crate::session::Session;
use meter::Meter;

/// WebSocket close codes, as registered.
const CLOSE_NORMAL: u16 = 1000;
const CLOSE_GOING_AWAY: u16 = 1001;
const CLOSE_PROTOCOL_ERROR: u16 = 1002;
const CLOSE_POLICY: u16 = 1008;
const CLOSE_TOO_BIG: u16 = 1009;
/// Those that the published client knows besides.
const CLOSE_FIREWALL: u16 = 4000;
const CLOSE_TRY_ANOTHER: u16 = 4001;

/// The library's default of 128 KiB costs every idle connection that much; with this, one costs 9 KB in all.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// The same for a client that has sent a large message: with small reads most of the time goes into asking.
const LARGE_READ_BYTES: usize = 64 << 10;

/// A ping without payload, framed.
const PING: &[u8] = &[0x89, 0x00];

/// How long a client that is being closed may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(2);

/// Answers the upgrade request. A wrong token is refused after the upgrade, by close code 1008: a refused upgrade
/// is retried by clients for ever.
pub(super) fn upgrade(
    doors: Arc<Doors>,
    mut request: Request<Incoming>,
    token: &str,
    caller: Arc<Caller>,
) -> Answer {
    let accept = match accept_key(&request) {
        Ok(accept) => accept,
        Err(answer) => return *answer,
    };
    let token = percent_decode_str(token).decode_utf8_lossy();
    let admission = match &*token {
        "" if caller.peer.is_trusted() => Ok(Admission::owner()),
        token => doors.auth.identify(token),
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let runtimes = doors.router.engine().runtimes().clone();
    runtimes.spawn(async move {
        match upgraded.await {
            Ok(upgraded) => connected(doors, upgraded, admission, &caller).await,
            Err(error) => debug!(error = %error, "upgrade failed"),
        }
    });
    let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// The value that proves to the client that its handshake was understood.
fn accept_key(request: &Request<Incoming>) -> Result<header::HeaderValue, Box<Answer>> {
    let names = |name, wanted: &str| {
        let lists = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(wanted))
    };
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let well_formed = *request.method() == Method::GET
        && names(header::UPGRADE, "websocket")
        && names(header::CONNECTION, "upgrade");
    let (Some(key), true) = (key, well_formed) else {
        let mut answer = text(StatusCode::UPGRADE_REQUIRED, "this address is a WebSocket\n");
        answer.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        return Err(Box::new(answer));
    };
    if !names(header::SEC_WEBSOCKET_VERSION, "13") {
        let mut answer = text(StatusCode::UPGRADE_REQUIRED, "only WebSocket version 13 is spoken here\n");
        answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static("13"));
        return Err(Box::new(answer));
    }
    header::HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| Box::new(text(StatusCode::BAD_REQUEST, "the WebSocket key is malformed\n")))
}

async fn connected(
    doors: Arc<Doors>,
    upgraded: Upgraded,
    admission: Result<Admission, Refused>,
    caller: &Caller,
) {
    let peer = caller.peer;
    // The socket itself, so that frames are written to it without hyper in between.
    let parts = upgraded.downcast::<TokioIo<Wire>>();
    let Some(((reader, socket), read_buf)) =
        parts.ok().and_then(|parts| Some((parts.io.into_inner().into_halves()?, parts.read_buf)))
    else {
        return debug!("the upgraded connection is none of ours");
    };
    // A copy of the little that came early: hyper's own buffer is 8 KiB and would stay as long as the client.
    let early = read_buf.to_vec();
    drop(read_buf);
    let outbox = Outbox::new(doors.config.max_message_bytes);
    // A stranger's goodbye is short; nothing else of his is read into memory.
    let max_message_bytes = if admission.is_ok() { doors.config.max_message_bytes } else { HEAD_BYTES };
    let mut meter =
        Meter::new(reader, outbox.clone(), Budget::of(doors.incoming_budget.clone()), max_message_bytes);
    let activity = meter.activity();
    meter.follow(&early);
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes));
    let frames = WebSocketStream::from_partially_read(meter, early, Role::Server, Some(limits)).await;
    let writing = writer::write(socket, outbox.clone(), doors.config.stall_timeout);
    let admitted = admission.map_err(|refused| {
        info!(peer = %peer, error = refused.why, "token refused");
        Ended::Close { code: CLOSE_POLICY, reason: refused.to_string() }
    });
    let admitted = admitted.and_then(|admission| match doors.sessions.next_id() {
        Some(id) if doors.network.admits(admission.restrict_network) => Ok((admission, id)),
        Some(id) => {
            info!(peer = %peer, error = "it is good only without network, and this container has one", "token refused");
            // Clients that know this message tell their user; the others know the code.
            let denied = Body::FirewallDenied(FirewallDenied {});
            outbox.push(ChannelId::CONTROL, wire::encode(ChannelId::CONTROL, Target::One(id), String::new(), denied));
            Err(Ended::Close { code: CLOSE_FIREWALL, reason: "this container is not firewalled".to_owned() })
        }
        None => Err(Ended::Close { code: CLOSE_TRY_ANOTHER, reason: "session numbers are used up".to_owned() }),
    });
    let (admission, id) = match admitted {
        Ok(admitted) => admitted,
        Err(goodbye) => {
            outbox.end(goodbye);
            let _ = tokio::time::timeout(FAREWELL, say_goodbye(frames, writing)).await;
            return;
        }
    };
    caller.place.identified();
    let who = &admission.identity;
    let span = info_span!("session", session = id.0, role = %who.role, user = who.name);
    let runtimes = doors.router.engine().runtimes().clone();
    // A task of its own: this one stays as large as all that it takes to get here.
    let written = runtimes.spawn(writing);
    runtimes.spawn(run(doors, frames, written, outbox, activity, (id, admission)).instrument(span));
}

type Frames = WebSocketStream<Meter>;

/// One session, from its first message to its last.
async fn run(
    doors: Arc<Doors>,
    mut frames: Frames,
    written: JoinHandle<io::Result<()>>,
    outbox: Arc<Outbox>,
    activity: meter::Activity,
    (id, admission): (SessionId, Admission),
) {
    // No wait from here to `boot`: what is told to all sessions must not come before that.
    let entry = doors.sessions.enter(id, outbox.clone());
    let (router, auth) = (doors.router.clone(), doors.auth.clone());
    let expires = admission.identity.expires;
    let mut session = Session::new(entry, admission.identity, outbox.clone(), router, auth);
    info!("session begins");
    boot(&session, doors.config.moved_to.as_deref());
    let silence = watch_silence(activity.clone(), outbox.clone(), doors.config.ping_interval);
    let stopping = doors.router.engine().stopping().clone();
    let why = tokio::select! {
        why = read(&mut frames, &mut session, &activity) => why,
        () = silence => "the client is silent: it is gone".to_owned(),
        () = lifetime::expiry(expires) => {
            // Clients come back at once, with a new token if they can get one.
            end(&mut frames, &outbox, CLOSE_POLICY, "the token has expired").await
        }
        why = async {
            match written.await {
                Ok(Err(error)) => error.to_string(),
                // Goodbye is said; the client's own is awaited, but not for ever.
                _ => {
                    tokio::time::sleep(FAREWELL).await;
                    "the client did not say goodbye".to_owned()
                }
            }
        } => why,
        () = stopping.cancelled() => {
            session.tell(Body::Toast(Toast { text: "This container is stopping.".to_owned() }));
            if let Some(url) = &doors.config.moved_to {
                session.tell(redirect(url));
            }
            session.tell(container_state(container_state::State::Sleep));
            end(&mut frames, &outbox, CLOSE_GOING_AWAY, "the agent is stopping").await
        }
    };
    let why = match outbox.ended() {
        Some(Ended::TooSlow(reason)) => reason,
        _ => why,
    };
    info!(error = why, "session ends");
    // Dropping the session leaves every channel and ends the outbox, and with it the writer.
}

/// Closes the connection, and lets what is queued and the goodbyes through. Why it ended.
async fn end(frames: &mut Frames, outbox: &Outbox, code: u16, reason: &str) -> String {
    outbox.end(Ended::Close { code, reason: reason.to_owned() });
    let _ = tokio::time::timeout(FAREWELL, frames.get_mut().drain()).await;
    reason.to_owned()
}

/// What a client waits for, in the order that the official one demands. With `moved_to` it is told where to go before
/// it is told that this is ready; one that does not follow is served.
fn boot(session: &Session, moved_to: Option<&str>) {
    for stage in [Stage::Handshake, Stage::Acquiring, Stage::LoadBlock, Stage::Complete] {
        session.tell(Body::BootStatus(BootStatus { stage: stage.into(), ..BootStatus::default() }));
    }
    if let Some(url) = moved_to {
        session.tell(redirect(url));
    }
    session.tell(container_state(container_state::State::Ready));
}

fn redirect(url: &str) -> Body {
    Body::Redirect(Redirect { url: url.to_owned() })
}

fn container_state(state: container_state::State) -> Body {
    Body::ContainerState(ContainerState { state: state.into() })
}

/// Reads until the connection ends; why it did.
async fn read(frames: &mut Frames, session: &mut Session, activity: &meter::Activity) -> String {
    let outbox = session.outbox().clone();
    loop {
        // Whoever does not take what he asked for is not asked for more.
        outbox.until_at_most(limits::OUTBOX_HIGH_BYTES).await;
        let close = match frames.next().await {
            Some(Ok(Message::Binary(message))) => {
                let large = message.len() as u64 > FREE_BYTES;
                if !message.is_empty() {
                    let _handling = activity.handling();
                    session.receive(message).await;
                }
                if large {
                    give_up_buffer(frames).await;
                }
                // Wherever the client sends without pause, others get their turn.
                tokio::task::consume_budget().await;
                match outbox.ended() {
                    None => continue,
                    Some(ended) => ended,
                }
            }
            Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(_))) | None => Ended::Close { code: CLOSE_NORMAL, reason: String::new() },
            Some(Err(WsError::Capacity(CapacityError::MessageTooLong { size, max_size }))) => {
                let reason = format!("a message of {size} bytes is over the limit of {max_size}");
                Ended::Close { code: CLOSE_TOO_BIG, reason }
            }
            Some(Err(error)) if is_sudden_end(&error) => {
                outbox.end(Ended::Gone);
                return "the connection was closed without a goodbye".to_owned();
            }
            Some(Err(error @ (WsError::Protocol(_) | WsError::Utf8(_)))) => {
                Ended::Close { code: CLOSE_PROTOCOL_ERROR, reason: error.to_string() }
            }
            Some(Err(error)) => {
                outbox.end(Ended::Gone);
                return error.to_string();
            }
        };
        let why = match &close {
            Ended::Close { reason, .. } if !reason.is_empty() => reason.clone(),
            _ => "the client closed the connection".to_owned(),
        };
        outbox.end(close);
        // What is queued still goes out, and the client's own goodbye is awaited, so that it is not cut off by a
        // reset; but not for long.
        let _ = tokio::time::timeout(FAREWELL, frames.get_mut().drain()).await;
        return why;
    }
}

/// Whether the other side has just closed the connection; TLS has words of its own for it.
fn is_sudden_end(error: &WsError) -> bool {
    match error {
        WsError::Protocol(error) => *error == ProtocolError::ResetWithoutClosingHandshake,
        WsError::Io(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        _ => false,
    }
}

/// The library reads on into the buffer that a message came in, and would keep it for as long as the client stays,
/// however large it is. Nothing is lost with it: behind a large message nothing has been read.
async fn give_up_buffer(frames: &mut Frames) {
    // Whoever has sent one will send another, and is read in larger pieces from now on.
    let limits = frames.get_config().read_buffer_size(LARGE_READ_BYTES);
    let meter = frames.get_mut().take();
    *frames = WebSocketStream::from_raw_socket(meter, Role::Server, Some(limits)).await;
}

async fn say_goodbye(mut frames: Frames, writing: impl Future<Output = io::Result<()>>) {
    let _ = tokio::join!(frames.get_mut().drain(), writing);
}

/// Pings a quiet client; ends when nothing at all came from it for two intervals.
async fn watch_silence(activity: meter::Activity, outbox: Arc<Outbox>, interval: Duration) {
    // While too much is queued the client is not read; then it lives as long as it takes something.
    let sign_of_life = || {
        let full = outbox.queued_bytes() > limits::OUTBOX_HIGH_BYTES;
        activity.signs() + if full { outbox.taken_bytes() } else { 0 }
    };
    let mut heard = Instant::now();
    let mut seen = sign_of_life();
    loop {
        tokio::time::sleep(interval).await;
        let now = sign_of_life();
        if now != seen || activity.is_handling() {
            (seen, heard) = (now, Instant::now());
        } else if heard.elapsed() >= 2 * interval {
            return;
        }
        outbox.push_framed(Bytes::from_static(PING));
    }
}
