//! Where clients connect: an address on the network, and a socket in the state folder for those on this machine.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::geteuid;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::line::Socket;

/// Connections that wait in the kernel: a burst of clients that all come back after a restart.
const BACKLOG: u32 = 4096;

/// The name of the socket in the state folder.
pub const LOCAL_SOCKET: &str = "socket";

/// One of them.
#[derive(Debug)]
pub enum Listener {
    /// On the network.
    Tcp(TcpListener),
    /// On this machine.
    Local {
        /// The socket.
        listener: UnixListener,
        /// Whoever is the same user as the agent needs no token.
        trust: bool,
    },
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Network(SocketAddr),
    /// Somebody on this machine; `trusted` without a token.
    Local {
        trusted: bool,
    },
}

impl Peer {
    /// Whether what is said to it stays on this machine.
    pub(crate) fn is_here(self) -> bool {
        match self {
            Peer::Network(address) => address.ip().to_canonical().is_loopback(),
            Peer::Local { .. } => true,
        }
    }

    /// Whether it is an owner without a token.
    pub(crate) fn is_trusted(self) -> bool {
        matches!(self, Peer::Local { trusted: true })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Network(address) => address.fmt(f),
            Peer::Local { .. } => f.write_str("local"),
        }
    }
}

impl Listener {
    /// Opens one on the network.
    pub fn open(address: SocketAddr) -> io::Result<Listener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // So that a restarted agent gets its port back while old connections linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG).map(Listener::Tcp)
    }

    /// Opens the one in the state folder, which is this agent's alone: what is left there is an earlier agent's.
    pub fn open_local(state: &Path, trust: bool) -> io::Result<Listener> {
        let path = state.join(LOCAL_SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        // The folder lets nobody else in, before and after this.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        Ok(Listener::Local { listener, trust })
    }

    /// Where it is on the network.
    pub fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Some),
            Listener::Local { .. } => Ok(None),
        }
    }

    /// The next client. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Peer::Network(address)))
            }
            Listener::Local { listener, trust } => {
                let (stream, _) = listener.accept().await?;
                let ours = stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw());
                Ok((Socket::Unix(stream), Peer::Local { trusted: *trust && ours }))
            }
        }
    }
}
