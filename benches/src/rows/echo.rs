//! What typing feels like: one character through a shell channel with `cat` on a raw terminal, idle and while
//! another terminal floods.
//!
//! The limit is a bare relay: one poll loop between a TCP socket and such a terminal; under a flood, beside a
//! process that reads the same flood from a bare terminal and drops it.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use anyhow::Result;
use pid1_sdk::api::command::Body;

use crate::agent::Agent;
use crate::bare;
use crate::client::Client;
use crate::frames::OUTPUT;
use crate::rows::Report;
use crate::rows::flood::text_file;
use crate::setup::{Setup, pause};
use crate::shell::Shell;
use crate::stand_in::StandIn;
use crate::table::{Latencies, Row, Target};

/// Between two keys while there is a flood: nobody types in a closed loop.
const KEY_PAUSE: Duration = Duration::from_millis(1);

pub fn run(setup: &Setup) -> Result<Report> {
    let (file, _) = text_file(setup, 4 << 20)?;
    let file = file.display().to_string();
    let mut rows = idle(setup)?;
    rows.extend(flooded(setup, "same connection", &file, same)?);
    rows.extend(flooded(setup, "another connection", &file, other)?);
    Ok(rows.into())
}

fn idle(setup: &Setup) -> Result<Vec<Row>> {
    let agent = Agent::start(setup)?;
    let mut client = Client::connect(&agent)?;
    let shell = typing(&mut client)?;
    let (_relay, socket) = StandIn::connect(setup, &["relay"])?;
    let times = setup.size(5_000);
    let mut p50 = Row::new("echo idle p50", "us", Target::RatioAtMost(1.2));
    let mut p99 = Row::new("echo idle p99", "us", Target::None);
    let mut steady = Row::new("echo idle p99 beside its own p50", "us", Target::RatioAtMost(4.0));
    setup.each_round(
        &mut (client, socket),
        |(client, _)| echoes(client, &shell, times, Pause::None),
        |(_, socket)| bare::round_trips(socket, 1, times, Duration::ZERO),
        |ours, limit| {
            p50.add(ours.p50(), limit.p50());
            p99.add(ours.p99(), limit.p99());
            steady.add(ours.p99(), ours.p50());
        },
    )?;
    Ok(vec![p50, p99, steady])
}

fn flooded(
    setup: &Setup,
    name: &str,
    file: &str,
    ours: fn(&Agent, &str, u64) -> Result<Latencies>,
) -> Result<Vec<Row>> {
    let times = setup.size(800);
    let mut p50 = Row::new(format!("echo, flood on {name}, p50"), "us", Target::AtMost(200.0));
    let mut p99 = Row::new(format!("echo, flood on {name}, p99"), "us", Target::AtMost(2000.0));
    setup.each_round(
        &mut (),
        |()| ours(&Agent::start(setup)?, file, times),
        |()| {
            let (_relay, mut socket) = StandIn::connect(setup, &["relay"])?;
            let _flood = StandIn::start(setup, &["drain", file])?;
            bare::round_trips(&mut socket, 1, times, KEY_PAUSE)
        },
        |ours, limit| {
            p50.add(ours.p50(), limit.p50());
            p99.add(ours.p99(), limit.p99());
        },
    )?;
    Ok(vec![p50, p99])
}

/// The flood is another channel of the same connection.
fn same(agent: &Agent, file: &str, times: u64) -> Result<Latencies> {
    let mut client = Client::connect(agent)?.with_large_buffer();
    let shell = typing(&mut client)?;
    flood(&mut client, file)?;
    echoes(&mut client, &shell, times, Pause::Reading)
}

/// The flood goes to another client, on a thread of its own.
fn other(agent: &Agent, file: &str, times: u64) -> Result<Latencies> {
    let mut client = Client::connect(agent)?;
    let shell = typing(&mut client)?;
    let mut flooded = Client::connect(agent)?.with_large_buffer();
    flood(&mut flooded, file)?;
    let end = flooded.socket()?;
    std::thread::scope(|scope| {
        scope.spawn(move || while flooded.next().is_ok() {});
        let latencies = echoes(&mut client, &shell, times, Pause::Sleeping);
        let _ = end.shutdown(Shutdown::Both);
        latencies
    })
}

/// Starts a flood that does not end.
fn flood(client: &mut Client, file: &str) -> Result<()> {
    Shell::open(client, "")?.after_mark(client, ":", &format!("while cat '{file}'; do :; done"))?;
    Ok(())
}

/// A shell with `cat` on a raw terminal.
fn typing(client: &mut Client) -> Result<Shell> {
    let shell = Shell::open(client, "")?;
    shell.after_mark(client, "stty raw -echo", "exec cat")?;
    Ok(shell)
}

enum Pause {
    None,
    Sleeping,
    /// Going on to take the flood that comes on the same connection.
    Reading,
}

fn echoes(client: &mut Client, shell: &Shell, times: u64, between: Pause) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for _ in 0..times {
        let next = Instant::now() + KEY_PAUSE;
        match between {
            Pause::None => {}
            Pause::Sleeping => pause(KEY_PAUSE),
            Pause::Reading => {
                while Instant::now() < next {
                    client.next()?;
                }
            }
        }
        let started = Instant::now();
        client.send(shell.channel, "", Body::Input("x".to_owned()))?;
        client.next_of(shell.channel, OUTPUT)?;
        latencies.add(started.elapsed())?;
    }
    Ok(latencies)
}
