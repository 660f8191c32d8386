//! A program that prints much into a pipe, through `exec` and through `process`, beside a bare loop of 64 KiB reads.
//!
//! The client counts and skims; `process` says where each piece begins, so a lost or doubled one is seen.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use pid1_sdk::api::{ProcessStart, command::Body};

use crate::agent::Agent;
use crate::bare::{self, Flow};
use crate::client::Client;
use crate::frames;
use crate::rows::Report;
use crate::rows::exec::exec;
use crate::setup::{Setup, program};
use crate::skim::{Scratch, Skimmer};
use crate::table::{Row, Target};

const HEAD: &str = "/usr/bin/head";

pub fn run(setup: &Setup) -> Result<Report> {
    let agent = Agent::start(setup)?;
    let bytes = setup.size(512 << 20);
    let count = bytes.to_string();
    let args = [HEAD, "-c", &count, "/dev/zero"];
    let start = ProcessStart { args: args.map(str::to_owned).into(), ..ProcessStart::default() };
    let mut rows = Vec::new();
    for (service, request) in [("exec", exec(&args)), ("process", Body::ProcessStart(start))] {
        let mut rate = Row::new(format!("{service} stdout"), "MB/s", Target::RatioAtLeast(0.75));
        let mut cpu = Row::new(format!("{service} stdout, CPU per GB"), "s", Target::AtMost(0.9));
        setup.each_round(
            &mut Scratch::new(),
            |scratch| through(&agent, service, request.clone(), bytes, scratch),
            |_| {
                let mut head = program(Path::new(HEAD));
                head.args(&args[1..]);
                bare::pipe(head)
            },
            |ours, limit| {
                rate.add(ours.rate(), limit.rate());
                cpu.add(ours.cpu_per_gb(), limit.cpu_per_gb());
            },
        )?;
        rows.extend([rate, cpu]);
    }
    Ok(rows.into())
}

/// From the request to what says that the program has ended.
fn through(agent: &Agent, service: &str, request: Body, bytes: u64, scratch: &mut Scratch) -> Result<Flow> {
    let mut client = Client::connect(agent)?;
    let channel = client.open(service, "")?;
    let before = agent.cpu()?;
    let started = Instant::now();
    client.send(channel, "run", request)?;
    let mut skimmer = Skimmer::new(client);
    let mut came = 0;
    while let Some(message) = skimmer.next(scratch, true)? {
        match message.field {
            frames::OUTPUT => came += message.output,
            frames::PROCESS_OUTPUT if message.offset == came => came += message.output,
            frames::PROCESS_OUTPUT => bail!("output at {} instead of {came}", message.offset),
            frames::OK | frames::PROCESS_EXITED => break,
            frames::ERROR => bail!("{service} failed"),
            _ => {}
        }
    }
    if came != bytes {
        bail!("{came} bytes came through {service} instead of {bytes}");
    }
    Ok(Flow { bytes, time: started.elapsed(), cpu: agent.cpu()? - before })
}
