//! Calls of ExecService, from both sides: a client for the agent, and a bare server that speaks the same contract and does
//! nothing, which is what tonic itself costs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pid1::proto::exec_service::exec_message::Payload;
use pid1::proto::exec_service::exec_service_client::ExecServiceClient;
use pid1::proto::exec_service::exec_service_server::{ExecService, ExecServiceServer};
use pid1::proto::exec_service::exec_status_response::Status as State;
use pid1::proto::exec_service::{ExecInputData, ExecMessage, ExecOutputData, ExecStartRequest};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::agent::TOKEN;

/// As large as the agent's pieces of output at most.
pub const PIECE_BYTES: usize = 64 << 10;

/// What both sides let the other send ahead, as SDKs set it for transfers.
const WINDOW_BYTES: u32 = 4 << 20;

/// A connection and the one thread that drives it.
pub struct Calls {
    runtime: Runtime,
    client: ExecServiceClient<Channel>,
}

/// What came in a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Came {
    /// Bytes of output.
    pub bytes: u64,
    /// From the call to its last message.
    pub time: Duration,
}

impl Calls {
    /// Connects.
    pub fn to(address: SocketAddr) -> Result<Calls> {
        let (runtime, channel) = connect(address)?;
        Ok(Calls { runtime, client: ExecServiceClient::new(channel) })
    }

    /// Runs `args` in a call of its own, to its end.
    pub fn run(&mut self, args: &[&str]) -> Result<Came> {
        let client = self.client.clone();
        self.runtime.block_on(async move {
            let began = std::time::Instant::now();
            let (_open, mut answers) = call(client, start(args)).await?;
            let mut came = Came::default();
            while let Some(message) = answers.next().await {
                match message?.payload {
                    Some(Payload::OutputData(output)) => came.bytes += output.data.len() as u64,
                    Some(Payload::Status(status)) if status.status() == State::Exited => {
                        came.time = began.elapsed();
                        return Ok(came);
                    }
                    Some(Payload::Status(status)) if status.status() == State::Error => {
                        bail!(status.error_message)
                    }
                    _ => {}
                }
            }
            bail!("the call ended before the program")
        })
    }

    /// One message there and one back, in a call of its own.
    pub fn round_trip(&mut self) -> Result<Duration> {
        let client = self.client.clone();
        self.runtime.block_on(async move {
            let began = std::time::Instant::now();
            let input = Payload::InputData(ExecInputData { data: "x".into() });
            let (_open, mut answers) = call(client, input).await?;
            answers.next().await.context("an answer")??;
            Ok(began.elapsed())
        })
    }

    /// Runs `args`, which never end, in `calls` calls at once until each has had `bytes`; what the slowest got, and all on
    /// the average.
    pub fn share(&mut self, args: &[&str], calls: usize, bytes: u64) -> Result<(u64, f64)> {
        let client = self.client.clone();
        self.runtime.block_on(async move {
            let mut open = Vec::new();
            let mut shares = Shares::of(calls, bytes);
            for at in 0..calls {
                let (keep, mut answers) = call(client.clone(), start(args)).await?;
                open.push(keep);
                let count = shares.count.clone();
                #[expect(clippy::disallowed_methods, reason = "this runtime is the bench's own")]
                tokio::spawn(async move {
                    while let Some(Ok(message)) = answers.next().await {
                        if let Some(Payload::OutputData(output)) = message.payload
                            && count.send((at, output.data.len() as u64)).await.is_err()
                        {
                            return;
                        }
                    }
                });
            }
            shares.until_each_has_its().await
        })
    }
}

/// Connects, on a thread of its own.
pub fn connect(address: SocketAddr) -> Result<(Runtime, Channel)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES);
    let channel = runtime.block_on(endpoint.connect())?;
    Ok((runtime, channel))
}

/// How many bytes each of many calls has had.
pub struct Shares {
    /// Where each call, by its number, says what came.
    pub count: mpsc::Sender<(usize, u64)>,
    counted: mpsc::Receiver<(usize, u64)>,
    calls: usize,
    bytes: u64,
}

impl Shares {
    /// Of `calls` that are to have `bytes` each.
    pub fn of(calls: usize, bytes: u64) -> Shares {
        let (count, counted) = mpsc::channel(64);
        Shares { count, counted, calls, bytes }
    }

    /// What the slowest had when each had its bytes, and all on the average.
    pub async fn until_each_has_its(&mut self) -> Result<(u64, f64)> {
        let mut came = vec![0; self.calls];
        while came.iter().any(|&had| had < self.bytes) {
            let (at, more) = self.counted.recv().await.context("all calls go on")?;
            came[at] += more;
        }
        let mean = came.iter().sum::<u64>() as f64 / self.calls as f64;
        Ok((came.into_iter().min().unwrap_or_default(), mean))
    }
}

/// Begins a call; it goes on while the sender is kept.
async fn call(
    mut client: ExecServiceClient<Channel>,
    first: Payload,
) -> Result<(mpsc::Sender<ExecMessage>, Streaming<ExecMessage>)> {
    let (sender, messages) = mpsc::channel(1);
    sender.send(ExecMessage { session_id: String::new(), payload: Some(first) }).await?;
    let mut request = Request::new(ReceiverStream::new(messages));
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse()?);
    Ok((sender, client.exec_stream(request).await?.into_inner()))
}

fn start(args: &[&str]) -> Payload {
    let command = args.iter().map(|&arg| arg.to_owned()).collect();
    Payload::StartRequest(ExecStartRequest {
        command,
        container_id: "bench".to_owned(),
        ..ExecStartRequest::default()
    })
}

/// The bare server: input comes back, a start gives so many bytes of output and the end.
struct Bare {
    bytes: usize,
}

#[tonic::async_trait]
impl ExecService for Bare {
    type ExecStreamStream = BoxStream<ExecMessage>;

    async fn exec_stream(
        &self,
        request: Request<Streaming<ExecMessage>>,
    ) -> Result<Response<Self::ExecStreamStream>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.unwrap_or_default();
        let answers: Self::ExecStreamStream = match first.payload {
            Some(Payload::StartRequest(_)) => Box::pin(output(self.bytes)),
            _ => Box::pin(tokio_stream::once(Ok(first))),
        };
        // Open as long as the client's half is.
        Ok(Response::new(Box::pin(answers.chain(messages))))
    }
}

fn output(bytes: usize) -> impl Stream<Item = Result<ExecMessage, Status>> {
    let piece = bytes::Bytes::from(vec![0; PIECE_BYTES]);
    let pieces = (0..bytes / PIECE_BYTES).map(move |_| {
        Payload::OutputData(ExecOutputData { data: piece.clone(), ..ExecOutputData::default() })
    });
    let end =
        pid1::proto::exec_service::ExecStatusResponse { status: State::Exited.into(), ..Default::default() };
    let messages = pieces.chain([Payload::Status(end)]);
    tokio_stream::iter(
        messages.map(|payload| Ok(ExecMessage { session_id: "s".into(), payload: Some(payload) })),
    )
}

/// The bare server, on any port, which is told.
pub fn serve_bare(bytes: usize, tell: impl FnOnce(u16) -> Result<()>) -> Result<()> {
    serve(Routes::new(ExecServiceServer::new(Bare { bytes })), tell)
}

/// Serves on any port, which is told, for as long as this process lives.
pub fn serve(services: Routes, tell: impl FnOnce(u16) -> Result<()>) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        tell(listener.local_addr()?.port())?;
        Server::builder()
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES)
            .add_routes(services)
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await?;
        Ok(())
    })
}
