//! The service as a script of what members send and get.

use std::time::{Duration, Instant};

use pid1_sdk::api::{ResizeTerm, State, command::Body};
use pid1_sdk::channel::Leave;
use pid1_sdk::testing::{TestChannel, conformance};
use pid1_sdk::{Role, limits};
use pid1_shell::Shell;

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn input(text: &str) -> Body {
    Body::Input(text.into())
}

#[tokio::test]
async fn members_share_one_terminal_and_a_newcomer_sees_its_past() {
    let channel = TestChannel::open::<Shell>(Some("term"));
    let mut one = channel.join(Role::Editor).await;
    one.ask(Body::ResizeTerm(ResizeTerm { rows: 33, cols: 99 })).await;
    one.send(input("stty size; echo do''ne\n")).await;
    assert!(one.until_output("done").await.contains("33 99"));
    let mut two = channel.join(Role::Editor).await;
    assert!(two.until_output("done").await.contains("33 99"));
    two.send(input("echo from''two\n")).await;
    one.until_output("fromtwo").await;
    two.until_output("fromtwo").await;
    one.leave(Leave::Disconnect).await;
    two.leave(Leave::TryClose).await;
    channel.ended().await;
}

#[tokio::test]
async fn a_shell_that_exits_comes_back_until_it_exits_too_often() {
    let channel = TestChannel::open::<Shell>(Some("term"));
    let mut member = channel.join(Role::Editor).await;
    for life in 0..=limits::RESPAWNS {
        member.send(input(&format!("echo life''{life}\n"))).await;
        member.until_output(&format!("life{life}")).await;
        let shell = channel.engine().processes().list().pop().expect("a shell runs");
        member.send(input("exit\n")).await;
        if life < limits::RESPAWNS {
            // What is typed before its successor is there goes to the one that exits.
            until(|| channel.engine().processes().list().last().is_some_and(|last| last.id() != shell.id()))
                .await;
        }
    }
    member.until(|body| *body == Body::State(State::Stopped.into())).await;
    member.send(input("echo back''again\n")).await;
    member.until(|body| *body == Body::State(State::Running.into())).await;
    member.until_output("backagain").await;
}

#[tokio::test]
async fn a_shell_that_exits_alone_ends_its_channel() {
    let channel = TestChannel::open::<Shell>(Some("term"));
    let mut member = channel.join(Role::Editor).await;
    member.send(input("echo rea''dy; read line; exit\n")).await;
    member.until_output("ready").await;
    let process = channel.engine().processes().list().remove(0);
    member.leave(Leave::Disconnect).await;
    assert!(process.stdin().push("go\n".into()).is_ok());
    channel.ended().await;
}

#[tokio::test]
async fn a_shell_does_not_run_what_was_typed_before_an_interrupt() {
    let channel = TestChannel::open::<Shell>(Some("term"));
    let mut member = channel.join(Role::Editor).await;
    member.send(input("sh -c \"echo u''p; exec sleep 1000\"\n")).await;
    member.until_output("up").await;
    member.send(input(&"touch pasted\n".repeat(20_000))).await;
    member.send(input("\x03")).await;
    member.send(input("echo ba''ck\n")).await;
    member.until_output("back").await;
    assert!(!channel.root().join("pasted").exists());
}

#[tokio::test]
async fn a_program_that_reads_nothing_is_interrupted_by_anybody_behind_a_paste() {
    let channel = TestChannel::open::<Shell>(Some("term"));
    let (mut one, mut two) = (channel.join(Role::Editor).await, channel.join(Role::Editor).await);
    for who in [1, 2] {
        one.send(input(&format!("sh -c \"echo up''{who}; exec sleep 1000\"\n"))).await;
        two.until_output(&format!("up{who}")).await;
        for _ in 0..12 {
            one.send(input(&format!("{:>79}\n", "a line").repeat(640))).await;
        }
        let presses = if who == 1 { &mut one } else { &mut two };
        assert_eq!(presses.ask(input("\x03")).await, Body::Ok(Default::default()));
        two.send(input(&format!("echo back''{who}\n"))).await;
        two.until_output(&format!("back{who}")).await;
    }
}

#[tokio::test]
async fn a_slow_reader_of_a_terminal_gets_every_byte() {
    let channel = TestChannel::open::<Shell>(Some("term"));
    let mut member = channel.join(Role::Editor).await;
    let piece = format!("{:>79}\n", "a line").repeat(640);
    let total = 40 * piece.len();
    let read = format!("for i in 1 2 3 4; do head -c {}; sleep 1; done > got", total / 4);
    member.send(input(&format!("stty raw -echo; echo rea''dy; {read}; stty sane; echo do''ne\n"))).await;
    member.until_output("ready").await;
    for _ in 0..40 {
        assert_eq!(member.ask(input(&piece)).await, Body::Ok(Default::default()));
    }
    member.until_output("done").await;
    assert!(std::fs::read_to_string(channel.root().join("got")).expect("written") == piece.repeat(40));
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<Shell>(&[input("yes\n")]).await;
}
