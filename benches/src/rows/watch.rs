//! Watching: an event's way to a client beside a bare inotify, many folders, and a storm.

use std::fs;
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pid1_sdk::api::{File, SubscribeFile, command::Body};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

use crate::agent::Agent;
use crate::client::Client;
use crate::frames::FILE_EVENT;
use crate::rows::Report;
use crate::setup::{Setup, pause};
use crate::table::{Latencies, Row, Target};

/// Longer than changes of a folder are gathered: each is the first of a quiet one.
const QUIET: Duration = Duration::from_millis(55);

/// Files in each folder of a large workspace.
const FILES: u64 = 10;

pub fn run(setup: &Setup) -> Result<Report> {
    let mut rows = latency(setup)?;
    rows.push(ready(setup)?);
    rows.extend(storm(setup)?);
    Ok(rows.into())
}

fn subscribe(paths: impl IntoIterator<Item = String>) -> Body {
    let files = paths.into_iter().map(|path| File { path, ..File::default() }).collect();
    Body::SubscribeFile(SubscribeFile { files })
}

fn latency(setup: &Setup) -> Result<Vec<Row>> {
    let agent = Agent::start(setup)?;
    let mut client = Client::connect(&agent)?;
    let channel = client.open("fsevents", "")?;
    client.ask(channel, subscribe([".".to_owned()]))?;
    let bare = setup.folder().join("watched");
    fs::create_dir_all(&bare)?;
    let watched = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watched, &bare, WatchFlags::CREATE | WatchFlags::DELETE)?;
    let mut buffer = vec![MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(watched, &mut buffer);
    let mut median = Row::new("file event to a client p50, beside bare inotify", "us", Target::AtMost(300.0));
    let mut tail = Row::new("... p99", "us", Target::AtMost(3000.0));
    let (times, root) = (setup.size(400), agent.root());
    setup.each_round(
        &mut (client, &mut reader),
        |(client, _)| events(&root, times, || client.next_of(channel, FILE_EVENT).map(drop)),
        |(_, reader)| {
            events(&bare, times, || {
                reader.next()?;
                Ok(())
            })
        },
        |ours, limit| {
            median.add(ours.p50(), limit.p50());
            tail.add(ours.p99(), limit.p99());
        },
    )?;
    Ok(vec![median, tail])
}

/// From before a folder is made, or removed, until that is known.
fn events(place: &Path, times: u64, mut known: impl FnMut() -> Result<()>) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    let path = place.join("comes-and-goes");
    for turn in 0..times {
        pause(QUIET);
        let started = Instant::now();
        if turn % 2 == 0 {
            fs::create_dir(&path)?
        } else {
            fs::remove_dir(&path)?
        }
        known()?;
        latencies.add(started.elapsed())?;
    }
    Ok(latencies)
}

fn ready(setup: &Setup) -> Result<Row> {
    let folders = setup.size(100_000) / FILES;
    let name = format!("{} files in {folders} folders watched", folders * FILES);
    let mut row = Row::new(name, "s", Target::AtMost(2.0));
    let agent = Agent::start(setup)?;
    let paths: Vec<String> =
        (0..folders).map(|number| format!("d{}/e{}", number / 100, number % 100)).collect();
    for path in &paths {
        let folder = agent.root().join(path);
        fs::create_dir_all(&folder)?;
        (0..FILES).try_for_each(|number| fs::write(folder.join(number.to_string()), ""))?;
    }
    for _ in 0..setup.rounds {
        // With its session all that it watched is forgotten.
        let mut client = Client::connect(&agent)?;
        let channel = client.open("fsevents", "")?;
        let started = Instant::now();
        client.ask(channel, subscribe(paths.iter().cloned()))?;
        row.add_ours(started.elapsed().as_secs_f64());
    }
    Ok(row)
}

fn storm(setup: &Setup) -> Result<Vec<Row>> {
    let count = setup.size(50_000);
    let mut messages = Row::new(format!("messages of {count} new files"), "per file", Target::AtMost(2.0));
    let mut bytes = Row::new("... bytes", "per file", Target::None);
    let mut time = Row::new("... until all are known, beside making them", "s", Target::None);
    let agent = Agent::start(setup)?;
    for round in 0..setup.rounds {
        let mut client = Client::connect(&agent)?.with_large_buffer();
        let channel = client.open("fsevents", "")?;
        let folder = agent.root().join(format!("storm{round}"));
        fs::create_dir(&folder)?;
        client.ask(channel, subscribe([format!("storm{round}")]))?;
        let started = Instant::now();
        for number in 0..count {
            fs::write(folder.join(format!("file-{number}")), "")?;
        }
        let made = started.elapsed();
        // Not more than one may wait for the next turn.
        fs::create_dir(folder.join("last"))?;
        let (mut told, mut told_bytes) = (0u64, 0usize);
        loop {
            let event = client.next_of(channel, FILE_EVENT).context("the last event has not come")?;
            told += 1;
            told_bytes += event.len();
            if event.windows(4).any(|four| four == b"last") {
                break;
            }
        }
        messages.add_ours(told as f64 / count as f64);
        bytes.add_ours(told_bytes as f64 / count as f64);
        time.add(started.elapsed().as_secs_f64(), made.as_secs_f64());
    }
    Ok(vec![messages, bytes, time])
}
