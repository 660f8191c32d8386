//! The inits under test, and a command that runs under one of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub use crate::support::children;
use crate::support::{LATE, SOON, binary, eventually, marked};

/// Who runs the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// `pid1 init`.
    Pid1,
    /// Our binary, called so.
    AsTini,
    AsDumbInit,
    Tini,
    DumbInit,
}

use Who::*;

/// All of them, for what all do alike.
pub const ALL: [Who; 5] = [Pid1, AsTini, AsDumbInit, Tini, DumbInit];

/// Those whose measure is tini.
pub const LIKE_TINI: [Who; 3] = [Pid1, AsTini, Tini];

/// Those whose measure is dumb-init.
pub const LIKE_DUMB_INIT: [Who; 2] = [AsDumbInit, DumbInit];

impl Who {
    pub fn is_ours(self) -> bool {
        !matches!(self, Tini | DumbInit)
    }

    /// The words that start it. `folder` is for the names that our binary is called by.
    pub fn words(self, folder: &Path) -> Vec<PathBuf> {
        let called = |name: &str| {
            let path = folder.join(name);
            // It may be there.
            let _ = symlink(binary(), &path);
            vec![path]
        };
        match self {
            Pid1 => vec![binary(), "init".into()],
            AsTini => called("tini"),
            AsDumbInit => called("dumb-init"),
            Tini => vec!["tini".into()],
            DumbInit => vec!["dumb-init".into()],
        }
    }
}

/// A command line about to run under an init.
pub struct Under {
    init: Who,
    flags: Vec<String>,
    env: BTreeMap<String, String>,
    /// Words in front of everything, such as `env --ignore-signal=HUP`.
    prefix: Vec<String>,
    first: bool,
}

impl Under {
    /// As process 1.
    pub fn new(init: Who) -> Under {
        Under { init, flags: Vec::new(), env: BTreeMap::new(), prefix: Vec::new(), first: true }
    }

    /// Not as process 1.
    pub fn below(init: Who) -> Under {
        Under { first: false, ..Under::new(init) }
    }

    pub fn flags(mut self, flags: &[&str]) -> Under {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Under {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn prefix(mut self, words: &[&str]) -> Under {
        self.prefix.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// All words, with `command` at their end. What goes before the init is ended with it.
    pub fn line(&self, folder: &Path, command: &[&str]) -> Vec<PathBuf> {
        let mut line: Vec<PathBuf> = Vec::new();
        if self.first {
            line.extend(
                ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"].map(PathBuf::from),
            );
        }
        line.extend(self.prefix.iter().map(PathBuf::from));
        line.extend(self.init.words(folder));
        line.extend(self.flags.iter().map(PathBuf::from));
        line.push("--".into());
        line.extend(command.iter().map(PathBuf::from));
        line
    }

    pub fn start(self, command: &[&str]) -> Running {
        let folder = TempDir::with_prefix("pid1-test-").unwrap();
        let line = self.line(folder.path(), command);
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .env_remove("TINI_VERBOSITY")
            .env_remove("TINI_SUBREAPER")
            .env(MARK, folder.path())
            .envs(&self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, log) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
        let stdin = child.stdin.take();
        Running { child, stdin, out, log, first: self.first, folder }
    }

    pub fn sh(self, script: &str) -> Running {
        self.start(&["bash", "-c", script])
    }

    /// Runs a script to its end: status and output.
    pub async fn run(self, script: &str) -> (i32, String) {
        let mut running = self.sh(script);
        let status = running.status().await;
        (status, running.out().trim().to_owned())
    }
}

type Text = Arc<Mutex<String>>;

fn collect(mut from: impl Read + Send + 'static) -> Text {
    let text = Text::default();
    let seen = text.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    });
    text
}

/// A command under an init; killed with it when dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Text,
    log: Text,
    first: bool,
    folder: TempDir,
}

impl Running {
    /// The init, as seen from here.
    pub async fn init(&self) -> i32 {
        let own = self.child.id() as i32;
        if !self.first {
            return own;
        }
        let mut found = None;
        eventually("unshare has started the init", SOON, || {
            found = children(own).first().copied();
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// The command, as seen from here.
    pub async fn command(&self) -> i32 {
        let init = self.init().await;
        let mut found = None;
        eventually("the init has started the command", SOON, || {
            found = children(init).first().copied();
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub fn out(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn write(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until `text` is written so many times.
    pub async fn until(&self, text: &str, times: usize) {
        let what = || format!("{text:?} is written {times} times, but: {:?} {:?}", self.out(), self.log());
        let begin = Instant::now();
        while self.out().matches(text).count() < times {
            assert!(begin.elapsed() < LATE, "{}", what());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends the init a signal by its number.
    pub async fn signal(&self, number: i32) {
        send(self.init().await, number);
    }

    /// The init's exit status; what runs under `unshare` has 128 and the signal like any other.
    pub async fn status(&mut self) -> i32 {
        let mut status = None;
        eventually("the init ends", LATE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        // A moment later everything it wrote has been read.
        let (out, log) = (self.out.clone(), self.log.clone());
        eventually("its output ends", SOON, || Arc::strong_count(&out) + Arc::strong_count(&log) <= 4).await;
        status.unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        end_marked(self.folder.path());
        let _ = self.child.wait();
    }
}

/// Whatever belongs to a test has this variable, with a folder that is the test's alone.
const MARK: &str = "FOLDER";

pub fn mark(folder: &Path) -> String {
    format!("{MARK}={}", folder.display())
}

/// Ends what has the mark of this folder, and what that starts meanwhile.
pub fn end_marked(folder: &Path) {
    for _ in 0..100 {
        let left = marked(&mark(folder));
        if left.is_empty() {
            break;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Sends a shell that has a trap for it a signal until it has done what it does then: bash forgets one that comes while it
/// ends the trap of another.
pub async fn trapped(pid: i32, number: i32, what: &str, mut done: impl FnMut() -> bool) {
    let mut sent: Option<Instant> = None;
    eventually(what, LATE, || {
        if sent.is_none_or(|at| at.elapsed() > Duration::from_millis(300)) {
            sent = Some(Instant::now());
            send(pid, number);
        }
        done()
    })
    .await;
}

/// Real-time signals have no name in any library of ours.
pub fn send(pid: i32, number: i32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{number} {pid}")]).status().unwrap();
    assert!(status.success(), "kill -{number} {pid}");
}

/// A field of its `status`, such as `SigIgn`.
pub fn field(pid: i32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// `R`, `S`, `T`, `Z`; empty if it is gone.
pub fn state(pid: i32) -> String {
    field(pid, "State").chars().take(1).collect()
}

/// Waits until it is in that state.
pub async fn until_state(pid: i32, wanted: &str) {
    eventually(&format!("{pid} is {wanted}"), SOON, || state(pid) == wanted).await;
}
