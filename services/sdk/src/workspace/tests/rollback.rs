//! Changes of several files: kept, rolled back, left by one who died, and with all that may be in the way.

mod apart;
mod left;

use std::os::unix::fs::chown;

use super::*;
use crate::limits::{CHANGE_BYTES, CHANGE_FILES, CHANGE_REPLACED};

const SPEC: &str = "package.json";
const LOCK: &str = "sub/lock";

impl Files {
    fn change(&self, paths: &[&str]) -> Result<Rollback> {
        let paths: Vec<_> = paths.iter().map(Path::new).collect();
        self.begin_change(&paths)
    }

    /// The workspace as the next agent opens it.
    fn next_agent(&self) -> Workspace {
        Workspace::open(self.0.config.clone()).unwrap()
    }

    fn journal(&self) -> PathBuf {
        self.scratch().join("rollback")
    }

    /// Copies, and whatever else is unfinished.
    fn temporaries(&self) -> Vec<PathBuf> {
        let folders = [self.root().to_owned(), self.root().join("sub")];
        let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        entries
            .map(|entry| entry.unwrap())
            .filter(|e| is_temporary(&e.file_name()))
            .map(|e| e.path())
            .collect()
    }

    /// A change, or what is left of it, has left nothing behind.
    fn is_tidy(&self) -> bool {
        let unfinished = ["rollback", "rollback.new"].map(|name| self.scratch().join(name).exists());
        self.temporaries().is_empty() && unfinished == [false; 2]
    }

    /// As a tool that writes over what is there.
    fn write_in_place(&self, path: &str, content: &str) {
        fs::write(self.root().join(path), content).unwrap();
    }

    /// As a tool that puts a new file in its place.
    fn write_anew(&self, path: &str, content: &str) {
        let beside = self.root().join("new");
        fs::write(&beside, content).unwrap();
        fs::rename(beside, self.root().join(path)).unwrap();
    }
}

/// A workspace with a specfile and a lock file.
fn project() -> Files {
    let files = files();
    files.put(SPEC, "spec");
    files.put(LOCK, "lock");
    files
}

fn paths(restored: &[Restored]) -> Vec<&str> {
    restored.iter().map(|file| file.path.to_str().unwrap()).collect()
}

fn kept(restored: &Restored) -> String {
    match &restored.replaced {
        Replaced::Kept(path) => fs::read_to_string(path).unwrap(),
        other => panic!("{}: {other}", restored.path.display()),
    }
}

#[test]
fn a_change_that_is_kept_stays_and_leaves_nothing_else() {
    for fsync in [false, true] {
        let files = files_with(fsync);
        files.put(SPEC, "spec");
        files.put("gone", "x");
        let change = files.change(&[SPEC, LOCK, "gone", "new"]).unwrap();
        assert_eq!(files.names(""), ["gone", SPEC], "copies are in no listing");
        assert_eq!(files.temporaries().len(), 2);
        files.write_in_place(SPEC, "spec 2");
        fs::create_dir(files.root().join("sub")).unwrap();
        files.write_anew(LOCK, "lock 2");
        files.remove(Path::new("gone")).unwrap();
        change.keep().unwrap();
        assert!(files.is_tidy());
        assert_eq!(files.next_agent().roll_back_left().unwrap(), []);
        assert_eq!(files.names(""), [SPEC, "sub"]);
        assert_eq!(
            (files.read_text(SPEC).unwrap(), files.read_text(LOCK).unwrap()),
            ("spec 2".into(), "lock 2".into())
        );
    }
}

#[test]
fn a_change_that_fails_has_not_happened() {
    let files = project();
    files.put("removed", "x");
    files.put("folder/file", "x");
    let change =
        files.change(&["./package.json", LOCK, "removed", "folder/file", "made", "no/folder"]).unwrap();
    files.write_in_place(SPEC, "half of a sp");
    files.write_anew(LOCK, "");
    files.write_in_place("made", "x");
    fs::create_dir(files.root().join("no")).unwrap();
    files.write_in_place("no/folder", "x");
    files.remove(Path::new("removed")).unwrap();
    let restored = change.roll_back().unwrap();
    assert_eq!(paths(&restored), [SPEC, LOCK, "removed", "made", "no/folder"]);
    assert_eq!([0, 1, 3, 4].map(|i| kept(&restored[i])), ["half of a sp", "", "x", "x"]);
    assert_eq!(restored[2].replaced, Replaced::Nothing);
    assert_eq!(
        [SPEC, LOCK, "removed", "folder/file"].map(|path| files.read_text(path).unwrap()),
        ["spec", "lock", "x", "x"]
    );
    // Folders are no part of a change.
    assert_eq!(files.names(""), ["folder", "no", SPEC, "removed", "sub"]);
    assert!(files.names("no").is_empty() && files.is_tidy());
    assert_eq!(files.next_agent().roll_back_left().unwrap(), []);
}

#[test]
fn what_a_client_has_written_last_stays_as_he_has_it() {
    let files = project();
    let change = files.change(&[SPEC, LOCK, "made", "both"]).unwrap();
    files.write_in_place(SPEC, "half");
    files.write(Path::new(SPEC), b"a person's").unwrap();
    files.write(Path::new("made"), b"a person's").unwrap();
    // Whoever writes after him is undone, though he has not seen it.
    files.write(Path::new(LOCK), b"a person's").unwrap();
    files.write_in_place(LOCK, "half");
    files.write(Path::new("both"), b"a person's").unwrap();
    files.write_anew("both", "half");
    let restored = change.roll_back().unwrap();
    assert_eq!(paths(&restored), [SPEC, LOCK, "made", "both"]);
    assert_eq!([&restored[0].replaced, &restored[2].replaced], [&Replaced::Stays; 2]);
    assert_eq!(
        [SPEC, LOCK, "made"].map(|path| files.read_text(path).unwrap()),
        ["a person's", "lock", "a person's"]
    );
    assert!(files.is_tidy() && !files.root().join("both").exists());
    // Of what was written before a change nothing is known in it.
    let change = files.change(&[SPEC]).unwrap();
    files.write_in_place(SPEC, "half");
    assert_eq!(kept(&change.roll_back().unwrap()[0]), "half");
    assert_eq!(files.read_text(SPEC).unwrap(), "a person's");
}

#[test]
fn what_was_not_changed_is_not_touched_and_what_was_has_its_mode_and_owner_again() {
    let files = project();
    files.put("same", "same");
    let stat = |path: &str| {
        let found = fs::metadata(files.root().join(path)).unwrap();
        (found.mode(), found.uid(), found.gid(), found.mtime(), found.mtime_nsec())
    };
    let inode = |path: &str| fs::metadata(files.root().join(path)).unwrap().ino();
    fs::set_permissions(files.root().join(SPEC), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(files.root().join(LOCK), fs::Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::geteuid().is_root() {
        chown(files.root().join(SPEC), Some(1234), Some(4321)).unwrap();
    }
    let before = [SPEC, LOCK, "same"].map(|path| (stat(path), inode(path)));
    let change = files.change(&[SPEC, LOCK, "same"]).unwrap();
    files.write_anew(SPEC, "spec 2");
    // The same content with another mode is a change, too.
    files.write_anew(LOCK, "lock");
    let restored = change.roll_back().unwrap();
    assert_eq!(paths(&restored), [SPEC, LOCK]);
    assert_eq!([SPEC, LOCK, "same"].map(stat), before.map(|(stat, _)| stat));
    assert_eq!(inode("same"), before[2].1);
    let change = files.change(&[SPEC]).unwrap();
    let same = inode(SPEC);
    assert_eq!((change.roll_back().unwrap(), inode(SPEC)), (vec![], same));
}

#[test]
fn of_a_link_both_ends_are_put_back() {
    let files = project();
    let root = files.root();
    symlink("sub/lock", root.join("link")).unwrap();
    symlink(root.join("sub"), root.join("way")).unwrap();
    symlink("nothing", root.join("dangling")).unwrap();
    let change = files.change(&["link", "way/lock", "dangling"]).unwrap();
    assert_eq!(files.temporaries().len(), 3, "the file has one copy, by whichever way");
    files.write_in_place(LOCK, "through it");
    files.write_anew("link", "in its place");
    files.write_in_place("nothing", "x");
    let restored = change.roll_back().unwrap();
    assert_eq!(paths(&restored), ["link", LOCK, "nothing"]);
    assert_eq!(kept(&restored[0]), "in its place");
    assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("sub/lock"));
    assert_eq!(files.read_text("link").unwrap(), "lock");
    assert!(!root.join("nothing").exists() && root.join("dangling").is_symlink() && files.is_tidy());
    // A file that became a link.
    let change = files.change(&[SPEC]).unwrap();
    files.remove(Path::new(SPEC)).unwrap();
    symlink("../secret", root.join(SPEC)).unwrap();
    assert_eq!(paths(&change.roll_back().unwrap()), [SPEC]);
    assert_eq!(files.read_text(SPEC).unwrap(), "spec");
    assert_eq!(fs::read_to_string(files.folder.path().join("secret")).unwrap(), "outside");
}

#[test]
fn what_cannot_be_changed_is_refused_and_nothing_is_left() {
    let files = project();
    symlink("../secret", files.root().join("out")).unwrap();
    symlink("sub", files.root().join("folder")).unwrap();
    nix::unistd::mkfifo(&files.root().join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let large = fs::File::create(files.root().join("large")).unwrap();
    large.set_len(CHANGE_BYTES - 4).unwrap();
    let table = [
        ("sub", "change sub: is a directory"),
        ("folder", "change folder: is a directory"),
        ("", "change .: that is the workspace itself"),
        ("..", "change ..: the path leads out of the workspace"),
        ("../secret", "change ../secret: the path leads out of the workspace"),
        ("out", "change out: the link out leads out of the workspace, to ../secret"),
        ("fifo", "change fifo: it is a device, a pipe or a socket, not a regular file"),
        (".pid1/lock", "change .pid1/lock: no such file or directory"),
        ("package.json/x", "change package.json/x: not a directory"),
    ];
    for (path, expected) in table {
        assert_eq!(text(files.change(&[LOCK, path])), expected);
        assert!(files.is_tidy(), "{path}");
    }
    let said = text(files.change(&["large", SPEC, "sub/lock"]));
    assert_eq!(said, "change sub/lock: it holds 4 bytes, which is more than the 0 that are given at once");
    let many: Vec<_> = (0..=CHANGE_FILES).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(text(files.change(&many)), "change 0: 17 files are more than the 16 of one change");
    assert!(files.is_tidy());
    // Nothing is in the way of the next.
    files.change(&many[1..]).unwrap().keep().unwrap();
}

#[test]
fn one_change_is_under_way_at_a_time() {
    let files = project();
    let change = files.change(&[SPEC]).unwrap();
    assert_eq!(text(files.change(&[LOCK])), "change sub/lock: another change is under way");
    assert!(text(files.roll_back_left()).ends_with("/scratch/rollback: the change is still under way"));
    drop(change);
    let said = text(files.change(&[LOCK]));
    assert_eq!(said, "change sub/lock: an earlier change has not been rolled back yet");
    files.write_in_place(SPEC, "x");
    assert_eq!(paths(&files.roll_back_left().unwrap()), [SPEC]);
    files.change(&[LOCK]).unwrap().keep().unwrap();
    assert!(files.is_tidy());
}

#[test]
fn the_last_things_that_were_replaced_are_kept() {
    let files = project();
    let long = "n".repeat(250);
    let folder = files.scratch().join("replaced");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("somebody's"), "x").unwrap();
    for round in 1..=CHANGE_REPLACED + 4 {
        let change = files.change(&[SPEC, &long]).unwrap();
        files.write_in_place(if round == 3 { &long } else { SPEC }, &format!("edit {round}"));
        let restored = change.roll_back().unwrap();
        assert_eq!(restored.len(), 1);
        assert_eq!(kept(&restored[0]), format!("edit {round}"));
    }
    let mut edits: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    edits.retain(|path| path.extension().is_some());
    assert_eq!(edits.len(), CHANGE_REPLACED);
    for round in 5..=CHANGE_REPLACED + 4 {
        let path = folder.join(format!("{SPEC}.{round}"));
        assert_eq!(fs::read_to_string(path).unwrap(), format!("edit {round}"));
    }
}

#[test]
fn a_copy_that_somebody_has_removed_is_told_and_keeps_nothing_else() {
    let files = project();
    let change = files.change(&[SPEC, LOCK]).unwrap();
    fs::remove_file(&files.temporaries()[0]).unwrap();
    files.write_in_place(SPEC, "x");
    files.write_in_place(LOCK, "x");
    let said = text(change.roll_back());
    assert!(said.starts_with("roll back package.json: the copy of what it held is gone; "), "{said}");
    assert!(said.ends_with("/scratch/rollback.failed"), "{said}");
    assert_eq!((files.read_text(SPEC).unwrap(), files.read_text(LOCK).unwrap()), ("x".into(), "lock".into()));
    files.change(&[SPEC]).unwrap().keep().unwrap();
}

#[test]
fn what_is_in_the_way_now_may_be_gone_the_next_time() {
    let files = project();
    let change = files.change(&[SPEC, LOCK, "made"]).unwrap();
    files.remove(Path::new(SPEC)).unwrap();
    files.put("package.json/inner", "x");
    files.put("made/inner", "x");
    files.write_in_place(LOCK, "x");
    assert_eq!(text(change.roll_back()), "roll back package.json: is a directory");
    assert_eq!(files.read_text(LOCK).unwrap(), "lock");
    files.rename(Path::new(SPEC), Path::new("elsewhere")).unwrap();
    assert_eq!(text(files.roll_back_left()), "roll back made: is a directory");
    assert_eq!(files.read_text(SPEC).unwrap(), "spec");
    files.remove(Path::new("made")).unwrap();
    assert_eq!(files.next_agent().roll_back_left().unwrap(), []);
    assert!(files.is_tidy());
}
