//! The queues of one outbox and who is next: control, then small, then bulk in turns.

use std::collections::{BTreeMap, VecDeque};

use super::Frame;
use crate::identity::ChannelId;
use crate::limits;

/// Frames of one channel, in order. A lane with frames stands in exactly one of the two turns.
#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Its farewell is queued: it takes nothing more, and goes when that is sent.
    closing: bool,
}

/// All lanes of one session.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Pings and pongs of the door itself.
    framed: VecDeque<Frame>,
    control: VecDeque<Frame>,
    open: BTreeMap<ChannelId, Lane>,
    /// Channels with little queued: each gives one frame, then stands at the end again.
    small: VecDeque<ChannelId>,
    /// Channels with much queued: served when nobody of `small` waits.
    bulk: VecDeque<ChannelId>,
}

impl Lanes {
    pub(super) fn open(&mut self, channel: ChannelId) {
        self.open.entry(channel).or_default();
    }

    /// Forgets the lane and what is queued on it; gives back what that cost. `farewell` goes out as control.
    pub(super) fn cut(&mut self, channel: ChannelId, farewell: Frame) -> usize {
        self.control.push_back(farewell);
        // The session may join a named channel again, under the same id.
        self.small.retain(|other| *other != channel);
        self.bulk.retain(|other| *other != channel);
        self.open.remove(&channel).map_or(0, |lane| cost(&lane.frames))
    }

    /// Closes the lane behind what is queued on it; `farewell` is its last frame.
    pub(super) fn close(&mut self, channel: ChannelId, farewell: Frame) {
        match self.open.get_mut(&channel) {
            Some(lane) if !lane.frames.is_empty() => {
                lane.bytes += farewell.size_bytes();
                lane.frames.push_back(farewell);
                lane.closing = true;
            }
            _ => {
                self.open.remove(&channel);
                self.control.push_back(farewell);
            }
        }
    }

    /// Drops everything queued and all lanes; gives back the cost.
    pub(super) fn clear(&mut self) -> usize {
        let all = std::mem::take(self);
        cost(&all.framed)
            + cost(&all.control)
            + all.open.values().map(|lane| cost(&lane.frames)).sum::<usize>()
    }

    pub(super) fn push_first(&mut self, frame: Frame) -> bool {
        self.framed.push_back(frame);
        true
    }

    /// Queues an answer about a channel behind what is still queued on it, its farewell included.
    pub(super) fn push_behind(&mut self, channel: ChannelId, frame: Frame) -> bool {
        match self.open.get_mut(&channel) {
            Some(lane) if !lane.frames.is_empty() => {
                lane.bytes += frame.size_bytes();
                lane.frames.push_back(frame);
            }
            _ => self.control.push_back(frame),
        }
        true
    }

    pub(super) fn push(&mut self, channel: ChannelId, frame: Frame) -> bool {
        if channel == ChannelId::CONTROL {
            self.control.push_back(frame);
            return true;
        }
        let Some(lane) = self.open.get_mut(&channel).filter(|lane| !lane.closing) else { return false };
        if lane.frames.is_empty() {
            self.small.push_back(channel);
        }
        lane.bytes += frame.size_bytes();
        lane.frames.push_back(frame);
        true
    }

    /// Moves the next frames into `batch`, up to its bounds; gives back their cost.
    pub(super) fn take(&mut self, batch: &mut Vec<Frame>) -> usize {
        let (mut bytes, mut cost_bytes) = (0, 0);
        while batch.len() < limits::BATCH_FRAMES && bytes < limits::BATCH_BYTES {
            let first = self.framed.pop_front().or_else(|| self.control.pop_front());
            let Some(frame) = first.or_else(|| self.next()) else { break };
            bytes += frame.size_bytes();
            cost_bytes += frame.cost_bytes();
            batch.push(frame);
        }
        cost_bytes
    }

    fn next(&mut self) -> Option<Frame> {
        while let Some(channel) = self.small.pop_front() {
            match self.open.get(&channel) {
                Some(lane) if lane.bytes > limits::SMALL_LANE_BYTES => self.bulk.push_back(channel),
                _ => return self.pop(channel),
            }
        }
        let channel = self.bulk.pop_front()?;
        self.pop(channel)
    }

    fn pop(&mut self, channel: ChannelId) -> Option<Frame> {
        let lane = self.open.get_mut(&channel)?;
        let frame = lane.frames.pop_front()?;
        lane.bytes -= frame.size_bytes();
        if lane.frames.is_empty() {
            if lane.closing {
                self.open.remove(&channel);
            }
        } else {
            let turn = if lane.bytes > limits::SMALL_LANE_BYTES { &mut self.bulk } else { &mut self.small };
            turn.push_back(channel);
        }
        Some(frame)
    }
}

fn cost(frames: &VecDeque<Frame>) -> usize {
    frames.iter().map(Frame::cost_bytes).sum()
}
