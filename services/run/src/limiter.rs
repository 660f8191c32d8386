//! How many small messages of output a window sends: so many a second, and a burst now and then, more of it for whoever
//! types. In between, output gathers in the program's log, and is sent in fewer and larger messages.

use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use pid1_sdk::channel::Timer;

/// Messages a second, in the long run: one for each picture that a screen shows.
const PER_SECOND: f64 = 60.0;

/// Messages that may be sent at once after a pause.
const BURST: f64 = 120.0;

/// More of them for each input: a game that answers keys stays fast.
const PER_INPUT: f64 = 20.0;

/// A larger message has gathered enough, and is free.
const LARGE_BYTES: usize = 16 << 10;

/// What may be sent.
#[derive(Debug)]
pub(crate) struct Limiter {
    tokens: f64,
    counted: Instant,
    /// Held while nothing more is to be read.
    held: Vec<OwnedSemaphorePermit>,
    timer: Option<Timer>,
}

impl Limiter {
    pub(crate) fn new(now: Instant) -> Limiter {
        Limiter { tokens: BURST, counted: now, held: Vec::new(), timer: None }
    }

    /// A message of so many bytes was sent; how long to wait before the next is read, if at all.
    pub(crate) fn sent(&mut self, bytes: usize, now: Instant) -> Option<Duration> {
        self.count(now);
        if bytes >= LARGE_BYTES {
            return None;
        }
        self.tokens -= 1.0;
        (self.tokens < 0.0).then(|| Duration::from_secs_f64(-self.tokens / PER_SECOND))
    }

    /// Somebody has typed.
    pub(crate) fn typed(&mut self, now: Instant) {
        self.count(now);
        self.tokens = (self.tokens + PER_INPUT).min(BURST + PER_INPUT);
        self.go_on();
    }

    /// Nothing more is read until the timer that `set` makes.
    pub(crate) fn hold(&mut self, pace: OwnedSemaphorePermit, set: impl FnOnce() -> Timer) {
        self.held.push(pace);
        self.timer.get_or_insert_with(set);
    }

    /// Reading goes on.
    pub(crate) fn go_on(&mut self) {
        self.held.clear();
        self.timer = None;
    }

    fn count(&mut self, now: Instant) {
        let passed = now.duration_since(self.counted).as_secs_f64();
        self.counted = now;
        if self.tokens < BURST {
            self.tokens = (self.tokens + passed * PER_SECOND).min(BURST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_so_many_a_second_and_more_for_who_types() {
        let begin = Instant::now();
        let mut limiter = Limiter::new(begin);
        let burst = (0..1000).take_while(|_| limiter.sent(10, begin).is_none()).count();
        assert_eq!(burst, BURST as usize);
        // What has gathered is not held back.
        assert_eq!(limiter.sent(LARGE_BYTES, begin), None);
        let mut now = begin;
        let mut sent = 0;
        while now < begin + Duration::from_secs(10) {
            sent += 1;
            now += limiter.sent(10, now).unwrap_or_default().max(Duration::from_millis(1));
        }
        assert!((590..=620).contains(&sent), "{sent}");
        limiter.typed(now);
        let more = (0..1000).take_while(|_| limiter.sent(10, now).is_none()).count();
        assert!((PER_INPUT as usize - 2..=PER_INPUT as usize + 1).contains(&more), "{more}");
        now += Duration::from_secs(60);
        assert_eq!((0..1000).take_while(|_| limiter.sent(10, now).is_none()).count(), BURST as usize);
    }
}
