//! The service as a script of what members send and get.

use std::fs;
use std::os::unix::fs::symlink;

use pid1_fsevents::FsEvents;
use pid1_sdk::Role;
use pid1_sdk::api::{File, FileEvent, Ok as Done, SubscribeFile, command::Body, file::Type, file_event::Op};
use pid1_sdk::limits;
use pid1_sdk::testing::{TestChannel, TestMember, conformance};

fn subscribe(paths: &[&str]) -> Body {
    let files = paths.iter().map(|path| File { path: (*path).into(), ..File::default() }).collect();
    Body::SubscribeFile(SubscribeFile { files })
}

fn file(path: &str, kind: Type) -> File {
    File { path: path.into(), r#type: kind.into(), ..File::default() }
}

fn event(op: Op, path: &str, kind: Type) -> Body {
    Body::FileEvent(FileEvent { file: Some(file(path, kind)), op: op.into(), dest: None })
}

fn moved(path: &str, to: &str, kind: Type) -> Body {
    let (file, dest) = (Some(file(path, kind)), Some(file(to, kind)));
    Body::FileEvent(FileEvent { file, op: Op::Move.into(), dest })
}

async fn watching(member: &mut TestMember, paths: &[&str]) {
    assert_eq!(member.ask(subscribe(paths)).await, Body::Ok(Done {}));
}

#[tokio::test]
async fn children_of_a_subscribed_folder_are_told_of_with_paths_from_the_root() {
    let channel = TestChannel::open::<FsEvents>(None);
    let root = channel.root();
    fs::create_dir(root.join("dir")).unwrap();
    let mut member = channel.join(Role::Viewer).await;
    watching(&mut member, &[".", "dir"]).await;
    fs::create_dir(root.join("new")).unwrap();
    assert_eq!(member.next().await, event(Op::Create, "new", Type::Directory));
    fs::write(root.join("dir/file"), "").unwrap();
    assert_eq!(member.next().await, event(Op::Create, "dir/file", Type::Regular));
    fs::rename(root.join("dir/file"), root.join("file")).unwrap();
    assert_eq!(member.next().await, moved("dir/file", "file", Type::Regular));
    // What is in a folder that nobody asked for is nobody's business; what leaves the set is gone, what enters has come.
    fs::rename(root.join("file"), root.join("new/file")).unwrap();
    assert_eq!(member.next().await, event(Op::Remove, "file", Type::Regular));
    fs::rename(root.join("new/file"), root.join("file")).unwrap();
    assert_eq!(member.next().await, event(Op::Create, "file", Type::Regular));
    fs::remove_dir(root.join("new")).unwrap();
    assert_eq!(member.next().await, event(Op::Remove, "new", Type::Directory));
}

#[tokio::test]
async fn each_member_has_its_own_set() {
    let channel = TestChannel::open::<FsEvents>(Some("shared"));
    fs::create_dir(channel.root().join("dir")).unwrap();
    let (mut one, mut other) = (channel.join(Role::Editor).await, channel.join(Role::Editor).await);
    watching(&mut one, &["."]).await;
    watching(&mut other, &["dir"]).await;
    fs::write(channel.root().join("dir/inner"), "").unwrap();
    fs::write(channel.root().join("outer"), "").unwrap();
    assert_eq!(one.next().await, event(Op::Create, "outer", Type::Regular));
    assert_eq!(other.next().await, event(Op::Create, "dir/inner", Type::Regular));
}

#[tokio::test]
async fn what_is_missing_is_watched_for_its_coming_and_what_is_outside_is_refused() {
    let channel = TestChannel::open::<FsEvents>(None);
    let mut member = channel.join(Role::Editor).await;
    watching(&mut member, &["a/b"]).await;
    fs::create_dir_all(channel.root().join("a/b")).unwrap();
    assert_eq!(member.next().await, event(Op::Create, "a/b", Type::Directory));
    fs::write(channel.root().join("a/b/c"), "").unwrap();
    assert_eq!(member.next().await, event(Op::Create, "a/b/c", Type::Regular));
    for outside in ["..", "../x", "/etc", "a/../../x"] {
        let answer = member.ask(subscribe(&[outside, "d"])).await;
        let Body::Error(text) = answer else { unreachable!("{answer:?}") };
        assert!(text.starts_with("fsevents: resolve ") && text.contains(outside), "{text}");
    }
    fs::write(channel.root().join("d"), "").unwrap();
    assert_eq!(member.next().await, event(Op::Create, "d", Type::Regular));
}

#[tokio::test]
async fn a_folder_asked_for_by_way_of_a_link_is_told_of_by_both_names() {
    let channel = TestChannel::open::<FsEvents>(None);
    let root = channel.root();
    fs::create_dir(root.join("real")).unwrap();
    symlink("real", root.join("link")).unwrap();
    symlink("/etc", root.join("out")).unwrap();
    let mut member = channel.join(Role::Editor).await;
    watching(&mut member, &["link"]).await;
    fs::write(root.join("real/x"), "").unwrap();
    assert_eq!(member.next().await, event(Op::Create, "link/x", Type::Regular));
    assert_eq!(member.next().await, event(Op::Create, "real/x", Type::Regular));
    let answer = member.ask(subscribe(&["out"])).await;
    assert!(matches!(&answer, Body::Error(text) if text.contains("out")), "{answer:?}");
}

#[tokio::test]
async fn by_way_of_links_a_client_has_what_is_there_too() {
    let channel = TestChannel::open::<FsEvents>(None);
    let root = channel.root();
    fs::create_dir(root.join("real")).unwrap();
    for link in ["one", "other"] {
        symlink("real", root.join(link)).unwrap();
    }
    fs::write(root.join("x"), "").unwrap();
    let mut member = channel.join(Role::Editor).await;
    watching(&mut member, &[".", "one", "other"]).await;
    fs::rename(root.join("x"), root.join("real/x")).unwrap();
    for link in ["one", "other"] {
        assert_eq!(member.next().await, event(Op::Create, &format!("{link}/x"), Type::Regular));
    }
    assert_eq!(member.next().await, moved("x", "real/x", Type::Regular));
    fs::rename(root.join("real/x"), root.join("real/y")).unwrap();
    for link in ["one", "other", "real"] {
        let (old, new) = (format!("{link}/x"), format!("{link}/y"));
        assert_eq!(member.next().await, moved(&old, &new, Type::Regular));
    }
    fs::rename(root.join("real/y"), root.join("y")).unwrap();
    for link in ["one", "other"] {
        assert_eq!(member.next().await, event(Op::Remove, &format!("{link}/y"), Type::Regular));
    }
    assert_eq!(member.next().await, moved("real/y", "y", Type::Regular));
    // What does not lead there any more is no name of it.
    fs::rename(root.join("y"), root.join("one")).unwrap();
    while member.next().await != event(Op::Modify, "one", Type::Regular) {}
    fs::write(root.join("real/z"), "").unwrap();
    for path in ["other/z", "real/z"] {
        assert_eq!(member.next().await, event(Op::Create, path, Type::Regular));
    }
}

#[tokio::test]
async fn where_there_is_no_room_for_more_what_was_asked_for_before_is_watched() {
    let channel = TestChannel::open::<FsEvents>(None);
    fs::create_dir(channel.root().join("real")).unwrap();
    symlink("real", channel.root().join("link")).unwrap();
    let mut member = channel.join(Role::Editor).await;
    // Each is another path, and goes through a link.
    let links: Vec<String> = (0..=limits::WATCH_LINKS).map(|number| format!("link/{number}")).collect();
    let mut paths: Vec<&str> = links.iter().map(String::as_str).collect();
    paths.insert(0, "before");
    paths.push("after");
    let answer = member.ask(subscribe(&paths)).await;
    let Body::Error(text) = answer else { unreachable!("{answer:?}") };
    assert!(text.starts_with("fsevents: cannot watch link/1024: 1024 paths"), "{text}");
    for name in ["after", "real/1024", "before"] {
        fs::write(channel.root().join(name), "").unwrap();
    }
    assert_eq!(member.next().await, event(Op::Create, "before", Type::Regular));
    fs::write(channel.root().join("real/0"), "").unwrap();
    assert_eq!(member.next().await, event(Op::Create, "real/0", Type::Regular));
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<FsEvents>(&[]).await;
}
