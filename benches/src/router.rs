//! Calls of TaskCommandRouter, from both sides: a client for the agent, and a bare server that does nothing, which is what
//! tonic itself costs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use pid1::proto::modal::task_command_router as contract;
use pid1::proto::modal::task_command_router::task_command_router_client::TaskCommandRouterClient;
use pid1::proto::modal::task_command_router::task_command_router_server::{
    TaskCommandRouter, TaskCommandRouterServer,
};
use tokio::runtime::Runtime;
use tokio_stream::StreamExt;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::agent::TOKEN;
use crate::grpc::{PIECE_BYTES, Shares, connect, serve};

/// A connection and the one thread that drives it.
pub struct Router {
    runtime: Runtime,
    calls: Calls,
}

#[derive(Clone)]
struct Calls {
    client: TaskCommandRouterClient<Channel>,
    /// How many were started.
    started: Arc<AtomicU64>,
}

/// A program, as this client names it.
#[derive(Clone)]
struct Exec(String);

impl Router {
    /// Connects.
    pub fn to(address: SocketAddr) -> Result<Router> {
        let (runtime, channel) = connect(address)?;
        Ok(Router {
            runtime,
            calls: Calls { client: TaskCommandRouterClient::new(channel), started: Arc::default() },
        })
    }

    /// Starts `args` and waits for their end.
    pub fn run(&mut self, args: &[&str]) -> Result<Duration> {
        let began = Instant::now();
        self.runtime.block_on(async {
            let exec = self.calls.start(args).await?;
            self.calls.wait(&exec).await
        })?;
        Ok(began.elapsed())
    }

    /// Starts `args` and reads all they print; how much, and in which time.
    pub fn read(&mut self, args: &[&str]) -> Result<(u64, Duration)> {
        let began = Instant::now();
        let came = self.runtime.block_on(async {
            let exec = self.calls.start(args).await?;
            let mut pieces = self.calls.read(&exec).await?;
            let mut came = 0;
            while let Some(piece) = pieces.next().await {
                came += piece?.data.len() as u64;
            }
            self.calls.wait(&exec).await?;
            anyhow::Ok(came)
        })?;
        Ok((came, began.elapsed()))
    }

    /// Runs `args`, which never end, in `calls` programs at once until each was read `bytes` of; what the slowest got, and
    /// all on the average.
    pub fn share(&mut self, args: &[&str], calls: usize, bytes: u64) -> Result<(u64, f64)> {
        self.runtime.block_on(async {
            let mut shares = Shares::of(calls, bytes);
            // All before any is read: what was not taken yet fills the connection's window, and answers have no way past it.
            let mut execs = Vec::new();
            for _ in 0..calls {
                execs.push(self.calls.start(args).await?);
            }
            for (at, exec) in execs.into_iter().enumerate() {
                let mut pieces = self.calls.read(&exec).await?;
                let count = shares.count.clone();
                #[expect(clippy::disallowed_methods, reason = "this runtime is the bench's own")]
                tokio::spawn(async move {
                    while let Some(Ok(piece)) = pieces.next().await {
                        if count.send((at, piece.data.len() as u64)).await.is_err() {
                            return;
                        }
                    }
                });
            }
            shares.until_each_has_its().await
        })
    }
}

impl Calls {
    async fn start(&self, args: &[&str]) -> Result<Exec> {
        let id = format!("exec-{}", self.started.fetch_add(1, Ordering::Relaxed));
        let request = contract::TaskExecStartRequest {
            task_id: "ta-1".to_owned(),
            exec_id: id.clone(),
            command_args: args.iter().map(|&arg| arg.to_owned()).collect(),
            stdout_config: contract::TaskExecStdoutConfig::Pipe.into(),
            stderr_config: contract::TaskExecStderrConfig::Pipe.into(),
            ..contract::TaskExecStartRequest::default()
        };
        self.client.clone().task_exec_start(with_token(request)?).await?;
        Ok(Exec(id))
    }

    async fn wait(&self, exec: &Exec) -> Result<()> {
        let request = contract::TaskExecWaitRequest { task_id: "ta-1".to_owned(), exec_id: exec.0.clone() };
        let answer = self.client.clone().task_exec_wait(with_token(request)?).await?.into_inner();
        match answer.exit_status.context("it has ended")? {
            contract::task_exec_wait_response::ExitStatus::Code(0) => Ok(()),
            other => bail!("it ended with {other:?}"),
        }
    }

    async fn read(&self, exec: &Exec) -> Result<Streaming<contract::TaskExecStdioReadResponse>> {
        let request = contract::TaskExecStdioReadRequest {
            task_id: "ta-1".to_owned(),
            exec_id: exec.0.clone(),
            ..contract::TaskExecStdioReadRequest::default()
        };
        Ok(self.client.clone().task_exec_stdio_read(with_token(request)?).await?.into_inner())
    }
}

fn with_token<M>(message: M) -> Result<Request<M>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse()?);
    Ok(request)
}

/// The bare server: every program has ended when it was started, and has printed so many bytes.
struct Bare {
    bytes: usize,
}

#[tonic::async_trait]
impl TaskCommandRouter for Bare {
    type TaskExecStdioReadStream = BoxStream<contract::TaskExecStdioReadResponse>;

    async fn task_exec_start(
        &self,
        _: Request<contract::TaskExecStartRequest>,
    ) -> Result<Response<contract::TaskExecStartResponse>, Status> {
        Ok(Response::new(contract::TaskExecStartResponse {}))
    }

    async fn task_exec_wait(
        &self,
        _: Request<contract::TaskExecWaitRequest>,
    ) -> Result<Response<contract::TaskExecWaitResponse>, Status> {
        let exit_status = Some(contract::task_exec_wait_response::ExitStatus::Code(0));
        Ok(Response::new(contract::TaskExecWaitResponse { exit_status }))
    }

    async fn task_exec_stdio_read(
        &self,
        _: Request<contract::TaskExecStdioReadRequest>,
    ) -> Result<Response<Self::TaskExecStdioReadStream>, Status> {
        let data = Bytes::from(vec![0; PIECE_BYTES]);
        let piece = contract::TaskExecStdioReadResponse { data };
        let pieces = std::iter::repeat_n(piece, self.bytes / PIECE_BYTES);
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces.map(Ok)))))
    }

    async fn task_exec_poll(
        &self,
        _: Request<contract::TaskExecPollRequest>,
    ) -> Result<Response<contract::TaskExecPollResponse>, Status> {
        Err(unasked())
    }

    async fn task_exec_stdin_write(
        &self,
        _: Request<contract::TaskExecStdinWriteRequest>,
    ) -> Result<Response<contract::TaskExecStdinWriteResponse>, Status> {
        Err(unasked())
    }

    async fn task_exec_stdin_write_stream(
        &self,
        _: Request<Streaming<contract::TaskExecStdinWriteStreamRequest>>,
    ) -> Result<Response<contract::TaskExecStdinWriteStreamResponse>, Status> {
        Err(unasked())
    }

    async fn task_exec_stdin_status(
        &self,
        _: Request<contract::TaskExecStdinStatusRequest>,
    ) -> Result<Response<contract::TaskExecStdinStatusResponse>, Status> {
        Err(unasked())
    }
}

fn unasked() -> Status {
    Status::unimplemented("no row asks for it")
}

/// The bare server, on any port, which is told.
pub fn serve_bare(bytes: usize, tell: impl FnOnce(u16) -> Result<()>) -> Result<()> {
    serve(Routes::new(TaskCommandRouterServer::new(Bare { bytes })), tell)
}
