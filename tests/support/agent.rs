//! The real binary, started for one test and ended with it.

mod users;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pid1::client::{Address, Client};
use tempfile::TempDir;

use super::bare::{bare_root, in_bare_root};
use super::{Peer, SOON, eventually, marked, proc_fs, within};

/// What shells read when they start: a prompt that can be waited for, and nothing in colour.
const BASHRC: &str = "PS1='test> '\nbind 'set enable-bracketed-paste off'\n";

/// Every program of a test's agent inherits this, so it can be found wherever it goes.
const MARK: &str = "TEST_MARK";

/// What starts whatever follows as process 1.
const FIRST: [&str; 6] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];

static LAUNCHES: AtomicU32 = AtomicU32::new(0);

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("PID1_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_pid1")), PathBuf::from)
}

/// An agent about to be started.
#[derive(Clone)]
pub struct Launch {
    flags: Vec<String>,
    env: Vec<(String, String)>,
    through: Vec<String>,
    confined: bool,
    /// What `unshare` gets on top.
    bare: Option<&'static [&'static str]>,
    processes: Option<u32>,
    home: Arc<TempDir>,
    mark: String,
}

impl Launch {
    pub fn new() -> Launch {
        let number = LAUNCHES.fetch_add(1, Ordering::Relaxed);
        Launch {
            flags: Vec::new(),
            env: Vec::new(),
            through: Vec::new(),
            confined: false,
            bare: None,
            processes: None,
            home: Arc::new(TempDir::with_prefix("pid1-test-").unwrap()),
            mark: format!("{}-{number}", std::process::id()),
        }
    }

    pub fn flags(mut self, flags: &[&str]) -> Launch {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Launch {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// So few descriptors may be open in it, and in what it starts.
    pub fn descriptors(self, most: u32) -> Launch {
        self.through(&["sh", "-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")])
    }

    /// By these words, which start what follows them. They stand behind those of an earlier call.
    pub fn through(mut self, words: &[&str]) -> Launch {
        self.through.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// Its folder of this name, which its programs know as `$DISK`, is a disk of its own, of 1 MiB. Needs root.
    pub fn small_disk(self, folder: &str) -> Launch {
        let disk = self.home().join(folder);
        let mount = "mkdir -p \"$DISK\"; mount -t tmpfs -o size=1m none \"$DISK\"; exec \"$0\" \"$@\"";
        self.env("DISK", disk.to_str().unwrap()).through(&["unshare", "--mount", "sh", "-c", mount])
    }

    /// As process 1 of a pid namespace of its own; ended with its starter. Needs root.
    pub fn first(self) -> Launch {
        self.through(&FIRST)
    }

    /// As process 1 of a pid namespace of its own, and as an ordinary user. Needs root.
    pub fn confined(mut self) -> Launch {
        self.confined = true;
        self
    }

    /// As process 1 of namespaces of its own, in a root filesystem that holds the binary and what the test puts into
    /// [`Launch::bare_root`]. Needs root.
    pub fn bare(self) -> Launch {
        self.bare_with(&[])
    }

    /// The same with further flags of `unshare`.
    pub fn bare_with(mut self, flags: &'static [&'static str]) -> Launch {
        self.bare = Some(flags);
        bare_root(&self.bare_root());
        fs::create_dir(self.bare_root().join("root")).unwrap();
        self
    }

    /// The root filesystem of a bare launch.
    pub fn bare_root(&self) -> PathBuf {
        self.home().join("bare")
    }

    /// As an ordinary user of its own, who may have so many processes and threads. Needs root.
    pub fn processes(mut self, most: u32) -> Launch {
        self.processes = Some(most);
        self
    }

    /// The folder for everything of this launch: `root` (the workspace), `state`, and what the test puts there.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The command line, with an environment that holds nothing of the developer's.
    pub fn command(&self) -> Command {
        for folder in ["root", "home"] {
            fs::create_dir_all(self.home().join(folder)).unwrap();
        }
        fs::write(self.home().join("home/.bashrc"), BASHRC).unwrap();
        let mut command = match &self.through[..] {
            [] if self.confined => self.confinement(),
            [] if self.bare.is_some() => in_bare_root(&self.bare_root(), self.bare.unwrap()),
            [] if self.processes.is_some() => self.limited_user(),
            [] => Command::new(binary()),
            [first, more @ ..] => {
                let mut command = Command::new(first);
                command.args(more).arg(binary());
                command
            }
        };
        command.arg("serve");
        let place = if self.bare.is_some() { Path::new("/") } else { self.home() };
        let folder = |name: &str| place.join(name).into_os_string();
        for (flag, value) in
            [("--listen", "127.0.0.1:0".into()), ("--root", folder("root")), ("--state-dir", folder("state"))]
        {
            if !self.flags.iter().any(|given| given == flag) {
                command.arg(flag).arg(value);
            }
        }
        command
            .args(&self.flags)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home().join("home"))
            .env("LANG", "C.UTF-8")
            .env("RUST_BACKTRACE", "1")
            .env(MARK, &self.mark)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home())
            .stdin(Stdio::null());
        if self.bare.is_none() && !self.env.iter().any(|(name, _)| name == "PID1_CONFIG") {
            // Not the machine's own settings.
            command.env("PID1_CONFIG", "/dev/null");
        }
        command
    }

    /// Runs it expecting that it does not serve; its status and what it said on stderr.
    pub fn refused(&self) -> (ExitStatus, String) {
        let output = self.command().output().unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    /// Starts it and waits until it serves.
    pub async fn start(self) -> Agent {
        let number = LAUNCHES.fetch_add(1, Ordering::Relaxed);
        let (out, log) = (self.home().join(format!("out{number}")), self.home().join(format!("log{number}")));
        let child = self
            .command()
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut agent = Agent {
            child,
            launch: self,
            out,
            log,
            url: String::new(),
            expected_to_end: false,
            address: ([127, 0, 0, 1], 0).into(),
        };
        eventually("the agent prints its URL", SOON, || {
            assert!(agent.child.try_wait().unwrap().is_none(), "the agent did not start:\n{}", agent.log());
            let said = fs::read(&agent.out).unwrap();
            let line =
                said.split_inclusive(|byte| *byte == b'\n').next().filter(|line| line.ends_with(b"\n"));
            agent.url = String::from_utf8_lossy(line.unwrap_or_default()).trim().to_owned();
            line.is_some()
        })
        .await;
        let authority = agent.url.split_once("://").unwrap().1.split('/').next().unwrap();
        agent.address = authority.parse().unwrap();
        agent
    }
}

/// A running agent; killed when dropped, with all its programs.
pub struct Agent {
    child: Child,
    launch: Launch,
    out: PathBuf,
    log: PathBuf,
    url: String,
    address: SocketAddr,
    expected_to_end: bool,
}

impl Agent {
    pub async fn start() -> Agent {
        Launch::new().start().await
    }

    pub async fn with(flags: &[&str]) -> Agent {
        Launch::new().flags(flags).start().await
    }

    /// What its stdout has behind the URL: what its main command printed.
    pub fn printed(&self) -> Vec<u8> {
        fs::read(&self.out).unwrap().split_off(self.url.len() + 1)
    }

    /// As it printed it, with the token.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate that it has made for itself.
    pub fn ca(&self) -> PathBuf {
        self.state().join("tls-cert.pem")
    }

    /// Its socket on this machine.
    pub fn socket(&self) -> PathBuf {
        self.state().join("socket")
    }

    pub fn state(&self) -> PathBuf {
        self.launch.home().join("state")
    }

    pub fn token(&self) -> &str {
        self.url.split_once("#token=").unwrap().1
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn root(&self) -> PathBuf {
        self.launch.home().join("root")
    }

    /// What to start the next agent from, on the same folders.
    pub fn launch(&self) -> Launch {
        self.launch.clone()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// A client that behaves.
    pub async fn client(&self) -> Peer {
        self.client_at(&self.url).await
    }

    /// One that shows a token of its own.
    pub async fn client_as(&self, token: &str) -> Peer {
        self.client_at(&format!("ws://{}/wsv2/{token}", self.address)).await
    }

    async fn client_at(&self, url: &str) -> Peer {
        let address = url.parse::<Address>().unwrap().trusting(Some(&self.ca()));
        let client = within("a client connects", SOON, Client::connect(&address)).await;
        Peer::new(
            client.unwrap_or_else(|error| panic!("a client cannot connect: {error}\n{}", self.log_tail())),
        )
    }

    /// Everything that runs because of this agent, wherever it went; without the agent itself.
    pub fn programs(&self) -> Vec<i32> {
        let own = self.pid();
        marked(&format!("{MARK}={}", self.launch.mark)).into_iter().filter(|pid| *pid != own).collect()
    }

    /// Whether one of its programs has a terminal of this size, `ROWS COLUMNS`.
    pub fn has_window(&self, size: &str) -> bool {
        self.programs().iter().any(|pid| {
            let terminal = format!("/proc/{pid}/fd/0");
            let output = Command::new("stty").args(["-F", &terminal, "size"]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).trim() == size
        })
    }

    pub fn rss_bytes(&self) -> u64 {
        proc_fs::rss_bytes(self.pid())
    }

    pub fn peak_rss_bytes(&self) -> u64 {
        proc_fs::peak_rss_bytes(self.pid())
    }

    /// What it keeps in files that have no name.
    pub fn nameless_bytes(&self) -> u64 {
        proc_fs::nameless_bytes(self.pid())
    }

    pub fn descriptors(&self) -> usize {
        proc_fs::descriptors(self.pid())
    }

    pub fn threads(&self) -> usize {
        proc_fs::threads_of(self.pid())
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits until it has ended, as the test wants it to.
    pub async fn ended(&mut self) -> ExitStatus {
        self.expected_to_end = true;
        let mut status = None;
        eventually("the agent ends", SOON, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Ends it as nothing but the kernel can.
    pub async fn kill(&mut self) {
        self.child.kill().unwrap();
        self.ended().await;
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let from = log.len().saturating_sub(4000);
        log[log.ceil_char_boundary(from)..].to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let died = self.child.try_wait().unwrap();
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Unless a next agent has taken over: then they are its business, and it has the same mark.
        if Arc::strong_count(&self.launch.home) == 1 {
            // Those that start others meanwhile take several looks.
            for _ in 0..100 {
                let left = self.programs();
                if left.is_empty() {
                    break;
                }
                for pid in left {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
        let log = self.log_tail();
        if std::thread::panicking() {
            eprintln!("--- the agent's log (pid {}, ended by itself: {died:?}) ---\n{log}", self.child.id());
        } else {
            assert!(self.expected_to_end || died.is_none(), "the agent died: {died:?}\n{log}");
            assert!(!log.contains("panicked at"), "the agent panicked:\n{log}");
        }
    }
}
