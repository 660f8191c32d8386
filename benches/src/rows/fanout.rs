//! One shell's flood to many members, whose connections are skimmed by one thread.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use pid1_sdk::api::command::Body;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::agent::Agent;
use crate::client::Client;
use crate::rows::Report;
use crate::rows::flood::text_file;
use crate::setup::Setup;
use crate::shell::Shell;
use crate::skim::{Scratch, Skimmer};
use crate::table::{Row, Target};

const MEMBERS: u64 = 100;

pub fn run(setup: &Setup) -> Result<Report> {
    let (file, text) = text_file(setup, setup.size(32 << 20))?;
    let name = format!("fan-out to {MEMBERS}");
    let mut rate = Row::new(format!("{name}, delivered"), "GB/s", Target::AtLeast(2.5));
    let mut cpu = Row::new(format!("{name}, CPU per GB"), "s", Target::AtMost(0.3));
    for _ in 0..setup.rounds {
        let agent = Agent::start(setup)?;
        let mut typist = Client::connect(&agent)?;
        let shell = Shell::open(&mut typist, "shared")?;
        // From here on nothing is printed but what is measured.
        shell.after_mark(&mut typist, "stty -echo; PS1=", ":")?;
        let mut members = Vec::new();
        let line = format!("cat '{}'\n", file.display());
        for _ in 0..MEMBERS {
            let mut client = Client::connect(&agent)?;
            // It gets the past as one message; the text that follows is measured.
            let shell = Shell::open(&mut client, "shared")?;
            shell.next(&mut client)?;
            members.push(client);
        }
        drop(typist); // it would be one member more
        let before = agent.cpu()?;
        let started = Instant::now();
        let first = members.first_mut().context("there are members")?;
        first.send(shell.channel, "", Body::Input(line))?;
        let mut members: Vec<Member> =
            members.into_iter().map(|client| Member { skimmer: Skimmer::new(client), text: 0 }).collect();
        let mut scratch = Scratch::new();
        while !all_have(&mut members, text.bytes, &mut scratch)? {}
        let delivered = (MEMBERS * text.bytes) as f64 / 1e9;
        rate.add_ours(delivered / started.elapsed().as_secs_f64());
        cpu.add_ours((agent.cpu()? - before).as_secs_f64() / delivered);
    }
    Ok(vec![rate, cpu].into())
}

/// Takes what is there for whoever has not got all yet.
fn all_have(members: &mut [Member], bytes: u64, scratch: &mut Scratch) -> Result<bool> {
    let mut waiting: Vec<&mut Member> = members.iter_mut().filter(|member| member.text < bytes).collect();
    if waiting.is_empty() {
        return Ok(true);
    }
    let ready: Vec<bool> = {
        let mut fds: Vec<PollFd<'_>> =
            waiting.iter().map(|member| PollFd::new(&member.skimmer.socket, PollFlags::IN)).collect();
        let patience = Timespec::try_from(Duration::from_secs(30))?;
        if poll(&mut fds, Some(&patience))? == 0 {
            bail!("{} members wait for more text: were they skipped?", waiting.len());
        }
        fds.iter().map(|fd| !fd.revents().is_empty()).collect()
    };
    for (member, _) in waiting.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
        while let Some(message) = member.skimmer.next(scratch, false)? {
            member.text += message.output;
        }
    }
    Ok(false)
}

/// A connection, and the bytes of text it has got so far.
struct Member {
    skimmer: Skimmer,
    text: u64,
}
