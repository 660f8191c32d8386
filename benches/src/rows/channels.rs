//! Channels that are opened and closed, hundreds ahead of the answers, on one connection.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use pid1_sdk::api::{
    CloseChannel, CloseChannelRes, OpenChannel, OpenChannelRes, close_channel, close_channel_res,
    command::Body,
};
use prost::Message as _;

use crate::agent::Agent;
use crate::client::Client;
use crate::frames;
use crate::machine::{self, Pinned};
use crate::rows::Report;
use crate::setup::Setup;
use crate::table::{Row, Target};

/// Channels that are open or asked for at a time; the agent allows 1,024 per connection.
const AHEAD: u64 = 768;

/// Requests in one write: far fewer than are ahead, so that the agent and the client work at the same time.
const BURST: u64 = 128;

pub fn run(setup: &Setup) -> Result<Report> {
    let agent = Agent::start(setup)?;
    let mut client = Client::connect(&agent)?.with_large_buffer();
    let cores = machine::two_cores()?;
    let here = cores.map(|(one, _)| Pinned::to(one)).transpose()?;
    if let Some((_, other)) = cores {
        machine::pin(Some(agent.pid()), other)?;
    }
    let name = if cores.is_some() { "channels in flight, two cores" } else { "channels in flight" };
    let mut rate = Row::new(name, "k/s", Target::AtLeast(130.0));
    let mut cpu = Row::new("... agent's CPU per channel", "us", Target::None);
    let mut left = Row::new("... memory left per channel", "B", Target::AtMost(32.0));
    let channels = setup.size(200_000);
    // What so many at once need is taken now, and is kept.
    in_flight(&mut client, channels)?;
    for _ in 0..setup.rounds {
        let (resident, before) = (machine::resident_bytes(agent.pid())?, agent.cpu()?);
        let time = in_flight(&mut client, channels)?;
        rate.add_ours(channels as f64 / 1e3 / time.as_secs_f64());
        cpu.add_ours((agent.cpu()? - before).as_secs_f64() * 1e6 / channels as f64);
        let grown = machine::resident_bytes(agent.pid())?.saturating_sub(resident);
        left.add_ours(grown as f64 / channels as f64);
    }
    drop(here);
    Ok(vec![rate, cpu, left].into())
}

/// Opens so many and closes each as soon as it is known; until the last is closed.
fn in_flight(client: &mut Client, wanted: u64) -> Result<Duration> {
    let mut out = Vec::new();
    let (mut asked, mut put, mut gone) = (0, 0, 0);
    let started = Instant::now();
    while gone < wanted {
        while asked < wanted.min(gone + AHEAD) {
            let request = OpenChannel { service: "null".to_owned(), ..OpenChannel::default() };
            frames::put(&mut out, 0, "o", Body::OpenChan(request));
            (asked, put) = (asked + 1, put + 1);
        }
        // At the end nothing follows that would fill a burst.
        if put >= BURST || asked == wanted {
            client.send_frames(&out)?;
            out.clear();
            put = 0;
        }
        let message = client.next()?;
        match message.field {
            frames::OPEN_CHAN_RES => {
                let opened = OpenChannelRes::decode(message.body)?;
                if opened.id == 0 {
                    bail!("a channel was not opened: {}", opened.error);
                }
                let request = CloseChannel { id: opened.id, action: close_channel::Action::Close.into() };
                frames::put(&mut out, 0, "c", Body::CloseChan(request));
                put += 1;
            }
            frames::CLOSE_CHAN_RES => {
                let closed = CloseChannelRes::decode(message.body)?;
                if closed.status() != close_channel_res::Status::Close {
                    bail!("channel {} was not closed", closed.id);
                }
                gone += 1;
            }
            _ => {}
        }
    }
    Ok(started.elapsed())
}
