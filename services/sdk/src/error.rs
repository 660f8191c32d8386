//! The one error type of services: whatever it says reaches the client as the text of an `error` body.

use crate::identity::{ChannelId, Right, Role};
use crate::process::{AccountError, StartError};
use crate::workspace::FileError;

/// Why a command was refused or failed. The text is shown to people: one lowercase sentence that says what was
/// tried, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A body this service does not answer (yet). Carries the body's name in the contract.
    #[error("{0} is not supported yet")]
    Unsupported(&'static str),
    /// The session's role does not include the right that the body needs.
    #[error("{body} needs the role {}, and this session has the role {role}", needed.lowest_role())]
    Forbidden {
        /// The body's name in the contract.
        body: &'static str,
        /// What it needs.
        needed: Right,
        /// What the session is.
        role: Role,
    },
    /// The command carried no body, or one that this agent does not know.
    #[error("the command on channel {0} has no body that this agent knows")]
    NoBody(ChannelId),
    /// A program could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Who a program is to run as was not found.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A file could not be read or changed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Anything else, in the service's own words.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// An error in the service's own words.
    pub fn new(text: impl Into<String>) -> Self {
        Error::Other(text.into())
    }
}

/// What services return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// `text` as it may be shown: control characters, which could drive a terminal or forge a log line, become spaces.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// As [`printable`], for text of many lines, such as a traceback: line feeds and tabs stay.
pub fn printable_lines(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_facts() {
        let error = Error::Forbidden { body: "input", needed: Right::Write, role: Role::Viewer };
        assert_eq!(error.to_string(), "input needs the role editor, and this session has the role viewer");
        assert_eq!(Error::Unsupported("flush").to_string(), "flush is not supported yet");
        assert_eq!(printable("a\x1b[31m\r\nb"), "a [31m  b");
        assert_eq!(printable_lines("a\x1b[31m\r\n\tb"), "a [31m \n\tb");
    }
}
