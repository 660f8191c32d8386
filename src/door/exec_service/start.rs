//! From a start request to a program, or to what its client is told instead.

use std::ffi::OsString;

use pid1_sdk::Identity;
use pid1_sdk::engine::Engine;
use pid1_sdk::error::printable;
use pid1_sdk::process::{Hold, Io, Keep, Process, Spec, StartError, WindowSize};

use crate::door::grpc::{Output, Target};
use crate::proto::exec_service::ExecStartRequest;

/// What runs if nothing is said.
const SHELL: &str = "/bin/sh";

/// What this contract's clients take for granted; they can name another.
const TERM: &str = "xterm";

/// A session's program.
pub(super) struct Started {
    pub(super) process: Process,
    /// It was started here, and ends with its session. Others are only followed.
    pub(super) own: bool,
}

impl Started {
    /// What it prints.
    pub(super) fn output(&self) -> Output {
        Output::of(&self.process, if self.own { Hold::Back } else { Hold::Not })
    }
}

/// Why there is no program.
pub(super) enum NotStarted {
    /// The request cannot be served: there is no session.
    Refused(String),
    /// A session that has ended at once, as a shell tells it.
    AsInShell { id: String, tty: bool, why: String, code: i32 },
}

/// The client's name for the session, or one of our own.
pub(super) fn session_id(asked: String) -> Result<String, NotStarted> {
    if !asked.is_empty() {
        return Ok(asked);
    }
    let random = getrandom::u64();
    let random = random.map_err(|error| NotStarted::Refused(format!("no random session_id: {error}")))?;
    Ok(format!("{random:x}"))
}

/// Starts what is asked for, or finds it.
pub(super) fn start(
    engine: &Engine,
    who: &Identity,
    id: &str,
    request: ExecStartRequest,
) -> Result<Started, NotStarted> {
    if let Some(target) = Target::of(&request.container_id) {
        let found = target.find(engine, who);
        let process = found.map_err(|status| NotStarted::Refused(status.message().to_owned()))?;
        return Ok(Started { process, own: false });
    }
    let tty = request.tty;
    let spec = spec(engine, id, request)?;
    match engine.processes().start(spec) {
        Ok(process) => Ok(Started { process, own: true }),
        Err(
            error @ (StartError::NotInPath { .. }
            | StartError::Program { .. }
            | StartError::Interpreter { .. }
            | StartError::Cwd { .. }),
        ) => Err(NotStarted::AsInShell {
            id: id.to_owned(),
            tty,
            why: printable(&error.to_string()),
            code: error.shell_code(),
        }),
        Err(error) => Err(NotStarted::Refused(printable(&error.to_string()))),
    }
}

fn spec(engine: &Engine, id: &str, request: ExecStartRequest) -> Result<Spec, NotStarted> {
    let io = match request.tty {
        true => Io::Terminal(size(request.rows, request.cols)),
        false => Io::Pipes { split_stderr: true },
    };
    let mut env: Vec<(OsString, OsString)> =
        request.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    if request.tty && !env.iter().any(|(name, _)| name == "TERM") {
        env.push(("TERM".into(), TERM.into()));
    }
    let args = args(request.command, request.container_id.is_empty());
    let spec = engine.spec_as(&request.user, args, env, io, Keep::Tail);
    let mut spec = spec.map_err(|error| NotStarted::Refused(error.to_string()))?;
    if !request.working_dir.is_empty() {
        spec.cwd = engine.root().join(request.working_dir);
    }
    spec.label = Some(id.to_owned());
    Ok(spec)
}

/// Without a container's name, a single word with a blank is a line for the shell.
fn args(command: Vec<String>, direct: bool) -> Vec<OsString> {
    match &command[..] {
        [] => vec![SHELL.into()],
        [line] if direct && line.contains(' ') => vec![SHELL.into(), "-c".into(), line.into()],
        _ => command.into_iter().map(OsString::from).collect(),
    }
}

fn size(rows: i32, cols: i32) -> WindowSize {
    let usual = WindowSize::default();
    let side = |asked: i32, usual: u16| match asked {
        ..=0 => usual,
        asked => u16::try_from(asked).unwrap_or(u16::MAX),
    };
    WindowSize { rows: side(rows, usual.rows), cols: side(cols, usual.cols) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        for (command, direct, args_of) in [
            (&[][..], false, &["/bin/sh"][..]),
            (&["echo hi"], true, &["/bin/sh", "-c", "echo hi"]),
            (&["echo hi"], false, &["echo hi"]),
            (&["ls"], true, &["ls"]),
            (&["echo", "a b"], true, &["echo", "a b"]),
        ] {
            assert_eq!(args(words(command), direct), args_of, "{command:?} {direct}");
        }
    }

    #[test]
    fn sizes() {
        for (rows, cols, expected) in
            [(0, 0, (24, 80)), (-1, 7, (24, 7)), (40, 120, (40, 120)), (1 << 20, 1, (u16::MAX, 1))]
        {
            let WindowSize { rows, cols } = size(rows, cols);
            assert_eq!((rows, cols), expected);
        }
    }
}
