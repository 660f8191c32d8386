//! What somebody else has changed in a file: the op that makes one text of another. Pure.

use imara_diff::{Algorithm, Diff, InternedInput};

use crate::op::{Op, Step};

/// Lines that were replaced by others are compared code point by code point if both are at most this long. What is longer
/// has hardly anything in common, and finding that takes long.
const FINE_BYTES: usize = 4 * 1024;

/// Of one text so much is compared like that.
const ALL_FINE_BYTES: usize = 256 * 1024;

/// Places that are told apart; behind them all is one. Each makes three steps, and steps are looked at where others wait.
const PLACES: usize = 10_000;

/// The op that makes `new` of `old`: line by line, and finer within lines that changed, so that it touches little of what
/// others are editing meanwhile.
pub fn diff(old: &str, new: &str) -> Op {
    let mut op = Op::default();
    let (old, new) = without_common_ends(&mut op, old, new);
    let input = InternedInput::new(old, new);
    let lines = Diff::compute(Algorithm::Histogram, &input);
    let (old_ends, new_ends) = (line_ends(old), line_ends(new));
    let (mut behind, mut fine_bytes) = (0, ALL_FINE_BYTES);
    for (nth, hunk) in lines.hunks().take(PLACES + 1).enumerate() {
        let (mut gone, mut come) = (range(&hunk.before, &old_ends), range(&hunk.after, &new_ends));
        if nth == PLACES {
            (gone.end, come.end, fine_bytes) = (old.len(), new.len(), 0);
        }
        op.push(Step::Skip(length(&old[behind..gone.start])));
        behind = gone.end;
        replace(&mut op, &old[gone], &new[come], &mut fine_bytes);
    }
    op.trim();
    op
}

/// Both without the beginning and the end that they have in common; the beginning is skipped.
fn without_common_ends<'a>(op: &mut Op, old: &'a str, new: &'a str) -> (&'a str, &'a str) {
    let same = old.bytes().zip(new.bytes()).take_while(|(old, new)| old == new).count();
    // Back to the beginning of the line: lines are compared as a whole.
    let begin = old.as_bytes()[..same].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    op.push(Step::Skip(length(&old[..begin])));
    let (old, new) = (&old[begin..], &new[begin..]);
    let same = old.bytes().rev().zip(new.bytes().rev()).take_while(|(old, new)| old == new).count();
    let tail = &old.as_bytes()[old.len() - same..];
    let end = tail.iter().position(|byte| *byte == b'\n').map_or(0, |at| tail.len() - at - 1);
    (&old[..old.len() - end], &new[..new.len() - end])
}

fn replace(op: &mut Op, old: &str, new: &str, fine_bytes: &mut usize) {
    let longer = old.len().max(new.len());
    if old.is_empty() || new.is_empty() || longer > FINE_BYTES.min(*fine_bytes) {
        op.push(Step::Delete(length(old)));
        op.push(Step::Insert(new.to_owned()));
        return;
    }
    *fine_bytes -= longer;
    let new: Vec<char> = new.chars().collect();
    let mut input = InternedInput::default();
    input.update_before(old.chars());
    input.update_after(new.iter().copied());
    let mut behind = 0;
    for hunk in Diff::compute(Algorithm::Myers, &input).hunks() {
        op.push(Step::Skip((hunk.before.start - behind) as usize));
        op.push(Step::Delete(hunk.before.len()));
        op.push(Step::Insert(new[hunk.after.start as usize..hunk.after.end as usize].iter().collect()));
        behind = hunk.before.end;
    }
    op.push(Step::Skip(length(old) - behind as usize));
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Where each line ends, the end of line included.
fn line_ends(text: &str) -> Vec<usize> {
    let mut end = 0;
    let after = |line: &str| {
        end += line.len();
        end
    };
    text.split_inclusive('\n').map(after).collect()
}

/// The bytes of a range of lines.
fn range(lines: &std::ops::Range<u32>, ends: &[usize]) -> std::ops::Range<usize> {
    let begin_of = |line: u32| line.checked_sub(1).map_or(0, |before| ends[before as usize]);
    begin_of(lines.start)..begin_of(lines.end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::Text;

    fn applied(old: &str, new: &str) -> Op {
        let op = diff(old, new);
        let mut text = Text::new(old);
        text.apply(&op).unwrap();
        assert_eq!(text.whole(), new);
        op
    }

    #[test]
    fn little_is_touched() {
        let op = applied("one\ntwo = f( a,b )\nthree\n", "one\ntwo = f(a, b)\nthree\n");
        let touched = |step: &Step| match step {
            Step::Skip(_) => 0,
            Step::Delete(count) => *count,
            Step::Insert(text) => text.chars().count(),
        };
        assert_eq!(op.steps().iter().map(touched).sum::<usize>(), 3, "{op:?}");
        assert_eq!(applied("same\n", "same\n"), Op::default());
    }

    #[test]
    fn ends_of_lines_are_text() {
        applied("a\r\nb\r\n", "a\nb\n");
        applied("a", "a\n");
        applied("a\n", "a");
        applied("", "x\ny");
        applied("x\ny", "");
        applied("\u{1f600}\n", "\u{1f601}\n");
    }

    #[test]
    fn what_differs_everywhere_differs_in_few_places() {
        let lines = |odd: &str| -> String {
            (0..3 * PLACES).map(|number| format!("same {number}\n{odd} {number}\n")).collect()
        };
        let op = applied(&lines("old"), &lines("new"));
        assert!(op.steps().len() <= 30 * PLACES, "{}", op.steps().len());
        assert!(op.steps().iter().any(|step| matches!(step, Step::Insert(text) if text.len() > PLACES)));
    }

    proptest! {
        #[test]
        fn it_makes_the_new_text_of_the_old(
            old in "([ab\u{e4}\u{1f600}]{0,3}\n?){0,12}",
            new in "([ab\u{e4}\u{1f600}]{0,3}\n?){0,12}",
        ) {
            applied(&old, &new);
        }
    }
}
