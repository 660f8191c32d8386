//! The prompt between runs: the private character U+EEA7, which the published clients look for and replace.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use pid1_sdk::error::printable;
use pid1_sdk::{ChannelId, Error, Result};

/// What a program finds in its environment.
type Variables = Vec<(OsString, OsString)>;

/// In colour, with a blank.
pub(crate) const PROMPT: &str = "\x1b[33m\u{eea7}\x1b[0m ";

/// Read by bash in place of the user's own file: reads that, and sets the prompt, again before each, whatever else does.
/// What takes no room on the line is marked.
const BASHRC: &str = "\
[ ! -f ~/.bashrc ] || . ~/.bashrc
PROMPT_COMMAND=\"${PROMPT_COMMAND:+$PROMPT_COMMAND
}PS1='\\\\[\x1b[33m\\\\]\u{eea7}\\\\[\x1b[0m\\\\] '\"
";

/// What starts `shell` with it, and with which variables. What bash needs is in `folder`, written there if it is not; `writer`
/// is nobody else's.
pub(crate) fn command(
    shell: OsString,
    folder: &Path,
    writer: ChannelId,
) -> Result<(Vec<OsString>, Variables)> {
    if Path::new(&shell).file_name() != Some(OsStr::new("bash")) {
        return Ok((vec![shell], vec![("PS1".into(), PROMPT.into())]));
    }
    let file = folder.join("prompt.bashrc");
    if fs::read(&file).ok().as_deref() != Some(BASHRC.as_bytes()) {
        // In one step: another window's bash may be reading it.
        let new = folder.join(format!("prompt.bashrc.{}", writer.0));
        fs::write(&new, BASHRC).and_then(|()| fs::rename(&new, &file)).map_err(|error| {
            let file = printable(&file.to_string_lossy());
            Error::new(format!("run: cannot write {file}, with which the shell starts: {error}"))
        })?;
    }
    Ok((vec![shell, "--rcfile".into(), file.into()], Vec::new()))
}
