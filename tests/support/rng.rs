//! Random input that can be had again: `PID1_SEED` repeats a run.

/// xorshift64*: small, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    /// From `PID1_SEED` or the clock; says which, where a failed test shows it.
    pub fn seeded(test: &str) -> Rng {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = std::env::var("PID1_SEED").ok().map_or(now, |seed| seed.parse().unwrap());
        eprintln!("{test}: repeat with PID1_SEED={seed}");
        Rng(seed | 1)
    }

    pub fn from(seed: u64) -> Rng {
        Rng(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// From 0 up to but not including `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
