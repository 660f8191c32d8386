//! Every program that can be named: those that run, and the dead as long as somebody holds them.
//!
//! What it deliberately does not do: hold any of them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::handle::{Inner, Process};
use super::spec::ProcessId;
use crate::limits::EXITED_KEPT;

/// Programs by their names.
#[derive(Default)]
pub(super) struct Listed {
    programs: HashMap<ProcessId, Weak<Inner>>,
    /// How many were left after the names of those nobody holds had been cleared out.
    left: usize,
}

impl Listed {
    pub(super) fn insert(&mut self, process: &Process) {
        // Looked through when it has grown to twice of what was left: so a start looks at few, however many are held.
        if self.programs.len() >= 2 * self.left.max(EXITED_KEPT) {
            self.programs.retain(|_, inner| inner.strong_count() > 0);
            self.left = self.programs.len();
        }
        self.programs.insert(process.id(), Arc::downgrade(&process.inner));
    }

    pub(super) fn get(&self, id: ProcessId) -> Option<Process> {
        let inner = self.programs.get(&id)?.upgrade()?;
        Some(Process { inner })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Process> {
        let held = self.programs.values().filter_map(Weak::upgrade);
        held.map(|inner| Process { inner })
    }

    /// How many names there are, also of those that are gone.
    #[cfg(test)]
    pub(super) fn names(&self) -> usize {
        self.programs.len()
    }
}
