//! What every product test stands on: the real binary on a port and in folders of its own, clients that behave, a
//! client that does not, and a look at the agent from outside through /proc.
//!
//! Nothing here sleeps but [`eventually`] and [`settled`]: tests wait for conditions, with deadlines.

mod agent;
mod bare;
mod calls;
mod http;
mod peer;
mod proc_fs;
mod proxy;
mod raw;
mod rng;
pub mod router;
mod screen;

use std::time::{Duration, Instant};

pub use agent::{Agent, Launch, binary};
pub use bare::{bare_root, copy};
pub use calls::{Call, channel, input, start};
pub use http::{Http2, http, http_get};
pub use peer::{PROMPT, Peer, output_of, process_start, run_program};
pub use proc_fs::{
    Shortage, children, descriptors, marked, named, raise_descriptor_limit, rss_bytes, stopped, threads_of,
    wrote_bytes,
};
pub use proxy::Proxy;
pub use raw::{BINARY, CLOSE, FINAL, PING, PONG, Raw, TEXT, wrapped};
pub use rng::Rng;
pub use screen::Screen;

/// For whatever should take a moment: ten times a second, and more for a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// For runs that move much.
pub const LATE: Duration = Duration::from_secs(120);

/// What memory may differ by between two halves of a run that holds nothing back.
pub const SLACK_BYTES: u64 = 4 << 20;

const POLL: Duration = Duration::from_millis(10);

/// Held by tests that load the machine or measure it.
pub static HEAVY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The size of a loop: `usual`, or `long` with `PID1_LONG=1`.
pub fn size(usual: usize, long: usize) -> usize {
    if std::env::var_os("PID1_LONG").is_some_and(|value| value == "1") { long } else { usual }
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until `value` has stayed the same for a second: what moved has come to a stop.
pub async fn settled<T: PartialEq>(what: &str, deadline: Duration, mut value: impl FnMut() -> T) -> T {
    let (begin, mut since, mut last) = (Instant::now(), Instant::now(), value());
    while since.elapsed() < Duration::from_secs(1) {
        assert!(begin.elapsed() < deadline, "still changing after {deadline:?}: {what}");
        tokio::time::sleep(POLL).await;
        let now = value();
        if now != last {
            (since, last) = (Instant::now(), now);
        }
    }
    last
}

/// `future`, or a panic that says what did not come.
pub async fn within<T>(what: &str, deadline: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(deadline, future).await {
        Ok(done) => done,
        Err(_elapsed) => panic!("not within {deadline:?}: {what}"),
    }
}
