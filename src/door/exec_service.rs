//! The ExecService door, openYuanrong's contract: a stream runs one program at a time.
//!
//! As its published server does it, but where that loses something: stderr is told apart, environment, folder and user
//! are honoured, a missing program is 127 as in a shell, and a program is ended with its whole family. What this
//! deliberately does not do: look at `session_id` after the start, for calls are not told apart by it.

mod start;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use pid1_sdk::engine::Engine;
use pid1_sdk::process::{Exit, Process, StopCause, Stream};
use pid1_sdk::{Identity, limits};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, info, info_span};

use super::grpc::{Answers, Followed, Order, Orders, Printed, Typing, identity, lost, window};
use super::lifetime;
use crate::proto::exec_service::exec_message::Payload;
use crate::proto::exec_service::exec_output_data::StreamType;
use crate::proto::exec_service::exec_service_server::ExecService;
use crate::proto::exec_service::exec_status_response::Status as State;
use crate::proto::exec_service::{ExecMessage, ExecOutputData, ExecStartRequest, ExecStatusResponse};
use crate::sessions::Instances;
use start::NotStarted;

/// The door.
#[derive(Debug)]
pub(super) struct ExecDoor {
    engine: Arc<Engine>,
    instances: Arc<Instances>,
}

impl ExecDoor {
    pub(super) fn new(engine: Arc<Engine>, instances: Arc<Instances>) -> ExecDoor {
        ExecDoor { engine, instances }
    }
}

#[tonic::async_trait]
impl ExecService for ExecDoor {
    type ExecStreamStream = BoxStream<'static, Result<ExecMessage, Status>>;

    async fn exec_stream(
        &self,
        request: Request<Streaming<ExecMessage>>,
    ) -> Result<Response<Self::ExecStreamStream>, Status> {
        let who = identity(request.extensions())?;
        let (orders, answers) = Answers::begin();
        let span = info_span!("exec", role = %who.role, user = who.name);
        let stream = ExecStream {
            engine: self.engine.clone(),
            instances: self.instances.clone(),
            who,
            orders,
            session: None,
        };
        self.engine.runtimes().spawn(stream.run(request.into_inner()).instrument(span));
        Ok(Response::new(answers))
    }
}

/// One call: what its client says, and what runs.
struct ExecStream {
    engine: Arc<Engine>,
    instances: Arc<Instances>,
    who: Arc<Identity>,
    orders: Orders<ExecMessage>,
    session: Option<Session>,
}

/// What runs in a call.
struct Session {
    process: Process,
    /// Started here: it ends with the session.
    own: bool,
    typing: Typing,
    /// From then on nothing of it is told.
    forgotten: CancellationToken,
}

impl ExecStream {
    async fn run(mut self, mut messages: Streaming<ExecMessage>) {
        let (engine, over) = (self.engine.clone(), self.orders.over.clone());
        let expiry = lifetime::expiry(self.who.expires);
        // Whoever is gone has ended his session.
        let status = tokio::select! {
            status = self.listen(&mut messages) => status,
            () = over.cancelled() => Ok(()),
            () = expiry => Err(Status::unauthenticated("the token has expired")),
            () = engine.stopping().cancelled() => {
                // All programs are being stopped, this one too; its end is told.
                self.session = None;
                let stopping = Status::unavailable("the agent is stopping");
                self.orders.give(Order::Finish(Err(stopping))).await;
                return;
            }
        };
        // First what must happen; then what the client may never take.
        self.end_session();
        self.orders.give(Order::Finish(status)).await;
    }

    /// Does what the client says, until it says nothing more.
    async fn listen(&mut self, messages: &mut Streaming<ExecMessage>) -> Result<(), Status> {
        loop {
            let message = match &mut self.session {
                Some(Session { typing, .. }) => {
                    let full = typing.is_full();
                    tokio::select! {
                        handed_on = typing.hand_on() => {
                            handed_on?;
                            continue;
                        }
                        message = messages.message(), if !full => message?,
                    }
                }
                None => messages.message().await?,
            };
            let Some(message) = message else { return Ok(()) };
            match (message.payload, &mut self.session) {
                (Some(Payload::StartRequest(request)), _) => {
                    self.end_session();
                    self.start(message.session_id, request).await;
                }
                (Some(Payload::InputData(input)), Some(session)) => session.typing.add(input.data)?,
                (Some(Payload::StdinEof(_)), Some(session)) if !session.process.terminal() => {
                    session.typing.end();
                }
                (Some(Payload::Resize(size)), Some(session)) => {
                    if let Some(size) = window(size.rows, size.cols) {
                        // Without a terminal, or with one that is gone, there is nothing to resize.
                        let _ = session.process.resize(size);
                    }
                }
                // Before a start, and what only the agent says.
                _ => {}
            }
        }
    }

    async fn start(&mut self, session_id: String, request: ExecStartRequest) {
        let instance_id = request.instance_id.clone();
        let begun = if session_id.len().max(instance_id.len()) > limits::EXEC_SESSION_BYTES {
            let most = limits::EXEC_SESSION_BYTES;
            Err(NotStarted::Refused(format!("session_id and instance_id have at most {most} bytes")))
        } else {
            start::session_id(session_id).and_then(|id| {
                let started = start::start(&self.engine, &self.who, &id, request);
                Ok((id, started?))
            })
        };
        match begun {
            Ok((id, started)) => {
                let process = &started.process;
                info!(session = id, pid = process.pid(), attached = !started.own, "session begins");
                let counted = self.instances.count(instance_id);
                // Both before anything is waited for: a program is held back from its first byte on, and is ended if the
                // client is gone by then.
                let output = started.output();
                let forgotten = CancellationToken::new();
                self.session = Some(Session {
                    typing: Typing::into(process.stdin()),
                    forgotten: forgotten.clone(),
                    process: started.process,
                    own: started.own,
                });
                self.orders.say(status(&id, State::Started, 0, String::new())).await;
                let say = move |printed| {
                    let _until_the_end = &counted;
                    Some(said(&id, printed))
                };
                let followed = Followed { output, forgotten, say: Box::new(say) };
                self.orders.give(Order::Follow(Box::new(followed))).await;
            }
            Err(NotStarted::Refused(why)) => {
                info!(error = why, "refused");
                self.orders.say(status("", State::Error, 0, why)).await;
            }
            Err(NotStarted::AsInShell { id, tty, why, code }) => {
                let stream = if tty { Stream::Stdout } else { Stream::Stderr };
                let end = if tty { "\r\n" } else { "\n" };
                self.orders.say(status(&id, State::Started, 0, String::new())).await;
                self.orders.say(output(&id, stream, (why + end).into())).await;
                self.orders.say(status(&id, State::Exited, code, String::new())).await;
            }
        }
    }

    /// The program of the session that was, if there is one, has nobody any more. What it has left running after its own
    /// end was told runs on.
    fn end_session(&mut self) {
        let Some(Session { process, own, forgotten, .. }) = self.session.take() else { return };
        info!(pid = process.pid(), "session ends");
        forgotten.cancel();
        if own {
            let mut streams = [Stream::Stdout, Stream::Stderr].into_iter();
            let silent = streams.all(|stream| process.output(stream).is_none_or(|log| log.ended()));
            if process.try_exit().is_none() || !silent {
                process.stop(StopCause::Closed);
            }
        }
    }
}

impl Drop for ExecStream {
    fn drop(&mut self) {
        self.end_session();
    }
}

fn said(id: &str, printed: Printed) -> ExecMessage {
    match printed {
        Printed::Bytes(stream, bytes) => output(id, stream, bytes),
        Printed::Lost(bytes) => output(id, Stream::Stdout, lost(bytes)),
        Printed::Exited(exit) => status(id, State::Exited, code(&exit), String::new()),
    }
}

/// As the published server has it: 1 where the status cannot be had.
fn code(exit: &Exit) -> i32 {
    match exit.status {
        pid1_sdk::process::ExitStatus::Unknown => 1,
        _ => exit.shell_code(),
    }
}

fn output(id: &str, stream: Stream, data: Bytes) -> ExecMessage {
    let stream_type = match stream {
        Stream::Stdout => StreamType::Stdout,
        Stream::Stderr => StreamType::Stderr,
    };
    let data = ExecOutputData { stream_type: stream_type.into(), data };
    ExecMessage { session_id: id.to_owned(), payload: Some(Payload::OutputData(data)) }
}

fn status(id: &str, status: State, exit_code: i32, error_message: String) -> ExecMessage {
    let status = ExecStatusResponse { status: status.into(), exit_code, error_message };
    ExecMessage { session_id: id.to_owned(), payload: Some(Payload::Status(status)) }
}
