//! The repository keeps to its own rules: the code map is complete, files stay small and say what they are
//! for, unsafe code and globals stay where they are allowed, nothing names the machine it was written on.
//!
//! What a compiler or clippy can hold is in `clippy.toml`. Every failure names the files and what to do about
//! them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Made by git, by tools, or by an agent that runs here; nobody writes in them.
const SKIPPED: &[&str] = &[".git", "target", "node_modules", "dist", ".pid1", "found", "artifacts"];
/// A file that needs more has more than one subject.
const MAX_LINES: usize = 400;
/// As many files may hold unsafe code: what they do can then be reviewed in one sitting.
const MAX_UNSAFE_FILES: usize = 2;
/// Cargo writes this for the default registry; any other host in a lock file is somebody's private mirror.
const DEFAULT_INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";
const REGISTRY_HOSTS: &[&str] =
    &["crates.io", "registry.npmjs.org", "pypi.org", "files.pythonhosted.org", "proxy.golang.org"];
/// Folders that stand for themselves in documentation and tests, so naming one tells nothing about a machine.
const COMMON_FOLDERS: &[&str] =
    &["/", "/app", "/build", "/home", "/opt", "/root", "/src", "/tmp", "/usr/src", "/workspace"];

#[test]
fn code_map_is_complete() {
    let map = code_map();
    let expected = [
        folders_of(""),
        folders_of("services"),
        folders_of("src"),
        files_of("src").filter(|path| path.ends_with(".rs")).collect(),
    ];
    let missing: Vec<_> = expected.into_iter().flatten().filter(|path| !map.contains(path)).collect();
    assert!(missing.is_empty(), "name these in the code map of ARCHITECTURE.md: {missing:#?}");
}

#[test]
fn code_map_names_only_what_exists() {
    let stale: Vec<_> = code_map().into_iter().filter(|path| !root().join(path).exists()).collect();
    assert!(stale.is_empty(), "the code map of ARCHITECTURE.md names what is not there: {stale:#?}");
}

#[test]
fn every_service_has_a_readme() {
    let bare: Vec<_> = folders_of("services")
        .into_iter()
        .filter(|folder| !root().join(folder).join("README.md").is_file())
        .collect();
    assert!(bare.is_empty(), "add a README.md to {bare:#?}");
}

#[test]
fn source_files_are_short() {
    let long: Vec<_> = sources(&["rs", "ts", "tsx", "js", "mjs", "css"])
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "split these, each has more than {MAX_LINES} lines: {long:#?}");
}

#[test]
fn rust_files_say_what_they_are_for() {
    let silent: Vec<_> =
        sources(&["rs"]).filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "begin these with //! and what they are for: {silent:#?}");
}

#[test]
fn unsafe_code_stays_in_few_files() {
    let files: Vec<_> = sources(&["rs"])
        .filter(|(path, text)| !is_this_file(path) && text.lines().any(holds_unsafe))
        .map(|(path, _)| path)
        .collect();
    assert!(
        files.len() <= MAX_UNSAFE_FILES,
        "at most {MAX_UNSAFE_FILES} files may hold unsafe code: {files:#?}"
    );
}

/// A static that can change is state that no test can have to itself and no shutdown ends.
#[test]
fn there_are_no_globals() {
    let globals: Vec<_> = sources(&["rs"])
        .filter(|(path, _)| path.starts_with("src/") || path.starts_with("services/"))
        .flat_map(|(path, text)| {
            let found: Vec<_> = text.lines().filter(|line| is_global(line)).map(str::to_owned).collect();
            found.into_iter().map(move |line| (path.clone(), line))
        })
        .collect();
    assert!(globals.is_empty(), "make these in Agent and pass them on: {globals:#?}");
}

#[test]
fn nothing_names_a_registry_host() {
    let found: Vec<_> = texts()
        .filter(|(path, _)| !is_this_file(path))
        .filter_map(|(path, text)| {
            let text = text.replace(DEFAULT_INDEX, "");
            let host = REGISTRY_HOSTS.iter().find(|host| text.contains(**host))?;
            Some((path, *host))
        })
        .collect();
    assert!(found.is_empty(), "leave the registry to each machine's own settings: {found:#?}");
}

/// Mirrors have names that no list can hold, but lock files have only these two places for them.
#[test]
fn lock_files_name_no_mirror() {
    let found: Vec<_> = texts()
        .filter(|(path, text)| {
            (path.ends_with("package-lock.json") && text.contains("\"resolved\": \"http"))
                || (path.ends_with("Cargo.lock")
                    && text.replace(DEFAULT_INDEX, "").contains("source = \"registry+"))
        })
        .map(|(path, _)| path)
        .collect();
    assert!(found.is_empty(), "write these again without a mirror: {found:#?}");
}

#[test]
fn nothing_names_this_machine() {
    let mut folders = vec![root().to_path_buf()];
    folders.extend(root().parent().map(Path::to_path_buf));
    folders.extend(env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    folders.retain(|folder| !COMMON_FOLDERS.iter().any(|common| folder == Path::new(common)));

    let found: Vec<_> = texts()
        .filter_map(|(path, text)| {
            let folder = folders.iter().find(|folder| names_folder(&text, &folder.display().to_string()))?;
            Some((path, folder.clone()))
        })
        .collect();
    assert!(found.is_empty(), "paths of one machine mean nothing on the next: {found:#?}");
}

#[test]
fn the_checks_themselves_see_what_they_look_for() {
    assert!(holds_unsafe("    let pid = unsafe { spawn() };") && holds_unsafe("unsafe impl Send for Fds {}"));
    assert!(!holds_unsafe("// not unsafe { at all }") && !holds_unsafe("#![deny(unsafe_code)]"));
    assert!(
        is_global("pub(crate) static NEXT: AtomicU64 = AtomicU64::new(1);")
            && is_global("static mut N: u8 = 0;")
    );
    assert!(!is_global("pub const NAME: &str = \"static\";") && !is_global("static NAMES: &[&str] = &[];"));
    assert!(names_folder("see /checkout/here.", "/checkout") && !names_folder("a/checkout/b", "/checkout"));
    assert!(!names_folder("/checkouts", "/checkout"));
}

fn holds_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern", "#[unsafe("]
        .iter()
        .any(|form| code.contains(form))
}

fn is_global(line: &str) -> bool {
    let code = line.trim_start();
    let item =
        code.strip_prefix("pub").map_or(code, |rest| rest.split_once(' ').map_or("", |(_, item)| item));
    let Some(item) = item.strip_prefix("static ") else { return false };
    ["mut ", "Atomic", "Mutex", "RwLock", "Once", "Lazy", "Cell"].iter().any(|mark| item.contains(mark))
}

/// Whether `text` has this path, and not only its letters within another path or word.
fn names_folder(text: &str, folder: &str) -> bool {
    let pieces: Vec<_> = text.split(folder).collect();
    pieces.windows(2).any(|pair| {
        !pair[0].ends_with(|c: char| c.is_alphanumeric() || "_-./{}$".contains(c))
            && !pair[1].starts_with(|c: char| c.is_alphanumeric() || "_-".contains(c))
    })
}

/// The paths in backticks of the section "Code map", without a closing slash. A word with a slash is a path.
fn code_map() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let (_, section) =
        text.split_once("\n## Code map\n").expect("ARCHITECTURE.md has a section \"## Code map\"");
    let section = section.split("\n## ").next().unwrap_or(section);
    // Odd pieces are what stands between backticks.
    section
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains('/'))
        .map(|path| path.trim_end_matches('/').to_owned())
        .collect()
}

fn folders_of(folder: &str) -> Vec<String> {
    entries_of(folder).into_iter().filter(|path| root().join(path).is_dir()).collect()
}

fn files_of(folder: &str) -> impl Iterator<Item = String> {
    entries_of(folder).into_iter().filter(|path| root().join(path).is_file())
}

/// What a folder holds, as sorted paths below the root, without what is skipped.
fn entries_of(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return Vec::new() };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !SKIPPED.contains(&name.as_str()))
        .map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") })
        .collect();
    paths.sort();
    paths
}

/// Every text file with its content; what is not UTF-8 is no text.
fn texts() -> impl Iterator<Item = (String, String)> {
    let (mut files, mut folders) = (Vec::new(), vec![String::new()]);
    while let Some(folder) = folders.pop() {
        folders.extend(folders_of(&folder));
        files.extend(files_of(&folder));
    }
    files.into_iter().filter_map(|path| {
        let text = fs::read_to_string(root().join(&path)).ok()?;
        Some((path, text))
    })
}

fn sources(extensions: &[&str]) -> impl Iterator<Item = (String, String)> {
    texts().filter(move |(path, _)| {
        Path::new(path).extension().is_some_and(|have| extensions.iter().any(|want| have == *want))
    })
}

/// This file spells out what it looks for.
fn is_this_file(path: &str) -> bool {
    path == "tests/tidy.rs"
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
