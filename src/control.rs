//! Channel 0: what a session asks of the agent itself.

use pid1_sdk::api::{
    CloseChannel, CloseChannelRes, Hello, Ok as Done, OpenChannel, OpenChannelRes, Pid1Config, Pong, Toast,
    close_channel::Action, close_channel_res::Status, command::Body, open_channel_res::State,
};
use pid1_sdk::channel::{Leave, Left};
use pid1_sdk::engine::Settings;
use pid1_sdk::error::printable;
use pid1_sdk::outbox::Ended;
use pid1_sdk::wire::{self, Target};
use pid1_sdk::{ChannelId, Error, Identity, Result, Right, limits};
use tracing::{debug, info};

use crate::metrics;
use crate::router::Opened;
use crate::session::{Session, Waiting};

/// WebSocket close code "normal".
const CLOSE_NORMAL: u16 = 1000;

/// Handles one command on channel 0, or gives back what must be waited for. Each with a `ref` is answered exactly once.
pub(crate) fn handle(session: &mut Session, body: Option<Body>, reference: String) -> Option<Waiting<'_>> {
    let answer = match body {
        None => Err(Error::NoBody(ChannelId::CONTROL)),
        Some(Body::OpenChan(request)) => return Some(Box::pin(open(session, request, reference))),
        Some(Body::CloseChan(request)) => return Some(Box::pin(close(session, request, reference))),
        Some(Body::Goodbye(_)) => {
            answer(session, reference, Body::Ok(Done {}));
            session.outbox.end(Ended::Close { code: CLOSE_NORMAL, reason: "goodbye".to_owned() });
            return None;
        }
        // Unlike every other answer, a pong is sent without a `ref` too: old clients ping so.
        Some(Body::Ping(_)) => {
            session.answer(ChannelId::CONTROL, reference, Body::Pong(Pong {}));
            return None;
        }
        Some(body) => simple(session, body),
    };
    match answer {
        Ok(body) => self::answer(session, reference, body),
        Err(error) => self::answer(session, reference, Body::Error(printable(&error.to_string()))),
    }
    None
}

fn answer(session: &Session, reference: String, body: Body) {
    if !reference.is_empty() {
        session.answer(ChannelId::CONTROL, reference, body);
    }
}

/// What is answered at once.
fn simple(session: &mut Session, body: Body) -> Result<Body> {
    let needed = needs(&body);
    let role = session.identity.role;
    if !role.may(needed) {
        return Err(Error::Forbidden { body: body.name(), needed, role });
    }
    match body {
        // There is no manager to tell that this container is wanted: it runs until it is stopped.
        Body::IncRef(_) => {}
        Body::Hello(hello) => greet(session, hello),
        // Answers whether the token is good; the session stays who it is.
        Body::Auth(auth) => {
            session.auth.identify(&auth.token).map_err(|refused| {
                info!(session = session.id.0, error = refused.why, "auth: token refused");
                Error::new(format!("auth: {refused}"))
            })?;
        }
        Body::HasCap(_) => return Ok(Body::HasCap(role.may(Right::Write))),
        Body::Pid1Config(config) => configure(session, config)?,
        Body::Debug(note) => debug!(session = session.id.0, text = printable(&note.text), "a client notes"),
        Body::Metrics(_) => return Ok(Body::Metrics(metrics::all(&session.router, &session.sessions))),
        Body::FileAuthReq(request) => {
            let engine = session.router.engine();
            return Ok(Body::FileAuthRes(engine.file_urls().answer(
                engine.root(),
                request,
                &session.identity,
            )));
        }
        Body::Toast(toast) => toast_all(session, &toast.text)?,
        other => return Err(Error::Unsupported(other.name())),
    }
    Ok(Body::Ok(Done {}))
}

fn needs(body: &Body) -> Right {
    // The rest changes nothing, or is refused as not supported, whoever asks.
    if matches!(body, Body::Pid1Config(_) | Body::Toast(_)) { Right::Own } else { Right::Read }
}

/// Shows a text to the users of all sessions, the sender's included.
fn toast_all(session: &Session, text: &str) -> Result<()> {
    if text.trim().is_empty() || text.chars().count() > limits::TOAST_CHARS {
        return Err(Error::new(format!("toast: a text has 1 to {} characters", limits::TOAST_CHARS)));
    }
    session.sessions.broadcast(Body::Toast(Toast { text: printable(text) }));
    info!(session = session.id.0, "a toast to all sessions");
    Ok(())
}

/// A client says who its user is. Believed only where the token named nobody, and never as to the role.
fn greet(session: &mut Session, hello: Hello) {
    if session.identity.name.is_empty() && !hello.username.is_empty() {
        let known = &session.identity;
        let name = printable(&hello.username).chars().take(limits::DISPLAY_NAME_CHARS).collect();
        session.identity = Identity { name, ..Identity::clone(known) }.into();
    }
}

fn configure(session: &Session, config: Pid1Config) -> Result<()> {
    let engine = session.router.engine();
    let cwd = (!config.cwd.is_empty()).then(|| engine.root().join(&config.cwd));
    if let Some(cwd) = cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
        return Err(Error::new(format!(
            "pid1Config: {} is not a directory",
            printable(&cwd.to_string_lossy())
        )));
    }
    let odd = |text: &str| text.contains('\0');
    let bad = config
        .env
        .iter()
        .find(|(name, value)| name.is_empty() || name.contains('=') || odd(name) || odd(value));
    if let Some((name, _)) = bad {
        return Err(Error::new(format!(
            "pid1Config: no program can be given a variable {name:?} with that value"
        )));
    }
    let env_bytes: usize = config.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if env_bytes > limits::SETTINGS_BYTES {
        let most = limits::SETTINGS_BYTES;
        return Err(Error::new(format!(
            "pid1Config: the environment has {env_bytes} bytes, and {most} are allowed"
        )));
    }
    let env = config.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    engine.set_settings(Settings { cwd, language: config.language, env });
    info!(session = session.id.0, "settings for new programs changed");
    Ok(())
}

async fn open(session: &mut Session, request: OpenChannel, reference: String) {
    if session.channels.len() >= limits::CHANNELS_PER_SESSION {
        // Those that others have ended still stand there.
        session.channels.retain(|_, handle| !handle.is_gone());
    }
    let opened = if session.channels.len() < limits::CHANNELS_PER_SESSION {
        session.router.open(session.member(), request, reference.clone()).map_err(|error| error.to_string())
    } else {
        Err(format!(
            "this session has {} channels open already; close one first",
            limits::CHANNELS_PER_SESSION
        ))
    };
    match opened {
        Ok(Opened { handle, joined }) => {
            session.channels.insert(handle.id(), handle);
            // The channel's actor answers. What comes after this open is handled after it.
            let _ = joined.await;
        }
        Err(error) => {
            let error = printable(&error);
            let refused = OpenChannelRes { id: 0, state: State::Error.into(), error };
            session.answer(ChannelId::CONTROL, reference, Body::OpenChanRes(refused));
        }
    }
}

async fn close(session: &mut Session, request: CloseChannel, reference: String) {
    let how = match request.action() {
        Action::Disconnect => Leave::Disconnect,
        Action::TryClose => Leave::TryClose,
        Action::Close => Leave::Close,
    };
    let id = ChannelId(request.id);
    session.forget_busy(id);
    let left = session
        .channels
        .remove(&id)
        .map_or(Left::NotAMember, |handle| handle.leave(&session.member(), how, reference.clone()));
    match left {
        // The channel's actor answers.
        Left::Done(carried_out) => {
            let _ = carried_out.await;
        }
        Left::NotAMember => {
            let nothing = CloseChannelRes { id: request.id, status: Status::Nothing.into() };
            let target = Target::One(session.id);
            let bytes = wire::encode(ChannelId::CONTROL, target, reference, Body::CloseChanRes(nothing));
            session.outbox.push_behind(id, bytes);
        }
    }
}
