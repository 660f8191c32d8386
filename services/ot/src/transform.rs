//! What a change becomes when another one has come first. Pure: no text, no disk, no time.
//!
//! For any `a` and `b` of one text, `a` and then `transform(b, a, Right)` makes the same text as `b` and then
//! `transform(a, b, Left)`. That is all that editors need to agree. It is the walk of the npm package
//! `ot-text-unicode`, which the published editors use; it is tested against that.

use crate::op::{Op, Step};

/// Whose text comes first where both insert at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The op that is transformed. Editors use this for what they receive.
    Left,
    /// The other. The agent uses this: what is committed stays where it is.
    Right,
}

/// `op`, made for the text that `other` has made of the one both were made for.
pub fn transform(op: &Op, other: &Op, side: Side) -> Op {
    let mut result = Op::default();
    let mut rest = Rest::of(op);
    for step in other.steps() {
        match step {
            Step::Skip(count) => rest.pass(*count, |step| result.push(step)),
            Step::Insert(text) => {
                if side == Side::Left
                    && let Some(own) = rest.insert_here()
                {
                    result.push(own);
                }
                result.push(Step::Skip(text.chars().count()));
            }
            // What is gone need not be skipped or deleted; what is put there is put where it was.
            Step::Delete(count) => rest.pass(*count, |step| {
                if matches!(step, Step::Insert(_)) {
                    result.push(step);
                }
            }),
        }
    }
    rest.all(|step| result.push(step));
    result.trim();
    result
}

/// What of an op has not been walked yet.
struct Rest<'a> {
    steps: &'a [Step],
    /// How much of the first one has.
    taken: usize,
}

impl<'a> Rest<'a> {
    fn of(op: &'a Op) -> Self {
        Rest { steps: op.steps(), taken: 0 }
    }

    /// Walks over so much of the text, and gives what is done to it. Behind its end an op does nothing.
    fn pass(&mut self, mut count: usize, mut take: impl FnMut(Step)) {
        while count > 0 {
            let Some((step, more)) = self.steps.split_first() else {
                return take(Step::Skip(count));
            };
            let (all, is_skip) = match step {
                Step::Insert(_) => {
                    take(step.clone());
                    self.steps = more;
                    continue;
                }
                Step::Skip(all) => (*all, true),
                Step::Delete(all) => (*all, false),
            };
            let part = count.min(all - self.taken);
            take(if is_skip { Step::Skip(part) } else { Step::Delete(part) });
            count -= part;
            self.taken += part;
            if self.taken == all {
                self.steps = more;
                self.taken = 0;
            }
        }
    }

    /// The insert that is done at this very place, if one is.
    fn insert_here(&mut self) -> Option<Step> {
        let (step, more) = self.steps.split_first()?;
        matches!(step, Step::Insert(_)).then(|| {
            self.steps = more;
            step.clone()
        })
    }

    fn all(self, mut take: impl FnMut(Step)) {
        let mut taken = self.taken;
        for step in self.steps {
            take(match step {
                Step::Skip(all) => Step::Skip(all - taken),
                Step::Delete(all) => Step::Delete(all - taken),
                Step::Insert(text) => Step::Insert(text.clone()),
            });
            taken = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::Text;

    /// Changes of a text of ten code points.
    fn op() -> impl Strategy<Value = Op> {
        let step = prop_oneof![
            (1..5_usize).prop_map(Step::Skip),
            (1..5_usize).prop_map(Step::Delete),
            "[ab\u{e4}\u{1f600}]{1,3}".prop_map(Step::Insert),
        ];
        prop::collection::vec(step, 0..8).prop_map(|steps| {
            let mut rest = 10;
            let fits = |step: Step| match step {
                Step::Skip(count) | Step::Delete(count) if count > rest => None,
                Step::Skip(count) | Step::Delete(count) => {
                    rest -= count;
                    Some(step)
                }
                Step::Insert(_) => Some(step),
            };
            steps.into_iter().filter_map(fits).collect()
        })
    }

    fn applied(text: &Text, op: &Op) -> Text {
        let mut text = text.clone();
        text.apply(op).unwrap();
        text
    }

    /// Pairs that are tried; with `PID1_LONG=1` ten million.
    fn pairs() -> ProptestConfig {
        let is_long = std::env::var_os("PID1_LONG").is_some_and(|value| value == "1");
        ProptestConfig::with_cases(if is_long { 10_000_000 } else { 100_000 })
    }

    proptest! {
        #![proptest_config(pairs())]

        #[test]
        fn both_orders_make_the_same_text(a in op(), b in op()) {
            let text = Text::new("0123456789");
            let b_after_a = transform(&b, &a, Side::Right);
            let a_after_b = transform(&a, &b, Side::Left);
            let one = applied(&applied(&text, &a), &b_after_a).whole();
            let other = applied(&applied(&text, &b), &a_after_b).whole();
            prop_assert_eq!(one, other);
            let again: Op = b_after_a.steps().iter().cloned().collect();
            prop_assert_eq!(again, b_after_a, "not normal");
        }
    }

    fn of(steps: impl IntoIterator<Item = Step>) -> Op {
        steps.into_iter().collect()
    }

    #[test]
    fn what_is_committed_stays_before_what_comes_at_the_same_place() {
        let (first, second) = (Op::insert("first".into()), Op::insert("second".into()));
        assert_eq!(
            transform(&second, &first, Side::Right),
            of([Step::Skip(5), Step::Insert("second".into())])
        );
        assert_eq!(transform(&first, &second, Side::Left), first);
    }

    #[test]
    fn what_is_gone_is_not_deleted_again() {
        let op = of([Step::Skip(2), Step::Delete(4), Step::Insert("x".into())]);
        let other = of([Step::Skip(3), Step::Delete(2)]);
        assert_eq!(
            transform(&op, &other, Side::Right),
            of([Step::Skip(2), Step::Delete(2), Step::Insert("x".into())])
        );
        assert_eq!(transform(&other, &other, Side::Right), Op::default());
    }
}
