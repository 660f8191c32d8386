//! Writing whole files, and the ways of sending one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::broken::Upload;
use super::{Reply, ask, curl, curl_status, get, head, put};
use crate::support::{Agent, Raw, Rng, SOON, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_file_is_made_and_replaced() {
    let agent = Agent::start().await;
    let root = agent.root();
    let content = Rng::seeded("content").bytes(5_000_003);
    let made = put(&agent, "/files/new/folder/file%FF", &[], &content).await;
    assert_eq!((made.status, made.body.len()), (201, 0), "{made:?}");
    assert!(made.header("etag").starts_with('"') && !made.header("last-modified").is_empty());
    assert!(get(&agent, "/files/new/folder/file%FF", &[]).await.body == content);
    let path = root.join("script");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).unwrap();
    symlink("script", root.join("link")).unwrap();
    let replaced = put(&agent, "/files/link", &[], b"").await;
    assert_eq!((replaced.status, fs::read(&path).unwrap().len()), (204, 0));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o751);
    assert!(root.join("link").is_symlink());
    assert_eq!(fs::read_dir(&root).unwrap().count(), 3, "nothing else is left");
}

#[tokio::test]
async fn curl_sends_files_and_streams() {
    let agent = Agent::start().await;
    let home = agent.root().parent().unwrap().to_owned();
    // Above this curl asks whether it may go on.
    let content = Rng::seeded("curl").bytes(3 << 20);
    fs::write(home.join("local.bin"), &content).unwrap();
    assert_eq!(curl_status(&agent, &["--upload-file", "local.bin"], "/files/a/"), "201");
    assert!(fs::read(agent.root().join("a/local.bin")).unwrap() == content, "under its own name");
    assert_eq!(curl_status(&agent, &["--upload-file", "local.bin"], "/files/a/local.bin"), "204");
    let chunked = ["--header", "Transfer-Encoding: chunked", "--upload-file", "local.bin"];
    assert_eq!(curl_status(&agent, &chunked, "/files/chunked"), "201");
    assert!(fs::read(agent.root().join("chunked")).unwrap() == content);
    assert_eq!(curl_status(&agent, &["-X", "PUT", "--data-binary", "@local.bin"], "/files/data"), "201");
    assert!(curl(&agent, &[], "/files/data").stdout == content);
}

/// `Expect: 100-continue`: whoever asks first sends nothing in vain.
#[tokio::test]
async fn who_asks_before_sending_is_told_on_the_head() {
    let agent = Agent::start().await;
    fs::create_dir(agent.root().join("folder")).unwrap();
    let huge = [("Content-Length", "1000000000000"), ("Expect", "100-continue")];
    for (path, more, status) in [
        ("/files/x", ("Authorization", "Bearer wrong-token-wrong-token"), 401),
        ("/files/folder", ("X", "x"), 409),
        ("/files/x/", ("X", "x"), 409),
        ("/files/../x", ("X", "x"), 403),
        ("/files/x", ("If-Match", "\"x\""), 412),
        ("/files/x", ("Content-Range", "bytes 0-1/2"), 400),
        ("/files/x", ("Content-Encoding", "gzip"), 415),
    ] {
        let mut stream = Raw::dial(&agent).await;
        let headers = [&huge[..], &[more]].concat();
        stream.write_all(head(&agent, "PUT", path, &headers).as_bytes()).await.unwrap();
        let mut all = Vec::new();
        let _ = within("the answer and the end", SOON, stream.read_to_end(&mut all)).await;
        assert!(!all.starts_with(b"HTTP/1.1 100"), "{path} {more:?}");
        assert_eq!(Reply::parse(&all).unwrap().status, status, "{path} {more:?}");
    }
    let mut stream = Raw::dial(&agent).await;
    let welcome = [("Content-Length", "3"), ("Expect", "100-continue")];
    stream.write_all(head(&agent, "PUT", "/files/x", &welcome).as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    within("the go-ahead", SOON, stream.read_exact(&mut go_on)).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.status, 201);
}

/// Whoever does not ask is answered too, although he is still sending.
#[tokio::test]
async fn who_sends_without_asking_reads_the_refusal() {
    let agent = Agent::start().await;
    let body = vec![b'x'; 8 << 20];
    for (headers, status) in [
        (&[("Authorization", "Bearer wrong-token-wrong-token")][..], 401),
        (&[("If-Match", "*")], 412),
        (&[("Content-Encoding", "br")], 415),
    ] {
        let reply = put(&agent, "/files/x", headers, &body).await;
        assert_eq!(reply.status, status, "{headers:?}");
        assert!(!reply.body.is_empty());
    }
    assert!(!agent.root().join("x").exists());
}

#[tokio::test]
async fn what_cannot_be_written_says_why() {
    let agent = Agent::start().await;
    let root = agent.root();
    fs::write(root.join("file"), "kept").unwrap();
    fs::create_dir_all(root.join("folder/inner")).unwrap();
    fs::create_dir(root.join(".pid1")).unwrap();
    symlink("/etc/passwd", root.join("out")).unwrap();
    symlink("/etc", root.join("away")).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    for (path, status, words) in [
        ("/files/folder", 409, "is a directory"),
        ("/files/new/", 409, "MKCOL"),
        ("/files/", 409, "folder"),
        ("/files/file/x", 409, "not a directory"),
        ("/files/out", 403, "leads out"),
        ("/files/away/new", 403, "leads out"),
        ("/files/../x", 403, "leads out"),
        ("/files/.pid1/x", 404, "no such file"),
        ("/files/.pid1", 404, "no such file"),
        ("/files/pipe", 403, "not a regular file"),
    ] {
        let reply = put(&agent, path, &[], b"changed").await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert!(reply.text().contains(words), "{path}: {}", reply.text());
    }
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "kept");
    assert_eq!(fs::read_dir(root.join(".pid1")).unwrap().count(), 0);
    assert_eq!(ask(&agent, "DELETE", "/files/pipe", &[]).await.status, 204, "but it can be removed");
}

/// Readers see the old file or the new one.
#[tokio::test]
async fn nothing_is_seen_of_an_upload_before_its_end() {
    let agent = Agent::start().await;
    put(&agent, "/files/file", &[], b"old").await;
    let mut upload = Upload::begin(&agent, "/files/file", &[], 2_000_000).await;
    upload.send(&vec![b'n'; 1_999_999]).await;
    assert_eq!(get(&agent, "/files/file", &[]).await.text(), "old");
    let names = get(&agent, "/files/", &[]).await;
    assert_eq!(names.text().matches("\"name\"").count(), 1, "{}", names.text());
    upload.send(b"n").await;
    assert_eq!(upload.end().await.status, 204);
    assert!(get(&agent, "/files/file", &[]).await.body == vec![b'n'; 2_000_000]);
}

/// One connection for many requests, as browsers and curl have it.
#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let agent = Agent::start().await;
    let mut stream = Raw::dial(&agent).await;
    let open = [("Connection", "keep-alive")];
    let mut heads = String::new();
    for number in 0..20 {
        let body = [open[0], ("Content-Length", "3")];
        heads += &head(&agent, "PUT", &format!("/files/{number}"), &body);
        heads += "abc";
        heads += &head(&agent, "GET", &format!("/files/{number}"), &open);
    }
    heads += &head(&agent, "GET", "/healthz", &[]);
    stream.write_all(heads.as_bytes()).await.unwrap();
    let mut all = String::new();
    within("all answers", SOON, stream.read_to_string(&mut all)).await.unwrap();
    assert_eq!((all.matches("201 Created").count(), all.matches("\r\n\r\nabc").count()), (20, 20), "{all}");
    assert!(all.ends_with("ok\n"), "{all}");
}

/// Whoever has moved files may become a session on the same connection.
#[tokio::test]
async fn a_connection_that_moved_files_becomes_a_websocket() {
    let agent = Agent::start().await;
    let mut stream = Raw::dial(&agent).await;
    let open = [("Connection", "keep-alive"), ("Content-Length", "3")];
    stream.write_all((head(&agent, "PUT", "/files/file", &open) + "abc").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within("an answer", SOON, stream.read_u8()).await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&answer));
    Raw::upgrade(stream, &agent, agent.token()).await.ping("p").await;
}

/// What hyper would hand out as the content, and is not.
#[tokio::test]
async fn a_body_that_would_be_misread_is_refused() {
    let agent = Agent::start().await;
    fs::write(agent.root().join("file"), "old").unwrap();
    let packed = head(&agent, "PUT", "/files/file", &[("Transfer-Encoding", "gzip, chunked")]);
    let endless = head(&agent, "PUT", "/files/file", &[]).replace("HTTP/1.1", "HTTP/1.0");
    for (head, body, status) in [(packed, "3\r\nnew\r\n0\r\n\r\n", 501), (endless, "new", 411)] {
        let mut stream = Raw::dial(&agent).await;
        stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await.unwrap();
        let mut said = Vec::new();
        within("it is refused", SOON, stream.read_to_end(&mut said)).await.unwrap();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(said.split(' ').nth(1), Some(status.to_string().as_str()), "{said}");
        assert_eq!(fs::read_to_string(agent.root().join("file")).unwrap(), "old");
    }
}
