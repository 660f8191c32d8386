//! A channel without an agent, for tests of a service: a script of what members send and what they must get.
//!
//! ```
//! # use pid1_sdk::testing::TestChannel;
//! # use pid1_sdk::{Channel, Member, Reply, Result, Role, Service, api::command::Body};
//! struct Echo;
//! impl Service for Echo {
//!     type Event = ();
//!     async fn open(_ch: &mut Channel<()>) -> Result<Self> {
//!         Ok(Echo)
//!     }
//!     async fn command(&mut self, _ch: &mut Channel<()>, _from: &Member, body: Body) -> Result<Reply> {
//!         Ok(Reply::now(body))
//!     }
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let channel = TestChannel::open::<Echo>(None);
//! let mut member = channel.join(Role::Editor).await;
//! assert_eq!(member.ask(Body::Input("hi".into())).await, Body::Input("hi".into()));
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Every wait has a deadline and panics past it. Needs a running tokio runtime.
//!
//! [`conformance()`] checks what every service promises, without knowing what it does.

pub mod conformance;
mod member;
mod samples;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::api::command::Body;
use crate::channel::{Handle, Member};
use crate::engine::{Engine, EngineConfig};
use crate::file_url::FileUrls;
use crate::identity::{ChannelId, Identity, Role, SessionId};
use crate::outbox::Outbox;
use crate::process::{ProcessTable, TableConfig};
use crate::runtimes::Runtimes;
use crate::service::{Service, ServiceDef};
use crate::store::Store;
use crate::workspace::{Workspace, WorkspaceConfig};

pub use conformance::conformance;
pub use member::TestMember;
pub use samples::{Sample, samples};

/// Ten times what anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// From asking a program to end until it is killed: short, so that a test of a stubborn program is.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Short, so that a test of it is.
const AUTOSAVE: Duration = Duration::from_millis(200);

/// One channel of a service, with an engine and a workspace of its own.
pub struct TestChannel {
    handle: Handle,
    engine: Arc<Engine>,
    /// The workspace, and a folder beside it; removed with the channel.
    _folder: TempDir,
    sessions: AtomicI32,
    ended: CancellationToken,
}

impl TestChannel {
    /// A channel of `S`, named or anonymous. `S` is started when the first member who may start it joins.
    pub fn open<S: Service>(name: Option<&str>) -> TestChannel {
        TestChannel::of(&ServiceDef::new::<S>("test", "under test"), name)
    }

    /// A channel of `service`, named or anonymous.
    pub fn of(service: &ServiceDef, name: Option<&str>) -> TestChannel {
        let folder = tempfile::tempdir().expect("tests can write to the temporary folder");
        let (root, scratch) = (folder.path().join("workspace"), folder.path().join("scratch"));
        for path in [&root, &scratch] {
            std::fs::create_dir(path).expect("tests can write to the temporary folder");
        }
        let runtimes = Runtimes::current();
        let store = Store::new(scratch.join("store.db"), runtimes.clone());
        let workspace = Workspace::open(WorkspaceConfig { root, scratch, fsync: false });
        let config = TableConfig { stop_grace: STOP_GRACE, ..TableConfig::default() };
        let engine = Arc::new(Engine::new(
            runtimes.clone(),
            ProcessTable::new(runtimes, config),
            CancellationToken::new(),
            EngineConfig {
                workspace: workspace.expect("a folder just made can be opened"),
                environment: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
                keep_shells: None,
                max_watches: None,
                max_message_bytes: crate::limits::MAX_MESSAGE_BYTES,
                services: vec![service.name],
                file_urls: FileUrls::new([0; 32]),
                store,
                autosave: AUTOSAVE,
                no_new_privs: false,
            },
        ));
        let ended = CancellationToken::new();
        let end = ended.clone();
        let name = name.map(str::to_owned);
        let handle = Handle::start(service, ChannelId(1), name, &engine, move || end.cancel());
        TestChannel { handle, engine, _folder: folder, sessions: AtomicI32::new(1), ended }
    }

    /// A new session joins; it has taken its `openChanRes`.
    pub async fn join(&self, role: Role) -> TestMember {
        let outbox = Outbox::new(crate::limits::MAX_MESSAGE_BYTES);
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed) + 1);
        let member = Member::new(session, Arc::new(Identity::anonymous(role)), outbox.clone());
        let joined =
            self.handle.join(member.clone(), String::new(), session.0 == 2).expect("the channel runs");
        in_time("joining", joined).await.expect("the channel's actor answers");
        let mut member = TestMember::new(member, outbox, self.handle.clone());
        let first = member.next().await;
        assert!(matches!(first, Body::OpenChanRes(_)), "{first:?} came before openChanRes");
        member
    }

    /// The engine under the channel.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The workspace: an empty temporary folder at first.
    pub fn root(&self) -> &Path {
        self.engine.root()
    }

    /// Asks the channel to make room.
    pub fn retire(&self) -> bool {
        self.handle.retire()
    }

    /// Waits until the channel has ended: its members have been told, and its service is gone.
    pub async fn ended(&self) {
        in_time("the channel's end", self.ended.cancelled()).await;
    }

    /// Waits until the channel has ended and every program and task that it began is gone.
    pub async fn freed(&self) {
        self.ended().await;
        for process in self.engine.processes().list() {
            if process.try_exit().is_none() || process.left_anything().await {
                assert!(process.stopping(), "the end of the channel left {process:?} running");
                in_time(&format!("the end of {process:?}"), process.stopped()).await;
            }
        }
        assert_eq!(self.engine.processes().live(), 0, "programs of an ended channel");
        let tasks = self.engine.runtimes().tracker();
        tasks.close();
        in_time("the end of the channel's tasks", tasks.wait()).await;
    }
}

async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(value) => value,
        #[expect(clippy::panic, reason = "a test that waits in vain has failed")]
        Err(_elapsed) => panic!("waited {DEADLINE:?} for {what}"),
    }
}

#[cfg(test)]
mod tests;
