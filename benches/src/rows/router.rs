//! Programs by TaskCommandRouter, beside what tonic itself costs: a bare server in a process of its own.

use std::path::Path;

use anyhow::{Result, bail};

use crate::agent::Agent;
use crate::bare;
use crate::machine;
use crate::router::Router;
use crate::rows::Report;
use crate::rows::exec::TRUE;
use crate::rows::grpc::{HEAD, latencies};
use crate::setup::{Setup, program};
use crate::stand_in::StandIn;
use crate::table::{Row, Target};

/// Programs that are read at once, and how much of each.
const READ_AT_ONCE: usize = 300;
const SHARE_BYTES: u64 = 256 << 10;

/// What each of those that have ended has printed: more than stays in memory.
const PRINTED: &str = "100000";

pub fn run(setup: &Setup) -> Result<Report> {
    let bytes = setup.size(64 << 20);
    let (stand_in, port) = StandIn::serve(setup, &["router", &bytes.to_string()])?;
    let agent = Agent::start(setup)?;
    let mut ours = Router::to(agent.address)?;
    let mut bare = Router::to(([127, 0, 0, 1], port).into())?;

    let times = setup.size(400);
    let mut start = Row::new("TaskCommandRouter, start and wait, p50", "us", Target::RatioAtMost(1.5));
    setup.each_round(
        &mut (),
        |()| latencies(times, || ours.run(&[TRUE])),
        |()| {
            let spawns = bare::spawns(times, || program(Path::new(TRUE)))?;
            // Both calls are made.
            Ok(spawns.p50() + latencies(times, || bare.run(&[]))?.p50())
        },
        |ours, limit| start.add(ours.p50(), *limit),
    )?;
    let mut whole = Row::new("... in all", "us", Target::AtMost(2000.0));
    whole.add_ours(start.median());

    let before = machine::resident_bytes(agent.pid())?;
    let count = bytes.to_string();
    let mut rate = Row::new("TaskCommandRouter, stdout", "MB/s", Target::RatioAtLeast(0.6));
    setup.each_round(
        &mut (),
        |()| megabytes_per_second(&mut ours, &[HEAD, "-c", &count, "/dev/zero"], bytes),
        |()| megabytes_per_second(&mut bare, &[], bytes),
        |ours, limit| rate.add(*ours, *limit),
    )?;
    let mut memory = Row::new("... what the agent grows by at most", "MB", Target::AtMost(8.0));
    let peak = machine::peak_resident_bytes(agent.pid())?;
    memory.add_ours(peak.saturating_sub(before) as f64 / 1e6);

    let ended = setup.size(1000);
    let mut kept =
        Row::new(format!("{ended} programs that have ended, memory of each"), "KB", Target::AtMost(10.24));
    let resident = machine::resident_bytes(agent.pid())?;
    for _ in 0..ended {
        ours.run(&[HEAD, "-c", PRINTED, "/dev/zero"])?;
    }
    let grown = machine::resident_bytes(agent.pid())?.saturating_sub(resident);
    kept.add_ours(grown as f64 / 1e3 / ended as f64);

    let mut share = Row::new(
        format!("{READ_AT_ONCE} programs read at once, the slowest's part of the mean"),
        "",
        Target::None,
    );
    let (least, mean) = ours.share(&["/usr/bin/yes"], READ_AT_ONCE, SHARE_BYTES)?;
    share.add_ours(least as f64 / mean);
    drop(stand_in);
    Ok(vec![start, whole, rate, memory, kept, share].into())
}

fn megabytes_per_second(router: &mut Router, args: &[&str], bytes: u64) -> Result<f64> {
    let (came, time) = router.read(args)?;
    if came != bytes {
        bail!("{came} bytes came instead of {bytes}");
    }
    Ok(bytes as f64 / 1e6 / time.as_secs_f64())
}
