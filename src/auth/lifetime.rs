//! From when until when a signed token is good.

use std::time::{Duration, SystemTime};

use super::Refused;

/// How long a token without an end of its own is good, counted from when it was issued: the published rule.
const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);

/// How far the issuer's clock may be ahead of ours; a container's clock drifts when it was paused. The end of a token
/// has no such leeway.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The times that a token names; those of a token within a token are merged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lifetime {
    /// When it was issued, or from when it is good: the latest.
    pub(super) from: Option<SystemTime>,
    /// The earliest end.
    pub(super) until: Option<SystemTime>,
}

impl Lifetime {
    /// Until when a token is good that is good `now`.
    pub(super) fn check(self, now: SystemTime) -> Result<SystemTime, Refused> {
        let until = match (self.until, self.from) {
            (Some(until), _) => until,
            (None, Some(from)) => {
                from.checked_add(DEFAULT_TTL).ok_or_else(|| Refused::new("it never ends"))?
            }
            (None, None) => {
                return Err(Refused::new("it says neither when it was issued nor when it expires"));
            }
        };
        if let Some(early) =
            self.from.and_then(|from| from.duration_since(now).ok()).filter(|d| *d > CLOCK_SKEW)
        {
            return Err(Refused::new(format!(
                "it is good only in {} s: compare the clocks",
                early.as_secs()
            )));
        }
        match now.duration_since(until) {
            Ok(ago) => Err(Refused::new(format!("it expired {} s ago", ago.as_secs()))),
            Err(_still_good) => Ok(until),
        }
    }

    /// A time in seconds since 1970; an impossible one is an error.
    pub(super) fn time(seconds: i64) -> Result<SystemTime, Refused> {
        let after = u64::try_from(seconds).ok().map(Duration::from_secs);
        after
            .and_then(|after| SystemTime::UNIX_EPOCH.checked_add(after))
            .ok_or_else(|| Refused::new(format!("it names an impossible time ({seconds})")))
    }

    /// Both must hold.
    pub(super) fn and(self, other: Lifetime) -> Lifetime {
        let earliest = |one: Option<SystemTime>, two| one.into_iter().chain(two).min();
        let latest = |one: Option<SystemTime>, two| one.into_iter().chain(two).max();
        Lifetime { from: latest(self.from, other.from), until: earliest(self.until, other.until) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let now = at(10_000);
        let check = |from: Option<u64>, until: Option<u64>| {
            Lifetime { from: from.map(at), until: until.map(at) }.check(now)
        };
        assert_eq!(check(None, Some(10_001)), Ok(at(10_001)));
        assert_eq!(check(Some(9_000), Some(10_001)), Ok(at(10_001)));
        assert_eq!(check(Some(9_000), None), Ok(at(9_000 + 3600)));
        assert_eq!(check(Some(10_060), None), Ok(at(10_060 + 3600)));
        for (from, until) in [
            (None, None),
            (None, Some(10_000)),
            (Some(9_000), Some(9_999)),
            (Some(6_400), None),
            (Some(10_061), Some(20_000)),
        ] {
            assert!(check(from, until).is_err(), "{from:?} {until:?}");
        }
        let never = Lifetime::time(i64::MAX).expect("a time far away");
        assert!(Lifetime { from: Some(never), until: None }.check(now).is_err());
        assert_eq!(Lifetime { from: None, until: Some(never) }.check(now), Ok(never));
        assert!(Lifetime::time(-1).is_err() && Lifetime::time(i64::MIN).is_err());
    }

    #[test]
    fn of_two_lifetimes_the_narrower_holds() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let both = Lifetime { from: at(1), until: None }.and(Lifetime { from: at(2), until: at(5) });
        let both = both.and(Lifetime { from: None, until: at(4) });
        assert_eq!((both.from, both.until), (at(2), at(4)));
    }
}
