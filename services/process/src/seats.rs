//! Who looks on and who types: the members' feeds, and how far the input of each writer was taken.
//!
//! A writer is a name that a client chose for itself. It outlives the client's connections, so that its input can go
//! on where it was. What this deliberately does not do: tell who somebody is; a name is as good as it is hard to guess.

use pid1_sdk::SessionId;

use crate::feed::Feed;

/// Writers remembered although they are not connected, for the case that they come back. Those who typed last are kept:
/// whoever was away while a thousand others typed finds nothing taken, and knows by that.
const WRITERS: usize = 1024;

/// Members and writers of one program.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    seats: Vec<Seat>,
    /// Bytes taken from each writer; the last to type stands last.
    writers: Vec<(String, u64)>,
}

#[derive(Debug)]
struct Seat {
    session: SessionId,
    writer: String,
    _feed: Feed,
}

impl Seats {
    /// `session` is fed from now on, and types as `writer`. It replaces what it had itself, and what the same writer had
    /// on a connection that nobody has noticed to be dead: that would hold the program back for nothing.
    pub(crate) fn seat(&mut self, session: SessionId, writer: String, feed: Feed) {
        self.seats.retain(|seat| seat.session != session && (writer.is_empty() || seat.writer != writer));
        self.seats.push(Seat { session, writer, _feed: feed });
    }

    /// It has left.
    pub(crate) fn leave(&mut self, session: SessionId) {
        self.seats.retain(|seat| seat.session != session);
    }

    /// Bytes taken from a writer.
    pub(crate) fn taken(&self, writer: &str) -> u64 {
        self.writers.iter().find(|(name, _)| name == writer).map_or(0, |(_, taken)| *taken)
    }

    /// Bytes taken from whoever `session` types as, to be counted on.
    pub(crate) fn taken_from(&mut self, session: SessionId) -> &mut u64 {
        let seat = self.seats.iter().find(|seat| seat.session == session);
        let writer = seat.map_or("", |seat| seat.writer.as_str());
        let known = self.writers.iter().position(|(name, _)| name == writer);
        let entry = known.map_or_else(|| (writer.to_owned(), 0), |at| self.writers.remove(at));
        if self.writers.len() >= WRITERS
            && let Some(gone) = self.writers.iter().position(|(name, _)| !self.is_seated(name))
        {
            self.writers.remove(gone);
        }
        let last = self.writers.len();
        self.writers.push(entry);
        &mut self.writers[last].1
    }

    fn is_seated(&self, writer: &str) -> bool {
        self.seats.iter().any(|seat| seat.writer == writer)
    }
}
