//! The protocol's table of opening and closing, for one command at a time: who is told what.
//!
//! Editors and owners share one space of names. What only viewers asked for has names of its own, one space for each
//! service; the first editor who opens it moves it out of there.

use std::collections::{BTreeMap, BTreeSet};

use pid1_sdk::api::{
    close_channel::Action as Close, close_channel_res::Status, open_channel::Action as Open,
    open_channel_res::State,
};

/// What somebody is told: a channel is open (its number, or 0, and the state), or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    Opened(i32, i32),
    Closed(i32, i32),
}

/// One client, by its place.
pub type Who = usize;

/// All channels.
#[derive(Debug, Default)]
pub struct Names {
    last_id: i32,
    channels: BTreeMap<i32, Channel>,
}

#[derive(Debug)]
struct Channel {
    service: &'static str,
    name: &'static str,
    /// Only viewers have asked for it.
    lobby: bool,
    members: BTreeSet<Who>,
}

impl Names {
    /// Those that run.
    pub fn running(&self) -> usize {
        self.channels.len()
    }

    /// Somebody opens a channel.
    pub fn open(
        &mut self,
        (who, viewer): (Who, bool),
        service: &'static str,
        name: &'static str,
        how: Open,
    ) -> Told {
        let refused = Told::Opened(0, State::Error.into());
        if service == "no such service" {
            return refused;
        }
        let find = |lobby: bool| {
            let fits =
                move |c: &Channel| c.name == name && c.lobby == lobby && (!lobby || c.service == service);
            self.channels.iter().find(|(_, channel)| !name.is_empty() && fits(channel)).map(|(id, _)| *id)
        };
        let (named, waiting) = (find(false), find(true));
        let found = named.or(waiting);
        let state = match (found, how) {
            // What viewers have open does not count as taken for an editor.
            (Some(_), Open::Create) if named.is_some() || viewer => return refused,
            (None, Open::Attach) if !name.is_empty() => return refused,
            (None, _) | (_, Open::Create) => State::Created,
            (Some(_), _) => State::Attached,
        };
        let id = found.unwrap_or(self.last_id + 1);
        self.last_id = self.last_id.max(id);
        let lobby = viewer && named.is_none();
        let new = Channel { service, name, lobby, members: BTreeSet::new() };
        let channel = self.channels.entry(id).or_insert(new);
        if channel.service != service {
            return refused;
        }
        channel.lobby &= viewer;
        channel.members.insert(who);
        Told::Opened(id, state.into())
    }

    /// Somebody closes a channel: what he is told, and then what each other is told.
    pub fn close(&mut self, (who, viewer): (Who, bool), id: i32, how: Close) -> (Told, BTreeSet<Who>) {
        let Some(channel) = self.channels.get_mut(&id).filter(|channel| channel.members.contains(&who))
        else {
            return (Told::Closed(id, Status::Nothing.into()), BTreeSet::new());
        };
        channel.members.remove(&who);
        let last = channel.members.is_empty();
        let ends = match how {
            _ if last && channel.name.is_empty() => true,
            _ if viewer => false,
            Close::Disconnect => false,
            Close::TryClose => last,
            Close::Close => true,
        };
        if !ends {
            return (Told::Closed(id, Status::Disconnect.into()), BTreeSet::new());
        }
        let others = self.channels.remove(&id).map(|channel| channel.members);
        (Told::Closed(id, Status::Close.into()), others.unwrap_or_default())
    }

    /// Somebody is gone, and leaves everything.
    pub fn vanish(&mut self, who: Who) {
        self.channels.retain(|_, channel| {
            channel.members.remove(&who);
            !channel.members.is_empty() || !channel.name.is_empty()
        });
    }
}
