//! The outbox against a model of it: lists, one per lane, without turns.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use futures_util::FutureExt;
use pid1_sdk::outbox::{Batch, Ended, Outbox};
use pid1_sdk::{ChannelId, limits};

/// Few, so that they meet; 0 is control.
const CHANNELS: u8 = 4;

/// Frames of all sizes are pieces of this: only their length and first byte are looked at.
static BYTES: [u8; SIZES[SIZES.len() - 1] + 256] = [0; SIZES[SIZES.len() - 1] + 256];

/// Around the bounds that the outbox knows; a frame's number is added, which makes frames distinct.
const SIZES: [usize; 6] = [1, 4 << 10, limits::SMALL_LANE_BYTES, limits::BATCH_BYTES, 1 << 20, 4 << 20];

const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// What the outbox promises, in terms of lists.
#[derive(Default)]
struct Model {
    framed: VecDeque<usize>,
    control: VecDeque<usize>,
    lanes: BTreeMap<u8, Lane>,
    /// Ended by others: such an id is never used again.
    closed: BTreeSet<u8>,
    queued_bytes: usize,
    ended: Option<Ended>,
}

#[derive(Default)]
struct Lane {
    /// The lengths of its frames, the first of which is next.
    frames: VecDeque<usize>,
    closing: bool,
    /// How often each other lane of its kind was served while this one waited.
    passed: BTreeMap<u8, u32>,
}

impl Lane {
    fn bytes(&self) -> usize {
        self.frames.iter().sum()
    }

    fn is_bulk(&self) -> bool {
        self.bytes() > limits::SMALL_LANE_BYTES
    }
}

fn cost(frames: &VecDeque<usize>) -> usize {
    frames.iter().map(|length| length + limits::FRAME_COST_BYTES).sum()
}

impl Model {
    /// Counts a frame that was queued; `freed_bytes` went with it.
    fn add(&mut self, length: usize, freed_bytes: usize) {
        self.queued_bytes -= freed_bytes;
        let alone = self.queued_bytes == 0;
        self.queued_bytes += length + limits::FRAME_COST_BYTES;
        if self.queued_bytes > limits::OUTBOX_HARD_BYTES + MAX_MESSAGE_BYTES && !alone {
            self.end(Ended::TooSlow(String::new()));
        }
    }

    fn end(&mut self, why: Ended) {
        if !matches!(why, Ended::Close { .. }) {
            let lanes = self.lanes.values().map(|lane| cost(&lane.frames)).sum::<usize>();
            self.queued_bytes -= cost(&self.framed) + cost(&self.control) + lanes;
            (self.framed, self.control, self.lanes) = Default::default();
        }
        self.ended.get_or_insert(why);
    }

    fn push(&mut self, channel: u8, length: usize) -> bool {
        if channel == 0 {
            self.control.push_back(length);
        } else {
            let Some(lane) = self.lanes.get_mut(&channel).filter(|lane| !lane.closing) else { return false };
            lane.push(length);
        }
        true
    }

    /// The frame that went out: control first, small before bulk, the order of each lane kept, each in its turn.
    fn sent(&mut self, length: usize, framed: bool) {
        assert_eq!(framed, !self.framed.is_empty(), "what the door framed goes first");
        if let Some(first) = self.framed.pop_front().or_else(|| self.control.pop_front()) {
            return assert_eq!(length, first, "control goes first, in order");
        }
        let waiting = || self.lanes.iter().filter(|(_, lane)| !lane.frames.is_empty());
        let (&channel, lane) = waiting()
            .find(|(_, lane)| lane.frames[0] == length)
            .expect("what is sent was queued, and next in its lane");
        let bulk = lane.is_bulk();
        assert!(!bulk || waiting().all(|(_, lane)| lane.is_bulk()), "bulk went before small");
        for (_, other) in self.lanes.iter_mut().filter(|(other, _)| **other != channel) {
            if !other.frames.is_empty() && other.is_bulk() == bulk {
                let passed = other.passed.entry(channel).or_default();
                *passed += 1;
                assert!(*passed <= 1, "a lane was served twice while another of its kind waited");
            }
        }
        let lane = self.lanes.get_mut(&channel).expect("it was found there");
        lane.frames.pop_front();
        lane.passed.clear();
        if lane.frames.is_empty() && lane.closing {
            self.lanes.remove(&channel);
        }
    }
}

impl Lane {
    fn push(&mut self, length: usize) {
        let bulk = self.is_bulk();
        self.frames.push_back(length);
        if bulk != self.is_bulk() {
            self.passed.clear();
        }
    }
}

/// Each byte or two is one call.
pub fn check(data: &[u8]) {
    let outbox = Outbox::new(MAX_MESSAGE_BYTES);
    let (mut model, mut batch) = (Model::default(), Batch::default());
    let mut input = Unstructured::new(data);
    let mut number = 0;
    while !input.is_empty() && number < 250 {
        number += 1;
        step(&mut input, &outbox, &mut model, &mut batch, number).expect("numbers never run out");
        compare(&outbox, &model);
    }
    // Whoever goes on reading gets all that was accepted, and then nothing is owed.
    let done = Ended::Close { code: 1000, reason: String::new() };
    outbox.end(done.clone());
    model.end(done);
    loop {
        written(&outbox, &mut model, &mut batch);
        if !take(&outbox, &mut model, &mut batch) {
            break;
        }
    }
    assert_eq!((outbox.queued_bytes(), model.queued_bytes), (0, 0), "all is sent");
    assert!(!outbox.push(ChannelId::CONTROL, Bytes::from_static(b"late")), "it has ended");
}

fn step(
    input: &mut Unstructured,
    outbox: &Outbox,
    model: &mut Model,
    batch: &mut Batch,
    number: usize,
) -> Result<()> {
    let call = input.int_in_range(0..=11u8)?;
    let channel = input.int_in_range(0..=CHANNELS)?;
    let length = input.choose(&SIZES)? + number;
    let (id, frame) = (ChannelId(channel.into()), Bytes::from_static(&BYTES[..length]));
    let over = model.ended.is_some();
    match call {
        0..=3 => {
            let accepted = !over && model.push(channel, length);
            if accepted {
                model.add(length, 0);
            }
            assert_eq!(outbox.push(id, frame), accepted, "{id:?}");
        }
        4 if channel != 0 && !model.closed.contains(&channel) => {
            outbox.open_lane(id, frame);
            if !over {
                model.lanes.entry(channel).or_default();
                model.control.push_back(length);
                model.add(length, 0);
            }
        }
        5 if channel != 0 => {
            outbox.cut_lane(id, frame);
            if !over {
                let freed_bytes = model.lanes.remove(&channel).map_or(0, |lane| cost(&lane.frames));
                model.control.push_back(length);
                model.add(length, freed_bytes);
            }
        }
        6 if channel != 0 => {
            outbox.close_lane(id, frame);
            if !over {
                match model.lanes.get_mut(&channel).filter(|lane| !lane.frames.is_empty()) {
                    Some(lane) => {
                        lane.push(length);
                        lane.closing = true;
                    }
                    None => {
                        model.lanes.remove(&channel);
                        model.control.push_back(length);
                    }
                }
                model.closed.insert(channel);
                model.add(length, 0);
            }
        }
        7 => {
            outbox.push_behind(id, frame);
            if !over {
                match model.lanes.get_mut(&channel).filter(|lane| !lane.frames.is_empty()) {
                    Some(lane) => lane.push(length),
                    None => model.control.push_back(length),
                }
                model.add(length, 0);
            }
        }
        8 => {
            outbox.push_framed(frame);
            if !over {
                model.framed.push_back(length);
                model.add(length, 0);
            }
        }
        9 | 10 => {
            written(outbox, model, batch);
            take(outbox, model, batch);
        }
        11 => {
            let why = match channel {
                0 => Ended::Gone,
                1 => Ended::Close { code: 1000, reason: String::new() },
                _ => return Ok(()),
            };
            outbox.end(why.clone());
            model.end(why);
        }
        _ => {}
    }
    Ok(())
}

/// Takes one batch, if there is one.
fn take(outbox: &Outbox, model: &mut Model, batch: &mut Batch) -> bool {
    match outbox.next_batch(batch).now_or_never() {
        Some(true) => {}
        Some(false) => {
            assert!(model.ended.is_some(), "nothing more will come, and it has not ended");
            assert!(batch.frames.is_empty());
            return false;
        }
        None => assert!(model.ended.is_none(), "the writer of an ended outbox waits"),
    }
    assert!(batch.frames.len() <= limits::BATCH_FRAMES);
    let mut before_last = 0;
    for frame in &batch.frames {
        assert!(before_last < limits::BATCH_BYTES, "a batch is bounded");
        before_last += frame.size_bytes();
        model.sent(frame.size_bytes(), frame.framed);
        outbox.taken(frame.size_bytes());
    }
    let nothing = model.lanes.values().all(|lane| lane.frames.is_empty()) && model.control.is_empty();
    assert!(!batch.frames.is_empty() || nothing, "something waits, and is not sent");
    true
}

/// The batch in hand is written; what it cost is free again.
fn written(outbox: &Outbox, model: &mut Model, batch: &mut Batch) {
    let lengths = batch.frames.iter().map(|frame| frame.size_bytes()).collect();
    model.queued_bytes -= cost(&lengths);
    outbox.written(batch);
    compare(outbox, model);
}

fn compare(outbox: &Outbox, model: &Model) {
    assert_eq!(outbox.queued_bytes(), model.queued_bytes, "what is queued costs what it costs");
    let kind = |ended: &Ended| std::mem::discriminant(ended);
    assert_eq!(outbox.ended().as_ref().map(kind), model.ended.as_ref().map(kind));
}
