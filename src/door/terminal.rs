//! The TerminalAPI door, Volt's contract: a stream is one program on a terminal.
//!
//! There is no field for an exit status: the end of a program is the end of its stream. Whatever went wrong is said by a
//! status with a message, which is what the published client takes for an error.

use std::convert::Infallible;
use std::ffi::OsString;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use pid1_sdk::Identity;
use pid1_sdk::engine::Engine;
use pid1_sdk::error::printable;
use pid1_sdk::process::{Hold, Io, Keep, Process, SignalNumber, StartError, StopCause, WindowSize};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{Instrument, info, info_span};

use super::grpc::{
    Answers, Followed, Order, Orders, Output, Printed, Target, Typing, identity, lost, window,
};
use super::lifetime;
use crate::proto::volt::command_stream_request::Payload;
use crate::proto::volt::terminal_api_server::TerminalApi;
use crate::proto::volt::{
    CommandStreamRequest, CommandStreamResponse, Control, Status as VoltStatus, TerminalSize,
};

/// The door.
#[derive(Debug)]
pub(super) struct TerminalDoor {
    engine: Arc<Engine>,
    /// What may be run; empty for all.
    commands: Arc<[String]>,
}

impl TerminalDoor {
    pub(super) fn new(engine: Arc<Engine>, commands: Vec<String>) -> TerminalDoor {
        TerminalDoor { engine, commands: commands.into() }
    }
}

#[tonic::async_trait]
impl TerminalApi for TerminalDoor {
    type CommandStreamStream = BoxStream<'static, Result<CommandStreamResponse, Status>>;

    async fn command_stream(
        &self,
        request: Request<Streaming<CommandStreamRequest>>,
    ) -> Result<Response<Self::CommandStreamStream>, Status> {
        let who = identity(request.extensions())?;
        let (orders, answers) = Answers::begin();
        let span = info_span!("terminal", role = %who.role, user = who.name);
        let stream =
            TerminalStream { engine: self.engine.clone(), commands: self.commands.clone(), who, orders };
        self.engine.runtimes().spawn(stream.run(request.into_inner()).instrument(span));
        Ok(Response::new(answers))
    }
}

/// One call.
struct TerminalStream {
    engine: Arc<Engine>,
    commands: Arc<[String]>,
    who: Arc<Identity>,
    orders: Orders<CommandStreamResponse>,
}

/// The program of a call.
struct Running {
    process: Process,
    /// Started here: it ends with the call.
    own: bool,
    /// From then on nothing of it is told.
    forgotten: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.forgotten.cancel();
        if self.own && self.process.try_exit().is_none() {
            self.process.stop(StopCause::Closed);
        }
    }
}

impl TerminalStream {
    async fn run(self, mut messages: Streaming<CommandStreamRequest>) {
        let expiry = lifetime::expiry(self.who.expires);
        let status = tokio::select! {
            status = self.serve(&mut messages) => status,
            () = self.orders.over.cancelled() => return,
            () = expiry => Err(Status::unauthenticated("the token has expired")),
        };
        self.orders.give(Order::Finish(status)).await;
    }

    async fn serve(&self, messages: &mut Streaming<CommandStreamRequest>) -> Result<(), Status> {
        let stopping = || Status::unavailable("the agent is stopping");
        let first = tokio::select! {
            first = messages.message() => first?,
            () = self.engine.stopping().cancelled() => return Err(stopping()),
        };
        let control = match first.map(|first| first.payload) {
            Some(Some(Payload::Control(control))) => control,
            Some(_) => {
                return self
                    .refuse(Code::InvalidArgument, "the first message must be a control".into())
                    .await;
            }
            None => return Ok(()),
        };
        let running = match self.start(control) {
            Ok(running) => running,
            Err((code, why)) => return self.refuse(code, why).await,
        };
        let hold = if running.own { Hold::Back } else { Hold::Not };
        let followed = Followed {
            output: Output::of(&running.process, hold),
            forgotten: running.forgotten.clone(),
            say: Box::new(said),
        };
        self.orders.give(Order::Follow(Box::new(followed))).await;
        tokio::select! {
            never = self.listen(&running, messages) => match never? {},
            _ = running.process.exited() => {}
        }
        let status = if self.engine.stopping().is_cancelled() { Err(stopping()) } else { Ok(()) };
        self.orders.give(Order::Finish(status)).await;
        // Until all that it printed is told, or nobody listens.
        self.orders.over.cancelled().await;
        Ok(())
    }

    /// Does what the client says, and hands on what it types, to the last of it. Ends only by an error.
    async fn listen(
        &self,
        running: &Running,
        messages: &mut Streaming<CommandStreamRequest>,
    ) -> Result<Infallible, Status> {
        let process = &running.process;
        let mut typing = Typing::into(process.stdin());
        loop {
            let full = typing.is_full();
            let message = tokio::select! {
                handed_on = typing.hand_on() => {
                    handed_on?;
                    continue;
                }
                message = messages.message(), if !full => message?,
            };
            match message.map(|message| message.payload) {
                Some(Some(Payload::Input(input))) => typing.add(input.data)?,
                Some(Some(Payload::Control(control))) => self.control(process, &control).await,
                Some(None) => {}
                None => break,
            }
        }
        if running.own {
            typing.end();
        }
        // Until the program ends, which is waited for elsewhere.
        loop {
            typing.hand_on().await?;
        }
    }

    /// What a control says to a program that runs.
    async fn control(&self, process: &Process, control: &Control) {
        if let Some(size) = control.terminal_size.and_then(size) {
            // Without a terminal, which a program may have that was found here, there is nothing to resize.
            let _ = process.resize(size);
        }
        if control.interrupt == 0 {
            return;
        }
        let sent = match SignalNumber::new(control.interrupt) {
            None => Err((Code::InvalidArgument, format!("there is no signal {}", control.interrupt))),
            Some(signal) => process
                .signal_foreground(signal)
                .or_else(|_| process.signal(signal))
                .map_err(|error| (Code::FailedPrecondition, error.to_string())),
        };
        if let Err((code, why)) = sent {
            self.orders.say(trouble(code, why)).await;
        }
    }

    fn start(&self, control: Control) -> Result<Running, (Code, String)> {
        let Control { command, arg, terminal_size, .. } = control;
        let command = match command {
            shell if shell.is_empty() => {
                let shell = self.engine.shell().map_err(|error| (Code::NotFound, error.to_string()))?;
                let name = std::path::Path::new(&shell).file_name().map(|name| name.to_string_lossy());
                // Whoever allows `bash` means this one, too.
                if !self.allows(&shell.to_string_lossy()) && !name.is_some_and(|name| self.allows(&name)) {
                    return Err(self.not_allowed(&shell.to_string_lossy()));
                }
                shell
            }
            named if !self.allows(&named) => return Err(self.not_allowed(&named)),
            named => named.into(),
        };
        if let Some(target) = command.to_str().and_then(Target::of) {
            let found = target.find(&self.engine, &self.who);
            let process = found.map_err(|status| (status.code(), status.message().to_owned()))?;
            info!(pid = process.pid(), attached = true, "terminal begins");
            if let Some(size) = terminal_size.and_then(size) {
                let _ = process.resize(size);
            }
            return Ok(Running { process, own: false, forgotten: CancellationToken::new() });
        }
        let args: Vec<OsString> =
            std::iter::once(command).chain(arg.into_iter().map(OsString::from)).collect();
        let size = terminal_size.and_then(size).unwrap_or_default();
        let spec = self.engine.spec(args, Vec::new(), Io::Terminal(size), Keep::Tail);
        let process = self.engine.processes().start(spec).map_err(|error| {
            let code = match &error {
                StartError::ShuttingDown => Code::Unavailable,
                StartError::TooMany { .. } | StartError::NoProcesses { .. } => Code::ResourceExhausted,
                missing if missing.shell_code() == 127 => Code::NotFound,
                _ => Code::Unknown,
            };
            (code, error.to_string())
        })?;
        info!(pid = process.pid(), attached = false, "terminal begins");
        Ok(Running { process, own: true, forgotten: CancellationToken::new() })
    }

    fn allows(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.iter().any(|known| fits(known, command))
    }

    fn not_allowed(&self, command: &str) -> (Code, String) {
        info!(error = printable(command), "command not allowed");
        (Code::PermissionDenied, format!("{command} is not among the commands that may be run here"))
    }

    /// The call has come to nothing, which is no failure of the call.
    async fn refuse(&self, code: Code, why: String) -> Result<(), Status> {
        info!(error = printable(&why), "refused");
        self.orders.say(trouble(code, why)).await;
        Ok(())
    }
}

/// As Volt's policies name commands: whole, or by their beginning with a `*` behind it. A beginning that is no path means
/// names that are looked up; and none leads elsewhere by way of `..`.
fn fits(known: &str, command: &str) -> bool {
    let Some(beginning) = known.strip_suffix('*') else { return command == known };
    command.starts_with(beginning)
        && (beginning.contains('/') || !command.contains('/'))
        && command.split('/').all(|name| name != "..")
}

fn size(asked: TerminalSize) -> Option<WindowSize> {
    window(asked.rows, asked.cols)
}

fn said(printed: Printed) -> Option<CommandStreamResponse> {
    let data = |data: Bytes| Some(CommandStreamResponse { status: None, data });
    match printed {
        Printed::Bytes(_, bytes) => data(bytes),
        Printed::Lost(bytes) => data(lost(bytes)),
        Printed::Exited(_) => None,
    }
}

fn trouble(code: Code, why: String) -> CommandStreamResponse {
    let (message, description) = (printable(&why), code.description().to_owned());
    let status = VoltStatus { code: code.into(), message, description };
    CommandStreamResponse { status: Some(status), data: Bytes::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_named() {
        for (known, command, allowed) in [
            ("ls", "ls", true),
            ("ls", "lsof", false),
            ("ls", "/bin/ls", false),
            ("git*", "git", true),
            ("git*", "gitk", true),
            ("git*", "git/x", false),
            ("git*", "git/../bin/sh", false),
            ("/opt/tools/*", "/opt/tools/a/b", true),
            ("/opt/tools/*", "/opt/tools/../../bin/sh", false),
            ("/opt/tools/*", "/opt/tool", false),
            ("*", "anything", true),
            ("*", "/bin/sh", false),
            ("/*", "/bin/sh", true),
        ] {
            assert_eq!(fits(known, command), allowed, "{known} {command}");
        }
    }
}
