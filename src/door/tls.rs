//! TLS: the certificate that is shown, given in files or made here for development.
//!
//! Files are looked at again while connections come, so a renewed certificate needs no restart. What this deliberately
//! does not do: ask clients for certificates; tokens say who they are.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use pid1_sdk::runtimes::Runtimes;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use super::line::Line;

/// Clients that speak both choose by this order.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How often the files are looked at, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How the first line of a certificate begins that was made here: for whom it was made stands behind it.
const MADE_FOR: &str = "made by pid1 for ";

/// Where the certificate is.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, and those that lead from it to one that clients know; PEM.
    pub cert: PathBuf,
    /// Its private key; PEM.
    pub key: PathBuf,
}

/// What is shown to clients.
pub struct Tls {
    files: Files,
    shown: Mutex<Shown>,
}

struct Shown {
    config: Arc<ServerConfig>,
    stamp: Stamp,
    looked: Instant,
}

/// When both files were changed last.
type Stamp = [Option<SystemTime>; 2];

impl Tls {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// A file cannot be read or holds no such thing, or the two do not belong together.
    pub fn new(files: Files) -> Result<Arc<Tls>> {
        let shown = Shown { stamp: files.stamp(), config: files.read()?, looked: Instant::now() };
        Ok(Arc::new(Tls { files, shown: Mutex::new(shown) }))
    }

    /// The server's part of the handshake.
    pub(super) async fn accept(
        self: &Arc<Self>,
        line: Line,
        runtimes: &Runtimes,
    ) -> io::Result<TlsStream<Line>> {
        if self.is_due() {
            // This client still sees what was known; nobody waits for a disk.
            let tls = self.clone();
            drop(runtimes.spawn_blocking(move || tls.look_again()));
        }
        let config = self.lock().config.clone();
        TlsAcceptor::from(config).accept(line).await
    }

    fn is_due(&self) -> bool {
        let mut shown = self.lock();
        let due = shown.looked.elapsed() >= LOOK_AGAIN;
        if due {
            shown.looked = Instant::now();
        }
        due
    }

    fn look_again(&self) {
        let stamp = self.files.stamp();
        if stamp == self.lock().stamp {
            return;
        }
        match self.files.read() {
            Ok(config) => {
                let mut shown = self.lock();
                (shown.config, shown.stamp) = (config, stamp);
                info!(path = %self.files.cert.display(), "the certificate was renewed");
            }
            // Half of the pair may be there already.
            Err(error) => {
                warn!(error = format!("{error:#}"), "the certificate has changed and cannot be used yet")
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.files).finish()
    }
}

impl Files {
    fn stamp(&self) -> Stamp {
        let changed = |path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        [changed(&self.cert), changed(&self.key)]
    }

    fn read(&self) -> Result<Arc<ServerConfig>> {
        let Files { cert, key } = self;
        let advice = || format!("cannot use --tls-cert {}", cert.display());
        let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.with_context(advice)?;
        if chain.is_empty() {
            return Err(anyhow::anyhow!("it holds no certificate in PEM")).with_context(advice);
        }
        let advice = || format!("cannot use --tls-key {}", key.display());
        let secret = PrivateKeyDer::from_pem_file(key).with_context(advice)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("the TLS library has no protocol version")?
            .with_no_client_auth()
            .with_single_cert(chain, secret);
        let mut config = config
            .with_context(|| format!("cannot use {} with the key {}", cert.display(), key.display()))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Arc::new(config))
    }
}

/// A certificate for `names` that nobody has signed, kept in the state folder: clients that were told to trust it still do
/// after a restart.
///
/// # Errors
/// A name is none, or the files cannot be written.
pub fn self_signed(state: &Path, listen: IpAddr, hosts: &[String]) -> Result<Files> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let listen = Some(listen).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string());
    for name in listen.into_iter().chain(hosts.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let files = Files { cert: state.join("tls-cert.pem"), key: state.join("tls-key.pem") };
    let head = format!("{MADE_FOR}{}\n", names.join(" "));
    let known = fs::read_to_string(&files.cert).is_ok_and(|text| text.starts_with(&head));
    if known && files.read().is_ok() {
        return Ok(files);
    }
    let made = rcgen::generate_simple_self_signed(names.clone());
    let made = match made {
        Ok(made) => made,
        Err(error) => bail!("cannot make a certificate for {}: {error}", names.join(", ")),
    };
    for (path, text) in
        [(&files.key, made.signing_key.serialize_pem()), (&files.cert, head + &made.cert.pem())]
    {
        // Never readable by others, not even for a moment.
        let _ = fs::remove_file(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_made_here_is_kept_while_its_names_are_the_same() -> Result<()> {
        let state = tempfile::tempdir()?;
        let make = |hosts: &[&str]| {
            let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
            let files = self_signed(state.path(), IpAddr::from([10, 0, 0, 7]), &hosts)?;
            Tls::new(files.clone())?;
            Ok::<_, anyhow::Error>(fs::read_to_string(files.cert)?)
        };
        let first = make(&["box.example.com"])?;
        assert!(first.starts_with("made by pid1 for localhost 127.0.0.1 ::1 10.0.0.7 box.example.com\n"));
        assert_eq!(make(&["box.example.com"])?, first);
        assert_ne!(make(&["other.example.com"])?, first);
        Ok(())
    }

    #[test]
    fn what_cannot_be_used_is_named() -> Result<()> {
        let state = tempfile::tempdir()?;
        let good = self_signed(state.path(), IpAddr::from([127, 0, 0, 1]), &[])?;
        let other = tempfile::tempdir()?;
        let foreign = self_signed(other.path(), IpAddr::from([127, 0, 0, 1]), &[])?;
        let (empty, missing) = (state.path().join("empty"), state.path().join("missing"));
        fs::write(&empty, "")?;
        for (cert, key, why) in [
            (&missing, &good.key, "--tls-cert"),
            (&empty, &good.key, "no certificate"),
            (&good.cert, &good.cert, "--tls-key"),
            (&good.cert, &foreign.key, "with the key"),
        ] {
            let files = Files { cert: cert.clone(), key: key.clone() };
            let said = format!("{:#}", Tls::new(files).expect_err(why));
            assert!(said.contains(why), "{said}");
        }
        Ok(())
    }

    #[test]
    fn a_renewed_certificate_is_shown_once_it_is_whole() -> Result<()> {
        let (state, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let files = self_signed(state.path(), IpAddr::from([127, 0, 0, 1]), &[])?;
        let new = self_signed(other.path(), IpAddr::from([127, 0, 0, 1]), &[])?;
        let tls = Tls::new(files.clone())?;
        assert!(!tls.is_due());
        tls.lock().looked -= LOOK_AGAIN;
        assert!(tls.is_due() && !tls.is_due());
        let (first, shown) = (tls.lock().config.clone(), || tls.lock().config.clone());
        let mut later = SystemTime::now();
        for (from, to, renewed) in [(&new.cert, &files.cert, false), (&new.key, &files.key, true)] {
            fs::copy(from, to)?;
            // A clock of files stands still for some milliseconds.
            later += Duration::from_secs(1);
            OpenOptions::new().write(true).open(to)?.set_modified(later)?;
            tls.look_again();
            assert_eq!(!Arc::ptr_eq(&first, &shown()), renewed);
        }
        let second = shown();
        tls.look_again();
        assert!(Arc::ptr_eq(&second, &shown()), "nothing has changed since");
        Ok(())
    }
}
