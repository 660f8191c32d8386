//! The end of an agent with idle shells that nobody watches.

use anyhow::Result;

use crate::agent::Agent;
use crate::client::Client;
use crate::rows::Report;
use crate::setup::Setup;
use crate::shell::Shell;
use crate::table::{Row, Target};

const SHELLS: u64 = 100;

pub fn run(setup: &Setup) -> Result<Report> {
    let shells = setup.size(SHELLS);
    let mut time = Row::new(format!("TERM to the end, {shells} idle shells"), "ms", Target::AtMost(200.0));
    for _ in 0..setup.rounds {
        let agent = Agent::start(setup)?;
        let mut client = Client::connect(&agent)?.with_large_buffer();
        for number in 0..shells {
            // Named, so that they stay when their client goes.
            let shell = Shell::open(&mut client, &format!("shell {number}"))?;
            shell.next(&mut client)?;
            shell.after_mark(&mut client, ":", ":")?;
        }
        drop(client);
        time.add_ours(agent.end()?.as_secs_f64() * 1e3);
    }
    Ok(vec![time].into())
}
