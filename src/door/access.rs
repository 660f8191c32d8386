//! Who calls: a token in the header `Authorization`, for every door that speaks HTTP.

use hyper::http::{HeaderMap, header};
use pid1_sdk::Identity;

use super::Doors;
use super::guard::only;
use super::listener::Peer;
use crate::auth::{Admission, Refused};

/// Why nobody is let in.
pub(crate) enum Denied {
    /// No token is shown.
    Missing,
    /// It is not accepted.
    Refused(Refused),
    /// It is good only where programs cannot reach the network.
    Network,
}

impl Denied {
    /// For whoever is refused.
    pub(crate) fn text(&self) -> String {
        match self {
            Denied::Missing => "show a token as Authorization: Bearer TOKEN".to_owned(),
            Denied::Refused(refused) => refused.to_string(),
            Denied::Network => {
                "this token is good only where programs cannot reach the network, and here they can"
                    .to_owned()
            }
        }
    }

    /// For the log.
    pub(crate) fn why(&self) -> String {
        match self {
            Denied::Refused(refused) => format!("token refused: {}", refused.why),
            other => other.text(),
        }
    }
}

impl Doors {
    /// Who shows a token in these headers, or needs none. Some clients of gRPC show it `bare`, without a scheme.
    pub(crate) fn caller(&self, headers: &HeaderMap, peer: Peer, bare: bool) -> Result<Identity, Denied> {
        if !headers.contains_key(header::AUTHORIZATION) && peer.is_trusted() {
            return Ok(Admission::owner().identity);
        }
        let shown = only(headers, header::AUTHORIZATION).ok_or(Denied::Missing)?;
        let token = match shown.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            None if bare => shown,
            // Another scheme.
            _ => return Err(Denied::Missing),
        };
        self.admit(self.auth.identify(token))
    }

    /// Lets in whoever was identified, if that holds here.
    pub(crate) fn admit(&self, admission: Result<Admission, Refused>) -> Result<Identity, Denied> {
        let admission = admission.map_err(Denied::Refused)?;
        if !self.network.admits(admission.restrict_network) {
            return Err(Denied::Network);
        }
        Ok(admission.identity)
    }
}
