//! A start made ready for the system: program found, folder checked, strings NUL-terminated.
//!
//! What it deliberately does not do: change anything; all its errors are found before anything is opened.

use std::ffi::{CString, OsStr};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use super::error::StartError;
use super::search;
use super::spec::Spec;
use crate::limits::MAX_MAPPED_FD;

/// The strings of one start.
pub(super) struct Prepared {
    pub(super) program: CString,
    pub(super) args: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) cwd: CString,
    /// The program as it was given.
    pub(super) name: String,
    /// If the launcher is what starts: its orders, and the number of the descriptor it finds them at.
    pub(super) orders: Option<(OwnedFd, RawFd)>,
}

impl Prepared {
    /// # Errors
    /// All of `StartError` that can be told without starting.
    pub(super) fn new(spec: &Spec) -> Result<Self, StartError> {
        let first = spec.args.first().ok_or(StartError::NoCommand)?;
        let args = spec.args.iter().map(|arg| terminated("an argument", &[arg])).collect::<Result<_, _>>()?;
        let mut env = Vec::with_capacity(spec.env.len());
        for (name, value) in &spec.env {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                let name = name.to_string_lossy().into_owned();
                return Err(StartError::VariableName { name });
            }
            env.push(terminated("an environment variable", &[name, OsStr::new("="), value])?);
        }
        check_targets(spec)?;
        let cwd = terminated("the working folder", &[spec.cwd.as_os_str()])?;
        search::check_folder(&spec.cwd)?;
        // The program is executed from within the folder, so its path must not depend on where the agent is.
        let absolute = std::path::absolute(&spec.cwd)
            .map_err(|source| StartError::System { step: "find the agent's own folder", source })?;
        let path = search::find(first, &spec.env, &absolute)?;
        Ok(Self {
            program: terminated("the program", &[path.as_os_str()])?,
            args,
            env,
            cwd,
            name: first.to_string_lossy().into_owned(),
            orders: None,
        })
    }

    /// What a refusal of the system means for this start.
    pub(super) fn refused(&self, reason: Errno) -> StartError {
        let program = self.name.clone();
        match reason {
            Errno::ENOENT | Errno::EACCES if self.orders.is_some() => {
                StartError::Launcher { program, reason }
            }
            reason => refusal(program, reason),
        }
    }
}

/// What it means that the system refused to start `program`, which was found.
pub(super) fn refusal(program: String, reason: Errno) -> StartError {
    match reason {
        // The file was there a moment ago, so what is missing is what it names.
        Errno::ENOENT => StartError::Interpreter { program },
        Errno::EAGAIN => StartError::NoProcesses { program },
        _ => StartError::Program { program, reason },
    }
}

fn check_targets(spec: &Spec) -> Result<(), StartError> {
    let mut targets: Vec<_> = spec.fds.iter().map(|(_, to)| *to).collect();
    targets.sort_unstable();
    let twice = targets.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    match twice.or(targets.iter().copied().find(|fd| !(3..=MAX_MAPPED_FD).contains(fd))) {
        Some(fd) => Err(StartError::Descriptor { fd }),
        None => Ok(()),
    }
}

pub(super) fn terminated(what: &'static str, parts: &[&OsStr]) -> Result<CString, StartError> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length + 1);
    for part in parts {
        bytes.extend_from_slice(part.as_bytes());
    }
    CString::new(bytes).map_err(|_| StartError::Nul { what })
}
