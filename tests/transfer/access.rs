//! Who may: tokens, roles, hosts. What is refused is not done.

use std::fs;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ask, curl, get, head, put};
use crate::access::keys::{Keys, TOKEN};
use crate::support::{Agent, LATE, Raw, within};

const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "DELETE", "MOVE", "MKCOL"];

#[tokio::test]
async fn nobody_without_a_token_learns_or_changes_anything() {
    let (agent, keys) = Keys::agent(&[]).await;
    fs::write(agent.root().join("file"), "kept").unwrap();
    let wrong = keys.jwt(&["--key", keys.path("other").to_str().unwrap()]);
    let expired = format!("Bearer {}", keys.jwt(&["--role", "owner", "--ttl", "1s"]));
    let refused =
        async { while get(&agent, "/files/", &[("Authorization", &expired)]).await.status != 401 {} };
    within("it expires", LATE, refused).await;
    let wrong = format!("Bearer {wrong}");
    let basic = format!("Basic {TOKEN}");
    for authorization in
        ["", "Bearer", "Bearer ", TOKEN, &basic, &wrong, &expired, "Bearer 0123456789-operatoR"]
    {
        for method in METHODS {
            for path in ["/files/file", "/files/none", "/files/", "/files/%zz"] {
                let headers = [("Authorization", authorization), ("Destination", "/files/x")];
                let reply = ask(&agent, method, path, &headers).await;
                assert_eq!(reply.status, 401, "{method} {path} {authorization:?}");
                assert!(reply.header("www-authenticate").starts_with("Bearer"));
                assert!(reply.header("set-cookie").is_empty());
            }
        }
    }
    // Neither in the URL nor as a cookie, and not twice.
    let bearer = format!("Bearer {TOKEN}");
    for path in [&format!("/files/file?token={TOKEN}"), &format!("/files/file?access_token={TOKEN}")] {
        assert_eq!(get(&agent, path, &[("Authorization", "")]).await.status, 401);
    }
    let cookie = format!("token={TOKEN}; authorization={TOKEN}");
    assert_eq!(get(&agent, "/files/file", &[("Authorization", ""), ("Cookie", &cookie)]).await.status, 401);
    let twice = [("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())];
    assert_eq!(get(&agent, "/files/file", &twice).await.status, 401);
    assert_eq!(fs::read_to_string(agent.root().join("file")).unwrap(), "kept");
    assert_eq!(fs::read_dir(agent.root()).unwrap().count(), 1);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let reply = get(&agent, "/files/file", &[("Authorization", &format!("{scheme} {TOKEN}"))]).await;
        assert_eq!(reply.text(), "kept", "{scheme}");
    }
    let log = agent.log();
    assert!(
        log.contains("token refused: ") && log.contains("expired") && log.contains("peer=127.0.0.1:"),
        "{log}"
    );
    assert!(!log.contains(TOKEN));
}

#[tokio::test]
async fn viewers_only_read() {
    let (agent, keys) = Keys::agent(&[]).await;
    let root = agent.root();
    for role in ["viewer", "editor", "owner"] {
        fs::write(root.join("file"), "content").unwrap();
        let token = format!("Bearer {}", keys.jwt_of(role));
        for (method, path, allowed) in [
            ("GET", "/files/file", 200),
            ("HEAD", "/files/file", 200),
            ("GET", "/files/", 200),
            ("PUT", "/files/put", 201),
            ("MKCOL", "/files/made", 201),
            ("DELETE", "/files/made/", 204),
            ("DELETE", "/files/put", 204),
            ("MOVE", "/files/file", 201),
        ] {
            let headers = [("Authorization", token.as_str()), ("Destination", "/files/moved")];
            let reply = ask(&agent, method, path, &headers).await;
            let reads = matches!(method, "GET" | "HEAD");
            let expected = if role == "viewer" && !reads { 403 } else { allowed };
            assert_eq!(reply.status, expected, "a {role}'s {method} {path}: {reply:?}");
            if expected == 403 {
                assert_eq!(
                    reply.text(),
                    format!("{method} needs the role editor, and this token has the role viewer\n")
                );
            }
        }
        let left = if role == "viewer" { "file" } else { "moved" };
        assert_eq!(fs::read_dir(&root).unwrap().next().unwrap().unwrap().file_name(), left);
        fs::remove_file(root.join(left)).unwrap();
    }
}

/// As with sessions: what a token began ends with it.
#[tokio::test]
async fn a_transfer_ends_with_its_token() {
    let (agent, keys) = Keys::agent(&[]).await;
    fs::File::create(agent.root().join("large")).unwrap().set_len(8 << 30).unwrap();
    let token = format!("Bearer {}", keys.jwt(&["--role", "editor", "--ttl", "4s"]));
    let authorization = ("Authorization", token.as_str());
    let mut upload = Raw::dial(&agent).await;
    let headers = [authorization, ("Transfer-Encoding", "chunked")];
    upload.write_all(head(&agent, "PUT", "/files/file", &headers).as_bytes()).await.unwrap();
    let mut download = Raw::dial(&agent).await;
    download.write_all(head(&agent, "GET", "/files/large", &[authorization]).as_bytes()).await.unwrap();
    let uploading = async {
        let (mut reading, mut writing) = upload.split();
        let drip = async {
            loop {
                writing.write_all(b"1\r\nx\r\n").await.unwrap();
                // The pace of the upload.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let mut status = [0; 12];
        tokio::select! {
            () = drip => unreachable!(),
            read = reading.read_exact(&mut status) => read.unwrap(),
        };
        assert_eq!(&status, b"HTTP/1.1 401");
    };
    let downloading = async {
        let (mut piece, mut bytes) = (vec![0; 1 << 20], 0);
        while let Ok(read @ 1..) = download.read(&mut piece).await {
            bytes += read;
            // It must not be through before.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(bytes > 1 << 20 && bytes < 8 << 30, "{bytes}");
    };
    within("both end", LATE, futures_util::future::join(uploading, downloading)).await;
    assert!(!agent.root().join("file").exists());
    assert_eq!(get(&agent, "/files/large", &[authorization]).await.status, 401);
}

/// A page of another site that was made to resolve to this address, or that simply asks.
#[tokio::test]
async fn hosts_and_origins_come_first() {
    let agent = Agent::with(&["--origin", "https://ide.example.com"]).await;
    fs::write(agent.root().join("file"), "x").unwrap();
    let same = format!("http://{}", agent.address());
    for (name, value, status) in [
        ("Host", "evil.example.com", 421),
        ("Origin", "http://evil.example.com", 403),
        ("Origin", "null", 403),
        ("Origin", "https://ide.example.com", 200),
        ("Origin", same.as_str(), 200),
    ] {
        let reply = get(&agent, "/files/file", &[(name, value)]).await;
        assert_eq!(reply.status, status, "{name}: {value}");
        let known = if value.contains("ide.") { value } else { "" };
        assert_eq!(reply.header("access-control-allow-origin"), known, "{name}: {value}");
        assert!(reply.header("access-control-allow-credentials").is_empty());
        assert_eq!(put(&agent, "/files/x", &[(name, value)], b"x").await.status < 300, status == 200);
        let _ = fs::remove_file(agent.root().join("x"));
    }
}

/// Tokens that are good only without network are as good here as on a WebSocket.
#[tokio::test]
async fn a_token_for_restricted_networks_is_refused_elsewhere() {
    let (agent, keys) = Keys::agent(&["--network", "open"]).await;
    let token = format!("Bearer {}", keys.paseto(&["--restrict-network"]));
    let reply = get(&agent, "/files/", &[("Authorization", &token)]).await;
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("network"), "{}", reply.text());
}

#[tokio::test]
async fn the_lines_of_the_readme_work() {
    let agent = Agent::start().await;
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("## Files over HTTP").unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (script, _) = block.split_once("```").unwrap();
    let home = agent.root().parent().unwrap().to_owned();
    fs::write(home.join("photo.png"), "content").unwrap();
    fs::write(home.join("report.csv"), "content").unwrap();
    let lines: Vec<_> = script.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(lines.len() >= 6, "{script}");
    let output = std::process::Command::new("bash")
        .args(["-euo", "pipefail", "-c", &lines.join("\n")])
        .env("URL", format!("http://{}/files", agent.address()))
        .env("TOKEN", agent.token())
        .current_dir(&home)
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!curl(&agent, &[], "/files/").stdout.is_empty());
}
