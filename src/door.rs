//! The listener: one port for everything. Accepts, bounds what strangers may hold, and hands requests to the doors.
//!
//! A stranger is a connection that has not identified itself. There may be a fixed number of them; when all places
//! are taken, newcomers wait for a moment in the kernel's queue, and then the oldest stranger goes: who identifies
//! does so in milliseconds.

mod files;
mod guard;
mod http;
mod line;
mod network;
mod strangers;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pid1_sdk::limits;
use pid1_sdk::wire::Census;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tracing::{debug, warn};

use crate::auth::Auth;
use crate::init::sys;
use crate::router::Router;
use crate::sessions::Sessions;
use files::Turns;
pub use guard::Guard;
use line::Line;
use network::Network;
pub use network::NetworkMode;
use strangers::Strangers;

/// Connections that wait in the kernel: a burst of clients that all come back after a restart.
const BACKLOG: u32 = 4096;

/// How long a crowd may take to leave before what it used is looked for.
const CROWD_SETTLES: Duration = Duration::from_secs(1);

/// Between two searches: whoever needs memory waits while one goes on.
const GIVE_BACK_PAUSE: Duration = Duration::from_secs(60);

/// How long to wait when the machine has no descriptors left: accepting at once again would only burn the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of one request head, tokens included.
const HEAD_BYTES: usize = 16 << 10;

/// What hyper reads at once of a body that comes fast.
const BODY_READ_BYTES: usize = limits::TRANSFER_READ_BYTES;

/// What large messages being received may hold together, in the whole agent.
const INCOMING_BUDGET_BYTES: usize = 256 << 20;

/// What the doors need to know.
#[derive(Clone, Debug)]
pub struct DoorConfig {
    /// Which hosts and origins are answered.
    pub guard: Guard,
    /// Largest message accepted, in bytes.
    pub max_message_bytes: usize,
    /// From a connection to its complete request head.
    pub head_timeout: Duration,
    /// How often a quiet client is pinged; one that is silent for twice as long is gone.
    pub ping_interval: Duration,
    /// How long a session above its high mark may take nothing.
    pub stall_timeout: Duration,
    /// How long a transfer of a file may move nothing.
    pub transfer_timeout: Duration,
    /// Whether programs can reach the network.
    pub network: NetworkMode,
    /// Where the container lives now: clients are told to go there.
    pub moved_to: Option<String>,
}

/// A connection that hyper serves.
type Serving = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Who is at the other end of a connection, and what its requests say about it.
pub(crate) struct Caller {
    pub(crate) peer: SocketAddr,
    pub(crate) place: Arc<strangers::Place>,
    head_seen: Notify,
    /// It moves so much that it is to be served apart from those who type.
    pub(crate) bulk: Notify,
}

/// Everything behind the listener, shared by all connections.
#[derive(Debug)]
pub struct Doors {
    pub(crate) config: DoorConfig,
    pub(crate) auth: Arc<Auth>,
    pub(crate) router: Arc<Router>,
    pub(crate) census: Arc<Census>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) network: Network,
    /// In units of KiB.
    pub(crate) incoming_budget: Arc<Semaphore>,
    pub(crate) transfers: Turns,
    strangers: Strangers,
    ready: AtomicBool,
}

impl Doors {
    /// Doors to `router` for whoever `auth` accepts.
    pub fn new(config: DoorConfig, auth: Arc<Auth>, router: Arc<Router>) -> Arc<Self> {
        // One message of the allowed size must always fit.
        let budget_bytes = INCOMING_BUDGET_BYTES.max(config.max_message_bytes);
        Arc::new(Doors {
            network: Network::new(config.network),
            config,
            auth,
            router,
            census: Arc::default(),
            incoming_budget: Arc::new(Semaphore::new(budget_bytes >> 10)),
            transfers: Turns::new(),
            sessions: Sessions::new(),
            strangers: Strangers::new(),
            ready: AtomicBool::new(true),
        })
    }

    /// Accepts until the agent begins to stop.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let stopping = self.router.engine().stopping().clone();
        loop {
            let place = tokio::select! {
                () = stopping.cancelled() => break,
                place = self.strangers.admit() => place,
            };
            let accepted = tokio::select! {
                () = stopping.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let doors = self.clone();
                    self.router.engine().runtimes().spawn_in_turn(doors.accepted(stream, peer, place));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(error = %error, "cannot accept a connection; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.ready.store(false, Ordering::Relaxed);
    }

    /// Gives the memory of a crowd that has left back to the system, for as long as the agent runs.
    pub async fn give_back_memory(self: Arc<Self>) {
        let engine = self.router.engine();
        let give_back = async {
            loop {
                self.sessions.crowd_has_left().await;
                // The rest of it may be leaving still.
                tokio::time::sleep(CROWD_SETTLES).await;
                let _ = engine.runtimes().spawn_blocking(sys::give_back_memory).await;
                tokio::time::sleep(GIVE_BACK_PAUSE).await;
            }
        };
        engine.stopping().run_until_cancelled(give_back).await;
    }

    /// Takes the socket over to the runtime that serves it.
    async fn accepted(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Arc<strangers::Place>) {
        match stream.into_std().and_then(TcpStream::from_std) {
            Ok(stream) => self.connection(stream, peer, place).await,
            Err(error) => warn!(error = %error, "cannot serve a connection"),
        }
    }

    /// Serves HTTP on one connection; it ends here, becomes a WebSocket with a task of its own, or goes on where streams
    /// are that keep a core busy.
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Arc<strangers::Place>) {
        // Without it an echo waits for the client's delayed acknowledgement: 44 ms instead of under 1.
        if stream.set_nodelay(true).is_err() {
            return; // the peer has gone already
        }
        let caller = Arc::new(Caller { peer, place, head_seen: Notify::new(), bulk: Notify::new() });
        let (doors, called) = (self.clone(), caller.clone());
        let service = service_fn(move |request| {
            called.head_seen.notify_one();
            http::answer(doors.clone(), request, called.clone())
        });
        let moved = Arc::new(AtomicBool::new(false));
        let line = Line::new(stream, moved.clone(), self.config.transfer_timeout);
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.head_timeout)
            .max_header_size(HEAD_BYTES)
            .max_buf_size(BODY_READ_BYTES)
            // Who has asked all that he wants to may say so, and still gets his answer. One who is gone is noticed when
            // something is sent to him, or when his body does not come.
            .half_close(true)
            .serve_connection(TokioIo::new(line), service)
            .with_upgrades();
        let mut serving: Serving = Box::pin(serving);
        let deadline = async {
            // hyper bounds the time from a head's first byte only.
            if tokio::time::timeout(self.config.head_timeout, caller.head_seen.notified()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.serve_to_the_end(&mut serving, &caller) => {}
            () = deadline => debug!(peer = %peer, "no request within the time limit"),
            () = caller.bulk.notified() => {
                let (doors, caller) = (self.clone(), caller.clone());
                self.router.engine().runtimes().spawn_bulk(async move {
                    moved.store(true, Ordering::Relaxed);
                    doors.serve_to_the_end(&mut serving, &caller).await;
                });
            }
        }
    }

    async fn serve_to_the_end(&self, serving: &mut Serving, caller: &Caller) {
        let peer = caller.peer;
        tokio::select! {
            ended = serving => if let Err(error) = ended {
                debug!(peer = %peer, error = %error, "connection failed");
            },
            () = caller.place.evicted() => debug!(peer = %peer, "gave its place to a newcomer"),
            () = self.router.engine().stopping().cancelled() => {}
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// Opens the listener.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a restarted agent gets its port back while old connections linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
