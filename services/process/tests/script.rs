//! The service as a script of what members send and get.
#![allow(clippy::panic, reason = "a test ends by panicking")]

use pid1_process::Programs;
use pid1_sdk::Role;
use pid1_sdk::api::{
    ProcessAttach, ProcessExited, ProcessSignal, ProcessStart, ProcessStdin,
    command::Body,
    process_attach::Target,
    process_exited::{Cause, Status},
};
use pid1_sdk::channel::Leave;
use pid1_sdk::testing::{TestChannel, TestMember};

fn start(script: &str) -> Body {
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    Body::ProcessStart(ProcessStart { args, ..ProcessStart::default() })
}

fn stdin(offset: u64, data: &'static [u8], eof: bool) -> Body {
    Body::ProcessStdin(ProcessStdin { offset: Some(offset), data: data.into(), eof })
}

fn attach(stdout_from: u64) -> Body {
    Body::ProcessAttach(ProcessAttach { stdout_from, ..ProcessAttach::default() })
}

/// Stdout from `from` up to the program's end, and that end.
async fn to_the_end(member: &mut TestMember, mut from: u64) -> (Vec<u8>, ProcessExited) {
    let mut all = Vec::new();
    loop {
        match member.next().await {
            Body::ProcessOutput(piece) => {
                assert_eq!(piece.offset, from, "no byte is left out or doubled");
                from += piece.data.len() as u64;
                all.extend_from_slice(&piece.data);
            }
            Body::ProcessExited(exited) => return (all, exited),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn bytes_pass_as_they_are_and_the_end_is_exact() {
    let channel = TestChannel::open::<Programs>(None);
    let mut member = channel.join(Role::Editor).await;
    assert!(matches!(member.ask(start("cat; exit 7")).await, Body::ProcessStarted(_)));
    assert!(
        matches!(member.ask(stdin(0, b"\xff\x00\xc3", true)).await, Body::ProcessStdinTaken(t) if t.offset == 3)
    );
    let (bytes, exited) = to_the_end(&mut member, 0).await;
    assert_eq!(bytes, b"\xff\x00\xc3");
    assert_eq!((exited.status, exited.cause(), exited.stdout_end), (Some(Status::Code(7)), Cause::Exited, 3));
}

#[tokio::test]
async fn whoever_comes_back_goes_on_where_it_was() {
    let channel = TestChannel::open::<Programs>(Some("build"));
    let mut first = channel.join(Role::Editor).await;
    first.ask(start("cat")).await;
    first.ask(stdin(0, b"one ", false)).await;
    first.until(|body| matches!(body, Body::ProcessOutput(_))).await;
    first.leave(Leave::Vanish).await;
    let mut again = channel.join(Role::Editor).await;
    let started = again.ask(attach(4)).await;
    assert!(matches!(started, Body::ProcessStarted(started) if started.stdin_taken == 4));
    let hole = again.ask(stdin(5, b"x", false)).await;
    assert!(matches!(hole, Body::Error(text) if text.contains("leaves a hole: 4 bytes were taken")));
    again.ask(stdin(0, b"one two", true)).await;
    assert_eq!(to_the_end(&mut again, 4).await.0, b"two", "what was sent twice is taken once");
    let mut late = channel.join(Role::Viewer).await;
    late.ask(attach(0)).await;
    assert_eq!(to_the_end(&mut late, 0).await.0, b"one two");
}

#[tokio::test]
async fn signals_and_other_peoples_programs() {
    let channel = TestChannel::open::<Programs>(None);
    let mut member = channel.join(Role::Editor).await;
    let nothing = Body::Error("process: nothing was started on this channel".into());
    assert_eq!(member.ask(Body::ProcessSignal(ProcessSignal { signal: 9 })).await, nothing);
    let elsewhere =
        Body::ProcessAttach(ProcessAttach { target: Some(Target::Pid(1)), ..ProcessAttach::default() });
    assert!(
        matches!(member.ask(elsewhere).await, Body::Error(text) if text.contains("needs the role owner"))
    );
    member.ask(start("echo ready; sleep 1000")).await;
    member.until(|body| matches!(body, Body::ProcessOutput(_))).await;
    assert!(
        matches!(member.ask(start("true")).await, Body::Error(text) if text.contains("has a program already"))
    );
    member.ask(Body::ProcessSignal(ProcessSignal { signal: 9 })).await;
    let (_, exited) = to_the_end(&mut member, 6).await;
    assert_eq!((exited.status, exited.cause()), (Some(Status::Signal(9)), Cause::Signalled));
}
