//! Between a document and its file: one piece of work on the disk at a time, in the blocking pool.
//!
//! - News of the file lead to a *look*. What is not what was last seen there is merged.
//! - A *write* replaces the file in one step, and only if it is still what was last seen there; else there is a look first.
//! - The whole text is *kept* in the store now and then, so that the history does not grow without end.

mod ending;
mod merging;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use pid1_sdk::api::Ok as OkBody;
use pid1_sdk::api::command::Body;
use pid1_sdk::channel::Timer;
use pid1_sdk::workspace::Metadata;
use pid1_sdk::{Channel, Error, Result, SessionId, Ticket, limits};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use crate::editing::{Editing, Event};
use crate::file::{self, Look, Opened, Unwritten};
use crate::history::{FileText, Head};
use crate::text::Text;

/// What is known of the file, and what is to be done about it.
#[derive(Debug)]
pub struct Saving {
    /// What was last seen in the file, or written there.
    file: Text,
    /// What is known of it; `None` if it is not there.
    metadata: Option<Metadata>,
    /// The version that `file` is, if it is one.
    file_version: Option<u32>,
    /// The version at which the file was seen to be gone: it is not made again just because it is missing.
    gone_at: Option<u32>,
    /// Why the file cannot be edited: something else took its place.
    unusable: Option<String>,
    /// A change is acknowledged only when it is in the file.
    pub(crate) writes_through: bool,
    /// Held while something is done on the disk.
    turn: Arc<Semaphore>,
    is_working: bool,
    wants_look: bool,
    wants_write: bool,
    /// The file was looked at, and nothing has been done since.
    is_fresh: bool,
    /// The text that is being written, and its version and checksum; or that was, if it is not sure whether it is there.
    writing: Option<(u32, u32, Text)>,
    /// How often the file was changed by somebody else just before it was written.
    rounds: u32,
    /// The text is kept again when the packets are this long: it could not be.
    keep_at: usize,
    /// Who waits until a version is in the file.
    waiting: Vec<(u32, Ticket)>,
    look_timer: Option<Timer>,
    autosave_timer: Option<Timer>,
    /// The last change, and the first that is not written.
    changed_at: Instant,
    unwritten_since: Option<Instant>,
    /// The version that was to be written when nobody was left.
    left_at: Option<u32>,
}

/// What was done on the disk, to which version.
#[derive(Debug)]
pub enum Done {
    Looked(u32, Result<Look>),
    Written(Result<Metadata, Unwritten>),
    /// The new head, and how long the packets were that it leaves behind.
    Kept(Result<Head>, usize),
    Panicked,
}

impl Saving {
    pub fn new(opened: &Opened, writes_through: bool) -> Saving {
        let is_written = opened.metadata.is_some() && opened.file == opened.text;
        Saving {
            file: opened.file.clone(),
            metadata: opened.metadata,
            file_version: is_written.then_some(opened.version),
            gone_at: None,
            unusable: None,
            writes_through,
            turn: Arc::new(Semaphore::new(1)),
            is_working: false,
            wants_look: false,
            wants_write: false,
            is_fresh: false,
            writing: None,
            rounds: 0,
            keep_at: 0,
            waiting: Vec::new(),
            look_timer: None,
            autosave_timer: None,
            changed_at: Instant::now(),
            unwritten_since: None,
            left_at: None,
        }
    }

    /// Answers `ticket` when this version is in the file.
    pub fn wait_for(&mut self, version: u32, ticket: Ticket) {
        self.waiting.push((version, ticket));
        self.wants_write = true;
    }

    /// Whether no more can wait until something is in the file.
    pub fn is_waited_for_by_too_many(&self) -> bool {
        self.waiting.len() >= limits::OT_WAITING
    }

    fn fail_waiting(&mut self, reason: &str) {
        for (_, ticket) in self.waiting.drain(..) {
            ticket.fail(Error::new(reason.to_owned()));
        }
        self.wants_write = false;
    }
}

impl Editing {
    /// Whether there are changes that the file does not have.
    pub fn is_unwritten(&self) -> bool {
        self.saving.file_version != Some(self.document.version())
    }

    /// From now on a change is acknowledged only when it is in the file, if anybody has asked for that.
    pub fn write_through(&mut self, is_asked: bool) {
        self.saving.writes_through |= is_asked;
    }

    /// A member asks for the file to be written.
    ///
    /// # Errors
    /// If too many do.
    pub fn flush(&mut self, ch: &mut Channel<Event>) -> Result<()> {
        if self.saving.is_waited_for_by_too_many() {
            return Err(Error::new("ot: too many wait for this file to be written: try again"));
        }
        self.saving.wait_for(self.document.version(), ch.ticket());
        // What was written may have been removed or changed since, unheard so far.
        self.saving.wants_look |= !self.is_unwritten() || self.saving.unusable.is_some();
        self.go_on(ch);
        Ok(())
    }

    /// What is to be done next on the disk, if anything is.
    pub(crate) fn go_on(&mut self, ch: &mut Channel<Event>) {
        if self.saving.is_working {
            return;
        }
        // Whether an earlier write took place after all is known before the next one.
        let is_readable = self.saving.unusable.is_none() && self.saving.gone_at.is_none();
        let is_unsure = self.saving.wants_write && self.saving.writing.is_some() && is_readable;
        let is_gone_now = self.saving.gone_at == Some(self.document.version());
        let is_to_be_made_again = self.saving.gone_at.is_some() && !self.saving.waiting.is_empty();
        let is_to_be_written =
            self.saving.unusable.is_none() && (is_to_be_made_again || (self.is_unwritten() && !is_gone_now));
        // A file that changes all the time would be looked at for ever, and whoever waits for it to be written would, too.
        let is_fresh = std::mem::take(&mut self.saving.is_fresh);
        let is_due = is_fresh && self.saving.wants_write && is_to_be_written && !is_unsure;
        if !is_due && (std::mem::take(&mut self.saving.wants_look) || is_unsure) {
            return self.start_look(ch);
        }
        if !std::mem::take(&mut self.saving.wants_write) {
            return;
        }
        if let Some(reason) = self.saving.unusable.clone() {
            return self.saving.fail_waiting(&reason);
        }
        if is_to_be_written {
            return self.start_write(ch);
        }
        self.written();
    }

    /// Something on the disk did not work: whoever waits is told, and it is tried again after a while.
    fn put_off(&mut self, ch: &mut Channel<Event>, reason: &str) {
        warn!(error = reason, "a document is not in its file yet");
        self.saving.fail_waiting(reason);
        self.saving.rounds = 0;
        // Else a long history would have it tried again at once.
        self.saving.keep_at = self.packets_bytes + limits::OT_HISTORY_BYTES;
        self.saving.wants_look = false;
        if self.saving.look_timer.is_none() {
            self.saving.look_timer = Some(ch.after(limits::OT_RETRY, Event::Look));
        }
        self.autosave(ch);
    }

    pub(crate) fn look(&mut self, ch: &mut Channel<Event>) {
        self.saving.wants_look = true;
        self.go_on(ch);
    }

    /// What was in the way may be gone by now, unheard.
    pub(crate) fn look_again_if_unusable(&mut self, ch: &mut Channel<Event>) {
        if self.saving.unusable.is_some() {
            self.look(ch);
        }
    }

    fn start_look(&mut self, ch: &mut Channel<Event>) {
        let (history, path) = (self.history.clone(), self.path.clone());
        let (text, known) = (self.document.text().clone(), self.saving.file.clone());
        let version = self.document.version();
        let slot = self.head.free_slot();
        let unsure = self.saving.writing.as_ref().map(|(.., text)| text.clone());
        let workspace = ch.engine().workspace().clone();
        self.work(ch, move || {
            let look = file::look(&workspace, &history, &path, (&text, &known), unsure.as_ref(), slot);
            Done::Looked(version, look)
        });
    }

    fn start_write(&mut self, ch: &mut Channel<Event>) {
        let (version, crc32) = (self.document.version(), self.document.crc32());
        let text = self.document.text().clone();
        // What is found in the file after a sudden end is then known to be ours.
        let head = Head { writing: version, ..self.head.clone() };
        if let Err(error) = self.history.append(&[], Some(&head)) {
            return self.put_off(ch, &format!("ot: the file is not written: {error}"));
        }
        self.head = head;
        self.saving.writing = Some((version, crc32, text.clone()));
        let (path, known) = (self.path.clone(), self.saving.metadata);
        let workspace = ch.engine().workspace().clone();
        self.work(ch, move || {
            let result = file::write(&workspace, &path, &text, known.as_ref());
            Done::Written(result)
        });
    }

    /// Keeps the text if the packets since the last time are long. Not while the file is behind that: what was in it
    /// is then needed to merge.
    pub(crate) fn keep_if_long(&mut self, ch: &mut Channel<Event>) {
        let most = limits::OT_HISTORY_BYTES.max(2 * self.document.text().length_bytes());
        let latest = self.head.latest.map_or(0, |latest| latest.version);
        let is_reachable = self.head.file.is_some_and(|file| file.kept.is_some() || file.version >= latest);
        if self.packets_bytes <= most.max(self.saving.keep_at) || self.saving.is_working {
            return;
        }
        if !is_reachable {
            // Written first, unless it is not to be.
            self.saving.wants_write |= self.saving.gone_at.is_none() && self.saving.unusable.is_none();
            return;
        }
        let (history, mut head) = (self.history.clone(), self.head.clone());
        let (mut text, version, behind) =
            (self.document.text().clone(), self.document.version(), self.packets_bytes);
        let slot = self.head.free_slot();
        self.work(ch, move || {
            let keep = || {
                let kept = history.keep(&mut text, version, slot)?;
                head.base = head.latest.replace(kept);
                head.bytes = (2 * text.length_bytes() + 2 * behind) as u64;
                history.replace(&head)?;
                Ok(head)
            };
            Done::Kept(keep(), behind)
        });
    }

    fn work(&mut self, ch: &mut Channel<Event>, work: impl FnOnce() -> Done + Send + 'static) {
        self.saving.is_working = true;
        let claim = self.claim.clone();
        let (runtimes, events, turn) =
            (ch.engine().runtimes().clone(), ch.events(), self.saving.turn.clone());
        ch.spawn(async move {
            let Ok(turn) = turn.acquire_owned().await else { return };
            let work = move || {
                let _until_done = (turn, claim);
                work()
            };
            let done = runtimes.file_work(work).await.unwrap_or(Done::Panicked);
            let _ = events.send(Event::Done(Box::new(done))).await;
        });
    }

    /// Something has happened that this document's tasks report.
    pub fn event(&mut self, ch: &mut Channel<Event>, event: Event, unlinked: &HashSet<SessionId>) {
        match event {
            Event::Opened(_) => {}
            Event::FileNews => {
                if self.saving.look_timer.is_none() {
                    self.saving.look_timer = Some(ch.after(limits::OT_SETTLE, Event::Look));
                }
            }
            Event::Look => {
                self.saving.look_timer = None;
                self.saving.wants_look = true;
            }
            Event::Autosave => self.autosave_due(ch),
            Event::Done(done) => {
                self.saving.is_working = false;
                match *done {
                    Done::Looked(version, Ok(look)) => self.looked(ch, version, look, unlinked),
                    Done::Looked(_, Err(error)) => {
                        self.put_off(ch, &format!("ot: the file is not read: {error}"))
                    }
                    Done::Written(Ok(metadata)) => self.wrote(metadata),
                    Done::Written(Err(Unwritten::Changed)) => {
                        self.saving.writing = None;
                        self.saving.rounds += 1;
                        if self.saving.rounds > limits::OT_ROUNDS {
                            self.put_off(
                                ch,
                                "ot: the file is not written: others keep changing it; it is tried again",
                            );
                        } else {
                            self.saving.wants_look = true;
                            self.saving.wants_write = true;
                        }
                    }
                    Done::Written(Err(Unwritten::Failed(error))) => {
                        self.put_off(ch, &format!("ot: the file is not written: {error}"));
                    }
                    Done::Kept(Ok(head), behind) => {
                        self.head = head;
                        self.packets_bytes -= behind;
                        self.saving.keep_at = 0;
                    }
                    Done::Kept(Err(error), _) => {
                        warn!(error = %error, "the history of a document stays long for now");
                        self.saving.keep_at = self.packets_bytes + limits::OT_HISTORY_BYTES;
                    }
                    Done::Panicked => {
                        self.put_off(ch, "ot: the file is not written: that failed unexpectedly")
                    }
                }
                self.autosave(ch);
            }
        }
        self.keep_if_long(ch);
        self.go_on(ch);
    }

    /// What was being written is in the file.
    fn wrote(&mut self, metadata: Metadata) {
        let Some((version, crc32, text)) = self.saving.writing.take() else { return };
        self.saving.file = text;
        self.saving.file_version = Some(version);
        self.saving.metadata = Some(metadata);
        self.saving.gone_at = None;
        self.saving.unwritten_since = None;
        self.saving.keep_at = 0;
        self.head.file = Some(FileText { version, crc32, ..FileText::default() });
        self.head.writing = 0;
        if let Err(error) = self.history.append(&[], Some(&self.head)) {
            // It is found by its content.
            debug!(error = %error, "the store does not know yet that the file is written");
        }
        self.written();
    }

    /// Answers those whose version is in the file.
    fn written(&mut self) {
        let version = self.saving.file_version.unwrap_or_default();
        self.saving.rounds = 0;
        for (asked, ticket) in std::mem::take(&mut self.saving.waiting) {
            if asked <= version {
                ticket.answer(Body::Ok(OkBody {}));
            } else {
                self.saving.waiting.push((asked, ticket));
                self.saving.wants_write = true;
            }
        }
    }

    /// Sees to it that changes are written some time after they were made.
    pub(crate) fn autosave(&mut self, ch: &mut Channel<Event>) {
        if !self.is_unwritten() || self.saving.gone_at == Some(self.document.version()) {
            return;
        }
        self.saving.changed_at = Instant::now();
        self.saving.unwritten_since.get_or_insert(self.saving.changed_at);
        if self.saving.autosave_timer.is_none() {
            self.saving.autosave_timer = Some(ch.after(ch.engine().autosave(), Event::Autosave));
        }
        if self.saving.wants_write {
            self.go_on(ch);
        }
    }

    fn autosave_due(&mut self, ch: &mut Channel<Event>) {
        self.saving.autosave_timer = None;
        let Some(since) = self.saving.unwritten_since else { return };
        let delay = ch.engine().autosave();
        let rest = delay.saturating_sub(self.saving.changed_at.elapsed());
        if !rest.is_zero() && since.elapsed() < delay * limits::OT_AUTOSAVE_FACTOR {
            self.saving.autosave_timer = Some(ch.after(rest, Event::Autosave));
            return;
        }
        self.saving.unwritten_since = None;
        self.saving.wants_write = true;
    }
}
