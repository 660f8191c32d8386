//! A change of the workspace's packages: one at a time, with snapshots held off, and whole or not at all.

use std::path::Path;

use pid1_sdk::api::Package;
use pid1_sdk::error::printable;
use pid1_sdk::workspace::{Replaced, Restored};
use pid1_sdk::{Error, Result, limits};
use tokio::sync::Semaphore;

use crate::ecosystem::Work;
use crate::request::{Managed, shown};
use crate::tools::stopped;

/// The lock that holds snapshots off, and whom people see as its holder.
const LOCK: &str = "packager";

/// Whose turn it is, for the whole agent.
pub(crate) struct Turns {
    change: Semaphore,
    pub(crate) lookups: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Turns { change: Semaphore::new(1), lookups: Semaphore::new(limits::PACKAGE_LOOKUPS) }
    }
}

/// Adds packages.
pub(crate) async fn add(managed: &Managed, packages: &[Package]) -> Result<()> {
    let tools = &managed.tools;
    change(managed, true, || tools.ecosystem.add(tools, packages)).await
}

/// Removes packages; an error if the specfile does not name one of them.
pub(crate) async fn remove(managed: &Managed, packages: &[Package]) -> Result<()> {
    let tools = &managed.tools;
    let ecosystem = tools.ecosystem;
    let remove = || -> Work<'_, ()> {
        Box::pin(async move {
            let listed = tools.look(move |workspace| ecosystem.list(workspace)).await?;
            let names: Vec<_> = listed.iter().map(|one| ecosystem.plain_name(&one.name)).collect();
            if let Some(unknown) =
                packages.iter().find(|one| !names.contains(&ecosystem.plain_name(&one.name)))
            {
                let unknown = shown(unknown);
                return Err(Error::new(format!("packager: the project's specfile does not name {unknown}")));
            }
            ecosystem.remove(tools, packages).await
        })
    };
    change(managed, false, remove).await
}

/// Installs what specfile and lock file name.
pub(crate) async fn install(managed: &Managed) -> Result<()> {
    let tools = &managed.tools;
    change(managed, true, || tools.ecosystem.install(tools)).await
}

/// Does `work` when it is its turn, and what `.replit` wants done after an installation.
async fn change<'a>(managed: &'a Managed, installs: bool, work: impl FnOnce() -> Work<'a, ()>) -> Result<()> {
    let Managed { tools, after_install, .. } = managed;
    let turns = tools.engine.shared::<Turns>();
    let _turn = tokio::select! {
        turn = turns.change.acquire() => turn.map_err(|_| stopped())?,
        () = tools.closed.cancelled() => return Err(stopped()),
    };
    let _lock = tools.engine.snapshots().take(LOCK, "packager3").map_err(|error| {
        Error::new(format!("packager: nothing is changed now, because snapshots are held off: {error}"))
    })?;
    let files: Vec<_> = tools.ecosystem.files().iter().map(|file| Path::new(*file)).collect();
    let begun = tools.look(move |workspace| {
        // Of a change that could not be put back when it failed.
        workspace.roll_back_left()?;
        Ok(workspace.begin_change(&files)?)
    });
    let begun = begun.await?;
    match work().await {
        Ok(()) => tools.look(|_| Ok(begun.keep()?)).await?,
        Err(why) => {
            for restored in
                tools.look(|_| Ok(begun.roll_back()?)).await.map_err(|error| both(&why, &error))?
            {
                tools.print(told(&restored)).await;
            }
            return Err(why);
        }
    }
    match after_install {
        Some(command) if installs && !command.is_empty() => {
            let args: Vec<_> = command.args.iter().map(Into::into).collect();
            let env: Vec<_> = command.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
            let done = tools.run_with(&args, &env).await;
            done.map_err(|error| {
                Error::new(format!(
                    "packager: the packages are installed, but afterInstall of .replit: {error}"
                ))
            })
        }
        _ => Ok(()),
    }
}

/// What has happened to a file that was put back.
fn told(Restored { path, replaced }: &Restored) -> String {
    let path = printable(&path.to_string_lossy());
    let instead = match replaced {
        Replaced::Nothing => String::new(),
        Replaced::Kept(kept) => {
            format!("; what stood there instead is kept as {}", printable(&kept.to_string_lossy()))
        }
        Replaced::Lost(why) => format!("; what stood there instead could not be kept: {}", printable(why)),
    };
    format!("{path} is as it was before{instead}\n")
}

fn both(why: &Error, error: &Error) -> Error {
    Error::new(format!(
        "{why}; and what was there before is not back yet, the agent's next start tries again: {error}"
    ))
}
