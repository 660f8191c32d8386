//! The channel table: which channels run, under which names, and who may open what.
//!
//! All changes are made under one lock that is never held across a wait. A channel that ends itself is taken out by
//! its own task; until then its entry is known to be gone and is treated as not there.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pid1_sdk::api::{OpenChannel, open_channel::Action};
use pid1_sdk::channel::{Handle, Member, NotJoined};
use pid1_sdk::engine::Engine;
use pid1_sdk::{ChannelId, Right, ServiceDef, limits};
use tokio::sync::{Notify, oneshot};

use crate::registry;

/// The channels of one agent.
#[derive(Debug)]
pub struct Router {
    engine: Arc<Engine>,
    table: Mutex<Table>,
    /// The last channel has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Table {
    names: HashMap<String, Handle>,
    /// Named channels that only viewers have asked for. There a name is one of its service: whoever may only look on
    /// takes no name away from others. The first editor who opens it moves it to `names`.
    lobby: HashMap<(&'static str, String), Handle>,
    running: usize,
    last_id: i32,
}

/// A channel that a session has just joined.
pub struct Opened {
    /// The channel.
    pub handle: Handle,
    /// Resolves when the session has been told and greeted.
    pub joined: oneshot::Receiver<()>,
}

/// Why a channel was not opened. The text goes into `openChanRes.error`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No such service.
    #[error("unknown service: {0}")]
    UnknownService(String),
    /// ATTACH, and there is nothing to attach to.
    #[error("channel not found: {0}")]
    NotFound(String),
    /// CREATE, and the name is in use.
    #[error("channel already exists: {0}")]
    Exists(String),
    /// The name belongs to a channel of another service.
    #[error("channel {name} is a {actual} channel, not {wanted}")]
    OtherService {
        /// The channel's name.
        name: String,
        /// What was asked for.
        wanted: String,
        /// What it is.
        actual: &'static str,
    },
    /// A bound of `sdk::limits` is reached.
    #[error("{0}")]
    Limit(String),
}

impl Router {
    /// A router without channels.
    pub fn new(engine: Arc<Engine>) -> Arc<Self> {
        Arc::new(Router { engine, table: Mutex::default(), ended: Notify::new() })
    }

    /// The engine that channels stand on.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// How many channels run.
    pub fn running(&self) -> usize {
        self.lock().running
    }

    /// Waits until no channel runs.
    pub async fn until_empty(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Opens or attaches for `member`, in one transaction.
    pub fn open(
        self: &Arc<Self>,
        member: Member,
        request: OpenChannel,
        reference: String,
    ) -> Result<Opened, OpenError> {
        let service = registry::find(&request.service)
            .ok_or_else(|| OpenError::UnknownService(pid1_sdk::error::printable(&request.service)))?;
        let action = request.action();
        let name = request.name;
        if name.len() > limits::CHANNEL_NAME_BYTES {
            return Err(OpenError::Limit(format!(
                "a channel's name has at most {} bytes, not {}",
                limits::CHANNEL_NAME_BYTES,
                name.len()
            )));
        }
        let mut table = self.lock();
        if name.is_empty() {
            let handle = self.start(&mut table, service, None)?;
            return join(handle, member, reference, true);
        }
        if let Some(handle) = table.names.get(&name).filter(|handle| !handle.is_gone()).cloned() {
            if action == Action::Create {
                return Err(OpenError::Exists(name));
            }
            if handle.service() != service.name {
                return Err(OpenError::OtherService {
                    name,
                    wanted: request.service,
                    actual: handle.service(),
                });
            }
            match handle.join(member.clone(), reference.clone(), false) {
                Ok(joined) => return Ok(Opened { handle, joined }),
                // Between the look and the join it ended itself: then it is as if it had not been there.
                Err(NotJoined::Gone) => {}
                Err(full) => return Err(OpenError::Limit(full.to_string())),
            }
        }
        let visitor = !member.role().may(Right::Write);
        let place = (service.name, name);
        let waiting = table.lobby.get(&place).filter(|handle| !handle.is_gone()).cloned();
        if waiting.is_none() && action == Action::Attach {
            return Err(OpenError::NotFound(place.1));
        }
        if visitor {
            match waiting {
                Some(_) if action == Action::Create => return Err(OpenError::Exists(place.1)),
                Some(handle) => return join(handle, member, reference, false),
                None => {}
            }
            make_room(&mut table.lobby, limits::LOBBY_CHANNELS)?;
            let handle = self.start(&mut table, service, Some(place.1.clone()))?;
            table.lobby.insert(place, handle.clone());
            return join(handle, member, reference, true);
        }
        make_room(&mut table.names, limits::NAMED_CHANNELS)?;
        let created = waiting.is_none() || action == Action::Create;
        let handle = match waiting {
            Some(handle) => handle,
            None => self.start(&mut table, service, Some(place.1.clone()))?,
        };
        table.lobby.remove(&place);
        table.names.insert(place.1, handle.clone());
        join(handle, member, reference, created)
    }

    fn start(
        self: &Arc<Self>,
        table: &mut Table,
        service: &'static ServiceDef,
        name: Option<String>,
    ) -> Result<Handle, OpenError> {
        // Never used twice: a client dies when it is told of an id that it knows.
        let id = table.last_id.checked_add(1).ok_or_else(|| {
            OpenError::Limit("this agent has used up all channel numbers; restart it".to_owned())
        })?;
        table.last_id = id;
        table.running += 1;
        let router = self.clone();
        let named = name.clone();
        let id = ChannelId(id);
        Ok(Handle::start(service, id, name, &self.engine, move || router.ended(id, service.name, named)))
    }

    fn ended(&self, id: ChannelId, service: &'static str, name: Option<String>) {
        let mut table = self.lock();
        table.running -= 1;
        if table.running == 0 {
            self.ended.notify_waiters();
        }
        let Some(name) = name else { return };
        // The name may belong to a successor already.
        if table.names.get(&name).is_some_and(|handle| handle.id() == id) {
            table.names.remove(&name);
        }
        let place = (service, name);
        if table.lobby.get(&place).is_some_and(|handle| handle.id() == id) {
            table.lobby.remove(&place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Channels that nobody uses and that hold nothing go, if as many are named as may be.
fn make_room<K: Eq + Hash>(named: &mut HashMap<K, Handle>, most: usize) -> Result<(), OpenError> {
    if named.len() >= most {
        named.retain(|_, handle| !handle.is_gone() && !handle.retire());
    }
    if named.len() >= most {
        return Err(OpenError::Limit(format!("{most} named channels are open already")));
    }
    Ok(())
}

fn join(handle: Handle, member: Member, reference: String, created: bool) -> Result<Opened, OpenError> {
    match handle.join(member, reference, created) {
        Ok(joined) => Ok(Opened { handle, joined }),
        Err(gone) => Err(OpenError::Limit(gone.to_string())),
    }
}
