//! Who is connected: the sessions' numbers, and a way to tell all of them something.

mod instances;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pid1_sdk::api::command::Body;
use pid1_sdk::outbox::Outbox;
use pid1_sdk::wire::{self, Target};
use pid1_sdk::{ChannelId, SessionId};
use tokio::sync::Notify;

pub use instances::{Counted, Instances};

/// The sessions of one agent.
#[derive(Debug)]
pub struct Sessions {
    table: Mutex<Table>,
    crowd_left: Notify,
    instances: Arc<Instances>,
}

#[derive(Debug)]
struct Table {
    last_id: i32,
    connected: HashMap<SessionId, Arc<Outbox>>,
    /// The most that were connected since a crowd last left.
    most: usize,
}

/// So many at least are a crowd: what fewer leave behind is not worth the search for it.
const CROWD: usize = 256;

/// One session's place in the table; dropping it takes the session out.
#[derive(Debug)]
pub struct Entry {
    id: SessionId,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// Nobody yet.
    pub fn new() -> Arc<Self> {
        // 0 and 1 have meanings of their own in the protocol.
        let table = Table { last_id: 1, connected: HashMap::new(), most: 0 };
        Arc::new(Sessions { table: Mutex::new(table), crowd_left: Notify::new(), instances: Arc::default() })
    }

    /// A number that was never used before; `None` when all two billion are used up.
    pub fn next_id(&self) -> Option<SessionId> {
        let mut table = self.lock();
        table.last_id = table.last_id.checked_add(1)?;
        Some(SessionId(table.last_id))
    }

    /// The session `id` is connected from here on.
    pub fn enter(self: &Arc<Self>, id: SessionId, outbox: Arc<Outbox>) -> Entry {
        let mut table = self.lock();
        table.connected.insert(id, outbox);
        table.most = table.most.max(table.connected.len());
        Entry { id, sessions: self.clone() }
    }

    /// For whom ExecService's sessions run.
    pub fn instances(&self) -> &Arc<Instances> {
        &self.instances
    }

    /// How many are connected.
    pub fn connected(&self) -> usize {
        self.lock().connected.len()
    }

    /// Waits until at least half of a crowd has left since this last returned: then there is memory to give back.
    pub async fn crowd_has_left(&self) {
        self.crowd_left.notified().await;
    }

    /// Sends `body` on channel 0 of everybody.
    pub fn broadcast(&self, body: Body) {
        let bytes = wire::encode(ChannelId::CONTROL, Target::All, String::new(), body);
        for outbox in self.lock().connected.values() {
            outbox.push(ChannelId::CONTROL, bytes.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whose it is.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Everybody.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.sessions.lock();
        table.connected.remove(&self.id);
        let left = table.connected.len();
        if table.most >= CROWD && 2 * left <= table.most {
            table.most = left;
            table.connected.shrink_to_fit();
            self.sessions.crowd_left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn each_half_of_a_crowd_that_leaves_is_told() {
        let sessions = Sessions::new();
        let join = || sessions.enter(sessions.next_id().unwrap(), Outbox::new(1024));
        let mut crowd: Vec<Entry> = (0..4 * CROWD).map(|_| join()).collect();
        let mut told = Vec::new();
        while crowd.pop().is_some() {
            if sessions.crowd_has_left().now_or_never().is_some() {
                told.push(crowd.len());
            }
        }
        assert_eq!(told, [2 * CROWD, CROWD, CROWD / 2]);
        drop(join());
        assert!(sessions.crowd_has_left().now_or_never().is_none());
    }
}
