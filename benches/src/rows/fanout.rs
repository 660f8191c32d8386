//! One shell's flood to 1, 10, 100 and 1,000 members, whose connections are skimmed by one thread.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::agent::Agent;
use crate::machine;
use crate::members::Members;
use crate::plot::Plot;
use crate::rows::Report;
use crate::rows::flood::text_file;
use crate::setup::Setup;
use crate::table::{Row, Target};

/// How many members, the MiB of text that each gets, so that a round takes a second or two, and the targets. One
/// member or ten get what the terminal gives.
const SIZES: [(u64, u64, Target, Target); 4] = [
    (1, 64, Target::None, Target::None),
    (10, 64, Target::None, Target::None),
    (100, 32, Target::AtLeast(LEAST_RATE), Target::AtMost(MOST_CPU)),
    (1000, 8, Target::AtLeast(LEAST_RATE), Target::AtMost(MOST_CPU)),
];

/// GB/s, and CPU seconds per GB.
const LEAST_RATE: f64 = 2.5;
const MOST_CPU: f64 = 0.3;

pub fn run(setup: &Setup) -> Result<Report> {
    machine::raise_descriptor_limit()?;
    let mut report = Report::default();
    let (mut rates, mut cpus) = (Vec::new(), Vec::new());
    for (members, mib, least_rate, most_cpu) in SIZES {
        let name = format!("fan-out to {members}");
        let mut rate = Row::new(format!("{name}, delivered"), "GB/s", least_rate);
        let mut cpu = Row::new(format!("{name}, CPU per GB"), "s", most_cpu);
        let mut lag = Row::new(format!("{name}, slowest behind fastest, p99"), "ms", Target::None);
        let mut memory = Row::new(format!("{name}, memory per member"), "KB", Target::None);
        let (file, text) = text_file(setup, setup.size(mib << 20))?;
        for _ in 0..setup.rounds {
            let agent = Agent::start(setup)?;
            let cat = format!("cat '{}'", file.display());
            let mut all = Members::of_a_shell(&agent, members)?;
            let begin = Begin::now(&agent)?;
            all.type_in(&cat)?;
            while all.least() < text.bytes {
                all.turn()?;
            }
            let delivered = (members * text.bytes) as f64 / 1e9;
            rate.add_ours(delivered / begin.time.elapsed().as_secs_f64());
            cpu.add_ours((agent.cpu()? - begin.cpu).as_secs_f64() / delivered);
            lag.add_ours(all.behind().p99() / 1e3);
            let grown = machine::peak_resident_bytes(agent.pid())?.saturating_sub(begin.resident);
            memory.add_ours(grown as f64 / 1e3 / members as f64);
        }
        rates.push((members as f64, rate.median()));
        cpus.push((members as f64, cpu.median()));
        report.rows.extend([rate, cpu]);
        // One alone is never behind.
        report.rows.extend((members > 1).then_some(lag));
        report.rows.push(memory);
    }
    let plot = |name, title: &str, up, points, target| Plot {
        name,
        title: title.to_owned(),
        along: "members of one flooding shell",
        up,
        logarithmic: true,
        lines: vec![
            ("pid1".to_owned(), points),
            ("target".to_owned(), vec![(100.0, target), (1000.0, target)]),
        ],
    };
    let rate =
        plot("fanout-rate", "One shell's output to all its members", "GB/s delivered", rates, LEAST_RATE);
    let cpu = plot("fanout-cpu", "What delivering costs the agent", "CPU seconds per GB", cpus, MOST_CPU);
    report.plots = vec![rate, cpu];
    Ok(report)
}

/// How things stood before the flood.
struct Begin {
    time: Instant,
    cpu: Duration,
    resident: u64,
}

impl Begin {
    fn now(agent: &Agent) -> Result<Begin> {
        let resident = machine::resident_bytes(agent.pid())?;
        Ok(Begin { cpu: agent.cpu()?, resident, time: Instant::now() })
    }
}
