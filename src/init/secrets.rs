//! Keeps secrets out of sight of the programs that run here.
//!
//! What a process was started with stays readable in `/proc/PID/environ` and `cmdline` for as long as it lives, whatever
//! it does to its variables. So an agent that was given secrets there starts itself anew, once: with a clean command
//! line and environment, and the secrets in a file without a name that is closed as soon as it was read. After that
//! the kernel lets nobody without CAP_SYS_PTRACE look into its memory.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use clap::parser::ValueSource;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Flags of `serve` whose values are secrets.
const FLAGS: [&str; 2] = ["token", "jwt-secret"];

/// How an entry of the file begins.
const SECRET: u8 = b's';
const SETTING: u8 = b'f';

/// How /proc shows the file that carries them.
const FILE_LINK: &[u8] = b"/memfd:pid1-secrets";

/// Tells the agent that was started anew where its secrets are.
const FD_VARIABLE: &str = "PID1_SECRETS_FD";

/// What a process takes over from the one that started it anew: flags, as on a command line.
#[derive(Default)]
pub(crate) struct Hidden {
    /// Those with secrets.
    pub(crate) secrets: Vec<OsString>,
    /// Those that stood in the settings' file, which may be one that can be read once.
    pub(crate) settings: Vec<OsString>,
}

/// What was hidden when this process was started anew; `None` if it was not.
pub(crate) fn take() -> Result<Option<Hidden>> {
    let Some(fd) = std::env::var_os(FD_VARIABLE) else { return Ok(None) };
    let foreign = || format!("{FD_VARIABLE} is for the agent itself: do not set it");
    let fd: i32 = fd.to_str().and_then(|fd| fd.parse().ok()).with_context(foreign)?;
    let path = format!("/proc/self/fd/{fd}");
    let target = fs::read_link(&path).with_context(foreign)?;
    if !target.as_os_str().as_bytes().starts_with(FILE_LINK) {
        bail!(foreign());
    }
    let hidden = fs::read(path).context("cannot read the secrets")?;
    nix::unistd::close(fd).context("cannot close the file of secrets")?;
    let mut found = Hidden::default();
    for entry in hidden.split(|byte| *byte == 0) {
        match entry.split_first() {
            Some((&SECRET, flag)) => found.secrets.push(OsString::from_vec(flag.to_vec())),
            Some((&SETTING, flag)) => found.settings.push(OsString::from_vec(flag.to_vec())),
            _ => {}
        }
    }
    Ok(Some(found))
}

/// This process, to be started anew without its secrets in sight.
pub(crate) struct Anew {
    arguments: Vec<CString>,
    environment: Vec<CString>,
    _secrets: File,
}

/// How to start this process anew if its command line or environment holds a secret. `wanted` are the secrets to keep, by
/// their flags; `settings` stood in a file; `named` are further variables that programs must not see.
pub(crate) fn to_hide(
    arguments: &[OsString],
    matches: &ArgMatches,
    wanted: [(&str, Option<&str>); FLAGS.len()],
    settings: &[OsString],
    named: &[String],
) -> Result<Option<Anew>> {
    let shown = |flag: &str| {
        let source = matches.value_source(&flag.replace('-', "_"));
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    let is_secret = |name: &OsStr| {
        is_variable(name) || name == FD_VARIABLE || named.iter().any(|known| name == known.as_str())
    };
    let (seen, kept): (Vec<_>, Vec<_>) = std::env::vars_os().partition(|(name, _)| is_secret(name));
    if seen.is_empty() && !FLAGS.iter().any(|flag| shown(flag)) {
        return Ok(None);
    }
    let mut hidden = Vec::new();
    for (flag, value) in wanted {
        // The others are among the settings, or in a file that is read again.
        if let Some(value) = value.filter(|_| shown(flag)) {
            hidden.push(SECRET);
            hidden.extend_from_slice(format!("--{flag}={value}\0").as_bytes());
        }
    }
    for flag in settings {
        hidden.push(SETTING);
        hidden.extend_from_slice(flag.as_bytes());
        hidden.push(0);
    }
    // Inherited by the next image, and only by that: no program runs yet.
    let file =
        memfd_create(c"pid1-secrets", MFdFlags::empty()).context("cannot make a file for the secrets")?;
    let mut file = File::from(file);
    file.write_all(&hidden).context("cannot write the file of secrets")?;
    let variable = format!("{FD_VARIABLE}={}", file.as_raw_fd());
    let variables = kept.into_iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let environment: Vec<_> =
        variables.chain([variable.into_bytes()]).map(c_string).collect::<Result<_>>()?;
    let arguments = without_secrets(arguments).into_iter().map(|arg| c_string(arg.into_vec()));
    let arguments: Vec<_> = arguments.collect::<Result<_>>()?;
    Ok(Some(Anew { arguments, environment, _secrets: file }))
}

impl Anew {
    /// Returns only if that fails.
    pub(crate) fn start(&self) -> Result<()> {
        // By its own name if that is still there, for whoever lists processes.
        let itself =
            std::env::current_exe().context("cannot find the agent's own file: is /proc mounted?")?;
        for path in [itself.into_os_string().into_vec(), b"/proc/self/exe".to_vec()] {
            let Err(_not_there) = nix::unistd::execve(&c_string(path)?, &self.arguments, &self.environment);
        }
        bail!("the agent cannot start itself anew to hide its secrets; give them in files instead")
    }
}

/// Nobody without CAP_SYS_PTRACE reads this process's memory from here on, and it leaves no core dump.
pub(crate) fn close_memory() -> Result<()> {
    nix::sys::prctl::set_dumpable(false).context("cannot keep other processes out of the agent's memory")
}

fn is_variable(name: &OsStr) -> bool {
    // The client's own variable holds a token too.
    name == "PID1_URL"
        || FLAGS.iter().any(|flag| name == format!("PID1_{}", flag.replace('-', "_").to_uppercase()).as_str())
}

fn c_string(bytes: Vec<u8>) -> Result<CString> {
    CString::new(bytes).context("a NUL byte in the agent's own arguments")
}

/// The command line without the secrets: `--token T` and `--token=T`, up to a `--` behind which all is somebody else's.
fn without_secrets(arguments: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            kept.push(argument.clone());
            break;
        }
        let bytes = argument.as_bytes().strip_prefix(b"--").unwrap_or_default();
        if FLAGS.iter().any(|flag| bytes == flag.as_bytes()) {
            rest.next();
        } else if !FLAGS
            .iter()
            .any(|flag| bytes.strip_prefix(flag.as_bytes()).is_some_and(|r| r.starts_with(b"=")))
        {
            kept.push(argument.clone());
        }
    }
    kept.extend(rest.cloned());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let line = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (before, after) in [
            ("pid1 serve --token abc --root /w", "pid1 serve --root /w"),
            ("pid1 --token=abc --jwt-secret=x --token-file f", "pid1 --token-file f"),
            ("pid1 serve --jwt-secret x -- cmd --token y --token=z", "pid1 serve -- cmd --token y --token=z"),
            ("pid1 --token", "pid1"),
        ] {
            assert_eq!(without_secrets(&line(before)), line(after), "{before}");
        }
        assert!(is_variable(OsStr::new("PID1_JWT_SECRET")) && !is_variable(OsStr::new("PID1_TOKEN_FILE")));
    }
}
