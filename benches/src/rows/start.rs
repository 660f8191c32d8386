//! From nothing to the first client, and what an idle agent weighs.

use anyhow::Result;

use crate::agent::Agent;
use crate::client::Client;
use crate::machine;
use crate::rows::Report;
use crate::setup::Setup;
use crate::table::{Row, Target};

pub fn run(setup: &Setup) -> Result<Report> {
    let mut start = Row::new("start to first client ready", "ms", Target::AtMost(6.0));
    let mut idle = Row::new("idle RSS after one client", "MB", Target::AtMost(8.0));
    let mut size = Row::new("binary", "MB", Target::AtMost(10.0));
    for _ in 0..setup.rounds {
        let agent = Agent::start(setup)?;
        drop(Client::connect(&agent)?);
        start.add_ours(agent.started.elapsed().as_secs_f64() * 1e3);
        idle.add_ours(machine::resident_bytes(agent.pid())? as f64 / 1e6);
    }
    size.add_ours(std::fs::metadata(&setup.pid1)?.len() as f64 / 1e6);
    Ok(vec![start, idle, size].into())
}
