//! Where an agent is, as people write it: the URL it printed, or a WebSocket URL.

use std::net::IpAddr;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::net::TcpStream;

use super::ClientError;

/// An agent's address and the token to show there.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    token: String,
}

impl std::fmt::Debug for Address {
    /// Never prints the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Address").field(&self.host_and_port()).finish()
    }
}

impl std::str::FromStr for Address {
    type Err = ClientError;

    /// Takes `http://HOST:PORT/#token=TOKEN`, as the agent prints it, or `ws://HOST:PORT/wsv2/TOKEN`.
    fn from_str(url: &str) -> Result<Self, ClientError> {
        // Scheme and host: everything else may be a token, or hold one.
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let host =
            rest.split(['/', '#', '?']).next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
        let shown = if scheme.is_empty() { "this URL".to_owned() } else { format!("{scheme}://{host}") };
        let wrong = |why: &str| ClientError::Address { url: shown.clone(), why: why.to_owned() };
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (authority, token) = if let Some(rest) = url.strip_prefix("http://") {
            let (place, fragment) = rest.split_once('#').ok_or_else(|| wrong("it has no #token=…"))?;
            let token = fragment.split('&').find_map(|part| part.strip_prefix("token="));
            (
                place.split('/').next().unwrap_or_default(),
                decode(token.ok_or_else(|| wrong("it has no #token=…"))?),
            )
        } else if let Some(rest) = url.strip_prefix("ws://") {
            let (place, token) = rest.split_once("/wsv2/").ok_or_else(|| wrong("it has no /wsv2/TOKEN"))?;
            (place, decode(token.split(['?', '#']).next().unwrap_or_default()))
        } else if url.starts_with("https://") || url.starts_with("wss://") {
            return Err(wrong("TLS is not supported yet"));
        } else {
            return Err(wrong("it must begin with http:// or ws://"));
        };
        let (host, port) = match authority.rsplit_once(':').filter(|(host, _)| !host.ends_with(':')) {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong("its port is no number"))?)
            }
            _ => (authority, 80),
        };
        if host.is_empty() || token.is_empty() {
            return Err(wrong("it needs a host and a token"));
        }
        Ok(Address { host: host.to_owned(), port, token })
    }
}

impl Address {
    /// For people and for the `Host` header.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The agent at another origin, such as `ws://HOST:PORT`, with the same token.
    pub(super) fn moved(&self, origin: &str) -> Result<Address, ClientError> {
        let rest = origin.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let scheme = if origin.starts_with("https:") || origin.starts_with("wss:") { "wss" } else { "ws" };
        let token = utf8_percent_encode(&self.token, NON_ALPHANUMERIC);
        format!("{scheme}://{authority}/wsv2/{token}").parse()
    }

    pub(super) fn websocket_url(&self) -> String {
        format!("ws://{}/wsv2/{}", self.host_and_port(), utf8_percent_encode(&self.token, NON_ALPHANUMERIC))
    }

    /// Opens the TCP connection.
    pub(super) async fn dial(&self) -> Result<TcpStream, ClientError> {
        let mut why = format!("{} has no address", self.host);
        for ip in self.resolve().await? {
            match TcpStream::connect((ip, self.port)).await {
                Ok(stream) => {
                    // An echo must not wait for the other side's delayed acknowledgement.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(ClientError::Connect { host: self.host_and_port(), why })
    }

    /// Without the C library, which in a static binary would load the image's own parts of it.
    async fn resolve(&self) -> Result<Vec<IpAddr>, ClientError> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse() {
            return Ok(vec![ip]);
        }
        if bare.eq_ignore_ascii_case("localhost") {
            return Ok(vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()]);
        }
        if let Some(known) = in_hosts_file(bare) {
            return Ok(known);
        }
        let failed = |why: String| ClientError::Connect { host: self.host_and_port(), why };
        let resolver = Resolver::builder_tokio().map_err(|error| failed(error.to_string()))?;
        let resolver = resolver.build().map_err(|error| failed(error.to_string()))?;
        let found = resolver.lookup_ip(bare).await.map_err(|error| failed(error.to_string()))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_url() {
        for (url, host, port, token) in [
            ("http://127.0.0.1:4560/#token=abc%2Fd", "127.0.0.1", 4560, "abc/d"),
            ("http://box.example/#x=1&token=t", "box.example", 80, "t"),
            ("ws://[::1]:99/wsv2/a%20b?x", "[::1]", 99, "a b"),
            ("ws://[::1]/wsv2/t", "[::1]", 80, "t"),
        ] {
            let expected = Address { host: host.into(), port, token: token.into() };
            assert_eq!(url.parse::<Address>().ok(), Some(expected), "{url}");
        }
        for wrong in [
            "",
            "box",
            "http://box/",
            "http://box/#token=",
            "ws://box/",
            "ws://:1/wsv2/t",
            "http://box:x/#token=t",
            "wss://b/wsv2/t",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moved_agent_has_the_same_token() {
        let address: Address = "http://box/#token=a/b".parse().expect("a URL of ours");
        for (to, host, port) in
            [("ws://other:99", "other", 99), ("http://[::1]:1/x", "[::1]", 1), ("ws://o/", "o", 80)]
        {
            let expected = Address { host: host.into(), port, token: "a/b".into() };
            assert_eq!(address.moved(to).ok(), Some(expected), "{to}");
        }
        for wrong in ["", "other:99", "wss://other", "ws://"] {
            assert!(address.moved(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_never_show_the_token() {
        for url in [
            "ftp://box/wsv2/secret",
            "http://box:x/#token=secret",
            "ws://box:x/wsv2/secret",
            "http://box/secret",
            "ws://secret@box/x",
            "ws://box/wsv2x/secret",
            "secret",
        ] {
            let error = url.parse::<Address>().map(|_| ()).expect_err("it is no URL of ours").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
