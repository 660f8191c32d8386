//! TLS and the socket on this machine: what the agent shows there, and what its own clients make of it.

mod client;
mod door;
mod local;
mod slow;
mod trust;

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::{Agent, Launch, binary};

/// For agents that others than this machine can reach.
const TOKEN: &str = "a-token-of-somebody";

/// An agent with a certificate of its own making.
async fn secure_agent() -> Agent {
    let agent = Agent::with(&["--tls-self-signed"]).await;
    assert!(agent.url().starts_with("https://127.0.0.1:"), "{}", agent.url());
    agent
}

/// `pid1` as a person runs it who has set nothing.
fn pid1(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    for variable in ["PID1_URL", "PID1_TLS_CA", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(variable);
    }
    command
}

fn exec(url: &str, flags: &[&str], command: &[&str]) -> Command {
    pid1(&[&["exec", url], flags, &["--"], command].concat())
}

/// The same, believing the certificates in `ca`.
fn exec_believing(ca: &Path, url: &str, command: &[&str]) -> Command {
    exec(url, &["--tls-ca", text(ca)], command)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// It has been refused with these words, and has not told the token.
fn refused(mut command: Command, token: &str, words: &[&str]) {
    let output = command.output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(255), "{said}");
    assert!(output.stdout.is_empty() && !said.contains(token), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
}

/// An address of this machine at which it is a stranger to itself. Where there is no network there is none.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the kernel chooses the way, and with it the sender.
    socket.connect("203.0.113.1:9").ok()?;
    let ip = socket.local_addr().unwrap().ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

/// An agent that can be reached there, with a certificate for that, and where.
async fn reachable_agent(flags: &[&str]) -> Option<(Agent, SocketAddr)> {
    let Some(ip) = own_address() else {
        eprintln!("this machine has no network: nothing was tried");
        return None;
    };
    let host = ip.to_string();
    let own = ["--listen", "0.0.0.0:0", "--token", TOKEN, "--tls-self-signed", "--host", &host];
    let agent = Agent::with(&[&own[..], flags].concat()).await;
    let place = SocketAddr::new(ip, agent.address().port());
    Some((agent, place))
}

/// A certificate for one name, and its key, as somebody else has made them.
struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new(launch: &Launch, name: &str, is_ca: bool) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut wanted = CertificateParams::new([name.to_owned()]).unwrap();
        if is_ca {
            wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        Self::write(launch, &wanted.self_signed(&key).unwrap().pem(), &key)
    }

    /// One that is signed by somebody else's, which is in the file.
    fn signed(launch: &Launch, name: &str) -> (Pair, PathBuf) {
        let (key, other_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut other = CertificateParams::new(Vec::new()).unwrap();
        other.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signer = launch.home().join("signer.pem");
        fs::write(&signer, other.self_signed(&other_key).unwrap().pem()).unwrap();
        let wanted = CertificateParams::new([name.to_owned()]).unwrap();
        let cert = wanted.signed_by(&key, &Issuer::new(other, other_key)).unwrap();
        (Self::write(launch, &cert.pem(), &key), signer)
    }

    fn write(launch: &Launch, cert: &str, key: &KeyPair) -> Pair {
        let pair = Pair { cert: launch.home().join("cert.pem"), key: launch.home().join("key.pem") };
        fs::write(&pair.cert, cert).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    fn flags(&self) -> [&str; 4] {
        ["--tls-cert", text(&self.cert), "--tls-key", text(&self.key)]
    }
}
