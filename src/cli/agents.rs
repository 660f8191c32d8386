//! Which agent, for the commands that are clients of one.

use std::path::PathBuf;

use clap::Args;

use crate::client::{Address, ClientError};

/// What all of them know besides its URL.
#[derive(Args)]
pub(super) struct AgentArgs {
    /// With an https:// or wss:// URL: believe the certificates in this file (PEM), and those that they have signed, and no
    /// others. An agent's own is tls-cert.pem in its state folder [default: those that this machine believes]
    #[arg(long, env = "PID1_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

impl AgentArgs {
    /// The agent at `url`.
    pub(super) fn at(&self, url: &str) -> Result<Address, ClientError> {
        Ok(url.parse::<Address>()?.trusting(self.tls_ca.as_deref()))
    }
}
