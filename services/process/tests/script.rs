//! The service as a script of what members send and get.
#![allow(clippy::panic, reason = "a test ends by panicking")]

use pid1_process::Programs;
use pid1_sdk::Role;
use pid1_sdk::api::{
    ProcessAttach, ProcessExited, ProcessSignal, ProcessStart, ProcessStdin, ResizeTerm,
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

/// Whoever sends ahead learns of each piece why it was not taken: not of a hole that is none of its making.
#[tokio::test]
async fn input_that_is_wanted_no_more_is_refused_in_those_words() {
    let channel = TestChannel::open::<Programs>(Some("build"));
    let mut member = channel.join(Role::Editor).await;
    member.ask(start("true")).await;
    member.until(|body| matches!(body, Body::ProcessExited(_))).await;
    for offset in [0, 9] {
        let refused = member.ask(stdin(offset, b"x", false)).await;
        assert!(matches!(&refused, Body::Error(text) if text.contains("input is closed")), "{refused:?}");
    }
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

fn attach_as(writer: &str) -> ProcessAttach {
    ProcessAttach { writer: writer.to_owned(), ..ProcessAttach::default() }
}

#[tokio::test]
async fn each_writer_has_offsets_of_its_own() {
    let channel = TestChannel::open::<Programs>(Some("shared"));
    let mut one = channel.join(Role::Editor).await;
    let Body::ProcessStart(plain) = start("cat") else { panic!("it is a start") };
    let shared = |writer: &str| {
        let or_attach = Some(ProcessAttach::default());
        Body::ProcessStart(ProcessStart { writer: writer.to_owned(), or_attach, ..plain.clone() })
    };
    let mut other = channel.join(Role::Editor).await;
    let begun = one.ask(shared("one")).await;
    let found = other.ask(shared("other")).await;
    let (Body::ProcessStarted(begun), Body::ProcessStarted(found)) = (begun, found) else {
        panic!("both follow it")
    };
    assert!(begun.id == found.id && !begun.found && found.found);
    one.ask(stdin(0, b"aa", false)).await;
    assert!(matches!(other.ask(stdin(0, b"b", false)).await, Body::ProcessStdinTaken(t) if t.offset == 1));
    // One comes back, while its first connection is not yet known to be dead; neither loses its place.
    let mut again = channel.join(Role::Editor).await;
    let back = again.ask(Body::ProcessAttach(attach_as("one"))).await;
    assert!(matches!(back, Body::ProcessStarted(started) if started.stdin_taken == 2 && started.found));
    again.ask(stdin(1, b"ac", false)).await;
    assert!(matches!(other.ask(stdin(1, b"d", true)).await, Body::ProcessStdinTaken(t) if t.offset == 2));
    let (all, _) = to_the_end(&mut again, 0).await;
    assert_eq!(all, b"aabcd");
    let long = again.ask(Body::ProcessAttach(attach_as(&"x".repeat(65)))).await;
    assert!(matches!(long, Body::Error(text) if text.contains("at most 64 bytes")));
}

/// Somebody else has filled the buffer: whoever counts is told how much was taken, when there is room again.
#[tokio::test]
async fn a_full_buffer_is_no_loss() {
    let channel = TestChannel::open::<Programs>(Some("full"));
    let mut one = channel.join(Role::Editor).await;
    one.ask(start("read go; cat >/dev/null; echo done")).await;
    let large = vec![b'x'; 1 << 20];
    let fill = ProcessStdin { offset: None, data: large.into(), eof: false };
    one.send(Body::ProcessStdin(fill)).await;
    let mut other = channel.join(Role::Editor).await;
    other.ask(Body::ProcessAttach(attach_as("other"))).await;
    let piece = ProcessStdin { offset: Some(0), data: vec![b'y'; 700 << 10].into(), eof: false };
    let newline = ProcessStdin { offset: None, data: b"\n"[..].into(), eof: false };
    // The line ends behind the piece that is too much, and so the program reads, and makes room.
    let (first, ()) =
        tokio::join!(other.ask(Body::ProcessStdin(piece.clone())), one.send(Body::ProcessStdin(newline)));
    let second = other.ask(Body::ProcessStdin(piece)).await;
    assert!(matches!(first, Body::ProcessStdinTaken(taken) if taken.offset == 0), "{first:?}");
    assert!(matches!(second, Body::ProcessStdinTaken(taken) if taken.offset == 700 << 10), "{second:?}");
}

#[tokio::test]
async fn a_limit_stops_it_and_what_was_printed_comes() {
    let channel = TestChannel::open::<Programs>(None);
    let mut member = channel.join(Role::Editor).await;
    let Body::ProcessStart(plain) = start("echo printed; sleep 1000 & wait") else { panic!("it is a start") };
    member.ask(Body::ProcessStart(ProcessStart { timeout_ms: 300, ..plain })).await;
    let (all, exited) = to_the_end(&mut member, 0).await;
    assert_eq!((&all[..], exited.cause()), (&b"printed\n"[..], Cause::TimedOut));
}

#[tokio::test]
async fn no_command_on_a_terminal_is_the_shell_and_its_past_is_short() {
    let channel = TestChannel::open::<Programs>(Some("terminal"));
    let mut member = channel.join(Role::Editor).await;
    let nothing = member.ask(Body::ProcessStart(ProcessStart::default())).await;
    assert!(matches!(nothing, Body::Error(text) if text.contains("nothing to run")));
    let terminal = Some(ResizeTerm { rows: 20, cols: 70 });
    member.ask(Body::ProcessStart(ProcessStart { terminal, ..ProcessStart::default() })).await;
    member.ask(stdin(0, b"stty size; seq 5000; exit 3\n", false)).await;
    let (all, exited) = to_the_end(&mut member, 0).await;
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains("20 70") && exited.status == Some(Status::Code(3)), "{text:?}");
    // A viewer looks on from the last lines, and types nothing.
    let mut viewer = channel.join(Role::Viewer).await;
    viewer.ask(Body::ProcessAttach(ProcessAttach { scrollback: true, ..ProcessAttach::default() })).await;
    let Body::ProcessOutput(first) = viewer.next().await else { panic!("it prints first") };
    let (seen, _) = (String::from_utf8_lossy(&first.data), first.offset);
    assert!(first.offset > 0 && seen.starts_with("40"), "{} {seen:?}", first.offset);
    let refused = viewer.ask(stdin(0, b"x", false)).await;
    assert!(matches!(refused, Body::Error(text) if text.contains("needs the role editor")));
    let refused = viewer.ask(Body::ProcessStart(ProcessStart { terminal, ..ProcessStart::default() })).await;
    assert!(matches!(refused, Body::Error(text) if text.contains("needs the role editor")));
}
