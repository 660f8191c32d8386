//! A change of the workspace's packages: one at a time, with snapshots held off, and whole or not at all.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use pid1_sdk::api::Package;
use pid1_sdk::error::printable;
use pid1_sdk::workspace::{Replaced, Restored};
use pid1_sdk::{Error, Result, limits};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::ecosystem::Work;
use crate::request::{Managed, shown};
use crate::tools::{Tools, caught};
use Writes::{All, Locks};

/// The lock that holds snapshots off, and whom people see as its holder.
const LOCK: &str = "packager";

/// Whose turn it is, for the whole agent.
pub(crate) struct Turns {
    change: Semaphore,
    /// What is done in that turn, and since when.
    doing: Mutex<Option<(String, Instant)>>,
    pub(crate) lookups: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        let lookups = Semaphore::new(limits::PACKAGE_LOOKUPS);
        Turns { change: Semaphore::new(1), doing: Mutex::default(), lookups }
    }
}

/// Adds packages.
pub(crate) async fn add(managed: &Managed, packages: &[Package]) -> Result<()> {
    let tools = &managed.tools;
    change(managed, "an addition", All, || tools.ecosystem.add(tools, packages)).await?;
    after_install(managed).await
}

/// Removes packages; an error if the specfile does not name one of them.
pub(crate) async fn remove(managed: &Managed, packages: &[Package]) -> Result<()> {
    let tools = &managed.tools;
    let ecosystem = tools.ecosystem;
    let remove = || -> Work<'_, ()> {
        Box::pin(async move {
            let listed = tools.look(move |workspace| ecosystem.list(workspace)).await?;
            let named = |one: &Package| {
                let name = ecosystem.plain_name(&one.name);
                let itself = listed.iter().find(|listed| listed.name == one.name);
                itself
                    .or_else(|| listed.iter().find(|listed| ecosystem.plain_name(&listed.name) == name))
                    .cloned()
            };
            let mut all = Vec::new();
            for package in packages {
                // As the specfile writes it: some tools tell capitals from others.
                all.push(named(package).ok_or_else(|| {
                    let unknown = shown(package);
                    Error::new(format!("packager: the project's specfile does not name {unknown}"))
                })?);
            }
            ecosystem.remove(tools, &all).await
        })
    };
    change(managed, "a removal", All, remove).await
}

/// Installs what specfile and lock file name.
pub(crate) async fn install(managed: &Managed) -> Result<()> {
    let tools = &managed.tools;
    change(managed, "an installation", Locks, || tools.ecosystem.install(tools)).await?;
    after_install(managed).await
}

/// Installs what the specfile names, and adds packages, if there are any.
pub(crate) async fn ensure(managed: &Managed, packages: &[Package]) -> Result<()> {
    let tools = &managed.tools;
    let ensure = || -> Work<'_, ()> {
        Box::pin(async move {
            tools.ecosystem.install(tools).await?;
            // Last, because it may write the specfile as its own last step.
            if packages.is_empty() { Ok(()) } else { tools.ecosystem.add(tools, packages).await }
        })
    };
    change(managed, "an addition", All, ensure).await?;
    after_install(managed).await
}

/// Which files a change may write.
enum Writes {
    /// Specfiles and lock files.
    All,
    /// Lock files only: a specfile that is edited meanwhile is somebody else's work.
    Locks,
}

/// Does `work` when it is its turn.
async fn change<'a>(
    managed: &'a Managed,
    what: &str,
    writes: Writes,
    work: impl FnOnce() -> Work<'a, ()>,
) -> Result<()> {
    let tools = &managed.tools;
    let turns = tools.engine.shared::<Turns>();
    let _turn = turns.change(tools).await?;
    let _doing = Doing::begin(&turns, what);
    let _lock = tools.engine.snapshots().take(LOCK, "packager3").map_err(|error| {
        Error::new(format!("packager: nothing is changed now, because snapshots are held off: {error}"))
    })?;
    let (specfiles, locks) = (tools.ecosystem.specfiles(), tools.ecosystem.locks());
    let written = if matches!(writes, All) { specfiles } else { &[] };
    let files: Vec<_> = written.iter().chain(locks).map(|file| Path::new(*file)).collect();
    let begun = tools.look(move |workspace| {
        // Of a change that could not be put back when it failed.
        let left = workspace.roll_back_left()?;
        Ok((left, workspace.begin_change(&files)?))
    });
    let (left, begun) = begun.await?;
    tell(tools, left).await;
    match caught(work()).await {
        Ok(()) => tools.look(|_| Ok(begun.keep()?)).await,
        Err(why) => {
            let restored = tools.look(|_| Ok(begun.roll_back()?)).await;
            tell(tools, restored.map_err(|error| both(&why, &error))?).await;
            Err(why)
        }
    }
}

/// Does what `.replit` wants done after an installation. Not in its turn: it may well be the project's own server.
async fn after_install(Managed { tools, after_install, .. }: &Managed) -> Result<()> {
    let Some(command) = after_install.as_ref().filter(|command| !command.is_empty()) else { return Ok(()) };
    let args: Vec<_> = command.args.iter().map(Into::into).collect();
    let env: Vec<_> = command.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let done = tools.run_with(&args, &env).await;
    done.map_err(|error| {
        Error::new(format!("packager: the packages are installed, but afterInstall of .replit: {error}"))
    })
}

impl Turns {
    /// Waits until nobody else changes packages, and says for whom.
    async fn change(&self, tools: &Tools) -> Result<SemaphorePermit<'_>> {
        if let Ok(turn) = self.change.try_acquire() {
            return Ok(turn);
        }
        let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((what, since)) = doing {
            let seconds = since.elapsed().as_secs();
            tools.print(format!("Waiting for {what} of packages that has begun {seconds} s ago.\n")).await;
        }
        tools.turn(&self.change).await
    }
}

/// While this lives, who waits is told what for.
struct Doing<'a>(&'a Turns);

impl<'a> Doing<'a> {
    fn begin(turns: &'a Turns, what: &str) -> Self {
        *turns.doing.lock().unwrap_or_else(PoisonError::into_inner) = Some((what.to_owned(), Instant::now()));
        Doing(turns)
    }
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        *self.0.doing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Says what was put back, to whoever is still here and to the log.
async fn tell(tools: &Tools, restored: Vec<Restored>) {
    for Restored { path, replaced } in restored {
        let path = printable(&path.to_string_lossy());
        tracing::warn!(path, %replaced, "a change of packages has failed: a file is put back");
        let text = match replaced {
            Replaced::Nothing => "is as it was before".to_owned(),
            Replaced::Stays => {
                "was edited meanwhile and stays so: look at what it says of packages".to_owned()
            }
            Replaced::Kept(kept) => {
                let kept = printable(&kept.to_string_lossy());
                format!("is as it was before; what stood there instead is kept as {kept}")
            }
            Replaced::Lost(why) => {
                format!(
                    "is as it was before; what stood there instead could not be kept: {}",
                    printable(&why)
                )
            }
        };
        tools.print(format!("{path} {text}\n")).await;
    }
}

fn both(why: &Error, error: &Error) -> Error {
    Error::new(format!(
        "{why}; and what was there before is not back yet, the next change or start of the agent tries again: {error}"
    ))
}
