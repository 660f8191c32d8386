//! TLS as a client speaks it: whose certificates are believed, and what a person can do about those that are not.
//!
//! The cryptography is named here and never taken from a default of the process. What this deliberately does not do: go
//! on with a certificate that is not believed; there is no flag for that, because `--tls-ca` is as easy.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use pid1_sdk::error::printable;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Address, ClientError};

/// A WebSocket is spoken over this only.
const PROTOCOL: &[u8] = b"http/1.1";

/// Whose certificates are believed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    /// Those in this file, else those that this machine knows.
    file: Option<PathBuf>,
    /// Made when it is first needed, and used by all connections of a program that is followed over many: it remembers
    /// the agent, so later handshakes are shorter.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Trust {
    pub(super) fn new(file: Option<&Path>) -> Trust {
        Trust { file: file.map(Path::to_owned), ..Trust::default() }
    }

    /// The client's part of the handshake with `host`.
    pub(super) async fn secure(
        &self,
        stream: TcpStream,
        host: &str,
        address: &Address,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let refused = |why: String| ClientError::Tls { host: address.to_string(), why };
        let name = ServerName::try_from(super::address::bare(host).to_owned())
            .map_err(|_| refused("no certificate can be for a host of that name".to_owned()))?;
        let connector = TlsConnector::from(self.config()?);
        connector.connect(name, stream).await.map_err(|error| match self.advice(&error, host) {
            Some(why) => refused(why),
            None => address.unreachable(error.to_string()),
        })
    }

    fn config(&self) -> Result<Arc<ClientConfig>, ClientError> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::Refused(error.to_string()))?;
        let mut config = builder.with_root_certificates(self.roots()?).with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(self.config.get_or_init(|| Arc::new(config)).clone())
    }

    fn roots(&self) -> Result<RootCertStore, ClientError> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.file else {
            // What cannot be read or used of a machine's hundreds of certificates is left out, as everywhere. If none is
            // left, none is believed.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        };
        let wrong = |why: String| ClientError::Certificates { file: file.display().to_string(), why };
        let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        for certificate in found.map_err(|error| wrong(error.to_string()))? {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        match roots.is_empty() {
            true => Err(wrong("it holds no certificate in PEM".to_owned())),
            false => Ok(roots),
        }
    }

    /// What to do about a handshake that failed, and would fail again.
    fn advice(&self, error: &io::Error, host: &str) -> Option<String> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        match error {
            Error::InvalidCertificate(wrong) => Some(self.about_certificate(wrong, host)),
            Error::InvalidMessage(_) => Some(
                "what answers there does not speak TLS; without it the URL begins with http:// or ws://".to_owned(),
            ),
            // What an agent says that has no certificate.
            Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion) => Some(
                "it refuses TLS; an agent speaks it with --tls-cert or --tls-self-signed, without them its URL begins \
                 with http:// or ws://"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    fn about_certificate(&self, wrong: &CertificateError, host: &str) -> String {
        match wrong {
            // As the certificates that agents make all have the same issuer, another one's is taken for its signer.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => match &self.file {
                Some(file) => {
                    format!("its certificate is none of those in {}, and signed by none of them", file.display())
                }
                None => "nobody whom this machine knows has signed its certificate; give --tls-ca FILE with the \
                         certificate that it shows (one that an agent has made is tls-cert.pem in its state folder), or \
                         with its signer's"
                    .to_owned(),
            },
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<_> = presented.iter().map(|name| plain(name)).collect();
                format!(
                    "its certificate is not for {host}, but for {}; use one of those names, or get a certificate for \
                     this one (an agent makes one with --tls-self-signed and --host {host})",
                    printable(&names.join(", "))
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; is the clock right here?".to_owned()
            }
            other if is_authority(other) => {
                "its certificate is one for signing others (CA:TRUE), and none for a server".to_owned()
            }
            other => printable(&other.to_string()),
        }
    }
}

/// The name in what the library says of it, such as `DnsName("box")`.
fn plain(name: &str) -> &str {
    let name = name.split_once('(').map_or(name, |(_kind, name)| name.trim_end_matches(')'));
    name.trim_matches('"')
}

/// Whether it is one that can sign others: what `openssl req -x509` makes if it is not told otherwise. The library's error
/// has no type that could be named here.
fn is_authority(error: &impl Debug) -> bool {
    format!("{error:?}").contains("CaUsedAsEndEntity")
}
