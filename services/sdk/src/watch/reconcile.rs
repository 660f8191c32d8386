//! From what a client has been told, what the kernel said and what is on the disk, to what the client is told next.
//!
//! Pure: no files, no clock. Whatever events were lost or merged, a client that applies the steps one after the other
//! (a removal takes the subtree, a move replaces nothing) ends with what is on the disk. Marks only decide how a change
//! is told, never whether the end is right, with one exception: a folder that was replaced by another under the same
//! inode number is known by its mark alone.

use std::collections::HashMap;

use super::listing::{Entry, Kind, Marks};

/// One name that may have changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// As the clients know it.
    pub(super) old: Option<Entry>,
    /// As it is.
    pub(super) new: Option<Entry>,
    pub(super) marks: Marks,
}

/// What to tell of a slot, named by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create(usize),
    Remove(usize),
    Modify(usize),
    /// What was at the first is now at the second, where nothing is by then.
    Move(usize, usize),
}

/// The steps, in the order in which they are to be applied. A folder's slot stands before those of its children.
pub(super) fn reconcile(slots: &[Slot]) -> Vec<Step> {
    let old = slots.iter().map(|slot| slot.old).collect();
    let mut plan = Plan { steps: Vec::new(), old, done: vec![false; slots.len()], slots };
    for chain in chains(slots) {
        plan.carry_out(&chain);
    }
    plan.the_rest();
    plan.steps
}

/// Moves that depend on each other: the second vacates what the first needs. A circle ends where it began.
type Chain = Vec<(usize, usize)>;

fn chains(slots: &[Slot]) -> Vec<Chain> {
    let left = |slot: &Slot| slot.marks.from && slot.old.map(identity) != slot.new.map(identity);
    let came = |slot: &Slot| slot.marks.to && slot.old.map(identity) != slot.new.map(identity);
    let mut sources = HashMap::new();
    for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| left(slot)) {
        if let Some(old) = slot.old {
            sources.insert(identity(old), at);
        }
    }
    // Where each went, and the way back.
    let (mut to, mut is_dest) = (HashMap::new(), vec![false; slots.len()]);
    for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| came(slot)) {
        if let Some(source) = slot.new.and_then(|new| sources.remove(&identity(new))) {
            to.insert(source, at);
            is_dest[at] = true;
        }
    }
    let mut starts: Vec<usize> = to.keys().copied().collect();
    // Those that nothing moves to begin a chain; what is left then are circles.
    starts.sort_unstable_by_key(|at| (is_dest[*at], *at));
    let mut chains = Vec::new();
    for start in starts {
        let (mut chain, mut at) = (Chain::new(), start);
        while let Some(next) = to.remove(&at) {
            chain.push((at, next));
            at = next;
        }
        if !chain.is_empty() {
            chains.push(chain);
        }
    }
    chains
}

fn identity(entry: Entry) -> (Kind, u64) {
    (entry.kind, entry.inode)
}

struct Plan<'a> {
    steps: Vec<Step>,
    /// What the client has by then.
    old: Vec<Option<Entry>>,
    /// Slots of which all is told.
    done: Vec<bool>,
    slots: &'a [Slot],
}

impl Plan<'_> {
    fn carry_out(&mut self, chain: &Chain) {
        let is_circle = chain.first().map(|(from, _)| from) == chain.last().map(|(_, to)| to);
        if is_circle {
            // Nothing can go first. Told as what it comes to, name by name.
            return;
        }
        for &(from, to) in chain.iter().rev() {
            let (moved, there, now) = (self.old[from], self.old[to], self.slots[to].new);
            match there {
                // A file moved over a file: how editors save. To whoever has it open it is the same file.
                Some(Entry { kind: Kind::File, .. })
                    if moved.is_some_and(|moved| moved.kind == Kind::File) =>
                {
                    self.steps.push(Step::Remove(from));
                    self.steps.push(Step::Modify(to));
                }
                _ => {
                    if there.is_some() {
                        self.steps.push(Step::Remove(to));
                    }
                    self.steps.push(Step::Move(from, to));
                    let written = [from, to].iter().any(|at| self.slots[*at].marks.written);
                    if moved != now || (written && now.is_some_and(|now| now.kind == Kind::File)) {
                        self.steps.push(Step::Modify(to));
                    }
                }
            }
            self.old[from] = None;
            self.old[to] = now;
            self.done[to] = true;
        }
    }

    /// Name by name: first what goes, then what comes and what changed.
    fn the_rest(&mut self) {
        let mut later = Vec::new();
        for (at, slot) in self.slots.iter().enumerate().filter(|(at, _)| !self.done[*at]) {
            match (self.old[at], slot.new) {
                (None, None) if slot.marks.brief => self.steps.push(Step::Remove(at)),
                (None, None) => {}
                (None, Some(_)) => later.push(Step::Create(at)),
                (Some(_), None) => self.steps.push(Step::Remove(at)),
                (Some(old), Some(new)) if old.kind == Kind::File && new.kind == Kind::File => {
                    if old != new || slot.marks.written || slot.marks.gone {
                        later.push(Step::Modify(at));
                    }
                }
                (Some(old), Some(new)) => {
                    if old != new || slot.marks.gone {
                        self.steps.push(Step::Remove(at));
                        later.push(Step::Create(at));
                    }
                }
            }
        }
        self.steps.append(&mut later);
    }
}

#[cfg(test)]
mod tests;
