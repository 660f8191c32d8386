//! Readers that hold a program back: how far each has come, and what the pump owes them.
//!
//! What it deliberately does not do: lock, wait, or know what is kept.

use std::time::Duration;

use super::reader::Hold;
use crate::limits::{LAGGARD_BYTES, LAGGARD_PATIENCE};

/// Identifies a holding reader within its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u64);

/// All holding readers of one log.
#[derive(Default)]
pub(super) struct Holders {
    list: Vec<Holder>,
    next_slot: u64,
}

struct Holder {
    slot: Slot,
    hold: Hold,
    at: u64,
    /// Whether the pump lingers for it at present.
    awaited: bool,
    /// How long the pump has lingered for it since it was at `mark`. At `LAGGARD_PATIENCE` it is given up.
    waited: Duration,
    mark: u64,
}

/// Where a log stands.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    /// The offset behind the newest byte.
    pub(super) end: u64,
    /// The offset of the oldest byte in memory.
    pub(super) memory_start: u64,
    /// How many of the newest bytes are always in memory.
    pub(super) window: u64,
    /// How many bytes before those the file can keep.
    pub(super) file_room: u64,
}

impl Holders {
    /// Adds a reader at byte `at`; none if it does not hold.
    pub(super) fn add(&mut self, at: u64, hold: Hold) -> Option<Slot> {
        if hold == Hold::Not {
            return None;
        }
        let slot = Slot(self.next_slot);
        self.next_slot += 1;
        self.list.push(Holder { slot, hold, at, awaited: false, waited: Duration::ZERO, mark: at });
        Some(slot)
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.list.is_empty()
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.list.retain(|holder| holder.slot != slot);
    }

    pub(super) fn advance(&mut self, slot: Slot, at: u64) {
        if let Some(holder) = self.list.iter_mut().find(|holder| holder.slot == slot) {
            holder.at = at;
        }
    }

    /// The first byte that somebody still needs.
    pub(super) fn slowest(&self) -> u64 {
        self.list.iter().map(|holder| holder.at).min().unwrap_or(u64::MAX)
    }

    /// Whether the program has to wait for somebody.
    pub(super) fn stop(&self, log: Standing) -> bool {
        self.list.iter().any(|holder| holder.stops(log))
    }

    /// Whether somebody is about to read from memory what would soon be in the file only, and is not given up.
    pub(super) fn linger(&self, log: Standing) -> bool {
        self.list.iter().any(|holder| holder.is_near(log) && holder.waited < LAGGARD_PATIENCE)
    }

    /// How long the pump is to linger; None if for nobody.
    pub(super) fn patience(&mut self, log: Standing) -> Option<Duration> {
        for holder in &mut self.list {
            if holder.waited >= LAGGARD_PATIENCE && holder.lag(log) < log.window {
                holder.start_over();
            }
            holder.awaited = holder.is_near(log) && holder.waited < LAGGARD_PATIENCE;
        }
        let awaited = self.list.iter().filter(|holder| holder.awaited);
        awaited.map(|holder| LAGGARD_PATIENCE - holder.waited).min()
    }

    /// The pump has lingered for `time`. It is counted over many short waits: else one who takes a little just in time, and
    /// again, would have a fast program at its own pace.
    pub(super) fn lingered(&mut self, time: Duration) {
        for holder in self.list.iter_mut().filter(|holder| holder.awaited) {
            holder.waited += time;
            if holder.at - holder.mark >= LAGGARD_BYTES {
                holder.start_over();
            }
        }
    }
}

impl Holder {
    fn lag(&self, log: Standing) -> u64 {
        log.end.saturating_sub(self.at)
    }

    fn stops(&self, log: Standing) -> bool {
        let bound = match self.hold {
            Hold::Back => log.window,
            Hold::WhenFull => log.window.saturating_add(log.file_room),
            Hold::Not => return false,
        };
        self.lag(log) >= bound
    }

    /// One who has to read the file already gains nothing by waiting.
    fn is_near(&self, log: Standing) -> bool {
        self.hold == Hold::WhenFull && self.lag(log) >= log.window && self.at >= log.memory_start
    }

    fn start_over(&mut self) {
        self.waited = Duration::ZERO;
        self.mark = self.at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(50);

    fn log(end: u64) -> Standing {
        Standing {
            end,
            memory_start: end.saturating_sub(2000 << 10),
            window: 1000 << 10,
            file_room: 9000 << 10,
        }
    }

    #[test]
    fn each_kind_stops_the_program_at_its_own_bound() {
        for (hold, bound) in [(Hold::Back, 1000 << 10), (Hold::WhenFull, 10_000 << 10)] {
            let mut holders = Holders::default();
            let slot = holders.add(5, hold).unwrap();
            assert!(!holders.stop(log(bound + 4)));
            assert!(holders.stop(log(bound + 5)));
            assert!(holders.stop(Standing { file_room: 0, ..log((1000 << 10) + 5) }));
            assert_eq!(holders.slowest(), 5);
            holders.remove(slot);
            assert!(!holders.stop(log(u64::MAX)));
        }
        assert_eq!(Holders::default().add(0, Hold::Not), None);
    }

    #[test]
    fn one_that_takes_enough_is_waited_for_again_and_again() {
        let mut holders = Holders::default();
        let slot = holders.add(0, Hold::WhenFull).unwrap();
        let mut end = 1000 << 10;
        assert_eq!(holders.patience(log(end - 1)), None);
        for at in (LAGGARD_BYTES..100 * LAGGARD_BYTES).step_by(256 << 10) {
            assert_eq!(holders.patience(log(end)), Some(LAGGARD_PATIENCE));
            holders.advance(slot, at);
            holders.lingered(LAGGARD_PATIENCE);
            end = at + (1000 << 10);
        }
    }

    #[test]
    fn one_that_takes_little_is_given_up_until_it_has_caught_up() {
        let mut holders = Holders::default();
        let slot = holders.add(0, Hold::WhenFull).unwrap();
        let mut end = 1000 << 10;
        // Just in time, each time: that does not count as new patience.
        for round in 0..5 {
            assert_eq!(holders.patience(log(end)), Some(LAGGARD_PATIENCE - round * MOMENT));
            end += 4096;
            holders.advance(slot, end - (1000 << 10));
            holders.lingered(MOMENT);
        }
        assert_eq!(holders.patience(log(end)), None);
        assert!(!holders.linger(log(end)));
        // However much it takes, while it still lags.
        holders.advance(slot, 900 << 10);
        assert_eq!(holders.patience(log(1900 << 10)), None);
        assert_eq!(holders.patience(log((1900 << 10) - 1)), None);
        assert_eq!(holders.patience(log(1900 << 10)), Some(LAGGARD_PATIENCE));
    }

    #[test]
    fn of_several_only_those_who_keep_up_are_waited_for() {
        let mut holders = Holders::default();
        holders.add(0, Hold::WhenFull).unwrap();
        let live = holders.add(0, Hold::WhenFull).unwrap();
        let end = 1000 << 10;
        assert_eq!(holders.patience(log(end)), Some(LAGGARD_PATIENCE));
        holders.advance(live, LAGGARD_BYTES);
        holders.lingered(LAGGARD_PATIENCE);
        assert_eq!(holders.patience(log(end)), None, "the live one is within the window");
        let end = end + LAGGARD_BYTES;
        assert_eq!(holders.patience(log(end)), Some(LAGGARD_PATIENCE), "it lags now");
    }

    #[test]
    fn one_that_reads_the_file_is_not_waited_for() {
        let mut holders = Holders::default();
        let slot = holders.add(0, Hold::WhenFull).unwrap();
        let log = log(3000 << 10);
        assert_eq!(holders.patience(log), None);
        holders.advance(slot, log.memory_start);
        assert_eq!(holders.patience(log), Some(LAGGARD_PATIENCE));
    }
}
