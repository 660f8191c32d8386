//! The `files` service, which is also `gcsfiles`: the workspace's files, asked for one by one.
//!
//! In: `read`, `write`, `mkdir`, `remove`, `tryRemove`, `move`, `readdir`, `stat`, `checkChanges`, `persist`,
//! `persistMirror`. Each is answered: by `file`, `files`, `statRes` or `ok`, or by an `error` in the words that clients
//! look for.
//!
//! `fileAuthReq` is answered by `fileAuthRes`: a URL of the file, good for one method and for a while.
//!
//! What the kernel has in memory is answered at once; everything else runs beside the channel, several at a time. Two
//! requests of which one changes what the other is about, be it the same path or one that contains it, run in the order
//! in which they were sent, and are answered in that order.
//!
//! A change that was taken is made, whole, also if everybody leaves.
#![warn(missing_docs)]

mod info;
mod job;
mod order;

use std::collections::HashMap;
use std::sync::Arc;

use pid1_sdk::api::command::Body;
use pid1_sdk::workspace::Moment;
use pid1_sdk::{Channel, Member, Reply, Result, Right, Service, SessionId, limits};
use tokio::sync::Semaphore;

use job::Job;
use order::Order;

/// What one channel has begun and not ended.
#[derive(Debug)]
pub struct Files {
    order: Order,
    slots: Arc<Semaphore>,
    opened: Moment,
    /// When each member last asked what has changed.
    checked: HashMap<SessionId, Moment>,
}

impl Service for Files {
    type Event = ();

    /// There is nothing to start, and whoever may only look on reads files.
    const OPEN_NEEDS: Right = Right::Read;

    async fn open(_ch: &mut Channel<()>) -> Result<Self> {
        Ok(Files {
            order: Order::default(),
            slots: Arc::new(Semaphore::new(limits::FILE_JOBS)),
            opened: Moment::now(),
            checked: HashMap::new(),
        })
    }

    fn needs(body: &Body) -> Right {
        match body {
            // What its method needs is told in the answer.
            Body::Read(_)
            | Body::Readdir(_)
            | Body::Stat(_)
            | Body::CheckChanges(_)
            | Body::FileAuthReq(_) => Right::Read,
            _ => Right::Write,
        }
    }

    async fn command(&mut self, ch: &mut Channel<()>, from: &Member, body: Body) -> Result<Reply> {
        if let Body::FileAuthReq(request) = body {
            let engine = ch.engine();
            let answer = engine.file_urls().answer(engine.root(), request, from.identity());
            return Ok(Reply::now(Body::FileAuthRes(answer)));
        }
        let job = match body {
            Body::CheckChanges(_) => {
                // Before anything is looked at: what happens meanwhile is for the next time.
                let last = self.checked.insert(from.session(), Moment::now());
                Job::Changed(last.unwrap_or(self.opened))
            }
            body => Job::of(body)?,
        };
        let claim = job.claim(ch.engine().root());
        let earlier = self.order.before(&claim);
        if earlier.is_empty()
            && let Some(answer) = job.now(ch.engine().workspace())
        {
            return Ok(Reply::now(answer));
        }
        let changes = claim.changes;
        let turn = (self.order.enter(claim), self.slots.clone().try_acquire_owned(), ch.share());
        if self.slots.available_permits() == 0 {
            let slots = self.slots.clone();
            ch.hold_commands(async move {
                let _ = slots.acquire().await;
            });
        }
        let (engine, outbox, ticket) = (ch.engine().clone(), from.outbox().clone(), ch.ticket());
        let work = async move {
            for other in earlier {
                other.cancelled().await;
            }
            job.run(&engine, &outbox, ticket).await;
            // Answered: now whoever comes after it may be.
            drop(turn);
        };
        if changes {
            // Not a task of the channel's: those end with it.
            drop(ch.engine().runtimes().spawn(work));
        } else {
            ch.spawn(work);
        }
        Ok(Reply::Later)
    }

    async fn detach(&mut self, _ch: &mut Channel<()>, member: &Member) {
        self.checked.remove(&member.session());
    }

    fn idle(&self) -> bool {
        self.slots.available_permits() == limits::FILE_JOBS
    }

    /// Whoever is told that the channel has ended may look at the files.
    async fn close(&mut self, _ch: &mut Channel<()>) {
        let _ = tokio::time::timeout(limits::CHANGES_TIMEOUT, self.order.until_changed()).await;
    }
}
