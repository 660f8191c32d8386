//! Opens the connection that a WebSocket is spoken on: over the network, by TLS where the URL says so, or to a socket on
//! this machine.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::address::{Place, bare};
use super::{Address, ClientError};

/// One of the three kinds of connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Stream for S {}

impl Address {
    /// Opens the connection.
    pub(super) async fn dial(&self) -> Result<Box<dyn Stream>, ClientError> {
        Ok(match &self.place {
            Place::Local(path) => {
                let stream = UnixStream::connect(path).await;
                Box::new(stream.map_err(|error| self.unreachable(error.to_string()))?)
            }
            Place::Network { host, port, secure } => {
                let stream = self.reach(host, *port).await?;
                // An echo must not wait for the other side's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                match secure {
                    true => Box::new(self.trust.secure(stream, host, self).await?),
                    false => Box::new(stream),
                }
            }
        })
    }

    /// No connection, and why.
    pub(super) fn unreachable(&self, why: String) -> ClientError {
        ClientError::Connect { host: self.to_string(), why }
    }

    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, ClientError> {
        let mut why = format!("{host} has no address");
        for ip in self.resolve(bare(host)).await? {
            match TcpStream::connect((ip, port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why = error.to_string(),
            }
        }
        Err(self.unreachable(why))
    }

    /// Without the C library, which in a static binary would load the image's own parts of it.
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ClientError> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if let Some(known) = in_hosts_file(host) {
            return Ok(known);
        }
        let resolver = Resolver::builder_tokio().map_err(|error| self.unreachable(error.to_string()))?;
        let resolver = resolver.build().map_err(|error| self.unreachable(error.to_string()))?;
        let found = resolver.lookup_ip(host).await.map_err(|error| self.unreachable(error.to_string()))?;
        Ok(found.iter().collect())
    }
}

/// What `/etc/hosts` says. Then nobody else is asked, as with the C library: the resolver would wait for the other kind
/// of address, and in a container there may be nobody who answers.
fn in_hosts_file(host: &str) -> Option<Vec<IpAddr>> {
    let (hosts, name) = (Hosts::from_system().ok()?, Name::from_utf8(host).ok()?);
    let mut ips = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        let known = hosts.lookup_static_host(&Query::query(name.clone(), kind));
        ips.extend(known.iter().flat_map(Lookup::answers).filter_map(|record| record.data.ip_addr()));
    }
    (!ips.is_empty()).then_some(ips)
}
