//! Where an agent is, as people write it: the URL it printed, a WebSocket URL, or its socket on this machine.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::ClientError;
use super::trust::Trust;

/// An agent's address, the token to show there, and which certificates are believed.
#[derive(Clone)]
pub struct Address {
    pub(super) place: Place,
    /// Empty where who we are is enough.
    token: String,
    pub(super) trust: Trust,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the network.
    Network {
        /// As in a URL: with brackets if it is an IPv6 address.
        host: String,
        port: u16,
        /// By TLS.
        secure: bool,
    },
    /// The socket in its state folder.
    Local(PathBuf),
}

impl fmt::Display for Address {
    /// Where it is, for people; never the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Network { host, port, .. } => write!(f, "{host}:{port}"),
            Place::Local(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for Address {
    /// Never prints the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.place).finish()
    }
}

impl FromStr for Address {
    type Err = ClientError;

    /// Takes `https://HOST:PORT/#token=TOKEN`, as the agent prints it, `wss://HOST:PORT/wsv2/TOKEN`, both without the `s`
    /// too, or `unix:PATH`, with `#token=TOKEN` behind it unless the agent trusts this user.
    fn from_str(url: &str) -> Result<Self, ClientError> {
        let wrong = |why: &str| ClientError::Address { url: shown(url), why: why.to_owned() };
        let (place, token) = match url.strip_prefix("unix:") {
            Some(rest) => local(rest).map_err(wrong)?,
            None => network(url).map_err(wrong)?,
        };
        Ok(Address { place, token, trust: Trust::default() })
    }
}

/// What may be shown of a URL that is wrong: scheme and host, or the path of a socket. Everything else may be a token,
/// or hold one.
fn shown(url: &str) -> String {
    if url.starts_with("unix:") {
        return url.split('#').next().unwrap_or_default().to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else { return "this URL".to_owned() };
    let host = rest.split(['/', '#', '?']).next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

fn local(rest: &str) -> Result<(Place, String), &'static str> {
    let (path, token) = match rest.split_once('#') {
        Some((path, fragment)) => (path, token_of(fragment)?),
        None => (rest, String::new()),
    };
    if path.is_empty() {
        return Err("it needs a path, such as unix:/var/lib/pid1/socket");
    }
    Ok((Place::Local(path.into()), token))
}

fn network(url: &str) -> Result<(Place, String), &'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let (authority, token) = match scheme {
        "http" | "https" => {
            let (place, fragment) = rest.split_once('#').ok_or(NO_TOKEN)?;
            (place.split(['/', '?']).next().unwrap_or_default(), token_of(fragment)?)
        }
        "ws" | "wss" => {
            let (place, token) = rest.split_once("/wsv2/").ok_or("it has no /wsv2/TOKEN")?;
            (place, decoded(token.split(['?', '#']).next().unwrap_or_default()))
        }
        _ => return Err("it must begin with https://, http://, wss://, ws:// or unix:"),
    };
    let secure = scheme.ends_with('s') && scheme != "ws";
    let (host, port) = match authority.rsplit_once(':').filter(|(host, _)| !host.ends_with(':')) {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| "its port is no number")?)
        }
        _ => (authority, if secure { 443 } else { 80 }),
    };
    if host.contains('@') {
        return Err("it names a user, and there are none: only the token counts");
    }
    if host.is_empty() || token.is_empty() {
        return Err("it needs a host and a token");
    }
    Ok((Place::Network { host: host.to_owned(), port, secure }, token))
}

const NO_TOKEN: &str = "it has no #token=…";

fn token_of(fragment: &str) -> Result<String, &'static str> {
    let token = fragment.split('&').find_map(|part| part.strip_prefix("token="));
    token.filter(|token| !token.is_empty()).map(decoded).ok_or(NO_TOKEN)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl Address {
    /// Only certificates in this file, or signed by one of those, are believed; without a file those that this machine
    /// knows.
    pub fn trusting(self, file: Option<&Path>) -> Address {
        Address { trust: Trust::new(file), ..self }
    }

    /// The agent at another origin, such as `wss://HOST:PORT`, with the same token.
    ///
    /// # Errors
    /// It makes no sense, or the token, which nobody could read on the way to here, could be read on the way to there.
    /// Whoever wants TLS must not lose it to a word from the other side, which may come from long ago or from a mistake.
    /// What stays on this machine is on no way.
    pub(super) fn moved(&self, origin: &str) -> Result<Address, ClientError> {
        let (scheme, rest) = origin.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let scheme = if ["https", "wss"].contains(&scheme) { "wss" } else { "ws" };
        let token = utf8_percent_encode(&self.token, NON_ALPHANUMERIC);
        let moved: Address = format!("{scheme}://{authority}/wsv2/{token}").parse()?;
        if self.place.is_cleartext() || moved.place.is_loopback() || !moved.place.is_cleartext() {
            return Ok(Address { trust: self.trust.clone(), ..moved });
        }
        Err(ClientError::Refused(format!(
            "{self} sends us to ws://{moved}, where others could read the token on the way: it is not followed without \
             TLS"
        )))
    }

    /// For the WebSocket's handshake. What is beneath it, TLS or not, is none of its business.
    pub(super) fn websocket_url(&self) -> String {
        let host = match &self.place {
            Place::Network { .. } => self.to_string(),
            Place::Local(_) => "localhost".to_owned(),
        };
        format!("ws://{host}/wsv2/{}", utf8_percent_encode(&self.token, NON_ALPHANUMERIC))
    }
}

impl Place {
    fn is_cleartext(&self) -> bool {
        matches!(self, Place::Network { secure: false, .. })
    }

    fn is_loopback(&self) -> bool {
        match self {
            Place::Network { host, .. } => {
                let ip = bare(host).parse::<IpAddr>();
                ip.is_ok_and(|ip| ip.to_canonical().is_loopback()) || host.eq_ignore_ascii_case("localhost")
            }
            Place::Local(_) => true,
        }
    }
}

/// A host of a URL without the brackets of an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Option<(Place, String)> {
        url.parse::<Address>().ok().map(|address| (address.place, address.token))
    }

    fn network(host: &str, port: u16, secure: bool) -> Place {
        Place::Network { host: host.into(), port, secure }
    }

    #[test]
    fn all_forms_of_a_url() {
        for (url, place, token) in [
            ("http://127.0.0.1:4560/#token=abc%2Fd", network("127.0.0.1", 4560, false), "abc/d"),
            ("http://box.example/#x=1&token=t", network("box.example", 80, false), "t"),
            ("ws://[::1]:99/wsv2/a%20b?x", network("[::1]", 99, false), "a b"),
            ("ws://[::1]/wsv2/t", network("[::1]", 80, false), "t"),
            ("https://box.example/#token=t", network("box.example", 443, true), "t"),
            ("https://[fd00::2]:4560/#token=t", network("[fd00::2]", 4560, true), "t"),
            ("wss://box.example/wsv2/t", network("box.example", 443, true), "t"),
            ("wss://10.0.0.7:99/wsv2/t", network("10.0.0.7", 99, true), "t"),
            ("unix:/run/s#token=a%2Fb", Place::Local("/run/s".into()), "a/b"),
            ("unix:s", Place::Local("s".into()), ""),
        ] {
            assert_eq!(parts(url), Some((place, token.to_owned())), "{url}");
        }
        for wrong in [
            "",
            "box",
            "http://box/",
            "http://box/#token=",
            "https://box/",
            "ws://box/",
            "ws://:1/wsv2/t",
            "http://box:x/#token=t",
            "wss://b:x/wsv2/t",
            "wss://user@b/wsv2/t",
            "unix:",
            "unix:#token=t",
            "unix:/run/s#token=",
            "unix:/run/s#t",
        ] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_moved_agent_has_the_same_token() {
        let address: Address = "http://box/#token=a/b".parse().expect("a URL of ours");
        for (to, place) in [
            ("ws://other:99", network("other", 99, false)),
            ("http://[::1]:1/x", network("[::1]", 1, false)),
            ("ws://o/", network("o", 80, false)),
            ("wss://o", network("o", 443, true)),
            ("https://o:7/", network("o", 7, true)),
        ] {
            let moved = address.moved(to).ok().map(|moved| (moved.place, moved.token));
            assert_eq!(moved, Some((place, "a/b".to_owned())), "{to}");
        }
        for wrong in ["", "other:99", "ws://", "unix:/run/s"] {
            assert!(address.moved(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_nobody_could_read_is_not_shown_on_the_way() {
        for home in ["https://box/#token=secret", "unix:/run/s#token=secret"] {
            let home: Address = home.parse().expect("a URL of ours");
            for fine in ["wss://other", "https://box:1", "ws://127.0.0.1:1", "ws://localhost", "ws://[::1]:5"]
            {
                assert!(home.moved(fine).is_ok(), "{home} {fine}");
            }
            for wrong in ["ws://other", "http://10.0.0.7:1", "ws://localhost.example", "ws://[fd00::1]"] {
                let said = home.moved(wrong).expect_err(wrong).to_string();
                assert!(said.contains("TLS") && !said.contains("secret"), "{said}");
            }
        }
        // There is nothing to show elsewhere.
        let trusted: Address = "unix:/run/s".parse().expect("a URL of ours");
        assert!(trusted.moved("wss://other").is_err());
    }

    #[test]
    fn errors_never_show_the_token() {
        for url in [
            "ftp://box/wsv2/secret",
            "http://box:x/#token=secret",
            "https://box:x/#token=secret",
            "ws://box:x/wsv2/secret",
            "wss://box:x/wsv2/secret",
            "http://box/secret",
            "https://box/secret",
            "ws://secret@box/x",
            "wss://secret@box/wsv2/t",
            "ws://box/wsv2x/secret",
            "unix:#token=secret",
            "unix:/run/s#secret",
            "secret",
        ] {
            let error = url.parse::<Address>().map(|_| ()).expect_err("it is no URL of ours").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        for url in ["https://box/#token=secret", "unix:/run/s#token=secret"] {
            let address: Address = url.parse().expect("a URL of ours");
            assert!(!format!("{address} {address:?}").contains("secret"));
        }
    }
}
