//! Commands for channels that are not there, or not the sender's; opens in bursts; limits of numbers and names.

use std::collections::HashSet;

use pid1_sdk::api::{
    CloseChannel, CloseChannelRes, Command, Exec, OpenChannelRes, close_channel::Action as CloseAction,
    close_channel_res::Status, command::Body, open_channel::Action, open_channel_res::State,
};
use prost::Message as _;

use crate::support::{Agent, BINARY, Raw, size};

fn echo(text: &str) -> Body {
    Body::Exec(Exec { args: vec!["echo".into(), text.into()], ..Exec::default() })
}

fn is_error(command: &Command) -> bool {
    matches!(command.body, Some(Body::Error(_)))
}

#[tokio::test]
async fn a_channel_that_is_not_mine_answers_with_an_error_and_lives_on() {
    let agent = Agent::start().await;
    let mut other = agent.client().await;
    let (named, own) = (other.shell("named").await, other.shell("").await);
    let mut raw = Raw::open(&agent).await;
    for channel in [named, own, own + 1, 4711, -1, i32::MIN, i32::MAX] {
        for body in [
            Some(Body::Input("exit\n".into())),
            Some(Body::Exec(Exec::default())),
            Some(Body::InputClose(())),
            None,
        ] {
            raw.command(channel, "", body.clone()).await.unwrap();
            let (answer, before) = raw.ask(channel, "asked", body).await;
            assert!(before.is_empty(), "without a ref nothing is answered: {before:?}");
            assert!(answer.channel == channel && is_error(&answer), "{answer:?}");
        }
    }
    assert!(raw.ping("still here").await.is_empty());
    for shell in [named, own] {
        other.shell_run(shell, "echo still here").await;
    }
}

/// Closing somebody else's channel does nothing, and says so.
#[tokio::test]
async fn a_channel_that_is_not_mine_cannot_be_closed() {
    let agent = Agent::start().await;
    let mut other = agent.client().await;
    let shell = other.shell("named").await;
    let mut raw = Raw::open(&agent).await;
    for id in [shell, 0, -1, i32::MAX] {
        for action in [CloseAction::Disconnect, CloseAction::TryClose, CloseAction::Close] {
            let request = Body::CloseChan(CloseChannel { id, action: action.into() });
            let answer = raw.ask(0, "close", Some(request)).await.0.body;
            let nothing = CloseChannelRes { id, status: Status::Nothing.into() };
            assert_eq!(answer, Some(Body::CloseChanRes(nothing)));
        }
    }
    other.shell_run(shell, "echo still here").await;
}

/// Who sends is whose connection it is, whatever the message says.
#[tokio::test]
async fn a_spoofed_session_changes_nothing() {
    let agent = Agent::start().await;
    let mut victim = Raw::open(&agent).await;
    let mut mallory = Raw::open(&agent).await;
    let theirs = victim.open_channel("exec", "").await;
    let mine = mallory.open_channel("exec", "").await;
    for session in [2, 3, 4, -2, -3, 0, 1, i32::MAX, i32::MIN] {
        for (channel, allowed) in [(mine, true), (theirs, false)] {
            let reference = format!("{session} on {channel}");
            let command = Command { channel, session, r#ref: reference.clone(), body: Some(echo("hi")) };
            mallory.frame(BINARY, &command.encode_to_vec()).await.unwrap();
            loop {
                let answer = mallory.next().await.unwrap();
                if answer.r#ref == reference {
                    assert_eq!(!is_error(&answer), allowed, "{answer:?}");
                    break;
                }
                assert_eq!(answer.channel, mine);
            }
        }
    }
    assert!(victim.ping("nothing came").await.is_empty());
}

#[tokio::test]
async fn a_body_that_nobody_knows_is_answered_once() {
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    let mut channels = vec![0];
    for service in ["null", "exec", "shell", "process"] {
        channels.push(raw.open_channel(service, "").await);
    }
    raw.ping("settled").await;
    for (number, channel) in channels.into_iter().enumerate() {
        let reference = format!("unknown {number}");
        // Field 1999, which no contract has, between channel and ref.
        let mut message = Raw::encoded(channel, "", None);
        prost::encoding::encode_key(1999, prost::encoding::WireType::LengthDelimited, &mut message);
        message.extend(b"\x04what");
        message.extend(Raw::encoded(0, &reference, None));
        raw.frame(BINARY, &message).await.unwrap();
        let answer = loop {
            let answer = raw.next().await.unwrap();
            // The shell may still be saying its first words.
            if !answer.r#ref.is_empty() {
                break answer;
            }
        };
        assert!((answer.channel, &answer.r#ref) == (channel, &reference) && is_error(&answer), "{answer:?}");
        let unfit = raw.ask(channel, "unfit", Some(Body::Toast(Default::default()))).await.0;
        assert!(unfit.channel == channel && is_error(&unfit), "{unfit:?}");
    }
}

#[tokio::test]
async fn a_thousand_opens_in_one_burst() {
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    let opens = size(1_000, 1_024);
    let burst: Vec<u8> = (0..opens)
        .flat_map(|n| {
            let open = Raw::open_body(if n % 10 == 0 { "exec" } else { "null" }, "", Action::Create);
            Raw::masked(BINARY, &Raw::encoded(0, &n.to_string(), Some(open)))
        })
        .collect();
    raw.write(&burst).await.unwrap();
    let mut ids = HashSet::new();
    for n in 0..opens {
        let answer = raw.next().await.unwrap();
        assert_eq!(answer.r#ref, n.to_string(), "in the order in which they were asked");
        let Some(Body::OpenChanRes(opened)) = answer.body else { panic!("{:?}", answer.body) };
        assert!(opened.state() == State::Created && opened.id > 0 && ids.insert(opened.id), "{opened:?}");
    }
}

fn open_error(answer: Command) -> String {
    match answer.body {
        Some(Body::OpenChanRes(OpenChannelRes { id: 0, state, error })) if state == State::Error as i32 => {
            error
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_session_has_so_many_channels_and_no_more() {
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    let mut last = 0;
    for _ in 0..1024 {
        last = raw.open_channel("null", "").await;
    }
    let one_more = || Some(Raw::open_body("null", "", Action::Create));
    let error = open_error(raw.ask(0, "too many", one_more()).await.0);
    assert!(error.contains("1024"), "the limit is named: {error}");
    let close = CloseChannel { id: last, action: CloseAction::Disconnect.into() };
    raw.ask(0, "close", Some(Body::CloseChan(close))).await;
    raw.open_channel("null", "").await;
    assert!(is_error(&raw.ask(last, "gone", Some(Body::Input(String::new()))).await.0));
}

#[tokio::test]
async fn names_have_limits_of_length_and_number() {
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    raw.open_channel("null", &"n".repeat(4200)).await;
    let long = Raw::open_body("null", &"n".repeat(4201), Action::AttachOrCreate);
    let error = open_error(raw.ask(0, "long", Some(long)).await.0);
    assert!(error.contains("4200"), "the limit is named: {error}");
    let mut holders = Vec::new();
    for session in 0..4 {
        let mut holder = Raw::open(&agent).await;
        for n in 0..if session == 3 { 1023 } else { 1024 } {
            holder.open_channel("null", &format!("{session}/{n}")).await;
        }
        holders.push(holder);
    }
    let one_more = || Some(Raw::open_body("null", "one more", Action::AttachOrCreate));
    let error = open_error(raw.ask(0, "too many", one_more()).await.0);
    assert!(error.contains("4096"), "the limit is named: {error}");
    // What is there can be joined, and what has no name does not count.
    raw.open_channel("null", "0/0").await;
    raw.open_channel("null", "").await;
    let close = |id| Some(Body::CloseChan(CloseChannel { id, action: CloseAction::Close.into() }));
    let id = raw.open_channel("null", "0/1").await;
    raw.ask(0, "close", close(id)).await;
    raw.open_channel("null", "one more").await;
}

#[tokio::test]
async fn opens_that_cannot_be_say_why() {
    let agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    raw.open_channel("null", "taken").await;
    for (service, name, action, words) in [
        ("", "", Action::Create, "unknown service"),
        ("nothing\x1b[31m\n", "", Action::Create, "unknown service: nothing [31m"),
        ("shell", "free", Action::Attach, "not found: free"),
        ("null", "taken", Action::Create, "exists: taken"),
        ("shell", "taken", Action::AttachOrCreate, "null channel, not shell"),
    ] {
        let answer = raw.ask(0, "open", Some(Raw::open_body(service, name, action))).await.0;
        let error = open_error(answer);
        assert!(error.contains(words), "{error:?} should say {words:?}");
    }
}
