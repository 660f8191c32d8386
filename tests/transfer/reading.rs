//! Reading: files, parts of them, folders; and what is not read.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::{ask, curl, get, put};
use crate::support::{Agent, SOON, within};

#[tokio::test]
async fn a_file_comes_as_it_is() {
    let agent = Agent::start().await;
    let content: Vec<u8> = (0..3_000_001_u32).map(|at| (at / 7) as u8).collect();
    fs::create_dir(agent.root().join("a b")).unwrap();
    fs::write(agent.root().join("a b/c+é.bin"), &content).unwrap();
    fs::write(agent.root().join("empty"), "").unwrap();
    for path in
        ["/files/a%20b/c+%C3%A9.bin", "/files//a%20b//c%2B%c3%a9.bin", "/files/x/../a%20b%2fc+%C3%A9.bin"]
    {
        let _ = fs::create_dir(agent.root().join("x"));
        let reply = get(&agent, path, &[]).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert!(reply.body == content, "{path}");
        assert_eq!(reply.header("accept-ranges"), "bytes");
    }
    let whole = get(&agent, "/files/a%20b/c+%C3%A9.bin", &[]).await;
    let head = ask(&agent, "HEAD", "/files/a%20b/c+%C3%A9.bin", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let without_date = |reply: &super::Reply| {
        let mut headers = reply.headers.clone();
        headers.retain(|(name, _)| name != "date");
        headers.sort();
        headers
    };
    assert_eq!(without_date(&head), without_date(&whole), "HEAD says what GET says");
    let empty = get(&agent, "/files/empty", &[]).await;
    assert_eq!((empty.status, empty.header("content-length"), empty.body.len()), (200, "0", 0));
    assert!(curl(&agent, &["--path-as-is"], "/files/a%20b/c+%C3%A9.bin").stdout == content);
}

#[tokio::test]
async fn parts_of_a_file() {
    let agent = Agent::start().await;
    let content: Vec<u8> = (0..700_000_u32).map(|at| (at / 3) as u8).collect();
    fs::write(agent.root().join("file"), &content).unwrap();
    let size = content.len();
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, size - 1),
        ("bytes=1-262144", 1, 262_144),
        ("bytes=699999-", size - 1, size - 1),
        ("bytes=-1", size - 1, size - 1),
        ("bytes=-9999999", 0, size - 1),
        ("bytes=300000-9999999", 300_000, size - 1),
    ] {
        let reply = get(&agent, "/files/file", &[("Range", range)]).await;
        assert_eq!(reply.status, 206, "{range}: {reply:?}");
        assert_eq!(reply.header("content-range"), format!("bytes {first}-{last}/{size}"), "{range}");
        assert!(reply.body == content[first..=last], "{range}: {} bytes", reply.body.len());
    }
    for range in ["bytes=700000-", "bytes=-0"] {
        let reply = get(&agent, "/files/file", &[("Range", range)]).await;
        assert_eq!((reply.status, reply.header("content-range")), (416, "bytes */700000"), "{range}");
    }
    for range in ["bytes=0-1,5-6", "bytes=5-4", "lines=0-1", "nonsense"] {
        let reply = get(&agent, "/files/file", &[("Range", range)]).await;
        assert_eq!((reply.status, reply.body.len()), (200, size), "{range}: all of it");
    }
    let head = ask(&agent, "HEAD", "/files/file", &[("Range", "bytes=0-0")]).await;
    assert_eq!((head.status, head.header("content-length")), (200, "700000"));
    let resumed = curl(&agent, &["--continue-at", "699000"], "/files/file");
    assert!(resumed.stdout == content[699_000..]);
}

#[tokio::test]
async fn a_part_is_only_continued_if_the_file_is_the_same() {
    let agent = Agent::start().await;
    let old = put(&agent, "/files/file", &[], b"0123456789").await;
    let tag = old.header("etag").to_owned();
    let ask = [("Range", "bytes=5-"), ("If-Range", tag.as_str())];
    assert_eq!(get(&agent, "/files/file", &ask).await.text(), "56789");
    put(&agent, "/files/file", &[], b"abcdefghij").await;
    let changed = get(&agent, "/files/file", &ask).await;
    assert_eq!((changed.status, changed.text()), (200, "abcdefghij"));
}

#[tokio::test]
async fn a_folder_is_a_list() {
    let agent = Agent::start().await;
    let root = agent.root();
    let name = OsStr::from_bytes(b"caf\xe9 \"x\".txt");
    fs::write(root.join(name), "12345").unwrap();
    fs::create_dir_all(root.join("folder/inner")).unwrap();
    fs::create_dir(root.join(".pid1")).unwrap();
    symlink("/etc/passwd", root.join("link")).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    for path in ["/files", "/files/", "/files//", "/files/folder/.."] {
        let reply = get(&agent, path, &[]).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"), "{path}");
        let mut entries: Vec<serde_json::Value> = serde_json::from_slice(&reply.body).unwrap();
        entries.sort_by_key(|entry| entry["name"].as_str().unwrap().to_owned());
        let kinds: Vec<_> = entries
            .iter()
            .map(|entry| (entry["name"].as_str().unwrap(), entry["type"].as_str().unwrap()))
            .collect();
        let (file, folder) = (("caf\u{EFE9} \"x\".txt", "file"), ("folder", "folder"));
        assert_eq!(kinds, [file, folder, ("link", "link"), ("pipe", "special")], "{path}");
        assert_eq!((&entries[0]["size"], &entries[1]["href"]), (&5.into(), &"folder/".into()));
        assert!(entries[0]["modified"].as_i64().unwrap() > 1_700_000_000 && entries[1].get("size").is_none());
        let href = entries[0]["href"].as_str().unwrap();
        assert_eq!(get(&agent, &format!("/files/{href}"), &[]).await.text(), "12345", "{href}");
    }
    assert_eq!(get(&agent, "/files/folder/inner", &[]).await.text(), "[]\n");
    let head = ask(&agent, "HEAD", "/files/folder", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

/// More than is made at once, and all of it.
#[tokio::test]
async fn a_large_folder_comes_piece_by_piece() {
    let agent = Agent::start().await;
    for number in 0..5000 {
        fs::write(agent.root().join(format!("file-{number}")), "").unwrap();
    }
    let reply = get(&agent, "/files/", &[]).await;
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&reply.body).unwrap();
    let mut names: Vec<_> = entries.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 5000);
}

#[tokio::test]
async fn what_cannot_be_read_says_why_at_once() {
    let agent = Agent::start().await;
    let root = agent.root();
    fs::write(root.join("file"), "x").unwrap();
    fs::create_dir_all(root.join(".pid1/sub")).unwrap();
    fs::write(root.join(".pid1/secret"), "x").unwrap();
    symlink("/etc/passwd", root.join("out")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink(".pid1/secret", root.join("into")).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let long = format!("/files/{}", "x".repeat(300));
    for (path, status, words) in [
        ("/files/none", 404, "open none: no such file or directory"),
        ("/files/file/x", 404, "not a directory"),
        ("/files/file/", 404, "not a directory"),
        ("/files/.pid1/secret", 404, "no such file"),
        ("/files/.pid1", 404, "no such file"),
        ("/files/into", 404, "no such file"),
        ("/files/out", 403, "the link out leads out of the workspace, to /etc/passwd"),
        ("/files/magic/etc/passwd", 403, "leads out"),
        ("/files/../../etc/passwd", 403, "leads out"),
        ("/files/%2e%2e/%2e%2e/etc/passwd", 403, "leads out"),
        ("/files//etc/passwd", 404, "open etc/passwd: no such file"),
        ("/files/pipe", 403, "pipe"),
        ("/files/socket", 403, "socket"),
        ("/files/loop", 409, "too many"),
        ("/files/%zz", 400, "%25"),
        ("/files/a%00b", 400, "%00"),
        (&long, 414, "too long"),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = within(path, SOON, ask(&agent, method, path, &[])).await;
            assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
            assert!(method == "HEAD" || reply.text().contains(words), "{path}: {}", reply.text());
        }
    }
    for method in ["POST", "PATCH", "PROPFIND", "COPY", "TRACE", "X"] {
        let reply = ask(&agent, method, "/files/file", &[]).await;
        assert_eq!(reply.status, 405, "{method}");
        assert!(reply.header("allow").contains("MKCOL"), "{reply:?}");
    }
    assert_eq!(get(&agent, "/filesx", &[]).await.status, 404);
}
