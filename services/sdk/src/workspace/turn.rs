//! Whose turn it is to replace something: one at a time for each name in each folder, so that what a check has seen is
//! what is replaced.
//!
//! Who waits for a turn has one of the few threads that serve everybody's files. So nothing waits for a disk within one,
//! but where a file is rewritten in place: two who did that at once would mix what they write. As that takes as long as
//! there is much of it, nobody waits for it for long.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::sync::{Condvar, Mutex, PoisonError};

use super::error::Cause;
use crate::limits;

/// A folder's identity, and a name in it.
type Name = ((u64, u64), OsString);

/// All turns that are taken.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<HashSet<Name>>,
    ended: Condvar,
}

/// Held while what has a name is replaced.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    name: Name,
}

impl Turns {
    /// Waits until nobody else replaces what has this name.
    pub(super) fn take(&self, folder: (u64, u64), name: &OsStr) -> Result<Turn<'_>, Cause> {
        let name = (folder, name.to_owned());
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.wait_timeout_while(taken, limits::COMMIT_WAIT, |taken| taken.contains(&name));
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if taken.insert(name.clone()) { Ok(Turn { turns: self, name }) } else { Err(Cause::Busy) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        self.turns.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn only_one_name_waits_for_itself_and_not_for_ever() {
        let turns = Turns::default();
        let take = |folder, name: &str| turns.take((0, folder), OsStr::new(name));
        // However many others are taken.
        let held: Vec<_> = (0..1000).map(|folder| take(folder, "a")).collect();
        assert!(held.iter().all(Result::is_ok) && take(7, "b").is_ok());
        assert!(matches!(take(7, "a"), Err(Cause::Busy)));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| take(7, "a").is_ok());
            drop(held);
            assert!(waiting.join().is_ok_and(|taken| taken));
        });
    }
}
