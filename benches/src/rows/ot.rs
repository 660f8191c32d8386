//! Documents: a change and its answer beside a ping, four clients that do not wait for answers, and what a document takes.
//! The store is on, as it always is: nobody is told of a change before it is there.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pid1_sdk::api::ot_rune_transform_op::Op;
use pid1_sdk::api::{File, OtLinkFile, OtPacket, OtRuneTransformOp, Ping, command::Body};

use crate::agent::Agent;
use crate::client::Client;
use crate::frames;
use crate::machine::{self, Pinned};
use crate::rows::Report;
use crate::setup::{Setup, pause};
use crate::table::{Latencies, Row, Target};

const CLIENTS: u64 = 4;

/// Changes of one client that are unanswered at a time: less than its channel takes before it makes it wait.
const AHEAD: u64 = 48;

/// The texts.
const SMALL_BYTES: usize = 1 << 10;
const LARGE_BYTES: usize = 1 << 20;

pub fn run(setup: &Setup) -> Result<Report> {
    let mut rows = single(setup)?;
    rows.extend(together(setup, "1 KB", SMALL_BYTES, 200_000, 50.0)?);
    rows.extend(together(setup, "1 MB", LARGE_BYTES, 20_000, 5.0)?);
    rows.extend(size(setup)?);
    Ok(rows.into())
}

/// Binds a channel of its own to a file of so many bytes; the version it is at.
fn link(client: &mut Client, name: &str) -> Result<i32> {
    let channel = client.open("ot", &format!("ot:{name}"))?;
    let file = Some(File { path: name.to_owned(), ..File::default() });
    client.ask(channel, Body::OtLinkFile(OtLinkFile { file, ..OtLinkFile::default() }))?;
    Ok(channel)
}

fn text(bytes: usize) -> String {
    "A line of a text that somebody edits.\n".chars().cycle().take(bytes).collect()
}

/// Replaces one character: the text stays as long as it is.
fn replace(base: u32, at: u32) -> Body {
    let steps = [Op::Skip(at + 1), Op::Delete(1), Op::Insert("x".to_owned())];
    let ops = steps.map(|op| OtRuneTransformOp { op: Some(op) }).to_vec();
    Body::Ot(OtPacket { spooky_version: base, ops, ..OtPacket::default() })
}

fn single(setup: &Setup) -> Result<Vec<Row>> {
    let mut rate =
        Row::new("ot change of 1 KB and its answer, beside a ping", "k/s", Target::RatioAtLeast(0.85));
    let mut tail = Row::new("... answer p99", "ms", Target::AtMost(1.0));
    let agent = Agent::start(setup)?;
    fs::write(agent.root().join("single"), text(SMALL_BYTES))?;
    let mut client = Client::connect(&agent)?.with_large_buffer();
    let channel = link(&mut client, "single")?;
    let here = match machine::two_cores()? {
        Some((one, other)) => {
            machine::pin(Some(agent.pid()), other)?;
            Some(Pinned::to(one)?)
        }
        None => None,
    };
    let (times, mut version) = (setup.size(20_000), 1);
    setup.each_round(
        &mut client,
        |client| {
            let mut latencies = Latencies::new()?;
            for nth in 0..times {
                let begun = Instant::now();
                client.ask(channel, replace(version, u32::try_from(nth % 1000)?))?;
                latencies.add(begun.elapsed())?;
                version += 1;
            }
            Ok(latencies)
        },
        |client| {
            let mut latencies = Latencies::new()?;
            for _ in 0..times {
                let begun = Instant::now();
                client.ask(0, Body::Ping(Ping {}))?;
                latencies.add(begun.elapsed())?;
            }
            Ok(latencies)
        },
        |ours, limit| {
            rate.add(1e3 / ours.p50(), 1e3 / limit.p50());
            tail.add_ours(ours.p99() / 1e3);
        },
    )?;
    drop(here);
    Ok(vec![rate, tail])
}

/// Four clients that each have many changes under way, and are told of those of all.
fn together(setup: &Setup, what: &str, bytes: usize, full: u64, target: f64) -> Result<Vec<Row>> {
    let mut rate =
        Row::new(format!("ot changes of four clients in flight, {what}"), "k/s", Target::AtLeast(target));
    let cpu_target = if bytes == SMALL_BYTES { Target::AtMost(40.0) } else { Target::None };
    let mut cpu = Row::new("... agent's CPU per change", "us", cpu_target);
    let each = setup.size(full) / CLIENTS;
    for _ in 0..setup.rounds {
        let agent = Agent::start(setup)?;
        fs::write(agent.root().join("shared"), text(bytes))?;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = Client::connect(&agent)?.with_large_buffer();
            let channel = link(&mut client, "shared")?;
            clients.push((client, channel));
        }
        let (before, begun) = (agent.cpu()?, Instant::now());
        thread::scope(|scope| {
            let start = |(client, channel)| scope.spawn(move || edit(client, channel, each));
            let running: Vec<_> = clients.into_iter().map(start).collect();
            running.into_iter().try_for_each(|one| one.join().expect("a client does not panic"))
        })?;
        let changes = (each * CLIENTS) as f64;
        rate.add_ours(changes / begun.elapsed().as_secs_f64() / 1e3);
        cpu.add_ours((agent.cpu()? - before).as_secs_f64() * 1e6 / changes);
    }
    Ok(vec![rate, cpu])
}

/// Sends so many changes, each based on what was last heard; until all are answered.
fn edit(mut client: Client, channel: i32, times: u64) -> Result<()> {
    let (mut sent, mut answered, mut version) = (0, 0, 1);
    let mut frames = Vec::new();
    while answered < times {
        frames.clear();
        while sent < times && sent < answered + AHEAD {
            frames::put(&mut frames, channel, "c", replace(version, u32::try_from(sent % 1000)?));
            sent += 1;
        }
        if !frames.is_empty() {
            client.send_frames(&frames)?;
        }
        // Half of what is under way: then many are sent at once.
        let until = (answered + AHEAD / 2).min(times);
        while answered < until {
            let message = client.next()?;
            ensure!(message.field != frames::ERROR, "{}", String::from_utf8_lossy(message.body));
            if message.field == frames::OT {
                version = frames::first_number(message.body).unwrap_or(version);
            }
            answered += u64::from(message.reference == "c");
        }
    }
    Ok(())
}

/// What a large document takes.
fn size(setup: &Setup) -> Result<Vec<Row>> {
    let mut opening = Row::new("ot: 10 MB opened", "ms", Target::AtMost(100.0));
    let mut memory = Row::new("... agent's memory, beside the text", "MB", Target::RatioAtMost(3.0));
    let bytes = if setup.quick { 1_000_000 } else { 10_000_000 };
    for _ in 0..setup.rounds {
        let agent = Agent::start(setup)?;
        fs::write(agent.root().join("large"), text(bytes))?;
        fs::write(agent.root().join("small"), "")?;
        let mut client = Client::connect(&agent)?.with_large_buffer();
        // What the first document costs besides its text.
        link(&mut client, "small")?;
        let idle = machine::resident_bytes(agent.pid())?;
        let begun = Instant::now();
        let channel = link(&mut client, "large")?;
        opening.add_ours(begun.elapsed().as_secs_f64() * 1e3);
        client.ask(channel, replace(1, 0))?;
        // What was on its way is freed when it has been sent.
        pause(Duration::from_secs(3));
        let now = machine::resident_bytes(agent.pid())?.saturating_sub(idle);
        memory.add(now as f64 / 1e6, bytes as f64 / 1e6);
    }
    Ok(vec![opening, memory])
}
