//! Who belongs to a channel, decided in one place under one lock: joining, leaving and closing are each one
//! transaction, and the actor carries them out in the order in which they were decided.
//!
//! The queue of orders needs no bound of its own: a session waits until its order is carried out before it gives
//! another on the same channel, so there are at most two per session (a join and the leave of a dropped
//! connection).

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Member;
use crate::identity::SessionId;
use crate::limits;

/// Why nobody can join.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotJoined {
    /// The channel has ended.
    #[error("the channel has ended")]
    Gone,
    /// It has as many members as it may.
    #[error("the channel has {} members already", limits::MEMBERS_PER_CHANNEL)]
    Full,
}

/// How a session leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Takes itself off.
    Disconnect,
    /// Takes itself off, and ends the channel if nobody is left.
    TryClose,
    /// Ends the channel for everybody.
    Close,
    /// Its connection is gone: like `Disconnect`, with nobody to tell.
    Vanish,
}

/// What became of leaving.
#[derive(Debug)]
pub enum Left {
    /// It was no member.
    NotAMember,
    /// The actor carries it out and answers; this resolves when that is done.
    Done(oneshot::Receiver<()>),
}

/// What the actor has to do, in order.
#[derive(Debug)]
pub(super) enum Order {
    Join { member: Member, reference: String, created: bool, done: oneshot::Sender<()> },
    Leave { session: SessionId, reference: Option<String>, done: oneshot::Sender<()> },
    Close { by: SessionId, reference: Option<String>, done: oneshot::Sender<()> },
    Retire,
}

/// The members of one channel and the orders that its actor has not yet carried out.
#[derive(Debug)]
pub struct Membership {
    roll: Mutex<Roll>,
    wake: Notify,
    /// Without a name nobody else can ever join: the channel ends with its last member.
    anonymous: bool,
}

#[derive(Debug, Default)]
struct Roll {
    sessions: BTreeSet<SessionId>,
    orders: VecDeque<Order>,
    gone: bool,
    /// Nothing would be lost if it ended while nobody belongs to it.
    idle: bool,
}

impl Membership {
    pub(super) fn new(anonymous: bool) -> Self {
        Membership { roll: Mutex::default(), wake: Notify::new(), anonymous }
    }

    /// Joins; the actor tells the session. A session that is a member already is told again.
    pub(super) fn join(
        &self,
        member: Member,
        reference: String,
        created: bool,
    ) -> Result<oneshot::Receiver<()>, NotJoined> {
        let mut roll = self.lock();
        if roll.gone {
            return Err(NotJoined::Gone);
        }
        if roll.sessions.len() >= limits::MEMBERS_PER_CHANNEL {
            return Err(NotJoined::Full);
        }
        roll.idle = false;
        roll.sessions.insert(member.session());
        let (done, carried_out) = oneshot::channel();
        self.order(roll, Order::Join { member, reference, created, done });
        Ok(carried_out)
    }

    /// Leaves. `reference` is the `ref` of the request, for the answer.
    pub fn leave(&self, session: SessionId, how: Leave, reference: String) -> Left {
        let mut roll = self.lock();
        if !roll.sessions.remove(&session) {
            return Left::NotAMember;
        }
        // Of a channel that is about to end, the actor answers with its one farewell.
        let ends = !roll.gone
            && match how {
                Leave::Close => true,
                Leave::TryClose => roll.sessions.is_empty(),
                Leave::Disconnect | Leave::Vanish => self.anonymous && roll.sessions.is_empty(),
            };
        let (done, carried_out) = oneshot::channel();
        let reference = (how != Leave::Vanish).then_some(reference);
        if ends {
            roll.gone = true;
            self.order(roll, Order::Close { by: session, reference, done });
        } else {
            self.order(roll, Order::Leave { session, reference, done });
        }
        Left::Done(carried_out)
    }

    /// Says whether the service has anything to lose.
    pub(super) fn set_idle(&self, idle: bool) {
        self.lock().idle = idle;
    }

    /// Ends the channel if nobody belongs to it and nothing is lost by it. Whether it does.
    pub fn retire(&self) -> bool {
        let mut roll = self.lock();
        if roll.gone || !roll.idle || !roll.sessions.is_empty() {
            return false;
        }
        roll.gone = true;
        self.order(roll, Order::Retire);
        true
    }

    /// Takes back an order that could not be carried out.
    pub(super) fn give_back(&self, order: Order) {
        self.lock().orders.push_front(order);
    }

    /// Ends the channel if nobody belongs to it.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut roll = self.lock();
        roll.gone |= roll.sessions.is_empty();
        roll.gone
    }

    /// Ends the channel. `farewell` gets what was still ordered and tells the members; it must not wait. Nobody can
    /// leave meanwhile, so that each is told once; whoever leaves later was no member any more.
    pub(super) fn end<R>(&self, farewell: impl FnOnce(VecDeque<Order>) -> R) -> R {
        let mut roll = self.lock();
        roll.gone = true;
        roll.sessions.clear();
        farewell(std::mem::take(&mut roll.orders))
    }

    /// Whether nobody can join any more.
    pub fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// The next order. Cancel-safe.
    pub(super) async fn next(&self) -> Order {
        loop {
            if let Some(order) = self.lock().orders.pop_front() {
                return order;
            }
            self.wake.notified().await;
        }
    }

    fn order(&self, mut roll: MutexGuard<'_, Roll>, order: Order) {
        roll.orders.push_back(order);
        drop(roll);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Roll> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
