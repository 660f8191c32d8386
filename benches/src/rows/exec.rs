//! Exec of a program that does nothing, beside posix_spawn and wait of the same.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use pid1_sdk::api::{Exec, command::Body};

use crate::agent::Agent;
use crate::bare;
use crate::client::Client;
use crate::rows::Report;
use crate::setup::{Setup, program};
use crate::table::{Latencies, Row, Target};

/// It does nothing.
pub const TRUE: &str = "/bin/true";

pub fn run(setup: &Setup) -> Result<Report> {
    let agent = Agent::start(setup)?;
    let mut client = Client::connect(&agent)?;
    let channel = client.open("exec", "")?;
    let times = setup.size(400);
    let mut open_p50 = Row::new("exec, open channel, p50", "us", Target::RatioAtMost(1.4));
    let mut open_p99 = Row::new("exec, open channel, p99", "us", Target::RatioAtMost(1.7));
    let mut new_p50 = Row::new("exec, new channel, p50", "us", Target::RatioAtMost(1.5));
    setup.each_round(
        &mut client,
        |client| Ok((on(client, channel, times)?, on_new(client, times)?)),
        |_| bare::spawns(times, || program(Path::new(TRUE))),
        |(open, new), limit| {
            open_p50.add(open.p50(), limit.p50());
            open_p99.add(open.p99(), limit.p99());
            new_p50.add(new.p50(), limit.p50());
        },
    )?;
    let mut waiting = Row::new("CPU while an exec runs", "%", Target::AtMost(0.1));
    let before = agent.cpu()?;
    let second = Duration::from_secs(1);
    client.ask(channel, exec(&["/bin/sleep", "1"]))?;
    waiting.add_ours((agent.cpu()? - before).as_secs_f64() / second.as_secs_f64() * 100.0);
    Ok(vec![open_p50, open_p99, new_p50, waiting].into())
}

/// A request to run `args`.
pub fn exec(args: &[&str]) -> Body {
    Body::Exec(Exec { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Exec::default() })
}

/// Runs it one time after the other on an open channel.
pub fn on(client: &mut Client, channel: i32, times: u64) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for _ in 0..times {
        let started = Instant::now();
        client.ask(channel, exec(&[TRUE]))?;
        latencies.add(started.elapsed())?;
    }
    Ok(latencies)
}

/// Opening the channel counts, closing it does not.
fn on_new(client: &mut Client, times: u64) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for _ in 0..times {
        let started = Instant::now();
        let channel = client.open("exec", "")?;
        client.ask(channel, exec(&[TRUE]))?;
        latencies.add(started.elapsed())?;
        client.close(channel)?;
    }
    Ok(latencies)
}
