//! The promises of a channel to its service and its members.

use std::time::Duration;

use super::*;
use crate::api::{Ok as OkBody, OpenChannelRes, close_channel_res::Status, open_channel_res};
use crate::error::{Error, Result};
use crate::identity::{Right, Role};
use crate::limits;
use crate::service::{Reply, Service, unsupported};
use crate::testing::{TestChannel, TestMember};

/// Does what a test needs, by the text of `input`.
struct Probe {
    log: Vec<String>,
}

enum Event {
    Say(String),
    Resume(SessionId),
}

impl Service for Probe {
    type Event = Event;

    async fn open(_ch: &mut Channel<Event>) -> Result<Self> {
        Ok(Probe { log: Vec::new() })
    }

    fn needs(body: &Body) -> Right {
        match body {
            Body::Flush(_) => Right::Read,
            _ => Right::Write,
        }
    }

    async fn attach(&mut self, ch: &mut Channel<Event>, member: &Member) {
        if member.role() == Role::Viewer {
            ch.send(member.session(), Body::Output("welcome".into()));
        }
    }

    async fn command(&mut self, ch: &mut Channel<Event>, from: &Member, body: Body) -> Result<Reply> {
        let Body::Input(text) = body else { return unsupported(&body) };
        self.log.push(text.clone());
        match text.as_str() {
            "panic" => panic!("as the test asked"),
            "later" => {
                let (ticket, events) = (ch.ticket(), ch.events());
                ch.spawn(async move {
                    let _ = events.send(Event::Say("working".into())).await;
                    ticket.answer(Body::Output("done".into()));
                });
                return Ok(Reply::Later);
            }
            "forget" => drop(ch.ticket()),
            "hang" => std::future::pending::<()>().await,
            "task" => ch.spawn(std::future::pending()),
            "hold" => ch.hold_commands(std::future::pending()),
            "hold a moment" => ch.hold_commands(tokio::time::sleep(Duration::from_millis(20))),
            "broadcast" => ch.broadcast(Body::Output("to all".into())),
            "others" => ch.broadcast_except(from.session(), Body::Output("to others".into())),
            "log" => return Ok(Reply::now(Body::Output(self.log.join(",")))),
            "flood" => flood(ch),
            "fail" => return Err(Error::new("as the test asked")),
            _ => {}
        }
        Ok(Reply::None)
    }

    async fn event(&mut self, ch: &mut Channel<Event>, event: Event) {
        match event {
            Event::Say(text) => ch.send_terminal(text),
            Event::Resume(session) => {
                let missed = ch.resume_terminal(session);
                ch.send(session, Body::Output(format!("missed {}", missed.unwrap_or_default() > 0)));
            }
        }
    }

    async fn close(&mut self, ch: &mut Channel<Event>) {
        ch.broadcast(Body::Output("last words".into()));
    }
}

/// Prints without end, as a terminal does: waiting for whoever keeps up.
fn flood(ch: &Channel<Event>) {
    let (events, audience) = (ch.events(), ch.audience().clone());
    ch.spawn(async move {
        let mut away: Vec<Member> = Vec::new();
        loop {
            away.extend(audience.room_or_skip(None).await);
            for back in away.extract_if(.., |member| member.outbox().queued_bytes() == 0) {
                let _ = events.send(Event::Resume(back.session())).await;
            }
            let _ = events.send(Event::Say("x".repeat(32 << 10))).await;
        }
    });
}

fn input(text: &str) -> Body {
    Body::Input(text.into())
}

fn error(text: &str) -> Body {
    Body::Error(text.into())
}

const OK: Body = Body::Ok(OkBody {});

async fn until_closed(member: &mut TestMember) -> Status {
    match member.until(|body| matches!(body, Body::CloseChanRes(_))).await {
        Body::CloseChanRes(closed) => closed.status(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_ref_is_answered_once_whatever_the_service_does() {
    let channel = TestChannel::open::<Probe>(None);
    let mut member = channel.join(Role::Editor).await;
    assert_eq!(member.ask(input("nothing to say")).await, OK);
    assert_eq!(member.ask(input("later")).await, Body::Output("done".into()));
    let given_up = "the command was given up: its channel is closing";
    assert_eq!(member.ask(input("forget")).await, error(given_up));
    assert_eq!(member.ask(input("fail")).await, error("as the test asked"));
    assert_eq!(member.ask(Body::Flush(Default::default())).await, error("flush is not supported yet"));
    assert_eq!(
        member.ask_raw(None).await,
        error("the command on channel 1 has no body that this agent knows")
    );
}

#[tokio::test]
async fn a_viewer_starts_nothing_and_changes_nothing() {
    let channel = TestChannel::open::<Probe>(Some("named"));
    let mut viewer = channel.join(Role::Viewer).await;
    let refused = member_text(viewer.ask(input("x")).await);
    assert_eq!(refused, "input needs the role editor, and this session has the role viewer");
    let empty = member_text(viewer.ask(Body::Flush(Default::default())).await);
    assert!(empty.contains("nothing runs here") && empty.contains("editor must join"), "{empty}");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.ask(input("broadcast")).await, OK, "the first editor starts it");
    assert_eq!(viewer.next().await, Body::Output("welcome".into()), "who waited is greeted then");
    assert_eq!(viewer.next().await, Body::Output("to all".into()));
    assert_eq!(member_text(viewer.ask(Body::Flush(Default::default())).await), "flush is not supported yet");
}

fn member_text(body: Body) -> String {
    match body {
        Body::Error(text) => text,
        other => panic!("{other:?} instead of an error"),
    }
}

#[tokio::test]
async fn messages_say_whom_they_are_for() {
    let channel = TestChannel::open::<Probe>(Some("named"));
    let mut one = channel.join(Role::Editor).await;
    let mut two = channel.join(Role::Editor).await;
    one.send(input("broadcast")).await;
    one.send(input("others")).await;
    let to_all = two.next_command().await;
    let to_others = two.next_command().await;
    assert_eq!((to_all.session, to_others.session), (0, -one.session().0));
    assert_eq!(one.next().await, Body::Output("to all".into()));
    assert_eq!(one.ask(input("x")).await, OK, "nothing else came to the sender");
}

#[tokio::test]
async fn a_panic_ends_its_channel_with_an_error_to_all() {
    let channel = TestChannel::open::<Probe>(Some("named"));
    let mut one = channel.join(Role::Editor).await;
    let mut two = channel.join(Role::Editor).await;
    let answer = member_text(one.ask(input("panic")).await);
    assert!(answer.contains("given up"), "{answer}");
    for member in [&mut one, &mut two] {
        let told = member.until(|body| matches!(body, Body::Error(_))).await;
        assert_eq!(told, error("the service failed unexpectedly; open it again"));
        assert_eq!(until_closed(member).await, Status::Close);
    }
    channel.ended().await;
}

#[tokio::test]
async fn what_was_sent_before_a_close_is_done_before_it_and_the_close_ends_every_task() {
    let channel = TestChannel::open::<Probe>(Some("named"));
    let mut one = channel.join(Role::Editor).await;
    let mut two = channel.join(Role::Editor).await;
    for _ in 0..30 {
        one.send(input("task")).await;
    }
    one.send(input("broadcast")).await;
    one.leave(Leave::Close).await;
    assert_eq!(until_closed(&mut one).await, Status::Close);
    assert_eq!(two.until_output("last words").await, "to alllast words");
    assert_eq!(until_closed(&mut two).await, Status::Close);
    channel.ended().await;
    channel.engine().runtimes().tracker().close();
    let all_ended =
        tokio::time::timeout(Duration::from_secs(10), channel.engine().runtimes().tracker().wait());
    assert!(all_ended.await.is_ok(), "a task of the channel lives on");
}

#[tokio::test]
async fn leaving_takes_off_one_and_the_name_keeps_the_channel() {
    let channel = TestChannel::open::<Probe>(Some("named"));
    let mut one = channel.join(Role::Editor).await;
    one.send(input("remember")).await;
    one.leave(Leave::Disconnect).await;
    assert_eq!(until_closed(&mut one).await, Status::Disconnect);
    let mut two = channel.join(Role::Editor).await;
    assert_eq!(two.ask(input("log")).await, Body::Output("remember,log".into()));
    two.leave(Leave::TryClose).await;
    assert_eq!(until_closed(&mut two).await, Status::Close);
    channel.ended().await;
}

#[tokio::test]
async fn an_anonymous_channel_ends_with_its_client() {
    let channel = TestChannel::open::<Probe>(None);
    let member = channel.join(Role::Editor).await;
    member.leave(Leave::Vanish).await;
    channel.ended().await;
}

#[tokio::test]
async fn leaving_works_while_commands_are_held_and_held_commands_keep_their_order() {
    let channel = TestChannel::open::<Probe>(Some("named"));
    let mut member = channel.join(Role::Editor).await;
    for text in ["hold a moment", "a", "b"] {
        member.send(input(text)).await;
    }
    assert_eq!(member.ask(input("log")).await, Body::Output("hold a moment,a,b,log".into()));
    member.send(input("hold")).await;
    member.send(input("never")).await;
    member.leave(Leave::Close).await;
    assert_eq!(until_closed(&mut member).await, Status::Close);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_is_given_up_and_the_channel_goes_on() {
    let channel = TestChannel::open::<Probe>(None);
    let mut member = channel.join(Role::Editor).await;
    let answer = member_text(member.ask(input("hang")).await);
    assert_eq!(answer, format!("input was given up after {:?}", limits::COMMAND_TIMEOUT));
    assert_eq!(member.ask(input("x")).await, OK);
}

#[tokio::test]
async fn a_member_that_takes_nothing_is_skipped_while_another_keeps_up_and_told_when_it_is_back() {
    let channel = TestChannel::open::<Probe>(Some("named"));
    let mut reads = channel.join(Role::Editor).await;
    let mut stuck = channel.join(Role::Editor).await;
    reads.send(input("flood")).await;
    let mut taken = 0;
    while taken < 4 * limits::OUTBOX_HIGH_BYTES {
        if let Body::Output(text) = reads.next().await {
            taken += text.len();
        }
    }
    let most = limits::OUTBOX_ROOM_BYTES + (limits::EVENTS + 2) * (33 << 10);
    assert!(stuck.outbox().queued_bytes() < most, "what waits for it is bounded");
    // It reads again, while the flood goes on and the other still takes it.
    let back = stuck.until(|body| *body == Body::Output("missed true".into()));
    tokio::select! {
        _ = back => {}
        () = async { loop { reads.next().await; } } => {}
    }
}

#[tokio::test]
async fn the_only_member_holds_the_program_back() {
    let channel = TestChannel::open::<Probe>(Some("named"));
    let member = channel.join(Role::Editor).await;
    member.send(input("flood")).await;
    let full = async {
        while member.outbox().queued_bytes() < limits::OUTBOX_ROOM_BYTES {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), full).await.is_ok());
    tokio::time::sleep(2 * limits::LAGGARD_PATIENCE).await;
    assert!(member.outbox().queued_bytes() < limits::OUTBOX_ROOM_BYTES + (limits::EVENTS + 2) * (33 << 10));
    assert_eq!(member.outbox().ended(), None);
}

/// A service that cannot start.
struct Broken;

impl Service for Broken {
    type Event = ();

    async fn open(_ch: &mut Channel<()>) -> Result<Self> {
        Err(Error::new("no luck today"))
    }

    async fn command(&mut self, _ch: &mut Channel<()>, _from: &Member, _body: Body) -> Result<Reply> {
        Ok(Reply::None)
    }
}

#[tokio::test]
async fn a_service_that_cannot_start_opens_and_says_why() {
    let channel = TestChannel::open::<Broken>(Some("named"));
    let mut one = channel.join(Role::Editor).await;
    assert_eq!(one.next().await, error("no luck today"));
    assert_eq!(one.ask(input("x")).await, error("no luck today"));
    let mut two = channel.join(Role::Editor).await;
    assert_eq!(two.next().await, error("no luck today"));
}

#[tokio::test]
async fn joining_twice_is_told_twice_and_is_one_membership() {
    let channel = TestChannel::open::<Probe>(Some("named"));
    let mut member = channel.join(Role::Editor).await;
    member.join_again().await;
    let attached =
        OpenChannelRes { id: 1, state: open_channel_res::State::Attached.into(), error: String::new() };
    assert_eq!(member.next().await, Body::OpenChanRes(attached));
    member.send(input("broadcast")).await;
    assert_eq!(member.next().await, Body::Output("to all".into()));
    assert_eq!(member.ask(input("x")).await, OK, "and not twice");
}

#[tokio::test]
async fn a_channel_that_all_close_at_once_takes_leave_of_each_once() {
    let channel = TestChannel::open::<Probe>(Some("named"));
    let mut members = Vec::new();
    for _ in 0..8 {
        members.push(channel.join(Role::Editor).await);
    }
    futures_util::future::join_all(members.iter().map(|member| member.leave(Leave::Close))).await;
    for member in &mut members {
        loop {
            let command = member.next_command().await;
            if let Some(Body::CloseChanRes(closed)) = command.body {
                assert_eq!((closed.status(), command.r#ref.as_str()), (Status::Close, "leave"));
                break;
            }
        }
        assert_eq!(member.outbox().queued_bytes(), 0, "nothing comes after it");
    }
}

#[tokio::test]
async fn an_empty_channel_makes_room_only_if_nothing_is_lost() {
    let busy = TestChannel::open::<Probe>(Some("named"));
    busy.join(Role::Editor).await.leave(Leave::Disconnect).await;
    assert!(!busy.retire(), "the probe has something to lose");
    let empty = TestChannel::open::<Broken>(Some("named"));
    let member = empty.join(Role::Editor).await;
    assert!(!empty.retire(), "somebody is there");
    member.leave(Leave::Disconnect).await;
    assert!(empty.retire());
    empty.ended().await;
}
