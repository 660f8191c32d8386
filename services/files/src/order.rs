//! Which of two requests must wait for the other.

use std::path::{Component, Path, PathBuf};

use tokio_util::sync::{CancellationToken, DropGuard};

/// The part of the workspace that a request is about.
#[derive(Debug)]
pub(crate) struct Claim {
    /// From the root. One that begins with nothing is everything.
    paths: Vec<PathBuf>,
    pub(crate) changes: bool,
}

impl Claim {
    /// On `paths`, as clients give them, of the workspace at `root`.
    pub(crate) fn new<'a>(root: &Path, paths: impl IntoIterator<Item = &'a Path>, changes: bool) -> Claim {
        let paths = paths.into_iter().map(|path| {
            let inner = path.strip_prefix(root).unwrap_or(path);
            // Where `..` leads is not seen from the path: it may be anywhere.
            if inner.components().any(|part| part == Component::ParentDir) {
                return PathBuf::new();
            }
            inner.components().filter(|part| *part != Component::CurDir).collect()
        });
        Claim { paths: paths.collect(), changes }
    }

    fn meets(&self, other: &Claim) -> bool {
        let meet = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
        (self.changes || other.changes) && self.paths.iter().any(|a| other.paths.iter().any(|b| meet(a, b)))
    }
}

/// The requests that have begun and not ended, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Order(Vec<(Claim, CancellationToken)>);

impl Order {
    /// The ends of those that a request with this claim must wait for.
    pub(crate) fn before(&mut self, claim: &Claim) -> Vec<CancellationToken> {
        self.0.retain(|(_, done)| !done.is_cancelled());
        self.0.iter().filter(|(other, _)| other.meets(claim)).map(|(_, done)| done.clone()).collect()
    }

    /// A request has begun; it has ended when what this gives is dropped.
    pub(crate) fn enter(&mut self, claim: Claim) -> DropGuard {
        let done = CancellationToken::new();
        self.0.push((claim, done.clone()));
        done.drop_guard()
    }

    /// Returns when all that changes something has ended.
    pub(crate) async fn until_changed(&self) {
        for (_, done) in self.0.iter().filter(|(claim, _)| claim.changes) {
            done.cancelled().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(paths: &[&str], changes: bool) -> Claim {
        Claim::new(Path::new("/home/me"), paths.iter().copied().map(Path::new), changes)
    }

    #[test]
    fn only_what_changes_the_same_things_waits() {
        let table = [
            ("a", true, "a", false, true),
            ("a", false, "a", false, false),
            ("a/b", true, "a", false, true),
            ("a", true, "a/b/c", false, true),
            ("ab", true, "a", true, false),
            ("./a//b", true, "/home/me/a/b", false, true),
            ("x/../a", false, "b", true, true),
            ("", true, "anything", false, true),
        ];
        for (first, changes, second, second_changes, waits) in table {
            let mut order = Order::default();
            let guard = order.enter(claim(&[first], changes));
            let later = claim(&[second], second_changes);
            assert_eq!(order.before(&later).len(), usize::from(waits), "{first} and then {second}");
            drop(guard);
            assert!(order.before(&later).is_empty());
        }
        let mut order = Order::default();
        let _moving = order.enter(claim(&["from", "to"], true));
        for path in ["from/x", "to"] {
            assert_eq!(order.before(&claim(&[path], false)).len(), 1);
        }
    }
}
