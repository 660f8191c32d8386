//! The members of one channel as receivers, and what happens to those who do not keep up.
//!
//! Changed by the actor only; shared with the tasks that read a program's output, which wait here for room. Two
//! policies: *lossless* output waits for the slowest member (the outbox drops a session that takes nothing for too
//! long); *terminal* output waits a moment and then skips a member that lags while another keeps up.
//!
//! Whoever may only look on is waited for by nobody: on a terminal a viewer who is full is skipped at once, of lossless
//! output he is dropped at the hard mark. So nothing runs slower because it is watched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Member;
use crate::identity::{ChannelId, Right, SessionId};
use crate::limits;
use crate::outbox::Ended;

/// The members of one channel.
#[derive(Debug, Default)]
pub struct Audience {
    listeners: Mutex<Vec<Listener>>,
    /// Somebody has come or gone: whoever waits for a full member looks again.
    changed: Notify,
}

/// The members of several channels that show one program, so that it waits in none of them for somebody who does not keep up
/// while another does.
#[derive(Debug, Default)]
pub struct Company(Mutex<Vec<Weak<Audience>>>);

impl Company {
    /// From now on these belong to it, as long as there are any.
    pub fn add(&self, audience: &Arc<Audience>) {
        let mut audiences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        audiences.retain(|one| one.strong_count() > 0);
        audiences.push(Arc::downgrade(audience));
    }

    /// Whether anybody is there who is waited for and has room.
    fn keeps_up(&self) -> bool {
        let audiences: Vec<_> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
        audiences.iter().any(|audience| {
            let ready = |listener: &Listener| {
                listener.is_writer()
                    && listener.skipped_bytes.is_none()
                    && !listener.is_over(limits::OUTBOX_ROOM_BYTES)
                    && listener.member.outbox().ended().is_none()
            };
            audience.lock().iter().any(ready)
        })
    }
}

#[derive(Debug)]
struct Listener {
    member: Member,
    /// While it is skipped: how many bytes of text it has missed.
    skipped_bytes: Option<u64>,
}

impl Listener {
    fn is_writer(&self) -> bool {
        self.member.role().may(Right::Write)
    }

    fn is_over(&self, mark_bytes: usize) -> bool {
        self.member.outbox().queued_bytes() > mark_bytes
    }
}

impl Audience {
    pub(super) fn add(&self, member: Member) {
        self.lock().push(Listener { member, skipped_bytes: None });
        self.changed.notify_waiters();
    }

    pub(super) fn remove(&self, session: SessionId) -> Option<Member> {
        let mut listeners = self.lock();
        let at = listeners.iter().position(|listener| listener.member.session() == session)?;
        let gone = listeners.remove(at);
        drop(listeners);
        self.changed.notify_waiters();
        Some(gone.member)
    }

    /// The member that `session` is.
    pub fn find(&self, session: SessionId) -> Option<Member> {
        self.lock()
            .iter()
            .map(|listener| &listener.member)
            .find(|member| member.session() == session)
            .cloned()
    }

    /// Whether `session` is a member.
    pub fn contains(&self, session: SessionId) -> bool {
        self.lock().iter().any(|listener| listener.member.session() == session)
    }

    /// Everybody, in the order in which they joined.
    pub fn members(&self) -> Vec<Member> {
        self.lock().iter().map(|listener| listener.member.clone()).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn send_all(&self, channel: ChannelId, frame: &Bytes) {
        for listener in self.lock().iter() {
            listener.member.outbox().push(channel, frame.clone());
        }
    }

    pub(super) fn send_except(&self, channel: ChannelId, except: SessionId, frame: &Bytes) {
        for listener in self.lock().iter().filter(|listener| listener.member.session() != except) {
            listener.member.outbox().push(channel, frame.clone());
        }
    }

    pub(super) fn send_terminal(&self, channel: ChannelId, frame: &Bytes, text_bytes: u64) {
        for listener in self.lock().iter_mut() {
            match &mut listener.skipped_bytes {
                Some(skipped) => *skipped += text_bytes,
                None => {
                    listener.member.outbox().push(channel, frame.clone());
                }
            }
        }
    }

    /// Ends the skipping of `session`: what it missed, `None` if it was not skipped.
    pub(super) fn resume(&self, session: SessionId) -> Option<u64> {
        self.lock().iter_mut().find(|listener| listener.member.session() == session)?.skipped_bytes.take()
    }

    /// Whether anybody is there who may do more than look on.
    pub fn has_writer(&self) -> bool {
        self.lock().iter().any(Listener::is_writer)
    }

    /// Waits until every member has room for more; one who takes nothing while others wait is dropped in the end, and a
    /// viewer who is far behind at once. Does not wait if there is nobody. Cancel-safe.
    pub async fn room_for_all(&self) {
        for viewer in self.lock().iter().filter(|listener| !listener.is_writer()) {
            let outbox = viewer.member.outbox();
            if outbox.queued_bytes() > limits::OUTBOX_HARD_BYTES {
                let reason =
                    "too slow for output of which nothing may be left out, and nobody waits for a viewer";
                outbox.end(Ended::TooSlow(reason.to_owned()));
            }
        }
        self.room(true).await;
    }

    async fn room(&self, owed: bool) {
        while let Some(full) = self.first_full() {
            self.room_of(&full, owed).await;
        }
    }

    /// Waits until `member` has room for more, or has left. `owed`: it is dropped if it takes nothing for too long while
    /// there are others, who wait for it. Cancel-safe.
    pub async fn room_of(&self, member: &Member, owed: bool) {
        let outbox = member.outbox();
        loop {
            // Made before the look, so that a change between the two is not missed.
            let changed = self.changed.notified();
            if outbox.queued_bytes() <= limits::OUTBOX_ROOM_BYTES || !self.contains(member.session()) {
                return;
            }
            // A lone member harms nobody but himself.
            let _awaited = (owed && self.len() > 1).then(|| outbox.awaited());
            tokio::select! {
                () = outbox.until_at_most(limits::OUTBOX_ROOM_BYTES) => return,
                () = changed => {}
            }
        }
    }

    /// Waits until every member that keeps up has room, and marks those who lag while another keeps up, here or in
    /// `company`, as skipped; they are given back, so that somebody waits for them to catch up. If all lag, waits for them:
    /// nothing is lost for the only member. Cancel-safe: a mark that is not reported back is not made.
    pub async fn room_or_skip(&self, company: Option<&Company>) -> Vec<Member> {
        let viewers =
            self.skip(|listener| !listener.is_writer() && listener.is_over(limits::OUTBOX_HIGH_BYTES));
        if !viewers.is_empty() {
            return viewers;
        }
        while self.first_full().is_some() {
            let begin: Vec<(SessionId, u64)> =
                self.lock().iter().map(|l| (l.member.session(), l.member.outbox().taken_bytes())).collect();
            let deadline = Instant::now() + limits::LAGGARD_PATIENCE;
            if timeout_at(deadline, self.room(false)).await.is_ok() {
                return Vec::new();
            }
            let skipped = self.skip_laggards(&begin, company);
            if !skipped.is_empty() {
                return skipped;
            }
        }
        Vec::new()
    }

    /// Marks every writer who is full and took little since `begin`, unless that is all of them.
    fn skip_laggards(&self, begin: &[(SessionId, u64)], company: Option<&Company>) -> Vec<Member> {
        let lags = |listener: &Listener| {
            let outbox = listener.member.outbox();
            let before = begin.iter().find(|(session, _)| *session == listener.member.session());
            let took = before.map_or(u64::MAX, |(_, taken)| outbox.taken_bytes() - taken);
            let slow = listener.is_over(limits::OUTBOX_ROOM_BYTES) && took < limits::LAGGARD_BYTES;
            outbox.ended().is_some() || slow
        };
        let waited_for = |listener: &Listener| listener.is_writer() && listener.skipped_bytes.is_none();
        let here = self.lock().iter().any(|listener| waited_for(listener) && !lags(listener));
        // Those who lag here have no room, so they do not count there.
        if !here && !company.is_some_and(Company::keeps_up) {
            return Vec::new();
        }
        self.skip(|listener| waited_for(listener) && lags(listener))
    }

    /// Marks those who are heard and `wanted` as skipped.
    fn skip(&self, wanted: impl Fn(&Listener) -> bool) -> Vec<Member> {
        let mut listeners = self.lock();
        let heard =
            listeners.iter_mut().filter(|listener| listener.skipped_bytes.is_none() && wanted(listener));
        let mark = |listener: &mut Listener| {
            listener.skipped_bytes = Some(0);
            listener.member.clone()
        };
        heard.map(mark).collect()
    }

    /// The first member that is waited for.
    fn first_full(&self) -> Option<Member> {
        let full = |listener: &&Listener| {
            listener.is_writer()
                && listener.skipped_bytes.is_none()
                && listener.is_over(limits::OUTBOX_ROOM_BYTES)
                && listener.member.outbox().ended().is_none()
        };
        self.lock().iter().find(full).map(|listener| listener.member.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
