//! The workspace's files at `/files/PATH`: read, written, removed, moved and listed by whoever shows a token or a signed
//! URL. What is refused is refused on the head of the request, before a body is read.
//!
//! A connection that asks for files is served on the bulk runtime from then on, and the files themselves are read and
//! written by the threads that may wait for a disk, so that nobody who types waits for a transfer.

mod access;
mod body;
mod change;
mod conditions;
mod headers;
mod kind;
mod listing;
mod path;
mod range;
mod read;
mod refusal;
mod turns;
mod watched;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::http::{HeaderMap, Method, Request, StatusCode, Version};
use pid1_sdk::Right;
use pid1_sdk::error::printable;
use pid1_sdk::runtimes::Runtimes;
use pid1_sdk::workspace::{FileError, Workspace};
use tracing::{debug, info};

use super::http::Answer;
use super::{Caller, Doors};
use path::Wanted;
use refusal::Refusal;
use turns::Turn;
pub(crate) use turns::Turns;
use watched::Watched;

/// What is answered here, as `Allow` says it.
const METHODS: &str = "GET, HEAD, PUT, DELETE, MOVE, MKCOL, OPTIONS";

/// One request that may be served.
struct Visit {
    workspace: Workspace,
    runtimes: Runtimes,
    method: Method,
    version: Version,
    headers: HeaderMap,
    wanted: Wanted,
    /// When the token ends, and with it whatever it is used for.
    expires: Option<SystemTime>,
    /// How long a body may not come.
    transfer_timeout: Duration,
    turn: Turn,
}

/// Answers a request whose path begins with `/files`.
pub(super) async fn answer(doors: Arc<Doors>, request: Request<Incoming>, caller: &Caller) -> Answer {
    let begin = Instant::now();
    caller.bulk.notify_one();
    let origin = doors.config.guard.known_origin(request.headers()).cloned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let shares_connection = request.version() == Version::HTTP_2;
    let mut answer = if method == Method::OPTIONS {
        headers::preflight(origin.is_some())
    } else {
        serve(&doors, request, caller).await.unwrap_or_else(Refusal::into_answer)
    };
    if shares_connection {
        let (patience, runtimes) = (doors.config.transfer_timeout, doors.router.engine().runtimes());
        answer = answer.map(|content| Watched::new(content, patience, runtimes).boxed_unsync());
    }
    headers::complete(&mut answer, origin);
    let status = answer.status().as_u16();
    let elapsed_ms = begin.elapsed().as_millis() as u64;
    debug!(peer = %caller.peer, method = %method, path = printable(&path), status, elapsed_ms, "answered");
    answer
}

async fn serve(doors: &Doors, request: Request<Incoming>, caller: &Caller) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    let needed = match head.method.as_str() {
        "GET" | "HEAD" => Right::Read,
        "PUT" | "DELETE" | "MOVE" | "MKCOL" => Right::Write,
        _ => return Err(Refusal::of(StatusCode::METHOD_NOT_ALLOWED, format!("files take {METHODS}"))),
    };
    let decoded = path::decode(&head.uri);
    let who =
        access::check(doors, &head, caller.peer, decoded.as_ref().ok(), needed).inspect_err(|refusal| {
            info!(peer = %caller.peer, method = %head.method, error = printable(refusal.why()), "refused");
        })?;
    caller.place.identified();
    let turn = doors.transfers.take(who.client).await?;
    let engine = doors.router.engine();
    let visit = Visit {
        workspace: engine.workspace().clone(),
        runtimes: engine.runtimes().clone(),
        method: head.method,
        version: head.version,
        headers: head.headers,
        wanted: decoded?,
        expires: who.expires,
        transfer_timeout: doors.config.transfer_timeout,
        turn,
    };
    match visit.method.as_str() {
        "PUT" => write::put(visit, body).await,
        "DELETE" => change::delete(visit).await,
        "MOVE" => change::rename(visit).await,
        "MKCOL" => change::make_folder(visit, &body).await,
        _ => read::get(visit).await,
    }
}

impl Visit {
    /// Runs `work` where it may wait for a disk.
    async fn files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Workspace) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let workspace = self.workspace.clone();
        self.done(self.runtimes.file_work(move || work(&workspace)).await)
    }

    /// The same for what takes as long as there is much of something.
    async fn long_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Workspace) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let workspace = self.workspace.clone();
        self.done(self.runtimes.long_file_work(move || work(&workspace)).await)
    }

    fn done<T>(&self, done: Option<Result<T, FileError>>) -> Result<T, Refusal> {
        done.ok_or_else(Refusal::given_up)?.map_err(|error| Refusal::of_file(&error, self.reads()))
    }

    fn reads(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    fn has_expired(&self) -> bool {
        has_expired(self.expires)
    }
}

fn has_expired(expires: Option<SystemTime>) -> bool {
    expires.is_some_and(|at| SystemTime::now() >= at)
}
