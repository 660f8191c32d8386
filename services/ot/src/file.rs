//! The file behind a document: what it takes to read, compare, merge and write it. All here may wait for the disk.
//!
//! What others do to the file while it is edited is found by comparing contents: with what was last seen there or written
//! there ourselves. What differs becomes a change of the document, made to fit what was edited meanwhile.

use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};

use pid1_sdk::store::{Claim, Store};
use pid1_sdk::workspace::{FileError, Metadata, Workspace};
use pid1_sdk::{Error, Result, limits};
use prost::Message;

use crate::diff::diff;
use crate::history::{self, FileText, Found, Head, History, Kept};
use crate::op::Op;
use crate::packet;
use crate::room;
use crate::text::Text;
use crate::transform::{Side, transform};

/// A document that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Nobody else has it.
    pub claim: Claim,
    /// Where it is, from the root, without links.
    pub path: PathBuf,
    pub history: History,
    pub head: Head,
    pub version: u32,
    pub text: Text,
    pub packets_bytes: usize,
    /// What the file holds, or was last known to hold.
    pub file: Text,
    /// What is known of the file; `None` if there is none.
    pub metadata: Option<Metadata>,
}

/// What a look at the file has found.
#[derive(Debug)]
pub enum Look {
    /// What was known.
    Same(Metadata),
    /// What was being written when that seemed to fail.
    Written(Metadata),
    /// There is no file.
    Gone,
    /// It is no text, or too long: why.
    Unusable(String),
    /// Something else.
    Other {
        text: Text,
        metadata: Metadata,
        /// What others have changed, made to fit the document as it was at the look.
        change: Op,
        /// The file's text, kept; only if the document had changes that the file did not have.
        kept: Option<Kept>,
    },
}

/// Why a file was not written.
#[derive(Debug)]
pub enum Unwritten {
    /// It is not what it was when it was last looked at.
    Changed,
    Failed(Error),
}

/// Opens the document of the file at `path` for the channel that `holder` names: reads the file, and if the store has
/// its history merges what was edited and never written with what others have made of the file.
pub fn open(workspace: &Workspace, store: &Store, path: &Path, holder: &str) -> Result<Opened> {
    let path = workspace.resolve(path)?;
    let claim = History::claim(store, &path, holder)?;
    let read = read(workspace, &path)?;
    let crc32 = read.as_ref().map(|(text, _)| text.clone().crc32());
    let known = store.commit(|tx| tx.find(history::SPACE, history::name(&path)))?.is_some();
    if read.is_none() && !known {
        return Err(missing(&path));
    }
    if !known {
        room::make_room(store)?;
    }
    let history = History::open(store, &path)?;
    let (metadata, file) = match read {
        Some((text, metadata)) => (Some(metadata), Some(text)),
        None => (None, None),
    };
    let opened = |head, version, text, packets_bytes, file| Opened {
        claim,
        path: path.clone(),
        history: history.clone(),
        head,
        version,
        text,
        packets_bytes,
        file,
        metadata,
    };
    let Some(mut found) = history.find(crc32)? else {
        let mut text = file.ok_or_else(|| missing(&path))?;
        let version =
            history.last_version()?.checked_add(1).ok_or_else(|| Error::new("ot: the history is full"))?;
        let kept = history.keep(&mut text, version, 0)?;
        let file = FileText { version, crc32: text.crc32(), ..FileText::default() };
        let head = Head {
            base: Some(kept),
            latest: Some(kept),
            file: Some(file),
            writing: 0,
            opened: history::now(),
            bytes: text.length_bytes() as u64,
        };
        history.replace(&head)?;
        return Ok(opened(head, version, text.clone(), 0, text));
    };
    found.head.opened = history::now();
    found.head.bytes = (2 * found.text.length_bytes() + found.packets_bytes) as u64;
    let Some(file) = file else {
        // All of it was written, and then somebody removed the file: that is the last word.
        if found.file.as_ref().is_some_and(|file| *file == found.text) {
            return Err(missing(&path));
        }
        history.append(&[], Some(&found.head))?;
        let file = found.file.clone().unwrap_or_default();
        return Ok(opened(found.head, found.version, found.text, found.packets_bytes, file));
    };
    let packets = catch_up(&history, &mut found, &file)?;
    found.packets_bytes += packets.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    history.append(&packets, Some(&found.head))?;
    Ok(opened(found.head, found.version, found.text, found.packets_bytes, file))
}

/// What others have changed in the file while nobody looked becomes the next version.
fn catch_up(history: &History, found: &mut Found, file: &Text) -> Result<Vec<(u32, Vec<u8>)>> {
    let crc32 = file.clone().crc32();
    let writing = std::mem::take(&mut found.head.writing);
    if *file == found.text {
        found.head.file = Some(FileText { version: found.version, crc32, ..FileText::default() });
        return Ok(Vec::new());
    }
    if let Some((version, _)) = found.matching.take_if(|(_, text)| text == file) {
        found.head.file = Some(FileText { version, crc32, ..FileText::default() });
        return Ok(Vec::new());
    }
    let is_torn = |old: &Text, new: &Text| is_torn(&file.whole(), &old.whole(), &new.whole());
    if found.file.as_ref().is_some_and(|known| known == file) {
        return Ok(Vec::new());
    }
    if found.file.as_ref().zip(found.writing.as_ref()).is_some_and(|(old, new)| is_torn(old, new)) {
        // So that it is known again, should the agent end once more before the file is written.
        found.head.writing = writing;
        return Ok(Vec::new());
    }
    // Whoever changed it may have had before him what was being written when the agent ended: what is nearer.
    let change_of = |old: &Text| (diff(&old.whole(), &file.whole()), old.clone());
    let nearest = [&found.file, &found.writing].into_iter().flatten().map(change_of);
    let (change, old) = nearest.min_by_key(|(op, _)| op.touched()).unwrap_or_else(|| change_of(&found.text));
    let edited = diff(&old.whole(), &found.text.whole());
    let op = transform(&change, &edited, Side::Right);
    let version = found.version.checked_add(1).ok_or_else(|| Error::new("ot: the history is full"))?;
    found.text.apply(&op).map_err(|error| Error::new(error.to_string()))?;
    found.version = version;
    let packet = packet::of(version, &op, found.text.crc32(), None);
    found.head.file = Some(if *file == found.text {
        FileText { version, crc32, ..FileText::default() }
    } else {
        let kept = history.keep(&mut file.clone(), 0, found.head.free_slot())?;
        FileText { version: 0, kept: Some(kept), crc32, seen_at: version }
    });
    Ok(vec![(version, packet.encode_to_vec())])
}

/// Whether `found` is what is left of writing `new` over `old` in place, when the agent ended half-way: the one as far as it
/// came, and behind that the other, or room that was made for more.
fn is_torn(found: &str, old: &str, new: &str) -> bool {
    let (found, old, new) = (found.as_bytes(), old.as_bytes(), new.as_bytes());
    let written = found.iter().zip(new).take_while(|(found, new)| found == new).count();
    let rest = found.iter().enumerate().skip(written);
    found.len() == old.len().max(new.len())
        && rest.into_iter().all(|(at, byte)| *byte == old.get(at).copied().unwrap_or_default())
}

/// Looks at the file of a document that says `text` while `known` was in its file; `unsure` may be there, if a write took
/// place after all.
pub fn look(
    workspace: &Workspace,
    history: &History,
    path: &Path,
    (text, known): (&Text, &Text),
    unsure: Option<&Text>,
    slot: u32,
) -> Result<Look> {
    let (file, metadata) = match read(workspace, path) {
        Ok(Some(read)) => read,
        Ok(None) => return Ok(Look::Gone),
        Err(error) => return Ok(Look::Unusable(error.to_string())),
    };
    if file == *known {
        return Ok(Look::Same(metadata));
    }
    if unsure.is_some_and(|written| *written == file) {
        return Ok(Look::Written(metadata));
    }
    if file == *text {
        return Ok(Look::Other { text: file, metadata, change: Op::default(), kept: None });
    }
    let (old, new) = (known.whole(), file.whole());
    let change = diff(&old, &new);
    if text == known {
        return Ok(Look::Other { text: file, metadata, change, kept: None });
    }
    let change = transform(&change, &diff(&old, &text.whole()), Side::Right);
    let kept = Some(history.keep(&mut file.clone(), 0, slot)?);
    Ok(Look::Other { text: file, metadata, change, kept })
}

/// Writes a document to its file, if that is still what it was: nothing that others have written is lost.
pub fn write(
    workspace: &Workspace,
    path: &Path,
    text: &Text,
    known: Option<&Metadata>,
) -> Result<Metadata, Unwritten> {
    let failed = |error: FileError| Unwritten::Failed(error.into());
    let mut draft = workspace.create(path).map_err(failed)?;
    for piece in text.pieces() {
        draft.write_all(piece.as_bytes()).map_err(|error| failed(FileError::new("write", path, error)))?;
    }
    let is_changed = Cell::new(false);
    let written = draft.commit_if(|now| {
        is_changed.set(now != known);
        if is_changed.get() { Err("it has changed".to_owned()) } else { Ok(()) }
    });
    written.map_err(|error| if is_changed.get() { Unwritten::Changed } else { failed(error) })
}

/// The last write, when nobody is left to be told: if others have changed the file, what they wrote stays, and the two are
/// merged when the document is opened again. `expected` are the texts that may be there; a file that is gone is made again if
/// that was seen before the last change.
pub fn finish(
    workspace: &Workspace,
    path: &Path,
    text: &Text,
    expected: &[Text],
    is_made_again: bool,
) -> Result<bool, Unwritten> {
    match read(workspace, path).map_err(Unwritten::Failed)? {
        None if is_made_again => write(workspace, path, text, None).map(|_| true),
        None => Ok(false),
        Some((file, _)) if file == *text => Ok(true),
        Some((file, metadata)) if expected.contains(&file) => {
            write(workspace, path, text, Some(&metadata)).map(|_| true)
        }
        Some(_) => Err(Unwritten::Changed),
    }
}

fn read(workspace: &Workspace, path: &Path) -> Result<Option<(Text, Metadata)>> {
    let opened = match workspace.open_file(path) {
        Err(error) if error.names_nothing() => return Ok(None),
        other => other?,
    };
    let (file, metadata) = opened;
    let bytes = workspace.read_opened(path, &file, &metadata, limits::OT_BYTES)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Some((Text::new(text), metadata))),
        Err(error) => Err(FileError::new(
            "edit",
            path,
            pid1_sdk::workspace::Cause::Refused(format!(
                "it is not UTF-8 text (byte {} is not): it can be read and written as a whole, with gcsfiles or over HTTP",
                error.valid_up_to()
            )),
        )
        .into()),
    }
}

fn missing(path: &Path) -> Error {
    FileError::new("open", path, std::io::Error::from_raw_os_error(2)).into()
}
