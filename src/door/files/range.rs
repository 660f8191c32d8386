//! Which part of a file is asked for.

use hyper::http::{HeaderMap, header};

use crate::door::guard::only;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// All of it: no part was asked for, or several, or in words that are not known.
    Whole,
    /// From this byte to this one, both included.
    Part(u64, u64),
    /// There is nothing where it was asked for.
    Nowhere,
}

/// What the header `Range` asks for of a file of this size.
pub(super) fn of(headers: &HeaderMap, size_bytes: u64) -> Span {
    only(headers, header::RANGE).map_or(Span::Whole, |text| read(text, size_bytes).unwrap_or(Span::Whole))
}

fn read(text: &str, size_bytes: u64) -> Option<Span> {
    let (unit, spec) = text.split_once('=')?;
    let (first, last) = spec.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let Some(end) = size_bytes.checked_sub(1) else {
        // A part of nothing has no place that could be named; the last bytes of nothing are all of it.
        return Some(if first.is_empty() && number(last)? > 0 { Span::Whole } else { Span::Nowhere });
    };
    Some(match (first, last) {
        ("", count) => match number(count)? {
            0 => Span::Nowhere,
            count => Span::Part(size_bytes.saturating_sub(count), end),
        },
        (first, "") => from(number(first)?, end, end),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            from(first, last, end)
        }
    })
}

fn from(first: u64, last: u64, end: u64) -> Span {
    if first > end { Span::Nowhere } else { Span::Part(first, last.min(end)) }
}

/// Digits only; one that is larger than anything is.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_at_their_edges() {
        for (text, size, span) in [
            ("bytes=0-0", 10, Span::Part(0, 0)),
            ("bytes=0-9", 10, Span::Part(0, 9)),
            ("Bytes = 9-", 10, Span::Part(9, 9)),
            ("bytes=5-99999999999999999999999", 10, Span::Part(5, 9)),
            ("bytes=10-", 10, Span::Nowhere),
            ("bytes=10-20", 10, Span::Nowhere),
            ("bytes=-1", 10, Span::Part(9, 9)),
            ("bytes=-10", 10, Span::Part(0, 9)),
            ("bytes=-11", 10, Span::Part(0, 9)),
            ("bytes=-0", 10, Span::Nowhere),
            ("bytes=0-0", 0, Span::Nowhere),
            ("bytes=0-", 0, Span::Nowhere),
            ("bytes=-5", 0, Span::Whole),
            ("bytes=5-4", 10, Span::Whole),
            ("bytes=0-1,3-4", 10, Span::Whole),
            ("lines=0-1", 10, Span::Whole),
            ("bytes=a-b", 10, Span::Whole),
            ("bytes=+1-2", 10, Span::Whole),
            ("bytes=-", 10, Span::Whole),
            ("bytes", 10, Span::Whole),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, text.parse().unwrap());
            assert_eq!(of(&headers, size), span, "{text} of {size}");
        }
    }
}
