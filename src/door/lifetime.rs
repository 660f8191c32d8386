//! When a token ends, whatever it is used for ends.

use std::time::{Duration, SystemTime};

/// The longest sleep without a look at the wall clock, which may be set or go on while ours stands still.
const CLOCK_LOOK: Duration = Duration::from_secs(60);

/// Resolves when `at` has come by the wall clock, which a paused container's own clock falls behind. Cancel-safe.
pub(super) async fn expiry(at: Option<SystemTime>) {
    let Some(at) = at else { return std::future::pending().await };
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.clamp(Duration::from_millis(1), CLOCK_LOOK)).await;
    }
}
