//! The prompt between runs: the private character U+EEA7, which the published clients look for and replace.

use std::ffi::{OsStr, OsString};

/// In colour, with a blank.
pub(crate) const PROMPT: &str = "\x1b[33m\u{eea7}\x1b[0m ";

/// What makes a shell show it.
pub(crate) fn variables(shell: &OsStr) -> Vec<(OsString, OsString)> {
    let shown = match shell.as_encoded_bytes().ends_with(b"bash") {
        // It must know what takes no room on the line.
        true => "\\[\x1b[33m\\]\u{eea7}\\[\x1b[0m\\] ",
        false => PROMPT,
    };
    // What the shell's own files set is set again before each prompt.
    vec![("PS1".into(), shown.into()), ("PROMPT_COMMAND".into(), format!("PS1='{shown}'").into())]
}
