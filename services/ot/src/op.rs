//! A change of a text: steps from its beginning to its end. All lengths are in code points, as the protocol counts
//! (`OTRuneTransformOp` in `api.proto`).
//!
//! Deliberately without a text: what an op does to one is in `text`, what it does to another op in `transform`.

use pid1_sdk::api::OtRuneTransformOp;
use pid1_sdk::api::ot_rune_transform_op::Op as Wire;

/// One step. What no step reaches stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Goes on by so many.
    Skip(usize),
    /// Takes out so many from here on.
    Delete(usize),
    /// Puts a text here and goes on behind it.
    Insert(String),
}

/// A change of a text. Never empty steps, two skips in a row or a skip at the end: editors stop with an error at those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Op(Vec<Step>);

impl Op {
    /// What was received, made normal. Two inserts beside each other are one from here on: the editors' library would put
    /// another one's text between them.
    pub fn from_wire(wire: Vec<OtRuneTransformOp>) -> Op {
        let step = |step: OtRuneTransformOp| match step.op? {
            Wire::Skip(count) => Some(Step::Skip(count as usize)),
            Wire::Delete(count) => Some(Step::Delete(count as usize)),
            Wire::Insert(text) => Some(Step::Insert(text)),
        };
        wire.into_iter().filter_map(step).collect()
    }

    /// What is sent.
    pub fn to_wire(&self) -> Vec<OtRuneTransformOp> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let wire = |step: &Step| match step {
            Step::Skip(length) => Wire::Skip(count(*length)),
            Step::Delete(length) => Wire::Delete(count(*length)),
            Step::Insert(text) => Wire::Insert(text.clone()),
        };
        self.0.iter().map(|step| OtRuneTransformOp { op: Some(wire(step)) }).collect()
    }

    /// The one that puts `text` at the beginning.
    pub fn insert(text: String) -> Op {
        std::iter::once(Step::Insert(text)).collect()
    }

    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// How long a text must be at least.
    pub fn reach(&self) -> usize {
        let reach = |step: &Step| match step {
            Step::Skip(count) | Step::Delete(count) => *count,
            Step::Insert(_) => 0,
        };
        self.0.iter().map(reach).fold(0, usize::saturating_add)
    }

    /// How much it puts in and takes out.
    pub fn touched(&self) -> usize {
        let touched = |step: &Step| match step {
            Step::Skip(_) => 0,
            Step::Delete(count) => *count,
            Step::Insert(text) => text.len(),
        };
        self.0.iter().map(touched).sum()
    }

    /// Roughly what it takes in memory.
    pub fn size_bytes(&self) -> usize {
        let text = |step: &Step| if let Step::Insert(text) = step { text.len() } else { 0 };
        self.0.iter().map(|step| size_of::<Step>() + text(step)).sum()
    }

    /// Where a place is after the change: what is put exactly there comes to be before it.
    pub fn moves(&self, place: usize) -> usize {
        // How much of the old text lies behind, and how long the new one is up to there.
        let (mut old, mut new) = (0_usize, 0_usize);
        for step in &self.0 {
            if old > place {
                break;
            }
            match step {
                Step::Skip(count) if old.saturating_add(*count) > place => break,
                Step::Skip(count) => {
                    old += count;
                    new += count;
                }
                Step::Delete(count) if old.saturating_add(*count) > place => return new,
                Step::Delete(count) => old += count,
                Step::Insert(text) => new += text.chars().count(),
            }
        }
        new.saturating_add(place.saturating_sub(old))
    }

    /// Adds a step, joined to the last one if they are of one kind.
    pub(crate) fn push(&mut self, step: Step) {
        match (self.0.last_mut(), step) {
            (_, Step::Skip(0) | Step::Delete(0)) => {}
            (_, Step::Insert(text)) if text.is_empty() => {}
            (Some(Step::Skip(last)), Step::Skip(count)) | (Some(Step::Delete(last)), Step::Delete(count)) => {
                *last = last.saturating_add(count);
            }
            (Some(Step::Insert(last)), Step::Insert(text)) => last.push_str(&text),
            (_, step) => self.0.push(step),
        }
    }

    /// The last step is no skip from here on.
    pub(crate) fn trim(&mut self) {
        while let Some(Step::Skip(_)) = self.0.last() {
            self.0.pop();
        }
    }
}

impl FromIterator<Step> for Op {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Op {
        let mut op = Op::default();
        steps.into_iter().for_each(|step| op.push(step));
        op.trim();
        op
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(op: Wire) -> OtRuneTransformOp {
        OtRuneTransformOp { op: Some(op) }
    }

    #[test]
    fn a_normal_op_is_taken_as_it_is() {
        let steps = [Wire::Skip(2), Wire::Insert("a".into()), Wire::Delete(1), Wire::Insert("b".into())];
        let received = steps.map(wire).to_vec();
        assert_eq!(Op::from_wire(received.clone()).to_wire(), received);
    }

    #[test]
    fn any_other_is_made_normal() {
        let steps = [
            Wire::Skip(0),
            Wire::Skip(1),
            Wire::Skip(2),
            Wire::Insert(String::new()),
            Wire::Insert("a".into()),
            Wire::Insert("b".into()),
            Wire::Delete(0),
            Wire::Delete(1),
            Wire::Skip(7),
        ];
        let mut received = steps.map(wire).to_vec();
        received.push(OtRuneTransformOp { op: None });
        let op = Op::from_wire(received);
        assert_eq!(op.steps(), [Step::Skip(3), Step::Insert("ab".into()), Step::Delete(1)]);
        assert_eq!(op.reach(), 4);
    }

    #[test]
    fn lengths_that_do_not_add_up_do_not_overflow() {
        let far = Op::from_wire(vec![wire(Wire::Delete(u32::MAX)); 5]);
        assert_eq!(far.reach(), 5 * u32::MAX as usize);
    }

    #[test]
    fn places_move_with_what_comes_and_goes_before_them() {
        let op: Op = [Step::Skip(2), Step::Insert("xyz".into()), Step::Delete(2)].into_iter().collect();
        let moved: Vec<usize> = (0..6).map(|place| op.moves(place)).collect();
        assert_eq!(moved, [0, 1, 5, 5, 5, 6]);
    }
}
