//! From nothing to the first client, and what an idle agent costs.

use std::time::Duration;

use anyhow::Result;

use crate::agent::Agent;
use crate::client::Client;
use crate::machine;
use crate::rows::Report;
use crate::setup::{Setup, pause};
use crate::table::{Row, Target};

/// No CPU at all, but for a timer or two in the time that an idle agent is watched.
pub const NO_CPU: Target = Target::AtMost(0.01);

/// How long an idle agent is watched.
const IDLE_TIME: Duration = Duration::from_secs(3);

/// What is still done for those who came or left last is done by then.
const SETTLED_AFTER: Duration = Duration::from_millis(300);

pub fn run(setup: &Setup) -> Result<Report> {
    let mut start = Row::new("start to first client ready", "ms", Target::AtMost(6.0));
    let mut idle = Row::new("idle RSS after one client", "MB", Target::AtMost(8.0));
    let mut cpu = Row::new("idle CPU after one client", "%", NO_CPU);
    let mut size = Row::new("binary", "MB", Target::AtMost(10.0));
    for _ in 0..setup.rounds {
        let agent = Agent::start(setup)?;
        drop(Client::connect(&agent)?);
        start.add_ours(agent.started.elapsed().as_secs_f64() * 1e3);
        idle.add_ours(machine::resident_bytes(agent.pid())? as f64 / 1e6);
        cpu.add_ours(idle_percent(setup, &agent)?);
    }
    size.add_ours(std::fs::metadata(&setup.pid1)?.len() as f64 / 1e6);
    Ok(vec![start, idle, cpu, size].into())
}

/// The part of one core, in per cent, that the agent uses while nobody asks anything of it.
pub fn idle_percent(setup: &Setup, agent: &Agent) -> Result<f64> {
    let time = if setup.quick { IDLE_TIME / 10 } else { IDLE_TIME };
    pause(SETTLED_AFTER);
    let before = agent.cpu()?;
    pause(time);
    Ok((agent.cpu()? - before).as_secs_f64() / time.as_secs_f64() * 100.0)
}
