//! Transfers that break off: uploads that change nothing, downloads that do not pretend to be whole.

use std::fs;
use std::io::Write;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Reply, head, put};
use crate::support::{Agent, LATE, Raw, SOON, eventually, within};

/// An upload of which the test says when what comes.
pub struct Upload(TcpStream);

impl Upload {
    pub async fn begin(agent: &Agent, path: &str, headers: &[(&str, &str)], bytes: usize) -> Upload {
        let mut stream = Raw::dial(agent).await;
        let length = bytes.to_string();
        let headers = [headers, &[("Content-Length", &length)]].concat();
        stream.write_all(head(agent, "PUT", path, &headers).as_bytes()).await.unwrap();
        Upload(stream)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        within("the agent takes it", SOON, self.0.write_all(bytes)).await.unwrap();
    }

    pub async fn end(mut self) -> Reply {
        Reply::read(&mut self.0).await
    }
}

/// How many files without a name, drafts, the agent holds below its root.
fn drafts(agent: &Agent) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap();
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let root = agent.root();
    targets.filter(|path| path.starts_with(&root) && path.to_string_lossy().ends_with(" (deleted)")).count()
}

#[tokio::test]
async fn an_upload_that_breaks_off_changes_nothing() {
    let agent = Agent::start().await;
    put(&agent, "/files/file", &[], b"old").await;
    for reset in [false, true] {
        for path in ["/files/file", "/files/new/folder/file"] {
            let mut upload = Upload::begin(&agent, path, &[], 10_000_000).await;
            upload.send(&vec![b'x'; 5_000_000]).await;
            eventually("the upload has begun", SOON, || drafts(&agent) == 1).await;
            if reset {
                upload.0.set_zero_linger().unwrap();
            }
            drop(upload);
            eventually("the draft is gone", SOON, || drafts(&agent) == 0).await;
        }
    }
    // Chunks without their end, and chunks that are none.
    for body in ["5\r\nabcde\r\n", "5\r\nabcde\r\nzz\r\n", "ffffffffffffffffff\r\n"] {
        let mut stream = Raw::dial(&agent).await;
        let head = head(&agent, "PUT", "/files/file", &[("Transfer-Encoding", "chunked")]);
        stream.write_all((head + body).as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        let _ = within("the end", SOON, stream.read_to_string(&mut answer)).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{body:?}: {answer}");
    }
    // Two lengths are an attack on whoever stands in between.
    let two = [("Content-Length", "3"), ("Content-Length", "4")];
    let mut stream = Raw::dial(&agent).await;
    stream.write_all((head(&agent, "PUT", "/files/file", &two) + "abcd").as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.status, 400);
    assert_eq!(fs::read_to_string(agent.root().join("file")).unwrap(), "old");
    assert_eq!(fs::read_dir(agent.root()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up() {
    let agent = Agent::with(&["--transfer-timeout", "1"]).await;
    let mut upload = Upload::begin(&agent, "/files/file", &[], 100).await;
    upload.send(b"some").await;
    let reply = within("the agent gives up", SOON, upload.end()).await;
    assert_eq!(reply.status, 408, "{reply:?}");
    assert_eq!(fs::read_dir(agent.root()).unwrap().count(), 0);
}

/// It may take as long as it takes: neither what bounds strangers nor what bounds heads ends it.
#[tokio::test]
async fn a_slow_upload_that_moves_lives() {
    let agent = Agent::with(&["--head-timeout", "1", "--transfer-timeout", "2"]).await;
    let mut upload = Upload::begin(&agent, "/files/file", &[], 30).await;
    for _ in 0..30 {
        upload.send(b"x").await;
        // The pace of the upload: three seconds in all.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(upload.end().await.status, 201);
}

/// Far slower than by the third of a send buffer that the kernel waits for before it calls a socket writable.
#[tokio::test]
async fn a_slow_download_that_moves_lives() {
    let agent = Agent::with(&["--transfer-timeout", "1"]).await;
    let content: Vec<u8> = (0..16 << 20).map(|at: u32| (at >> 10) as u8).collect();
    fs::write(agent.root().join("file"), &content).unwrap();
    let mut stream = Raw::dial_narrow(&agent).await;
    stream.write_all(head(&agent, "GET", "/files/file", &[]).as_bytes()).await.unwrap();
    let (mut all, mut piece) = (Vec::new(), [0; 4 << 10]);
    // The pace of the download: five seconds, and then as fast as it goes.
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..100 {
        tick.tick().await;
        let read = within("some of it", SOON, stream.read(&mut piece)).await.unwrap();
        all.extend(&piece[..read]);
    }
    let _ = within("all of it", LATE, stream.read_to_end(&mut all)).await;
    let reply = Reply::parse(&all).unwrap();
    assert!(reply.body == content, "{} of {} bytes came", reply.body.len(), content.len());
}

/// `nc -N` and others say that they have asked all they want to, and then wait. Who has gone is noticed all the same.
#[tokio::test]
async fn who_has_asked_all_he_wants_to_is_answered() {
    let agent = Agent::start().await;
    let content = vec![b'x'; 8 << 20];
    fs::write(agent.root().join("file"), &content).unwrap();
    fs::File::create(agent.root().join("large")).unwrap().set_len(1 << 30).unwrap();
    let descriptors = agent.descriptors();
    let stay = ("Connection", "");
    let upload = head(&agent, "PUT", "/files/new", &[stay, ("Content-Length", "4")]);
    for (request, status, body) in [
        (head(&agent, "GET", "/files/file", &[stay]), 200, content.as_slice()),
        (head(&agent, "GET", "/healthz", &[stay]), 200, b"ok\n"),
        (upload.clone() + "abcd", 201, b""),
        (upload + "ab", 400, b""),
        (String::new(), 0, b""),
    ] {
        let mut stream = Raw::dial(&agent).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut all = Vec::new();
        within("the end", SOON, stream.read_to_end(&mut all)).await.unwrap();
        match Reply::parse(&all) {
            Some(reply) if status < 400 => assert!((reply.status, reply.body.as_slice()) == (status, body)),
            Some(reply) => assert_eq!(reply.status, status),
            None => assert!(status == 0 || status == 400, "{request}"),
        }
    }
    assert_eq!(fs::read_to_string(agent.root().join("new")).unwrap(), "abcd");
    let mut stream = Raw::dial(&agent).await;
    stream.write_all(head(&agent, "GET", "/files/large", &[stay]).as_bytes()).await.unwrap();
    within("it begins", SOON, stream.read_exact(&mut [0; 100])).await.unwrap();
    drop(stream);
    eventually("nobody is left", SOON, || agent.descriptors() <= descriptors).await;
}

/// Who takes nothing does not hold a file and a turn for ever.
#[tokio::test]
async fn a_download_that_stands_still_is_given_up() {
    let agent = Agent::with(&["--transfer-timeout", "1"]).await;
    let file = fs::File::create(agent.root().join("file")).unwrap();
    file.set_len(1 << 30).unwrap();
    let descriptors = agent.descriptors();
    let mut stream = Raw::dial(&agent).await;
    stream.write_all(head(&agent, "GET", "/files/file", &[]).as_bytes()).await.unwrap();
    eventually("it has begun", SOON, || agent.descriptors() > descriptors + 1).await;
    eventually("it is over", SOON, || agent.descriptors() <= descriptors).await;
    let mut all = Vec::new();
    let _ = within("the end", SOON, stream.read_to_end(&mut all)).await;
    assert!(all.len() < 1 << 30, "{}", all.len());
}

#[tokio::test]
async fn a_file_that_becomes_shorter_is_not_sent_as_whole() {
    let agent = Agent::start().await;
    let path = agent.root().join("file");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&vec![b'x'; 64 << 20]).unwrap();
    let mut stream = Raw::dial(&agent).await;
    stream.write_all(head(&agent, "GET", "/files/file", &[]).as_bytes()).await.unwrap();
    let mut first = vec![0; 1000];
    within("it begins", SOON, stream.read_exact(&mut first)).await.unwrap();
    file.set_len(10).unwrap();
    let mut rest = Vec::new();
    let _ = within("the connection ends", SOON, stream.read_to_end(&mut rest)).await;
    assert!(String::from_utf8_lossy(&first).contains("content-length: 67108864\r\n"));
    assert!(rest.len() < 60 << 20, "{} bytes came of a file that was cut", rest.len());
}

/// An open file is what it was, whatever takes its name.
#[tokio::test]
async fn a_file_that_is_replaced_is_read_to_its_end() {
    let agent = Agent::start().await;
    let old = vec![b'o'; 32 << 20];
    put(&agent, "/files/file", &[], &old).await;
    let mut stream = Raw::dial(&agent).await;
    stream.write_all(head(&agent, "GET", "/files/file", &[]).as_bytes()).await.unwrap();
    let mut first = vec![0; 1000];
    within("it begins", SOON, stream.read_exact(&mut first)).await.unwrap();
    put(&agent, "/files/file", &[], b"new").await;
    let mut rest = Vec::new();
    within("its end", SOON, stream.read_to_end(&mut rest)).await.unwrap();
    let reply = Reply::parse(&[first, rest].concat()).unwrap();
    assert!(reply.body == old);
}

#[tokio::test]
async fn transfers_end_with_the_agent() {
    let mut agent = Agent::start().await;
    fs::File::create(agent.root().join("large")).unwrap().set_len(1 << 30).unwrap();
    let mut upload = Upload::begin(&agent, "/files/file", &[], 10_000_000).await;
    upload.send(&vec![b'x'; 5_000_000]).await;
    let mut download = Raw::dial(&agent).await;
    download.write_all(head(&agent, "GET", "/files/large", &[]).as_bytes()).await.unwrap();
    eventually("both have begun", SOON, || drafts(&agent) == 1).await;
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended().await.success());
    let mut rest = Vec::new();
    let _ = within("the connection ends", SOON, download.read_to_end(&mut rest)).await;
    assert!(rest.len() < 1 << 30);
    assert_eq!(fs::read_dir(agent.root()).unwrap().count(), 1, "only the large file is there");
}
