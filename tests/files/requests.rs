//! Every request, its answer and its errors; several clients; what is large.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use bytes::Bytes;
use pid1_sdk::api::{FsLock, FsSnapshot, command::Body};

use super::{Files, OK, at, moving, write};
use crate::support::{Agent, HEAVY, Launch, SOON, eventually, size};

#[tokio::test]
async fn what_one_client_does_the_others_see() {
    let agent = Agent::start().await;
    let (mut one, mut two) = (Files::of(&agent).await, Files::of(&agent).await);
    one.done(write("src/main.rs", "fn main() {}")).await;
    assert_eq!(two.read("src/main.rs").await, "fn main() {}");
    assert_eq!(two.list(".").await, [("src".to_owned(), true)]);
    two.done(write("src/main.rs", "")).await;
    assert_eq!(one.read("src/main.rs").await, "");
    one.done(Body::Mkdir(at("src/bin/more"))).await;
    two.done(moving("src/main.rs", "src/bin/main.rs")).await;
    assert_eq!(one.list("src/bin").await, [("main.rs".to_owned(), false), ("more".to_owned(), true)]);
    one.done(Body::Remove(at("src/bin/main.rs"))).await;
    assert!(!two.stat("src/bin/main.rs").await.exists);
    one.done(Body::Remove(at("src"))).await;
    two.done(Body::TryRemove(at("src"))).await;
    assert!(two.names("").await.is_empty());
    for body in [Body::Persist(at("")), Body::PersistMirror(at("."))] {
        one.done(body).await;
    }
}

#[tokio::test]
async fn what_is_known_of_a_file_is_what_the_disk_says() {
    let agent = Agent::start().await;
    let mut files = Files::of(&agent).await;
    let path = agent.root().join("script.sh");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let found = files.stat("script.sh").await;
    assert!(found.exists && found.size == 10 && found.file_mode == "-rwxr-xr-x", "{found:?}");
    let modified =
        fs::metadata(&path).unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(found.mod_time, modified.as_secs() as i64);
    files.done(write("script.sh", "#!/bin/bash\n")).await;
    assert_eq!(files.stat("script.sh").await.file_mode, "-rwxr-xr-x");
    fs::create_dir(agent.root().join("folder")).unwrap();
    let found = files.stat("folder").await;
    assert!(found.r#type == 1 && found.file_mode.starts_with('d'), "{found:?}");
    assert!(!files.stat("script.sh/below").await.exists);
}

#[tokio::test]
async fn errors_say_what_clients_look_for() {
    let agent = Agent::start().await;
    let mut files = Files::of(&agent).await;
    files.done(write("file", "x")).await;
    files.done(Body::Mkdir(at("folder/inner"))).await;
    for (body, words) in [
        (Body::Read(at("none")), "open none: no such file or directory"),
        (Body::Read(at("folder")), "is a directory"),
        (Body::Read(at("file/x")), "not a directory"),
        (write("folder", "x"), "is a directory"),
        (Body::Readdir(at("none")), "no such file"),
        (Body::Readdir(at("file")), "not a directory"),
        (Body::Mkdir(at("file")), "file exists"),
        (Body::Remove(at("none")), "no such file"),
        (moving("none", "other"), "no such file"),
        (moving("inner", "folder"), "no such file"),
        (moving("file", "folder"), "is a directory"),
        (Body::Persist(at("none")), "no such file"),
        (Body::Read(at(&"long".repeat(2000))), "file name too long"),
    ] {
        let said = files.refused(body).await;
        assert!(said.contains(words), "{said}");
    }
    files.done(Body::Mkdir(at("full/x"))).await;
    assert!(files.refused(moving("folder", "full")).await.contains("file exist"));
    // And nothing has changed.
    assert_eq!(files.names(".").await, ["file", "folder", "full"]);
}

#[tokio::test]
async fn names_that_are_no_text_can_be_used_as_they_are_listed() {
    let agent = Agent::start().await;
    let mut files = Files::of(&agent).await;
    let name = OsStr::from_bytes(b"caf\xe9\n\x1b[31m");
    fs::write(agent.root().join(name), "x").unwrap();
    let names = files.names(".").await;
    assert_eq!(names.len(), 1);
    assert_eq!(files.read(&names[0]).await, "x");
    files.done(moving(&names[0], &format!("{}-2", names[0]))).await;
    let moved = [name.as_bytes(), b"-2"].concat();
    assert!(agent.root().join(OsStr::from_bytes(&moved)).exists());
    let said = files.refused(Body::Read(at(&names[0]))).await;
    assert!(!said.contains(|c: char| c.is_control()) && said.contains("no such file"), "{said:?}");
}

#[tokio::test]
async fn the_agents_own_folder_in_the_workspace_is_not_there() {
    let launch = Launch::new();
    let state = launch.home().join("root/.pid1");
    let agent = launch.flags(&["--state-dir", state.to_str().unwrap()]).start().await;
    let mut files = Files::of(&agent).await;
    assert!(state.join("lock").exists());
    assert!(files.names(".").await.is_empty());
    for path in [".pid1", ".pid1/lock", "./.pid1/lock"] {
        assert!(!files.stat(path).await.exists, "{path}");
        for body in [Body::Read(at(path)), write(path, "x"), Body::Remove(at(path)), moving(path, "x")] {
            let said = files.refused(body).await;
            assert!(said.contains("no such file"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_large_file_goes_both_ways_and_is_in_memory_once() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut files = Files::of(&agent).await;
    let size_bytes = size(24, 100) << 20;
    let content = Bytes::from((0..size_bytes).map(|at| (at / 4096 % 251) as u8).collect::<Vec<_>>());
    files.done(write("small", "x")).await;
    let before = agent.rss_bytes();
    files.done(write("large", content.clone())).await;
    assert!(fs::read(agent.root().join("large")).unwrap() == content);
    let written = agent.peak_rss_bytes() - before;
    assert!(files.read("large").await == content);
    let peak = agent.peak_rss_bytes() - before;
    assert!(written < size_bytes as u64 * 3 / 2, "{written} bytes to write {size_bytes}");
    assert!(peak < size_bytes as u64 * 3 / 2, "{peak} bytes to read {size_bytes}");
}

#[tokio::test]
async fn a_file_larger_than_a_message_is_refused_with_both_sizes() {
    let agent = Agent::with(&["--max-message", "1"]).await;
    let mut files = Files::of(&agent).await;
    fs::write(agent.root().join("large"), vec![0; 2 << 20]).unwrap();
    let said = files.refused(Body::Read(at("large"))).await;
    assert!(said.starts_with("read large: it holds 2097152 bytes, which is more than the 10"), "{said}");
    fs::write(agent.root().join("fits"), vec![0; 1 << 19]).unwrap();
    assert_eq!(files.read("fits").await.len(), 1 << 19);
}

/// Work that takes long has few of the threads: others are served meanwhile.
#[tokio::test]
async fn nobody_waits_for_a_large_folder_that_another_removes() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    for folder in 0..6 {
        let folder = agent.root().join(format!("large{folder}"));
        fs::create_dir(&folder).unwrap();
        for number in 0..size(1000, 10_000) {
            fs::write(folder.join(format!("{number}")), "x").unwrap();
        }
    }
    let (mut one, mut two) = (Files::of(&agent).await, Files::of(&agent).await);
    for folder in 0..6 {
        one.peer.send(one.channel, Body::Remove(at(&format!("large{folder}")))).await;
    }
    two.done(write("quick", "x")).await;
    assert_eq!(two.read("quick").await, "x");
    eventually("all is removed", SOON, || fs::read_dir(agent.root()).unwrap().count() == 1).await;
}

#[tokio::test]
async fn a_snapshot_lock_ends_with_its_session() {
    let agent = Agent::start().await;
    let (mut one, mut two) = (agent.client().await, agent.client().await);
    let (first, second) = (one.open("snapshot", "").await, two.open("snapshot", "").await);
    let lock = || FsLock { name: "install".to_owned() };
    assert_eq!(one.ask(first, Body::FsSnapshot(FsSnapshot {})).await, OK);
    assert_eq!(one.ask(first, Body::FsTakeLock(lock())).await, OK);
    let held = two.refused(second, Body::FsTakeLock(lock())).await;
    assert!(held.starts_with("snapshot: the lock install is held by session "), "{held}");
    two.refused(second, Body::FsReleaseLock(lock())).await;
    drop(one);
    assert_eq!(two.ask(second, Body::FsSnapshot(FsSnapshot {})).await, OK);
    assert_eq!(two.ask(second, Body::FsTakeLock(lock())).await, OK);
    assert_eq!(two.ask(second, Body::FsReleaseLock(lock())).await, OK);
}
