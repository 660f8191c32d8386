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

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use prost::Message;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::api::{Command, command::Body};
use crate::channel::{Delivery, Handle, Leave, Left, Member};
use crate::engine::{Engine, EngineConfig};
use crate::identity::{ChannelId, Identity, Role, SessionId};
use crate::outbox::{Batch, Outbox};
use crate::process::{ProcessTable, TableConfig};
use crate::runtimes::Runtimes;
use crate::service::{Service, ServiceDef};

/// Ten times what anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// From asking a program to end until it is killed: short, so that a test of a stubborn program is.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// One channel of a service, with an engine and a workspace of its own.
pub struct TestChannel {
    handle: Handle,
    engine: Arc<Engine>,
    workspace: TempDir,
    sessions: AtomicI32,
    ended: CancellationToken,
}

/// One session on a [`TestChannel`].
pub struct TestMember {
    member: Member,
    outbox: Arc<Outbox>,
    handle: Handle,
    /// Taken from the outbox and not yet looked at.
    early: VecDeque<Command>,
    asked: u64,
}

impl TestChannel {
    /// A channel of `S`, named or anonymous. `S` is started when the first member joins.
    pub fn open<S: Service>(name: Option<&str>) -> TestChannel {
        let workspace = tempfile::tempdir().expect("tests can write to the temporary folder");
        let runtimes = Runtimes::current();
        let config = TableConfig { stop_grace: STOP_GRACE, ..TableConfig::default() };
        let engine = Arc::new(Engine::new(
            runtimes.clone(),
            ProcessTable::new(runtimes, config),
            CancellationToken::new(),
            EngineConfig {
                root: workspace.path().to_owned(),
                environment: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
                keep_shells: None,
            },
        ));
        let ended = CancellationToken::new();
        let end = ended.clone();
        let service = ServiceDef::new::<S>("test", "under test");
        let name = name.map(str::to_owned);
        let handle = Handle::start(&service, ChannelId(1), name, &engine, move || end.cancel());
        TestChannel { handle, engine, workspace, sessions: AtomicI32::new(1), ended }
    }

    /// A new session joins; it has taken its `openChanRes`.
    pub async fn join(&self, role: Role) -> TestMember {
        let outbox = Outbox::new(crate::limits::MAX_MESSAGE_BYTES);
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed) + 1);
        let member = Member::new(session, Arc::new(Identity::anonymous(role)), outbox.clone());
        let joined =
            self.handle.join(member.clone(), String::new(), session.0 == 2).expect("the channel runs");
        in_time("joining", joined).await.expect("the channel's actor answers");
        let handle = self.handle.clone();
        let mut member = TestMember { member, outbox, handle, early: VecDeque::new(), asked: 0 };
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
        self.workspace.path()
    }

    /// Asks the channel to make room.
    pub fn retire(&self) -> bool {
        self.handle.retire()
    }

    /// Waits until the channel has ended and freed what it held.
    pub async fn ended(&self) {
        in_time("the channel's end", self.ended.cancelled()).await;
    }
}

impl TestMember {
    /// Its number.
    pub fn session(&self) -> SessionId {
        self.member.session()
    }

    /// What waits for it.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Sends a command that asks for no answer.
    pub async fn send(&self, body: Body) {
        self.deliver(String::new(), Some(body)).await;
    }

    /// Sends a command and waits for its one answer.
    pub async fn ask(&mut self, body: Body) -> Body {
        self.ask_raw(Some(body)).await
    }

    /// As [`ask`](TestMember::ask), also without a body.
    pub async fn ask_raw(&mut self, body: Option<Body>) -> Body {
        self.asked += 1;
        let reference = format!("t{}", self.asked);
        self.deliver(reference.clone(), body).await;
        let mut passed = VecDeque::new();
        loop {
            let command = self.next_command().await;
            if command.r#ref == reference {
                passed.append(&mut self.early);
                self.early = passed;
                return command.body.expect("an answer has a body");
            }
            passed.push_back(command);
        }
    }

    async fn deliver(&self, reference: String, body: Option<Body>) {
        let delivery = Box::new(Delivery { from: self.member.clone(), reference, body, share: None });
        in_time("delivery", self.handle.deliver(delivery, DEADLINE))
            .await
            .expect("the channel takes commands");
    }

    /// The next message, whatever it is.
    pub async fn next(&mut self) -> Body {
        self.next_command().await.body.expect("every message has a body")
    }

    /// The next message with its envelope.
    pub async fn next_command(&mut self) -> Command {
        while self.early.is_empty() {
            let mut batch = Batch::default();
            in_time("a message", self.outbox.next_batch(&mut batch)).await;
            for frame in &batch.frames {
                self.outbox.taken(frame.bytes.len());
                self.early.push_back(Command::decode(frame.bytes.clone()).expect("our own encoding"));
            }
            self.outbox.written(&mut batch);
        }
        self.early.pop_front().expect("the loop filled it")
    }

    /// Skips messages until one is `wanted`, and gives it.
    pub async fn until(&mut self, wanted: impl Fn(&Body) -> bool) -> Body {
        loop {
            let body = self.next().await;
            if wanted(&body) {
                return body;
            }
        }
    }

    /// Collects `output` until it contains `text`; all of it.
    pub async fn until_output(&mut self, text: &str) -> String {
        let mut all = String::new();
        while !all.contains(text) {
            if let Body::Output(more) = self.until(|body| matches!(body, Body::Output(_))).await {
                all += &more;
            }
        }
        all
    }

    /// Joins the channel it is on once more.
    pub async fn join_again(&self) {
        let joined = self.handle.join(self.member.clone(), String::new(), false).expect("the channel runs");
        in_time("joining", joined).await.expect("the channel's actor answers");
    }

    /// Leaves, and waits until that is carried out.
    pub async fn leave(&self, how: Leave) {
        if let Left::Done(done) = self.handle.leave(&self.member, how, "leave".to_owned()) {
            let _ = in_time("leaving", done).await;
        }
    }
}

async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(value) => value,
        #[expect(clippy::panic, reason = "a test that waits in vain has failed")]
        Err(_elapsed) => panic!("waited {DEADLINE:?} for {what}"),
    }
}
