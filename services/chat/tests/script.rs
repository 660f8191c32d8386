//! The service as a script of what members send and get.
#![allow(clippy::panic, reason = "a test ends by panicking")]

use pid1_chat::Chat;
use pid1_sdk::api::{ChatMessage, ChatTyping, Ok as Done, command::Body};
use pid1_sdk::channel::Leave;
use pid1_sdk::testing::{TestChannel, TestMember, conformance};
use pid1_sdk::{Role, limits};

const OK: Body = Body::Ok(Done {});

fn message(text: &str) -> ChatMessage {
    ChatMessage { username: "ada".into(), text: text.into() }
}

fn say(text: &str) -> Body {
    Body::ChatMessage(message(text))
}

/// What a member is shown when it joins.
async fn scrollback(member: &mut TestMember) -> Vec<ChatMessage> {
    match member.next().await {
        Body::ChatScrollback(scrollback) => scrollback.scrollback,
        other => panic!("{other:?} instead of chatScrollback"),
    }
}

#[tokio::test]
async fn messages_go_to_all_others_and_to_whoever_comes_later() {
    let channel = TestChannel::open::<Chat>(Some("chatter"));
    let mut one = channel.join(Role::Viewer).await;
    let mut two = channel.join(Role::Editor).await;
    assert_eq!((scrollback(&mut one).await, scrollback(&mut two).await), (vec![], vec![]));
    let typing = Body::ChatTyping(ChatTyping { username: "ada".into(), typing: true });
    assert_eq!(one.ask(typing.clone()).await, OK);
    assert_eq!(two.next().await, typing);
    assert_eq!(one.ask(say("hello")).await, OK);
    let told = two.next_command().await;
    assert_eq!((told.body, told.session), (Some(say("hello")), -2));
    two.send(say("hello\nyourself")).await;
    assert_eq!(one.next().await, say("hello\nyourself"));
    let mut three = channel.join(Role::Viewer).await;
    assert_eq!(scrollback(&mut three).await, [message("hello"), message("hello\nyourself")]);
    assert!(one.waiting().is_empty() && two.waiting().is_empty(), "nobody is sent what they said themselves");
}

#[tokio::test]
async fn the_last_hundred_are_kept_and_fewer_if_they_are_long() {
    let channel = TestChannel::open::<Chat>(Some("chatter"));
    let mut one = channel.join(Role::Editor).await;
    scrollback(&mut one).await;
    for number in 0..250 {
        one.send(say(&number.to_string())).await;
    }
    let mut two = channel.join(Role::Editor).await;
    let last: Vec<_> = (150..250).map(|number| message(&number.to_string())).collect();
    assert_eq!(scrollback(&mut two).await, last);
    let long = "x".repeat(limits::CHAT_TEXT_BYTES);
    for _ in 0..40 {
        assert_eq!(one.ask(say(&long)).await, OK);
    }
    let mut three = channel.join(Role::Editor).await;
    let kept = scrollback(&mut three).await;
    assert!((10..16).contains(&kept.len()), "{} messages of 64 KiB in 1 MiB", kept.len());
    assert!(kept.iter().all(|kept| kept.text == long));
    one.send(say("short")).await;
    let mut four = channel.join(Role::Editor).await;
    assert_eq!(scrollback(&mut four).await.last(), Some(&message("short")));
}

#[tokio::test]
async fn what_is_too_long_is_refused_also_without_a_ref() {
    let channel = TestChannel::open::<Chat>(Some("chatter"));
    let mut one = channel.join(Role::Editor).await;
    let mut two = channel.join(Role::Editor).await;
    for member in [&mut one, &mut two] {
        scrollback(member).await;
    }
    let long = say(&"x".repeat(limits::CHAT_TEXT_BYTES + 1));
    let error = "chat: a message has at most 65536 bytes, not 65537: put the rest into a file";
    assert_eq!(one.ask(long.clone()).await, Body::Error(error.into()));
    one.send(long).await;
    assert_eq!(one.next().await, Body::Error(error.into()));
    let named = ChatMessage { username: "é".repeat(257), text: "hello".into() };
    let error = Body::Error("chat: a username has at most 256 characters, not 257".into());
    assert_eq!(one.ask(Body::ChatMessage(named.clone())).await, error);
    let typing = ChatTyping { username: named.username, typing: true };
    assert_eq!(one.ask(Body::ChatTyping(typing)).await, error);
    assert_eq!(two.waiting(), []);
}

#[tokio::test]
async fn without_a_name_nothing_is_kept() {
    let channel = TestChannel::open::<Chat>(None);
    let mut one = channel.join(Role::Editor).await;
    assert_eq!(one.ask(say("hello")).await, OK);
    assert_eq!(scrollback(&mut one).await, []);
    assert_eq!(channel.engine().store().commit(|tx| tx.count("chat")).unwrap(), 0);
}

/// As many logs as there may be, of which the one named 7 was used least lately.
fn fill(channel: &TestChannel, logs: usize) {
    let filled = channel.engine().store().commit(|tx| {
        for number in 0..logs {
            let name = tx.name("chat", number.to_string().as_bytes())?;
            // Field 4: when it was used.
            tx.put(name, 0, &[0x20, if number == 7 { 1 } else { 2 }])?;
        }
        Ok(())
    });
    filled.expect("the store is in a temporary folder");
}

#[tokio::test]
async fn there_are_so_many_chats_and_viewers_push_out_nobodys() {
    let channel = TestChannel::open::<Chat>(Some("another"));
    let store = channel.engine().store().clone();
    fill(&channel, limits::CHAT_LOGS_BEGUN_BY_VIEWERS);
    let mut viewer = channel.join(Role::Viewer).await;
    let mut editor = channel.join(Role::Editor).await;
    for member in [&mut viewer, &mut editor] {
        scrollback(member).await;
    }
    let refused = viewer.ask(say("hello")).await;
    assert!(
        matches!(&refused, Body::Error(text) if text.contains("only an editor may begin another")),
        "{refused:?}"
    );
    assert_eq!(editor.waiting(), []);
    fill(&channel, limits::CHAT_LOGS);
    assert_eq!(editor.ask(say("hello")).await, OK);
    let (count, oldest, next) =
        store.commit(|tx| Ok((tx.count("chat")?, tx.find("chat", b"7")?, tx.find("chat", b"8")?))).unwrap();
    assert_eq!((count, oldest), (limits::CHAT_LOGS, None));
    assert!(next.is_some());
    assert_eq!(viewer.ask(say("now it is there")).await, OK);
}

#[tokio::test]
async fn what_cannot_be_kept_is_shown_to_nobody() {
    let channel = TestChannel::open::<Chat>(Some("chatter"));
    let mut one = channel.join(Role::Editor).await;
    let mut two = channel.join(Role::Editor).await;
    for member in [&mut one, &mut two] {
        scrollback(member).await;
    }
    let store = channel.engine().store();
    let database = channel.root().parent().unwrap().join("scratch/store.db");
    store.close();
    let aside = database.with_extension("aside");
    std::fs::rename(&database, &aside).unwrap();
    std::fs::create_dir(&database).unwrap();
    let refused = one.ask(say("lost")).await;
    assert!(
        matches!(&refused, Body::Error(text) if text.contains("nobody is shown it: cannot open")),
        "{refused:?}"
    );
    one.send(say("lost, too")).await;
    assert!(matches!(one.next().await, Body::Error(_)));
    assert_eq!(two.waiting(), []);
    let mut three = channel.join(Role::Editor).await;
    assert!(
        matches!(three.next().await, Body::Error(text) if text.starts_with("chat: what was said before"))
    );
    assert_eq!(scrollback(&mut three).await, []);
    std::fs::remove_dir(&database).unwrap();
    std::fs::rename(&aside, &database).unwrap();
    assert_eq!(one.ask(say("kept")).await, OK);
    assert_eq!(two.next().await, say("kept"));
    two.leave(Leave::Vanish).await;
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<Chat>(&[]).await;
}
