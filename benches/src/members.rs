//! The members of one shell, all taken care of by one thread that skims what they get.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use pid1_sdk::api::command::Body;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::agent::Agent;
use crate::client::Client;
use crate::frames;
use crate::shell::Shell;
use crate::skim::{Scratch, Skimmer};
use crate::table::Latencies;

/// The name of the shell.
const SHARED: &str = "shared";

/// Connections looked at in one turn.
const EVENTS: usize = 256;

/// Whoever gets nothing for so long was forgotten.
const PATIENCE: Duration = Duration::from_secs(30);

/// The members of a shell, and what they have got.
pub struct Members {
    channel: i32,
    epoll: OwnedFd,
    list: Vec<Member>,
    events: Vec<epoll::Event>,
    scratch: Scratch,
    lag: Lag,
    behind: Latencies,
}

/// A connection, and the bytes of text that it has got so far.
struct Member {
    skimmer: Skimmer,
    text: u64,
}

impl Members {
    /// So many join a new shell. From here on they get what is printed by what they type, and nothing else.
    pub fn of_a_shell(agent: &Agent, count: u64) -> Result<Members> {
        let mut typist = Client::connect(agent)?;
        let shell = Shell::open(&mut typist, SHARED)?;
        shell.after_mark(&mut typist, "stty -echo; PS1=", ":")?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut list = Vec::new();
        for number in 0..count {
            let skimmer = Skimmer::new(newcomer(agent)?);
            epoll::add(&epoll, &skimmer.socket, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
            list.push(Member { skimmer, text: 0 });
        }
        // The typist leaves: it would be one member more.
        Ok(Members {
            channel: shell.channel,
            epoll,
            list,
            events: Vec::with_capacity(EVENTS),
            scratch: Scratch::new(),
            lag: Lag::default(),
            behind: Latencies::new()?,
        })
    }

    /// One of them types a line.
    pub fn type_in(&mut self, line: &str) -> Result<()> {
        let mut frame = Vec::new();
        frames::put(&mut frame, self.channel, "", Body::Input(format!("{line}\n")));
        let first = self.list.first_mut().context("there are no members")?;
        Ok(first.skimmer.socket.write_all(&frame)?)
    }

    /// Waits until there is something for somebody, and takes it.
    pub fn turn(&mut self) -> Result<()> {
        self.events.clear();
        let patience = Timespec::try_from(PATIENCE)?;
        if epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&patience))? == 0 {
            bail!("{} members wait for more text: were they skipped?", self.list.len());
        }
        for event in &self.events {
            let member = self.list.get_mut(usize::try_from(event.data.u64())?).context("no such member")?;
            while let Some(message) = member.skimmer.next(&mut self.scratch, false)? {
                member.text += message.output;
            }
        }
        let most = self.list.iter().map(|member| member.text).max().unwrap_or_default();
        let behind = self.lag.add(Instant::now(), self.least(), most);
        self.behind.add(behind)
    }

    /// Takes what comes for so long.
    pub fn take_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// What everybody has got.
    pub fn least(&self) -> u64 {
        self.list.iter().map(|member| member.text).min().unwrap_or_default()
    }

    /// What all together have got.
    pub fn total(&self) -> u64 {
        self.list.iter().map(|member| member.text).sum()
    }

    /// For how long the slowest did not have what the fastest had, as seen in each turn.
    pub fn behind(&self) -> &Latencies {
        &self.behind
    }
}

/// Another member of the shell, who has got its past.
pub fn newcomer(agent: &Agent) -> Result<Client> {
    let mut client = Client::connect(agent)?;
    let shell = Shell::open(&mut client, SHARED)?;
    shell.next(&mut client)?;
    Ok(client)
}

/// When the fastest had how much, as far as the slowest has not.
#[derive(Default)]
struct Lag(VecDeque<(Instant, u64)>);

impl Lag {
    /// How long ago the fastest had what the slowest has not yet.
    fn add(&mut self, now: Instant, least: u64, most: u64) -> Duration {
        let Lag(ahead) = self;
        if ahead.back().is_none_or(|(_, had)| *had < most) {
            ahead.push_back((now, most));
        }
        while ahead.front().is_some_and(|(_, had)| *had <= least) {
            ahead.pop_front();
        }
        ahead.front().map_or(Duration::ZERO, |(since, _)| now - *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_time_for_which_the_slowest_lacks_what_the_fastest_had() {
        let begin = Instant::now();
        let mut lag = Lag::default();
        let mut behind =
            |millis, least, most| lag.add(begin + Duration::from_millis(millis), least, most).as_millis();
        assert_eq!(behind(0, 10, 10), 0);
        assert_eq!(behind(5, 10, 20), 0);
        // It has not all that the fastest had at 5, then all of that, then all.
        assert_eq!(behind(8, 15, 30), 3);
        assert_eq!(behind(9, 20, 30), 1);
        assert_eq!(behind(12, 30, 30), 0);
        assert_eq!(behind(20, 30, 40), 0);
        assert_eq!(behind(26, 39, 40), 6);
    }
}
