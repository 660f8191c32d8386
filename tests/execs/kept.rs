//! What is kept of programs: over connections, after their end, and how much of it.

use nix::sys::signal::Signal;
use tonic::Code;

use crate::support::router::{Router, Stderr, Stdout, command};
use crate::support::{Agent, HEAVY, LATE, SLACK_BYTES, SOON, eventually, size, within};

/// More than what is kept of one stream.
const TOO_MUCH: u64 = 1100 << 20;

#[tokio::test]
async fn a_program_is_started_once_and_outlives_its_connections() {
    let agent = Agent::start().await;
    let script = "echo $$ >> started; echo one; until [ -e go ]; do sleep 0.02; done; echo two; exit 3";
    let request = command(&["sh", "-c", script]);
    let first = Router::open(&agent).await;
    // The same twelve times at once, from two connections.
    let second = Router::open(&agent).await;
    let starts = (0..12).map(|at| if at % 2 == 0 { &first } else { &second }.start(request.clone()));
    for started in futures_util::future::join_all(starts).await {
        started.unwrap();
    }
    let exec = request.exec_id.clone();
    let mut pieces = first.reading(&exec, Stdout, 0).await.unwrap();
    let piece = within("the first line", SOON, pieces.message()).await.unwrap().expect("a line");
    assert_eq!(piece.data.as_ref(), b"one\n");
    // Both are gone, with calls under way.
    drop((pieces, first, second));
    std::fs::write(agent.root().join("go"), "").unwrap();
    let router = Router::open(&agent).await;
    assert_eq!(router.read(&exec, Stdout, 4).await.unwrap(), b"two\n");
    assert_eq!(router.read(&exec, Stdout, 0).await.unwrap(), b"one\ntwo\n");
    assert_eq!(router.wait(&exec).await.unwrap(), 3);
    router.start(request).await.expect("again, after its end");
    assert!(router.poll(&exec).await.unwrap());
    let started = std::fs::read_to_string(agent.root().join("started")).unwrap();
    assert_eq!(started.lines().count(), 1, "{started}");
}

#[tokio::test]
async fn the_end_of_a_stream_is_when_nobody_can_print_there() {
    let agent = Agent::start().await;
    let router = Router::open(&agent).await;
    let exec = router.sh("(until [ -e go ]; do sleep 0.02; done; echo late) & echo early; exit 3").await;
    // Its own end is told at once.
    assert_eq!(router.wait(&exec).await.unwrap(), 3);
    let mut pieces = router.reading(&exec, Stdout, 0).await.unwrap();
    let piece = within("the first line", SOON, pieces.message()).await.unwrap().expect("a line");
    assert_eq!(piece.data.as_ref(), b"early\n");
    std::fs::write(agent.root().join("go"), "").unwrap();
    assert_eq!(router.read(&exec, Stdout, 6).await.unwrap(), b"late\n");

    // Also while the program that has closed it runs on.
    let exec = router.sh("echo hi; exec 1>&- 2>&-; until [ -e on ]; do sleep 0.02; done").await;
    assert_eq!(router.read(&exec, Stdout, 0).await.unwrap(), b"hi\n");
    assert!(!router.poll(&exec).await.unwrap());
    std::fs::write(agent.root().join("on"), "").unwrap();
    assert_eq!(router.wait(&exec).await.unwrap(), 0);

    // On a terminal it is the end of whoever had it.
    let mut request = command(&["sh", "-c", "trap '' HUP; sleep 1000 & echo on a terminal"]);
    request.pty_info = Some(pid1::proto::modal::client::PtyInfo { enabled: true, ..Default::default() });
    let exec = router.start(request).await.unwrap();
    assert_eq!(router.read(&exec, Stdout, 0).await.unwrap(), b"on a terminal\r\n");
    assert_eq!(router.read(&exec, Stderr, 0).await.unwrap(), b"");
    assert_eq!(router.wait(&exec).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_no_longer_kept_is_said_with_what_is() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let router = Router::open(&agent).await;
    let exec = router.start(command(&["head", "-c", &TOO_MUCH.to_string(), "/dev/zero"])).await.unwrap();
    // Nobody reads, and nothing holds it up.
    assert_eq!(router.wait(&exec).await.unwrap(), 0);
    let lost = router.read(&exec, Stdout, 0).await.expect_err("the beginning is gone");
    assert_eq!(lost.code(), Code::OutOfRange, "{lost}");
    let oldest: u64 = lost.message().rsplit(' ').next().unwrap().parse().expect("the oldest byte");
    assert!(oldest > TOO_MUCH - (1 << 30) - (8 << 20) && oldest < TOO_MUCH, "{lost}");
    let mut pieces = router.reading(&exec, Stdout, oldest).await.unwrap();
    let mut came = 0;
    while let Some(piece) = within("output", SOON, pieces.message()).await.unwrap() {
        came += piece.data.len() as u64;
    }
    assert_eq!(came, TOO_MUCH - oldest);
    let beyond = router.read(&exec, Stdout, TOO_MUCH + 1).await.expect_err("there is no such byte");
    assert_eq!(beyond.code(), Code::OutOfRange, "{beyond}");
    assert_eq!(router.read(&exec, Stdout, TOO_MUCH).await.unwrap(), b"");
}

#[tokio::test]
async fn whoever_reads_slowly_loses_nothing() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let router = Router::open(&agent).await;
    let request = command(&["sh", "-c", &format!("head -c {TOO_MUCH} /dev/zero; echo done > done")]);
    let exec = router.start(request).await.unwrap();
    let mut pieces = router.reading(&exec, Stdout, 0).await.unwrap();
    let done = agent.root().join("done");
    // It takes nothing until the program waits for it: what is not taken fills the file.
    eventually("the file is full", LATE, || agent.nameless_bytes() >= 1 << 30).await;
    let mut came = 0;
    while let Some(piece) = within("output", SOON, pieces.message()).await.unwrap() {
        came += piece.data.len() as u64;
    }
    assert_eq!(came, TOO_MUCH);
    eventually("the program is done", SOON, || done.exists()).await;
}

#[tokio::test]
async fn a_thousand_that_have_ended_cost_little() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let router = Router::open(&agent).await;
    // Half of them print more than may stay in memory.
    let run = async |count: usize| {
        let mut execs = Vec::new();
        for at in 0..count {
            let bytes = if at % 2 == 0 { 100_000 } else { 10 };
            let script = format!("head -c {bytes} /dev/zero; echo to stderr >&2");
            let exec = router.sh(&script).await;
            assert_eq!(router.wait(&exec).await.unwrap(), 0);
            execs.push((exec, bytes));
        }
        execs
    };
    let count = size(500, 2000);
    let mut execs = run(count).await;
    let before = agent.rss_bytes();
    execs.extend(run(count).await);
    let grown = agent.rss_bytes().saturating_sub(before);
    assert!(grown < count as u64 * (10 << 10) + SLACK_BYTES, "{count} cost {grown} bytes");
    for (exec, bytes) in execs.iter().rev().take(1000) {
        assert_eq!(router.read(exec, Stdout, 0).await.unwrap(), vec![0; *bytes], "{exec}");
        assert_eq!(router.read(exec, Stderr, 9).await.unwrap(), b"\n");
        assert_eq!(router.wait(exec).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn the_agents_end_is_told_as_the_programs() {
    let mut agent = Agent::start().await;
    let router = Router::open(&agent).await;
    let exec = router.sh("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.02; done").await;
    let mut pieces = router.reading(&exec, Stdout, 0).await.unwrap();
    let piece = within("the first line", SOON, pieces.message()).await.unwrap().expect("a line");
    assert_eq!(piece.data.as_ref(), b"ready\n");
    agent.signal(Signal::SIGTERM);
    let (status, bye) = tokio::join!(router.wait(&exec), within("output", SOON, pieces.message()));
    assert_eq!(bye.unwrap().expect("a last line").data.as_ref(), b"bye\n");
    assert_eq!(status.unwrap(), 5);
    assert!(agent.ended().await.success());
}
