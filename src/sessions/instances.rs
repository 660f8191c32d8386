//! For which instances sessions run: the published server keeps an instance that has one from being taken for idle. Here
//! it is a figure among the agent's own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many sessions each instance has; those without one are not listed.
#[derive(Debug, Default)]
pub struct Instances {
    sessions: Mutex<BTreeMap<String, usize>>,
}

/// One session, counted until this is dropped.
#[derive(Debug)]
pub struct Counted {
    instances: Arc<Instances>,
    id: String,
}

impl Instances {
    /// Counts a session of `id`; without one it is nobody's.
    pub fn count(self: &Arc<Self>, id: String) -> Option<Counted> {
        if id.is_empty() {
            return None;
        }
        *self.lock().entry(id.clone()).or_default() += 1;
        Some(Counted { instances: self.clone(), id })
    }

    /// All of them.
    pub fn all(&self) -> Vec<(String, usize)> {
        self.lock().iter().map(|(id, sessions)| (id.clone(), *sessions)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut sessions = self.instances.lock();
        if let Some(count) = sessions.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                sessions.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_is_counted_once() {
        let instances = Arc::new(Instances::default());
        let (one, two) = (instances.count("a".into()), instances.count("a".into()));
        let other = instances.count("b".into());
        assert!(instances.count(String::new()).is_none());
        assert_eq!(instances.all(), [("a".into(), 2), ("b".into(), 1)]);
        drop((one, other));
        assert_eq!(instances.all(), [("a".into(), 1)]);
        drop(two);
        assert!(instances.all().is_empty());
    }
}
