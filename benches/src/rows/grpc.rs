//! Programs by ExecService, beside what tonic itself costs: a bare server in a process of its own.

use std::path::Path;

use anyhow::{Result, bail};

use crate::agent::Agent;
use crate::bare;
use crate::grpc::Calls;
use crate::machine;
use crate::rows::Report;
use crate::rows::exec::TRUE;
use crate::setup::{Setup, program};
use crate::stand_in::StandIn;
use crate::table::{Latencies, Row, Target};

pub const HEAD: &str = "/usr/bin/head";

/// Calls that are open at once.
const CALLS: usize = 300;

/// What each of them is to get.
const SHARE_BYTES: u64 = 256 << 10;

pub fn run(setup: &Setup) -> Result<Report> {
    let bytes = setup.size(64 << 20);
    let (stand_in, port) = StandIn::serve(setup, &["grpc", &bytes.to_string()])?;
    let agent = Agent::start(setup)?;
    let mut ours = Calls::to(agent.address)?;
    let mut bare = Calls::to(([127, 0, 0, 1], port).into())?;

    let times = setup.size(400);
    let mut start = Row::new("ExecService, start and exit, p50", "us", Target::RatioAtMost(1.5));
    setup.each_round(
        &mut (),
        |()| latencies(times, || Ok(ours.run(&[TRUE])?.time)),
        |()| {
            let spawns = bare::spawns(times, || program(Path::new(TRUE)))?;
            Ok(spawns.p50() + latencies(times, || bare.round_trip())?.p50())
        },
        |ours, limit| start.add(ours.p50(), *limit),
    )?;

    let before = machine::resident_bytes(agent.pid())?;
    let count = bytes.to_string();
    let mut rate = Row::new("ExecService, stdout", "MB/s", Target::RatioAtLeast(0.6));
    setup.each_round(
        &mut (),
        |()| megabytes_per_second(&mut ours, &[HEAD, "-c", &count, "/dev/zero"], bytes),
        |()| megabytes_per_second(&mut bare, &[], bytes),
        |ours, limit| rate.add(*ours, *limit),
    )?;
    let mut memory = Row::new("... what the agent grows by at most", "MB", Target::AtMost(4.0));
    let peak = machine::peak_resident_bytes(agent.pid())?;
    memory.add_ours(peak.saturating_sub(before) as f64 / 1e6);

    let mut share =
        Row::new(format!("{CALLS} calls at once, the slowest's part of the mean"), "", Target::None);
    let (least, mean) = ours.share(&["/usr/bin/yes"], CALLS, SHARE_BYTES)?;
    share.add_ours(least as f64 / mean);
    drop(stand_in);
    Ok(vec![start, rate, memory, share].into())
}

pub fn latencies(times: u64, mut once: impl FnMut() -> Result<std::time::Duration>) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for _ in 0..times {
        latencies.add(once()?)?;
    }
    Ok(latencies)
}

fn megabytes_per_second(calls: &mut Calls, args: &[&str], bytes: u64) -> Result<f64> {
    let came = calls.run(args)?;
    if came.bytes != bytes {
        bail!("{} bytes came instead of {bytes}", came.bytes);
    }
    Ok(bytes as f64 / 1e6 / came.time.as_secs_f64())
}
