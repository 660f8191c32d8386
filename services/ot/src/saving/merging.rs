//! What was found in the file of a document, and what it becomes there.

use std::collections::HashSet;

use pid1_sdk::api::Toast;
use pid1_sdk::api::command::Body;
use pid1_sdk::{Channel, Error, Result, SessionId};

use crate::editing::{Editing, Event};
use crate::file::Look;
use crate::history::{FileText, Head, Kept};
use crate::op::Op;
use crate::text::Text;

impl Editing {
    pub(super) fn looked(
        &mut self,
        ch: &mut Channel<Event>,
        version: u32,
        look: Look,
        unlinked: &HashSet<SessionId>,
    ) {
        if matches!(look, Look::Same(_) | Look::Other { .. }) {
            self.saving.writing = None;
        }
        match look {
            Look::Same(metadata) => {
                self.saving.metadata = Some(metadata);
                self.saving.gone_at = None;
                self.saving.unusable = None;
            }
            Look::Written(metadata) => self.wrote(metadata),
            Look::Gone => {
                self.saving.metadata = None;
                self.saving.unusable = None;
                if self.saving.gone_at.is_none() {
                    // What was edited while we looked was edited before anybody could know.
                    self.saving.gone_at = Some(self.document.version());
                }
            }
            Look::Unusable(reason) => {
                if self.saving.unusable.is_none() {
                    let text = format!("{reason}; edits are kept, and written when it is text again");
                    ch.broadcast(Body::Toast(Toast { text }));
                }
                self.saving.unusable = Some(reason);
            }
            Look::Other { text, metadata, change, kept } => {
                if kept.is_none() && self.document.version() != version {
                    // The file's text would be no version, and is not kept: once more, with what was edited meanwhile.
                    self.saving.wants_look = true;
                    return;
                }
                self.saving.gone_at = None;
                self.saving.unusable = None;
                let merged = self.merge(ch, version, text, change, kept, unlinked);
                match merged {
                    Ok(()) => self.saving.metadata = Some(metadata),
                    Err(error) => {
                        self.put_off(ch, &format!("ot: what others have written is not merged: {error}"))
                    }
                }
            }
        }
        self.saving.is_fresh = true;
    }

    /// What others have written becomes a change of the document.
    fn merge(
        &mut self,
        ch: &mut Channel<Event>,
        version: u32,
        text: Text,
        change: Op,
        kept: Option<Kept>,
        unlinked: &HashSet<SessionId>,
    ) -> Result<()> {
        if !change.steps().is_empty() {
            let packet = self.apply(version, change, None)?;
            self.pend(packet, None);
        }
        let is_written = *self.document.text() == text;
        let seen_at = self.document.version();
        let mut seen = FileText { version: 0, kept, crc32: text.clone().crc32(), seen_at };
        if is_written {
            (seen.version, seen.kept) = (self.document.version(), None);
        }
        let head = Head { file: Some(seen), ..self.head.clone() };
        if !self.commit_with(ch, unlinked, Some(&head)) {
            return Err(Error::new("the store cannot be written"));
        }
        self.head = head;
        self.saving.file = text;
        self.saving.file_version = is_written.then(|| self.document.version());
        Ok(())
    }
}
