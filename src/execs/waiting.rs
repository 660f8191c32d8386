//! Input that waits for programs to read it, besides what is queued for them: how much there may be, and how much of
//! one person.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Person;

/// All of it.
pub(super) const MOST_BYTES: usize = 256 << 20;

/// Of one person, so that others have room.
const EACH_BYTES: usize = MOST_BYTES / 2;

/// What waits for the programs of each person.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    people: Mutex<HashMap<Person, usize>>,
}

/// A part of it, given back when this is dropped.
pub(super) struct Held {
    waiting: Arc<Waiting>,
    person: Person,
    bytes: usize,
}

impl Waiting {
    /// Room for so much more, if there is any.
    pub(super) fn hold(self: &Arc<Self>, person: &Person, bytes: usize) -> Option<Held> {
        let mut people = self.lock();
        let all: usize = people.values().sum();
        let own = people.get(person).copied().unwrap_or_default();
        if all + bytes > MOST_BYTES || own + bytes > EACH_BYTES {
            return None;
        }
        people.insert(person.clone(), own + bytes);
        Some(Held { waiting: self.clone(), person: person.clone(), bytes })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Person, usize>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut people = self.waiting.lock();
        if let Some(own) = people.get_mut(&self.person) {
            *own -= self.bytes;
            if *own == 0 {
                people.remove(&self.person);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_the_room() {
        let waiting = Arc::new(Waiting::default());
        let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| Person(0, name.to_owned()));
        let first = waiting.hold(&ann, EACH_BYTES).expect("there is room");
        assert!(waiting.hold(&ann, 1).is_none());
        let second = waiting.hold(&bob, EACH_BYTES - 1).expect("there is room");
        let _third = waiting.hold(&eve, 1).expect("there is room");
        assert!(waiting.hold(&eve, 1).is_none(), "all is taken");
        drop(first);
        let _fourth = waiting.hold(&eve, EACH_BYTES - 1).expect("there is room again");
        assert!(waiting.hold(&eve, 1).is_none());
        drop(second);
        assert_eq!(waiting.lock().len(), 1);
    }
}
