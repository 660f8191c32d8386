//! The TaskCommandRouter door, Modal's contract: programs that are started, fed, read and waited for in calls of their own,
//! each of which can be made again when a connection is lost.
//!
//! Which status a client sees decides whether it tries again, how often, and whether its user hears of it; so each is
//! chosen by what the published clients do. Only what may pass by itself is UNAVAILABLE; nothing is INTERNAL or UNKNOWN,
//! which cost ten seconds of silent repetition. What this deliberately does not do: keep anything; the programs are
//! in [`Execs`].

mod start;
mod stdio;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use pid1_sdk::engine::Engine;
use pid1_sdk::error::printable;
use pid1_sdk::process::{Exit, ExitStatus};
use pid1_sdk::{Identity, limits};
use prost::UnknownEnumValue;
use tokio::time::timeout;
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::budget::FREE_BYTES;
use super::grpc::identity;
use super::lifetime;
use crate::execs::{Exec, ExecError, ExecName, Execs, InputError};
use crate::proto::modal::task_command_router as contract;
use crate::secrets::Secrets;
use contract::task_command_router_server::TaskCommandRouter;
use contract::task_exec_poll_response::ExitStatus as Polled;
use contract::task_exec_stdin_write_stream_request::Payload;
use contract::task_exec_wait_response::ExitStatus as Waited;

/// How long a client that has said that nothing follows may take to end its half of the call.
const HALF_CLOSE: Duration = Duration::from_secs(1);

/// The door.
#[derive(Debug)]
pub(super) struct RouterDoor {
    engine: Arc<Engine>,
    execs: Arc<Execs>,
    secrets: Secrets,
}

impl RouterDoor {
    pub(super) fn new(engine: Arc<Engine>, secrets: Secrets) -> RouterDoor {
        RouterDoor { execs: Execs::new(engine.clone()), engine, secrets }
    }

    /// The program that a call is about, and who calls.
    fn find(
        &self,
        extensions: &Extensions,
        task: &str,
        exec: &str,
    ) -> Result<(Arc<Exec>, Arc<Identity>), Status> {
        let who = identity(extensions)?;
        Ok((self.execs.find(name(task, exec)?, &who)?, who))
    }
}

#[tonic::async_trait]
impl TaskCommandRouter for RouterDoor {
    type TaskExecStdioReadStream = BoxStream<'static, Result<contract::TaskExecStdioReadResponse, Status>>;

    async fn task_exec_start(
        &self,
        request: Request<contract::TaskExecStartRequest>,
    ) -> Result<Response<contract::TaskExecStartResponse>, Status> {
        let who = identity(request.extensions())?;
        let request = request.into_inner();
        let name = name(&request.task_id, &request.exec_id)?;
        self.execs.start(name, &who, || start::order(&self.engine, &self.secrets, request))?;
        Ok(Response::new(contract::TaskExecStartResponse {}))
    }

    async fn task_exec_poll(
        &self,
        request: Request<contract::TaskExecPollRequest>,
    ) -> Result<Response<contract::TaskExecPollResponse>, Status> {
        let asked = request.get_ref();
        let (exec, _) = self.find(request.extensions(), &asked.task_id, &asked.exec_id)?;
        let exit = exec.process.try_exit();
        let exit_status = exit.map(|exit| told(exit, Polled::Code, Polled::Signal)).transpose()?;
        Ok(Response::new(contract::TaskExecPollResponse { exit_status }))
    }

    async fn task_exec_wait(
        &self,
        request: Request<contract::TaskExecWaitRequest>,
    ) -> Result<Response<contract::TaskExecWaitResponse>, Status> {
        let asked = request.get_ref();
        let (exec, who) = self.find(request.extensions(), &asked.task_id, &asked.exec_id)?;
        let exit = tokio::select! {
            exit = exec.process.exited() => exit,
            () = lifetime::expiry(who.expires) => return Err(expired()),
        };
        let exit_status = Some(told(exit, Waited::Code, Waited::Signal)?);
        Ok(Response::new(contract::TaskExecWaitResponse { exit_status }))
    }

    async fn task_exec_stdio_read(
        &self,
        request: Request<contract::TaskExecStdioReadRequest>,
    ) -> Result<Response<Self::TaskExecStdioReadStream>, Status> {
        let asked = request.get_ref();
        let (exec, who) = self.find(request.extensions(), &asked.task_id, &asked.exec_id)?;
        let stream = contract::TaskExecStdioFileDescriptor::try_from(asked.file_descriptor);
        let stream = stream.map_err(|unknown| unknown_value("file_descriptor", &unknown))?;
        Ok(Response::new(stdio::read(&exec, stream, asked.offset, who.expires)?))
    }

    async fn task_exec_stdin_write(
        &self,
        request: Request<contract::TaskExecStdinWriteRequest>,
    ) -> Result<Response<contract::TaskExecStdinWriteResponse>, Status> {
        let asked = request.get_ref();
        let (exec, who) = self.find(request.extensions(), &asked.task_id, &asked.exec_id)?;
        tokio::select! {
            // What was taken is said, whatever else has happened by then.
            biased;
            taken = exec.input.write(asked.offset, &asked.data, asked.eof) => taken?,
            () = lifetime::expiry(who.expires) => return Err(expired()),
        }
        Ok(Response::new(contract::TaskExecStdinWriteResponse {}))
    }

    async fn task_exec_stdin_write_stream(
        &self,
        request: Request<Streaming<contract::TaskExecStdinWriteStreamRequest>>,
    ) -> Result<Response<contract::TaskExecStdinWriteStreamResponse>, Status> {
        let who = identity(request.extensions())?;
        tokio::select! {
            biased;
            taken = self.take_stream(&who, request.into_inner()) => taken?,
            () = lifetime::expiry(who.expires) => return Err(expired()),
        }
        Ok(Response::new(contract::TaskExecStdinWriteStreamResponse {}))
    }

    async fn task_exec_stdin_status(
        &self,
        request: Request<contract::TaskExecStdinStatusRequest>,
    ) -> Result<Response<contract::TaskExecStdinStatusResponse>, Status> {
        let asked = request.get_ref();
        let (exec, _) = self.find(request.extensions(), &asked.task_id, &asked.exec_id)?;
        let (num_bytes_written, closed) = exec.input.status();
        Ok(Response::new(contract::TaskExecStdinStatusResponse { num_bytes_written, closed }))
    }
}

impl RouterDoor {
    async fn take_stream(
        &self,
        who: &Identity,
        mut messages: Streaming<contract::TaskExecStdinWriteStreamRequest>,
    ) -> Result<(), Status> {
        let Some(Payload::Start(start)) = messages.message().await?.and_then(|first| first.payload) else {
            return Err(Status::invalid_argument("the first message of a stream of input must be its start"));
        };
        let exec = self.execs.find(name(&start.task_id, &start.exec_id)?, who)?;
        let mut input = exec.input.stream(start.offset)?;
        loop {
            let message = tokio::select! {
                message = messages.message() => message?,
                // Its client may never say anything again.
                error = input.taken_over() => return Err(error.into()),
            };
            match message.map(|message| message.payload) {
                Some(Some(Payload::Data(data))) if data.len() as u64 > FREE_BYTES => {
                    // It would hold what others need to be received, as long as the program does not read.
                    let text =
                        format!("a piece of a stream of input has at most {FREE_BYTES} bytes: send several");
                    return Err(Status::invalid_argument(text));
                }
                Some(Some(Payload::Data(data))) => input.write(&data).await?,
                Some(Some(Payload::End(_))) => {
                    input.end()?;
                    // An answer to who has not ended his half yet breaks that off, which some take for an error.
                    let ended = async { while let Ok(Some(_)) = messages.message().await {} };
                    let _ = timeout(HALF_CLOSE, ended).await;
                    return Ok(());
                }
                Some(Some(Payload::Start(_))) => {
                    return Err(Status::invalid_argument("a stream of input starts once"));
                }
                // Of a later version of the contract.
                Some(None) => {}
                None => {
                    return Err(Status::invalid_argument(
                        "the stream of input stopped without its end: the input stays open",
                    ));
                }
            }
        }
    }
}

/// What a client calls a program.
fn name(task: &str, exec: &str) -> Result<ExecName, Status> {
    for (field, id) in [("task_id", task), ("exec_id", exec)] {
        if id.is_empty() || id.len() > limits::EXEC_SESSION_BYTES {
            let most = limits::EXEC_SESSION_BYTES;
            return Err(Status::invalid_argument(format!("{field} has 1 to {most} bytes, not {}", id.len())));
        }
    }
    Ok(ExecName { task: task.to_owned(), exec: exec.to_owned() })
}

/// An error as it fits into the head of an answer, which clients take up to 8 KiB of: it may repeat what they sent.
fn told_short(error: &dyn fmt::Display) -> String {
    const MOST_CHARS: usize = 500;
    let text = printable(&error.to_string());
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Of a later version of the contract, or of none.
fn unknown_value(field: &str, unknown: &UnknownEnumValue) -> Status {
    Status::invalid_argument(format!(
        "{field} cannot be {}: this agent does not know what that is",
        unknown.0
    ))
}

/// An end as the contract tells it.
fn told<T>(exit: Exit, code: impl Fn(i32) -> T, signal: impl Fn(i32) -> T) -> Result<T, Status> {
    match exit.status {
        ExitStatus::Code(number) => Ok(code(number)),
        ExitStatus::Signal(number) => Ok(signal(number)),
        // Not tried again, as it would be in vain.
        ExitStatus::Unknown => Err(Status::data_loss("the program has ended, and its status was lost")),
    }
}

/// Clients show another token, and go on.
fn expired() -> Status {
    Status::unauthenticated("the token has expired")
}

impl From<ExecError> for Status {
    fn from(error: ExecError) -> Status {
        match error {
            ExecError::Unknown(_) => Status::not_found(told_short(&error)),
            ExecError::Foreign(_) => Status::permission_denied(told_short(&error)),
            ExecError::NotStarted(error) => start::not_started(&error),
        }
    }
}

impl From<InputError> for Status {
    fn from(error: InputError) -> Status {
        let text = error.to_string();
        match error {
            InputError::Hole { .. } | InputError::Elsewhere { .. } | InputError::Closed { .. } => {
                Status::failed_precondition(text)
            }
            InputError::TakenOver { .. } => Status::aborted(text),
            InputError::Crowded { .. } => Status::unavailable(text),
        }
    }
}
