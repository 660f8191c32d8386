//! The agent's side: which bytes are spoken with whom, and for how long it waits for them.

use std::process::Command;
use std::time::{Duration, Instant};

use pid1_sdk::api::{self, command::Body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Pair, TOKEN, exec, exec_believing, reachable_agent, refused, said, secure_agent, text};
use crate::support::{Agent, Launch, Raw, Rng, SOON, http_get, within};

/// The beginning of a client's hello.
const HELLO: [u8; 6] = [0x16, 0x03, 0x01, 0x00, 0xc8, 0x01];

fn curl(agent: &Agent, path: &str, arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--cacert", text(&agent.ca())])
        .args(["--header", &format!("Authorization: Bearer {}", agent.token())])
        .args(arguments)
        .arg(format!("https://{}{path}", agent.address()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{path}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything up to the end of the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = within("the connection ends", SOON, stream.read_to_end(&mut all)).await;
    all
}

#[tokio::test]
async fn files_by_both_versions_of_http() {
    let agent = secure_agent().await;
    let random = Rng::seeded("files by tls").bytes(5 << 20);
    let (file, copy) = (agent.root().join("file"), agent.root().join("copy"));
    std::fs::write(&file, &random).unwrap();
    let ask = ["--write-out", "%{http_version} %{response_code}"];
    for (version, shown) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let upload = [&ask[..], &[version, "--upload-file", text(&file)]].concat();
        assert_eq!(curl(&agent, "/files/uploaded", &upload), format!("{shown} 201"));
        assert!(std::fs::read(agent.root().join("uploaded")).unwrap() == random);
        let download = [&ask[..], &[version, "--output", text(&copy)]].concat();
        assert_eq!(curl(&agent, "/files/uploaded", &download), format!("{shown} 200"));
        assert!(std::fs::read(&copy).unwrap() == random, "{version}");
        std::fs::remove_file(agent.root().join("uploaded")).unwrap();
    }
}

#[tokio::test]
async fn large_messages_both_ways() {
    let agent = secure_agent().await;
    let mut peer = agent.client().await;
    let files = peer.open("files", "").await;
    let content = Rng::seeded("large").bytes(9 << 20);
    let file = api::File { path: "large".into(), content: content.clone().into(), ..api::File::default() };
    assert!(matches!(peer.ask(files, Body::Write(file)).await, Body::Ok(_)));
    let wanted = api::File { path: "large".into(), ..api::File::default() };
    for _ in 0..3 {
        match peer.ask(files, Body::Read(wanted.clone())).await {
            Body::File(file) => assert!(file.content == content, "{} bytes", file.content.len()),
            other => panic!("{} instead of a file", other.name()),
        }
        peer.ping().await;
    }
}

/// Health checks and scripts on this machine go on as they are.
#[tokio::test]
async fn on_this_machine_cleartext_is_spoken_too() {
    let agent = secure_agent().await;
    assert_eq!(http_get(&agent, "/healthz").await.0, 200);
    let url = agent.url().replace("https://", "http://");
    let output = exec(&url, &[], &["echo", "here"]).output().unwrap();
    assert_eq!(output.stdout, b"here\n", "{}", said(&output));
}

#[tokio::test]
async fn strangers_get_cleartext_only_where_somebody_wants_that() {
    let Some((agent, place)) = reachable_agent(&[]).await else { return };
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(place).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 ") && body.contains("https://"), "{answer}");
    assert!(
        head.contains(&format!("content-length: {}\r\n", body.len()))
            || head.ends_with(&body.len().to_string())
    );
    let (plain, secure) =
        (format!("http://{place}/#token={TOKEN}"), format!("https://{place}/#token={TOKEN}"));
    refused(exec(&plain, &[], &["true"]), TOKEN, &["this address speaks TLS: use https://"]);
    let output = exec_believing(&agent.ca(), &secure, &["echo", "here"]).output().unwrap();
    assert_eq!(output.stdout, b"here\n", "{}", said(&output));
    // As behind a proxy that ends TLS.
    let Some((agent, place)) = reachable_agent(&["--cleartext"]).await else { return };
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{place}/#token={TOKEN}");
        let output = exec_believing(&agent.ca(), &url, &["echo", "here"]).output().unwrap();
        assert_eq!(output.stdout, b"here\n", "{}", said(&output));
    }
}

#[tokio::test]
async fn without_a_certificate_tls_is_refused_at_once() {
    let agent = Agent::start().await;
    let begin = Instant::now();
    let mut stream = Raw::dial(&agent).await;
    stream.write_all(&HELLO).await.unwrap();
    let mut alert = [0; 7];
    within("an alert", SOON, stream.read_exact(&mut alert)).await.unwrap();
    // Fatal, handshake failure.
    assert_eq!((alert[0], &alert[5..]), (0x15, &[2, 40][..]));
    assert!(rest(&mut stream).await.is_empty());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_ended() {
    let agent = Agent::with(&["--tls-self-signed", "--head-timeout", "1"]).await;
    for (what, bytes) in [("nothing", &[][..]), ("a byte", &HELLO[..1]), ("a beginning", &HELLO[..])] {
        let begin = Instant::now();
        let mut stream = Raw::dial(&agent).await;
        stream.write_all(bytes).await.unwrap();
        assert!(rest(&mut stream).await.is_empty(), "{what}");
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(900) && took < SOON, "{what}: {took:?}");
    }
    // Whoever is served is not meant.
    agent.client().await.ping().await;
}

#[test]
fn what_cannot_be_shown_is_refused_before_anybody_is_served() {
    let launch = Launch::new();
    let pair = Pair::new(&launch, "box.example", false);
    let [_, cert, _, key] = pair.flags();
    for (flags, words) in [
        (&["--tls-cert", cert][..], "give --tls-key FILE"),
        (&["--tls-key", key], "give --tls-cert FILE"),
        (&["--tls-cert", cert, "--tls-key", key, "--tls-self-signed"], "choose"),
        (&["--tls-cert", "/nowhere.pem", "--tls-key", key], "cannot use --tls-cert /nowhere.pem"),
        (&["--tls-cert", cert, "--tls-key", "/nowhere.pem"], "cannot use --tls-key /nowhere.pem"),
        (&["--tls-cert", cert, "--tls-key", cert], "cannot use --tls-key"),
        (&["--tls-self-signed", "--host", "b\u{fc}cher.example"], "cannot make a certificate"),
    ] {
        let (status, said) = launch.clone().flags(flags).refused();
        assert!(!status.success() && said.contains(words), "{flags:?}: {said}");
    }
}

/// Clients that were told to believe it still do.
#[tokio::test]
async fn a_certificate_made_here_outlives_the_agent() {
    let mut agent = secure_agent().await;
    let before = std::fs::read(agent.ca()).unwrap();
    agent.kill().await;
    let again = agent.launch().start().await;
    assert_eq!(std::fs::read(again.ca()).unwrap(), before);
    again.client().await.ping().await;
}
