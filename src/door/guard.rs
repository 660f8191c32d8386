//! Who may talk to this listener from a browser: the `Host` and `Origin` of a request.
//!
//! A page of any site can make a browser connect here. If its name is made to resolve to this address (DNS
//! rebinding), the browser even calls it the same origin. So a request must name this agent as its operator does: by
//! an IP address, as `localhost`, or by a name given with `--host`; and a page that connects must come from that very
//! origin, or from one given with `--origin`.

use std::net::IpAddr;

use hyper::http::{HeaderMap, HeaderValue, StatusCode, header};

/// The names and origins that are accepted besides the obvious.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Host names, without port.
    pub hosts: Vec<String>,
    /// Origins as browsers send them: `https://ide.example.com`.
    pub origins: Vec<String>,
}

/// Why a request is not answered.
pub(crate) struct Unwelcome {
    pub(crate) status: StatusCode,
    pub(crate) text: &'static str,
}

impl Guard {
    /// Checks one request that came by TLS if it is `secure`. `authority` is the host that a request line may carry
    /// itself.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        authority: Option<&str>,
        secure: bool,
    ) -> Result<(), Unwelcome> {
        let host = authority.or_else(|| only(headers, header::HOST)).unwrap_or_default();
        if !self.knows_host(host) {
            return Err(Unwelcome {
                status: StatusCode::MISDIRECTED_REQUEST,
                text: "this agent does not go by that host name; its operator can allow it with --host NAME\n",
            });
        }
        if headers.contains_key(header::ORIGIN) {
            let origin = only(headers, header::ORIGIN).unwrap_or_default();
            let scheme = if secure { "https://" } else { "http://" };
            let same = origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host));
            if !same && !self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin)) {
                return Err(Unwelcome {
                    status: StatusCode::FORBIDDEN,
                    text: "pages of that origin may not connect; the operator can allow it with --origin ORIGIN\n",
                });
            }
        }
        Ok(())
    }

    /// The origin of a page from elsewhere that may connect, for whoever tells browsers so.
    pub(crate) fn known_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = only(headers, header::ORIGIN)?;
        let known = self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin));
        headers.get(header::ORIGIN).filter(|_| known)
    }

    fn knows_host(&self, host: &str) -> bool {
        let Some(name) = without_port(host).filter(|name| !name.is_empty()) else { return false };
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The one value of a header: two are a trick.
pub(crate) fn only(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// The name in `name:port`; `None` if what stands behind the colon is no port.
fn without_port(host: &str) -> Option<&str> {
    let end_of_name = host.rfind(']').map_or(0, |at| at + 1);
    match host[end_of_name..].find(':') {
        None => Some(host),
        Some(colon) => {
            let (name, port) = host.split_at(end_of_name + colon);
            port[1..].parse::<u16>().ok().map(|_| name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(host: &str, origin: Option<&str>) -> Option<u16> {
        let guard =
            Guard { hosts: vec!["box.example.com".into()], origins: vec!["https://ide.example.com".into()] };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header value"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("a header value"));
        }
        guard.check(&headers, None, false).err().map(|unwelcome| unwelcome.status.as_u16())
    }

    #[test]
    fn hosts() {
        for host in [
            "127.0.0.1:4560",
            "[::1]:4560",
            "[::1]",
            "10.0.0.7",
            "localhost:1",
            "LOCALHOST",
            "box.example.com:9",
        ] {
            assert_eq!(status(host, None), None, "{host}");
        }
        for host in [
            "",
            "evil.example.com",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "localhost:x",
            "[::1",
            "box.example.com.",
            "a:b:c",
        ] {
            assert_eq!(status(host, None), Some(421), "{host}");
        }
    }

    #[test]
    fn origins() {
        let here = "127.0.0.1:4560";
        for origin in ["http://127.0.0.1:4560", "https://ide.example.com"] {
            assert_eq!(status(here, Some(origin)), None, "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://127.0.0.1:4560",
            "http://127.0.0.1",
            "http://localhost:4560",
            "http://evil.com",
        ] {
            assert_eq!(status(here, Some(origin)), Some(403), "{origin}");
        }
    }

    #[test]
    fn a_page_that_came_by_tls_is_of_the_same_origin_only_by_tls() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost:1".parse().expect("a header value"));
        for (origin, fits) in [("https://localhost:1", true), ("http://localhost:1", false)] {
            headers.insert(header::ORIGIN, origin.parse().expect("a header value"));
            assert_eq!(Guard::default().check(&headers, None, true).is_ok(), fits, "{origin}");
        }
    }

    #[test]
    fn a_header_given_twice_is_no_header() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost".parse().expect("a header value"));
        headers.append(header::HOST, "evil.com".parse().expect("a header value"));
        assert!(Guard::default().check(&headers, None, false).is_err());
        headers.remove(header::HOST);
        headers.insert(header::HOST, "localhost".parse().expect("a header value"));
        headers.append(header::ORIGIN, "http://localhost".parse().expect("a header value"));
        headers.append(header::ORIGIN, "http://evil.com".parse().expect("a header value"));
        assert!(Guard::default().check(&headers, None, false).is_err());
    }
}
