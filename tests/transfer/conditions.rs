//! Requests that hold for one version only.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{ask, curl, curl_status, get, put};
use crate::support::{Agent, Rng, size};

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let agent = Agent::start().await;
    fs::write(agent.root().join("file"), "one").unwrap();
    let first = get(&agent, "/files/file", &[]).await;
    let (tag, date) = (first.header("etag").to_owned(), first.header("last-modified").to_owned());
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag} is strong");
    let list = format!("\"x\", W/{tag}");
    for (name, value) in [("If-None-Match", &tag), ("If-None-Match", &list), ("If-Modified-Since", &date)] {
        let reply = get(&agent, "/files/file", &[(name, value)]).await;
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{name}: {value}");
        assert_eq!((reply.header("etag"), reply.header("last-modified")), (tag.as_str(), date.as_str()));
    }
    assert_eq!(get(&agent, "/files/file", &[("If-None-Match", "\"x\"")]).await.status, 200);
    assert_eq!(get(&agent, "/files/file", &[("If-Match", "\"x\"")]).await.status, 412);
    assert_eq!(get(&agent, "/files/none", &[("If-None-Match", "*")]).await.status, 404);
    fs::write(agent.root().join("file"), "two").unwrap();
    let changed = get(&agent, "/files/file", &[("If-None-Match", &tag)]).await;
    assert_eq!((changed.status, changed.text()), (200, "two"));
    assert_ne!(changed.header("etag"), tag);
    let (tags, out) = (agent.root().join("../etag"), agent.root().join("../got"));
    let (tags, out) = (tags.to_str().unwrap(), out.to_str().unwrap());
    let flags = ["--etag-save", tags, "--etag-compare", tags, "--output", out, "--write-out", "%{http_code}"];
    fs::write(tags, "").unwrap();
    assert_eq!(curl(&agent, &flags, "/files/file").stdout, b"200");
    assert_eq!(curl(&agent, &flags, "/files/file").stdout, b"304");
}

#[tokio::test]
async fn a_file_is_replaced_only_as_its_writer_knows_it() {
    let agent = Agent::start().await;
    let path = agent.root().join("file");
    assert_eq!(put(&agent, "/files/file", &[("If-Match", "*")], b"x").await.status, 412);
    assert!(!path.exists());
    let made = put(&agent, "/files/file", &[("If-None-Match", "*")], b"one").await;
    assert_eq!(made.status, 201);
    let one = made.header("etag").to_owned();
    assert_eq!(get(&agent, "/files/file", &[]).await.header("etag"), one, "what PUT says is what GET says");
    let again = put(&agent, "/files/file", &[("If-None-Match", "*")], b"x").await;
    assert_eq!((again.status, again.header("etag")), (412, one.as_str()), "which one is there is told");
    let replaced = put(&agent, "/files/file", &[("If-Match", &one)], b"two").await;
    assert_eq!(replaced.status, 204);
    assert_eq!(put(&agent, "/files/file", &[("If-Match", &one)], b"x").await.status, 412);
    let two = replaced.header("etag").to_owned();
    for (method, headers) in [
        ("DELETE", &[("If-Match", one.as_str())][..]),
        ("MOVE", &[("If-Match", one.as_str()), ("Destination", "/files/other")]),
        ("DELETE", &[("If-Unmodified-Since", "Sun, 09 Sep 2001 01:46:40 GMT")]),
    ] {
        assert_eq!(ask(&agent, method, "/files/file", headers).await.status, 412, "{method} {headers:?}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(ask(&agent, "DELETE", "/files/file", &[("If-Match", &two)]).await.status, 204);
    // A link's target is what is looked at.
    fs::write(&path, "real").unwrap();
    std::os::unix::fs::symlink("file", agent.root().join("link")).unwrap();
    assert_eq!(put(&agent, "/files/link", &[("If-None-Match", "*")], b"x").await.status, 412);
    let status =
        curl_status(&agent, &["--upload-file", "/dev/null", "--header", "If-Match: \"x\""], "/files/link");
    assert_eq!((status.as_str(), fs::read_to_string(&path).unwrap().as_str()), ("412", "real"));
}

/// Everybody adds one to what he read, and tries again if somebody else was quicker: nothing is lost.
#[tokio::test]
async fn of_many_writers_at_once_one_wins_each_time() {
    const WRITERS: usize = 4;
    let agent = Agent::start().await;
    let times = size(10, 200);
    put(&agent, "/files/counter", &[], b"0").await;
    let writer = |number: usize| {
        let agent = &agent;
        async move {
            let mut rng = Rng::seeded(&format!("writer {number}"));
            let mut lost = 0;
            for _ in 0..times {
                loop {
                    let read = get(agent, "/files/counter", &[]).await;
                    let next = read.text().parse::<usize>().unwrap() + 1;
                    for _ in 0..rng.below(4) {
                        tokio::task::yield_now().await;
                    }
                    let tag = [("If-Match", read.header("etag"))];
                    match put(agent, "/files/counter", &tag, next.to_string().as_bytes()).await.status {
                        204 => break,
                        412 => lost += 1,
                        other => panic!("{other}"),
                    }
                }
            }
            lost
        }
    };
    let lost = futures_util::future::join_all((0..WRITERS).map(writer)).await.into_iter().sum::<usize>();
    eprintln!("{lost} of {} were too late", WRITERS * times + lost);
    assert_eq!(get(&agent, "/files/counter", &[]).await.text(), (WRITERS * times).to_string());
    assert!(lost > 0, "they never met, so nothing was tried");
}

/// A change while a body is on its way is seen when it matters.
#[tokio::test]
async fn who_is_overtaken_while_sending_is_told() {
    let agent = Agent::start().await;
    let path = agent.root().join("file");
    let old = put(&agent, "/files/file", &[], b"old").await;
    let mut slow =
        super::broken::Upload::begin(&agent, "/files/file", &[("If-Match", old.header("etag"))], 10).await;
    slow.send(b"12345").await;
    fs::write(&path, "theirs").unwrap();
    slow.send(b"67890").await;
    let reply = slow.end().await;
    assert_eq!((reply.status, fs::read_to_string(&path).unwrap().as_str()), (412, "theirs"));
    assert_eq!(fs::metadata(&path).unwrap().nlink(), 1);
}
