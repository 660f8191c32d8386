//! What every service promises, whatever it does: checked against a real channel, with every message of the contract.
//!
//! - A command with a `ref` is answered exactly once, a command without one never; nothing is answered under another
//!   `ref`, and nothing is sent to a session after its farewell.
//! - What a service does not know is refused: by an error to whoever asked with a `ref`, in silence otherwise.
//! - No message, however filled, ends the channel.
//! - A viewer who opens a channel starts nothing, and does nothing that [`Service::needs`] does not list.
//! - A member that leaves in the midst of its commands harms nobody.
//! - A member that takes nothing costs a bounded amount of memory, and does not keep the others from being answered.
//! - The end of the channel is the end of each of its programs and tasks.
//!
//! A service that is in the agent's registry is checked with the agent. One that produces output or runs programs
//! should be given the *busy* commands that make it do so, because a service at rest keeps most promises:
//!
//! ```no_run
//! # use pid1_sdk::{Service, api::command::Body, testing::conformance};
//! # async fn script<Shell: Service>() {
//! conformance::<Shell>(&[Body::Input("yes\n".into())]).await;
//! # }
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tokio::time::Instant;

use super::{Sample, TestChannel, TestMember, samples};
use crate::api::{Command, command::Body};
use crate::channel::Leave;
use crate::error::printable_lines;
use crate::identity::{Right, Role};
use crate::limits;
use crate::service::{Service, ServiceDef};

/// The business of channel 0: no service answers these.
const NOBODYS: &[&str] = &["openChan", "openChanRes", "closeChan", "closeChanRes"];

/// Output that may be on its way when the mark is passed at which it is held back.
const UNDERWAY_BYTES: usize =
    (limits::EVENTS + 2) * (limits::OUTPUT_CHUNK_BYTES + 2 * limits::FRAME_COST_BYTES);

/// Checks the promises of `S`; `busy` as for [`check`].
///
/// # Panics
/// With the promise that is not kept, and the message that showed it.
pub async fn conformance<S: Service>(busy: &[Body]) {
    check(&ServiceDef::new::<S>("under test", "under test"), busy).await;
}

/// Checks the promises of `service`. `busy` are commands after which it goes on sending to its members for as long as
/// somebody takes it: a program that prints without end. Empty for a service that never does.
///
/// # Panics
/// With the promise that is not kept, and the message that showed it.
pub async fn check(service: &ServiceDef, busy: &[Body]) {
    answers_every_message_once(service, &[]).await;
    a_viewer_starts_nothing(service).await;
    a_viewer_changes_nothing(service).await;
    for (role, mark_bytes) in
        [(Role::Owner, limits::OUTBOX_ROOM_BYTES), (Role::Viewer, limits::OUTBOX_HARD_BYTES)]
    {
        stalled_members_cost_little(service, busy, role, mark_bytes + UNDERWAY_BYTES).await;
    }
    for how in [Leave::Disconnect, Leave::TryClose, Leave::Vanish] {
        leaving_harms_nobody(service, busy, how).await;
    }
    the_last_to_leave_ends_all(service, busy).await;
    if !busy.is_empty() {
        answers_every_message_once(service, busy).await;
    }
}

async fn answers_every_message_once(service: &ServiceDef, busy: &[Body]) {
    let channel = TestChannel::of(service, Some("conformance"));
    let mut asker = Asker::join(&channel, service, Role::Owner).await;
    asker.make_busy(busy).await;
    for sample in samples() {
        let answer = asker.ask(&sample).await;
        let name = sample.body.name();
        let refused = matches!(&answer, Some(Body::Error(_)));
        assert!(refused || !NOBODYS.contains(&name), "{service}: {name} is answered {answer:?}, not refused");
        if matches!(answer, Some(Body::Error(text)) if text.ends_with("is not supported yet")) {
            let before = asker.errors;
            asker.tell(&sample).await;
            assert_eq!(asker.errors, before, "{service}: {name} without a ref is answered");
        }
    }
    let before = asker.errors;
    asker.deliver("an empty command", String::new(), None).await;
    asker.fence("an empty command").await;
    assert_eq!(asker.errors, before, "{service}: an empty command without a ref is answered");
    close(channel, asker).await;
}

async fn a_viewer_starts_nothing(service: &ServiceDef) {
    let channel = TestChannel::of(service, Some("conformance"));
    let mut viewer = Asker::join(&channel, service, Role::Viewer).await;
    let tasks = channel.engine().runtimes().tracker().len();
    for sample in samples() {
        let answer = viewer.ask(&sample).await;
        if service.open_needs() > Right::Read {
            let name = sample.body.name();
            assert!(
                matches!(answer, Some(Body::Error(_))),
                "{service}: a viewer's {name} is answered {answer:?}"
            );
            let now = channel.engine().runtimes().tracker().len();
            assert_eq!((tasks, now), (1, 1), "{service}: a viewer's open started tasks");
        }
        assert!(
            channel.engine().processes().list().is_empty(),
            "{service}: a viewer's open started a program"
        );
    }
    assert!(files(channel.root()).is_empty(), "{service}: a viewer's open wrote files");
    close(channel, viewer).await;
}

async fn a_viewer_changes_nothing(service: &ServiceDef) {
    let channel = TestChannel::of(service, Some("conformance"));
    let mut owner = Asker::join(&channel, service, Role::Owner).await;
    let mut viewer = Asker::join(&channel, service, Role::Viewer).await;
    let programs =
        || channel.engine().processes().list().iter().map(|p| (p.id(), p.try_exit())).collect::<Vec<_>>();
    let before = (programs(), files(channel.root()));
    for sample in samples() {
        let (name, answer) = (sample.body.name(), viewer.ask(&sample).await);
        if service.needs(&sample.body) > Right::Read {
            let refused = matches!(&answer, Some(Body::Error(text)) if text.contains("needs the role"));
            assert!(refused, "{service}: a viewer's {name} is answered {answer:?}");
        }
        let after = (programs(), files(channel.root()));
        assert_eq!(after, before, "{service}: a viewer's {name} changed something");
    }
    owner.fence("what a viewer sent").await;
    close(channel, viewer).await;
}

/// For a writer output may be held back, for a viewer never.
async fn stalled_members_cost_little(service: &ServiceDef, busy: &[Body], role: Role, most_bytes: usize) {
    let channel = TestChannel::of(service, Some("conformance"));
    let mut reader = Asker::join(&channel, service, Role::Owner).await;
    let stalled = channel.join(role).await;
    reader.make_busy(busy).await;
    // Long enough for a flood to fill what it can, and for the laggard to be skipped.
    let watched = if busy.is_empty() { 0 } else { 4 };
    let until = Instant::now() + watched * limits::LAGGARD_PATIENCE;
    loop {
        reader.fence("a command while another member takes nothing").await;
        let waiting_bytes = stalled.outbox().queued_bytes();
        assert!(
            waiting_bytes <= most_bytes,
            "{service}: {waiting_bytes} bytes wait for a member that takes nothing ({role})"
        );
        if Instant::now() >= until {
            break;
        }
    }
    if role == Role::Viewer {
        reader.go_on(busy).await;
    }
    close(channel, reader).await;
}

async fn leaving_harms_nobody(service: &ServiceDef, busy: &[Body], how: Leave) {
    let channel = TestChannel::of(service, Some("conformance"));
    let mut stays = Asker::join(&channel, service, Role::Owner).await;
    let mut leaves = Asker::join(&channel, service, Role::Owner).await;
    let commands = busy.iter().map(|body| Sample { filling: "as the test gave it", body: body.clone() });
    for sample in commands.chain(samples().into_iter().step_by(7)) {
        leaves.post(&sample).await;
    }
    leaves.member.leave(how).await;
    leaves.look(&format!("leaving by {how:?}"));
    stays.fence(&format!("the {how:?} of another member")).await;
    close(channel, stays).await;
    leaves.look("the end of a channel it had left");
}

/// A channel without a name ends with its only member, however that goes.
async fn the_last_to_leave_ends_all(service: &ServiceDef, busy: &[Body]) {
    for how in [Leave::Vanish, Leave::Disconnect, Leave::TryClose, Leave::Close] {
        let channel = TestChannel::of(service, None);
        let mut only = Asker::join(&channel, service, Role::Owner).await;
        only.make_busy(busy).await;
        only.member.leave(how).await;
        channel.freed().await;
        only.look(&format!("the {how:?} of the only member"));
    }
}

/// Somebody else closes the channel, so that `last` is sent everything there is for it; then nothing may be left.
async fn close(channel: TestChannel, mut last: Asker<'_>) {
    let closer = channel.join(Role::Owner).await;
    last.closing = true;
    closer.leave(Leave::Close).await;
    channel.freed().await;
    last.look("the end of the channel");
    let (service, open) = (last.service, last.refs.iter().find(|(_, (_, answer))| answer.is_none()));
    assert!(open.is_none(), "{service}: never answered: {open:?}");
    assert!(last.left, "{service}: a member was not told of the channel's end");
}

/// A member that keeps account of what it asked and what it was answered.
struct Asker<'a> {
    member: TestMember,
    service: &'a ServiceDef,
    /// For each `ref`, what it was given to and how that was answered.
    refs: BTreeMap<String, (String, Option<Body>)>,
    fences: usize,
    /// Errors that answered no `ref`.
    errors: usize,
    /// Messages without a `ref`.
    told: usize,
    /// The channel is about to be closed.
    closing: bool,
    /// It has been told that it is no member any more.
    left: bool,
}

impl<'a> Asker<'a> {
    async fn join(channel: &TestChannel, service: &'a ServiceDef, role: Role) -> Self {
        let member = channel.join(role).await;
        let refs = BTreeMap::new();
        Asker { member, service, refs, fences: 0, errors: 0, told: 0, closing: false, left: false }
    }

    /// Sends a command with a `ref` of its own and waits until it has been handled; its answer, if it came by then.
    async fn ask(&mut self, sample: &Sample) -> Option<Body> {
        let reference = self.post(sample).await;
        self.fence(&describe(sample)).await;
        self.refs[&reference].1.clone()
    }

    async fn post(&mut self, sample: &Sample) -> String {
        let (what, reference) = (describe(sample), format!("r{}", self.refs.len()));
        self.refs.insert(reference.clone(), (what.clone(), None));
        self.deliver(&what, reference.clone(), Some(sample.body.clone())).await;
        reference
    }

    /// Sends a command without a `ref` and waits until it has been handled.
    async fn tell(&mut self, sample: &Sample) {
        let what = describe(sample);
        self.deliver(&what, String::new(), Some(sample.body.clone())).await;
        self.fence(&what).await;
    }

    async fn deliver(&mut self, what: &str, reference: String, body: Option<Body>) {
        let taken = self.member.deliver(reference, body).await;
        assert!(taken, "{}: the channel has ended before {what}", self.service);
    }

    /// Waits until everything that was sent so far, `what` at last, has been handled: an empty command is answered by
    /// the channel itself, in its turn.
    async fn fence(&mut self, what: &str) {
        self.fences += 1;
        let reference = format!("fence {}", self.fences);
        self.refs.insert(reference.clone(), ("an empty command".to_owned(), None));
        self.deliver(what, reference.clone(), None).await;
        let waiting_for = format!("{} to be done with {what}", self.service);
        while self.refs[&reference].1.is_none() {
            let command = self.member.next_for(&waiting_for).await;
            self.take(command, what);
        }
        let refused = matches!(self.refs.remove(&reference), Some((_, Some(Body::Error(_)))));
        assert!(refused, "{}: an empty command is not refused", self.service);
    }

    /// Sends `busy` and waits until it shows.
    async fn make_busy(&mut self, busy: &[Body]) {
        for body in busy {
            let sample = Sample { filling: "as the test gave it", body: body.clone() };
            self.post(&sample).await;
            self.fence(&describe(&sample)).await;
        }
        self.go_on(busy).await;
    }

    /// Waits for more of what `busy` began.
    async fn go_on(&mut self, busy: &[Body]) {
        self.told = 0;
        while !busy.is_empty() && self.told < 4 {
            let command = self.member.next_for("the output of the busy commands").await;
            self.take(command, "the busy commands");
        }
    }

    /// Looks at what has come in the meantime.
    fn look(&mut self, after: &str) {
        for command in self.member.waiting() {
            self.take(command, after);
        }
    }

    fn take(&mut self, command: Command, after: &str) {
        let service = self.service;
        let body = command.body.expect("every message has a body");
        assert!(!self.left, "{service}: sent after the farewell, after {after}: {body:?}");
        match &body {
            Body::CloseChanRes(_) => {
                self.left = true;
                return;
            }
            Body::Error(text) => {
                assert_eq!(
                    *text,
                    printable_lines(text),
                    "{service}: control characters in the error after {after}"
                );
                let failed = text.contains("failed unexpectedly");
                let dropped = text.contains("was given up") && !self.closing;
                assert!(!failed && !dropped, "{service}: after {after}: {text}");
            }
            _ => {}
        }
        if command.r#ref.is_empty() {
            self.told += 1;
            self.errors += usize::from(matches!(body, Body::Error(_)));
            return;
        }
        let asked = self.refs.get_mut(&command.r#ref);
        assert!(asked.is_some(), "{service}: nobody asked with the ref of {body:?}, after {after}");
        if let Some((what, answer)) = asked {
            assert!(answer.is_none(), "{service}: {what} is answered twice: {answer:?}, {body:?}");
            *answer = Some(body);
        }
    }
}

fn describe(sample: &Sample) -> String {
    format!("{} with {}", sample.body.name(), sample.filling)
}

/// Everything below `folder`: paths, sizes and when each was changed.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries
        .flat_map(|entry| {
            let path = entry.path();
            let mut of_it = if path.is_dir() { files(&path) } else { Vec::new() };
            of_it.push(format!(
                "{} {:?}",
                path.display(),
                entry.metadata().map(|m| (m.len(), m.modified().ok())).ok()
            ));
            of_it
        })
        .collect();
    all.sort();
    all
}
