//! What the members of a terminal share: whose window size it has, what a newcomer is shown of its past, and whether its
//! shell is started again.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Instant;

use crate::channel::Audience;
use crate::identity::SessionId;
use crate::limits;
use crate::process::WindowSize;

/// When a shell was last started by itself: one that ends again and again stays down after a few times, until somebody types.
#[derive(Debug, Default)]
pub struct Respawns(VecDeque<Instant>);

impl Respawns {
    /// Whether a shell that has exited is started again: [`limits::RESPAWNS`] times within [`limits::RESPAWN_WINDOW`], and only
    /// for somebody who may do more than look on.
    pub fn again(&mut self, audience: &Audience) -> bool {
        let now = Instant::now();
        self.0.retain(|then| now.duration_since(*then) < limits::RESPAWN_WINDOW);
        let again = self.0.len() < limits::RESPAWNS && audience.has_writer();
        if again {
            self.0.push_back(now);
        }
        again
    }
}

/// The sizes that members want, and who typed last: whoever did wins, so that looking on with a phone does not reflow the
/// laptop where the work happens. `W` is who has a window: a session, or where it can have several, more than that.
#[derive(Debug)]
pub struct Sizes<W = SessionId> {
    wanted: HashMap<W, WindowSize>,
    /// Everybody who has said a size or typed; whoever typed last stands last, and decides.
    order: Vec<W>,
    current: Option<WindowSize>,
}

impl<W> Default for Sizes<W> {
    fn default() -> Self {
        Sizes { wanted: HashMap::new(), order: Vec::new(), current: None }
    }
}

impl<W: Copy + Eq + Hash> Sizes<W> {
    /// `session` typed: the size to change to, if it is now another.
    pub fn typed(&mut self, session: W) -> Option<WindowSize> {
        if self.order.last() != Some(&session) {
            self.order.retain(|other| *other != session);
            self.order.push(session);
        }
        self.decide()
    }

    /// `session` has a window of this size: the size to change to, if it is now another.
    pub fn wants(&mut self, session: W, size: WindowSize) -> Option<WindowSize> {
        self.wanted.insert(session, size);
        if !self.order.contains(&session) {
            self.order.insert(0, session);
        }
        self.decide()
    }

    /// `session` has left: the size to change to, so that whoever is left gets its window back.
    pub fn forget(&mut self, session: W) -> Option<WindowSize> {
        self.wanted.remove(&session);
        self.order.retain(|other| *other != session);
        self.decide()
    }

    fn decide(&mut self) -> Option<WindowSize> {
        // Who never said a size (a program that types) has no window to fit.
        let decides = self.order.iter().rev().find_map(|session| self.wanted.get(session)).copied();
        if decides.is_none() || decides == self.current {
            return None;
        }
        self.current = decides;
        decides
    }
}

/// The end of `before` and `now` together, within the bounds of a scrollback ([`limits::SCROLLBACK_LINES`] and
/// [`limits::SCROLLBACK_BYTES`]), from the start of a line.
pub fn last_lines(before: &str, now: &str) -> String {
    let mut all = [before, now].concat();
    let by_lines = all.rmatch_indices('\n').nth(limits::SCROLLBACK_LINES).map_or(0, |(at, _)| at + 1);
    let by_bytes = match all.len().checked_sub(limits::SCROLLBACK_BYTES) {
        None | Some(0) => 0,
        Some(from) => all.as_bytes()[from..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(all.ceil_char_boundary(from), |at| from + at + 1),
    };
    all.drain(..by_lines.max(by_bytes));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAPTOP: SessionId = SessionId(2);
    const PHONE: SessionId = SessionId(3);
    const WIDE: WindowSize = WindowSize { rows: 50, cols: 200 };
    const NARROW: WindowSize = WindowSize { rows: 20, cols: 40 };

    fn both() -> Sizes {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.wants(LAPTOP, WIDE), Some(WIDE), "the first to say a size gets it");
        assert_eq!(sizes.wants(PHONE, NARROW), None, "who looks on changes nothing");
        sizes
    }

    #[test]
    fn a_phone_that_looks_on_changes_nothing_until_it_types() {
        let mut sizes = both();
        assert_eq!(sizes.typed(LAPTOP), None);
        assert_eq!(sizes.typed(PHONE), Some(NARROW));
        assert_eq!(sizes.wants(LAPTOP, WIDE), None);
        assert_eq!(sizes.typed(LAPTOP), Some(WIDE));
        assert_eq!(sizes.typed(LAPTOP), None);
    }

    #[test]
    fn when_who_decided_leaves_the_other_gets_its_size_back() {
        let mut sizes = both();
        assert_eq!(sizes.typed(PHONE), Some(NARROW));
        assert_eq!(sizes.forget(PHONE), Some(WIDE));
        assert_eq!(sizes.forget(LAPTOP), None, "with nobody left the terminal stays as it is");
    }

    #[test]
    fn who_never_said_a_size_changes_nothing_by_typing() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.wants(LAPTOP, WIDE), Some(WIDE));
        assert_eq!(sizes.typed(PHONE), None);
        assert_eq!(sizes.wants(LAPTOP, NARROW), Some(NARROW));
    }

    #[test]
    fn a_past_of_two_lives_is_bounded_and_starts_at_a_line() {
        assert_eq!(last_lines("a\n", "b"), "a\nb");
        let lines: String = (0..1200).map(|line| format!("line {line}\n")).collect();
        let kept = last_lines(&lines, "$ ");
        assert!(kept.starts_with("line 200\n") && kept.ends_with("line 1199\n$ "), "{}", &kept[..20]);
        let wide = format!("{}\nend\n", "é".repeat(limits::SCROLLBACK_BYTES));
        assert_eq!(last_lines(&wide, "$ "), "end\n$ ");
    }
}
