//! Python: uv where a project is uv's or uv is there, else pip; requirements.txt or pyproject.toml.
//!
//! Packages go into the environment that `VIRTUAL_ENV` names, if it is there or in the workspace, else into `.venv` or `venv`.
//! If there is none it is made. Runs of the project find it ([`bin`](pid1_sdk::project::Language::bin)).

mod environment;
mod lookup;
mod pyproject;
mod requirement;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use pid1_sdk::api::Package;
use pid1_sdk::error::printable;
use pid1_sdk::workspace::Workspace;
use pid1_sdk::{Error, Result};

use super::{Ecosystem, Work, wanted};
use crate::imports::Finder;
use crate::tools::{Tools, text};
use environment::{environment, named_environment};
use pyproject::{Kind, PYPROJECT};
use requirement::REQUIREMENTS;

/// Files of tools that are not driven here: what is done beside them would make them wrong.
const OTHERS: [(&str, &str); 4] =
    [("poetry.lock", "poetry"), ("pdm.lock", "pdm"), ("Pipfile.lock", "pipenv"), ("Pipfile", "pipenv")];

/// What else requirements.txt says, while pip adds to it: beside it, since its lines may name files from there.
const OTHER_REQUIREMENTS: &str = ".pid1-requirements.txt";

/// Prints the versions of the packages that are its arguments, `null` for one that is not here. Looked for among all, since
/// older Pythons find only names that are written as they are.
const VERSIONS: &str = "import sys, json, re, importlib.metadata as m
plain = lambda name: re.sub('[-_.]+', '-', name or '').lower()
here = {plain(d.metadata['Name']): d.version for d in m.distributions()}
print(json.dumps([here.get(plain(name)) for name in sys.argv[1:]]))";

/// Over the workspace's variables: into its environment, not its user's folder.
const HERE: [(&str, &str); 1] = [("PIP_USER", "0")];

static IMPORTS: Finder = Finder {
    command: &["python3", "-I", "-S", "-c"],
    text: include_str!("../imports/python.py"),
    names: include_str!("../imports/python.toml"),
    dotted: true,
};

pub(super) struct Python;

/// Who keeps the specfile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// uv keeps pyproject.toml and uv.lock.
    Uv,
    /// We keep `project.dependencies`.
    Pyproject,
    /// We keep requirements.txt.
    Requirements,
}

impl Ecosystem for Python {
    fn specfiles(&self) -> &'static [&'static str] {
        // uv writes the first, and of the other nothing is to be left. requirements.txt is written here only, in one step and
        // the last one.
        &[PYPROJECT, OTHER_REQUIREMENTS]
    }

    fn locks(&self) -> &'static [&'static str] {
        &["uv.lock"]
    }

    fn env(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_NO_INPUT", "1"),
            ("PIP_PROGRESS_BAR", "off"),
            ("UV_NO_PROGRESS", "1"),
            // Output comes when it is printed, on a pipe, too.
            ("PYTHONUNBUFFERED", "1"),
        ]
    }

    fn advice(&self, program: &str) -> &'static str {
        match program {
            "uv" => {
                "this project is uv's: install it with python3 -m pip install uv, and have its folder in PATH"
            }
            _ => "put the packages python3, python3-pip and python3-venv into the image, or uv",
        }
    }

    fn imports(&self) -> Option<&'static Finder> {
        Some(&IMPORTS)
    }

    fn plain_name(&self, name: &str) -> String {
        requirement::plain_name(name)
    }

    fn check(&self, Package { name, spec, .. }: &Package) -> Result<(), String> {
        match requirement::split(name) {
            Some(split) if split.spec.is_empty() && !name.contains(char::is_control) => {}
            _ => return Err("a package of Python is called such as requests or uvicorn[standard]".to_owned()),
        }
        let Some(spec) = wanted(spec) else { return Ok(()) };
        let good = spec.starts_with(|c: char| c.is_ascii_digit() || "=<>!~@;".contains(c));
        if !good || spec.contains(char::is_control) {
            return Err("a version of a package is such as ==1.2.3, >=1,<2 or ~=1.4".to_owned());
        }
        Ok(())
    }

    fn list(&self, workspace: &Workspace) -> Result<Vec<Package>> {
        Ok(listed(workspace)?.into_iter().map(|(package, _)| package).collect())
    }

    fn add<'a>(&'a self, tools: &'a Tools, packages: &'a [Package]) -> Work<'a, ()> {
        Box::pin(async move {
            let requirements: Vec<_> = packages.iter().map(as_requirement).collect();
            let keeper = keeper(tools).await?;
            if keeper == Keeper::Uv {
                return uv(
                    tools,
                    ["uv", "add", "--"].into_iter().chain(requirements.iter().map(String::as_str)),
                )
                .await;
            }
            let file = keeper.specfile();
            let text = tools.text(file).await?.unwrap_or_default();
            // What cannot be written down is not installed.
            keeper.with(&text, &requirements)?;
            let others = keeper.without(&text, &plain_names(packages))?;
            let python = environment(tools).await?;
            // With what else is wanted: together they must go.
            match keeper {
                Keeper::Requirements if requirement::says_anything(&others) => {
                    // An index may stand there with its password.
                    tools.make(OTHER_REQUIREMENTS, others, 0o600).await?;
                    let beside = ["--requirement", OTHER_REQUIREMENTS].map(str::to_owned);
                    let installed = install(tools, &python, &[&requirements[..], &beside].concat()).await;
                    let removed =
                        tools.look(|workspace| match workspace.remove(Path::new(OTHER_REQUIREMENTS)) {
                            Err(error) if !error.is_not_found() => Err(error.into()),
                            _ => Ok(()),
                        });
                    let removed = removed.await;
                    installed.and(removed)?;
                }
                Keeper::Requirements => install(tools, &python, &requirements).await?,
                _ => {
                    let all = [requirements, pyproject::main(&others)?].concat();
                    install(tools, &python, &all).await?;
                }
            }
            let pinned = pinned(tools, &python, packages).await?;
            let wanted = pinned.clone();
            tools.edit(file, move |old| keeper.with(old, &wanted)).await?;
            tools.print(format!("{file}: {}\n", pinned.join(", "))).await;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, tools: &'a Tools, packages: &'a [Package]) -> Work<'a, ()> {
        Box::pin(async move {
            let keeper = keeper(tools).await?;
            let names = plain_names(packages);
            if keeper == Keeper::Uv {
                // uv is told which section; one that stands in two is removed from both.
                for (entry, section) in tools.look(listed).await? {
                    if names.contains(&self.plain_name(&entry.name)) {
                        let flags = section.into_iter();
                        let args = ["uv", "remove"].map(str::to_owned).into_iter().chain(flags);
                        uv(tools, args.chain(["--".to_owned(), self.plain_name(&entry.name)])).await?;
                    }
                }
                return Ok(());
            }
            let python = environment(tools).await?;
            let uv = ["uv", "pip", "uninstall", "--python", &python, "--"];
            let pip = [python.as_str(), "-m", "pip", "uninstall", "--yes", "--"];
            let words = if tools.has("uv") { uv } else { pip };
            run_pip(tools, &python, words.into_iter().chain(names.iter().map(String::as_str))).await?;
            tools.edit(keeper.specfile(), move |old| keeper.without(old, &names)).await
        })
    }

    fn install<'a>(&'a self, tools: &'a Tools) -> Work<'a, ()> {
        Box::pin(async move {
            let keeper = keeper(tools).await?;
            if keeper == Keeper::Uv {
                return uv(tools, ["uv", "sync"]).await;
            }
            let file = keeper.specfile();
            let Some(text) = tools.text(file).await? else {
                tools.print(format!("There is no {file}: nothing to install.\n")).await;
                return Ok(());
            };
            let requirements = match keeper {
                Keeper::Requirements => vec!["--requirement".to_owned(), REQUIREMENTS.to_owned()],
                _ => pyproject::main(&text)?,
            };
            if requirements.is_empty() {
                tools.print(format!("{file} names no packages: nothing to install.\n")).await;
                return Ok(());
            }
            let python = environment(tools).await?;
            install(tools, &python, &requirements).await
        })
    }

    fn search<'a>(&'a self, _tools: &'a Tools, _query: &'a str) -> Work<'a, Vec<Package>> {
        Box::pin(async { Err(Error::new("PyPI has none")) })
    }

    fn info<'a>(&'a self, tools: &'a Tools, name: &'a str) -> Work<'a, Option<Package>> {
        Box::pin(lookup::info(tools, name))
    }
}

impl Keeper {
    fn specfile(self) -> &'static str {
        if self == Keeper::Requirements { REQUIREMENTS } else { PYPROJECT }
    }

    /// The specfile's text with these.
    fn with(self, text: &str, requirements: &[String]) -> Result<String> {
        match self {
            Keeper::Requirements => requirement::with(text, requirements),
            _ => pyproject::with_dependencies(text, requirements),
        }
    }

    /// The specfile's text without the packages of these names.
    fn without(self, text: &str, names: &[String]) -> Result<String> {
        match self {
            Keeper::Requirements => Ok(requirement::without(text, names)),
            _ => pyproject::without_dependencies(text, names),
        }
    }
}

fn plain_names(packages: &[Package]) -> Vec<String> {
    packages.iter().map(|package| requirement::plain_name(&package.name)).collect()
}

async fn keeper(tools: &Tools) -> Result<Keeper> {
    let has_uv = tools.has("uv");
    tools.look(move |workspace| keeper_of(workspace, has_uv)).await
}

fn keeper_of(workspace: &Workspace, has_uv: bool) -> Result<Keeper> {
    let has = |file: &str| workspace.open_file(Path::new(file)).is_ok();
    if has("uv.lock") {
        return Ok(Keeper::Uv);
    }
    if let Some((lock, tool)) = OTHERS.into_iter().find(|(lock, _)| has(lock)) {
        return Err(Error::new(format!(
            "packager: {lock} is {tool}'s: change this project's packages with {tool}"
        )));
    }
    let project = match text(workspace, PYPROJECT)?.filter(|_| !has(REQUIREMENTS)) {
        Some(text) => pyproject::kind(&text)?,
        None => Kind::Settings,
    };
    if project == Kind::Poetry {
        return Err(Error::new(format!(
            "packager: the dependencies in {PYPROJECT} are poetry's: change this project's packages with poetry"
        )));
    }
    Ok(match (project == Kind::Project, has_uv) {
        (true, true) => Keeper::Uv,
        (true, false) => Keeper::Pyproject,
        (false, _) => Keeper::Requirements,
    })
}

/// The packages that the specfile names, and for uv the section of each.
fn listed(workspace: &Workspace) -> Result<Vec<(Package, Vec<String>)>> {
    match keeper_of(workspace, false) {
        Ok(Keeper::Requirements) => {
            let text = text(workspace, REQUIREMENTS)?.unwrap_or_default();
            Ok(requirement::listed(&text).into_iter().map(|package| (package, Vec::new())).collect())
        }
        // What others keep can be told, too.
        _ => {
            let text = text(workspace, PYPROJECT)?.unwrap_or_default();
            let all = pyproject::dependencies(&text)?;
            Ok(all.into_iter().map(|(package, section)| (package, section.flags)).collect())
        }
    }
}

/// Runs uv on the project, which has its own name for the environment.
async fn uv<A: AsRef<OsStr>>(tools: &Tools, args: impl IntoIterator<Item = A>) -> Result<()> {
    let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
    let env =
        named_environment(tools).map(|folder| ("UV_PROJECT_ENVIRONMENT".into(), folder.into_os_string()));
    tools.run_with(&args, &Vec::from_iter(env)).await
}

async fn install(tools: &Tools, python: &str, requirements: &[String]) -> Result<()> {
    let words: &[&str] = match tools.has("uv") {
        true => &["uv", "pip", "install", "--python", python],
        false => &[python, "-m", "pip", "install"],
    };
    run_pip(tools, python, words.iter().copied().chain(requirements.iter().map(String::as_str))).await
}

/// Runs pip, or uv in its place. An environment that has none, because whoever made it was killed or was uv, gets one.
async fn run_pip(tools: &Tools, python: &str, words: impl Iterator<Item = &str>) -> Result<()> {
    let args: Vec<_> = words.map(OsString::from).collect();
    let env = HERE.map(|(name, value)| (name.into(), value.into()));
    let failed = match tools.run_with(&args, &env).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let asked = tools.ask([python, "-c", "import pip"], &[], Vec::new()).await;
    if tools.has("uv") || asked.is_ok_and(|asked| asked.exit.success()) {
        return Err(failed);
    }
    tools.run([python, "-m", "ensurepip", "--upgrade"]).await?;
    tools.run_with(&args, &env).await
}

/// The requirements of what has been installed: as it was asked for, else with the version that was found, because there is
/// no lock file that would tell it.
async fn pinned(tools: &Tools, python: &str, packages: &[Package]) -> Result<Vec<String>> {
    let names = packages.iter().map(|package| requirement::plain_name(&package.name));
    let words = [python, "-I", "-c", VERSIONS].map(str::to_owned).into_iter();
    let asked = tools.ask(words.chain(names), &[], Vec::new()).await?;
    let versions: Vec<Option<String>> = serde_json::from_slice(&asked.stdout).map_err(|_| {
        let why = asked.stderr.lines().last().unwrap_or_default();
        Error::new(format!("packager: {} does not tell what is installed: {why}", printable(python)))
    })?;
    let pin = |(package, version): (&Package, Option<String>)| match (wanted(&package.spec), version) {
        (None, Some(version)) => format!("{}=={version}", package.name.replace(' ', "")),
        _ => as_requirement(package),
    };
    Ok(packages.iter().zip(versions).map(pin).collect())
}

/// As pip takes it.
fn as_requirement(Package { name, spec, .. }: &Package) -> String {
    let name = name.replace(' ', "");
    match wanted(spec) {
        Some(spec) if spec.starts_with(|c: char| c.is_ascii_digit()) => format!("{name}=={spec}"),
        Some(spec) if spec.starts_with('@') => format!("{name} {spec}"),
        Some(spec) => format!("{name}{spec}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::package;

    #[test]
    fn a_requirement_is_what_pip_understands() {
        for (name, spec, expected) in [
            ("six", "", "six"),
            ("six", "*", "six"),
            ("six", "1.16.0", "six==1.16.0"),
            ("six", ">=1,<2", "six>=1,<2"),
            ("a[b, c]", "~=1.4", "a[b,c]~=1.4"),
            ("a", "@ git+https://x/y", "a @ git+https://x/y"),
        ] {
            assert_eq!(Python.check(&package(name, spec)), Ok(()), "{name} {spec}");
            assert_eq!(as_requirement(&package(name, spec)), expected);
        }
        for (name, spec) in [
            ("", ""),
            ("-r", ""),
            ("./x", ""),
            ("a b", ""),
            ("a==1", ""),
            ("a", "^1"),
            ("a", "--x"),
            ("a", "=1\n2"),
        ] {
            assert!(Python.check(&package(name, spec)).is_err(), "{name:?} {spec:?}");
        }
    }
}
