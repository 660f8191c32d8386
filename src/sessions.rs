//! Who is connected: the sessions' numbers, and a way to tell all of them something.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pid1_sdk::api::command::Body;
use pid1_sdk::outbox::Outbox;
use pid1_sdk::wire::{self, Target};
use pid1_sdk::{ChannelId, SessionId};

/// The sessions of one agent.
#[derive(Debug)]
pub struct Sessions {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    last_id: i32,
    connected: HashMap<SessionId, Arc<Outbox>>,
}

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
        Arc::new(Sessions { table: Mutex::new(Table { last_id: 1, connected: HashMap::new() }) })
    }

    /// A number that was never used before; `None` when all two billion are used up.
    pub fn next_id(&self) -> Option<SessionId> {
        let mut table = self.lock();
        table.last_id = table.last_id.checked_add(1)?;
        Some(SessionId(table.last_id))
    }

    /// The session `id` is connected from here on.
    pub fn enter(self: &Arc<Self>, id: SessionId, outbox: Arc<Outbox>) -> Entry {
        self.lock().connected.insert(id, outbox);
        Entry { id, sessions: self.clone() }
    }

    /// How many are connected.
    pub fn connected(&self) -> usize {
        self.lock().connected.len()
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
        self.sessions.lock().connected.remove(&self.id);
    }
}
