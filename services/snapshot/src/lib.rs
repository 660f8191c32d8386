//! The `snapshot` service: everything on disk, when no lock holds that off.
//!
//! In: `fsSnapshot`, answered `ok` once the workspace is on disk; `fsTakeLock` and `fsReleaseLock`, named locks that the
//! whole agent shares. A lock ends with its session's membership here at the latest.
#![warn(missing_docs)]

use std::collections::HashMap;
use std::sync::Arc;

use pid1_sdk::api::command::Body;
use pid1_sdk::snapshots::SnapshotLock;
use pid1_sdk::{Channel, Error, Member, Reply, Result, Service, SessionId, limits, unsupported};
use tokio::sync::Semaphore;

/// The locks of one channel's members.
#[derive(Debug)]
pub struct Snapshot {
    held: HashMap<(SessionId, String), SnapshotLock>,
    slots: Arc<Semaphore>,
}

impl Service for Snapshot {
    type Event = ();

    async fn open(_ch: &mut Channel<()>) -> Result<Self> {
        Ok(Snapshot { held: HashMap::new(), slots: Arc::new(Semaphore::new(limits::SNAPSHOTS_ASKED)) })
    }

    async fn command(&mut self, ch: &mut Channel<()>, from: &Member, body: Body) -> Result<Reply> {
        match body {
            Body::FsSnapshot(_) => {
                let Ok(slot) = self.slots.clone().try_acquire_owned() else {
                    let error = format!("snapshot: {} are waited for here already", limits::SNAPSHOTS_ASKED);
                    return Err(Error::new(error));
                };
                let (engine, ticket) = (ch.engine().clone(), ch.ticket());
                ch.spawn(async move {
                    match engine.snapshots().save(engine.workspace(), engine.runtimes()).await {
                        Ok(()) => ticket.answer(Body::Ok(Default::default())),
                        Err(error) => ticket.fail(Error::new(error.to_string())),
                    }
                    drop(slot);
                });
                Ok(Reply::Later)
            }
            Body::FsTakeLock(lock) => {
                let taken = ch.engine().snapshots().take(&lock.name, &called(from));
                let taken = taken.map_err(|error| Error::new(error.to_string()))?;
                self.held.insert((from.session(), lock.name), taken);
                Ok(Reply::None)
            }
            Body::FsReleaseLock(lock) => {
                let name = lock.name.clone();
                match self.held.remove(&(from.session(), lock.name)) {
                    Some(_released) => Ok(Reply::None),
                    None => Err(not_held(&name, ch.engine().snapshots().holder(&name))),
                }
            }
            other => unsupported(&other),
        }
    }

    fn idle(&self) -> bool {
        self.held.is_empty() && self.slots.available_permits() == limits::SNAPSHOTS_ASKED
    }

    async fn detach(&mut self, _ch: &mut Channel<()>, member: &Member) {
        self.held.retain(|(session, _), _| *session != member.session());
    }
}

fn not_held(name: &str, holder: Option<String>) -> Error {
    let name = pid1_sdk::error::printable(&name.chars().take(limits::LOCK_NAME_BYTES).collect::<String>());
    Error::new(match holder {
        Some(holder) => format!("snapshot: the lock {name} is not yours to release, it is held by {holder}"),
        None => format!("snapshot: the lock {name} is not held"),
    })
}

/// A member as others know it.
fn called(member: &Member) -> String {
    match member.identity().name.as_str() {
        "" => format!("session {}", member.session()),
        name => format!("{name}, session {}", member.session()),
    }
}
