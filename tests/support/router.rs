//! A client of TaskCommandRouter, which tries nothing again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pid1::proto::modal::task_command_router::task_command_router_client::TaskCommandRouterClient;
use pid1::proto::modal::task_command_router::task_exec_wait_response::ExitStatus;
use pid1::proto::modal::task_command_router::{
    TaskExecPollRequest, TaskExecStartRequest, TaskExecStderrConfig, TaskExecStdinStatusRequest,
    TaskExecStdinWriteRequest, TaskExecStdioFileDescriptor, TaskExecStdioReadRequest,
    TaskExecStdioReadResponse, TaskExecStdoutConfig, TaskExecWaitRequest,
};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::{Agent, SOON, channel, within};

pub use TaskExecStdioFileDescriptor::{Stderr, Stdout};

/// Where all programs of these tests are said to run.
const TASK: &str = "ta-1";

/// Largest message, as the published clients have it.
const MESSAGE_BYTES: usize = 100 << 20;

/// A connection, and whose it is.
#[derive(Clone)]
pub struct Router {
    client: TaskCommandRouterClient<Channel>,
    token: String,
}

/// A start of these words, whose output is kept.
pub fn command(args: &[&str]) -> TaskExecStartRequest {
    static LAST: AtomicU64 = AtomicU64::new(0);
    TaskExecStartRequest {
        task_id: TASK.to_owned(),
        exec_id: format!("exec-{}", LAST.fetch_add(1, Ordering::Relaxed)),
        command_args: args.iter().map(|&arg| arg.to_owned()).collect(),
        stdout_config: TaskExecStdoutConfig::Pipe.into(),
        stderr_config: TaskExecStderrConfig::Pipe.into(),
        ..TaskExecStartRequest::default()
    }
}

impl Router {
    /// On a connection of its own, as the owner.
    pub async fn open(agent: &Agent) -> Router {
        Router::on(agent, agent.token()).await
    }

    /// On a connection of its own.
    pub async fn on(agent: &Agent, token: &str) -> Router {
        let client = TaskCommandRouterClient::new(channel(agent).await)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        Router { client, token: format!("Bearer {token}") }
    }

    /// A call of this contract, with the token.
    pub fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.parse().unwrap());
        request
    }

    /// For calls that are not below.
    pub fn raw(&self) -> TaskCommandRouterClient<Channel> {
        self.client.clone()
    }

    /// Starts it; its name.
    pub async fn start(&self, request: TaskExecStartRequest) -> Result<String, Status> {
        let exec = request.exec_id.clone();
        within("a start", SOON, self.raw().task_exec_start(self.request(request))).await?;
        Ok(exec)
    }

    /// Starts a script of the shell.
    pub async fn sh(&self, script: &str) -> String {
        self.start(command(&["sh", "-c", script])).await.unwrap()
    }

    /// How it ends, as a shell says it.
    pub async fn wait(&self, exec: &str) -> Result<i32, Status> {
        let asked = TaskExecWaitRequest { task_id: TASK.to_owned(), exec_id: exec.to_owned() };
        let told = within("an end", SOON, self.raw().task_exec_wait(self.request(asked))).await?;
        Ok(match told.into_inner().exit_status.expect("it has ended") {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128 + signal,
        })
    }

    /// Whether it has ended.
    pub async fn poll(&self, exec: &str) -> Result<bool, Status> {
        let asked = TaskExecPollRequest { task_id: TASK.to_owned(), exec_id: exec.to_owned() };
        let told = within("an answer", SOON, self.raw().task_exec_poll(self.request(asked))).await?;
        Ok(told.into_inner().exit_status.is_some())
    }

    /// What it prints from a byte on, piece by piece.
    pub async fn reading(
        &self,
        exec: &str,
        stream: TaskExecStdioFileDescriptor,
        offset: u64,
    ) -> Result<Streaming<TaskExecStdioReadResponse>, Status> {
        let asked = TaskExecStdioReadRequest {
            task_id: TASK.to_owned(),
            exec_id: exec.to_owned(),
            offset,
            file_descriptor: stream.into(),
        };
        let answers = within("an answer", SOON, self.raw().task_exec_stdio_read(self.request(asked))).await;
        Ok(answers?.into_inner())
    }

    /// All that it prints from a byte on.
    pub async fn read(
        &self,
        exec: &str,
        stream: TaskExecStdioFileDescriptor,
        offset: u64,
    ) -> Result<Vec<u8>, Status> {
        let mut pieces = self.reading(exec, stream, offset).await?;
        let mut all = Vec::new();
        while let Some(piece) = within("output", SOON, pieces.message()).await? {
            assert!(!piece.data.is_empty(), "the published client fails on that");
            all.extend_from_slice(&piece.data);
        }
        Ok(all)
    }

    /// Feeds it.
    pub async fn write(
        &self,
        exec: &str,
        offset: u64,
        data: impl Into<Bytes>,
        eof: bool,
    ) -> Result<(), Status> {
        self.feed(exec, offset, data.into(), eof, SOON).await
    }

    /// The same for much, with another deadline.
    pub async fn write_in_time(
        &self,
        exec: &str,
        offset: u64,
        data: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<(), Status> {
        self.feed(exec, offset, data.into(), false, deadline).await
    }

    async fn feed(
        &self,
        exec: &str,
        offset: u64,
        data: Bytes,
        eof: bool,
        deadline: Duration,
    ) -> Result<(), Status> {
        let (task_id, exec_id) = (TASK.to_owned(), exec.to_owned());
        let asked = TaskExecStdinWriteRequest { task_id, exec_id, offset, data, eof };
        within("input is taken", deadline, self.raw().task_exec_stdin_write(self.request(asked))).await?;
        Ok(())
    }

    /// How much it was fed, and whether it can be fed more.
    pub async fn status(&self, exec: &str) -> Result<(u64, bool), Status> {
        let asked = TaskExecStdinStatusRequest { task_id: TASK.to_owned(), exec_id: exec.to_owned() };
        let mut client = self.raw();
        let answer = client.task_exec_stdin_status(self.request(asked));
        let told = within("an answer", SOON, answer).await?.into_inner();
        Ok((told.num_bytes_written, told.closed))
    }
}
