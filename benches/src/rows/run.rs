//! The Run button beside the interpreter's own start, and an expression that is evaluated beside a ping.

use std::fs;
use std::time::Instant;

use anyhow::{Result, bail};
use pid1_sdk::api::{Ping, RunMain, command::Body};

use crate::agent::{Agent, PATH};
use crate::client::Client;
use crate::frames;
use crate::pty::Pty;
use crate::rows::Report;
use crate::setup::{Setup, program};
use crate::table::{Latencies, Row, Target};

/// What is run: a main file, and the command that the agent has for it.
const PROGRAMS: [(&str, &str, &str, &[&str]); 2] = [
    ("Python", "main.py", "print('first')\n", &["/usr/bin/env", "python3", "-u", "main.py"]),
    ("Node", "index.js", "console.log('first')\n", &["/usr/bin/env", "node", "index.js"]),
];

pub fn run(setup: &Setup) -> Result<Report> {
    let mut rows = Vec::new();
    for (title, file, text, command) in PROGRAMS {
        let agent = Agent::start(setup)?;
        fs::write(agent.root().join(file), text)?;
        let mut client = Client::connect(&agent)?;
        rows.extend(pressed(setup, &agent, &mut client, title, command)?);
        rows.push(evaluated(setup, &mut client, title)?);
    }
    Ok(rows.into())
}

fn pressed(
    setup: &Setup,
    agent: &Agent,
    client: &mut Client,
    title: &str,
    command: &[&str],
) -> Result<[Row; 2]> {
    let channel = client.open("run2", "")?;
    let times = setup.size(64);
    let mut whole = Row::new(format!("Run of {title} to the first output, p50"), "ms", Target::None);
    let mut over =
        Row::new("... over the interpreter's own start on a bare terminal", "ms", Target::AtMost(10.0));
    setup.each_round(
        client,
        |client| {
            let mut latencies = Latencies::new()?;
            for _ in 0..times {
                let pressed = Instant::now();
                client.send(channel, "", Body::RunMain(RunMain::default()))?;
                client.next_of(channel, frames::OUTPUT)?;
                latencies.add(pressed.elapsed())?;
                // Running was told before: this is Stopped, and until then another press would change nothing.
                client.next_of(channel, frames::STATE)?;
            }
            Ok(latencies)
        },
        |_| {
            let mut latencies = Latencies::new()?;
            for _ in 0..times {
                let mut bare = program(command[0].as_ref());
                bare.args(&command[1..])
                    .current_dir(agent.root())
                    .env_clear()
                    .env("PATH", PATH)
                    .env("TERM", "xterm-256color");
                let started = Instant::now();
                let mut terminal = Pty::start(bare, false)?;
                if terminal.read(&mut [0; 4096])? == 0 {
                    bail!("{title} has printed nothing on a bare terminal");
                }
                latencies.add(started.elapsed())?;
            }
            Ok(latencies)
        },
        |ours, limit| {
            let (ours, limit) = (ours.p50() / 1e3, limit.p50() / 1e3);
            whole.add(ours, limit);
            over.add_ours(ours - limit);
        },
    )?;
    Ok([whole, over])
}

fn evaluated(setup: &Setup, client: &mut Client, title: &str) -> Result<Row> {
    let channel = client.open("eval", "")?;
    let times = setup.size(2000);
    let mut row = Row::new(format!("eval in {title} beside a ping, p50"), "us", Target::AtMost(2000.0));
    // The first one starts the interpreter.
    client.ask(channel, Body::Eval("1".to_owned()))?;
    setup.each_round(
        client,
        |client| asked(client, times, channel, || Body::Eval("1 + 1".to_owned())),
        |client| asked(client, times, 0, || Body::Ping(Ping {})),
        |ours, limit| row.add(ours.p50(), limit.p50()),
    )?;
    Ok(row)
}

fn asked(client: &mut Client, times: u64, channel: i32, body: impl Fn() -> Body) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for _ in 0..times {
        let asked = Instant::now();
        client.ask(channel, body())?;
        latencies.add(asked.elapsed())?;
    }
    Ok(latencies)
}
