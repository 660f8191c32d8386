//! Where the certificate is that clients see.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::BoolishValueParser;

use crate::door::tls::Files;

/// Flags about TLS.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// A certificate, with those that lead to one that clients know, in PEM. A renewed one is shown within a minute
    #[arg(long, env = "PID1_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM
    #[arg(long, env = "PID1_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Make a certificate that nobody has signed, in the state folder: for development
    #[arg(long, env = "PID1_TLS_SELF_SIGNED", value_parser = BoolishValueParser::new())]
    tls_self_signed: bool,

    /// With a certificate, speak cleartext with others than this machine, too
    #[arg(long, env = "PID1_CLEARTEXT", value_parser = BoolishValueParser::new())]
    pub(super) cleartext: bool,
}

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub(crate) enum Certificate {
    /// Somebody has put it there.
    Files(Files),
    /// It is made in the state folder.
    SelfSigned,
}

impl TlsArgs {
    /// The one that is meant, if any.
    pub(super) fn certificate(self) -> Result<Option<Certificate>> {
        Ok(match (self.tls_cert, self.tls_key, self.tls_self_signed) {
            (None, None, false) => None,
            (None, None, true) => Some(Certificate::SelfSigned),
            (Some(cert), Some(key), false) => Some(Certificate::Files(Files { cert, key })),
            (Some(_), Some(_), true) => {
                bail!("--tls-self-signed makes a certificate, and --tls-cert gives one: choose")
            }
            (Some(_), None, _) => bail!("--tls-cert needs the certificate's key: give --tls-key FILE"),
            (None, Some(_), _) => bail!("--tls-key needs the certificate: give --tls-cert FILE"),
        })
    }
}
