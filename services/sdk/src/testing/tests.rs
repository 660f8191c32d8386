//! The conformance check sees what it looks for: services that each break one promise.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::api::Ok as OkBody;
use crate::channel::Ticket;
use crate::error::{Error, Result, printable};
use crate::identity::Right;
use crate::process::{Io, Keep, Process, StopCause};
use crate::service::{Reply, unsupported};
use crate::{Channel, limits};

/// Keeps all promises but the one that `FAULT` names.
struct Faulty<const FAULT: u8> {
    held: Vec<Ticket>,
    started: Option<Process>,
}

const NONE: u8 = 0;
const KNOWS_ALL: u8 = 1;
const PANICS: u8 = 2;
const DROPS: u8 = 3;
const LEAKS_A_TASK: u8 = 4;
const LEAKS_A_PROGRAM: u8 = 5;
const FLOODS: u8 = 6;
const STARTS_FOR_VIEWERS: u8 = 7;
const LETS_VIEWERS_WRITE: u8 = 8;
const ANSWERS_THE_MUTE: u8 = 9;
const STOPS: u8 = 10;
const ENDS_ITSELF: u8 = 11;

impl<const FAULT: u8> Service for Faulty<FAULT> {
    type Event = ();
    const OPEN_NEEDS: Right = if FAULT == STARTS_FOR_VIEWERS { Right::Read } else { Right::Write };

    async fn open(ch: &mut Channel<()>) -> Result<Self> {
        if FAULT == LEAKS_A_TASK {
            ch.engine().runtimes().spawn(std::future::pending::<()>());
        }
        let started = if FAULT == STARTS_FOR_VIEWERS { Some(start(ch)?) } else { None };
        Ok(Faulty { held: Vec::new(), started })
    }

    fn needs(_body: &Body) -> Right {
        if FAULT == LETS_VIEWERS_WRITE { Right::Read } else { Right::Write }
    }

    async fn command(&mut self, ch: &mut Channel<()>, from: &Member, body: Body) -> Result<Reply> {
        match (FAULT, body) {
            (KNOWS_ALL, _) => return Ok(Reply::None),
            (PANICS, Body::Input(text)) if text.contains('\0') => panic!("as the test asked"),
            (DROPS, Body::Input(_)) => drop(ch.ticket()),
            (LEAKS_A_PROGRAM, Body::Input(_)) => drop(start(ch)?),
            (FLOODS, Body::Input(_)) => {
                let events = ch.events();
                ch.spawn(async move { while events.send(()).await.is_ok() {} });
            }
            (LETS_VIEWERS_WRITE, Body::Input(_)) => {
                let file = ch.engine().root().join("written");
                std::fs::write(file, "by a viewer").map_err(|error| Error::new(error.to_string()))?;
            }
            (ANSWERS_THE_MUTE, body) => {
                ch.send(from.session(), Body::Error(format!("{} is not known here", body.name())));
                return unsupported(&body);
            }
            (STOPS, Body::Input(_)) => ch.hold_commands(std::future::pending()),
            // Answered at the end only, by the ticket itself.
            (_, Body::Input(_)) => {
                self.held.push(ch.ticket());
                return Ok(Reply::Later);
            }
            (_, other) => return unsupported(&other),
        }
        Ok(Reply::None)
    }

    async fn attach(&mut self, ch: &mut Channel<()>, member: &Member) {
        ch.send(member.session(), Body::Ok(OkBody {}));
    }

    async fn detach(&mut self, ch: &mut Channel<()>, _member: &Member) {
        assert!(FAULT != ENDS_ITSELF, "a panic like any other");
        ch.broadcast(Body::Output("gone".into()));
    }

    async fn event(&mut self, ch: &mut Channel<()>, (): ()) {
        ch.broadcast(Body::Output("x".repeat(32 << 10)));
    }

    async fn close(&mut self, _ch: &mut Channel<()>) {
        if let Some(process) = &self.started {
            process.kill(StopCause::Closed);
        }
    }
}

/// A program that ends by itself before long, should nobody else end it.
fn start(ch: &Channel<()>) -> Result<Process> {
    let args = ["sleep", "10"].map(Into::into).to_vec();
    let spec = ch.engine().spec(args, Vec::new(), Io::Pipes { split_stderr: false }, Keep::Tail);
    Ok(ch.engine().processes().start(spec)?)
}

/// What the check says of a service with this fault.
async fn verdict<const FAULT: u8>() -> String {
    let busy = if FAULT == FLOODS { vec![Body::Input("go".into())] } else { Vec::new() };
    match AssertUnwindSafe(conformance::<Faulty<FAULT>>(&busy)).catch_unwind().await {
        Ok(()) => "sound".to_owned(),
        Err(panic) => printable(panic.downcast_ref::<String>().expect("a panic with a text")),
    }
}

/// Time stands still while anything moves, so the deadlines of what never comes cost none.
#[tokio::test(start_paused = true)]
async fn each_broken_promise_is_found_and_named() {
    let cases = [
        (verdict::<NONE>().await, "sound"),
        (verdict::<KNOWS_ALL>().await, "openChan is answered Some(Ok(Ok)), not refused"),
        (verdict::<PANICS>().await, "after input with NULs and -1"),
        (verdict::<DROPS>().await, "the command was given up"),
        (verdict::<LEAKS_A_TASK>().await, "the end of the channel's tasks"),
        (verdict::<LETS_VIEWERS_WRITE>().await, "a viewer's input changed something"),
        (verdict::<ANSWERS_THE_MUTE>().await, "openChan without a ref is answered"),
        (verdict::<STOPS>().await, "to be done with input"),
        (verdict::<ENDS_ITSELF>().await, "the Disconnect of another member"),
    ];
    for (said, wanted) in cases {
        assert!(said.contains(wanted), "{said:?} instead of {wanted:?}");
    }
}

#[tokio::test]
async fn a_flood_that_waits_for_nobody_is_found() {
    let said = verdict::<FLOODS>().await;
    assert!(said.contains("wait for a member that takes nothing"), "{said}");
    assert!(limits::LAGGARD_PATIENCE < Duration::from_secs(1), "it is watched for four times that");
}

#[tokio::test]
async fn programs_that_nobody_ends_are_found() {
    let (started, left) = (verdict::<STARTS_FOR_VIEWERS>().await, verdict::<LEAKS_A_PROGRAM>().await);
    assert!(started.contains("a viewer's open started a program"), "{started}");
    assert!(left.contains("left Process"), "{left}");
}
