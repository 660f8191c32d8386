//! Plain HTTP and the way in: health, the page, hosts and origins, tokens, and the starts that are refused.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use pid1_sdk::api::{Auth, command::Body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Agent, Launch, Raw, SOON, http, http_get, within};

const TOKEN: &str = "0123456789-operator";

/// The head of a WebSocket's request with these lines in place of `Host` and `Origin`.
fn upgrade(agent: &Agent, lines: &str) -> String {
    format!(
        "GET /wsv2/{} HTTP/1.1\r\n{lines}Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        agent.token()
    )
}

/// Sends a head, gives back the status; the connection is dropped then.
async fn status(agent: &Agent, head: &str) -> u16 {
    let mut stream = Raw::dial(agent).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    let read = within("an answer", SOON, stream.read_exact(&mut first)).await;
    read.unwrap_or_else(|error| panic!("{error} after {head}"));
    std::str::from_utf8(&first[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_is_answered() {
    let agent = Agent::start().await;
    for (path, status, text) in [
        ("/healthz", 200, "ok\n"),
        ("/readyz", 200, "ready\n"),
        ("/", 200, "pid1 is running"),
        ("/?x=1", 200, "pid1 is running"),
        ("/nothing", 404, "nothing here"),
        ("/healthz/", 404, "nothing here"),
        ("/..%2f..%2fetc/passwd", 404, "nothing here"),
        ("/wsv2/", 426, "WebSocket"),
        ("/wsv2/token", 426, "WebSocket"),
    ] {
        let (got, head, body) = http_get(&agent, path).await;
        assert_eq!(got, status, "{path}: {head}");
        assert!(body.contains(text), "{path}: {body}");
        let head = head.to_lowercase();
        assert!(
            head.contains("x-content-type-options: nosniff") && head.contains("cache-control: no-store"),
            "{head}"
        );
        assert!(!head.contains("set-cookie"), "{head}");
    }
    let (_, head, _) = http_get(&agent, "/").await;
    assert!(head.to_lowercase().contains("content-security-policy: default-src 'none'"), "{head}");
    for (method, status) in
        [("HEAD", 200), ("POST", 405), ("PUT", 405), ("DELETE", 405), ("OPTIONS", 405), ("X", 405)]
    {
        let request =
            format!("{method} / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", agent.address());
        let (got, _, body) = http(&agent, &request).await;
        assert_eq!(got, status, "{method}");
        assert!(method != "HEAD" || body.is_empty());
    }
}

/// A page of any site can make a browser connect here: it must name this agent as its operator does.
#[tokio::test]
async fn hosts_and_origins() {
    let agent = Agent::with(&["--host", "box.example.com", "--origin", "https://ide.example.com"]).await;
    let port = agent.address().port();
    let ours = format!("127.0.0.1:{port}");
    for (lines, expected) in [
        (format!("Host: {ours}\r\n"), 101),
        (format!("Host: localhost:{port}\r\n"), 101),
        ("Host: [::1]\r\n".into(), 101),
        ("Host: box.example.com\r\n".into(), 101),
        ("Host: BOX.example.com:99\r\n".into(), 101),
        ("Host: evil.example.com\r\n".into(), 421),
        (format!("Host: 127.0.0.1.evil.com:{port}\r\n"), 421),
        (format!("Host: localhost.evil.com:{port}\r\n"), 421),
        ("Host: \r\n".into(), 421),
        (String::new(), 421),
        (format!("Host: {ours}\r\nHost: evil.com\r\n"), 421),
        (format!("Host: {ours}\r\nOrigin: http://{ours}\r\n"), 101),
        (format!("Host: {ours}\r\nOrigin: https://ide.example.com\r\n"), 101),
        (format!("Host: {ours}\r\nOrigin: https://{ours}\r\n"), 403),
        (format!("Host: {ours}\r\nOrigin: http://evil.com\r\n"), 403),
        (format!("Host: {ours}\r\nOrigin: http://ide.example.com\r\n"), 403),
        (format!("Host: {ours}\r\nOrigin: https://ide.example.com.evil.com\r\n"), 403),
        (format!("Host: {ours}\r\nOrigin: null\r\n"), 403),
        (format!("Host: {ours}\r\nOrigin: \r\n"), 403),
        (format!("Host: {ours}\r\nOrigin: http://{ours}\r\nOrigin: http://evil.com\r\n"), 403),
        // A page whose name was made to resolve to this address: the same origin, by a wrong host.
        (format!("Host: evil.com:{port}\r\nOrigin: http://evil.com:{port}\r\n"), 421),
    ] {
        let answered = status(&agent, &upgrade(&agent, &lines)).await;
        // hyper itself refuses what HTTP does not allow, such as a request without a host.
        assert!(answered == expected || (expected == 421 && answered == 400), "{answered} for {lines:?}");
        let get = format!("GET /healthz HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
        let answered = status(&agent, &get).await;
        let expected = if expected == 101 { 200 } else { expected };
        assert!(
            answered == expected || (expected == 421 && answered == 400),
            "{answered} for a GET with {lines:?}"
        );
    }
    let absolute = format!("GET http://evil.com/healthz HTTP/1.1\r\nHost: {ours}\r\n\r\n");
    assert_eq!(status(&agent, &absolute).await, 421, "the request line names the host too");
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let agent = Agent::start().await;
    let good = upgrade(&agent, &format!("Host: {}\r\n", agent.address()));
    assert_eq!(status(&agent, &good).await, 101);
    for (from, to, expected) in [
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 426),
        ("Upgrade: WebSocket", "Upgrade: h2c", 426),
        ("Upgrade: WebSocket\r\n", "", 426),
        ("Connection: keep-alive, Upgrade", "Connection: keep-alive", 426),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 426),
        ("GET", "POST", 426),
    ] {
        assert!(good.contains(from));
        assert_eq!(status(&agent, &good.replace(from, to)).await, expected, "{from:?} -> {to:?}");
    }
    agent.client().await.ping().await;
}

/// After the upgrade, because clients retry a refused upgrade for ever.
#[tokio::test]
async fn a_wrong_token_is_refused_after_the_upgrade() {
    let agent = Launch::new().flags(&["--token", TOKEN]).start().await;
    for wrong in [
        "",
        "x",
        "0123456789-operatoR",
        "0123456789-operator0",
        "0123456789-operato",
        "%00",
        "%ff%fe",
        "a/b?c#d",
    ] {
        let stream = Raw::dial(&agent).await;
        let mut raw = Raw::upgrade(stream, &agent, wrong).await;
        assert_eq!(raw.next().await, None, "{wrong:?} is told nothing");
        let (code, reason) = raw.closed.unwrap();
        assert_eq!((code, reason.as_str()), (1008, "the token is not accepted"), "{wrong:?}");
    }
    let escaped: String = TOKEN.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut raw = Raw::upgrade(Raw::dial(&agent).await, &agent, &escaped).await;
    assert!(raw.next().await.is_some(), "the right one, percent-encoded");
    let mut raw = Raw::upgrade(Raw::dial(&agent).await, &agent, &format!("{TOKEN}?query")).await;
    assert!(raw.next().await.is_some(), "a query is no part of it");
}

#[tokio::test]
async fn no_token_is_ever_logged() {
    let near = "0123456789-operatoR";
    for give in ["flag", "variable", "file"] {
        let mut launch = Launch::new().flags(&["--log", "trace"]);
        launch = match give {
            "flag" => launch.flags(&["--token", TOKEN]),
            "variable" => launch.env("PID1_TOKEN", TOKEN),
            _ => {
                let file = launch.home().join("token");
                std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
                launch.clone().flags(&["--token-file", file.to_str().unwrap()])
            }
        };
        let agent = launch.start().await;
        assert!(agent.url().ends_with(&format!(":{}/", agent.address().port())), "{}", agent.url());
        let mut client = agent.client_as(TOKEN).await;
        client.shell("").await;
        let auth = Body::Auth(Auth { token: near.into(), ..Auth::default() });
        client.refused(0, auth).await;
        Raw::upgrade(Raw::dial(&agent).await, &agent, near).await.end().await;
        http_get(&agent, &format!("/wsv2/{near}")).await;
        http_get(&agent, &format!("/{TOKEN}")).await;
        drop(client);
        let log = agent.log();
        assert!(log.contains("session begins"), "{give}: there is a log");
        for secret in [TOKEN, near, "0123456789%2Doperator"] {
            assert!(!log.contains(secret), "{give}: {secret} is in the log");
        }
    }
}

#[tokio::test]
async fn a_token_of_its_own_is_made_for_each_start() {
    let (one, other) = (Agent::start().await, Agent::start().await);
    assert!(one.token() != other.token() && one.token().len() >= 20, "{}", one.token());
}

#[test]
fn starts_that_are_not_safe_are_refused() {
    let missing = "/no/such/file/of/a/token";
    for (flags, words) in [
        (&["--token", "fifteen-letters"][..], &["15", "16"][..]),
        (&["--token", ""], &["16"]),
        (&["--token-file", missing], &[missing]),
        (&["--root", "/no/such/folder"], &["/no/such/folder"]),
        (&["--root", "/etc/passwd"], &["/etc/passwd", "not a folder"]),
        (&["--listen", "nowhere"], &["--listen"]),
        (&["--max-message", "0"], &["--max-message"]),
        (&["--ping-interval", "0"], &["--ping-interval"]),
        (&["--stall-timeout=-1"], &["--stall-timeout"]),
        (&["--head-timeout", "soon"], &["--head-timeout"]),
        (&["--log", "pid1=loud"], &["--log"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
    ] {
        let (status, said) = Launch::new().flags(flags).refused();
        assert!(!status.success(), "{flags:?} serves");
        for word in words {
            assert!(said.contains(word), "{flags:?}: {said:?} should say {word:?}");
        }
        assert!(!said.contains("fifteen-letters"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test]
async fn beyond_this_machine_only_with_a_token() {
    for any in ["0.0.0.0:0", "[::]:0"] {
        let (status, said) = Launch::new().flags(&["--listen", any]).refused();
        assert!(!status.success());
        for word in [any, "token", "--token-file", "PID1_TOKEN", "127.0.0.1"] {
            assert!(said.contains(word), "{said:?} should say {word:?}");
        }
    }
    let agent = Launch::new().flags(&["--listen", "0.0.0.0:0", "--token", TOKEN]).start().await;
    agent.client_as(TOKEN).await.ping().await;
}

#[tokio::test]
async fn one_agent_for_a_state_folder() {
    let mut agent = Agent::start().await;
    let (status, said) = agent.launch().refused();
    assert!(!status.success());
    for word in [&agent.pid().to_string(), "--state-dir", "in use"] {
        assert!(said.contains(word), "{said:?} should say {word:?}");
    }
    agent.client().await.ping().await;
    agent.kill().await;
    let next = agent.launch().start().await;
    next.client().await.ping().await;
    let state = std::fs::metadata(agent.launch().home().join("state")).unwrap();
    assert_eq!(state.permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_state_folder_in_the_workspace_is_refused() {
    let launch = Launch::new();
    // The state folder stands beside `root`; with their parent as the workspace it stands inside.
    let home = launch.home().to_str().unwrap().to_owned();
    let (status, said) = launch.flags(&["--root", &home]).refused();
    assert!(!status.success());
    assert!(said.contains("inside the workspace") && said.contains("--state-dir"), "{said}");
}

#[test]
fn a_port_in_use_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let (status, said) = Launch::new().flags(&["--listen", &address]).refused();
    assert!(!status.success());
    for word in [&address, "--listen", "in use"] {
        assert!(said.to_lowercase().contains(word), "{said:?} should say {word:?}");
    }
}
