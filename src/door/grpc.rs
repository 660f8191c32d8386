//! gRPC on the agent's own connections: which service a call is for, and whether its caller may make it.
//!
//! That is decided on the head of the call, before any message is read. What a service does stands in a file of its own
//! beside this one; what all of them share, below it.

mod answers;
mod body;
mod codec;
mod input;
mod output;
mod target;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::http::{Request, Response, StatusCode, Version, header};
use pid1_sdk::error::printable;
use pid1_sdk::{Identity, Right};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Extensions, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::Builder as Reflection;
use tower_service::Service;
use tracing::info;

use super::access::Denied;
use super::budget::Budget;
use super::exec_service::ExecDoor;
use super::held::hold;
use super::http::Answer;
use super::task_command_router::RouterDoor;
use super::terminal::TerminalDoor;
use super::{Caller, DoorConfig, Doors};
use crate::proto;
use crate::proto::exec_service::exec_service_server::ExecServiceServer;
use crate::proto::modal::task_command_router::task_command_router_server::TaskCommandRouterServer;
use crate::proto::volt::terminal_api_server::TerminalApiServer;
use crate::router::Router;
use crate::sessions::Sessions;
pub(super) use answers::{Answers, Followed, Order, Orders};
use body::Metered;
pub(crate) use codec::Codec;
pub(super) use input::{Typing, window};
pub(super) use output::{Output, Printed, lost};
pub(super) use target::Target;

/// Largest message: a file's worth of input in one piece.
const MESSAGE_BYTES: usize = 100 << 20;

/// The same for services that strangers may call; also all that such a call may send, if it has one message.
const STRANGERS_BYTES: usize = 4 << 10;

/// Calls of reflection at once: what one has sent and we have not read takes up to a stream's window.
const REFLECTIONS: usize = 8;

/// Where Volt's clients show their tokens.
const VOLT_TOKEN: &str = "volt-token";

/// The services.
pub(super) struct Grpc {
    entries: Vec<Entry>,
    health: HealthReporter,
}

/// One of them.
struct Entry {
    name: &'static str,
    access: Access,
    call: Box<dyn Fn(Request<Body>) -> Call + Send + Sync>,
}

/// Who may call, and how.
enum Access {
    /// Who may do this; by Volt's tokens, too, if `volt`.
    Needs { right: Right, volt: bool },
    /// Everybody, with one small message: it tells nothing of what happens here.
    Open,
    /// The same for a stream of them; so many at a time.
    OpenStream(Arc<Semaphore>),
}

type Call = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

impl Entry {
    fn of<S>(service: S, access: Access) -> Entry
    where
        S: NamedService + Clone + Send + Sync + 'static,
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S::Future: Send,
    {
        Self::made_by(move || service.clone(), access)
    }

    /// Of a service that is made when it is first called.
    fn made_by<S>(make: impl Fn() -> S + Send + Sync + 'static, access: Access) -> Entry
    where
        S: NamedService + Clone + Send + Sync + 'static,
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S::Future: Send,
    {
        let service = OnceLock::new();
        let call = move |request| -> Call {
            let answer = service.get_or_init(&make).clone().call(request);
            Box::pin(async move { answer.await.unwrap_or_else(|never| match never {}) })
        };
        Entry { name: S::NAME, access, call: Box::new(call) }
    }
}

impl Grpc {
    /// THE list of services: one line each.
    pub(super) fn new(router: &Router, sessions: &Sessions, config: &DoorConfig) -> Grpc {
        let engine = router.engine();
        let health = HealthReporter::new();
        let exec = ExecDoor::new(engine.clone(), sessions.instances().clone());
        let modal = RouterDoor::new(engine.clone(), config.secrets.clone());
        let terminal = TerminalDoor::new(engine.clone(), config.terminal_commands.clone());
        let health_service = HealthService::from_health_reporter(health.clone());
        let reflection = || {
            Reflection::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTOR)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let described = "descriptors of our own build are whole";
        let turns = Arc::new(Semaphore::new(REFLECTIONS));
        let programs = |volt| Access::Needs { right: Right::Write, volt };
        let entries = vec![
            Entry::of(ExecServiceServer::new(exec).max_decoding_message_size(MESSAGE_BYTES), programs(false)),
            Entry::of(
                TaskCommandRouterServer::new(modal).max_decoding_message_size(MESSAGE_BYTES),
                programs(false),
            ),
            Entry::of(
                TerminalApiServer::new(terminal).max_decoding_message_size(MESSAGE_BYTES),
                programs(true),
            ),
            Entry::of(HealthServer::new(health_service), Access::Open),
            // Most agents are never asked, and to index the descriptors took more than half of all the work of a start.
            Entry::made_by(
                move || {
                    let v1 = reflection().build_v1().expect(described);
                    v1.max_decoding_message_size(STRANGERS_BYTES)
                },
                Access::OpenStream(turns.clone()),
            ),
            Entry::made_by(
                move || {
                    let v1alpha = reflection().build_v1alpha().expect(described);
                    v1alpha.max_decoding_message_size(STRANGERS_BYTES)
                },
                Access::OpenStream(turns),
            ),
        ];
        Grpc { entries, health }
    }

    /// Says to whoever asks for their health what holds of all services.
    pub(super) async fn tell_health(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in self.entries.iter().map(|entry| entry.name).chain([""]) {
            self.health.set_service_status(name, status).await;
        }
    }

    fn find(&self, path: &str) -> Option<&Entry> {
        let (service, _method) = path.strip_prefix('/')?.split_once('/')?;
        self.entries.iter().find(|entry| entry.name == service)
    }
}

impl fmt::Debug for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| entry.name)).finish()
    }
}

/// Whether a request is a call.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let of_grpc = |kind: &str| kind == "application/grpc" || kind.starts_with("application/grpc+");
    request.version() == Version::HTTP_2 && kind.is_some_and(of_grpc)
}

/// Answers a call.
pub(super) async fn answer(doors: &Arc<Doors>, mut request: Request<Incoming>, caller: &Caller) -> Answer {
    let Some(entry) = doors.grpc.find(request.uri().path()) else {
        let path = printable(request.uri().path());
        return refuse(Status::unimplemented(format!("there is no method {path} here")));
    };
    match &entry.access {
        Access::Needs { right, volt } => {
            let who = match who(doors, &request, caller, *right, *volt) {
                Ok(who) => who,
                Err(status) => return refuse(status),
            };
            caller.place.identified();
            if let Some(why) = proto::not_offered(request.uri().path()) {
                return refuse(Status::unimplemented(why));
            }
            request.extensions_mut().insert(Arc::new(who));
            let budget = Budget::of(doors.incoming_budget.clone());
            let metered = request.map(|body| Body::new(Metered::new(body, budget, MESSAGE_BYTES)));
            hold(sent((entry.call)(metered).await), caller.calls.token())
        }
        Access::Open => {
            // Read to its end before anything is done: what a stranger sends on behind it is not kept.
            let (head, body) = request.into_parts();
            match Limited::new(body, STRANGERS_BYTES).collect().await {
                Ok(message) => {
                    let whole = Body::new(Full::new(message.to_bytes()));
                    sent((entry.call)(Request::from_parts(head, whole)).await)
                }
                Err(_too_much) => {
                    let text = format!("a request without a token has at most {STRANGERS_BYTES} bytes");
                    refuse(Status::resource_exhausted(text))
                }
            }
        }
        Access::OpenStream(turns) => match turns.clone().try_acquire_owned() {
            Ok(turn) => hold(sent((entry.call)(request.map(Body::new)).await), turn),
            Err(_none_left) => refuse(Status::resource_exhausted("too many ask for the same: try again")),
        },
    }
}

/// What a service has answered.
fn sent(answer: Response<Body>) -> Answer {
    answer.map(|body| body.map_err(io::Error::other).boxed_unsync())
}

/// A stranger has more requests under way than he may.
pub(super) fn too_many<B>(request: &Request<B>) -> Answer {
    if is_call(request) {
        return refuse(Status::resource_exhausted("too many calls without a token: show one, or wait"));
    }
    let mut answer = Answer::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

fn who(
    doors: &Doors,
    request: &Request<Incoming>,
    caller: &Caller,
    needed: Right,
    volt: bool,
) -> Result<Identity, Status> {
    let headers = request.headers();
    let who = match headers.get(VOLT_TOKEN) {
        Some(token) if volt && doors.auth.volt.is_some() && !headers.contains_key(header::AUTHORIZATION) => {
            doors.admit(doors.auth.identify_volt(token.to_str().unwrap_or_default()))
        }
        _ => doors.caller(headers, caller.peer, true),
    };
    let method = request.uri().path();
    let who = who.map_err(|denied| {
        info!(peer = %caller.peer, method, error = denied.why(), "refused");
        match denied {
            Denied::Network => Status::permission_denied(denied.text()),
            _ => Status::unauthenticated(denied.text()),
        }
    })?;
    if who.role.may(needed) {
        return Ok(who);
    }
    let (lowest, role) = (needed.lowest_role(), who.role);
    let text = format!("{method} needs the role {lowest}, and this token has the role {role}");
    info!(peer = %caller.peer, method, error = text, "refused");
    Err(Status::permission_denied(text))
}

/// Who calls, as was found out on the head of the call.
pub(super) fn identity(extensions: &Extensions) -> Result<Arc<Identity>, Status> {
    let known = extensions.get::<Arc<Identity>>().cloned();
    known.ok_or_else(|| Status::unauthenticated("nobody was identified"))
}

fn refuse(status: Status) -> Answer {
    sent(status.into_http())
}

/// Adds to an answer in HTTP's terms what clients of gRPC read.
pub(super) fn explain(answer: &mut Answer, text: &str) {
    let explained = refuse(Status::permission_denied(text));
    answer.headers_mut().extend(explained.headers().clone());
}
