//! From a request to its answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use pid1_sdk::api::{
    Ok as Done, Package, PackageAddResponse, PackageInfoResp, PackageInstallResponse, PackageSearchResp,
    command::Body,
};
use pid1_sdk::channel::Audience;
use pid1_sdk::engine::Engine;
use pid1_sdk::error::printable;
use pid1_sdk::project::{CommandLine, LANGUAGES, Language};
use pid1_sdk::{Error, Result, SessionId, limits, unsupported};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ecosystem::{self, Ecosystem};
use crate::tools::Tools;
use crate::{Event, change, imports, lookup};

/// Whoever has asked, and what it takes to answer.
pub(crate) struct Asker {
    pub(crate) engine: Arc<Engine>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) audience: Arc<Audience>,
    pub(crate) closed: CancellationToken,
    pub(crate) session: SessionId,
}

/// The workspace's packages, as `.replit` and its files have it.
pub(crate) struct Managed {
    pub(crate) tools: Tools,
    /// What runs when something has been installed.
    pub(crate) after_install: Option<CommandLine>,
    /// What is not installed because it is imported, and where imports are not looked for.
    pub(crate) ignored_packages: Vec<String>,
    pub(crate) ignored_paths: Vec<String>,
}

impl Asker {
    /// What the specfile names.
    pub(crate) async fn list(self) -> Result<Vec<Package>> {
        let Managed { tools, .. } = self.managed(None).await?;
        let ecosystem = tools.ecosystem;
        tools.look(move |workspace| ecosystem.list(workspace)).await
    }

    /// Does what is asked for.
    pub(crate) async fn answer(self, body: Body) -> Result<Body> {
        match body {
            Body::PackageSearch(search) => {
                let managed = self.managed(None).await?;
                let (results, hint) = lookup::search(&managed.tools, search.query.trim()).await?;
                if let Some(hint) = hint {
                    let _ = self.events.send(Event::Hint(self.session, hint)).await;
                }
                Ok(Body::PackageSearchResp(PackageSearchResp { results }))
            }
            Body::PackageInfo(info) => {
                let Managed { tools, .. } = self.managed(None).await?;
                let pkg = lookup::info(&tools, info.pkg.unwrap_or_default()).await?;
                Ok(Body::PackageInfoResp(PackageInfoResp { pkg: Some(pkg) }))
            }
            Body::PackageAdd(add) => {
                let managed = self.managed(None).await?;
                let packages = checked(managed.tools.ecosystem, add.pkgs)?;
                change::add(&managed, &packages).await?;
                Ok(match add.use_new_response {
                    true => Body::PackageAddResponse(PackageAddResponse::default()),
                    false => Body::Ok(Done {}),
                })
            }
            Body::PackageRemove(remove) => {
                let managed = self.managed(None).await?;
                let packages = checked(managed.tools.ecosystem, remove.pkgs)?;
                change::remove(&managed, &packages).await?;
                Ok(Body::Ok(Done {}))
            }
            Body::PackageInstall(install) => {
                let managed = self.managed(None).await?;
                let began = Instant::now();
                change::install(&managed).await?;
                let total_duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
                Ok(match install.use_new_response {
                    true => Body::PackageInstallResponse(PackageInstallResponse {
                        total_duration_ms,
                        ..PackageInstallResponse::default()
                    }),
                    false => Body::Ok(Done {}),
                })
            }
            Body::PackageCacheSave(_) => {
                // Packages and what was downloaded for them are files of this machine.
                let (snapshots, engine) = (self.engine.snapshots(), &self.engine);
                let saved = snapshots.save(engine.workspace(), engine.runtimes()).await;
                saved.map_err(|error| Error::new(error.to_string()))?;
                Ok(Body::Ok(Done {}))
            }
            Body::EnsurePackages(ensure) => {
                let file = ensure.file.filter(|file| !file.path.is_empty());
                let language = file.as_ref().and_then(|file| Language::of_file(file.path.as_ref()));
                let managed = self.managed(language).await?;
                imports::ensure(&managed, file, ensure.install).await?;
                Ok(Body::Ok(Done {}))
            }
            other => unsupported(&other),
        }
    }

    /// The workspace's package manager; of its part in `language`, if that is given.
    async fn managed(&self, language: Option<&'static Language>) -> Result<Managed> {
        let engine = self.engine.clone();
        let packaging = self.engine.runtimes().file_work(move || engine.project().packaging(language)).await;
        let packaging = packaging.unwrap_or_else(|| Err(Error::new("packager: the agent is ending")))?;
        let Some(language) = packaging.language else {
            let mut known: Vec<_> = managed_languages().flat_map(|(_, files)| files).copied().collect();
            known.dedup();
            return Err(Error::new(format!(
                "packager: the workspace's language is not known: write language = \"…\" into .replit, or begin with one of \
                 {}",
                known.join(", ")
            )));
        };
        let ecosystem = language.packager.as_ref().and_then(|packager| ecosystem::find(packager.name));
        let ecosystem = ecosystem.ok_or_else(|| {
            let known: Vec<_> = managed_languages().map(|(title, _)| title).collect();
            let (title, known) = (language.title, known.join(", "));
            Error::new(format!(
                "packager: packages of {title} are not managed here yet, those of {known} are"
            ))
        })?;
        let tools = Tools {
            engine: self.engine.clone(),
            ecosystem,
            env: packaging.env,
            events: self.events.clone(),
            audience: self.audience.clone(),
            closed: self.closed.clone(),
        };
        Ok(Managed {
            tools,
            after_install: packaging.section.after_install,
            ignored_packages: packaging.section.ignored_packages,
            ignored_paths: packaging.section.ignored_paths,
        })
    }
}

/// The languages whose packages are managed, by title, and their specfiles.
fn managed_languages() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    LANGUAGES.iter().filter_map(|language| {
        let packager = language.packager.as_ref()?;
        ecosystem::find(packager.name).map(|_| (language.title, packager.files))
    })
}

/// Packages with names and specs that can be meant as such.
pub(crate) fn checked(ecosystem: &dyn Ecosystem, packages: Vec<Package>) -> Result<Vec<Package>> {
    let most = limits::PACKAGES_AT_ONCE;
    if packages.is_empty() || packages.len() > most {
        return Err(Error::new(format!(
            "packager: a request names 1 to {most} packages, this one {}",
            packages.len()
        )));
    }
    let most = limits::PACKAGE_WORD_BYTES;
    let check = |package: Package| {
        let name = package.name.trim().to_owned();
        let package = Package { name, spec: package.spec.trim().to_owned(), ..package };
        let checked = match package.name.len().max(package.spec.len()) > most {
            true => Err(format!("name and version have at most {most} bytes each")),
            false => ecosystem.check(&package),
        };
        match checked {
            Ok(()) => Ok(package),
            Err(why) => Err(Error::new(format!("packager: {} cannot be a package: {why}", shown(&package)))),
        }
    };
    let packages: Vec<_> = packages.into_iter().map(check).collect::<Result<_>>()?;
    let mut names = HashSet::new();
    match packages.iter().find(|package| !names.insert(ecosystem.plain_name(&package.name))) {
        Some(twice) => Err(Error::new(format!("packager: the request names {} twice", shown(twice)))),
        None => Ok(packages),
    }
}

/// A package as people would write it, not too long.
pub(crate) fn shown(Package { name, spec, .. }: &Package) -> String {
    const LONG: usize = 80;
    let text = if spec.is_empty() { format!("{name:?}") } else { format!("{name:?} {spec:?}") };
    printable(&text.chars().take(LONG).collect::<String>())
}
