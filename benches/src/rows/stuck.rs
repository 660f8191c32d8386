//! Ten members of one flooding shell, one of whom stops reading and stays: what the other nine get, beside nine who
//! are alone.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::agent::Agent;
use crate::client::Client;
use crate::machine;
use crate::members::{self, Members};
use crate::metrics;
use crate::rows::Report;
use crate::rows::flood::text_file;
use crate::setup::Setup;
use crate::table::{Row, Target};

const READERS: u64 = 9;

/// The flood goes on for so long before anything is measured: memory that it takes anyhow is taken.
const WARM_UP: Duration = Duration::from_secs(1);

/// Measured from the moment in which the tenth joins and stops. Shorter than the time after which the agent drops who
/// asked for much and takes nothing.
const WINDOW: Duration = Duration::from_secs(5);

pub fn run(setup: &Setup) -> Result<Report> {
    let (file, _) = text_file(setup, 4 << 20)?;
    let flood = format!("while cat '{}'; do :; done", file.display());
    let mut rate = Row::new("nine beside a stuck member, delivered", "MB/s", Target::RatioAtLeast(0.9));
    let mut memory = Row::new("memory while a member is stuck", "MB", Target::AtMost(2.0));
    setup.each_round(
        &mut (),
        |()| nine(setup, &flood, true),
        |()| nine(setup, &flood, false),
        |ours, limit| {
            rate.add(ours.rate, limit.rate);
            memory.add_ours(ours.grown);
        },
    )?;
    Ok(vec![rate, memory].into())
}

/// What was seen within the window.
struct Seen {
    /// Megabytes per second, all readers together.
    rate: f64,
    /// Megabytes more resident at its end than at its beginning.
    grown: f64,
}

fn nine(setup: &Setup, flood: &str, beside_a_stuck_one: bool) -> Result<Seen> {
    let agent = Agent::start(setup)?;
    let mut watch = Client::connect(&agent)?;
    let mut readers = Members::of_a_shell(&agent, READERS)?;
    readers.type_in(flood)?;
    readers.take_for(WARM_UP)?;
    let resident = machine::resident_bytes(agent.pid())? as f64;
    // It takes what a newcomer is shown, and nothing from then on.
    let stuck = beside_a_stuck_one.then(|| members::newcomer(&agent)).transpose()?;
    // What came for the nine while it joined is not of the window.
    readers.take_for(Duration::from_millis(1))?;
    let before = readers.total();
    let window = if setup.quick { WINDOW / 5 } else { WINDOW };
    readers.take_for(window)?;
    let rate = (readers.total() - before) as f64 / 1e6 / window.as_secs_f64();
    let grown = (machine::resident_bytes(agent.pid())? as f64 - resident) / 1e6;
    if stuck.is_some() && metrics::figure(&mut watch, "pid1_members_skipped_total")? < 1.0 {
        bail!("the member that takes nothing was never skipped: it was not stuck");
    }
    let members = metrics::figure(&mut watch, "pid1_sessions")? - 1.0;
    if members != READERS as f64 + f64::from(u8::from(stuck.is_some())) {
        bail!("{members} members are connected: one was dropped");
    }
    Ok(Seen { rate, grown })
}
