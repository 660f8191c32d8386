//! Connections that never identify themselves: they have little time, few places and little memory, and do not keep
//! anybody out.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Agent, HEAVY, Raw, SLACK_BYTES, SOON, eventually, http, http_get, within};

/// How long the agent lets a stranger sit when others wait: all that a client has to wait for.
const PLACE_IS_SAFE: Duration = Duration::from_secs(1);

/// Reads to the end, whatever comes.
async fn ends(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = within("the agent ends the connection", SOON, stream.read_to_end(&mut all)).await;
    all
}

#[tokio::test]
async fn connections_that_say_nothing_are_ended() {
    let agent = Agent::with(&["--head-timeout", "1"]).await;
    http_get(&agent, "/healthz").await;
    let descriptors = agent.descriptors();
    let mut mute = Vec::new();
    for _ in 0..50 {
        mute.push(Raw::dial(&agent).await);
    }
    for stream in mute {
        ends(stream).await;
    }
    eventually("nothing is left of them", SOON, || agent.descriptors() <= descriptors).await;
}

/// Each byte in time, the whole never.
#[tokio::test]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let agent = Agent::with(&["--head-timeout", "1"]).await;
    let head =
        format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nX-Slow: {}", agent.address(), "z".repeat(10_000));
    let mut stream = Raw::dial(&agent).await;
    let begin = Instant::now();
    let mut sent = 0;
    let cut_off = async {
        for byte in head.as_bytes() {
            // The tick of the drip; an end or a reset shows itself in the read.
            let mut answer = [0; 500];
            let tick = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut answer));
            if stream_ended(tick.await) || stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sent += 1;
        }
    };
    within("the agent ends the connection", SOON, cut_off).await;
    assert!(begin.elapsed() < 10 * Duration::from_secs(1), "after {sent} bytes in {:?}", begin.elapsed());
    assert_eq!(http_get(&agent, "/healthz").await.0, 200);
}

/// Whether a read that was given a moment met the end.
fn stream_ended(read: Result<std::io::Result<usize>, tokio::time::error::Elapsed>) -> bool {
    matches!(read, Ok(Ok(0) | Err(_)))
}

/// An answered request does not make a stranger known: it may not stay for ever either.
#[tokio::test]
async fn a_connection_kept_alive_with_nothing_to_say_is_ended() {
    let agent = Agent::with(&["--head-timeout", "1"]).await;
    let mut stream = Raw::dial(&agent).await;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", agent.address());
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = ends(stream).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_token_that_is_wrong_does_not_keep_a_connection() {
    let agent = Agent::start().await;
    http_get(&agent, "/healthz").await;
    let descriptors = agent.descriptors();
    let mut refused = Vec::new();
    for _ in 0..20 {
        let stream = Raw::dial(&agent).await;
        // It does not answer the close.
        refused.push(Raw::upgrade(stream, &agent, "wrong-token-wrong-token").await.into_stream());
    }
    eventually("nothing is left of them", SOON, || agent.descriptors() <= descriptors).await;
}

#[tokio::test]
async fn strangers_in_number_do_not_keep_a_client_out() {
    let agent = Agent::with(&["--head-timeout", "600"]).await;
    let mut known = agent.client().await;
    let mut crowd = Vec::new();
    for _ in 0..260 {
        crowd.push(Raw::dial(&agent).await);
    }
    let begin = Instant::now();
    let mut client = agent.client().await;
    eprintln!("a client behind {} strangers came in after {:?}", crowd.len(), begin.elapsed());
    client.ping().await;
    known.ping().await;
    assert!(agent.descriptors() < 320, "{}", agent.descriptors());
}

/// As above with a crowd that fills the kernel's queue too.
#[tokio::test]
async fn a_crowd_of_strangers_does_not_keep_a_client_out() {
    let agent = Agent::with(&["--head-timeout", "600"]).await;
    let mut known = agent.client().await;
    let mut crowd = Vec::new();
    for _ in 0..600 {
        crowd.push(Raw::dial(&agent).await);
    }
    let begin = Instant::now();
    let mut client = agent.client().await;
    eprintln!("a client behind {} strangers came in after {:?}", crowd.len(), begin.elapsed());
    client.ping().await;
    known.ping().await;
}

/// A hundred, and more than there are places: clients come in one after the other for as long as they last.
#[tokio::test]
async fn clients_come_and_go_beside_strangers_until_these_are_ended() {
    let _alone = HEAVY.lock().await;
    for strangers in [100, 300] {
        let agent = Agent::with(&["--head-timeout", "3"]).await;
        http_get(&agent, "/healthz").await;
        let descriptors = agent.descriptors();
        let mut crowd = Vec::new();
        for number in 0..strangers {
            let mut stream = Raw::dial(&agent).await;
            // Some say half of what is needed.
            if number % 2 == 0 {
                stream.write_all(b"GET /wsv2/token HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
            }
            crowd.push(ends(stream));
        }
        let mut crowd = std::pin::pin!(futures_util::future::join_all(crowd));
        let (mut clients, mut slowest) = (0, Duration::ZERO);
        loop {
            let begin = Instant::now();
            let visit = async { agent.client().await.ping().await };
            tokio::select! {
                _ = &mut crowd => break,
                () = visit => (clients, slowest) = (clients + 1, slowest.max(begin.elapsed())),
            }
        }
        eprintln!("beside {strangers} strangers came {clients} clients, the slowest in {slowest:?}");
        assert!(clients > 3, "{clients} clients came in");
        assert!(slowest < 10 * PLACE_IS_SAFE, "{slowest:?} beside {strangers} strangers");
        eventually("nothing is left of them", SOON, || agent.descriptors() <= descriptors).await;
    }
}

#[tokio::test]
async fn a_head_beyond_its_limit_is_refused() {
    let agent = Agent::start().await;
    let before = agent.rss_bytes();
    for size in [20 << 10, 1 << 20] {
        let host = agent.address();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Large: {}\r\n\r\n", "z".repeat(size));
        let mut stream = Raw::dial(&agent).await;
        // It may be cut off while it is sent.
        let _ = within("the agent reads or ends", SOON, stream.write_all(request.as_bytes())).await;
        let answer = String::from_utf8_lossy(&ends(stream).await).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{size}: {answer}");
    }
    let path = "p".repeat(20 << 10);
    let (status, ..) =
        http(&agent, &format!("GET /{path} HTTP/1.1\r\nHost: {}\r\n\r\n", agent.address())).await;
    assert!(matches!(status, 0 | 400..=499), "{status}");
    assert!(agent.rss_bytes() < before + SLACK_BYTES);
    // What is within the limit is answered.
    let fits = "z".repeat(12 << 10);
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: {}\r\nX-Large: {fits}\r\nConnection: close\r\n\r\n",
        agent.address()
    );
    assert_eq!(http(&agent, &request).await.0, 200);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let agent = Agent::start().await;
    let mut known = agent.client().await;
    let mut rng = crate::support::Rng::seeded("no http");
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    // To who speaks TLS where there is none: a fatal alert, handshake failure.
    let alert = [0x15, 3, 1, 0, 2, 2, 40];
    let mut inputs = vec![tls, b"\r\n\r\n\r\n".to_vec(), b"GET / HTTP/9.9\r\n\r\n".to_vec(), b"\0".to_vec()];
    inputs.extend((0..100).map(|_| {
        let len = 1 + rng.below(300);
        rng.bytes(len)
    }));
    for input in inputs {
        let mut stream = Raw::dial(&agent).await;
        let _ = stream.write_all(&input).await;
        stream.shutdown().await.unwrap();
        let answer = ends(stream).await;
        let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 4");
        assert!(refused || (input[0] == 0x16 && answer == alert), "{input:?}: {answer:?}");
    }
    known.ping().await;
}
