//! People at work together: who is here, what they tell each other, what their programs note; and what is left of it
//! after the agent was killed, or its disk was full.

mod chat;
mod meta;
mod presence;

use pid1_sdk::api::command::Body;

use crate::support::Peer;

const OK: Body = Body::Ok(pid1_sdk::api::Ok {});

/// The next message of a kind on `channel`.
async fn next<T>(peer: &mut Peer, channel: i32, what: &str, wanted: fn(&Body) -> Option<T>) -> T {
    let is_it = |body: &Option<Body>| body.as_ref().and_then(wanted);
    let found =
        peer.until(what, |command| command.channel == channel && is_it(&command.body).is_some()).await;
    is_it(&found.body).unwrap()
}
