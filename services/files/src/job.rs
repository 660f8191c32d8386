//! One request: what it is about, and how it is done.

use std::path::{Path, PathBuf};

use pid1_sdk::api::command::Body;
use pid1_sdk::api::{File, Files, Move, Ok as Done, StatResult, file::Type};
use pid1_sdk::engine::Engine;
use pid1_sdk::outbox::Outbox;
use pid1_sdk::workspace::{
    Cause, FileError, Kind, Metadata, Moment, Workspace, from_wire, path_from_wire, to_wire,
};
use pid1_sdk::{Bytes, Error, Result, Ticket, limits, unsupported};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::info;
use crate::order::Claim;

/// Room for what stands around the content in an answer: the path above all.
const ENVELOPE_BYTES: usize = 16 << 10;

/// Entries of a folder that are listed without waiting for the reader.
const SMALL_FOLDER: usize = 4096;

/// One request.
#[derive(Debug)]
pub(crate) enum Job {
    Read(String),
    List(PathBuf),
    Stat(PathBuf),
    Write(PathBuf, Bytes),
    MakeFolder(PathBuf),
    Remove {
        path: PathBuf,
        missing_too: bool,
    },
    Move(PathBuf, PathBuf),
    /// What has changed since then.
    Changed(Moment),
    /// The whole workspace, if the path is empty.
    Sync(PathBuf),
}

impl Job {
    pub(crate) fn of(body: Body) -> Result<Job> {
        let path = |file: &File| path_of(&file.path);
        Ok(match body {
            Body::Read(file) => path(&file).map(|_| Job::Read(file.path))?,
            Body::Readdir(file) => Job::List(path(&file)?),
            Body::Stat(file) => Job::Stat(path(&file)?),
            Body::Write(file) => Job::Write(path(&file)?, file.content),
            Body::Mkdir(file) => Job::MakeFolder(path(&file)?),
            Body::Remove(file) => Job::Remove { path: path(&file)?, missing_too: false },
            Body::TryRemove(file) => Job::Remove { path: path(&file)?, missing_too: true },
            Body::Move(Move { old_path, new_path }) => Job::Move(path_of(&old_path)?, path_of(&new_path)?),
            Body::Persist(file) | Body::PersistMirror(file) => Job::Sync(path(&file)?),
            other => return unsupported(&other),
        })
    }

    pub(crate) fn claim(&self, root: &Path) -> Claim {
        match self {
            Job::Read(path) => Claim::new(root, [Path::new(&from_wire(path))], false),
            Job::List(path) | Job::Stat(path) => Claim::new(root, [path.as_path()], false),
            Job::Move(from, to) => Claim::new(root, [from.as_path(), to.as_path()], true),
            Job::Changed(_) => Claim::new(root, [Path::new("")], false),
            // What was written before is what is to be on disk.
            Job::Write(path, _) | Job::MakeFolder(path) | Job::Remove { path, .. } | Job::Sync(path) => {
                Claim::new(root, [path.as_path()], true)
            }
        }
    }

    /// The answer, if it is known without waiting.
    pub(crate) fn now(&self, workspace: &Workspace) -> Option<Body> {
        match self {
            Job::Read(path) => {
                let content = workspace.read_now(Path::new(&from_wire(path)))?;
                Some(file(path.clone(), content.into()))
            }
            Job::Stat(path) => Some(stat_result(Some(workspace.stat_now(path)?))),
            _ => None,
        }
    }

    /// Does it, and answers.
    pub(crate) async fn run(self, engine: &Engine, outbox: &Outbox, ticket: Ticket) {
        match self {
            Job::Read(path) => read(path, engine, outbox, ticket).await,
            Job::List(path) => list(path, engine, outbox, ticket).await,
            Job::Move(from, to) => answer(ticket, rename(from, to, engine).await),
            Job::Changed(since) => answer(ticket, changed(since, engine, outbox).await),
            other => {
                let workspace = engine.workspace().clone();
                let pace = other.pace(&workspace);
                answer(ticket, work(engine, pace, move || other.perform(&workspace)).await);
            }
        }
    }

    fn pace(&self, workspace: &Workspace) -> Pace {
        let long = match self {
            Job::Write(_, content) => content.len() > limits::SMALL_FILE_BYTES,
            // A folder may hold anything.
            Job::Remove { path, .. } => {
                workspace.stat_now(path).is_none_or(|found| found.kind == Kind::Folder)
            }
            Job::Sync(_) => true,
            _ => false,
        };
        if long { Pace::Long } else { Pace::Short }
    }

    fn perform(self, workspace: &Workspace) -> Result<Body, FileError> {
        match self {
            Job::Stat(path) => return Ok(stat_result(workspace.stat(&path)?)),
            Job::Write(path, content) => drop(workspace.write(&path, &content)?),
            Job::MakeFolder(path) => workspace.make_folder(&path)?,
            Job::Remove { path, missing_too } => match workspace.remove(&path) {
                Err(error) if missing_too && error.names_nothing() => {}
                done => done?,
            },
            Job::Sync(path) if path.as_os_str().is_empty() => workspace.sync_all()?,
            Job::Sync(path) => workspace.sync(&path)?,
            Job::Read(_) | Job::List(_) | Job::Move(..) | Job::Changed(_) => {}
        }
        Ok(Body::Ok(Done {}))
    }
}

fn path_of(text: &str) -> Result<PathBuf> {
    path_from_wire(text).ok_or_else(|| {
        Error::new(format!("files: file name too long: a path has {} bytes at most", limits::PATH_BYTES))
    })
}

/// Moves something; what is on another file system is copied.
async fn rename(from: PathBuf, to: PathBuf, engine: &Engine) -> Result<Body> {
    let (workspace, one, other) = (engine.workspace().clone(), from.clone(), to.clone());
    match work(engine, Pace::Short, move || workspace.rename(&one, &other)).await {
        Err(Error::File(error)) if error.is_across() => {
            let workspace = engine.workspace().clone();
            work(engine, Pace::Long, move || workspace.move_across(&from, &to, true)).await?;
        }
        done => done?,
    }
    Ok(Body::Ok(Done {}))
}

/// Reads a file. A large one waits until whoever asked has nearly nothing left to take, so that one is in memory, not
/// all that he asked for.
async fn read(wire_path: String, engine: &Engine, outbox: &Outbox, ticket: Ticket) {
    let path = PathBuf::from(from_wire(&wire_path));
    let limit_bytes = engine.max_message_bytes().saturating_sub(ENVELOPE_BYTES);
    let (workspace, at) = (engine.workspace().clone(), path.clone());
    let opened = work(engine, Pace::Short, move || {
        let (file, metadata) = workspace.open_file(&at)?;
        if metadata.size_bytes > limits::SMALL_FILE_BYTES as u64 && metadata.size_bytes <= limit_bytes as u64
        {
            return Ok((Bytes::new(), Some((file, metadata))));
        }
        workspace.read_opened(&at, &file, &metadata, limit_bytes).map(|content| (content.into(), None))
    });
    let (file_opened, metadata) = match opened.await {
        Ok((content, None)) => return ticket.answer(file(wire_path, content)),
        Ok((_, Some(large))) => large,
        Err(Error::File(error)) if error.is_not_found() && info::is_asked_for(&path) => {
            return ticket.answer(file(wire_path, info::of(engine).into()));
        }
        Err(error) => return ticket.fail(error),
    };
    let _turn = outbox.turn_for_large().await;
    let memory = match memory(engine, metadata.size_bytes).await {
        Ok(memory) => memory,
        Err(error) => return ticket.fail(error),
    };
    let workspace = engine.workspace().clone();
    let content =
        work(engine, Pace::Long, move || workspace.read_opened(&path, &file_opened, &metadata, limit_bytes))
            .await;
    answer(
        ticket,
        content.map(|content| file(wire_path, Bytes::from_owner(Large { content, _memory: memory }))),
    );
}

/// What has changed, all of it in one answer, when it is the reader's turn to take much.
async fn changed(since: Moment, engine: &Engine, outbox: &Outbox) -> Result<Body> {
    let _turn = outbox.turn_for_large().await;
    let _memory = memory(engine, limits::CHANGED_BYTES as u64).await?;
    let workspace = engine.workspace().clone();
    let found = work(engine, Pace::Long, move || {
        workspace.changed_since(since, limits::CHANGED_FILES, limits::CHANGED_BYTES)
    });
    let files = found.await?.into_iter().map(|(path, content)| File {
        path: to_wire(path.as_os_str()).into_owned(),
        r#type: Type::Regular.into(),
        content: content.into(),
    });
    Ok(Body::ChangedFiles(Files { files: files.collect() }))
}

/// Room for what is large.
async fn memory(engine: &Engine, size_bytes: u64) -> Result<Option<OwnedSemaphorePermit>> {
    let memory = timeout(limits::LARGE_FILE_WAIT, engine.workspace().memory_for(size_bytes)).await;
    memory.map_err(|_| Error::new("files: too many large files are being sent to others; try again later"))
}

/// A large file in memory, until it is sent.
struct Large {
    content: Vec<u8>,
    _memory: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

/// Lists a folder; a large one when it is the reader's turn to take much.
async fn list(path: PathBuf, engine: &Engine, outbox: &Outbox, ticket: Ticket) {
    let entries = |limit: usize, pace: Pace| {
        let (workspace, path) = (engine.workspace().clone(), path.clone());
        work(engine, pace, move || entries_of(&workspace, &path, limit))
    };
    match entries(SMALL_FOLDER, Pace::Short).await {
        Err(Error::File(FileError { cause: Cause::TooMuch { .. }, .. })) => {
            let _turn = outbox.turn_for_large().await;
            answer(ticket, entries(limits::FOLDER_ENTRIES, Pace::Long).await);
        }
        done => answer(ticket, done),
    }
}

fn entries_of(workspace: &Workspace, path: &Path, limit: usize) -> Result<Body, FileError> {
    let mut files = Vec::new();
    for entry in workspace.list(path)? {
        let entry = entry?;
        if files.len() == limit {
            let cause = Cause::TooMuch {
                what: format!("it has more than {limit} entries"),
                limit: limit.to_string(),
            };
            return Err(FileError::new("readdir", path, cause));
        }
        let name = to_wire(&entry.name).into_owned();
        files.push(File { path: name, r#type: type_of(entry.kind), content: Bytes::new() });
    }
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(Body::Files(Files { files }))
}

/// How long something takes: as always, or as long as there is much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Short,
    Long,
}

/// Runs file work where it may wait.
async fn work<T: Send + 'static>(
    engine: &Engine,
    pace: Pace,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T> {
    let done = match pace {
        Pace::Short => engine.runtimes().file_work(work).await,
        Pace::Long => engine.runtimes().long_file_work(work).await,
    };
    let done = done.ok_or_else(|| Error::new("files: given up, because the agent ends or has failed"))?;
    Ok(done?)
}

fn answer(ticket: Ticket, result: Result<Body>) {
    match result {
        Ok(body) => ticket.answer(body),
        Err(error) => ticket.fail(error),
    }
}

fn file(path: String, content: Bytes) -> Body {
    Body::File(File { path, r#type: Type::Regular.into(), content })
}

fn stat_result(found: Option<Metadata>) -> Body {
    Body::StatRes(found.map_or_else(StatResult::default, |found| StatResult {
        exists: true,
        r#type: type_of(found.kind),
        size: i64::try_from(found.size_bytes).unwrap_or(i64::MAX),
        file_mode: found.mode_text(),
        mod_time: found.modified.0,
    }))
}

/// The protocol knows folders and everything else. A link is what it is, not what it leads to.
fn type_of(kind: Kind) -> i32 {
    (if kind == Kind::Folder { Type::Directory } else { Type::Regular }).into()
}
