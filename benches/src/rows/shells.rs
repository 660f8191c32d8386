//! Hundreds of live shells on one connection: each has shown its prompt and answers what is typed.

use std::collections::HashMap;

use anyhow::Result;

use crate::agent::Agent;
use crate::client::Client;
use crate::frames::OUTPUT;
use crate::machine;
use crate::plot::Plot;
use crate::rows::Report;
use crate::setup::Setup;
use crate::shell::Shell;
use crate::table::{COUNT, Row, Target};

/// Shells, and at which of them memory is looked at.
const STEPS: [u64; 4] = [100, 300, 500, 700];

/// What each may cost the agent.
const MOST_KB: f64 = 32.0;

/// What the shells print when all of them are asked at once; what is typed does not contain it.
const ANSWER: &[u8] = b"live";
const QUESTION: &str = "printf 'li%s' ve";

pub fn run(setup: &Setup) -> Result<Report> {
    let steps = STEPS.map(|step| setup.size(step));
    let [.., all] = steps;
    let mut memory: Vec<Row> = steps
        .map(|step| {
            let target = if step == all { Target::AtMost(MOST_KB) } else { Target::None };
            Row::new(format!("{step} live shells, memory of each"), "KB", target)
        })
        .into();
    let mut threads = Row::new(format!("{all} live shells, threads more"), COUNT, Target::AtMost(0.0));
    let mut answer = Row::new(format!("{all} live shells, answer"), COUNT, Target::AtLeast(all as f64));
    for _ in 0..setup.rounds {
        let agent = Agent::start(setup)?;
        let mut client = Client::connect(&agent)?.with_large_buffer();
        // What the first one starts that stays is not the cost of each.
        open(&mut client)?;
        let resident = machine::resident_bytes(agent.pid())?;
        let before = machine::threads(agent.pid())?;
        let mut shells = Vec::new();
        for (step, row) in steps.into_iter().zip(&mut memory) {
            while (shells.len() as u64) < step {
                shells.push(open(&mut client)?);
            }
            let grown = machine::resident_bytes(agent.pid())?.saturating_sub(resident);
            row.add_ours(grown as f64 / 1e3 / step as f64);
        }
        threads.add_ours(machine::threads(agent.pid())? as f64 - before as f64);
        answer.add_ours(answers(&mut client, &shells)? as f64);
    }
    let points =
        steps.iter().zip(&memory).map(|(step, row)| (*step as f64, row.median() * *step as f64 / 1e3));
    let plot = Plot {
        name: "shells-memory",
        title: "Memory of the agent by live shells".to_owned(),
        along: "live shells",
        up: "MB more than with one",
        logarithmic: false,
        lines: vec![
            ("pid1".to_owned(), std::iter::once((0.0, 0.0)).chain(points).collect()),
            ("target".to_owned(), vec![(0.0, 0.0), (all as f64, all as f64 * MOST_KB / 1e3)]),
        ],
    };
    let mut rows = memory;
    rows.extend([threads, answer]);
    Ok(Report { rows, plots: vec![plot] })
}

/// A shell that has shown its prompt and has done what was typed.
fn open(client: &mut Client) -> Result<Shell> {
    let shell = Shell::open(client, "")?;
    shell.next(client)?;
    shell.after_mark(client, ":", ":")?;
    Ok(shell)
}

/// Asks all of them at once; how many answer before nothing comes any more.
fn answers(client: &mut Client, shells: &[Shell]) -> Result<usize> {
    for shell in shells {
        shell.line(client, QUESTION)?;
    }
    let mut waiting: HashMap<i32, Vec<u8>> = shells.iter().map(|shell| (shell.channel, Vec::new())).collect();
    while !waiting.is_empty() {
        // An error is the end of patience.
        let Ok(message) = client.next() else { break };
        let channel = message.channel;
        if message.field == OUTPUT
            && let Some(seen) = waiting.get_mut(&channel)
        {
            seen.extend_from_slice(message.body);
            if seen.windows(ANSWER.len()).any(|part| part == ANSWER) {
                waiting.remove(&channel);
            }
        }
    }
    Ok(shells.len() - waiting.len())
}
