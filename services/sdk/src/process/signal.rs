//! A signal by its number: the real-time ones have no other name.

use nix::sys::signal::Signal;

/// The number of a signal that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalNumber(i32);

impl SignalNumber {
    /// What has a name on Linux.
    const NAMED: std::ops::RangeInclusive<i32> = 1..=31;

    /// The signal `number`; None if no program could be sent it. Those below SIGRTMIN are the C library's own.
    pub fn new(number: i32) -> Option<Self> {
        (Self::NAMED.contains(&number) || Self::real_time().contains(&number)).then_some(Self(number))
    }

    /// The numbers of the signals without a name.
    pub fn real_time() -> std::ops::RangeInclusive<i32> {
        libc::SIGRTMIN()..=libc::SIGRTMAX()
    }

    /// Whether the process `pid` ignores it; false if that cannot be told.
    pub fn is_ignored_by(self, pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        // The mask's lowest bit is signal 1.
        let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
        mask >> (self.0 - 1) & 1 == 1
    }

    /// The number.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl From<Signal> for SignalNumber {
    fn from(signal: Signal) -> Self {
        Self(signal as i32)
    }
}
