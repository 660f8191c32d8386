//! What runs below the agent as process 1: every orphan is reaped, every program of its own keeps its exact status
//! among them, and none inherits what is the agent's.

use std::cell::Cell;
use std::fs;
use std::time::Instant;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use pid1_sdk::api::{
    CloseChannel, Command, ProcessAttach, ProcessSignal, ProcessStart,
    close_channel::Action,
    command::Body,
    process_attach::Target,
    process_exited::{Cause, Status},
};

use super::first::{First, exec, run_script};
use crate::support::{
    HEAVY, LATE, Launch, Peer, SOON, eventually, process_start, run_program, settled, size,
};

/// Orphans that end in the same moment.
const BURST: usize = 200;

/// Clients at a time, half of them with `exec`, half with `process`.
const CLIENTS: usize = 8;

/// What ends a program, with the words of `exec` for it; none of them dumps a core.
const SIGNALS: [(i32, &str); 8] = [
    (1, "signal: hangup"),
    (2, "signal: interrupt"),
    (9, "signal: killed"),
    (10, "signal: user defined signal 1"),
    (13, "signal: broken pipe"),
    (14, "signal: alarm clock"),
    (15, "signal: terminated"),
    (34, "signal: signal 34"),
];

/// Makes orphans that wait for the end of a file, and lets a burst of them go at a time.
fn orphans(count: usize) -> String {
    format!(
        "mkfifo gate; for ((burst = 0; burst < {}; burst++)); do exec 9<>gate
         for ((i = 0; i < {BURST}; i++)); do ((exec <gate 9>&-; read) &); done; exec 9>&-; done; echo made",
        count / BURST
    )
}

/// The `number`th way to end: each code, then each signal.
fn end(number: usize) -> Result<i32, (i32, &'static str)> {
    match number % (256 + SIGNALS.len()) {
        code @ 0..256 => Ok(code as i32),
        beyond => Err(SIGNALS[beyond - 256]),
    }
}

fn script(number: usize) -> String {
    match end(number) {
        Ok(code) => format!("exit {code}"),
        Err((signal, _)) => format!("kill -{signal} $$; sleep 1000"),
    }
}

async fn by_exec(client: &mut Peer, number: usize) {
    let channel = client.open("exec", "statuses").await;
    let expected = match end(number) {
        Ok(0) => Body::Ok(Default::default()),
        Ok(code) => Body::Error(format!("exit status {code}")),
        Err((_, text)) => Body::Error(text.to_owned()),
    };
    assert_eq!(client.ask(channel, exec(&["sh", "-c", &script(number)])).await, expected);
}

async fn by_process(client: &mut Peer, number: usize) {
    let exited = run_program(client, &["sh", "-c", &script(number)], b"", |_, _| ()).await;
    let expected = match end(number) {
        Ok(code) => (Some(Status::Code(code)), Cause::Exited),
        Err((signal, _)) => (Some(Status::Signal(signal)), Cause::Signalled),
    };
    assert_eq!((exited.status, exited.cause()), expected);
}

#[tokio::test]
async fn every_orphan_is_reaped_and_no_status_is_lost_among_them() {
    let _alone = HEAVY.lock().await;
    let (count, own) = (size(2_000, 10_000), size(400, 2_000));
    let first = First::start(&[]).await;
    let (begin, made) = (Instant::now(), Cell::new(false));
    let children = (0..CLIENTS).map(|at| {
        let (agent, made) = (&first.agent, &made);
        async move {
            let mut client = agent.client().await;
            for number in (at..).step_by(CLIENTS).take_while(|number| *number < own || !made.get()) {
                if at % 2 == 0 {
                    by_exec(&mut client, number).await;
                } else {
                    by_process(&mut client, number).await;
                    // Each opens a channel, and a session may have so many.
                    if number % 1_000 > 1_000 - CLIENTS {
                        client = agent.client().await;
                    }
                }
            }
        }
    });
    let making = async {
        let mut client = first.agent.client().await;
        let channel = run_script(&mut client, &orphans(count)).await;
        client.output_until(channel, "made").await;
        made.set(true);
        eprintln!("{count} orphans after {:?}", begin.elapsed());
    };
    tokio::join!(join_all(children), making);
    eventually("all are reaped", LATE, || first.others().is_empty()).await;
    assert_eq!(first.agent.client().await.figure("pid1_processes").await, 0);
}

/// Follows the program of `channel` to its end: the signal it ended by, and why.
async fn ended_by(client: &mut Peer, channel: i32) -> (Option<Status>, Cause) {
    let is_end = |command: &Command| {
        command.channel == channel && matches!(command.body, Some(Body::ProcessExited(_)))
    };
    let Some(Body::ProcessExited(exited)) = client.until("the program ends", is_end).await.body else {
        unreachable!()
    };
    (exited.status, exited.cause())
}

/// With the same signal each time.
#[tokio::test]
async fn an_end_says_whose_will_it_was() {
    let first = First::start(&[]).await;
    let (mut client, mut other) = (first.agent.client().await, first.agent.client().await);
    let term = Some(Status::Signal(15));

    let channel = client.open("process", "").await;
    let start = ProcessStart { timeout_ms: 100, ..process_start(&["sleep", "1000"]) };
    client.ask(channel, Body::ProcessStart(start)).await;
    assert_eq!(ended_by(&mut client, channel).await, (term, Cause::TimedOut));

    let channel = client.open("process", "").await;
    client.ask(channel, Body::ProcessStart(process_start(&["sleep", "1000"]))).await;
    client.send(channel, Body::ProcessSignal(ProcessSignal { signal: 15 })).await;
    assert_eq!(ended_by(&mut client, channel).await, (term, Cause::Signalled));

    // Ended with the channel that it belongs to, as somebody else sees it who follows it.
    let channel = client.open("process", "").await;
    let started = client.ask(channel, Body::ProcessStart(process_start(&["sleep", "1000"]))).await;
    let Body::ProcessStarted(started) = started else { panic!("{started:?}") };
    let follower = other.open("process", "").await;
    let attach = ProcessAttach { target: Some(Target::Id(started.id)), ..ProcessAttach::default() };
    other.ask(follower, Body::ProcessAttach(attach)).await;
    let close = CloseChannel { id: channel, action: Action::Close.into() };
    client.ask(0, Body::CloseChan(close)).await;
    assert_eq!(ended_by(&mut other, follower).await, (term, Cause::Stopped));
}

const SHOW: &str = "ls -m /proc/$$/fd; echo th''at-is-all; true";
const SHOWN: &str = "0, 1, 2\n";

/// Not even what whoever started the agent had left open for it.
#[tokio::test]
async fn programs_inherit_no_descriptor() {
    let leaky = ["bash", "-c", "exec 5</dev/null 7</dev/null 200</dev/null; exec \"$0\" \"$@\""];
    let main = format!("{SHOW}; exec sleep 1000");
    let launch = Launch::new().flags(&["--", "bash", "-c", &main]);
    let first = First::of(launch.through(&leaky)).await;
    assert!(fs::exists(format!("/proc/{}/fd/7", first.pid)).unwrap(), "the agent itself has it");
    eventually("the main command has shown them", SOON, || first.agent.printed().ends_with(b"that-is-all\n"))
        .await;
    assert_eq!(first.agent.printed(), format!("{SHOWN}that-is-all\n").as_bytes());

    let mut others = Vec::new();
    for at in 0..10 {
        let mut other = first.agent.client().await;
        other.shell(&format!("other {at}")).await;
        run_script(&mut other, "sleep 1000").await;
        others.push(other);
    }
    let mut client = first.agent.client().await;
    let channel = run_script(&mut client, SHOW).await;
    let shown = client.output_until(channel, "that-is-all\n").await;
    assert_eq!(shown, format!("{SHOWN}that-is-all\n"));

    let mut shown = Vec::new();
    run_program(&mut client, &["bash", "-c", SHOW], b"", |_, bytes| shown.extend_from_slice(bytes)).await;
    assert_eq!(shown, format!("{SHOWN}that-is-all\n").as_bytes());

    let shell = client.shell("").await;
    let shown = client.shell_run(shell, &format!("bash -c '{}'", SHOW.replace("''", ""))).await;
    assert!(shown.contains("0, 1, 2\r\n"), "{shown:?}");
}

/// Of the processor, in the kernel's clock ticks.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The 14th and 15th field; the first behind the name is the third.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[14 - 3].parse::<u64>().unwrap() + fields[15 - 3].parse::<u64>().unwrap()
}

#[tokio::test]
async fn an_idle_process_1_uses_no_processor() {
    let _alone = HEAVY.lock().await;
    for main in [&[][..], &["--", "sleep", "1000"]] {
        let first = First::start(main).await;
        let mut client = first.agent.client().await;
        client.shell("").await;
        settled("the start", SOON, || ticks(first.pid)).await;
        let before = ticks(first.pid);
        for _ in 0..3 {
            settled("idling", SOON, || ticks(first.pid)).await;
        }
        let used = ticks(first.pid) - before;
        // One for whatever the machine charges wrongly.
        assert!(used <= 1, "{used} ticks in 3 seconds, {main:?}");
    }
}

#[tokio::test]
async fn idle_shells_end_at_once() {
    let _alone = HEAVY.lock().await;
    let shells = size(30, 100);
    let mut first = First::start(&[]).await;
    let mut client = first.agent.client().await;
    for at in 0..shells {
        client.shell(&format!("shell {at}")).await;
    }
    // One who is there is waited for until he has said goodbye.
    drop(client);
    let begin = Instant::now();
    first.signal(Signal::SIGTERM);
    assert_eq!(first.agent.ended().await.code(), Some(0));
    let took = begin.elapsed();
    eprintln!("{shells} idle shells: ended after {took:?}");
    // The promise is 0.2 s for 100.
    assert!(took.as_secs_f64() < 2.0, "{took:?}");
    assert_eq!(first.agent.programs(), [0; 0]);
}
