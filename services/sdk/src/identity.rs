//! Who is connected and what they may do.
//!
//! An [`Identity`] is made once, by the agent's `auth`, from a token; nothing a client sends later changes its
//! [`Role`]. Services never compare roles themselves: they name the [`Right`] that a body needs, and the channel's
//! actor loop checks it before the service sees the command.

use std::fmt;
use std::time::SystemTime;

/// One connected client. Ids start at 2, because the protocol keeps 0 for "everybody" and 1 for the container
/// manager; they are never used twice in the life of an agent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub i32);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.0)
    }
}

/// One channel. Ids start at 1 and are never used twice: a client dies when it is told of an id it already holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub i32);

impl ChannelId {
    /// The channel that every session has, on which it opens and closes the others.
    pub const CONTROL: ChannelId = ChannelId(0);
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel {}", self.0)
    }
}

/// What a client is trusted with, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Watches: attaches to what exists, reads files, chats. A channel that a viewer opens starts nothing.
    Viewer,
    /// Works: everything but what reaches beyond the workspace and their own programs.
    Editor,
    /// Everything.
    Owner,
}

impl Role {
    /// Whether this role includes `right`.
    pub fn may(self, right: Right) -> bool {
        match right {
            Right::Read => true,
            Right::Write => self >= Role::Editor,
            Right::Own => self >= Role::Owner,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Viewer => "viewer",
            Role::Editor => "editor",
            Role::Owner => "owner",
        })
    }
}

/// A word that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no role {0:?}: it is owner, editor or viewer")]
pub struct UnknownRole(pub String);

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let named =
            [Role::Viewer, Role::Editor, Role::Owner].into_iter().find(|role| role.to_string() == text);
        named.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// What a message asks for; every role includes the rights of the roles below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Changes nothing: viewers may.
    Read,
    /// Changes the workspace or runs something: editors may.
    Write,
    /// Reaches beyond that (other people's processes, the agent's own settings): owners only.
    Own,
}

impl Right {
    /// The lowest role that includes this right, for error texts.
    pub fn lowest_role(self) -> Role {
        match self {
            Right::Read => Role::Viewer,
            Right::Write => Role::Editor,
            Right::Own => Role::Owner,
        }
    }
}

/// The person or program behind a session, as its token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's number; 0 when the token names nobody.
    pub user_id: u32,
    /// The user's display name; empty when the token names nobody.
    pub name: String,
    /// What this session may do.
    pub role: Role,
    /// When its token ends, and with it the session and whatever else the token is used for. A shared secret has no end.
    pub expires: Option<SystemTime>,
    /// Who counts as one where what all share is shared out: the same for all tokens of one person, another for each token
    /// that names nobody. Means nothing to another agent, and tells nothing of the person or token.
    pub client: u64,
}

impl Identity {
    /// An identity without a name: what a shared secret gives.
    pub fn anonymous(role: Role) -> Self {
        Identity { user_id: 0, name: String::new(), role, expires: None, client: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_includes_the_rights_below_it() {
        let table = [
            (Role::Viewer, [true, false, false]),
            (Role::Editor, [true, true, false]),
            (Role::Owner, [true; 3]),
        ];
        for (role, may) in table {
            assert_eq!([Right::Read, Right::Write, Right::Own].map(|right| role.may(right)), may, "{role}");
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("Owner".parse::<Role>().is_err() && "".parse::<Role>().is_err());
    }
}
