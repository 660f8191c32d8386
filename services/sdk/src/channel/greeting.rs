//! The first and the last thing that a session hears of a channel. Both are said on channel 0.

use super::{Channel, Member};
use crate::api::command::Body;
use crate::api::{CloseChannelRes, OpenChannelRes, close_channel_res::Status, open_channel_res::State};
use crate::identity::ChannelId;
use crate::wire::{self, Target};

/// Tells a session that it is a member: the first thing it hears of this channel.
pub(super) fn announce<E>(ch: &Channel<E>, member: &Member, reference: String, created: bool) {
    let state = if created { State::Created } else { State::Attached };
    let body = Body::OpenChanRes(OpenChannelRes { id: ch.id.0, state: state.into(), error: String::new() });
    member.outbox().open_lane(ch.id, encode_control(member, reference, body));
}

/// What tells a session that it is no member any more: the last thing it hears of this channel.
pub(super) fn farewell<E>(
    ch: &Channel<E>,
    member: &Member,
    reference: String,
    status: Status,
) -> bytes::Bytes {
    let body = Body::CloseChanRes(CloseChannelRes { id: ch.id.0, status: status.into() });
    encode_control(member, reference, body)
}

fn encode_control(member: &Member, reference: String, body: Body) -> bytes::Bytes {
    wire::encode(ChannelId::CONTROL, Target::One(member.session()), reference, body)
}
