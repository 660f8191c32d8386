//! Members of a terminal or an exec that do not read. A lone one holds the program back and loses nothing; one among
//! others is skipped (terminal) or dropped (exec), and the others do not feel it.

use std::time::{Duration, Instant};

use pid1_sdk::api::{Exec, ProcessAttach, ProcessStdin, command::Body, process_attach::Target};

use crate::support::{
    Agent, HEAVY, LATE, Peer, Raw, SLACK_BYTES, SOON, eventually, named, output_of, process_start, settled,
    size, within, wrote_bytes,
};

const MIB: usize = 1 << 20;

/// Reads `bytes` of output; how long that took.
async fn take_output(peer: &mut Peer, channel: i32, bytes: usize) -> Duration {
    let begin = Instant::now();
    let mut taken = 0;
    peer.until("output flows", |command| {
        taken += output_of(command, channel).map_or(0, str::len);
        taken >= bytes
    })
    .await;
    begin.elapsed()
}

/// Reads output for so long; megabytes in a second.
async fn rate(peer: &mut Peer, channel: i32, duration: Duration) -> f64 {
    let begin = Instant::now();
    let mut taken = 0;
    peer.until("output flows", |command| {
        taken += output_of(command, channel).map_or(0, str::len);
        begin.elapsed() >= duration
    })
    .await;
    taken as f64 / 1e6 / begin.elapsed().as_secs_f64()
}

#[tokio::test]
async fn one_stuck_member_of_a_flooding_shell_is_skipped_and_brought_back() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let (mut reader, mut stuck) = (agent.client().await, Raw::narrow(&agent).await);
    let shell = reader.shell("shared").await;
    reader.type_in(shell, "yes 'a line of text that is neither long nor short, over and over again'\n").await;
    let stuck_for = Duration::from_secs(size(10, 60) as u64);
    take_output(&mut reader, shell, MIB).await;
    let alone = rate(&mut reader, shell, stuck_for / 5).await;

    assert_eq!(stuck.open_channel("shell", "shared").await, shell);
    // The first half has the wait until it is skipped in it.
    rate(&mut reader, shell, stuck_for / 2).await;
    let half = agent.rss_bytes();
    let beside_it = rate(&mut reader, shell, stuck_for / 2).await;
    eprintln!("{alone:.0} MB/s alone, {beside_it:.0} MB/s beside a stuck member");
    assert!(agent.rss_bytes() < half + SLACK_BYTES, "{} -> {}", half >> 20, agent.rss_bytes() >> 20);
    // The aim is nine tenths; this is for a machine that does something else as well.
    assert!(beside_it > alone / 4.0, "{beside_it} MB/s beside a stuck member, {alone} MB/s alone");

    reader.type_in(shell, "\x03").await;
    let mut text = String::new();
    let catch_up = async {
        while !text.contains("of output skipped") {
            let command = stuck.next().await.expect("it is not dropped");
            text += output_of(&command, shell).unwrap_or_default();
        }
        text.clear();
        reader.type_in(shell, "echo af''terwards\n").await;
        while !text.contains("afterwards") {
            text += output_of(&stuck.next().await.unwrap(), shell).unwrap_or_default();
        }
    };
    within("it is brought back", LATE, catch_up).await;
    assert!(text.contains("over and over again"), "with what stood there last: {text:?}");
    reader.output_until(shell, "afterwards").await;
}

/// Whether `text` is the lines 1 to `last`, each once, from wherever "1" begins.
fn counts_to(text: &str, last: usize) -> Result<(), String> {
    let mut expected = 1;
    for line in text.lines() {
        if line.trim() == expected.to_string() {
            expected += 1;
        } else if expected > 1 && expected <= last {
            return Err(format!("{line:?} instead of {expected}"));
        }
    }
    if expected == last + 1 { Ok(()) } else { Err(format!("ends before {expected}")) }
}

#[tokio::test]
async fn a_lone_member_that_stops_reading_loses_nothing() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let last = size(1_500_000, 20_000_000);
    let mut raw = Raw::narrow(&agent).await;
    let shell = raw.open_channel("shell", "").await;
    let line = format!("stty -echo; PS1=; echo; seq 1 {last}; echo en''ded\n");
    raw.command(shell, "", Some(Body::Input(line))).await.unwrap();
    let mut seq = Vec::new();
    eventually("seq runs", SOON, || {
        seq = named(&agent.programs(), "seq 1");
        !seq.is_empty()
    })
    .await;
    let held_at = settled("seq is held back", LATE, || wrote_bytes(seq[0])).await;
    assert!((held_at as usize) < 7 * last / 2, "held back long before its end, not after {held_at} bytes");
    assert!(agent.rss_bytes() < 32 << 20, "{} MiB", agent.rss_bytes() >> 20);
    let mut text = String::new();
    let read = async {
        while !text[text.len().saturating_sub(20)..].contains("ended") {
            text += output_of(&raw.next().await.unwrap(), shell).unwrap_or_default();
        }
    };
    within("everything comes", LATE, read).await;
    let begin = text.find("\n1\r").unwrap_or(0);
    counts_to(&text[begin..], last).unwrap();
}

/// `seq` through exec, for whom nobody is skipped.
fn seq(last: usize) -> Body {
    Body::Exec(Exec { args: vec!["seq".into(), "1".into(), last.to_string()], ..Exec::default() })
}

#[tokio::test]
async fn a_lone_member_of_an_exec_that_pauses_loses_nothing() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let last = size(1_500_000, 20_000_000);
    let mut raw = Raw::narrow(&agent).await;
    let exec = raw.open_channel("exec", "").await;
    raw.command(exec, "run", Some(seq(last))).await.unwrap();
    let mut pids = Vec::new();
    eventually("seq runs", SOON, || {
        pids = named(&agent.programs(), "seq 1");
        !pids.is_empty()
    })
    .await;
    settled("seq is held back", LATE, || wrote_bytes(pids[0])).await;
    let mut text = String::new();
    let read = async {
        loop {
            let command = raw.next().await.expect("it is not dropped");
            text += output_of(&command, exec).unwrap_or_default();
            if command.r#ref == "run" {
                return command;
            }
        }
    };
    let answer = within("everything comes", LATE, read).await;
    assert!(matches!(answer.body, Some(Body::Ok(_))), "{answer:?}");
    counts_to(&text, last).unwrap();
}

#[tokio::test]
async fn a_stuck_member_of_an_exec_is_dropped_and_the_program_goes_on() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::with(&["--stall-timeout", "1"]).await;
    let (mut reader, mut stuck) = (agent.client().await, Raw::narrow(&agent).await);
    let exec = reader.open("exec", "shared").await;
    assert_eq!(stuck.open_channel("exec", "shared").await, exec);
    let last = size(2_000_000, 20_000_000);
    let mut expected = 0;
    for n in 1..=last {
        expected += n.ilog10() as usize + 2;
    }
    let before = agent.rss_bytes();
    reader.send(exec, seq(last)).await;
    let mut taken = 0;
    let stopped = Body::State(pid1_sdk::api::State::Stopped.into());
    reader
        .until("the program goes on for the others", |command| {
            taken += output_of(command, exec).map_or(0, str::len);
            command.body.as_ref() == Some(&stopped)
        })
        .await;
    assert_eq!(taken, expected);
    assert!(agent.rss_bytes() < before + (16 << 20), "{} -> {}", before >> 20, agent.rss_bytes() >> 20);
    let end = async { while stuck.next_unbounded().await.is_some() {} };
    within("the stuck one is dropped", LATE, end).await;
    eventually("the log says why", SOON, || agent.log().contains("took nothing for 1s")).await;
}

#[tokio::test]
async fn stuck_shells_hold_back_no_other_shell() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut stuck = Vec::new();
    for _ in 0..5 {
        let mut raw = Raw::narrow(&agent).await;
        let shell = raw.open_channel("shell", "").await;
        raw.command(shell, "", Some(Body::Input("yes\n".into()))).await.unwrap();
        stuck.push(raw);
    }
    let mut reader = agent.client().await;
    let shell = reader.shell("").await;
    reader.type_in(shell, "yes\n").await;
    take_output(&mut reader, shell, 5 * MIB).await;
    let half = agent.rss_bytes();
    take_output(&mut reader, shell, 5 * MIB).await;
    assert!(agent.rss_bytes() < half + SLACK_BYTES);
    drop(stuck);
    eventually("their shells end with them", SOON, || named(&agent.programs(), "yes").len() == 1).await;
}

/// The same for `process`: a member that does not read holds the program for the others only so long.
#[tokio::test]
async fn a_stuck_member_of_a_process_is_dropped_and_the_program_goes_on() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::with(&["--stall-timeout", "1"]).await;
    let (mut reader, mut stuck) = (agent.client().await, Raw::narrow(&agent).await);
    let channel = reader.open("process", "shared").await;
    assert_eq!(stuck.open_channel("process", "shared").await, channel);
    let bytes = size(50 * MIB, 1 << 30) as u64;
    let before = agent.rss_bytes();
    let start = process_start(&["sh", "-c", &format!("read line; yes | head -c {bytes}")]);
    reader.ask(channel, Body::ProcessStart(start)).await;
    stuck.ask(channel, "attach", Some(Body::ProcessAttach(Default::default()))).await;
    let go = ProcessStdin { data: "go\n".into(), ..ProcessStdin::default() };
    reader.send(channel, Body::ProcessStdin(go)).await;
    let mut taken = 0;
    let ended = |body: Option<&Body>| matches!(body, Some(Body::ProcessExited(_)));
    reader
        .until("the program goes on for the others", |command| {
            if let Some(Body::ProcessOutput(output)) = &command.body {
                assert_eq!(output.offset, taken);
                taken += output.data.len() as u64;
            }
            ended(command.body.as_ref())
        })
        .await;
    assert_eq!(taken, bytes);
    assert!(agent.rss_bytes() < before + (24 << 20), "{} -> {}", before >> 20, agent.rss_bytes() >> 20);
    drop(stuck);
}

/// Whoever looks on from another channel never slows a program down, and may read what it wrote much later.
#[tokio::test]
async fn a_stuck_onlooker_holds_nothing_back_and_catches_up() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let (mut owner, mut onlooker) = (agent.client().await, Raw::narrow(&agent).await);
    let channel = owner.open("process", "").await;
    let last = size(3_000_000, 30_000_000);
    let start = process_start(&["sh", "-c", &format!("read line; exec seq 1 {last}")]);
    let Body::ProcessStarted(started) = owner.ask(channel, Body::ProcessStart(start)).await else { panic!() };
    let view = onlooker.open_channel("process", "").await;
    let attach = ProcessAttach { target: Some(Target::Id(started.id)), ..ProcessAttach::default() };
    onlooker.ask(view, "attach", Some(Body::ProcessAttach(attach))).await;
    let go = ProcessStdin { data: "go\n".into(), ..ProcessStdin::default() };
    owner.send(channel, Body::ProcessStdin(go)).await;
    let ended = |body: Option<&Body>| matches!(body, Some(Body::ProcessExited(_)));
    let begin = Instant::now();
    owner.until("the program ends", |command| ended(command.body.as_ref())).await;
    // 10 s is when somebody who does hold a program is given up.
    assert!(begin.elapsed() < Duration::from_secs(9), "{:?}", begin.elapsed());
    let mut text = Vec::new();
    let read = async {
        loop {
            match onlooker.next().await.expect("it is not dropped").body {
                Some(Body::ProcessOutput(output)) => {
                    assert_eq!(output.offset, text.len() as u64);
                    text.extend_from_slice(&output.data);
                }
                Some(Body::ProcessExited(_)) => return,
                other => panic!("{other:?}"),
            }
        }
    };
    within("it catches up", LATE, read).await;
    counts_to(std::str::from_utf8(&text).unwrap(), last).unwrap();
}
