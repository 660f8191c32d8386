//! The workspace on real folders: what leads out, what is in the way, and what is left of a write that fails.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::*;

mod own_folder;
mod rollback;

struct Files {
    folder: TempDir,
    workspace: Workspace,
}

impl std::ops::Deref for Files {
    type Target = Workspace;
    fn deref(&self) -> &Workspace {
        &self.workspace
    }
}

fn files() -> Files {
    files_with(false)
}

fn files_with(fsync: bool) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let (root, scratch) = (folder.path().join("root"), folder.path().join("scratch"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&scratch).unwrap();
    fs::write(folder.path().join("secret"), "outside").unwrap();
    let workspace = Workspace::open(WorkspaceConfig { root, scratch, fsync }).unwrap();
    Files { folder, workspace }
}

fn text<T>(result: Result<T>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

impl Files {
    fn put(&self, path: &str, content: &str) {
        self.write(Path::new(path), content.as_bytes()).unwrap();
    }

    fn read_text(&self, path: &str) -> Result<String> {
        self.read(Path::new(path), 1 << 20).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<_> = self
            .list(Path::new(path))
            .unwrap()
            .map(|entry| to_wire(&entry.unwrap().name).into_owned())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn what_is_written_is_read_listed_moved_and_removed() {
    for fsync in [false, true] {
        let files = files_with(fsync);
        files.put("a/b/c.txt", "one");
        files.put("a/b/c.txt", "two");
        assert_eq!(files.read_text("./a//b/c.txt").unwrap(), "two");
        assert_eq!(files.read_text(files.root().join("a/b/../b/c.txt").to_str().unwrap()).unwrap(), "two");
        files.make_folder(Path::new("a/d/e")).unwrap();
        files.make_folder(Path::new("a/d")).unwrap();
        assert_eq!(files.names("a"), ["b", "d"]);
        files.rename(Path::new("a/b"), Path::new("a/d/e/moved")).unwrap();
        assert_eq!(files.names("a/d/e/moved"), ["c.txt"]);
        for path in ["", "a", "a/d/e/moved/c.txt"] {
            files.sync(Path::new(path)).unwrap();
        }
        files.sync_all().unwrap();
        files.remove(Path::new("a")).unwrap();
        assert_eq!(files.names(""), [""; 0]);
        assert_eq!(files.stat(Path::new("a")).unwrap(), None);
    }
}

#[test]
fn errors_have_the_words_that_clients_look_for() {
    let files = files();
    files.put("file", "x");
    files.put("folder/inner", "x");
    symlink("none", files.root().join("dangling")).unwrap();
    let path = Path::new;
    let table = [
        (text(files.read_text("none")), "open none: no such file or directory"),
        (text(files.read_text("folder")), "open folder: is a directory"),
        (text(files.read_text("")), "open .: is a directory"),
        (text(files.read_text("file/x")), "open file/x: not a directory"),
        (text(files.write(path("folder"), b"")), "open folder: is a directory"),
        (text(files.write(path("file/x"), b"")), "open file/x: not a directory"),
        (text(files.write(path(""), b"")), "open .: is a directory"),
        (text(files.list(path("file"))), "open file: not a directory"),
        (text(files.list(path("none"))), "open none: no such file or directory"),
        (text(files.make_folder(path("file"))), "mkdir file: file exists"),
        (text(files.make_folder(path("file/x"))), "mkdir file/x: not a directory"),
        (text(files.remove(path("none"))), "remove none: no such file or directory"),
        (text(files.remove(path("."))), "remove .: that is the workspace itself"),
        (text(files.remove(path("folder/.."))), "remove folder/..: that is the workspace itself"),
        (text(files.rename(path("none"), path("x"))), "rename none x: no such file or directory"),
        (text(files.rename(path("."), path("x"))), "rename . x: that is the workspace itself"),
        (text(files.rename(path("file"), path("folder"))), "rename file folder: is a directory"),
        (text(files.rename(path("folder"), path("file"))), "rename folder file: not a directory"),
        (
            text(files.rename(path("folder"), path("folder/sub"))),
            "rename folder folder/sub: a folder cannot be moved into itself",
        ),
        (text(files.sync(path("none"))), "sync none: no such file or directory"),
        (text(files.sync(path("none/x"))), "sync none/x: no such file or directory"),
        (text(files.sync(path("file/x"))), "sync file/x: not a directory"),
        (text(files.sync(path("dangling"))), "sync dangling: no such file or directory"),
        (
            text(files.read(path("file"), 0)),
            "read file: it holds 1 bytes, which is more than the 0 that are given at once",
        ),
        (text(files.read_text("a\0b")), "open a b: invalid argument"),
        (text(files.read_text("file/..")), "open file/..: not a directory"),
        (text(files.write(path("file/../.."), b"")), "open file/../..: not a directory"),
    ];
    for (said, expected) in table {
        assert_eq!(said, expected);
    }
    files.make_folder(path("full/of")).unwrap();
    assert_eq!(text(files.rename(path("folder"), path("full"))), "rename folder full: file exists");
    assert!(text(files.read_text(&"x".repeat(300))).ends_with("file name too long"));
}

#[test]
fn nothing_leads_out() {
    let files = files();
    let outside = files.folder.path();
    fs::create_dir(outside.join("folder")).unwrap();
    files.make_folder(Path::new("in")).unwrap();
    symlink(outside.join("secret"), files.root().join("absolute")).unwrap();
    symlink("../secret", files.root().join("relative")).unwrap();
    symlink("../../folder", files.root().join("in/folder")).unwrap();
    symlink("relative", files.root().join("chain")).unwrap();
    symlink("within/../../secret", files.root().join("past")).unwrap();
    symlink("in", files.root().join("within")).unwrap();
    symlink("loop", files.root().join("loop")).unwrap();
    symlink("/proc/self/root", files.root().join("magic")).unwrap();
    for path in [
        "../secret",
        "in/../../secret",
        "/etc/passwd",
        "absolute",
        "relative",
        "chain",
        "past",
        "within/../../secret",
        "in/folder/x",
        "magic/x",
    ] {
        let path = Path::new(path);
        let attempts = [
            text(files.read(path, 100)),
            text(files.write(path, b"changed")),
            text(files.list(path)),
            text(files.sync(path)),
            text(files.rename(Path::new("in"), &path.join("x"))),
            text(files.make_folder(&path.join("x"))),
        ];
        for said in attempts {
            assert!(said.contains("leads out of the workspace"), "{}: {said:?}", path.display());
        }
    }
    assert!(
        text(files.read_text("chain")).contains("the link relative leads out of the workspace, to ../secret")
    );
    assert!(text(files.read_text("in/folder/x")).contains("the link in/folder leads out"));
    // Not the last that was followed: that one stays within.
    let said = text(files.read_text("past"));
    assert!(said.contains("the link past leads out of the workspace, to within/../../secret"), "{said}");
    let said = text(files.read_text("within/../../secret"));
    assert!(said.ends_with(": the path leads out of the workspace"), "{said}");
    assert!(text(files.read_text("loop")).contains("too many"));
    // Links themselves are in the workspace.
    assert_eq!(files.stat(Path::new("absolute")).unwrap().unwrap().kind, Kind::Link);
    files.rename(Path::new("absolute"), Path::new("other")).unwrap();
    for link in ["other", "relative", "chain", "past", "within", "in/folder", "loop", "magic"] {
        files.remove(Path::new(link)).unwrap();
    }
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "outside");
    assert!(
        outside.join("folder").exists() && fs::read_dir(outside.join("folder")).unwrap().next().is_none()
    );
}

#[test]
fn links_within_are_followed_also_absolute_ones() {
    let files = files();
    files.put("real/file", "x");
    let root = files.root().to_owned();
    symlink(root.join("real"), root.join("absolute")).unwrap();
    symlink("real/file", root.join("relative")).unwrap();
    symlink(root.join("absolute/file"), root.join("twice")).unwrap();
    symlink("new/file", root.join("dangling")).unwrap();
    for path in ["absolute/file", "relative", "twice", "absolute/../relative"] {
        assert_eq!(files.read_text(path).unwrap(), "x", "{path}");
    }
    assert_eq!(files.names("absolute"), ["file"]);
    files.put("absolute/made", "y");
    files.put("relative", "new");
    assert_eq!(fs::read_to_string(root.join("real/file")).unwrap(), "new");
    assert!(fs::symlink_metadata(root.join("relative")).unwrap().is_symlink());
    files.make_folder(Path::new("new")).unwrap();
    files.put("dangling", "z");
    assert_eq!(fs::read_to_string(root.join("new/file")).unwrap(), "z");
    files.remove(Path::new("absolute")).unwrap();
    assert_eq!(files.names("real"), ["file", "made"]);
}

#[test]
fn only_regular_files_are_opened() {
    let files = files();
    let fifo = files.root().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(files.root().join("socket")).unwrap();
    for path in ["fifo", "socket"].map(Path::new) {
        let special = "not a regular file";
        assert!(text(files.read(path, 100)).ends_with(special));
        assert!(text(files.write(path, b"x")).ends_with(special));
        assert!(files.read_now(path).is_none());
        assert_eq!(files.stat(path).unwrap().unwrap().kind, Kind::Special);
        files.remove(path).unwrap();
    }
}

#[test]
fn a_draft_that_is_dropped_or_refused_changes_nothing() {
    let files = files();
    files.put("file", "old");
    let mut draft = files.create(Path::new("file")).unwrap();
    draft.write_all(b"new").unwrap();
    drop(draft);
    let mut draft = files.create(Path::new("no/folder/yet")).unwrap();
    draft.write_all(b"new").unwrap();
    drop(draft);
    let mut draft = files.create(Path::new("file")).unwrap();
    draft.write_all(b"new").unwrap();
    let refused = draft.commit_if(|there| {
        assert_eq!(there.unwrap().size_bytes, 3);
        Err("it has changed".to_owned())
    });
    assert_eq!(text(refused), "write file: it has changed");
    assert_eq!(
        (files.read_text("file").unwrap().as_str(), files.names("")),
        ("old", vec!["file".to_owned()])
    );
    assert_eq!(fs::read_dir(files.root()).unwrap().count(), 1);
}

#[test]
fn what_a_check_is_against_does_not_happen() {
    let files = files();
    files.put("file", "old");
    files.put("other", "there");
    let path = Path::new("file");
    let refused = files.remove_if(path, |there| {
        assert_eq!((there.kind, there.size_bytes), (Kind::File, 3));
        Err("it has changed".to_owned())
    });
    assert_eq!(text(refused), "remove file: it has changed");
    assert_eq!(text(files.rename_new(path, Path::new("other"))), "rename file other: file exists");
    assert_eq!(files.names(""), ["file", "other"]);
    assert_eq!(files.create(path).unwrap().replaces().map(|old| old.size_bytes), Some(3));
    assert!(files.create(Path::new("new")).unwrap().replaces().is_none());
    files.make_folder(Path::new("a")).unwrap();
    let into_itself = text(files.rename_new(Path::new("a"), Path::new("a/b")));
    assert!(into_itself.ends_with("a folder cannot be moved into itself"), "{into_itself}");
    files.rename_new(path, Path::new("a/moved")).unwrap();
    let mut listing = files.list(Path::new("a")).unwrap();
    let entry = listing.next().unwrap().unwrap();
    assert_eq!(listing.stat(&entry).map(|found| found.size_bytes), Some(3));
    let is_folder = |there: &Metadata| if there.kind == Kind::Folder { Ok(()) } else { Err(String::new()) };
    files.remove_if(Path::new("a"), is_folder).unwrap();
    assert_eq!((listing.stat(&entry), files.names("")), (None, vec!["other".to_owned()]));
}

#[test]
fn a_replaced_file_keeps_its_permissions_and_whoever_reads_the_old_one_reads_on() {
    let files = files();
    files.put("script", "old");
    let path = files.root().join("script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o2751)).unwrap();
    fs::hard_link(&path, files.folder.path().join("other")).unwrap();
    let (mut reader, metadata) = files.open_file(Path::new("script")).unwrap();
    let written = files.write(Path::new("script"), b"newer").unwrap();
    assert_eq!((written.size_bytes, written.mode & 0o7777), (5, 0o2751));
    assert_ne!(metadata.inode, written.inode);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o2751);
    let mut old = String::new();
    reader.read_to_string(&mut old).unwrap();
    assert_eq!(old, "old");
    // A name outside of the workspace for the same file keeps what it had.
    assert_eq!(fs::read_to_string(files.folder.path().join("other")).unwrap(), "old");
}

#[test]
fn names_that_are_no_text_survive() {
    let files = files();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9-\xff");
    fs::write(files.root().join(name), "x").unwrap();
    let listed = files.names("");
    assert_eq!(listed, ["caf\u{EFE9}-\u{EFFF}"]);
    assert_eq!(files.read(Path::new(&from_wire(&listed[0])), 10).unwrap(), b"x");
    files.write(Path::new(&from_wire("\u{EFFE}")), b"y").unwrap();
    assert!(files.root().join(std::ffi::OsStr::from_bytes(b"\xfe")).exists());
}

#[test]
fn small_files_are_read_at_once_and_what_needs_thought_is_not() {
    let files = files();
    files.put("folder/small", "content");
    files.put("empty", "");
    files.put("large", &"x".repeat(crate::limits::INLINE_READ_BYTES + 1));
    symlink("empty", files.root().join("link")).unwrap();
    let absolute = files.root().join("folder/small");
    if files.stat_now(Path::new("empty")).is_none() {
        // This file system, or this kernel, cannot.
        return;
    }
    for path in [Path::new("folder/small"), Path::new("./folder//small"), &absolute] {
        assert_eq!(files.read_now(path).as_deref(), Some(&b"content"[..]), "{}", path.display());
        let (now, then) = (files.stat_now(path).unwrap(), files.stat(path).unwrap().unwrap());
        assert_eq!(now, then);
    }
    assert_eq!(files.read_now(Path::new("empty")), Some(Vec::new()));
    for path in ["large", "link", "folder", "none", "folder/../empty", "/etc/passwd", "../secret"] {
        assert_eq!(files.read_now(Path::new(path)), None, "{path}");
    }
    assert_eq!(files.stat_now(Path::new(".")).unwrap().kind, Kind::Folder);
}

#[test]
fn a_folder_of_any_depth_is_removed() {
    let files = files();
    let mut deep = Dir::open_ambient_dir(files.root(), ambient_authority()).unwrap();
    for level in 0..1200 {
        deep.create_dir("d").unwrap();
        if level % 500 == 0 {
            deep.write("file", "x").unwrap();
        }
        deep = deep.open_dir("d").unwrap();
    }
    files.remove(Path::new("d")).unwrap();
    assert_eq!(files.names(""), ["file"]);
}
