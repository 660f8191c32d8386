//! The services `packager3` and `packager2`: find, add, remove and install packages of the workspace, with the tools that
//! its language has for that.
//!
//! In: `packageSearch`, `packageInfo`, `packageListSpecfile`, `packageAdd`, `packageRemove`, `packageInstall`,
//! `packageCacheSave`, `ensurePackages`, `clear`. Out: `output` of the tools, for all members, then the answer. Both names
//! take all of them.
//!
//! **One change at a time**, whoever asks on whichever channel, and snapshots wait for it: it holds the lock `packager` of the
//! [`snapshot`](pid1_sdk::snapshots) service. **A change is whole or has not happened**: if a tool fails, is stopped or dies
//! with the agent, specfile and lock file are put back as they were ([`Rollback`](pid1_sdk::workspace::Rollback)). What
//! else it has already brought, such as files in `node_modules`, stays: the next change makes use of it.
//!
//! `clear` stops what was asked for here, and so does the channel's end; a named channel that nobody has come back to
//! for [`PACKAGE_DESERTED`](pid1_sdk::limits::PACKAGE_DESERTED) stops it, too.
//!
//! Source: the published messages; UPM, whose words these are: at most 20 results, none for an empty query.
#![warn(missing_docs)]

mod change;
mod ecosystem;
mod imports;
mod lookup;
mod request;
mod tools;

use std::collections::HashMap;

use pid1_sdk::api::{Hint, PackageListSpecfileResp, command::Body};
use pid1_sdk::channel::Timer;
use pid1_sdk::{
    Channel, Error, Member, Reply, Result, Right, Service, SessionId, Ticket, limits, unsupported,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use request::Asker;

/// Results of one search.
const SEARCH_RESULTS: usize = 20;

/// What is under way for one channel.
#[derive(Debug)]
pub struct Packager {
    /// Requests that are not answered yet, by number.
    asked: HashMap<u64, Asked>,
    requests: u64,
    /// While nobody is here, and something is asked for.
    deserted: Option<Timer>,
    closed: CancellationToken,
    closes: DropGuard,
}

#[derive(Debug)]
struct Asked {
    ticket: Ticket,
    /// Why it was stopped; it is answered when what it has changed is put back.
    stopped: Option<&'static str>,
}

/// What a request has come to.
#[derive(Debug)]
pub enum Event {
    /// To be shown to all.
    Print(String),
    /// To be said to whoever has asked.
    Hint(SessionId, String),
    /// Nobody has come back.
    Deserted,
    /// The request of this number is done.
    Done(u64, Result<Box<Body>>),
}

impl Service for Packager {
    type Event = Event;

    /// Nothing is started: whoever may only look on may read the specfile.
    const OPEN_NEEDS: Right = Right::Read;

    async fn open(_ch: &mut Channel<Event>) -> Result<Self> {
        let closed = CancellationToken::new();
        let closes = closed.clone().drop_guard();
        Ok(Packager { asked: HashMap::new(), requests: 0, deserted: None, closed, closes })
    }

    fn needs(body: &Body) -> Right {
        match body {
            Body::PackageListSpecfile(_) => Right::Read,
            _ => Right::Write,
        }
    }

    async fn command(&mut self, ch: &mut Channel<Event>, from: &Member, body: Body) -> Result<Reply> {
        let asker = Asker {
            engine: ch.engine().clone(),
            events: ch.events(),
            audience: ch.audience().clone(),
            closed: self.closed.clone(),
            session: from.session(),
        };
        match body {
            Body::PackageListSpecfile(_) => {
                let pkgs = asker.list().await?;
                Ok(Reply::now(Body::PackageListSpecfileResp(PackageListSpecfileResp { pkgs })))
            }
            Body::PackageSearch(_)
            | Body::PackageInfo(_)
            | Body::PackageAdd(_)
            | Body::PackageRemove(_)
            | Body::PackageInstall(_)
            | Body::PackageCacheSave(_)
            | Body::EnsurePackages(_) => {
                let most = limits::PACKAGE_REQUESTS;
                if self.asked.len() >= most {
                    return Err(Error::new(format!("packager: {most} requests are waiting here already")));
                }
                self.requests += 1;
                let (number, events, share) = (self.requests, ch.events(), ch.share());
                self.asked.insert(number, Asked { ticket: ch.ticket(), stopped: None });
                // Not a task of the channel: what has been begun is put back also when that has ended.
                let runtimes = ch.engine().runtimes().clone();
                runtimes.spawn(async move {
                    let answer = tools::caught(asker.answer(body)).await.map(Box::new);
                    drop(share);
                    // Nobody is there to be answered if the channel has ended.
                    let _ = events.send(Event::Done(number, answer)).await;
                });
                Ok(Reply::Later)
            }
            Body::Clear(_) => {
                self.stop("it was cleared");
                Ok(Reply::None)
            }
            other => unsupported(&other),
        }
    }

    async fn attach(&mut self, _ch: &mut Channel<Event>, _member: &Member) {
        self.deserted = None;
    }

    async fn detach(&mut self, ch: &mut Channel<Event>, _member: &Member) {
        if ch.audience().is_empty() && !self.asked.is_empty() {
            self.deserted = Some(ch.after(limits::PACKAGE_DESERTED, Event::Deserted));
        }
    }

    fn idle(&self) -> bool {
        self.asked.is_empty()
    }

    async fn event(&mut self, ch: &mut Channel<Event>, event: Event) {
        match event {
            Event::Print(text) => ch.broadcast(Body::Output(text)),
            Event::Hint(session, text) => ch.send(session, Body::Hint(Hint { text })),
            Event::Deserted if self.deserted.take().is_some() => self.stop("nobody is here any more"),
            Event::Deserted => {}
            Event::Done(number, answer) => {
                if let Some(Asked { ticket, stopped }) = self.asked.remove(&number) {
                    match (answer, stopped) {
                        (Ok(body), _) => ticket.answer(*body),
                        (Err(error), Some(why)) => ticket.fail(because(why, &error)),
                        (Err(error), None) => ticket.fail(error),
                    }
                }
            }
        }
    }

    async fn close(&mut self, _ch: &mut Channel<Event>) {
        let why = "the channel was closed";
        self.stop(why);
        for (_, Asked { ticket, .. }) in self.asked.drain() {
            ticket.fail(because(why, &tools::stopped()));
        }
    }
}

impl Packager {
    /// Stops what was asked for here, and what waits. Tools that run are stopped, and what they have changed is put back.
    fn stop(&mut self, why: &'static str) {
        for asked in self.asked.values_mut() {
            asked.stopped.get_or_insert(why);
        }
        self.closed = CancellationToken::new();
        // The old one is dropped, and so cancelled.
        self.closes = self.closed.clone().drop_guard();
    }
}

/// Why a request was stopped, and what else is to be said of its end.
fn because(why: &str, error: &Error) -> Error {
    let (error, stopped) = (error.to_string(), tools::stopped().to_string());
    let more = if error == stopped { String::new() } else { format!(": {error}") };
    Error::new(format!("{stopped}, because {why}{more}"))
}
