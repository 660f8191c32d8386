//! Thousands of clients at once that vanish without a word: what they cost goes with them.

use std::time::Instant;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Agent, LATE, Raw, SLACK_BYTES, SOON, eventually, raise_descriptor_limit, settled, size, within,
};

/// So many connect at the same time: fewer than there are places for strangers.
const JOINING: usize = 64;

/// What is open in the test and in the agent besides one socket for each client.
const OTHER_DESCRIPTORS: usize = 500;

/// After two of them the allocator has found its places; then a round must not add anything.
const ROUNDS: usize = 4;

/// A client with a channel of its own and a place in a shell that all share. It answers pings until all are to
/// vanish; then it is gone by a reset, by an end without goodbye, or it falls silent and its socket is given back.
async fn live(
    agent: &Agent,
    number: usize,
    door: &Semaphore,
    joined: &Semaphore,
    vanish: &CancellationToken,
) -> Option<Raw> {
    let permit = door.acquire().await.unwrap();
    let mut raw = Raw::open(agent).await;
    raw.open_channel("null", "").await;
    raw.open_channel("shell", "shared").await;
    drop(permit);
    joined.add_permits(1);
    let dropped = async { while raw.next_unbounded().await.is_some() {} };
    tokio::select! {
        () = vanish.cancelled() => {}
        () = dropped => panic!("a client that answers pings was dropped: {:?}", raw.closed),
    }
    match number % 3 {
        0 => raw.reset(),
        1 => drop(raw),
        _ => return Some(raw),
    }
    None
}

/// Sessions, channels, programs, asked for by one who comes to do that.
async fn figures(agent: &Agent) -> [usize; 3] {
    let mut peer = agent.client().await;
    let mut all = [0; 3];
    for (figure, name) in all.iter_mut().zip(["pid1_sessions", "pid1_channels", "pid1_processes"]) {
        *figure = peer.figure(name).await;
    }
    all
}

#[tokio::test]
async fn nothing_is_left_of_thousands_of_clients_that_vanish() {
    let clients = size(9_000, 15_000);
    raise_descriptor_limit(clients + OTHER_DESCRIPTORS);
    // Short enough to see the silent ones go, long enough for a machine that is busy with all the others.
    let agent = Agent::with(&["--ping-interval", "5"]).await;
    // Of a shell that the first one started, which stays.
    agent.client().await.shell("shared").await;
    let alone = [1, 1, 1];
    eventually("its client is gone", SOON, || agent.log().contains("session ends")).await;
    assert_eq!(figures(&agent).await, alone);
    let mut sizes = Vec::new();
    for round in 0..ROUNDS {
        let (door, joined, vanish) = (Semaphore::new(JOINING), Semaphore::new(0), CancellationToken::new());
        let begin = Instant::now();
        let lives = (0..clients).map(|number| live(&agent, number, &door, &joined, &vanish));
        let meanwhile = async {
            let all = joined.acquire_many(clients as u32);
            let _permits = within("all are there", LATE, all).await.unwrap();
            assert!(agent.descriptors() >= clients);
            assert_eq!(figures(&agent).await, [1 + clients, 1 + clients, 1]);
            eprintln!("{clients} clients after {:?}: {} MiB", begin.elapsed(), agent.rss_bytes() >> 20);
            let rss_bytes = agent.rss_bytes();
            vanish.cancel();
            rss_bytes
        };
        let (mut silent, with_all) = tokio::join!(futures_util::future::join_all(lives), meanwhile);
        if round < ROUNDS - 2 {
            // To be noticed takes its time.
            silent.clear();
        }
        eventually("no socket is left of them", LATE, || agent.descriptors() < OTHER_DESCRIPTORS).await;
        let left = settled("what is left", LATE, || (agent.descriptors(), agent.rss_bytes())).await;
        eprintln!(
            "round {round}: gone after {:?}: {} descriptors, {} KiB",
            begin.elapsed(),
            left.0,
            left.1 >> 10
        );
        assert_eq!(figures(&agent).await, alone);
        assert!(agent.threads() < 16, "{} threads", agent.threads());
        assert_eq!(agent.programs().len(), 1);
        if round == 0 {
            // Once a minute at most, so only this time.
            eventually("memory is given back", SOON, || agent.rss_bytes() < with_all / 2).await;
        }
        sizes.push(left);
        drop(silent);
    }
    let ((before, half), (descriptors, rss)) = (sizes[ROUNDS - 2], sizes[ROUNDS - 1]);
    assert!(descriptors <= before, "{before} -> {descriptors} descriptors");
    assert!(rss < half + SLACK_BYTES, "{} -> {} KiB", half >> 10, rss >> 10);
    let mut client = agent.client().await;
    let shell = client.open("shell", "shared").await;
    client.shell_run(shell, "echo still here").await;
}
