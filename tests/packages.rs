//! Packages by the real package managers, where something goes wrong: the agent is killed, somebody edits meanwhile, there is
//! no network or no room, others come and go. On registries of the tests' own; those that everybody uses are asked by the
//! published client's suite.

mod crash;
mod edited;
mod full;
mod offline;
mod registry;
mod roles;
mod turns;

use std::fs;
use std::path::{Path, PathBuf};

use pid1_sdk::api::{Ok as Done, Package, PackageAdd, PackageListSpecfile, command::Body};

use crate::support::{Launch, Peer};
use registry::Registry;

const OK: Body = Body::Ok(Done {});

const MANIFEST: &str = "[package]\nname = \"x\" # ours\nversion = \"0.1.0\"\nedition = \"2021\"\n";

fn package(name: &str) -> Package {
    Package { name: name.to_owned(), ..Package::default() }
}

fn add(name: &str) -> Body {
    Body::PackageAdd(PackageAdd { pkgs: vec![package(name)], ..PackageAdd::default() })
}

/// Names of what the specfile has.
async fn list(peer: &mut Peer, channel: i32) -> Vec<String> {
    match peer.ask(channel, Body::PackageListSpecfile(PackageListSpecfile {})).await {
        Body::PackageListSpecfileResp(found) => found.pkgs.into_iter().map(|package| package.name).collect(),
        other => panic!("{other:?}"),
    }
}

/// A launch with the toolchain that builds the tests: its own home has none.
fn launch() -> Launch {
    let toolchain = Path::new(env!("CARGO")).parent().unwrap();
    Launch::new().env("PATH", &format!("{}:{}", toolchain.display(), std::env::var("PATH").unwrap()))
}

/// Puts these files, of these contents, into its workspace.
fn put(launch: &Launch, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = launch.home().join("root").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// A project of Rust whose packages come from this registry.
fn of_rust(registry: &Registry) -> Launch {
    let launch = launch();
    let config = format!(
        "[source.crates-io]\nreplace-with = \"ours\"\n[source.ours]\nregistry = \"sparse+{}/\"\n[net]\nretry = 0\n",
        registry.url()
    );
    let files =
        [("Cargo.toml", MANIFEST), ("src/main.rs", "fn main() {}\n"), (".cargo/config.toml", &config)];
    put(&launch, &files);
    launch
}

/// Whoever is at the root, in order.
fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What is in a file, if it is there.
fn text(path: PathBuf) -> Option<String> {
    fs::read_to_string(path).ok()
}
