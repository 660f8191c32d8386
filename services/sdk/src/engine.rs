//! What every service stands on: processes, the workspace's root, runtimes and run-time settings. It knows no
//! transport; each door and each channel shares one engine.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result, printable};
use crate::file_url::FileUrls;
use crate::process::{Account, Io, Keep, Process, ProcessTable, Spec};
use crate::runtimes::Runtimes;
use crate::snapshots::Snapshots;
use crate::store::Store;
use crate::watch::Watcher;
use crate::workspace::Workspace;

/// Where a shell is, the first that is there.
const SHELLS: [&str; 3] = ["/bin/bash", "/usr/bin/bash", "/bin/sh"];

/// What an engine is made from.
#[derive(Debug)]
pub struct EngineConfig {
    /// The workspace.
    pub workspace: Workspace,
    /// The environment of every program, already without the agent's secrets.
    pub environment: Vec<(OsString, OsString)>,
    /// How long a named shell with nobody attached is kept; `None` for as long as it runs.
    pub keep_shells: Option<Duration>,
    /// Most inotify watches that the agent uses; `None` for half of what its user may have.
    pub max_watches: Option<usize>,
    /// Largest message that clients send and are sent.
    pub max_message_bytes: usize,
    /// The services that clients may open.
    pub services: Vec<&'static str>,
    /// What signs URLs of files.
    pub file_urls: FileUrls,
    /// What services keep.
    pub store: Store,
    /// How long after a change a document is written to its file, if nobody asks for it earlier.
    pub autosave: Duration,
    /// That no program gains rights by executing a file.
    pub no_new_privs: bool,
}

/// The engine of one agent.
#[derive(Debug)]
pub struct Engine {
    runtimes: Runtimes,
    processes: ProcessTable,
    watcher: Watcher,
    stopping: CancellationToken,
    config: EngineConfig,
    settings: watch::Sender<Settings>,
    counters: Counters,
    main_command: OnceLock<Process>,
    started: Instant,
    snapshots: Snapshots,
    shared: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// What a client with the right to may change while the agent runs; it holds for programs started from then on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where programs start; `None` for the workspace's root.
    pub cwd: Option<PathBuf>,
    /// The workspace's main language, for services that care.
    pub language: String,
    /// Variables added to every program's environment.
    pub env: Vec<(OsString, OsString)>,
}

/// What is counted where nobody can be told.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commands dropped: for a channel the session is not on, without a `ref`.
    pub commands_dropped: AtomicU64,
    /// Frames that were no command.
    pub frames_undecodable: AtomicU64,
    /// Times a lagging member of a terminal was skipped.
    pub members_skipped: AtomicU64,
    /// Sessions begun.
    pub sessions: AtomicU64,
}

impl Counters {
    /// Counts one.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// An engine that runs until `stopping` is cancelled.
    pub fn new(
        runtimes: Runtimes,
        processes: ProcessTable,
        stopping: CancellationToken,
        config: EngineConfig,
    ) -> Self {
        Engine {
            runtimes,
            processes,
            watcher: Watcher::new(config.workspace.root(), config.max_watches),
            stopping,
            config,
            settings: watch::Sender::default(),
            counters: Counters::default(),
            main_command: OnceLock::new(),
            started: Instant::now(),
            snapshots: Snapshots::default(),
            shared: Mutex::default(),
        }
    }

    /// Where tasks run.
    pub fn runtimes(&self) -> &Runtimes {
        &self.runtimes
    }

    /// The one way to run a program.
    pub fn processes(&self) -> &ProcessTable {
        &self.processes
    }

    /// Watches the workspace.
    pub fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// What the container is there for, once it was started; `None` if the agent has no such command.
    pub fn main_command(&self) -> Option<Process> {
        self.main_command.get().cloned()
    }

    /// From here on this is the main command. There is one: a second call changes nothing.
    pub fn set_main_command(&self, process: Process) {
        let _ = self.main_command.set(process);
    }

    /// Cancelled when the agent begins to stop.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// The workspace's files.
    pub fn workspace(&self) -> &Workspace {
        &self.config.workspace
    }

    /// What puts everything on disk, and what holds that off.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// What all channels of a service, or all sessions, share, told apart by its type: made when it is first asked for, and
    /// there as long as the engine is.
    pub fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shared.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        // The key is its type.
        entry.clone().downcast().unwrap_or_default()
    }

    /// What signs URLs of the workspace's files.
    pub fn file_urls(&self) -> &FileUrls {
        &self.config.file_urls
    }

    /// What outlives the agent.
    pub fn store(&self) -> &Store {
        &self.config.store
    }

    /// How long after a change a document is written to its file, if nobody asks for it earlier.
    pub fn autosave(&self) -> Duration {
        self.config.autosave
    }

    /// The workspace's root, absolute.
    pub fn root(&self) -> &Path {
        self.config.workspace.root()
    }

    /// How long a named shell with nobody attached is kept; `None` for as long as it runs.
    pub fn keep_shells(&self) -> Option<Duration> {
        self.config.keep_shells
    }

    /// Largest message that clients send and are sent.
    pub fn max_message_bytes(&self) -> usize {
        self.config.max_message_bytes
    }

    /// The services that clients may open.
    pub fn services(&self) -> &[&'static str] {
        &self.config.services
    }

    /// How long the agent has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts of what went wrong unseen.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.settings.borrow().clone()
    }

    /// Replaces the settings, for programs started from now on.
    pub fn set_settings(&self, settings: Settings) {
        self.settings.send_replace(settings);
    }

    /// The settings, for those who have to know when they change.
    pub fn watch_settings(&self) -> watch::Receiver<Settings> {
        self.settings.subscribe()
    }

    /// How to run `args`: in the workspace, with the container's environment, the settings' and then `env` over it.
    /// Terminals get a `TERM` that every browser terminal understands.
    pub fn spec(&self, args: Vec<OsString>, env: Vec<(OsString, OsString)>, io: Io, keep: Keep) -> Spec {
        let settings = self.settings();
        let mut all = self.config.environment.clone();
        if matches!(io, Io::Terminal(_)) {
            put(&mut all, "TERM".into(), "xterm-256color".into());
        }
        put_all(&mut all, settings.env);
        put_all(&mut all, env);
        let cwd = settings.cwd.unwrap_or_else(|| self.root().to_owned());
        let no_new_privs = self.config.no_new_privs;
        Spec { env: all, cwd, io, keep, no_new_privs, ..Spec::new(args) }
    }

    /// The same as whom `user` names, as docker's `--user` does: with that account's `HOME`, `USER` and `LOGNAME`,
    /// unless `env` has others. Empty for who the agent is.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn spec_as(
        &self,
        user: &str,
        args: Vec<OsString>,
        env: Vec<(OsString, OsString)>,
        io: Io,
        keep: Keep,
    ) -> Result<Spec> {
        if user.is_empty() {
            return Ok(self.spec(args, env, io, keep));
        }
        // Read where it is asked for: it is small, and in the kernel's memory.
        let account = Account::find(user)?;
        let mut spec = self.spec(args, Vec::new(), io, keep);
        for (name, value) in account.variables() {
            match value {
                Some(value) => put(&mut spec.env, name.into(), value.to_owned()),
                // The agent's own would be somebody else's.
                None => spec.env.retain(|(key, _)| key != name),
            }
        }
        put_all(&mut spec.env, env);
        spec.account = Some(account);
        Ok(spec)
    }

    /// The shell that people get here: the container's own choice, else what is there.
    ///
    /// # Errors
    /// If there is none, as in images that hold one program and nothing else.
    pub fn shell(&self) -> Result<OsString> {
        if let Some(chosen) = self.variable("SHELL").filter(|path| !path.is_empty()) {
            let path = Path::new(chosen);
            if path.is_absolute() && !path.exists() {
                return Err(Error::new(format!(
                    "there is no shell to open here: the container's variable SHELL names {}, which is not there",
                    printable(&chosen.to_string_lossy())
                )));
            }
            return Ok(chosen.to_owned());
        }
        let found = SHELLS.into_iter().find(|path| Path::new(path).exists());
        found.map(OsString::from).ok_or_else(|| {
            Error::new(format!(
                "there is no shell to open here, neither {}: put one into the image, name another in the \
                 container's variable SHELL, or run programs without one",
                SHELLS.join(" nor ")
            ))
        })
    }

    /// The environment of every program, without the settings'.
    pub(crate) fn environment(&self) -> &[(OsString, OsString)] {
        &self.config.environment
    }

    /// The container's value of an environment variable.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.config.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }
}

/// Sets one variable, replacing what stands there.
fn put(env: &mut Vec<(OsString, OsString)>, name: OsString, value: OsString) {
    match env.iter_mut().find(|(key, _)| *key == name) {
        Some(entry) => entry.1 = value,
        None => env.push((name, value)),
    }
}

/// Sets many, in their order.
fn put_all(env: &mut Vec<(OsString, OsString)>, more: Vec<(OsString, OsString)>) {
    /// So few are found faster by looking at each.
    const FEW: usize = 32;
    if more.len() <= FEW {
        return more.into_iter().for_each(|(name, value)| put(env, name, value));
    }
    let named = env.iter().enumerate().map(|(at, (name, _))| (name.clone(), at));
    let mut places: HashMap<OsString, usize> = named.collect();
    for (name, value) in more {
        match places.get(&name) {
            Some(at) => env[*at].1 = value,
            None => {
                places.insert(name.clone(), env.len());
                env.push((name, value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_variables_the_last_counts_however_many_there_are() {
        let pair = |name: String, value: &str| (OsString::from(name), OsString::from(value));
        for count in [3, 50_000] {
            let mut env = vec![pair("N0".into(), "old"), pair("HOME".into(), "/")];
            let more = (0..count).chain([1]).enumerate();
            let more = more
                .map(|(at, number)| pair(format!("N{number}"), if at < count { "new" } else { "newest" }));
            put_all(&mut env, more.collect());
            assert_eq!(env.len(), count + 1);
            assert_eq!(
                env[..4],
                [
                    pair("N0".into(), "new"),
                    pair("HOME".into(), "/"),
                    pair("N1".into(), "newest"),
                    pair("N2".into(), "new"),
                ]
            );
        }
    }
}
