//! `pid1://…`: how clients of contracts that only know starting name a program that is there already.

use pid1_sdk::engine::Engine;
use pid1_sdk::process::{Process, ProcessId};
use pid1_sdk::{Identity, Right};
use tonic::Status;

const SCHEME: &str = "pid1://";

/// A program, as a client names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// `pid1://process/ID`: by the agent's number for it.
    Id(ProcessId),
    /// `pid1://pid/PID`.
    Pid(i32),
    /// `pid1://exec/NAME`: by what whoever started it calls it; the last of that name.
    Name(&'a str),
    /// It begins like one and is none.
    Wrong,
}

impl<'a> Target<'a> {
    /// `None` for what is no such name.
    pub(crate) fn of(text: &'a str) -> Option<Target<'a>> {
        let number = |text: &str| text.parse().ok();
        Some(match text.strip_prefix(SCHEME)?.split_once('/') {
            Some(("process", id)) => id.parse().map_or(Target::Wrong, |id| Target::Id(ProcessId(id))),
            Some(("pid", pid)) => number(pid).map_or(Target::Wrong, Target::Pid),
            Some(("exec", name)) if !name.is_empty() => Target::Name(name),
            _ => Target::Wrong,
        })
    }

    /// The program, if `who` may have other people's.
    pub(crate) fn find(&self, engine: &Engine, who: &Identity) -> Result<Process, Status> {
        if !who.role.may(Right::Own) {
            let (lowest, role) = (Right::Own.lowest_role(), who.role);
            return Err(Status::permission_denied(format!(
                "programs that others may have started need the role {lowest}, and this token has the role {role}"
            )));
        }
        let table = engine.processes();
        let found = match self {
            Target::Id(id) => table.by_id(*id),
            Target::Pid(pid) => table.by_pid(*pid),
            Target::Name(name) => table.by_label(name),
            Target::Wrong => {
                let text = "write pid1://process/ID, pid1://pid/PID or pid1://exec/NAME";
                return Err(Status::invalid_argument(text));
            }
        };
        found
            .ok_or_else(|| Status::not_found("no such program was started by this agent, or it is forgotten"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, target) in [
            ("", None),
            ("sbox-1", None),
            ("pid1", None),
            ("pid1://process/12", Some(Target::Id(ProcessId(12)))),
            ("pid1://pid/7", Some(Target::Pid(7))),
            ("pid1://exec/a/b", Some(Target::Name("a/b"))),
            ("pid1://exec/", Some(Target::Wrong)),
            ("pid1://pid/x", Some(Target::Wrong)),
            ("pid1://process/-1", Some(Target::Wrong)),
            ("pid1://", Some(Target::Wrong)),
        ] {
            assert_eq!(Target::of(text), target, "{text}");
        }
    }
}
