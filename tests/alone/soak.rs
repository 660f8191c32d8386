//! Everything at once for a while, around an agent that is process 1: what came has gone, and nothing is left of it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use pid1_sdk::api::{CloseChannel, close_channel::Action, command::Body};

use crate::pid1::first::{First, daemon, exec, run_script};
use crate::support::{
    LATE, PROMPT, Raw, Rng, SLACK_BYTES, descriptors, eventually, rss_bytes, run_program, settled, size,
    threads_of,
};

/// Of each kind.
const ACTORS: u64 = 3;

/// A shell that works, whose programs crash, and that is left in various ways.
async fn shells(first: &First, rng: &mut Rng) {
    let mut client = first.agent.client().await;
    let shell = client.shell("").await;
    client.shell_run(shell, "sleep 1000 & (sleep 0.01 &); ulimit -c 0").await;
    client.shell_run(shell, "bash -c 'kill -SEGV $$'").await;
    match rng.below(3) {
        0 => {
            let close = CloseChannel { id: shell, action: Action::Close.into() };
            client.ask(0, Body::CloseChan(close)).await;
        }
        1 => {
            client.type_in(shell, "kill -9 $$\n").await;
            client.output_until(shell, PROMPT).await;
        }
        _ => client.type_in(shell, "yes\n").await,
    }
}

/// Programs that end in all ways, with orphans and daemons of theirs.
async fn programs(first: &First, rng: &mut Rng) {
    let mut client = first.agent.client().await;
    let channel = client.open("exec", "").await;
    let orphans = format!("for i in 1 2 3 4 5; do (sleep 0.0$i &); done; {}", daemon("sleep 0.2"));
    for (script, answer) in [
        ("exit 7", "exit status 7"),
        ("kill -9 $$", "signal: killed"),
        (&format!("{orphans}; exit 8"), "exit status 8"),
    ] {
        let said = client.refused(channel, exec(&["bash", "-c", script])).await;
        assert_eq!(said, answer);
    }
    let input = vec![b'x'; rng.below(300_000)];
    let mut echoed = 0;
    run_program(&mut client, &["cat"], &input, |_, bytes| echoed += bytes.len()).await;
    assert_eq!(echoed, input.len());
    run_script(&mut client, "trap '' TERM; sleep 1000 & sleep 1000").await;
}

/// Who comes, asks for a flood, and vanishes.
async fn vanishing(first: &First, rng: &mut Rng) {
    let mut raw = Raw::open(&first.agent).await;
    let shell = raw.open_channel("shell", "").await;
    raw.command(shell, "", Some(Body::Input("yes\n".into()))).await.unwrap();
    for _ in 0..rng.below(50) {
        raw.next().await;
    }
    if rng.below(2) == 0 {
        raw.reset();
    }
}

/// All of them until the time is over; how many rounds they made.
async fn live(first: &First, seed: u64, time: Duration) -> usize {
    let begin = Instant::now();
    let actors = (0..3 * ACTORS).map(async |number| {
        let (mut rng, mut rounds) = (Rng::from(1 + 2 * (seed + number)), 0);
        while begin.elapsed() < time {
            match number % 3 {
                0 => shells(first, &mut rng).await,
                1 => programs(first, &mut rng).await,
                _ => vanishing(first, &mut rng).await,
            }
            rounds += 1;
        }
        rounds
    });
    join_all(actors).await.into_iter().sum()
}

/// What the agent holds, once everybody has left.
async fn left(first: &First) -> (Vec<usize>, u64) {
    eventually("only the main command is left", LATE, || first.others().len() == 1).await;
    let (open, threads) =
        settled("descriptors and threads", LATE, || (descriptors(first.pid), threads_of(first.pid))).await;
    let rss = settled("memory", LATE, || rss_bytes(first.pid)).await;
    let mut peer = first.agent.client().await;
    let mut held = vec![open, threads];
    for name in ["pid1_sessions", "pid1_channels", "pid1_processes"] {
        held.push(peer.figure(name).await);
    }
    (held, rss)
}

#[tokio::test]
async fn after_a_long_life_the_agent_holds_what_it_held() {
    let time = Duration::from_secs(size(5, 300) as u64) / 2;
    let mut first = First::start(&["--stop-grace", "0.5", "--log", "warn", "--", "sleep", "1000"]).await;
    live(&first, 0, time).await;
    let (before, half) = left(&first).await;
    let rounds = live(&first, 1000, time).await;
    let (after, rss) = left(&first).await;
    eprintln!("{rounds} rounds: {before:?} -> {after:?}, {} -> {} KiB", half >> 10, rss >> 10);
    assert_eq!(after, before, "descriptors, threads, sessions, channels, programs");
    assert!(rss < half + SLACK_BYTES, "{} -> {} KiB", half >> 10, rss >> 10);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.agent.ended().await.code(), Some(143));
    assert_eq!(first.agent.programs(), [0; 0]);
}
