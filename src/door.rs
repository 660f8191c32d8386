//! The listener: one port for everything, and a socket beside it. Accepts, bounds what strangers may hold, and hands
//! requests to the doors.
//!
//! A stranger is a connection that has not identified itself. There may be a fixed number of them; when all places
//! are taken, newcomers wait for a moment in the kernel's queue, and then the oldest stranger goes: who identifies
//! does so in milliseconds.

mod access;
mod budget;
mod connection;
mod exec_service;
mod files;
pub(crate) mod grpc;
mod guard;
mod held;
mod http;
mod lifetime;
mod line;
mod listener;
mod network;
mod strangers;
mod task_command_router;
mod terminal;
pub mod tls;
mod websocket;
mod wire;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::auth::Auth;
use crate::init::sys;
use crate::router::Router;
use crate::secrets::Secrets;
use crate::sessions::Sessions;
pub(crate) use connection::Caller;
use files::Turns;
use grpc::Grpc;
pub use guard::Guard;
pub use listener::Listener;
use network::Network;
pub use network::NetworkMode;
use strangers::Strangers;
use tls::Tls;

/// How long a crowd may take to leave before what it used is looked for.
const CROWD_SETTLES: Duration = Duration::from_secs(1);

/// Between two searches: whoever needs memory waits while one goes on.
const GIVE_BACK_PAUSE: Duration = Duration::from_secs(60);

/// How long to wait when the machine has no descriptors left: accepting at once again would only burn the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of one request head, tokens included.
const HEAD_BYTES: usize = 16 << 10;

/// What large messages being received may hold together, in the whole agent.
const INCOMING_BUDGET_BYTES: usize = 256 << 20;

/// What the doors need to know.
#[derive(Clone, Debug)]
pub struct DoorConfig {
    /// Which hosts and origins are answered.
    pub guard: Guard,
    /// Cleartext is spoken with everybody although there is a certificate.
    pub cleartext: bool,
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
    /// What TerminalAPI runs: names as clients say them, those with a `*` at the end as beginnings. Empty for all.
    pub terminal_commands: Vec<String>,
    /// Variables that TaskCommandRouter's clients name.
    pub(crate) secrets: Secrets,
}

/// Everything behind the listener, shared by all connections.
#[derive(Debug)]
pub struct Doors {
    pub(crate) config: DoorConfig,
    pub(crate) auth: Arc<Auth>,
    pub(crate) router: Arc<Router>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) network: Network,
    /// In units of KiB.
    pub(crate) incoming_budget: Arc<Semaphore>,
    pub(crate) transfers: Turns,
    grpc: Grpc,
    tls: Option<Arc<Tls>>,
    strangers: Strangers,
    ready: AtomicBool,
}

impl Doors {
    /// Doors to `router` for whoever `auth` accepts, by TLS if there is a certificate.
    pub fn new(config: DoorConfig, auth: Arc<Auth>, router: Arc<Router>, tls: Option<Arc<Tls>>) -> Arc<Self> {
        // One message of the allowed size must always fit.
        let budget_bytes = INCOMING_BUDGET_BYTES.max(config.max_message_bytes);
        let sessions = Sessions::new();
        Arc::new(Doors {
            network: Network::new(config.network),
            grpc: Grpc::new(&router, &sessions, &config),
            tls,
            config,
            auth,
            router,
            incoming_budget: Arc::new(Semaphore::new(budget_bytes >> 10)),
            transfers: Turns::new(),
            sessions,
            strangers: Strangers::new(),
            ready: AtomicBool::new(true),
        })
    }

    /// Accepts until the agent begins to stop.
    pub async fn serve(self: Arc<Self>, listeners: Vec<Listener>) {
        self.grpc.tell_health(true).await;
        join_all(listeners.iter().map(|listener| self.accept(listener))).await;
        self.ready.store(false, Ordering::Relaxed);
        self.grpc.tell_health(false).await;
    }

    async fn accept(self: &Arc<Self>, listener: &Listener) {
        let stopping = self.router.engine().stopping();
        loop {
            let room = tokio::select! {
                () = stopping.cancelled() => return,
                room = self.strangers.room() => room,
            };
            let accepted = tokio::select! {
                () = stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let (doors, place) = (self.clone(), self.strangers.seat(room));
                    self.router.engine().runtimes().spawn_in_turn(doors.accepted(socket, peer, place));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(error = %error, "cannot accept a connection; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
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

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}
