//! Ping on channel 0 beside a bare TCP echo of 32 bytes, client and server pinned to two cores and to one.
//!
//! Unpinned, a round trip takes either about 10 us or about 60, as the scheduler puts both on one core or on two.

use std::time::{Duration, Instant};

use anyhow::Result;
use pid1_sdk::api::{Ping, command::Body};

use crate::agent::Agent;
use crate::bare;
use crate::client::Client;
use crate::frames;
use crate::machine::{self, Pinned};
use crate::rows::Report;
use crate::setup::Setup;
use crate::stand_in::StandIn;
use crate::table::{Latencies, Row, Target};

const ECHO_BYTES: usize = 32;

/// Pings sent in one write when many are in flight, and how many writes may be unanswered.
const BURST: u64 = 512;
const BURSTS_AHEAD: u64 = 8;

pub fn run(setup: &Setup) -> Result<Report> {
    let agent = Agent::start(setup)?;
    let mut client = Client::connect(&agent)?;
    let (echo, socket) = StandIn::connect(setup, &["echo"])?;
    let mut rows = Vec::new();
    let mut both = (&mut client, socket);
    if let Some((one, other)) = machine::two_cores()? {
        let here = Pinned::to(one)?;
        for (name, core, p50, p99) in [
            ("two cores", other, Target::RatioAtMost(1.3), Target::None),
            ("one core", one, Target::None, Target::None),
        ] {
            machine::pin(Some(agent.pid()), core)?;
            machine::pin(Some(echo.pid()), core)?;
            let mut median = Row::new(format!("ping RTT p50, {name}"), "us", p50);
            let mut tail = Row::new(format!("ping RTT p99, {name}"), "us", p99);
            let times = setup.size(20_000);
            setup.each_round(
                &mut both,
                |(client, _)| pings(client, times),
                |(_, socket)| bare::round_trips(socket, ECHO_BYTES, times, Duration::ZERO),
                |ours, limit| {
                    median.add(ours.p50(), limit.p50());
                    tail.add(ours.p99(), limit.p99());
                },
            )?;
            rows.extend([median, tail]);
        }
        machine::pin(Some(agent.pid()), other)?;
        let mut rate = Row::new("pings in flight, two cores", "M/s", Target::AtLeast(0.5));
        let mut cpu = Row::new("... agent's CPU per ping", "us", Target::None);
        for _ in 0..setup.rounds {
            let before = agent.cpu()?;
            let (pings, time) = in_flight(both.0, setup.size(1 << 20))?;
            rate.add_ours(pings as f64 / time.as_secs_f64() / 1e6);
            cpu.add_ours((agent.cpu()? - before).as_secs_f64() * 1e6 / pings as f64);
        }
        rows.extend([rate, cpu]);
        drop(here);
    }
    Ok(rows.into())
}

fn pings(client: &mut Client, times: u64) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for _ in 0..times {
        let started = Instant::now();
        client.ask(0, Body::Ping(Ping {}))?;
        latencies.add(started.elapsed())?;
    }
    Ok(latencies)
}

fn in_flight(client: &mut Client, wanted: u64) -> Result<(u64, Duration)> {
    let mut burst = Vec::new();
    for _ in 0..BURST {
        frames::put(&mut burst, 0, "p", Body::Ping(Ping {}));
    }
    let bursts = wanted / BURST;
    let (mut sent, mut answered) = (0, 0);
    let started = Instant::now();
    while answered < bursts * BURST {
        while sent < bursts && sent * BURST < answered + BURSTS_AHEAD * BURST {
            client.send_frames(&burst)?;
            sent += 1;
        }
        client.next()?;
        answered += 1;
    }
    Ok((answered, started.elapsed()))
}
