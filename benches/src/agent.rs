//! The real agent as a child: a workspace and a state folder of its own, any free port.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::machine;
use crate::setup::{Setup, pause, program};

/// Shown by clients; not a secret, the agent lives for seconds and on loopback.
pub const TOKEN: &str = "bench-token-of-no-value";

/// Where its programs are searched.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A running agent; dropping it ends it.
pub struct Agent {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// When it was started.
    pub started: Instant,
    folder: TempDir,
}

impl Agent {
    /// Starts one and waits until it says where it listens.
    pub fn start(setup: &Setup) -> Result<Agent> {
        let folder = TempDir::new_in(setup.folder())?;
        let (root, state) = (folder.path().join("root"), folder.path().join("state"));
        std::fs::create_dir(&root)?;
        let started = Instant::now();
        let mut child = program(&setup.pid1)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
            // Our clients answer no pings, and no row takes that long.
            .args(["--ping-interval", "3600"])
            .arg("--root")
            .arg(&root)
            .arg("--state-dir")
            .arg(&state)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &root)
            .env("SHELL", "/bin/sh")
            .env("PID1_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", setup.pid1.display()))?;
        let mut line = String::new();
        let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let address = line.strip_prefix("http://").and_then(|rest| rest.split('/').next()?.parse().ok());
        let mut agent = Agent { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), started, folder };
        agent.address =
            address.with_context(|| format!("the agent did not say where it listens: {line:?} {read:?}"))?;
        Ok(agent)
    }

    /// Its workspace.
    pub fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("root")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order; how long that took.
    pub fn end(mut self) -> Result<Duration> {
        let asked = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(asked.elapsed())
    }

    /// CPU time it has used so far, without its programs.
    pub fn cpu(&self) -> Result<Duration> {
        machine::cpu_of(self.pid())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Politely, so that it ends its programs; by the handle held, so that nobody else is hit.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            pause(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
