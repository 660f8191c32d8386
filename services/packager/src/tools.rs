//! Programs that manage packages: run at the workspace's root, without a terminal, and shown to the channel's members; or
//! asked something, for what they print.
//!
//! What it deliberately does not do: know any of them.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use pid1_sdk::channel::Audience;
use pid1_sdk::engine::Engine;
use pid1_sdk::error::{printable, printable_lines};
use pid1_sdk::process::{
    Exit, Hold, Io, Item, Keep, LogReader, OutputLog, Process, Spec, StartError, StopCause, Stream,
};
use pid1_sdk::utf8::Utf8Carry;
use pid1_sdk::workspace::Workspace;
use pid1_sdk::{Error, Result, limits};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::Event;
use crate::ecosystem::Ecosystem;

/// How long a package manager may think about a question; registries that are far away take seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is remembered of the end of what a program prints: it says why it has failed.
const END_BYTES: usize = 4 << 10;

/// What of an ecosystem's programs, and what they are run with. Works on after its channel has ended, but starts nothing
/// then.
pub(crate) struct Tools {
    pub(crate) engine: Arc<Engine>,
    pub(crate) ecosystem: &'static dyn Ecosystem,
    /// Variables over those that programs have anyway.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) audience: Arc<Audience>,
    /// The channel has ended.
    pub(crate) closed: CancellationToken,
}

/// What a program has answered.
pub(crate) struct Asked {
    pub(crate) exit: Exit,
    pub(crate) stdout: Vec<u8>,
    /// The end of it.
    pub(crate) stderr: String,
}

impl Tools {
    /// Runs a program and shows what it prints. What it leaves running is ended with it.
    ///
    /// # Errors
    /// If it is not there or fails, or the channel ends: then it has been ended.
    pub(crate) async fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<()> {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        self.run_with(&args, &[]).await
    }

    /// The same with variables of its own.
    pub(crate) async fn run_with(&self, args: &[OsString], env: &[(OsString, OsString)]) -> Result<()> {
        self.print(format!("--> {}\n", shown(args, args.len()))).await;
        let process = self.start(args, env, false, Vec::new())?;
        let mut end = String::new();
        let shown = async {
            let show = self.show(process.stdout(), &mut end);
            if tokio::time::timeout(limits::PACKAGE_COMMAND, show).await.is_err() {
                let most = limits::PACKAGE_COMMAND;
                self.print(format!("{} is stopped: it has taken {most:?}\n", name(args))).await;
                process.stop(StopCause::Timeout);
            }
        };
        let exit = self.attend(&process, shown).await?;
        if exit.success() {
            return Ok(());
        }
        Err(Error::new(format!("{}: {}: {}", name(args), exit.text(), printable(&reason(&end)))))
    }

    /// Runs a program for what it prints, with this on its standard input, and shows nothing of it.
    ///
    /// # Errors
    /// If it is not there, answers too much or not in time, or the channel ends. That it fails is an answer.
    pub(crate) async fn ask<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        env: &[(&str, &str)],
        input: Vec<u8>,
    ) -> Result<Asked> {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let env: Vec<_> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let name = name(&args);
        let process = self.start(&args, &env, true, input)?;
        let streams = async {
            let stderr = process.output(Stream::Stderr).map(|log| log.reader(0, Hold::Back));
            tokio::join!(all_of(process.stdout().reader(0, Hold::Back)), end_of(stderr))
        };
        let mut found = None;
        let answer = async {
            found = tokio::time::timeout(PATIENCE, streams).await.ok();
            if !matches!(found, Some((Some(_), _))) {
                process.kill(StopCause::Request);
            }
        };
        let exit = self.attend(&process, answer).await?;
        match found {
            Some((Some(stdout), stderr)) => Ok(Asked { exit, stdout, stderr }),
            Some((None, _)) => Err(Error::new(format!(
                "{name}: its answer has more than {} bytes",
                limits::PACKAGE_ANSWER_BYTES
            ))),
            None => Err(Error::new(format!("{name}: no answer within {PATIENCE:?}: try again later"))),
        }
    }

    /// Whether there is such a program.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.spec(&[program.into()], &[], false).program().is_ok()
    }

    /// A variable as programs have it.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str());
        found.or_else(|| self.engine.variable(name)).filter(|value| !value.is_empty())
    }

    /// Shows the members a text.
    pub(crate) async fn print(&self, text: String) {
        if !text.is_empty() {
            // There is nobody to see it if the channel has ended.
            let _ = self.events.send(Event::Print(text)).await;
        }
    }

    /// Waits for a turn.
    pub(crate) async fn turn<'a>(&self, turns: &'a Semaphore) -> Result<SemaphorePermit<'a>> {
        tokio::select! {
            turn = turns.acquire() => turn.map_err(|_| stopped()),
            () = self.closed.cancelled() => Err(stopped()),
        }
    }

    /// Looks at the workspace's files.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Workspace) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let engine = self.engine.clone();
        let done = self.engine.runtimes().file_work(move || work(engine.workspace())).await;
        done.unwrap_or_else(|| Err(Error::new("packager: the agent is ending")))
    }

    /// The text of a file at the root; `None` if there is none.
    pub(crate) async fn text(&self, path: &'static str) -> Result<Option<String>> {
        self.look(move |workspace| text(workspace, path)).await
    }

    /// Changes the text of a file at the root, which may not be there; whatever others make of it meanwhile counts.
    pub(crate) async fn edit(
        &self,
        path: &'static str,
        edit: impl Fn(&str) -> Result<String> + Send + 'static,
    ) -> Result<()> {
        self.look(move |workspace| {
            workspace.edit(Path::new(path), limits::PACKAGE_FILE_BYTES, |old| {
                let old = utf8(path, old.unwrap_or_default())?;
                let text = old.strip_prefix(BOM).unwrap_or(old);
                let mark = if text.len() == old.len() { "" } else { BOM };
                Ok([mark, &edit(text)?].concat().into_bytes())
            })
        })
        .await
    }

    /// Makes a file at the root, which is not there yet. Not through the workspace, where it would count as somebody's own
    /// work.
    pub(crate) async fn make(&self, path: &'static str, text: String, mode: u32) -> Result<()> {
        self.look(move |workspace| {
            let mut new = OpenOptions::new();
            new.write(true).create_new(true).mode(mode);
            let made = new.open(workspace.root().join(path));
            let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|error| Error::new(format!("packager: cannot make {path}: {error}")))
        })
        .await
    }

    fn start(
        &self,
        args: &[OsString],
        env: &[(OsString, OsString)],
        split_stderr: bool,
        input: Vec<u8>,
    ) -> Result<Process> {
        if self.closed.is_cancelled() {
            return Err(stopped());
        }
        let started = self.engine.processes().start(self.spec(args, env, split_stderr));
        let process = started.map_err(|error| match &error {
            StartError::NotInPath { program } => {
                let advice = self.ecosystem.advice(program);
                Error::new(format!("packager: {} is in no folder of $PATH: {advice}", printable(program)))
            }
            _ => Error::new(format!("packager: {error}")),
        })?;
        // Nobody can be asked anything.
        if !input.is_empty() {
            process.stdin().push(input.into()).map_err(|error| Error::new(format!("packager: {error}")))?;
        }
        process.stdin().close();
        Ok(process)
    }

    fn spec(&self, args: &[OsString], env: &[(OsString, OsString)], split_stderr: bool) -> Spec {
        let own = self.ecosystem.env().iter().map(|(name, value)| (name.into(), value.into()));
        let all = own.chain(self.env.iter().cloned()).chain(env.iter().cloned()).collect();
        let mut spec = self.engine.spec(args.to_vec(), all, Io::Pipes { split_stderr }, Keep::Tail);
        spec.cwd = self.engine.root().to_owned();
        spec
    }

    /// Waits until `done` and the program's end, and ends what it has left. If the channel ends before, ends the program.
    async fn attend(&self, process: &Process, done: impl Future<Output = ()>) -> Result<Exit> {
        tokio::select! {
            () = done => {}
            () = self.closed.cancelled() => {
                process.stop(StopCause::Closed);
                process.stopped().await;
                return Err(stopped());
            }
        }
        let exit = process.exited().await;
        if process.left_anything().await {
            process.stop(StopCause::Request);
            process.stopped().await;
        }
        Ok(exit)
    }

    /// Shows output until the program's end, as fast as the members take it; the end of it.
    async fn show(&self, log: &OutputLog, end: &mut String) {
        let (mut reader, mut carry) = (log.reader(0, Hold::Back), Utf8Carry::new());
        loop {
            self.audience.room_for_all().await;
            let (text, over) = match reader.next(limits::OUTPUT_CHUNK_BYTES).await {
                Item::Chunk { bytes, .. } => (carry.push(&bytes), false),
                Item::Gap { .. } => (carry.finish(), false),
                Item::Settled | Item::End => (carry.finish(), true),
            };
            end.push_str(&text);
            end.drain(..end.ceil_char_boundary(end.len().saturating_sub(END_BYTES)));
            self.print(text).await;
            if over {
                return;
            }
        }
    }
}

/// Why a program has failed, by what it says: the first line that is an error and tells more than a number or a place, else
/// the last; and behind it the last of its causes, such as that nobody was reached.
pub(crate) fn reason(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let says = |line: &&str| {
        let lower = line.to_lowercase();
        let facts = ["code", "syscall", "path", "errno", "cwd"];
        let fact = facts.iter().any(|fact| lower.contains(&format!("error {fact} ")));
        let empty = ["exception:", "error command failed"].iter().any(|end| lower.ends_with(end));
        lower.contains("error") && !fact && !empty
    };
    let line = lines().find(says).or_else(|| lines().next_back());
    let line = line.unwrap_or("it has not said why");
    let cause = said
        .rsplit_once("Caused by:")
        .and_then(|(_, cause)| cause.lines().map(str::trim).find(|line| !line.is_empty()));
    match cause {
        Some(cause) => format!("{line}: {cause}"),
        None => line.to_owned(),
    }
}

/// What `work` comes to; an error if it panics, which is a mistake of ours.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| {
        Err(Error::new("packager: this failed within the agent itself: its log says where"))
    })
}

/// The text of a file of the workspace; `None` if there is none.
pub(crate) fn text(workspace: &Workspace, path: &str) -> Result<Option<String>> {
    match workspace.read(Path::new(path), limits::PACKAGE_FILE_BYTES) {
        Ok(content) => {
            let text = utf8(path, &content)?;
            Ok(Some(text.strip_prefix(BOM).unwrap_or(text).to_owned()))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What some editors begin a file with.
const BOM: &str = "\u{feff}";

fn utf8<'a>(path: &str, content: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(content)
        .map_err(|_| Error::new(format!("{path}: it is not UTF-8: write it anew as that")))
}

/// All that is printed; `None` if that is too much.
async fn all_of(mut reader: LogReader) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        match reader.next(limits::OUTPUT_CHUNK_BYTES).await {
            Item::Chunk { bytes, .. } if all.len() + bytes.len() > limits::PACKAGE_ANSWER_BYTES => {
                return None;
            }
            Item::Chunk { bytes, .. } => all.extend(bytes),
            Item::Gap { .. } => return None,
            Item::Settled | Item::End => return Some(all),
        }
    }
}

/// The last lines that are printed.
async fn end_of(reader: Option<LogReader>) -> String {
    let (Some(mut reader), mut end) = (reader, Vec::new()) else { return String::new() };
    while let Item::Chunk { bytes, .. } = reader.next(limits::OUTPUT_CHUNK_BYTES).await {
        end.extend(bytes);
        end.drain(..end.len().saturating_sub(END_BYTES));
    }
    printable_lines(&String::from_utf8_lossy(&end))
}

pub(crate) fn stopped() -> Error {
    Error::new("packager: stopped")
}

/// What is shown of a command in an error: the program, or Python's module, and what it was to do.
fn name(args: &[OsString]) -> String {
    let module = args.get(1).is_some_and(|word| word == "-m");
    shown(args, if module { 4 } else { 2 })
}

/// The beginning of a command, for people.
fn shown(args: &[OsString], words: usize) -> String {
    let words: Vec<_> = args.iter().take(words).map(|word| word.to_string_lossy()).collect();
    printable(&words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_with_its_cause() {
        for (said, why) in [
            (
                "warning: x\nerror: no config\n\nCaused by:\n  not downloaded\n\nCaused by:\n  [6] no host\n",
                "error: no config: [6] no host",
            ),
            ("error: Failed to add\n  Caused by: no such index\n", "error: Failed to add: no such index"),
            ("    Updating\nerror: could not find it\nmore\n", "error: could not find it"),
            (
                "npm error code E1\nnpm error path /x\nnpm error errno -2\nnpm error enoent no file\n",
                "npm error enoent no file",
            ),
            (
                "ERROR: Exception:\nTraceback\nOSError: [Errno 28] No space left\n",
                "OSError: [Errno 28] No space left",
            ),
            (
                "npm error code 3\nnpm error path /x\nnpm error command failed\nnpm error command sh -c exit 3\n\
                 npm error A complete log of this run can be found in: /y\n",
                "npm error command sh -c exit 3",
            ),
            ("error Command failed with exit code 1.\n", "error Command failed with exit code 1."),
            ("killed\n", "killed"),
            ("", "it has not said why"),
        ] {
            assert_eq!(reason(said), why);
        }
    }
}
