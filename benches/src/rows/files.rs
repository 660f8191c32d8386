//! The workspace's files through `gcsfiles`, beside loops that make the same system calls, and beside pings where what is
//! asked is what a request costs.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use pid1_sdk::Bytes;
use pid1_sdk::api::{File as Request, Ping, command::Body};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::agent::Agent;
use crate::client::Client;
use crate::frames;
use crate::machine::{self, Pinned};
use crate::rows::Report;
use crate::setup::Setup;
use crate::table::{Latencies, Row, Target};

const SMALL_BYTES: usize = 1 << 10;
const ENTRIES: usize = 5000;

/// Requests that are unanswered at a time: below what one channel takes before it makes its clients wait.
const AHEAD: u64 = 48;

/// Files that are written in turn.
const TURNS: u64 = 64;

/// An agent, a client of it, and a folder of the same disk for the bare loops.
struct Both {
    client: Client,
    channel: i32,
    root: PathBuf,
    bare: PathBuf,
}

pub fn run(setup: &Setup) -> Result<Report> {
    let agent = Agent::start(setup)?;
    let mut client = Client::connect(&agent)?.with_large_buffer();
    let channel = client.open("gcsfiles", "")?;
    let bare = setup.folder().join("bare");
    fs::create_dir_all(&bare)?;
    let mut both = Both { client, channel, root: agent.root(), bare };
    fs::write(both.root.join("small"), vec![b'x'; SMALL_BYTES])?;
    let mut rows = Vec::new();
    if let Some((one, other)) = machine::two_cores()? {
        // All of the agent's threads that there are now; those for files come later and go where they like.
        let here = Pinned::to(one)?;
        machine::pin(Some(agent.pid()), other)?;
        rows.extend(small_reads(setup, &mut both)?);
        drop(here);
    }
    rows.extend(small_writes(setup, &mut both)?);
    rows.push(listing(setup, &mut both)?);
    drop((both, agent));
    rows.extend(large(setup)?);
    Ok(rows.into())
}

fn file(path: &str, content: Bytes) -> Request {
    Request { path: path.to_owned(), content, ..Request::default() }
}

fn small_reads(setup: &Setup, both: &mut Both) -> Result<Vec<Row>> {
    let mut single = Row::new("file read 1 KiB RTT p50, beside a ping", "us", Target::RatioAtMost(1.2));
    let mut flight = Row::new("file reads 1 KiB in flight, beside pings", "k/s", Target::RatioAtLeast(0.5));
    let (times, many) = (setup.size(20_000), setup.size(200_000));
    let read = |_| Body::Read(file("small", Bytes::new()));
    let ping = |_| Body::Ping(Ping {});
    setup.each_round(
        both,
        |both| Ok((one_by_one(both, both.channel, times, read)?, in_flight(both, both.channel, many, read)?)),
        |both| Ok((one_by_one(both, 0, times, ping)?, in_flight(both, 0, many, ping)?)),
        |ours, limit| {
            single.add(ours.0.p50(), limit.0.p50());
            flight.add(ours.1 / 1e3, limit.1 / 1e3);
        },
    )?;
    Ok(vec![single, flight])
}

fn small_writes(setup: &Setup, both: &mut Both) -> Result<Vec<Row>> {
    let mut single = Row::new("file write 1 KiB RTT p50, beside a ping and such a write", "us", Target::None);
    let mut flight =
        Row::new("file writes 1 KiB in flight, beside the same calls", "k/s", Target::RatioAtLeast(0.5));
    let (times, many) = (setup.size(3000), setup.size(16_000));
    let content = Bytes::from(vec![b'y'; SMALL_BYTES]);
    let write = |nth: u64| Body::Write(file(&format!("file{}", nth % TURNS), content.clone()));
    setup.each_round(
        both,
        |both| {
            Ok((one_by_one(both, both.channel, times, write)?, in_flight(both, both.channel, many, write)?))
        },
        |both| {
            let pings = one_by_one(both, 0, times, |_| Body::Ping(Ping {}))?;
            let (each, rate) = bare_writes(&both.bare, many)?;
            Ok((pings.p50() + each.p50(), rate))
        },
        |ours, limit| {
            single.add(ours.0.p50(), limit.0);
            flight.add(ours.1 / 1e3, limit.1 / 1e3);
        },
    )?;
    Ok(vec![single, flight])
}

/// The calls that replace a file in one step, and nothing else.
fn bare_writes(folder: &Path, times: u64) -> Result<(Latencies, f64)> {
    let dir = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let content = vec![b'y'; SMALL_BYTES];
    let mode = Mode::from_raw_mode(0o644);
    let mut latencies = Latencies::new()?;
    let started = Instant::now();
    for nth in 0..times {
        let begun = Instant::now();
        let mut file = File::from(rustix::fs::openat(
            &dir,
            ".",
            OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
            mode,
        )?);
        file.write_all(&content)?;
        let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, nameless, &dir, "temporary", AtFlags::SYMLINK_FOLLOW)?;
        rustix::fs::renameat(&dir, "temporary", &dir, format!("file{}", nth % TURNS))?;
        drop(file);
        latencies.add(begun.elapsed())?;
    }
    Ok((latencies, times as f64 / started.elapsed().as_secs_f64()))
}

fn listing(setup: &Setup, both: &mut Both) -> Result<Row> {
    let mut row =
        Row::new("readdir of 5,000 files, beside getdents and stat", "ms", Target::RatioAtMost(1.5));
    let folder = both.root.join("many");
    fs::create_dir_all(&folder)?;
    for number in 0..ENTRIES {
        File::create(folder.join(format!("a-file-of-the-folder-{number}")))?;
    }
    let times = setup.size(320).max(20);
    setup.each_round(
        both,
        |both| one_by_one(both, both.channel, times, |_| Body::Readdir(file("many", Bytes::new()))),
        |both| {
            let mut latencies = Latencies::new()?;
            for _ in 0..times {
                let begun = Instant::now();
                let mut found = 0;
                for entry in fs::read_dir(both.root.join("many"))? {
                    found += entry?.metadata()?.len() as usize + 1;
                }
                anyhow::ensure!(found >= ENTRIES, "the folder has {found} entries");
                latencies.add(begun.elapsed())?;
            }
            Ok(latencies)
        },
        |ours, limit| row.add(ours.p50() / 1e3, limit.p50() / 1e3),
    )?;
    Ok(row)
}

/// A file of 100 MiB each way, each with an agent of its own, for whose memory it is.
fn large(setup: &Setup) -> Result<Vec<Row>> {
    let size = if setup.quick { 8 << 20 } else { 100 << 20 };
    let megabytes = size as f64 / 1e6;
    let mut rows = Vec::new();
    for (verb, bound) in [("read", 0.45), ("write", 0.35)] {
        let mut rate = Row::new(
            format!("file {verb} of 100 MiB, beside the bare loop"),
            "MB/s",
            Target::RatioAtLeast(bound),
        );
        let mut memory =
            Row::new(format!("... agent's peak memory to {verb} it"), "MB", Target::RatioAtMost(1.5));
        let agent = Agent::start(setup)?;
        let mut client = Client::connect(&agent)?.with_large_buffer();
        let channel = client.open("gcsfiles", "")?;
        let content = Bytes::from(vec![b'z'; size]);
        let (path, bare) = (agent.root().join("large"), setup.folder().join("bare-large"));
        for path in [&path, &bare] {
            fs::write(path, &content)?;
        }
        let idle = machine::resident_bytes(agent.pid())?;
        let body = match verb {
            "read" => Body::Read(file("large", Bytes::new())),
            _ => Body::Write(file("large", content.clone())),
        };
        let mut request = Vec::new();
        frames::put(&mut request, channel, "large", body);
        setup.each_round(
            &mut client,
            |client| {
                let begun = Instant::now();
                client.send_frames(&request)?;
                while client.next()?.reference != "large" {}
                Ok(begun.elapsed())
            },
            |_| {
                let begun = Instant::now();
                match verb {
                    "read" => {
                        let mut all = Vec::with_capacity(size);
                        File::open(&bare)?.read_to_end(&mut all)?;
                    }
                    _ => {
                        let temporary = bare.with_extension("temporary");
                        File::create(&temporary)?.write_all(&content)?;
                        fs::rename(&temporary, &bare)?;
                    }
                }
                Ok(begun.elapsed())
            },
            |ours: &Duration, limit: &Duration| {
                rate.add(megabytes / ours.as_secs_f64(), megabytes / limit.as_secs_f64());
            },
        )?;
        let peak = machine::peak_resident_bytes(agent.pid())?.saturating_sub(idle);
        memory.add(peak as f64 / 1e6, megabytes);
        rows.extend([rate, memory]);
    }
    Ok(rows)
}

fn one_by_one(both: &mut Both, channel: i32, times: u64, body: impl Fn(u64) -> Body) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for nth in 0..times {
        let begun = Instant::now();
        both.client.ask(channel, body(nth))?;
        latencies.add(begun.elapsed())?;
    }
    Ok(latencies)
}

/// How many per second, when many are asked for at once. What is sent is put together beforehand.
fn in_flight(both: &mut Both, channel: i32, wanted: u64, body: impl Fn(u64) -> Body) -> Result<f64> {
    let burst = AHEAD / 2;
    let bursts: Vec<Vec<u8>> = (0..8)
        .map(|which| {
            let mut frames = Vec::new();
            for nth in 0..burst {
                frames::put(&mut frames, channel, "f", body(which * burst + nth));
            }
            frames
        })
        .collect();
    let wanted = wanted / burst * burst;
    let (mut sent, mut answered) = (0, 0);
    let begun = Instant::now();
    while answered < wanted {
        while sent < wanted && sent + burst <= answered + AHEAD {
            both.client.send_frames(&bursts[(sent / burst % 8) as usize])?;
            sent += burst;
        }
        let message = both.client.next()?;
        anyhow::ensure!(message.field != frames::ERROR, "{}", String::from_utf8_lossy(message.body));
        answered += u64::from(message.reference == "f");
    }
    Ok(answered as f64 / begun.elapsed().as_secs_f64())
}
