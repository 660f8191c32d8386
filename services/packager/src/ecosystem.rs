//! What differs between Python, Node and Rust: one file each. Another is a file here, a line in [`ECOSYSTEMS`] and the
//! `packager` of its language in `services/sdk/src/project/languages`.

mod node;
mod python;
mod rust;

use futures_util::future::BoxFuture;
use pid1_sdk::Result;
use pid1_sdk::api::Package;
use pid1_sdk::workspace::Workspace;

use crate::imports::Finder;
use crate::tools::Tools;

/// All, by the name that languages have for them.
const ECOSYSTEMS: &[(&str, &dyn Ecosystem)] =
    &[("pip", &python::Python), ("npm", &node::Node), ("cargo", &rust::Rust)];

/// The ecosystem of this name.
pub(crate) fn find(name: &str) -> Option<&'static dyn Ecosystem> {
    ECOSYSTEMS.iter().find(|(known, _)| *known == name).map(|(_, ecosystem)| *ecosystem)
}

/// What works at the moment.
pub(crate) type Work<'a, T> = BoxFuture<'a, Result<T>>;

/// Where packages come from, and the tools that get them. Boxed futures, because which one it is is known only when a
/// workspace is looked at.
///
/// `add`, `remove` and `install` run while nobody else changes the workspace's packages, and these files are put back if
/// they fail: they need not clean up there.
pub(crate) trait Ecosystem: Sync {
    /// Specfiles at the root that its tools write when packages are added or removed.
    fn specfiles(&self) -> &'static [&'static str];

    /// Lock files at the root, which its tools write at any time.
    fn locks(&self) -> &'static [&'static str];

    /// Variables of its tools, so that they ask nothing and print no bars.
    fn env(&self) -> &'static [(&'static str, &'static str)];

    /// What to do where this program is missing.
    fn advice(&self, program: &str) -> &'static str;

    /// The package's name as it is compared with others.
    fn plain_name(&self, name: &str) -> String;

    /// Whether `name` and `spec` can be meant as a package and a version of it, and nothing that a tool would take for an
    /// option or a path.
    ///
    /// # Errors
    /// With what they should look like.
    fn check(&self, package: &Package) -> Result<(), String>;

    /// What the specfile names: name and spec.
    ///
    /// # Errors
    /// If it cannot be read, or is wrong.
    fn list(&self, workspace: &Workspace) -> Result<Vec<Package>>;

    /// Adds packages to the specfile and the lock file, and installs them.
    fn add<'a>(&'a self, tools: &'a Tools, packages: &'a [Package]) -> Work<'a, ()>;

    /// Removes packages, which the specfile names.
    fn remove<'a>(&'a self, tools: &'a Tools, packages: &'a [Package]) -> Work<'a, ()>;

    /// Installs what specfile and lock file name.
    fn install<'a>(&'a self, tools: &'a Tools) -> Work<'a, ()>;

    /// Asks the registry's own search. An error if there is none, with the reason.
    fn search<'a>(&'a self, tools: &'a Tools, query: &'a str) -> Work<'a, Vec<Package>>;

    /// How imports of its sources are found, if they are.
    fn imports(&self) -> Option<&'static Finder> {
        None
    }

    /// What the registry knows of one package; `None` if there is no such package.
    fn info<'a>(&'a self, tools: &'a Tools, name: &'a str) -> Work<'a, Option<Package>>;
}

/// A package of which name and spec are known.
pub(crate) fn package(name: impl Into<String>, spec: impl Into<String>) -> Package {
    Package { name: name.into(), spec: spec.into(), ..Package::default() }
}

/// The spec, unless it stands for any version.
pub(crate) fn wanted(spec: &str) -> Option<&str> {
    let spec = spec.trim();
    (!["", "*", "latest"].contains(&spec)).then_some(spec)
}
