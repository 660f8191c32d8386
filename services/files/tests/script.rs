//! The service as a script of what members send and get.

use std::fs;
use std::os::unix::fs::symlink;

use pid1_files::Files;
use pid1_sdk::api::{
    CheckChanges, File, FileAuthMethod, FileAuthReq, Move, Ok as Done, StatResult, command::Body, file::Type,
};
use pid1_sdk::channel::Leave;
use pid1_sdk::testing::{TestChannel, TestMember, conformance};
use pid1_sdk::{Bytes, Role, limits};

const OK: Body = Body::Ok(Done {});

fn at(path: &str) -> File {
    File { path: path.into(), ..File::default() }
}

fn write(path: &str, content: impl Into<Bytes>) -> Body {
    Body::Write(File { content: content.into(), ..at(path) })
}

fn moving(from: &str, to: &str) -> Body {
    Body::Move(Move { old_path: from.into(), new_path: to.into() })
}

fn error(text: &str) -> Body {
    Body::Error(text.into())
}

async fn content(member: &mut TestMember, path: &str) -> Bytes {
    match member.ask(Body::Read(at(path))).await {
        Body::File(file) => {
            assert_eq!(file.path, path);
            file.content
        }
        other => unreachable!("{other:?}"),
    }
}

async fn listed(member: &mut TestMember, path: &str) -> Vec<(String, bool)> {
    match member.ask(Body::Readdir(at(path))).await {
        Body::Files(files) => files
            .files
            .into_iter()
            .map(|file| (file.path.clone(), file.r#type() == Type::Directory))
            .collect(),
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn every_request_is_answered_as_the_protocol_has_it() {
    let channel = TestChannel::open::<Files>(None);
    let mut member = channel.join(Role::Editor).await;
    assert_eq!(member.ask(write("a/b.txt", "one")).await, OK);
    assert_eq!(member.ask(write("a/b.txt", "two")).await, OK);
    assert_eq!(content(&mut member, "a/b.txt").await, "two");
    assert_eq!(member.ask(write("empty", "")).await, OK);
    assert_eq!(content(&mut member, "empty").await, "");
    assert_eq!(member.ask(Body::Mkdir(at("c/d"))).await, OK);
    assert_eq!(member.ask(Body::Mkdir(at("c"))).await, OK);
    assert_eq!(
        listed(&mut member, ".").await,
        [("a".into(), true), ("c".into(), true), ("empty".into(), false)]
    );
    assert_eq!(member.ask(moving("a", "c/d/a")).await, OK);
    assert_eq!(content(&mut member, "c/d/a/b.txt").await, "two");
    for path in ["c/d/a/b.txt", ""] {
        assert_eq!(member.ask(Body::Persist(at(path))).await, OK);
        assert_eq!(member.ask(Body::PersistMirror(at(path))).await, OK);
    }
    let Body::StatRes(found) = member.ask(Body::Stat(at("c/d/a/b.txt"))).await else { panic!() };
    assert_eq!((found.exists, found.r#type(), found.size), (true, Type::Regular, 3));
    assert_eq!(found.file_mode.len(), 10);
    assert!(found.mod_time > 1_600_000_000 && found.mod_time < 10_000_000_000);
    assert_eq!(member.ask(Body::Remove(at("c"))).await, OK);
    assert_eq!(member.ask(Body::TryRemove(at("c"))).await, OK);
    assert_eq!(member.ask(Body::TryRemove(at("empty"))).await, OK);
    assert_eq!(member.ask(Body::Stat(at("c"))).await, Body::StatRes(StatResult::default()));
    assert!(listed(&mut member, "").await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_the_words_that_clients_look_for() {
    let channel = TestChannel::open::<Files>(None);
    let mut member = channel.join(Role::Editor).await;
    fs::create_dir(channel.root().join("folder")).unwrap();
    fs::write(channel.root().join("file"), "x").unwrap();
    for long in ["a/".repeat(5000), "a/".repeat(5 << 20)] {
        let Body::Error(text) = member.ask(Body::Stat(at(&long))).await else { panic!() };
        assert!(text.contains("file name too long"), "{text:.200}");
    }
    symlink("/etc", channel.root().join("out")).unwrap();
    let table = [
        (Body::Read(at("none")), "open none: no such file or directory"),
        (Body::Read(at("folder")), "open folder: is a directory"),
        (Body::Read(at("")), "open .: is a directory"),
        (Body::Read(at("../x")), "open ../x: the path leads out of the workspace"),
        (Body::Read(at("out/passwd")), "open out/passwd: the link out leads out of the workspace, to /etc"),
        (write("folder", "x"), "open folder: is a directory"),
        (Body::Readdir(at("file")), "open file: not a directory"),
        (Body::Readdir(at("none")), "open none: no such file or directory"),
        (Body::Mkdir(at("file")), "mkdir file: file exists"),
        (Body::Mkdir(at("file/x")), "mkdir file/x: not a directory"),
        (Body::Remove(at("none")), "remove none: no such file or directory"),
        (Body::Remove(at("")), "remove .: that is the workspace itself"),
        (moving("none", "x"), "rename none x: no such file or directory"),
        (moving("folder", "folder/x"), "rename folder folder/x: a folder cannot be moved into itself"),
        (Body::Persist(at("none")), "sync none: no such file or directory"),
    ];
    for (request, text) in table {
        assert_eq!(member.ask(request).await, error(text));
    }
}

#[tokio::test]
async fn whoever_may_only_look_on_changes_nothing() {
    let channel = TestChannel::open::<Files>(None);
    fs::write(channel.root().join("file"), "x").unwrap();
    let mut viewer = channel.join(Role::Viewer).await;
    assert_eq!(content(&mut viewer, "file").await, "x");
    assert_eq!(listed(&mut viewer, ".").await.len(), 1);
    for request in [write("file", "y"), Body::Remove(at("file")), Body::Mkdir(at("x")), moving("file", "x")] {
        let answer = viewer.ask(request).await;
        assert!(matches!(answer, Body::Error(text) if text.contains("needs the role editor")));
    }
}

#[tokio::test]
async fn answers_about_one_file_come_in_order_however_long_each_takes() {
    let channel = TestChannel::open::<Files>(Some("files"));
    let mut member = channel.join(Role::Editor).await;
    let large = Bytes::from(vec![b'x'; 2 * limits::SMALL_FILE_BYTES]);
    for round in 0..30_u8 {
        member
            .send(write("dir/file", if round % 2 == 0 { large.clone() } else { Bytes::from(vec![round]) }))
            .await;
        member.send(Body::Read(at("elsewhere"))).await;
    }
    member.send(moving("dir", "moved")).await;
    assert_eq!(content(&mut member, "moved/file").await, Bytes::from(vec![29]));
}

#[tokio::test]
async fn what_was_taken_is_written_also_if_everybody_leaves() {
    let channel = TestChannel::open::<Files>(None);
    let member = channel.join(Role::Editor).await;
    for number in 0..50 {
        member.send(write(&format!("file{number}"), format!("{number}"))).await;
    }
    member.leave(Leave::Vanish).await;
    channel.freed().await;
    for number in 0..50 {
        let path = channel.root().join(format!("file{number}"));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{number}"));
    }
}

#[tokio::test]
async fn large_files_asked_for_at_once_come_one_after_the_other() {
    let channel = TestChannel::open::<Files>(None);
    let mut member = channel.join(Role::Editor).await;
    let size = 3 << 20;
    fs::write(channel.root().join("large"), vec![b'x'; size]).unwrap();
    for _ in 0..20 {
        member.send(Body::Read(at("large"))).await;
    }
    // This one is answered at once: what is large is not in its way.
    assert_eq!(member.ask(write("small", "x")).await, OK);
    assert!(member.outbox().queued_bytes() < 2 * size, "{} bytes wait", member.outbox().queued_bytes());
    assert_eq!(content(&mut member, "large").await.len(), size);
}

#[tokio::test]
async fn a_large_folder_is_listed_whole() {
    let channel = TestChannel::open::<Files>(None);
    let mut member = channel.join(Role::Editor).await;
    for number in 0..5000 {
        fs::write(channel.root().join(format!("{number:05}")), "").unwrap();
    }
    let names = listed(&mut member, ".").await;
    assert!(names.len() == 5000 && names.is_sorted());
}

#[tokio::test]
async fn the_agent_says_what_it_is() {
    let channel = TestChannel::open::<Files>(None);
    let mut member = channel.join(Role::Viewer).await;
    let said = content(&mut member, ".config/goval/info").await;
    let said = std::str::from_utf8(&said).unwrap();
    assert!(
        said.starts_with("{\"server\":\"pid1\",") && said.ends_with("\"services\":[\"test\"]}"),
        "{said}"
    );
    fs::create_dir_all(channel.root().join(".config/goval")).unwrap();
    fs::write(channel.root().join(".config/goval/info"), "mine").unwrap();
    assert_eq!(content(&mut member, ".config/goval/info").await, "mine");
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<Files>(&[]).await;
}

#[tokio::test]
async fn a_url_is_given_for_what_the_asker_may_do() {
    let channel = TestChannel::open::<Files>(None);
    let mut viewer = channel.join(Role::Viewer).await;
    for (method, may) in [(FileAuthMethod::Get, true), (FileAuthMethod::Put, false)] {
        let request = FileAuthReq { file: Some(at("a b")), method: method.into() };
        match viewer.ask(Body::FileAuthReq(request)).await {
            Body::FileAuthRes(answer) => {
                assert_eq!((answer.url.starts_with("/files/a%20b?"), answer.error.is_empty()), (may, may));
            }
            other => unreachable!("{other:?}"),
        }
    }
}

async fn changed(member: &mut TestMember) -> Vec<(String, Bytes)> {
    match member.ask(Body::CheckChanges(CheckChanges {})).await {
        Body::ChangedFiles(files) => files.files.into_iter().map(|file| (file.path, file.content)).collect(),
        other => unreachable!("{other:?}"),
    }
}

/// What happens in the tick of the clock in which it is asked may be told twice.
async fn nothing_changes(member: &mut TestMember) {
    while !changed(member).await.is_empty() {}
}

#[tokio::test]
async fn what_has_changed_since_the_last_time_is_told_with_its_content() {
    let channel = TestChannel::open::<Files>(None);
    let (mut one, mut viewer) = (channel.join(Role::Editor).await, channel.join(Role::Viewer).await);
    let root = channel.engine().root().to_owned();
    // From the opening of the channel on.
    assert_eq!(one.ask(write("a/b", "by the agent")).await, OK);
    fs::write(root.join("c"), "by others").unwrap();
    symlink("c", root.join("link")).unwrap();
    let both = [("a/b".to_owned(), "by the agent".into()), ("c".to_owned(), "by others".into())];
    assert_eq!(changed(&mut one).await, both);
    nothing_changes(&mut one).await;
    fs::rename(root.join("c"), root.join("a/d")).unwrap();
    fs::remove_file(root.join("a/b")).unwrap();
    assert_eq!(changed(&mut one).await, [("a/d".to_owned(), Bytes::from("by others"))]);
    // Each member has a last time of its own.
    assert_eq!(changed(&mut viewer).await, [("a/d".to_owned(), Bytes::from("by others"))]);
    nothing_changes(&mut one).await;
    fs::File::create(root.join("large")).unwrap().set_len(limits::CHANGED_BYTES as u64 + 1).unwrap();
    let refused = one.ask(Body::CheckChanges(CheckChanges {})).await;
    assert!(matches!(&refused, Body::Error(text) if text.contains("16777217 bytes")), "{refused:?}");
}
