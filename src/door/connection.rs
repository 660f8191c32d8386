//! One connection, from its first byte to its last: TLS, which HTTP, and where it is served.
//!
//! The time to a complete request head is bounded as a whole, whatever it is spent on.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pid1_sdk::limits;
use pid1_sdk::runtimes::Runtimes;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::line::{Line, Socket};
use super::listener::Peer;
use super::strangers::Place;
use super::wire::{Version, Wire};
use super::{Doors, HEAD_BYTES, http};

/// What hyper reads at once of a body that comes fast.
const BODY_READ_BYTES: usize = limits::TRANSFER_READ_BYTES;

/// Calls on one connection of HTTP/2: SDKs share one between all their sessions.
const STREAMS: u32 = 4096;

/// Answers that somebody may have under way at once who has not identified himself: one who takes none of them would make
/// us keep thousands.
const STRANGERS_STREAMS: usize = 16;

/// What a client may send ahead on one stream, and on all of a connection: enough for a fast network, and what a client
/// that is not read makes us hold.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// What waits in one stream for a client that takes it slowly; then the program is held back.
const STREAM_SEND_BYTES: usize = 256 << 10;

/// How long a client may take to answer a ping of HTTP/2.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// When the agent stops, how long a client may take for the last words of its calls once all programs have ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long for the goodbye of a connection that has no calls of programs.
const GOODBYE: Duration = Duration::from_millis(200);

/// What is sent in cleartext to who speaks it where TLS is spoken.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 71\r\n\r\n\
    this address speaks TLS: use https://, wss:// or a secure gRPC channel\n";

/// Who is at the other end of a connection, and what its requests say about it.
pub(crate) struct Caller {
    pub(crate) peer: Peer,
    /// It came by TLS.
    pub(crate) secure: bool,
    pub(crate) place: Arc<Place>,
    head_seen: Notify,
    /// Turns of a stranger's streams.
    pub(crate) strange_turns: Arc<Semaphore>,
    /// Calls of programs.
    pub(crate) calls: TaskTracker,
    /// It moves so much that it is to be served apart from those who type.
    pub(crate) bulk: Notify,
}

/// A connection that is being served.
type Serving = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Runs the tasks of a connection's calls, tracked like all others.
#[derive(Clone)]
struct Tracked(Runtimes);

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        drop(self.0.spawn(task));
    }
}

impl Doors {
    /// Takes the socket over to the runtime that serves it.
    pub(super) async fn accepted(self: Arc<Self>, socket: Socket, peer: Peer, place: Arc<Place>) {
        match socket.here() {
            Ok(socket) => self.connection(socket, peer, place).await,
            Err(error) => debug!(peer = %peer, error = %error, "cannot serve a connection"),
        }
    }

    /// Serves HTTP on one connection; it ends here, becomes a WebSocket with a task of its own, or goes on where streams
    /// are that keep a core busy.
    async fn connection(self: Arc<Self>, socket: Socket, peer: Peer, place: Arc<Place>) {
        // Without it an echo waits for the client's delayed acknowledgement: 44 ms instead of under 1.
        if let Socket::Tcp(stream) = &socket
            && stream.set_nodelay(true).is_err()
        {
            return; // the peer has gone already
        }
        let late = Instant::now() + self.config.head_timeout;
        let moved = Arc::new(AtomicBool::new(false));
        let line = Line::new(socket, moved.clone(), self.config.transfer_timeout);
        let opened = tokio::select! {
            opened = self.open(line, peer) => opened,
            () = sleep_until(late) => return debug!(peer = %peer, "nothing was said within the time limit"),
            () = place.evicted() => return debug!(peer = %peer, "gave its place to a newcomer"),
            () = self.router.engine().stopping().cancelled() => return,
        };
        let (wire, version) = match opened {
            Ok(opened) => opened,
            Err(error) => return debug!(peer = %peer, error = %error, "no connection came about"),
        };
        let caller = Arc::new(Caller {
            peer,
            secure: wire.is_tls(),
            place,
            head_seen: Notify::new(),
            strange_turns: Arc::new(Semaphore::new(STRANGERS_STREAMS)),
            calls: TaskTracker::new(),
            bulk: Notify::new(),
        });
        let mut serving = match version {
            Version::Http1 => self.clone().http1(wire, caller.clone()),
            Version::Http2 => self.clone().http2(wire, caller.clone()),
        };
        let deadline = async {
            // hyper bounds the time from a head's first byte only.
            if timeout_at(late, caller.head_seen.notified()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = serve_to_the_end(&mut serving, &caller) => {}
            () = deadline => debug!(peer = %peer, "no request within the time limit"),
            // What shares its connection with calls stays where those are.
            () = caller.bulk.notified(), if version == Version::Http1 => {
                let caller = caller.clone();
                self.router.engine().runtimes().spawn_bulk(async move {
                    moved.store(true, Ordering::Relaxed);
                    serve_to_the_end(&mut serving, &caller).await;
                });
            }
        }
    }

    /// With TLS where a client begins it; and what is spoken.
    async fn open(&self, mut line: Line, peer: Peer) -> io::Result<(Wire, Version)> {
        let mut wire = match &self.tls {
            Some(tls) if line.begins_tls().await? => {
                Wire::tls(tls.accept(line, self.router.engine().runtimes()).await?)
            }
            Some(_) if !peer.is_here() && !self.config.cleartext => {
                line.write_all(SPEAK_TLS).await?;
                line.shutdown().await?;
                return Err(io::Error::other("it came in cleartext, and --cleartext is not given"));
            }
            _ => Wire::plain(line),
        };
        let version = wire.version().await?;
        Ok((wire, version))
    }

    fn http1(self: Arc<Self>, wire: Wire, caller: Arc<Caller>) -> Serving {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.head_timeout)
            .max_header_size(HEAD_BYTES)
            .max_buf_size(BODY_READ_BYTES)
            // Who has asked all that he wants to may say so, and still gets his answer. One who is gone is noticed when
            // something is sent to him, or when his body does not come.
            .half_close(true)
            .serve_connection(TokioIo::new(wire), {
                let doors = self.clone();
                service_fn(move |request| {
                    caller.head_seen.notify_one();
                    http::answer(doors.clone(), request, caller.clone())
                })
            })
            .with_upgrades();
        Box::pin(async move {
            tokio::select! {
                done = connection => done,
                () = self.router.engine().stopping().cancelled() => Ok(()),
            }
        })
    }

    /// Pings are answered however many come, as everywhere: a client that keeps its connection alive is welcome to.
    fn http2(self: Arc<Self>, wire: Wire, caller: Arc<Caller>) -> Serving {
        let (engine, calls) = (self.router.engine().clone(), caller.calls.clone());
        let connection = http2::Builder::new(Tracked(engine.runtimes().clone()))
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(STREAM_SEND_BYTES)
            .max_header_list_size(HEAD_BYTES as u32)
            .keep_alive_interval(self.config.ping_interval)
            .keep_alive_timeout(PONG_TIMEOUT)
            .serve_connection(TokioIo::new(wire), {
                let doors = self.clone();
                service_fn(move |request| {
                    caller.head_seen.notify_one();
                    http::answer(doors.clone(), request, caller.clone())
                })
            });
        Box::pin(async move {
            let mut connection = pin!(connection);
            tokio::select! {
                done = connection.as_mut() => return done,
                () = engine.stopping().cancelled() => {}
            }
            // No new calls; those that are there tell of the end of their programs, which are being stopped.
            connection.as_mut().graceful_shutdown();
            calls.close();
            let all_said = async {
                calls.wait().await;
                sleep(GOODBYE).await;
            };
            let nobody_listens = async {
                engine.processes().all_stopped().await;
                sleep(LAST_WORDS).await;
            };
            tokio::select! {
                done = connection => done,
                () = all_said => Ok(()),
                () = nobody_listens => Ok(()),
            }
        })
    }
}

async fn serve_to_the_end(serving: &mut Serving, caller: &Caller) {
    let peer = caller.peer;
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            debug!(peer = %peer, error = %error, "connection failed");
        },
        () = caller.place.evicted() => debug!(peer = %peer, "gave its place to a newcomer"),
    }
}
