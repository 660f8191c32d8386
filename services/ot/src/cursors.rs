//! Where the members of a document type, as they say themselves. Relayed as they are; kept for those who come later.

use std::collections::BTreeMap;

use pid1_sdk::api::OtCursor;
use pid1_sdk::{Error, Result, SessionId, limits};
use prost::Message;

/// The cursors of one document.
#[derive(Debug, Default)]
pub struct Cursors(BTreeMap<SessionId, Vec<OtCursor>>);

impl Cursors {
    /// A member shows a cursor, or moves one of its own.
    ///
    /// # Errors
    /// If it takes too much, or it has as many as it may.
    pub fn show(&mut self, session: SessionId, cursor: &OtCursor) -> Result<()> {
        let size = cursor.encoded_len();
        if size > limits::OT_CURSOR_BYTES {
            return Err(Error::new(format!(
                "ot: a cursor takes at most {} bytes, its user included, and this one takes {size}",
                limits::OT_CURSOR_BYTES
            )));
        }
        let own = self.0.entry(session).or_default();
        if let Some(old) = own.iter_mut().find(|old| old.id == cursor.id) {
            *old = cursor.clone();
        } else if own.len() < limits::OT_CURSORS {
            own.push(cursor.clone());
        } else {
            return Err(Error::new(format!(
                "ot: this session shows {} cursors already: delete one first (otDeleteCursor)",
                limits::OT_CURSORS
            )));
        }
        Ok(())
    }

    /// A member takes a cursor away. Whether it had it.
    pub fn delete(&mut self, session: SessionId, id: &str) -> bool {
        let Some(own) = self.0.get_mut(&session) else { return false };
        let before = own.len();
        own.retain(|cursor| cursor.id != id);
        own.len() < before
    }

    /// A member has left; what it showed.
    pub fn leave(&mut self, session: SessionId) -> Vec<OtCursor> {
        self.0.remove(&session).unwrap_or_default()
    }

    /// All of them.
    pub fn all(&self) -> Vec<OtCursor> {
        self.0.values().flatten().cloned().collect()
    }
}
