//! Many clients that open and close the same names at once: for each of them, `openChanRes` comes before anything
//! on a channel and `closeChanRes` after everything, whoever closed it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use pid1_sdk::api::{
    CloseChannel, Command, Exec, close_channel::Action as CloseAction, close_channel_res::Status,
    command::Body, open_channel::Action,
};

use crate::support::{Agent, LATE, Raw, Rng, SOON, eventually, size, within};

const CLIENTS: usize = 8;
const NAMES: &[&str] = &["a", "b", "c"];

/// What one client knows of its channels; panics at whatever breaks the order.
#[derive(Default)]
struct View {
    open: HashSet<i32>,
    /// What is to be answered, and on which channel it was asked.
    asked: HashMap<String, i32>,
    /// Asked on channels that have ended since: answered or dropped with them.
    crossed: HashSet<String>,
    last: u64,
    closed_by_others: usize,
}

impl View {
    fn asks(&mut self, channel: i32) -> String {
        self.last += 1;
        self.asked.insert(self.last.to_string(), channel);
        self.last.to_string()
    }

    fn sees(&mut self, command: &Command) {
        let (channel, reference) = (command.channel, &command.r#ref);
        if !reference.is_empty() {
            let first = self.asked.remove(reference).is_some() || self.crossed.remove(reference);
            assert!(first, "answered twice: {command:?}");
        }
        match &command.body {
            Some(Body::OpenChanRes(opened)) if opened.error.is_empty() => {
                self.open.insert(opened.id);
            }
            Some(Body::OpenChanRes(_)) => {}
            Some(Body::CloseChanRes(closed)) => {
                let was_open = self.open.remove(&closed.id);
                assert_eq!(was_open, closed.status() != Status::Nothing, "{command:?}");
                self.closed_by_others += usize::from(reference.is_empty());
                let crossed = self.asked.extract_if(|_, channel| *channel == closed.id);
                self.crossed.extend(crossed.map(|(reference, _)| reference));
            }
            // A command that crossed the channel's end on the way.
            Some(Body::Error(_)) if !reference.is_empty() => {}
            _ => assert!(channel == 0 || self.open.contains(&channel), "not open: {command:?}"),
        }
    }
}

async fn storm(agent: &Agent, mut rng: Rng, rounds: usize, service: &str) -> View {
    let mut raw = Raw::open(agent).await;
    let mut view = View::default();
    for _ in 0..rounds {
        let channel = view.open.iter().copied().next();
        let (to, body) = match (rng.below(6), channel) {
            (0, Some(id)) => {
                let action = *rng.pick(&[CloseAction::Disconnect, CloseAction::TryClose, CloseAction::Close]);
                (0, Body::CloseChan(CloseChannel { id, action: action.into() }))
            }
            (1 | 2, Some(id)) if service == "exec" => {
                (id, Body::Exec(Exec { args: vec!["echo".into(), "hi".into()], ..Exec::default() }))
            }
            (1 | 2, Some(id)) => (id, Body::Input("echo hi\n".into())),
            _ => {
                let action = *rng.pick(&[Action::Create, Action::Attach, Action::AttachOrCreate]);
                (0, Raw::open_body(service, rng.pick::<&str>(NAMES), action))
            }
        };
        let reference = view.asks(to);
        raw.command(to, &reference, Some(body)).await.unwrap();
        // Up to three questions are on their way at a time.
        while view.asked.len() > rng.below(4) {
            let Some(command) = raw.next().await else { panic!("closed: {:?}", raw.closed) };
            view.sees(&command);
        }
    }
    view
}

async fn storms(service: &'static str, rounds: usize) {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut rng = Rng::seeded("storms");
    let clients = (0..CLIENTS).map(|_| storm(&agent, Rng::from(rng.next()), rounds, service));
    let views = within("the storm passes", LATE, futures_util::future::join_all(clients)).await;
    assert!(views.iter().any(|view| view.closed_by_others > 0), "nobody's channel was closed by another");
    // Named execs and shells live on; closed by name, nothing is left.
    let mut cleaner = Raw::open(&agent).await;
    for name in NAMES {
        let id = cleaner.open_channel(service, name).await;
        let close = Body::CloseChan(CloseChannel { id, action: CloseAction::Close.into() });
        cleaner.ask(0, "close", Some(close)).await;
    }
    eventually("no program is left", SOON, || agent.programs().is_empty()).await;
}

#[tokio::test]
async fn storms_on_exec_channels_keep_the_order() {
    storms("exec", size(300, 5_000)).await;
}

#[tokio::test]
async fn storms_on_shells_keep_the_order() {
    storms("shell", size(60, 1_000)).await;
}

#[tokio::test]
async fn storms_on_channels_that_do_nothing_keep_the_order() {
    storms("null", size(2_000, 50_000)).await;
}

/// All members close one channel at the same time: each is told once, and the name is free at once.
#[tokio::test]
async fn a_channel_closed_by_all_is_closed_once() {
    let agent = Agent::start().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Raw::open(&agent).await);
    }
    let told = AtomicUsize::new(0);
    let rounds = size(30, 1_000);
    for round in 0..rounds {
        let everybody = clients.iter_mut().map(|raw| async {
            let id = raw.open_channel("exec", "shared").await;
            let close = Body::CloseChan(CloseChannel { id, action: CloseAction::Close.into() });
            let (answer, before) = raw.ask(0, &format!("close {round}"), Some(close)).await;
            let ends = before.iter().chain([&answer]).filter(|command| match &command.body {
                Some(Body::CloseChanRes(closed)) => closed.id == id && closed.status() == Status::Close,
                _ => false,
            });
            assert_eq!(ends.count(), 1, "{before:?} {answer:?}");
            told.fetch_add(1, Ordering::Relaxed);
            raw.ping(&format!("after {round}")).await
        });
        for after in futures_util::future::join_all(everybody).await {
            assert!(after.is_empty(), "after the end: {after:?}");
        }
    }
    assert_eq!(told.into_inner(), rounds * CLIENTS);
}
