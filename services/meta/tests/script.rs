//! The service as a script of what members send and get.
#![allow(clippy::panic, reason = "a test ends by panicking")]

use pid1_meta::Meta;
use pid1_sdk::api::{AppendMeta, Ok as Done, ReadMeta, WriteMeta, command::Body};
use pid1_sdk::testing::{TestChannel, TestMember, conformance};
use pid1_sdk::{Role, limits};

const OK: Body = Body::Ok(Done {});

fn read(key: &str) -> Body {
    Body::ReadMeta(ReadMeta { key: key.into(), ..ReadMeta::default() })
}

fn write(key: &str, data: impl Into<Vec<u8>>) -> Body {
    Body::WriteMeta(WriteMeta { key: key.into(), data: data.into().into() })
}

fn append(key: &str, data: impl Into<Vec<u8>>) -> Body {
    Body::AppendMeta(AppendMeta { key: key.into(), data: data.into().into() })
}

fn found(key: &str, data: impl Into<Vec<u8>>) -> Body {
    Body::ReadMeta(ReadMeta { key: key.into(), exists: true, data: data.into().into() })
}

async fn error(member: &mut TestMember, body: Body) -> String {
    match member.ask(body).await {
        Body::Error(text) => text,
        other => panic!("{other:?} instead of an error"),
    }
}

#[tokio::test]
async fn what_was_written_is_read() {
    let channel = TestChannel::open::<Meta>(None);
    let mut member = channel.join(Role::Editor).await;
    let nothing = ReadMeta { key: "a/b".into(), ..ReadMeta::default() };
    assert_eq!(member.ask(read("a/b")).await, Body::ReadMeta(nothing));
    assert_eq!(member.ask(write("a/b", [0, 255, 10])).await, OK);
    assert_eq!(member.ask(read("a/b")).await, found("a/b", [0, 255, 10]));
    assert_eq!(member.ask(append("a/b", "more")).await, OK);
    assert_eq!(member.ask(read("a/b")).await, found("a/b", *b"\x00\xff\nmore"));
    assert_eq!(member.ask(write("a/b", "")).await, OK);
    assert_eq!(member.ask(read("a/b")).await, found("a/b", ""));
    assert_eq!(member.ask(append("new", "x")).await, OK);
    assert_eq!(member.ask(read("new")).await, found("new", "x"));
}

#[tokio::test]
async fn an_append_adds_whatever_the_lengths_are() {
    let channel = TestChannel::open::<Meta>(None);
    let mut member = channel.join(Role::Editor).await;
    let mut all = Vec::new();
    for (number, length) in
        [0, 1, 4095, 1, 0, 4096, 4097, 2000, 2096, 1, 100_000, 3, 0].into_iter().enumerate()
    {
        let piece = vec![b'a' + number as u8; length];
        all.extend(&piece);
        assert_eq!(member.ask(append("log", piece)).await, OK);
        assert_eq!(member.ask(read("log")).await, found("log", all.clone()), "after piece {number}");
    }
    assert_eq!(member.ask(write("log", "anew")).await, OK);
    assert_eq!(member.ask(read("log")).await, found("log", "anew"));
}

/// What is sent in one go is done in one step.
#[tokio::test]
async fn a_read_sees_the_writes_before_it() {
    let channel = TestChannel::open::<Meta>(None);
    let mut member = channel.join(Role::Editor).await;
    for number in 0..200 {
        member.send(append("log", format!("{number},"))).await;
        if number % 50 == 49 {
            let so_far: String = (0..=number).map(|number| format!("{number},")).collect();
            assert_eq!(member.ask(read("log")).await, found("log", so_far));
        }
    }
    member.send(write("log", "")).await;
    member.send(append("log", "last")).await;
    assert_eq!(member.ask(read("log")).await, found("log", "last"));
}

#[tokio::test]
async fn what_is_too_much_is_refused_and_changes_nothing() {
    let channel = TestChannel::open::<Meta>(None);
    let mut member = channel.join(Role::Editor).await;
    for key in ["", &"k".repeat(1025)] {
        let text = format!("meta: a key has 1 to 1024 bytes, not {}", key.len());
        for body in [read(key), write(key, "x"), append(key, "x")] {
            assert_eq!(error(&mut member, body).await, text);
        }
    }
    assert_eq!(member.ask(write(&"k".repeat(1024), "x")).await, OK);
    let most = vec![7; limits::META_VALUE_BYTES];
    assert_eq!(member.ask(write("large", most.clone())).await, OK);
    let said = error(&mut member, append("large", "x")).await;
    assert_eq!(said, "meta: the value of large would have 1048577 bytes, and 1048576 are allowed");
    assert_eq!(error(&mut member, write("large", vec![7; most.len() + 1])).await, said);
    assert_eq!(member.ask(append("large", "")).await, OK);
    assert_eq!(member.ask(read("large")).await, found("large", most));
}

#[tokio::test]
async fn all_keys_together_have_so_much_room() {
    let channel = TestChannel::open::<Meta>(None);
    let mut member = channel.join(Role::Editor).await;
    let value = vec![7; limits::META_VALUE_BYTES];
    // Each key takes a byte or two.
    for number in 0..63 {
        assert_eq!(member.ask(write(&number.to_string(), value.clone())).await, OK);
    }
    let said = error(&mut member, write("last", value.clone())).await;
    assert!(said.contains("would have 671") && said.contains("and 67108864 are allowed"), "{said}");
    assert_eq!(
        member.ask(read("last")).await,
        Body::ReadMeta(ReadMeta { key: "last".into(), ..Default::default() })
    );
    assert_eq!(member.ask(write("0", "")).await, OK);
    assert_eq!(member.ask(write("last", value.clone())).await, OK);
    assert_eq!(member.ask(write("1", value)).await, OK, "no more than what was there");
}

#[tokio::test]
async fn there_are_so_many_keys() {
    let channel = TestChannel::open::<Meta>(None);
    let mut member = channel.join(Role::Editor).await;
    for number in 0..limits::META_KEYS {
        member.send(write(&number.to_string(), "x")).await;
    }
    let text = "meta: there are 10000 keys already, as many as there may be: write to one of those";
    assert_eq!(error(&mut member, append("another", "x")).await, text);
    assert_eq!(member.ask(append("9999", "y")).await, OK);
    assert_eq!(member.ask(read("9999")).await, found("9999", "xy"));
}

#[tokio::test]
async fn a_viewer_reads_and_may_be_the_first() {
    let channel = TestChannel::open::<Meta>(Some("meta"));
    let mut viewer = channel.join(Role::Viewer).await;
    assert!(matches!(viewer.ask(read("key")).await, Body::ReadMeta(_)));
    assert!(error(&mut viewer, write("key", "x")).await.contains("needs the role editor"));
}

#[tokio::test]
async fn a_store_that_fails_answers_each_with_an_error() {
    let channel = TestChannel::open::<Meta>(None);
    let mut member = channel.join(Role::Editor).await;
    assert_eq!(member.ask(write("key", "kept")).await, OK);
    let database = channel.root().parent().unwrap().join("scratch/store.db");
    let aside = database.with_extension("aside");
    channel.engine().store().close();
    std::fs::rename(&database, &aside).unwrap();
    std::fs::create_dir(&database).unwrap();
    assert!(error(&mut member, write("key", "lost")).await.starts_with("meta: cannot open"));
    std::fs::remove_dir(&database).unwrap();
    std::fs::rename(&aside, &database).unwrap();
    assert_eq!(member.ask(read("key")).await, found("key", "kept"));
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<Meta>(&[]).await;
}
