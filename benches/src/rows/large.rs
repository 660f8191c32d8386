//! Exec by an agent that is large: with up to 1 GiB resident, and with thousands of descriptors open. Nothing of it may
//! be felt in the time that a start takes.

use std::path::Path;

use anyhow::{Context, Result, bail};
use pid1_sdk::api::{ProcessStart, command::Body};

use crate::agent::Agent;
use crate::bare;
use crate::client::Client;
use crate::frames;
use crate::machine;
use crate::plot::Plot;
use crate::rows::Report;
use crate::rows::exec::{TRUE, on};
use crate::setup::{Setup, program};
use crate::stand_in;
use crate::table::{Row, Target};

/// What a `process` channel keeps in memory of what its program has written.
const KEPT_MIB: u64 = 4;

/// MiB that are resident besides the agent's own; without any it is only where the lines of the picture begin.
const STEPS: [u64; 4] = [0, 256, 512, 1024];

/// Idle connections, and what is open in this process besides them.
const CONNECTIONS: u64 = 9000;
const OTHER_DESCRIPTORS: u64 = 500;

/// Each takes up to tens of milliseconds.
const FORKS: u64 = 48;

/// A start as the client sees it must not take longer than with an ordinary agent. The rest is noise.
const AS_ORDINARY: Target = Target::RatioAtMost(1.15);

pub fn run(setup: &Setup) -> Result<Report> {
    let mut ordinary = Started::new(Agent::start(setup)?)?;
    let mut rows = Vec::new();
    let (mut ours, mut forked) = (Vec::new(), Vec::new());
    let mut large = Started::new(Agent::start(setup)?)?;
    let times = setup.size(400);
    for mib in STEPS.map(|mib| setup.size(mib)) {
        large.hold(mib)?;
        let mut row = Row::new(format!("exec p50 with {mib} MiB resident, beside itself"), "us", AS_ORDINARY);
        let mut bare = Row::new("fork", "ms", Target::None);
        setup.each_round(
            &mut (&mut large, &mut ordinary),
            |(large, _)| large.p50(times),
            |(_, ordinary)| Ok((ordinary.p50(times)?, fork(setup, mib)?)),
            |large, (ordinary, fork)| {
                row.add(*large, *ordinary);
                bare.add_ours(*fork);
            },
        )?;
        ours.push((mib as f64, row.median() / 1e3));
        forked.push((mib as f64, bare.median()));
        rows.extend((mib > 0).then_some(row));
    }
    drop(large);
    rows.extend(many_descriptors(setup, &mut ordinary, times)?);
    let plot = Plot {
        name: "exec-memory",
        title: "/bin/true, started by a process with much memory".to_owned(),
        along: "MiB resident",
        up: "ms until its end is known",
        logarithmic: false,
        lines: vec![("exec by pid1".to_owned(), ours), ("fork and exec, bare".to_owned(), forked)],
    };
    Ok(Report { rows, plots: vec![plot] })
}

/// An agent, and a client with an open exec channel.
struct Started {
    agent: Agent,
    client: Client,
    exec: i32,
    held_mib: u64,
}

impl Started {
    fn new(agent: Agent) -> Result<Started> {
        let mut client = Client::connect(&agent)?.with_large_buffer();
        let exec = client.open("exec", "")?;
        Ok(Started { agent, client, exec, held_mib: 0 })
    }

    fn p50(&mut self, times: u64) -> Result<f64> {
        Ok(on(&mut self.client, self.exec, times)?.p50())
    }

    /// Runs programs to their end whose output the agent keeps, so that they can be read again after a lost connection.
    fn hold(&mut self, mib: u64) -> Result<()> {
        let args = ["/usr/bin/head", "-c", &format!("{KEPT_MIB}M"), "/dev/zero"].map(str::to_owned);
        while self.held_mib < mib {
            let channel = self.client.open("process", "")?;
            let start = ProcessStart { args: args.clone().into(), ..ProcessStart::default() };
            self.client.send(channel, "", Body::ProcessStart(start))?;
            self.client.next_of(channel, frames::PROCESS_EXITED)?;
            self.held_mib += KEPT_MIB;
        }
        let resident = machine::resident_bytes(self.agent.pid())? >> 20;
        if resident < mib * 9 / 10 {
            bail!("the agent should hold {mib} MiB, but {resident} MiB are resident");
        }
        Ok(())
    }
}

/// The bare start with as many descriptors is that of this very process, which has the other ends of the connections.
fn many_descriptors(setup: &Setup, ordinary: &mut Started, times: u64) -> Result<[Row; 2]> {
    let possible = machine::raise_descriptor_limit()?.saturating_sub(OTHER_DESCRIPTORS);
    let count = setup.size(CONNECTIONS).min(possible);
    let mut many = Started::new(Agent::start(setup)?)?;
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(Client::connect(&many.agent)?);
    }
    let name = format!("exec p50 with {count} descriptors");
    let mut itself = Row::new(format!("{name}, beside itself"), "us", Target::None);
    let mut spawn =
        Row::new(format!("{name}, beside posix_spawn with as many"), "us", Target::RatioAtMost(1.4));
    setup.each_round(
        &mut (&mut many, ordinary),
        |(many, _)| many.p50(times),
        |(_, ordinary)| Ok((ordinary.p50(times)?, bare::spawns(times, || program(Path::new(TRUE)))?.p50())),
        |many, (ordinary, bare)| {
            itself.add(*many, *ordinary);
            spawn.add(*many, *bare);
        },
    )?;
    Ok([itself, spawn])
}

/// Milliseconds of fork, exec and wait in a process that does nothing else.
fn fork(setup: &Setup, mib: u64) -> Result<f64> {
    let times = setup.size(FORKS).to_string();
    let output = stand_in::command(setup, &["fork", &mib.to_string(), &times]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let p50: f64 = text.trim().parse().with_context(|| format!("the process that forks said {text:?}"))?;
    Ok(p50 / 1e3)
}
