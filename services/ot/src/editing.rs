//! A document that is open: what its members do to it. What happens between it and its file is in `saving`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pid1_sdk::api::command::Body;
use pid1_sdk::api::{
    Ok as OkBody, OtFetchRequest, OtFetchResponse, OtLinkFileResponse, OtPacket, OtStatus,
    OtTransformSelectionRequest, OtTransformSelectionResponse,
};
use pid1_sdk::store::Claim;
use pid1_sdk::watch::{Changes, Watch};
use pid1_sdk::{Channel, Error, Member, Result, SessionId, Ticket, limits};
use prost::Message;
use tokio::sync::Semaphore;

use crate::document::Document;
use crate::file::{self, Opened};
use crate::history::{Head, History, whole};
use crate::linked;
use crate::op::Op;
use crate::packet::{self, Author};
use crate::saving::{Done, Saving};

/// What the tasks of a document tell it.
#[derive(Debug)]
pub enum Event {
    /// The file was opened, or why not.
    Opened(Box<Result<Start>>),
    /// Something has happened to the file.
    FileNews,
    /// Time to look what.
    Look,
    /// Time to write.
    Autosave,
    /// A piece of work on the disk is done.
    Done(Box<Done>),
}

/// What a document starts with.
#[derive(Debug)]
pub struct Start {
    opened: Opened,
    watch: Watch,
    changes: Changes,
    /// As the client calls the file.
    shown: String,
}

/// An open document.
#[derive(Debug)]
pub struct Editing {
    pub(crate) path: PathBuf,
    shown: String,
    pub(crate) document: Document,
    pub(crate) history: History,
    pub(crate) head: Head,
    /// How long the packets since the last kept text are.
    pub(crate) packets_bytes: usize,
    pending: Vec<Pending>,
    pub(crate) saving: Saving,
    fetches: Fetches,
    changes: Option<Changes>,
    _watch: Watch,
    /// Held by whatever is done on the disk, too.
    pub(crate) claim: Arc<Claim>,
}

/// A change that fits, and does not last yet.
#[derive(Debug)]
pub struct Pending {
    packet: OtPacket,
    ticket: Option<Ticket>,
}

/// Opens the file at `path`, which the client calls `shown`; reports [`Event::Opened`].
pub fn open(ch: &Channel<Event>, path: PathBuf, shown: String) {
    let (engine, events) = (ch.engine().clone(), ch.events());
    let holder = ch.name().map_or_else(|| format!("channel {}", ch.id()), |name| format!("channel {name}"));
    ch.spawn(async move {
        let opening = engine.clone();
        let open = move || file::open(opening.workspace(), opening.store(), &path, &holder);
        let opened = engine.runtimes().file_work(open).await;
        let opened = opened.unwrap_or_else(|| Err(Error::new("ot: opening the file failed unexpectedly")));
        let start = async {
            let opened = opened?;
            let (watch, changes) = engine.watcher().subscribe()?;
            watch.add(vec![opened.path.clone()]).await?;
            Ok(Start { opened, watch, changes, shown })
        };
        let _ = events.send(Event::Opened(Box::new(start.await))).await;
    });
}

impl Editing {
    /// The document as it was opened.
    pub fn new(start: Start, writes_through: bool) -> Editing {
        let Start { opened, watch, changes, shown } = start;
        let saving = Saving::new(&opened, writes_through);
        Editing {
            path: opened.path,
            shown,
            document: Document::new(opened.text, opened.version),
            history: opened.history,
            head: opened.head,
            packets_bytes: opened.packets_bytes,
            pending: Vec::new(),
            saving,
            fetches: Fetches::default(),
            changes: Some(changes),
            _watch: watch,
            claim: Arc::new(opened.claim),
        }
    }

    /// From here on the file is watched. What happened to it since it was read is found now.
    pub fn begin(&mut self, ch: &mut Channel<Event>) {
        if let Some(mut changes) = self.changes.take() {
            let events = ch.events();
            ch.spawn(async move {
                while changes.next().await.is_some() && events.send(Event::FileNews).await.is_ok() {}
            });
        }
        self.look(ch);
        self.autosave(ch);
    }

    /// Whether a client that asks for `path`, which it calls `shown`, means this file.
    pub fn is_of(&self, path: &Path, shown: &str) -> bool {
        self.shown == shown || path == self.path
    }

    /// Whether giving it to somebody takes noticeable time.
    pub fn is_long(&self) -> bool {
        self.document.text().length_bytes() > limits::OT_AGAIN_BYTES
    }

    /// The file as the first client called it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// What whoever joins is told.
    pub fn status(&self) -> OtStatus {
        OtStatus {
            contents: self.document.text().whole(),
            version: self.document.version(),
            linked_file: Some(linked(&self.shown, Vec::new())),
            cursors: Vec::new(),
        }
    }

    /// Gives a member the whole document, both as clients of 2020 and as later ones want it: a packet, and the answer.
    pub fn hand_over(&mut self, ch: &Channel<Event>, to: SessionId, ticket: Ticket) {
        let (version, crc32) = (self.document.version(), self.document.crc32());
        let text = self.document.text();
        ch.send(to, Body::Ot(whole(text, version, crc32, crate::history::now())));
        let content = text.whole().into_bytes();
        let response = OtLinkFileResponse { version, linked_file: Some(linked(&self.shown, content)) };
        ticket.answer(Body::OtLinkFileResponse(response));
    }

    /// Applies a member's change; it lasts, and is told, with the next [`commit`](Editing::commit).
    ///
    /// # Errors
    /// If it does not fit the document.
    pub fn submit(&mut self, from: &Member, packet: OtPacket) -> Result<OtPacket> {
        let author = Author { user_id: from.identity().user_id, nonce: packet.nonce, author: packet.author };
        let base = packet::base(&packet);
        let (steps, bytes) = (packet.ops.len(), packet.encoded_len());
        if steps > limits::OT_STEPS || bytes > limits::OT_CHANGE_BYTES {
            return Err(Error::new(format!(
                "ot: a change has at most {} steps and {} bytes, this one has {steps} and {bytes}: write the file as a \
                 whole instead (gcsfiles, or over HTTP), which is merged",
                limits::OT_STEPS,
                limits::OT_CHANGE_BYTES
            )));
        }
        if self.saving.is_waited_for_by_too_many() {
            return Err(Error::new("ot: too many changes wait until they are in the file: try again"));
        }
        self.apply(base, Op::from_wire(packet.ops), Some(author))
    }

    pub(crate) fn apply(&mut self, base: u32, op: Op, author: Option<Author>) -> Result<OtPacket> {
        let history = &self.history;
        let op = self
            .document
            .submit(base, op, |from, to| history.ops(from, to))
            .map_err(|error| Error::new(format!("ot: {error}")))?;
        Ok(packet::of(self.document.version(), &op, self.document.crc32(), author))
    }

    /// Notes a change that was applied; `ticket` is answered once it lasts.
    pub fn pend(&mut self, packet: OtPacket, ticket: Option<Ticket>) {
        self.pending.push(Pending { packet, ticket });
    }

    /// Makes all that was applied lasting, tells everybody, and then its authors.
    pub fn commit(&mut self, ch: &mut Channel<Event>, unlinked: &HashSet<SessionId>) {
        if self.pending.is_empty() {
            return;
        }
        if self.commit_with(ch, unlinked, None) {
            self.look_again_if_unusable(ch);
            self.autosave(ch);
            self.keep_if_long(ch);
        }
    }

    /// As [`commit`](Editing::commit), with the head, in one step. False if that was not possible: then nothing that was
    /// applied since the last time ever was.
    pub(crate) fn commit_with(
        &mut self,
        ch: &mut Channel<Event>,
        unlinked: &HashSet<SessionId>,
        head: Option<&Head>,
    ) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let encoded: Vec<(u32, Vec<u8>)> =
            pending.iter().map(|one| (one.packet.version, one.packet.encode_to_vec())).collect();
        if let Err(error) = self.history.append(&encoded, head) {
            self.document.take_back();
            let reason = format!("ot: the change is not kept, and was not made: {error}");
            for ticket in pending.into_iter().filter_map(|one| one.ticket) {
                ticket.fail(Error::new(reason.clone()));
            }
            return false;
        }
        self.document.committed();
        self.packets_bytes += encoded.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        for Pending { packet, ticket } in pending {
            let version = packet.version;
            tell(ch, unlinked, packet);
            if let Some(ticket) = ticket {
                if self.saving.writes_through {
                    self.saving.wait_for(version, ticket);
                } else {
                    ticket.answer(Body::Ok(OkBody {}));
                }
            }
        }
        true
    }

    /// Answers with old packets, later: they are read from the disk.
    ///
    /// # Errors
    /// If too many wait for theirs.
    pub fn fetch(&self, ch: &mut Channel<Event>, request: &OtFetchRequest) -> Result<()> {
        let (from, to) = (request.version_from, request.version_to.min(self.document.version()));
        let Fetches { waiting, turn } = self.fetches.clone();
        let waits = waiting.try_acquire_owned();
        let waits = waits.map_err(|_| Error::new("ot: too many wait for old changes: try again"))?;
        let (ticket, history) = (ch.ticket(), self.history.clone());
        let (runtimes, most) = (ch.engine().runtimes().clone(), ch.engine().max_message_bytes() / 2);
        ch.spawn(async move {
            let _waits = waits;
            let Ok(_turn) = turn.acquire_owned().await else { return };
            match runtimes.file_work(move || history.fetch(from, to, most)).await {
                Some(Ok(packets)) => ticket.answer(Body::OtFetchResponse(OtFetchResponse { packets })),
                Some(Err(error)) => ticket.fail(error),
                None => drop(ticket),
            }
        });
        Ok(())
    }

    /// A selection, carried over from one version to another.
    ///
    /// # Errors
    /// If one of them is not there (any more).
    pub fn transform_selection(
        &self,
        request: &OtTransformSelectionRequest,
    ) -> Result<OtTransformSelectionResponse> {
        let (from, to) = (request.version_from, request.version_to);
        let now = self.document.version();
        let fail = |why: &str| {
            let text = format!("ot: cannot carry a selection over from version {from} to {to}: {why}");
            Err(Error::new(text))
        };
        if from > to || to > now {
            return fail(&format!("the document is at version {now}"));
        }
        if now - from > limits::OT_BEHIND {
            return fail("that is too long ago");
        }
        let read;
        let ops: Vec<&Op> = match self.document.since(from) {
            Some(ops) => ops.collect(),
            None => match self.history.ops(from + 1, now) {
                Some(ops) => {
                    read = ops;
                    read.iter().collect()
                }
                None => return fail("the history does not reach back so far"),
            },
        };
        let place = |place: u32| {
            let moved =
                ops.iter().take((to - from) as usize).fold(place as usize, |place, op| op.moves(place));
            u32::try_from(moved).unwrap_or(u32::MAX)
        };
        Ok(OtTransformSelectionResponse {
            index_start: place(request.index_start),
            index_end: place(request.index_end),
            version: to,
        })
    }
}

/// Sends a packet to all who have the text it changes.
fn tell(ch: &Channel<Event>, unlinked: &HashSet<SessionId>, packet: OtPacket) {
    if unlinked.is_empty() {
        return ch.broadcast(Body::Ot(packet));
    }
    let members = ch.audience().members();
    for member in members.iter().filter(|member| !unlinked.contains(&member.session())) {
        ch.send(member.session(), Body::Ot(packet.clone()));
    }
}

/// Who reads old packets.
#[derive(Clone, Debug)]
struct Fetches {
    waiting: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Default for Fetches {
    fn default() -> Fetches {
        Fetches {
            waiting: Arc::new(Semaphore::new(limits::OT_FETCHES_WAITING)),
            turn: Arc::new(Semaphore::new(limits::OT_FETCHES)),
        }
    }
}
