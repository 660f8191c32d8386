//! An agent without doors: the real router, sessions and channels on a runtime whose clock only moves when nobody has
//! anything to do. So "until all is done" is a sleep that takes no time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use futures_util::FutureExt;
use pid1::auth::Auth;
use pid1::router::Router;
use pid1::session::Session;
use pid1::sessions::Sessions;
use pid1_sdk::api::Command;
use pid1_sdk::engine::{Engine, EngineConfig};
use pid1_sdk::file_url::FileUrls;
use pid1_sdk::outbox::{Batch, Outbox};
use pid1_sdk::process::{ProcessTable, TableConfig};
use pid1_sdk::runtimes::Runtimes;
use pid1_sdk::store::Store;
use pid1_sdk::workspace::{Workspace, WorkspaceConfig};
use pid1_sdk::{Identity, Role, limits};
use prost::Message;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// A runtime with the clock stopped.
pub fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O needs nothing")
}

/// Waits until nobody has anything to do.
pub async fn settled() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// What sessions are made from.
pub struct Agent {
    pub router: Arc<Router>,
    sessions: Arc<Sessions>,
    auth: Arc<Auth>,
}

impl Agent {
    /// An agent on the current runtime, which starts no program.
    pub fn new() -> Agent {
        let runtimes = Runtimes::current();
        // What is written there harms nobody.
        let root = std::env::temp_dir().join(format!("pid1-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&root).expect("the temporary folder can be written");
        let scratch = root.clone();
        let store = Store::new(root.join("store.db"), runtimes.clone());
        let workspace = Workspace::open(WorkspaceConfig { root, scratch, fsync: false });
        let workspace = workspace.expect("it was just made");
        let config = EngineConfig {
            workspace,
            environment: Vec::new(),
            keep_shells: None,
            max_watches: None,
            max_message_bytes: limits::MAX_MESSAGE_BYTES,
            services: Vec::new(),
            file_urls: FileUrls::new([0; 32]),
            store,
            autosave: std::time::Duration::from_secs(1),
            no_new_privs: false,
        };
        let processes = ProcessTable::new(runtimes.clone(), TableConfig::default());
        let engine = Engine::new(runtimes, processes, CancellationToken::new(), config);
        Agent { router: Router::new(Arc::new(engine)), sessions: Sessions::new(), auth: Arc::default() }
    }

    /// Somebody connects.
    pub fn connect(&self, role: Role) -> Session {
        let outbox = Outbox::new(limits::MAX_MESSAGE_BYTES);
        let id = self.sessions.next_id().expect("numbers never run out");
        let entry = self.sessions.enter(id, outbox.clone());
        let identity = Identity::anonymous(role);
        Session::new(entry, identity, outbox, self.router.clone(), self.auth.clone())
    }

    /// The agent stops: every channel ends, and every task with it.
    pub async fn stop(self) {
        let engine = self.router.engine();
        engine.stopping().cancel();
        self.router.until_empty().await;
        engine.runtimes().tracker().close();
        engine.runtimes().tracker().wait().await;
    }
}

/// All that waits for a session, in sending order.
pub fn drain(outbox: &Outbox) -> Vec<Command> {
    let (mut all, mut batch) = (Vec::new(), Batch::default());
    while let Some(true) = outbox.next_batch(&mut batch).now_or_never() {
        let decoded =
            batch.frames.iter().map(|frame| Command::decode(frame.bytes.clone().chain(frame.tail.clone())));
        all.extend(decoded.map(|command| command.expect("what is sent is a Command")));
        outbox.written(&mut batch);
    }
    assert_eq!(outbox.queued_bytes(), 0);
    all
}
