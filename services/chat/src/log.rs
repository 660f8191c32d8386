//! What the store keeps of a chat: entry 0 is the [`Head`], entry *n* the *n*th message, as it was sent.

use std::time::{SystemTime, UNIX_EPOCH};

use pid1_sdk::api::ChatMessage;
use pid1_sdk::store::{Name, Store, Transaction};
use pid1_sdk::{Error, Result, Right, limits};
use prost::Message;

use crate::Said;

/// The space of chats in the store. A name in it is that of a channel.
const SPACE: &str = "chat";

/// Which messages are there.
#[derive(Clone, Copy, PartialEq, Message)]
struct Head {
    /// The number of the last one.
    #[prost(int64, tag = "1")]
    last: i64,
    /// How many there are, up to that one.
    #[prost(int64, tag = "2")]
    count: i64,
    /// How long they are together.
    #[prost(uint64, tag = "3")]
    bytes: u64,
    /// When the last one came, in milliseconds since 1970.
    #[prost(uint64, tag = "4")]
    used: u64,
}

impl Head {
    fn read(tx: &Transaction<'_>, name: Name) -> Result<Head> {
        Ok(decoded(tx.get(name, 0)?))
    }

    fn oldest(&self) -> i64 {
        self.last - self.count + 1
    }

    fn is_too_much(&self) -> bool {
        self.count > limits::CHAT_MESSAGES as i64
            || (self.bytes > limits::CHAT_LOG_BYTES as u64 && self.count > 1)
    }
}

/// What the chat in `room` has kept, the oldest first.
pub fn read(store: &Store, room: &str) -> Result<Vec<ChatMessage>> {
    let kept = store.commit(|tx| {
        let Some(name) = tx.find(SPACE, room.as_bytes())? else { return Ok(Vec::new()) };
        let head = Head::read(tx, name)?;
        tx.range(name, head.oldest()..=head.last)
    })?;
    Ok(kept.into_iter().map(|(_, bytes)| decoded(Some(bytes))).collect())
}

/// Keeps what was said in `room`, all of it or nothing.
pub fn add(store: &Store, room: &str, said: &[Said]) -> Result<()> {
    store.commit(|tx| {
        let name = match tx.find(SPACE, room.as_bytes())? {
            Some(name) => name,
            None => begin(tx, room, said.iter().any(|said| said.by.role().may(Right::Write)))?,
        };
        let mut head = Head::read(tx, name)?;
        for Said { message, .. } in said {
            let bytes = message.encode_to_vec();
            head.last += 1;
            head.count += 1;
            head.bytes += bytes.len() as u64;
            tx.put(name, head.last, &bytes)?;
        }
        while head.is_too_much() {
            let gone = tx.get(name, head.oldest())?.unwrap_or_default();
            tx.remove_range(name, head.oldest()..=head.oldest())?;
            head.count -= 1;
            head.bytes = head.bytes.saturating_sub(gone.len() as u64);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        head.used = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        tx.put(name, 0, &head.encode_to_vec())
    })
}

/// A new log; if there are as many as there may be, in place of the one that was used least lately.
fn begin(tx: &Transaction<'_>, room: &str, by_writer: bool) -> Result<Name> {
    let logs = tx.count(SPACE)?;
    if !by_writer && logs >= limits::CHAT_LOGS_BEGUN_BY_VIEWERS {
        return Err(Error::new(format!(
            "{logs} chats are kept already, and only an editor may begin another: talk in one of those"
        )));
    }
    if logs >= limits::CHAT_LOGS {
        let all = tx.all(SPACE, 0)?;
        let used = |bytes: &[u8]| Head::decode(bytes).unwrap_or_default().used;
        if let Some(oldest) = all.iter().min_by_key(|log| used(&log.data)) {
            tx.remove(oldest.name)?;
        }
    }
    tx.name(SPACE, room.as_bytes())
}

/// What cannot be read is as if it were not there: it is a chat.
fn decoded<M: Message + Default>(bytes: Option<Vec<u8>>) -> M {
    bytes.and_then(|bytes| M::decode(&*bytes).ok()).unwrap_or_default()
}
