//! Clients that vanish: with a reset, or without any sign at all. Their anonymous programs end, what has a name
//! lives, and nothing is left behind.

use pid1_sdk::api::{Exec, ProcessAttach, ProcessStdin, command::Body};

use crate::support::{Agent, Raw, SLACK_BYTES, SOON, eventually, http_get, named, process_start, size};

/// A session with programs of its own and one that has a name; all of them sleep for `mark` seconds.
async fn busy(agent: &Agent, mark: &str) -> Raw {
    let mut raw = Raw::open(agent).await;
    let line = |seconds: &str| Some(Body::Input(format!("sleep {seconds} & sleep {seconds}\n")));
    let shell = raw.open_channel("shell", "").await;
    raw.command(shell, "", line(mark)).await.unwrap();
    let exec = raw.open_channel("exec", "").await;
    let args = ["bash", "-c", &format!("sleep {mark} & sleep {mark}; true")].map(str::to_owned).to_vec();
    raw.command(exec, "run", Some(Body::Exec(Exec { args, ..Exec::default() }))).await.unwrap();
    let process = raw.open_channel("process", "").await;
    raw.command(process, "start", Some(Body::ProcessStart(process_start(&["sleep", mark])))).await.unwrap();
    let kept = raw.open_channel("shell", &format!("kept {mark}")).await;
    raw.command(kept, "", line(&format!("{mark}7"))).await.unwrap();
    // Two of the shell, two of the exec and the bash that is their parent, one of the process, two that are kept.
    let sleeps = || named(&agent.programs(), &format!("sleep {mark}")).len();
    eventually("all programs run", SOON, || sleeps() == 8).await;
    raw
}

async fn only_the_named_is_left(agent: &Agent, mark: &str) {
    eventually("its own programs end", SOON, || {
        let left = named(&agent.programs(), &format!("sleep {mark}"));
        left.len() == 2 && left == named(&left, &format!("sleep {mark}7"))
    })
    .await;
    let mut client = agent.client().await;
    let shell = client.open("shell", &format!("kept {mark}")).await;
    client.type_in(shell, "\x03").await;
    client.shell_run(shell, "echo still here").await;
}

#[tokio::test]
async fn a_reset_ends_what_was_the_client_s_own() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    busy(&agent, "9001").await.reset();
    only_the_named_is_left(&agent, "9001").await;
}

#[tokio::test]
async fn an_end_without_goodbye_ends_what_was_the_client_s_own() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    drop(busy(&agent, "9002").await);
    only_the_named_is_left(&agent, "9002").await;
}

#[tokio::test]
async fn a_peer_that_stops_answering_is_noticed() {
    let agent = Agent::with(&["--stop-grace", "1", "--ping-interval", "1"]).await;
    let silent = busy(&agent, "9003").await;
    // It keeps its socket open, and neither reads nor writes.
    only_the_named_is_left(&agent, "9003").await;
    eventually("the log says why", SOON, || agent.log().contains("silent")).await;
    drop(silent);
}

/// A client that only answers pings has nothing to fear.
#[tokio::test]
async fn a_quiet_peer_that_answers_pings_stays() {
    let agent = Agent::with(&["--ping-interval", "0.1"]).await;
    let mut quiet = Raw::open(&agent).await;
    let mut pings = 0;
    while pings < 20 {
        let frame = quiet.next_frame().await.unwrap_or_else(|| panic!("dropped after {pings} pings"));
        assert_eq!(frame.first, crate::support::PING);
        quiet.frame(crate::support::PONG, &frame.payload).await.unwrap();
        pings += 1;
    }
    assert!(quiet.ping("still here").await.is_empty());
}

/// Busy ones too: what arrives counts as a sign of life, and so does what is taken.
#[tokio::test]
async fn a_peer_that_takes_a_flood_is_not_silent() {
    let agent = Agent::with(&["--ping-interval", "0.2"]).await;
    let mut client = agent.client().await;
    let shell = client.shell("").await;
    client.type_in(shell, "yes\n").await;
    let mut taken = 0;
    client
        .until("a flood is taken", |command| {
            taken += crate::support::output_of(command, shell).map_or(0, str::len);
            taken > 30 << 20
        })
        .await;
    client.type_in(shell, "\x03").await;
    client.shell_run(shell, "echo still here").await;
}

/// Hundreds of clients with a channel each that are cut off: nothing of them stays, in memory or anywhere.
#[tokio::test]
async fn nothing_is_left_of_clients_that_were_cut_off() {
    let agent = Agent::start().await;
    let mut bystander = agent.client().await;
    bystander.ping().await;
    let rounds = size(300, 5_000);
    let (mut descriptors, mut half) = (0, 0);
    for round in 0..2 * rounds {
        let mut raw = Raw::open(&agent).await;
        raw.open_channel("null", "").await;
        raw.open_channel("null", "shared").await;
        match round % 3 {
            0 => raw.reset(),
            1 => drop(raw),
            // In the middle of a message.
            _ => {
                raw.write(&Raw::head(crate::support::BINARY, 5000)).await.unwrap();
                raw.reset();
            }
        }
        if round + 1 == rounds {
            eventually("the first half is gone", SOON, || agent.descriptors() <= 40).await;
            (descriptors, half) = (agent.descriptors(), agent.rss_bytes());
        }
    }
    eventually("all are gone", SOON, || agent.descriptors() <= descriptors).await;
    assert!(agent.rss_bytes() < half + SLACK_BYTES);
    assert!(agent.threads() < 16, "{} threads", agent.threads());
    let lines = agent.log().lines().count();
    assert!(lines < 10 * rounds, "{lines} lines of log");
    bystander.ping().await;
    assert_eq!(http_get(&agent, "/readyz").await.0, 200);
}

/// A named program goes on where it was: the client that comes back says how far it had read, and misses nothing.
#[tokio::test]
async fn a_lost_connection_is_resumed_byte_for_byte() {
    let agent = Agent::start().await;
    let lines = size(300_000, 3_000_000);
    let expected: String = (1..=lines).map(|n| format!("{n}\n")).collect();
    let mut got = Vec::new();
    let mut start = Some(Body::ProcessStart(process_start(&["seq", "1", &lines.to_string()])));
    for life in 0.. {
        let mut raw = Raw::open(&agent).await;
        let channel = raw.open_channel("process", "resumed").await;
        let attach =
            || Body::ProcessAttach(ProcessAttach { stdout_from: got.len() as u64, ..Default::default() });
        let (answer, before) = raw.ask(channel, "here", Some(start.take().unwrap_or_else(attach))).await;
        assert!(
            matches!(answer.body, Some(Body::ProcessStarted(_))) && before.is_empty(),
            "{answer:?} {before:?}"
        );
        let enough = got.len() + expected.len() / 10;
        while got.len() < enough {
            match raw.next().await.unwrap().body {
                Some(Body::ProcessOutput(output)) => {
                    assert_eq!(output.offset, got.len() as u64, "life {life}");
                    got.extend_from_slice(&output.data);
                }
                Some(Body::ProcessExited(exited)) => {
                    assert_eq!(exited.stdout_end, expected.len() as u64);
                    assert!(got == expected.as_bytes());
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        if life % 2 == 0 { raw.reset() } else { drop(raw) }
    }
}

/// Input too: what was sent before the connection broke and is sent again is taken once.
#[tokio::test]
async fn input_sent_again_is_taken_once() {
    let agent = Agent::start().await;
    let input = crate::support::Rng::seeded("input").bytes(size(1 << 20, 16 << 20));
    let mut start = Some(Body::ProcessStart(process_start(&["sh", "-c", "cat > taken"])));
    let mut rng = crate::support::Rng::seeded("pieces");
    loop {
        let mut raw = Raw::open(&agent).await;
        let channel = raw.open_channel("process", "fed").await;
        let hello = start.take().unwrap_or_else(|| Body::ProcessAttach(Default::default()));
        let Some(Body::ProcessStarted(started)) = raw.ask(channel, "here", Some(hello)).await.0.body else {
            panic!()
        };
        // From some way before what was taken, as a client that did not hear of it would.
        let taken = started.stdin_taken as usize;
        let mut at = taken - rng.below(taken.min(100_000) + 1);
        for piece in 0..4 {
            let data = bytes::Bytes::copy_from_slice(&input[at..(at + (64 << 10)).min(input.len())]);
            let end = at + data.len();
            let eof = end == input.len();
            let body = Body::ProcessStdin(ProcessStdin { offset: Some(at as u64), data, eof });
            if eof {
                let (answer, _) = raw.ask(channel, "last", Some(body)).await;
                let Some(Body::ProcessStdinTaken(answer)) = answer.body else { panic!("{answer:?}") };
                assert_eq!(answer.offset, input.len() as u64);
                while !matches!(raw.next().await.unwrap().body, Some(Body::ProcessExited(_))) {}
                assert!(std::fs::read(agent.root().join("taken")).unwrap() == input);
                return;
            }
            if piece < 2 {
                raw.ask(channel, &format!("piece {piece}"), Some(body)).await;
            } else {
                raw.command(channel, "", Some(body)).await.unwrap();
            }
            at = end;
        }
        raw.reset();
    }
}
