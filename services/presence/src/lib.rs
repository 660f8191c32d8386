//! The `presence` service: who is here, what each has open, and who follows whom.
//!
//! In: `openFile`, `followUser` and `unfollowUser`, `updateSessionTimestamp`. Out: `roster` to whoever joins, `join` and
//! `part` to the others; `fileOpened` to the others; `followUser` and `unfollowUser` to whom they are about;
//! `sessionTimestampUpdated` to all.
//!
//! A person with several sessions is here several times, told apart by `session`. Source: the comments of the published
//! contract, and what programs that were written by watching the published service do. Roles are not known there, so
//! they stay empty.
#![warn(missing_docs)]

use std::collections::HashMap;
use std::time::SystemTime;

use pid1_sdk::api::{
    FileOpened, FollowUser, OpenFile, Roster, SessionTimestampUpdated, UnfollowUser, User, command::Body,
};
use pid1_sdk::{Channel, Error, Member, Reply, Result, Right, Service, SessionId, limits, unsupported};

/// Who is here is known to the channel; this is the rest.
#[derive(Debug, Default)]
pub struct Presence {
    /// The last file that each member opened.
    files: HashMap<SessionId, FileOpened>,
}

impl Service for Presence {
    type Event = ();

    /// Nothing is started and nothing changes: whoever may only look on is seen to do so.
    const OPEN_NEEDS: Right = Right::Read;

    async fn open(_ch: &mut Channel<()>) -> Result<Self> {
        Ok(Presence::default())
    }

    fn needs(body: &Body) -> Right {
        match body {
            Body::OpenFile(_)
            | Body::FollowUser(_)
            | Body::UnfollowUser(_)
            | Body::UpdateSessionTimestamp(_) => Right::Read,
            _ => Right::Write,
        }
    }

    async fn attach(&mut self, ch: &mut Channel<()>, member: &Member) {
        let members = ch.audience().members();
        let files = members.iter().filter_map(|other| self.files.get(&other.session())).cloned().collect();
        let here = members.iter().map(user).collect();
        ch.send(member.session(), Body::Roster(Roster { user: here, files }));
        ch.broadcast_except(member.session(), Body::Join(user(member)));
    }

    async fn detach(&mut self, ch: &mut Channel<()>, member: &Member) {
        self.files.remove(&member.session());
        let gone = User { session: -member.session().0, ..user(member) };
        ch.broadcast_except(member.session(), Body::Part(gone));
    }

    async fn command(&mut self, ch: &mut Channel<()>, from: &Member, body: Body) -> Result<Reply> {
        let session = from.session();
        match body {
            Body::OpenFile(OpenFile { file }) => {
                if file.len() > limits::PATH_BYTES {
                    let (length, most) = (file.len(), limits::PATH_BYTES);
                    return Err(Error::new(format!(
                        "presence: a path has at most {most} bytes, not {length}"
                    )));
                }
                let timestamp = Some(SystemTime::now().into());
                let opened =
                    FileOpened { user_id: from.identity().user_id, file, session: session.0, timestamp };
                self.files.insert(session, opened.clone());
                ch.broadcast_except(session, Body::FileOpened(opened));
            }
            Body::FollowUser(FollowUser { session: whom }) => {
                relay(ch, from, whom, Body::FollowUser(FollowUser { session: session.0 }))?;
            }
            Body::UnfollowUser(UnfollowUser { session: whom }) => {
                relay(ch, from, whom, Body::UnfollowUser(UnfollowUser { session: session.0 }))?;
            }
            Body::UpdateSessionTimestamp(_) => {
                let timestamp = Some(SystemTime::now().into());
                let updated = SessionTimestampUpdated { session: session.0, timestamp };
                ch.broadcast(Body::SessionTimestampUpdated(updated));
            }
            other => return unsupported(&other),
        }
        ch.pace(from);
        Ok(Reply::None)
    }

    fn idle(&self) -> bool {
        true
    }
}

/// Tells a member who follows it. Nothing of it is kept: who leaves, follows and is followed no more, as `part` says.
fn relay(ch: &Channel<()>, from: &Member, whom: i32, body: Body) -> Result<()> {
    let whom = SessionId(whom);
    if whom == from.session() || !ch.audience().contains(whom) {
        return Err(Error::new(format!("presence: nobody else is here with the session {whom}")));
    }
    ch.send(whom, body);
    Ok(())
}

/// A member as the others know it.
fn user(member: &Member) -> User {
    let (session, identity) = (member.session().0, member.identity());
    let name = match (identity.name.as_str(), identity.user_id) {
        ("", 0) => format!("guest {session}"),
        ("", id) => format!("user {id}"),
        (name, _) => name.to_owned(),
    };
    User { id: identity.user_id, name, session, ..User::default() }
}
