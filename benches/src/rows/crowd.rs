//! Thousands of connections that were greeted and are silent: what each costs, and what is left of them when all have
//! vanished at once, without a word.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::agent::Agent;
use crate::client::Client;
use crate::machine;
use crate::metrics;
use crate::plot::Plot;
use crate::rows::Report;
use crate::rows::start::{NO_CPU, idle_percent};
use crate::setup::{Setup, pause};
use crate::table::{COUNT, Row, Target};

/// Connections, and at which of them memory is looked at.
const STEPS: [u64; 4] = [1000, 3000, 6000, 9000];

/// What each may cost.
const MOST_KB: f64 = 10.0;

/// What is open here and in the agent besides one socket for each connection.
const OTHER_DESCRIPTORS: u64 = 500;

/// What is left after that is called left.
const PATIENCE: Duration = Duration::from_secs(10);

/// What each that has gone may leave behind.
const MOST_LEFT_KB: f64 = 2.5;

pub fn run(setup: &Setup) -> Result<Report> {
    let steps = steps(setup)?;
    let [.., all] = steps;
    let mut memory: Vec<Row> = steps
        .map(|step| {
            let target = if step == all { Target::AtMost(MOST_KB) } else { Target::None };
            Row::new(format!("{step} idle connections, memory of each"), "KB", target)
        })
        .into();
    let mut cpu = Row::new(format!("{all} idle connections, CPU"), "%", NO_CPU);
    let left = |what, unit, target| Row::new(format!("{all} vanish: {what} left"), unit, target);
    let mut descriptors = left("descriptors", COUNT, Target::AtMost(0.0));
    let mut threads = left("threads", COUNT, Target::AtMost(0.0));
    let mut sessions = left("sessions", COUNT, Target::AtMost(0.0));
    let mut resident = left("memory of each", "KB", Target::AtMost(MOST_LEFT_KB));
    let mut gone = Row::new(format!("{all} vanish: gone after"), "ms", Target::None);
    for _ in 0..setup.rounds {
        let agent = Agent::start(setup)?;
        let mut watch = Client::connect(&agent)?;
        metrics::figure(&mut watch, "pid1_sessions")?;
        let before = Held::by(&agent, &mut watch)?;
        let mut crowd = Vec::new();
        for (step, row) in steps.into_iter().zip(&mut memory) {
            while (crowd.len() as u64) < step {
                crowd.push(Client::connect(&agent)?);
            }
            row.add_ours(per(step, machine::resident_bytes(agent.pid())?, before.resident));
        }
        cpu.add_ours(idle_percent(setup, &agent)?);
        let vanished = Instant::now();
        for client in crowd {
            client.vanish()?;
        }
        let mut after = Held::by(&agent, &mut watch)?;
        while after.is_more_than(&before) && vanished.elapsed() < PATIENCE {
            pause(Duration::from_millis(2));
            after = Held::by(&agent, &mut watch)?;
        }
        gone.add_ours(vanished.elapsed().as_secs_f64() * 1e3);
        descriptors.add_ours(after.descriptors as f64 - before.descriptors as f64);
        threads.add_ours(after.threads as f64 - before.threads as f64);
        sessions.add_ours(after.sessions - before.sessions);
        // It waits a second for more to leave before it gives memory back.
        let mut resident_bytes = after.resident;
        while per(all, resident_bytes, before.resident) > MOST_LEFT_KB && vanished.elapsed() < PATIENCE {
            pause(Duration::from_millis(20));
            resident_bytes = machine::resident_bytes(agent.pid())?;
        }
        resident.add_ours(per(all, resident_bytes, before.resident));
    }
    let points =
        steps.iter().zip(&memory).map(|(step, row)| (*step as f64, row.median() * *step as f64 / 1e3));
    let plot = Plot {
        name: "crowd-memory",
        title: "Memory of the agent by idle connections".to_owned(),
        along: "idle connections",
        up: "MB more than with none",
        logarithmic: false,
        lines: vec![
            ("pid1".to_owned(), std::iter::once((0.0, 0.0)).chain(points).collect()),
            ("target".to_owned(), vec![(0.0, 0.0), (all as f64, all as f64 * MOST_KB / 1e3)]),
        ],
    };
    let mut rows = memory;
    rows.extend([cpu, descriptors, threads, sessions, resident, gone]);
    Ok(Report { rows, plots: vec![plot] })
}

/// As many as this machine allows and the size of the run asks for.
fn steps(setup: &Setup) -> Result<[u64; 4]> {
    let [.., most] = STEPS;
    let possible = machine::raise_descriptor_limit()?.saturating_sub(OTHER_DESCRIPTORS);
    let all = setup.size(most).min(possible);
    Ok(STEPS.map(|step| step * all / most))
}

fn per(count: u64, now: u64, before: u64) -> f64 {
    now.saturating_sub(before) as f64 / 1e3 / count as f64
}

/// What the agent holds.
struct Held {
    descriptors: u64,
    threads: u64,
    sessions: f64,
    resident: u64,
}

impl Held {
    fn by(agent: &Agent, watch: &mut Client) -> Result<Held> {
        Ok(Held {
            sessions: metrics::figure(watch, "pid1_sessions")?,
            descriptors: machine::descriptors(agent.pid())?,
            threads: machine::threads(agent.pid())?,
            resident: machine::resident_bytes(agent.pid())?,
        })
    }

    fn is_more_than(&self, other: &Held) -> bool {
        self.descriptors > other.descriptors || self.sessions > other.sessions || self.threads > other.threads
    }
}
