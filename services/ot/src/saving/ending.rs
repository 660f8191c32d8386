//! The last that happens to a file: when nobody is left, and when the channel ends.

use pid1_sdk::Channel;
use tracing::warn;

use crate::editing::{Editing, Event};
use crate::file::{self, Unwritten};
use crate::history::{FileText, Head};
use crate::text::Text;

impl Editing {
    /// Nobody is left. Whether the document is still being written; that is tried once for each version.
    pub fn is_writing_last(&mut self, ch: &mut Channel<Event>) -> bool {
        let version = Some(self.document.version());
        let is_left_to_do = self.is_unwritten() && self.saving.gone_at != version;
        if !self.saving.is_working && is_left_to_do && self.saving.left_at != version {
            self.saving.left_at = version;
            self.saving.wants_write = true;
            self.go_on(ch);
        }
        self.saving.is_working
    }

    /// Writes what is not written; for the end of the channel, when no events are heard any more.
    pub async fn finish(&mut self, ch: &mut Channel<Event>) {
        // Until what is being done on the disk is done. What it has changed in the head was not heard.
        let Ok(_turn) = self.saving.turn.clone().acquire_owned().await else { return };
        let version = self.document.version();
        if !self.is_unwritten() || self.saving.gone_at == Some(version) {
            return;
        }
        let (crc32, text) = (self.document.crc32(), self.document.text().clone());
        let written = self.saving.writing.take().map(|(.., text)| text);
        let expected: Vec<Text> = std::iter::once(self.saving.file.clone()).chain(written).collect();
        let (workspace, path, history) =
            (ch.engine().workspace().clone(), self.path.clone(), self.history.clone());
        let (is_made_again, claim) = (self.saving.gone_at.is_some(), self.claim.clone());
        let finish = move || {
            let _until_done = claim;
            if file::finish(&workspace, &path, &text, &expected, is_made_again)?
                && let Some(head) = history.head().map_err(Unwritten::Failed)?
            {
                let file = Some(FileText { version, crc32, ..FileText::default() });
                history.append(&[], Some(&Head { file, writing: 0, ..head })).map_err(Unwritten::Failed)?;
            }
            Ok(())
        };
        let failed = match ch.engine().runtimes().file_work(finish).await {
            Some(Ok(())) => return self.saving.file_version = Some(version),
            Some(Err(Unwritten::Changed)) => "others have changed it".to_owned(),
            Some(Err(Unwritten::Failed(error))) => error.to_string(),
            None => "that failed unexpectedly".to_owned(),
        };
        warn!(error = failed, "a document is kept in the store, and not written to its file");
    }
}
