//! What the store keeps: a key is a name, and its value stands in pieces under the numbers of their first bytes. So an
//! append costs as much as what is appended, and the last piece tells how long the value is.

use bytes::Bytes;
use pid1_sdk::api::{Ok as Done, ReadMeta, command::Body};
use pid1_sdk::error::printable;
use pid1_sdk::store::{Name, Store, Transaction};
use pid1_sdk::{Error, Result, limits};
use prost::Message;

/// The space of keys in the store.
const SPACE: &str = "meta";

/// The space of the one name under which their [`Totals`] stand.
const TOTALS: &str = "meta totals";

/// Pieces up to this length are joined: a page of the store.
const PIECE_BYTES: usize = 4096;

const ALL: std::ops::RangeInclusive<i64> = 0..=i64::MAX;

/// What somebody wants.
#[derive(Debug)]
pub enum Order {
    /// What is there.
    Read(String),
    /// This, whatever was there.
    Write(String, Bytes),
    /// This behind what is there.
    Append(String, Bytes),
}

/// All keys together.
#[derive(Clone, Copy, PartialEq, Message)]
struct Totals {
    #[prost(uint64, tag = "1")]
    keys: u64,
    /// Of keys and values.
    #[prost(uint64, tag = "2")]
    bytes: u64,
}

impl Order {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Order::Read(key) | Order::Write(key, _) | Order::Append(key, _) => key,
        }
    }

    /// Whether there would not be too much under the key, behind so many bytes.
    ///
    /// # Errors
    /// If there would be.
    pub fn check(&self, before: usize) -> Result<()> {
        let length = match self {
            Order::Read(_) => 0,
            Order::Write(_, data) => data.len(),
            Order::Append(_, data) => before + data.len(),
        };
        if length > limits::META_VALUE_BYTES {
            return Err(Error::new(format!(
                "the value of {} would have {length} bytes, and {} are allowed",
                printable(self.key()),
                limits::META_VALUE_BYTES
            )));
        }
        Ok(())
    }

    /// The answer; an error inside is about this order alone, and has changed nothing.
    fn carry_out(&self, tx: &Transaction<'_>) -> Result<Result<Body>> {
        let (key, data, keep) = match self {
            Order::Read(key) => return read(tx, key).map(Ok),
            Order::Write(key, data) => (key, data, false),
            Order::Append(key, data) => (key, data, true),
        };
        let found = tx.find(SPACE, key.as_bytes())?;
        let last = match found {
            Some(name) => last_piece(tx, name)?,
            None => (0, Vec::new()),
        };
        let before = last.0 + last.1.len();
        let after = if keep { before + data.len() } else { data.len() };
        if let Err(error) = self.check(before) {
            return Ok(Err(error));
        }
        let totals = tx.name(TOTALS, b"")?;
        let mut sum = Totals::decode(&*tx.get(totals, 0)?.unwrap_or_default()).unwrap_or_default();
        if found.is_none() {
            sum.keys += 1;
            sum.bytes += key.len() as u64;
        }
        sum.bytes = (sum.bytes + after as u64).saturating_sub(before as u64);
        if let Err(error) = sum.check(found.is_none(), after > before) {
            return Ok(Err(error));
        }
        let name = tx.name(SPACE, key.as_bytes())?;
        let (at, piece) = last;
        if !keep {
            tx.remove_range(name, ALL)?;
            tx.put(name, 0, data)?;
        } else if piece.len() + data.len() <= PIECE_BYTES {
            tx.put(name, number(at), &[&piece, &data[..]].concat())?;
        } else {
            tx.put(name, number(before), data)?;
        }
        tx.put(totals, 0, &sum.encode_to_vec())?;
        Ok(Ok(Body::Ok(Done {})))
    }
}

impl Totals {
    /// Whether there is room. What makes less of it is always right.
    fn check(&self, is_new: bool, is_more: bool) -> Result<()> {
        if is_new && self.keys > limits::META_KEYS as u64 {
            return Err(Error::new(format!(
                "there are {} keys already, as many as there may be: write to one of those",
                limits::META_KEYS
            )));
        }
        if (is_new || is_more) && self.bytes > limits::META_BYTES as u64 {
            return Err(Error::new(format!(
                "all keys and values would have {} bytes together, and {} are allowed: write less, or shorten others",
                self.bytes,
                limits::META_BYTES
            )));
        }
        Ok(())
    }
}

/// Carries out the orders one after the other, in one step: the answer to each.
///
/// # Errors
/// If that could not be kept. Then nothing has changed.
pub fn commit(store: &Store, orders: &[Order]) -> Result<Vec<Result<Body>>> {
    store.commit(|tx| orders.iter().map(|order| order.carry_out(tx)).collect())
}

/// The same, each in a step of its own: what cannot be kept is answered by an error.
pub fn commit_each(store: &Store, orders: &[Order]) -> Vec<Result<Body>> {
    orders.iter().map(|order| store.commit(|tx| order.carry_out(tx)).and_then(|answer| answer)).collect()
}

fn read(tx: &Transaction<'_>, key: &str) -> Result<Body> {
    let found = tx.find(SPACE, key.as_bytes())?;
    let pieces = found.map_or(Ok(Vec::new()), |name| tx.range(name, ALL))?;
    let data = pieces.into_iter().map(|(_, piece)| piece).collect::<Vec<_>>().concat().into();
    Ok(Body::ReadMeta(ReadMeta { key: key.to_owned(), exists: found.is_some(), data }))
}

/// The last piece of a value, and where it stands in it.
fn last_piece(tx: &Transaction<'_>, name: Name) -> Result<(usize, Vec<u8>)> {
    let Some(last) = tx.last(name)? else { return Ok((0, Vec::new())) };
    Ok((usize::try_from(last).unwrap_or_default(), tx.get(name, last)?.unwrap_or_default()))
}

/// Values are far shorter than that.
fn number(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}
