//! From when until when a signed token is good.

use std::time::{Duration, SystemTime};

use super::Refused;

/// How long a token without an end of its own is good, counted from when it was issued: the published rule.
const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);

/// How far the issuer's clock may be ahead of ours; a container's clock drifts when it was paused. The end of a token
/// has no such leeway.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// From when until when; of a token within a token, when both are good.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lifetime {
    from: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl Lifetime {
    /// That of a token that was issued and ends at these times.
    pub(super) fn new(issued: Option<SystemTime>, expires: Option<SystemTime>) -> Self {
        let default = || issued.and_then(|issued| issued.checked_add(DEFAULT_TTL));
        Lifetime { from: issued, until: expires.or_else(default) }
    }

    /// Good only from then on, which says nothing about the end.
    pub(super) fn not_before(from: Option<SystemTime>) -> Self {
        Lifetime { from, until: None }
    }

    /// Until when a token is good that is good `now`.
    pub(super) fn check(self, now: SystemTime) -> Result<SystemTime, Refused> {
        let until = self
            .until
            .ok_or_else(|| Refused::new("it says neither when it was issued nor when it expires"))?;
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
        let check =
            |from: Option<u64>, until: Option<u64>| Lifetime::new(from.map(at), until.map(at)).check(now);
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
        assert!(Lifetime::new(Some(never), None).check(now).is_err());
        assert_eq!(Lifetime::new(None, Some(never)).check(now), Ok(never));
        assert!(Lifetime::time(-1).is_err() && Lifetime::time(i64::MIN).is_err());
    }

    #[test]
    fn of_two_lifetimes_the_narrower_holds() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let both = Lifetime::new(at(1), at(5)).and(Lifetime::new(at(2), at(4)));
        assert_eq!((both.from, both.until), (at(2), at(4)));
        // Neither a newer token around it nor a later beginning gives an old one a new life.
        let old = Lifetime::new(at(1), None);
        for wider in
            [Lifetime::new(at(9_000), None), Lifetime::new(None, at(9_000)), Lifetime::not_before(at(9_000))]
        {
            assert_eq!(old.and(wider).until, at(1 + 3600));
        }
        assert_eq!(Lifetime::not_before(at(1)).until, None);
    }
}
