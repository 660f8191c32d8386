//! Nothing leads out of the workspace, and nothing in it stops the agent.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use pid1_sdk::api::command::Body;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Files, at, moving, write};
use crate::support::{Agent, SOON, eventually, size};

/// A folder beside the workspace, with a file that nobody may see or change.
fn outside(agent: &Agent) -> PathBuf {
    let outside = agent.root().parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "outside").unwrap();
    outside
}

fn untouched(outside: &Path) {
    let names: Vec<_> = fs::read_dir(outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "outside");
}

#[tokio::test]
async fn no_path_and_no_link_leads_out() {
    let agent = Agent::start().await;
    let mut files = Files::of(&agent).await;
    let outside = outside(&agent);
    let root = agent.root();
    fs::create_dir(root.join("in")).unwrap();
    for (target, link) in [
        (outside.clone(), "absolute"),
        ("../outside".into(), "relative"),
        ("../../outside".into(), "in/up"),
        ("in/up".into(), "chain"),
        ("/proc/self/root".into(), "magic"),
        ("/proc/self/cwd".into(), "here"),
        ("/proc/self/fd/0".into(), "descriptor"),
        ("/".into(), "top"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let there = outside.to_str().unwrap();
    let roots =
        ["absolute", "relative", "in/up", "chain", "../outside", "in/../../outside", there, "in/./up/../up"];
    let mut paths: Vec<String> = roots.iter().map(|path| format!("{path}/secret")).collect();
    paths.extend(["magic", "here", "top", "/proc/self/root"].map(|link| format!("{link}{there}/secret")));
    paths.push("descriptor".to_owned());
    for path in &paths {
        for body in [
            Body::Read(at(path)),
            write(path, "changed"),
            Body::Readdir(at(path)),
            Body::Mkdir(at(&format!("{path}/new"))),
            Body::Persist(at(path)),
            moving("in", &format!("{path}/moved")),
        ] {
            let name = body.name();
            let said = files.refused(body).await;
            assert!(said.contains("leads out of the workspace"), "{name} {path}: {said}");
        }
        // What is before the last part leads out, too, unless the link is the last part: that is in the workspace.
        if path != "descriptor" {
            for body in
                [Body::Remove(at(path)), Body::TryRemove(at(path)), Body::Stat(at(path)), moving(path, "x")]
            {
                let name = body.name();
                let said = files.refused(body).await;
                assert!(said.contains("leads out of the workspace"), "{name} {path}: {said}");
            }
        }
    }
    untouched(&outside);
    for link in ["absolute", "relative", "in/up", "chain", "magic", "here", "descriptor", "top"] {
        assert!(files.stat(link).await.exists);
        files.done(Body::Remove(at(link))).await;
    }
    untouched(&outside);
}

/// Another name for a file outside cannot be told from a file, but is not written through.
#[tokio::test]
async fn a_hard_link_to_a_file_outside_is_replaced_not_written() {
    let agent = Agent::start().await;
    let mut files = Files::of(&agent).await;
    let outside = outside(&agent);
    fs::hard_link(outside.join("secret"), agent.root().join("link")).unwrap();
    files.done(write("link", "changed")).await;
    assert_eq!(files.read("link").await, "changed");
    untouched(&outside);
}

/// A program in the workspace puts a link where a folder was, and back, thousands of times a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_swaps_folders_for_links_gets_nothing_out_of_it() {
    let agent = Agent::start().await;
    let outside = outside(&agent);
    let root = agent.root();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("dir/secret"), "inside").unwrap();
    symlink("../outside", root.join("link")).unwrap();
    let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let swapper = std::thread::spawn({
        let (stop, swaps, root) = (stop.clone(), swaps.clone(), root.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, root.join("dir"), CWD, root.join("link"), RenameFlags::EXCHANGE).unwrap();
                swaps.store(true, Ordering::Relaxed);
            }
        }
    });
    let mut files = Files::of(&agent).await;
    let until = Instant::now() + Duration::from_secs(size(3, 30) as u64);
    let (mut inside, mut refused) = (0, 0);
    while Instant::now() < until {
        for body in [
            Body::Read(at("dir/secret")),
            write("dir/secret", "inside"),
            write("dir/new/file", "inside"),
            Body::Readdir(at("dir")),
            Body::Remove(at("dir/new")),
            moving("dir/secret", "dir/other"),
            moving("dir/other", "dir/secret"),
            Body::Stat(at("dir/secret")),
            Body::Mkdir(at("dir/made")),
            Body::Remove(at("dir/made")),
        ] {
            let name = body.name();
            match files.ask(body).await {
                Body::File(file) => {
                    assert_eq!(file.content, "inside", "read from outside");
                    inside += 1;
                }
                Body::Files(all) => {
                    let names: Vec<_> = all.files.iter().map(|file| file.path.as_str()).collect();
                    let known = ["secret", "new", "other", "made"];
                    assert!(names.iter().all(|name| known.contains(name)), "listed {names:?}");
                }
                Body::StatRes(found) => assert!(!found.exists || found.size == 6, "size of what is outside"),
                Body::Ok(_) => inside += 1,
                Body::Error(_) => refused += 1,
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(swaps.load(Ordering::Relaxed));
    assert!(inside > 10 && refused > 10, "the race was not run: {inside} went in, {refused} were refused");
    untouched(&outside);
}

#[tokio::test]
async fn pipes_sockets_and_devices_are_not_opened() {
    let agent = Agent::start().await;
    let mut files = Files::of(&agent).await;
    let root = agent.root();
    mkfifo(&root.join("pipe"), Mode::from_bits_truncate(0o666)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let mut special = vec!["pipe", "socket"];
    // The machine may not let anybody make devices.
    for (name, kind, device) in [("tty", SFlag::S_IFCHR, (5, 0)), ("zero", SFlag::S_IFCHR, (1, 5))] {
        let made =
            mknod(&root.join(name), kind, Mode::from_bits_truncate(0o666), makedev(device.0, device.1));
        if made.is_ok() {
            special.push(name);
        }
    }
    // Whoever waits for a reader of the pipe goes on waiting.
    let opened = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (opened, pipe) = (opened.clone(), root.join("pipe"));
        move || {
            let file = File::options().write(true).open(pipe).unwrap();
            opened.store(true, Ordering::Relaxed);
            drop(file);
        }
    });
    for path in special {
        for body in [Body::Read(at(path)), write(path, "x"), Body::Persist(at(path)), Body::Readdir(at(path))]
        {
            let name = body.name();
            let said = files.refused(body).await;
            assert!(
                said.contains("not a regular file") || said.contains("not a directory"),
                "{name}: {said}"
            );
        }
        assert!(files.stat(path).await.exists);
        assert_eq!(files.stat(path).await.r#type, 0);
    }
    assert!(!opened.load(Ordering::Relaxed), "the pipe was opened");
    let reader = File::open(root.join("pipe")).unwrap();
    eventually("the pipe's writer goes on", SOON, || opened.load(Ordering::Relaxed)).await;
    writer.join().unwrap();
    drop(reader);
    for path in ["pipe", "socket"] {
        files.done(Body::Remove(at(path))).await;
    }
    files.peer.ping().await;
}

#[tokio::test]
async fn weird_names_are_names() {
    let agent = Agent::start().await;
    let mut files = Files::of(&agent).await;
    let longest = "x".repeat(255);
    let names = [
        "...",
        " ",
        "-rf",
        "a\\b",
        "a\nb",
        "\u{1b}[31mred",
        "\u{202e}gnp.exe",
        "💥",
        "*",
        "$(reboot)",
        ".git",
        "~",
        "con",
        "a:b",
        longest.as_str(),
    ];
    for name in names {
        files.done(write(name, name.to_owned())).await;
        assert_eq!(files.read(name).await, name);
        assert_eq!(fs::read(agent.root().join(name)).unwrap(), name.as_bytes());
    }
    let mut listed = files.names(".").await;
    listed.sort();
    let mut expected = names;
    expected.sort();
    assert_eq!(listed, expected);
    let inode = fs::metadata(agent.root()).unwrap().ino();
    for path in ["", ".", "./", "/", "..", "...//..", "a/../.."] {
        for body in [Body::Remove(at(path)), moving(path, "x"), write(path, "x")] {
            files.refused(body).await;
        }
    }
    assert!(files.refused(Body::Read(at("a\0b"))).await.contains("invalid argument"));
    assert_eq!(fs::metadata(agent.root()).unwrap().ino(), inode);
    assert_eq!(files.names(".").await.len(), names.len());
}
