//! A signal by its number: the real-time ones have no other name. Who ignores which.

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

/// The signals that a process ignores, as they were when it was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Ignored(u64);

impl Ignored {
    /// Those of the process `pid`; none if that cannot be told.
    pub fn by(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default())
    }

    /// Whether this one is among them.
    pub fn has(self, signal: impl Into<SignalNumber>) -> bool {
        // The mask's lowest bit is signal 1.
        self.0 >> (signal.into().0 - 1) & 1 == 1
    }
}
