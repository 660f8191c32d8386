//! Requests that hold only for one version of a file, or only for another than somebody has.
//!
//! A version's tag is made of what the kernel changes with every change: the file's number (a write through the agent makes
//! a new file), its size, and both its times to the nanosecond, of which one cannot be set by anybody. Moving a file or
//! changing its permissions changes the tag too, which costs a reader one needless transfer.

use std::time::{Duration, SystemTime};

use hyper::http::{HeaderMap, HeaderName, StatusCode, header};
use pid1_sdk::workspace::{Kind, Metadata};

use super::refusal::Refusal;
use crate::door::guard::only;

/// From here on a date, in seconds since 1970, is none that HTTP can write: its years have four digits.
const YEAR_10_000: i64 = 253_402_300_800;

/// A version of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Quoted, and strong.
    pub(super) tag: String,
    /// In whole seconds, as HTTP has it, if it can be written so.
    pub(super) modified: Option<SystemTime>,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        let ((modified, fraction), (changed, more)) = (metadata.modified, metadata.changed);
        Stamp {
            tag: format!(
                "\"{:x}-{:x}-{modified:x}.{fraction:x}-{changed:x}.{more:x}\"",
                metadata.inode, metadata.size_bytes
            ),
            modified: u64::try_from(modified)
                .ok()
                .filter(|_| modified < YEAR_10_000)
                .map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at)),
        }
    }
}

/// What a request demands.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    matches: Option<Tags>,
    matches_none: Option<Tags>,
    modified_since: Option<SystemTime>,
    unmodified_since: Option<SystemTime>,
}

/// Whether to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    /// Whoever asks has it.
    NotModified,
    Failed(&'static str),
}

#[derive(Clone, Debug)]
enum Tags {
    /// Whatever is there.
    Any,
    These(Vec<String>),
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Conditions {
        let date = |name: HeaderName| {
            // One that cannot be read counts as none.
            only(headers, name).and_then(|text| httpdate::parse_http_date(text).ok())
        };
        Conditions {
            matches: Tags::of(headers, header::IF_MATCH),
            matches_none: Tags::of(headers, header::IF_NONE_MATCH),
            modified_since: date(header::IF_MODIFIED_SINCE),
            unmodified_since: date(header::IF_UNMODIFIED_SINCE),
        }
    }

    /// Whether they hold for what is there, in the order of precedence that HTTP has. A folder has no versions.
    pub(super) fn check(&self, there: Option<&Metadata>, reads: bool) -> Verdict {
        let stamp = there.filter(|found| found.kind == Kind::File).map(Stamp::of);
        let tag = stamp.as_ref().map(|stamp| stamp.tag.as_str());
        let modified = stamp.as_ref().and_then(|stamp| stamp.modified);
        if let Some(wanted) = &self.matches {
            let holds = match wanted {
                Tags::Any => there.is_some(),
                Tags::These(tags) => tag.is_some_and(|tag| tags.iter().any(|known| known == tag)),
            };
            if !holds {
                return Verdict::Failed(
                    "If-Match does not hold: the file is not there, or is another version",
                );
            }
        } else if let (Some(since), Some(modified)) = (self.unmodified_since, modified)
            && modified > since
        {
            return Verdict::Failed("If-Unmodified-Since does not hold: the file was changed after that");
        }
        if let Some(unwanted) = &self.matches_none {
            let holds = match unwanted {
                Tags::Any => there.is_none(),
                // Weak ones count here: they say "as good as".
                Tags::These(tags) => tag.is_none_or(|tag| {
                    tags.iter().all(|known| known.strip_prefix("W/").unwrap_or(known) != tag)
                }),
            };
            if !holds && reads {
                return Verdict::NotModified;
            }
            if !holds {
                return Verdict::Failed("If-None-Match does not hold: the file is there, or is that version");
            }
        } else if let (Some(since), Some(modified), true) = (self.modified_since, modified, reads)
            && modified <= since
        {
            return Verdict::NotModified;
        }
        Verdict::Go
    }

    /// As [`check`](Conditions::check) for what is about to be changed.
    pub(super) fn check_change(&self, there: Option<&Metadata>) -> Result<(), Refusal> {
        match self.check(there, false) {
            Verdict::Failed(why) => {
                let mut refusal = Refusal::of(StatusCode::PRECONDITION_FAILED, why);
                if let Some(found) = there.filter(|found| found.kind == Kind::File) {
                    refusal = refusal.with(header::ETAG, &Stamp::of(found).tag);
                }
                Err(refusal)
            }
            Verdict::Go | Verdict::NotModified => Ok(()),
        }
    }
}

impl Tags {
    fn of(headers: &HeaderMap, name: HeaderName) -> Option<Tags> {
        let mut tags = Vec::new();
        let mut given = false;
        for value in headers.get_all(name) {
            given = true;
            let text = value.to_str().unwrap_or_default();
            if text.trim() == "*" {
                return Some(Tags::Any);
            }
            // Of an entry that is not quoted nothing matches.
            let mut rest = text;
            while let Some((before, quoted)) = rest.split_once('"') {
                let Some((tag, after)) = quoted.split_once('"') else { break };
                let weak = if before.ends_with("W/") { "W/" } else { "" };
                tags.push(format!("{weak}\"{tag}\""));
                rest = after;
            }
        }
        given.then_some(Tags::These(tags))
    }
}

/// Whether a part may be sent, or must all be because whoever asks has a part of another version.
pub(super) fn range_holds(headers: &HeaderMap, metadata: &Metadata) -> bool {
    let Some(text) = only(headers, header::IF_RANGE) else { return !headers.contains_key(header::IF_RANGE) };
    let stamp = Stamp::of(metadata);
    if text.contains('"') {
        return text.trim() == stamp.tag;
    }
    // Within the second of a change another may follow that has the same date.
    let settled = |modified: SystemTime| modified + Duration::from_secs(1) < SystemTime::now();
    let date = httpdate::parse_http_date(text).ok();
    stamp.modified.is_some_and(|modified| Some(modified) == date && settled(modified))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(changed: i64) -> Metadata {
        Metadata {
            kind: Kind::File,
            size_bytes: 3,
            mode: 0o100_644,
            modified: (1_000_000_000, 5),
            changed: (changed, 0),
            device: 1,
            inode: 7,
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn conditions_hold_or_not() {
        let (there, tag) = (file(9), Stamp::of(&file(9)).tag);
        let (other, weak) = (Stamp::of(&file(8)).tag, format!("W/{tag}"));
        let list = format!("{other}, {weak} ,\"x,y\",{tag}");
        let (same, before, after) = (
            "Sun, 09 Sep 2001 01:46:40 GMT",
            "Sun, 09 Sep 2001 01:46:39 GMT",
            "Mon, 09 Sep 2002 01:46:40 GMT",
        );
        let (go, known, failed) = ("go", "not modified", "failed");
        for (lines, missing, reading, writing) in [
            (&[("if-match", "*")][..], failed, go, go),
            (&[("if-match", &tag)], failed, go, go),
            (&[("if-match", &list)], failed, go, go),
            (&[("if-match", &weak)], failed, failed, failed),
            (&[("if-match", &other)], failed, failed, failed),
            (&[("if-match", tag.trim_matches('"'))], failed, failed, failed),
            (&[("if-none-match", "*")], go, known, failed),
            (&[("if-none-match", &tag)], go, known, failed),
            (&[("if-none-match", &weak)], go, known, failed),
            (&[("if-none-match", &other)], go, go, go),
            (&[("if-modified-since", same)], go, known, go),
            (&[("if-modified-since", before)], go, go, go),
            (&[("if-unmodified-since", same)], go, go, go),
            (&[("if-unmodified-since", before)], go, failed, failed),
            // The tag goes before the date.
            (&[("if-none-match", &other), ("if-modified-since", after)], go, go, go),
            (&[("if-match", &tag), ("if-unmodified-since", before)], failed, go, go),
            (&[("if-modified-since", "yesterday")], go, go, go),
            (&[], go, go, go),
        ] {
            let conditions = Conditions::of(&headers(lines));
            let word = |verdict| match verdict {
                Verdict::Go => go,
                Verdict::NotModified => known,
                Verdict::Failed(_) => failed,
            };
            assert_eq!(word(conditions.check(None, false)), missing, "{lines:?} without the file");
            assert_eq!(word(conditions.check(Some(&there), true)), reading, "{lines:?} reading");
            assert_eq!(word(conditions.check(Some(&there), false)), writing, "{lines:?} writing");
        }
    }

    #[test]
    fn a_date_that_http_cannot_write_is_left_out() {
        let at = |seconds| Stamp::of(&Metadata { modified: (seconds, 0), ..file(9) }).modified;
        assert_eq!(
            at(YEAR_10_000 - 1).map(httpdate::fmt_http_date).unwrap(),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
        assert_eq!((at(YEAR_10_000), at(i64::MAX), at(-1)), (None, None, None));
    }

    #[test]
    fn a_part_of_another_version_is_not_continued() {
        let tag = Stamp::of(&file(9)).tag;
        for (value, holds) in [
            (tag.as_str(), true),
            (&format!("W/{tag}"), false),
            ("\"other\"", false),
            ("Sun, 09 Sep 2001 01:46:40 GMT", true),
            ("Sun, 09 Sep 2001 01:46:41 GMT", false),
            ("nonsense", false),
        ] {
            assert_eq!(range_holds(&headers(&[("if-range", value)]), &file(9)), holds, "{value}");
        }
        assert!(range_holds(&headers(&[]), &file(9)));
        let mut now = file(9);
        now.modified.0 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        let date = httpdate::fmt_http_date(Stamp::of(&now).modified.unwrap());
        assert!(!range_holds(&headers(&[("if-range", &date)]), &now), "it may change within this second");
    }
}
