//! From what the project says to the one command that a run is: compiled first, if need be, in the same terminal.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use pid1_sdk::api::RunMain;
use pid1_sdk::engine::Engine;
use pid1_sdk::error::printable;
use pid1_sdk::project::{Language, RunPlan, Step};
use pid1_sdk::{Error, Result, limits};

use crate::hints::Hints;

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// As people would type it.
    pub(crate) line: String,
    pub(crate) hints: Hints,
}

/// What the project says, or for the file or in the way that is asked for; with the language's interpreter if `interpreter`
/// and there is one.
pub(crate) fn plan(engine: &Engine, interpreter: bool, asked: &RunMain) -> Result<Plan> {
    let most = limits::RUN_PATH_BYTES;
    let bytes = asked.file_path.len().max(asked.runner_id.len());
    if bytes > most {
        return Err(Error::new(format!(
            "run: a file's or a way's name has at most {most} bytes, not {bytes}"
        )));
    }
    let (language, interpreter) = match asked.runner_id.as_str() {
        "" | "dotreplit" => (None, interpreter),
        "interpreter" => (None, true),
        id => match id.strip_prefix("language:").and_then(Language::find) {
            None => {
                let id = printable(id);
                return Err(Error::new(format!(
                    "run: {id} is none of the ways that toolchainGetRequest is told"
                )));
            }
            language => (language, interpreter),
        },
    };
    let found = engine.project().run_plan(Some(&asked.file_path), language, &build_folder(engine)?)?;
    let hints = hints(&found);
    let step = found.repl.filter(|_| interpreter).unwrap_or(found.run);
    let line = typed(&step.args);
    let (args, env) = match found.compile {
        None => (step.args, step.env),
        Some(compile) => in_turn(compile, step),
    };
    Ok(Plan { args, env, line, hints })
}

/// Those of the language, and the first ones of `.replit`.
fn hints(found: &RunPlan) -> Hints {
    let known = found.language.map_or(0, |language| language.hints.len());
    let (own, known) = found.hints.split_at(found.hints.len().saturating_sub(known));
    if own.len() > limits::HINTS {
        tracing::warn!("of the {} hints of .replit the first {} are looked for", own.len(), limits::HINTS);
    }
    let used = own.iter().take(limits::HINTS).chain(known);
    let (hints, wrong) = Hints::new(used.map(|hint| (hint.regex.as_ref(), hint.message.as_ref())));
    for why in wrong {
        tracing::warn!(error = why, "a hint is left out");
    }
    hints
}

/// One program that compiles and then is the one that runs, each with its own variables.
fn in_turn(compile: Step, run: Step) -> (Vec<OsString>, Vec<(OsString, OsString)>) {
    // Of two equal names the last counts.
    let (compiles, runs): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (compile.env.iter().cloned().collect(), run.env.iter().cloned().collect());
    let own = |env: &BTreeMap<OsString, OsString>, others: &BTreeMap<OsString, OsString>| {
        let own = env.iter().filter(|(name, value)| is_assigned(name) && others.get(*name) != Some(*value));
        own.map(|(name, value)| [name.as_bytes(), b"=", &quoted(std::slice::from_ref(value)), b" "].concat())
            .collect::<Vec<_>>()
            .concat()
    };
    let before = own(&compiles, &runs);
    let script = [
        before,
        quoted(&compile.args),
        b" && ".to_vec(),
        own(&runs, &compiles),
        b"exec ".to_vec(),
        quoted(&run.args),
    ];
    // What a shell cannot assign, both get.
    let both = runs.iter().filter(|(name, value)| !is_assigned(name) || compiles.get(*name) == Some(*value));
    let both =
        both.chain(compiles.iter().filter(|(name, _)| !is_assigned(name) && !runs.contains_key(*name)));
    let env = both.map(|(name, value)| (name.clone(), value.clone())).collect();
    (vec!["/bin/sh".into(), "-c".into(), OsString::from_vec(script.concat())], env)
}

/// Whether a shell can give a value to a variable of this name.
fn is_assigned(name: &OsStr) -> bool {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    name.as_bytes().iter().all(part) && name.as_bytes().first().is_some_and(|byte| !byte.is_ascii_digit())
}

/// Where what is compiled goes: beside the workspace, where nobody else looks.
fn build_folder(engine: &Engine) -> Result<PathBuf> {
    let folder = engine.workspace().scratch().join("build");
    let made = fs::create_dir_all(&folder);
    made.map_err(|error| {
        let folder = printable(&folder.to_string_lossy());
        Error::new(format!("run: cannot make the folder {folder} for what is compiled: {error}"))
    })?;
    Ok(folder)
}

/// A line that a shell reads as these words.
fn quoted(words: &[OsString]) -> Vec<u8> {
    let quote = |word: &OsString| match is_plain(word) {
        true => word.as_bytes().to_vec(),
        false => {
            let mut quoted = vec![b'\''];
            for byte in word.as_bytes() {
                match byte {
                    b'\'' => quoted.extend_from_slice(b"'\\''"),
                    byte => quoted.push(*byte),
                }
            }
            quoted.push(b'\'');
            quoted
        }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(&b' ')
}

fn is_plain(word: &OsStr) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./=:+,@%".contains(byte);
    !word.is_empty() && word.as_bytes().iter().all(plain)
}

/// What was run, for people.
fn typed(args: &[OsString]) -> String {
    match args {
        [shell, flag, line] if flag == "-c" && shell.as_bytes().ends_with(b"sh") => {
            printable(&line.to_string_lossy())
        }
        args => printable(&String::from_utf8_lossy(&quoted(args))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_line_and_a_line_is_shown_as_it_is() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let args = words(&["cc", "a b.c", "", "it's", "-o", "x"]);
        assert_eq!(quoted(&args), br"cc 'a b.c' '' 'it'\''s' -o x");
        assert_eq!(typed(&words(&["python3", "main.py"])), "python3 main.py");
        assert_eq!(typed(&words(&["/bin/sh", "-c", "npm start && echo done"])), "npm start && echo done");
    }

    #[test]
    fn the_compiler_and_the_program_have_variables_of_their_own() {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| (n.into(), v.into())).collect();
        let step = |word: &str, env: &[(&str, &str)]| Step { args: vec![word.into()], env: pairs(env) };
        let compile = step("cc", &[("ALL", "1"), ("OPT", "-O2 -g"), ("X", "a"), ("a.b", "c")]);
        let (args, env) = in_turn(compile, step("./prog", &[("ALL", "1"), ("X", "b"), ("X", "it's")]));
        assert_eq!(args[2], r"OPT='-O2 -g' X=a cc && X='it'\''s' exec ./prog");
        assert_eq!(env, pairs(&[("ALL", "1"), ("a.b", "c")]));
    }
}
