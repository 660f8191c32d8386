//! How the agent ends: in order, within its time, with everything it started; and what comes after an end that was
//! none of its own.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pid1_sdk::api::process_attach::Target;
use pid1_sdk::api::process_exited::Cause;
use pid1_sdk::api::{Exec, ProcessAttach, command::Body, container_state};

use crate::support::{Agent, HEAVY, Raw, SOON, eventually, named, process_start, size, within};

fn is_sleep(body: Option<&Body>) -> bool {
    matches!(body, Some(Body::ContainerState(state)) if state.state() == container_state::State::Sleep)
}

/// Reads to the end: told of the end and closed in order.
async fn sees_the_end(raw: &mut Raw) {
    let mut told = false;
    while let Some(command) = raw.next().await {
        told |= is_sleep(command.body.as_ref());
    }
    assert!(told, "containerState SLEEP");
    assert_eq!(raw.closed.as_ref().map(|(code, _)| *code), Some(1001), "{:?}", raw.closed);
}

#[tokio::test]
async fn term_under_load_ends_everything_in_order() {
    let _alone = HEAVY.lock().await;
    let mut agent = Agent::with(&["--stop-grace", "2"]).await;
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut raw = Raw::open(&agent).await;
        match n {
            0..5 => {
                let shell = raw.open_channel("shell", "").await;
                raw.command(shell, "", Some(Body::Input("yes\n".into()))).await.unwrap();
            }
            5..10 => {
                let shell = raw.open_channel("shell", &format!("named {n}")).await;
                raw.command(shell, "", Some(Body::Input("sleep 8801 & yes\n".into()))).await.unwrap();
            }
            10 => {
                let exec = raw.open_channel("exec", "").await;
                let script = "trap '' TERM; while :; do sleep 8802; done";
                let args = ["bash", "-c", script].map(str::to_owned).to_vec();
                raw.command(exec, "", Some(Body::Exec(Exec { args, ..Exec::default() }))).await.unwrap();
            }
            11 => {
                let process = raw.open_channel("process", "").await;
                let start = Body::ProcessStart(process_start(&["sleep", "8803"]));
                raw.command(process, "", Some(start)).await.unwrap();
            }
            _ => {}
        }
        clients.push(raw);
    }
    let runs = |text| named(&agent.programs(), text).len();
    eventually("all programs run", SOON, || {
        runs("yes") == 10 && runs("sleep 8801") == 5 && runs("sleep 8802") == 2 && runs("sleep 8803") == 1
    })
    .await;
    let begin = Instant::now();
    agent.signal(Signal::SIGTERM);
    within("all see the end", SOON, futures_util::future::join_all(clients.iter_mut().map(sees_the_end)))
        .await;
    let status = agent.ended().await;
    assert_eq!(status.code(), Some(0), "{status:?}");
    // The grace of the one that ignores TERM, and a few seconds.
    assert!(begin.elapsed() < Duration::from_secs(2 + 5), "{:?}", begin.elapsed());
    assert_eq!(agent.programs(), [0; 0], "nothing is left");
}

#[tokio::test]
async fn int_ends_in_order_too() {
    let mut agent = Agent::start().await;
    let mut raw = Raw::open(&agent).await;
    raw.open_channel("shell", "named").await;
    agent.signal(Signal::SIGINT);
    sees_the_end(&mut raw).await;
    assert_eq!(agent.ended().await.code(), Some(0));
    assert_eq!(agent.programs(), [0; 0]);
}

/// Clients that do not read, and strangers, do not keep the agent from ending.
#[tokio::test]
async fn nobody_keeps_it_from_ending() {
    let mut agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut stuck = Vec::new();
    for _ in 0..5 {
        let mut raw = Raw::narrow(&agent).await;
        let shell = raw.open_channel("shell", "").await;
        raw.command(shell, "", Some(Body::Input("yes\n".into()))).await.unwrap();
        stuck.push(raw);
    }
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(Raw::dial(&agent).await);
    }
    eventually("they run", SOON, || named(&agent.programs(), "yes").len() == 5).await;
    let begin = Instant::now();
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().await.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert_eq!(agent.programs(), [0; 0]);
}

#[tokio::test]
async fn a_second_term_ends_at_once() {
    let mut agent = Agent::with(&["--stop-grace", "60"]).await;
    let mut raw = Raw::open(&agent).await;
    let exec = raw.open_channel("exec", "").await;
    let script = "trap '' TERM; while :; do sleep 8804; done";
    let args = ["bash", "-c", script].map(str::to_owned).to_vec();
    raw.command(exec, "", Some(Body::Exec(Exec { args, ..Exec::default() }))).await.unwrap();
    eventually("it runs", SOON, || named(&agent.programs(), "sleep 8804").len() == 2).await;
    agent.signal(Signal::SIGTERM);
    sees_the_end(&mut raw).await;
    let begin = Instant::now();
    agent.signal(Signal::SIGTERM);
    agent.ended().await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

/// What an agent that was killed has left is ended by the next one before it serves.
#[tokio::test]
async fn the_next_agent_ends_what_a_killed_one_left() {
    let mut agent = Agent::with(&["--stop-grace", "0.2"]).await;
    for round in 0..size(20, 1_000) {
        let mut client = agent.client().await;
        let shell = client.shell(&format!("shell {round}")).await;
        for line in
            ["sleep 8901 &\n", "nohup sleep 8902 > /dev/null 2>&1 &\n", "(trap '' HUP TERM; sleep 8903)\n"]
        {
            client.type_in(shell, line).await;
        }
        let exec = client.open("exec", "").await;
        let script = "(trap '' TERM; sleep 8904; true) & setsid sleep 8905 & sleep 8906; true";
        let args = ["bash", "-c", script].map(str::to_owned).to_vec();
        client.send(exec, Body::Exec(Exec { args, ..Exec::default() })).await;
        let process = client.open("process", "kept").await;
        client.ask(process, Body::ProcessStart(process_start(&["sleep", "8907"]))).await;
        for sleep in 8901..=8907 {
            let sleep = format!("sleep {sleep}");
            eventually(&sleep, SOON, || !named(&agent.programs(), &sleep).is_empty()).await;
        }
        agent.kill().await;
        let mut survivors = agent.programs();
        survivors.retain(|pid| !named(&[*pid], "sleep").is_empty());
        eprintln!("round {round}: {} programs outlived the agent", survivors.len());
        agent = agent.launch().start().await;
        let left = agent.programs();
        assert_eq!(left, [0; 0], "still there when the next agent serves:\n{}", agent.log());
    }
    agent.client().await.ping().await;
}

/// Nothing that the killed agent did not start is touched, whatever pids were used again.
#[tokio::test]
async fn the_next_agent_ends_nothing_else() {
    let mut unrelated = std::process::Command::new("sleep").arg("8910").spawn().unwrap();
    let mut agent = Agent::start().await;
    let mut client = agent.client().await;
    client.shell("named").await;
    agent.kill().await;
    let next = agent.launch().start().await;
    next.client().await.ping().await;
    let survived = unrelated.try_wait().unwrap().is_none();
    unrelated.kill().unwrap();
    unrelated.wait().unwrap();
    assert!(survived);
}

/// What ran there is not forgotten, and no status is invented for it.
#[tokio::test]
async fn the_next_agent_says_what_became_of_the_programs_of_a_killed_one() {
    let mut agent = Agent::start().await;
    let mut client = agent.client().await;
    let channel = client.open("process", "").await;
    let start = Body::ProcessStart(process_start(&["sleep", "8911"]));
    let Body::ProcessStarted(ran) = client.ask(channel, start.clone()).await else { panic!("not started") };
    agent.kill().await;
    let agent = agent.launch().start().await;
    let mut client = agent.client().await;
    for target in [Target::Id(ran.id), Target::Pid(ran.pid)] {
        let channel = client.open("process", "").await;
        let attach = ProcessAttach { target: Some(target), ..ProcessAttach::default() };
        let answer = client.ask(channel, Body::ProcessAttach(attach)).await;
        let Body::ProcessStarted(found) = answer else { panic!("{answer:?}") };
        assert_eq!((found.id, found.pid, found.found), (ran.id, ran.pid, true));
        let exited =
            client.until("its end", |command| matches!(command.body, Some(Body::ProcessExited(_)))).await;
        let Some(Body::ProcessExited(exited)) = exited.body else { unreachable!() };
        assert_eq!((exited.cause(), exited.status), (Cause::AgentRestarted, None));
    }
    // Its name is never another's.
    let channel = client.open("process", "").await;
    let answer = client.ask(channel, start).await;
    assert!(matches!(&answer, Body::ProcessStarted(started) if started.id > ran.id), "{answer:?}");
}
