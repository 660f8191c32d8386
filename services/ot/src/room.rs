//! How much the store keeps of documents that nobody has open.

use pid1_sdk::store::{Store, Transaction};
use pid1_sdk::{Result, limits};
use prost::Message;

use crate::history::{Head, SPACE};

/// Removes histories of documents that were not opened for longest, until there are no more than there may be. Those that
/// are open stay, and those of which something is not in its file.
///
/// # Errors
/// If the store cannot be read or written.
pub fn make_room(store: &Store) -> Result<()> {
    let mut all = store
        .commit(|tx| tx.all(SPACE, 0))?
        .into_iter()
        .filter_map(|found| {
            let head = Head::decode(&*found.data).ok()?;
            Some((found, head))
        })
        .collect::<Vec<_>>();
    let (mut count, mut bytes) = (all.len(), all.iter().map(|(_, head)| head.bytes).sum::<u64>());
    all.sort_unstable_by_key(|(_, head)| head.opened);
    for (found, head) in all {
        if count < limits::OT_DOCUMENTS && bytes <= limits::OT_HISTORIES_BYTES {
            break;
        }
        let Ok(_claim) = store.claim(SPACE, &found.text, "making room") else { continue };
        let remove = |tx: &Transaction<'_>| {
            let last = tx.last(found.name)?.unwrap_or_default();
            let version = head.latest.map_or(0, |latest| i64::from(latest.version)).max(last);
            let is_written = head.file.is_some_and(|file| i64::from(file.version) == version);
            if is_written {
                tx.remove(found.name)?;
            }
            Ok(is_written)
        };
        if store.commit(remove)? {
            count -= 1;
            bytes = bytes.saturating_sub(head.bytes);
        }
    }
    Ok(())
}
