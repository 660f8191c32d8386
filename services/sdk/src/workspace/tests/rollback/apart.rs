//! What can only be tried in a process of its own: a full disk, a file that is a mount point, and a sudden end.
#![expect(clippy::disallowed_methods, reason = "tests wait and run helpers as they like")]

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::*;

/// Where such a process works.
const DISK: &str = "PID1_TEST_DISK";

/// Runs a test of this file once more, with what `words` start it by; it knows the folder.
fn again(test: &str, words: &[&str], folder: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut words: Vec<_> = words.iter().map(std::ffi::OsStr::new).collect();
    words.push(this.as_os_str());
    let mut command = Command::new(words[0]);
    let test = format!("workspace::tests::rollback::apart::{test}");
    command.args(&words[1..]).args([&test, "--exact", "--nocapture"]).env(DISK, folder);
    command
}

/// The folder, which is a disk of its own, if this is that process; else starts it.
fn on_a_small_disk(test: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(DISK) {
        return Some(folder.into());
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can mount a disk: not tested");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=1m none \"${DISK}\" && exec \"$0\" \"$@\"");
    let run = again(test, &["unshare", "--mount", "sh", "-c", &mount], folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&run.stderr));
    None
}

/// A workspace on `disk`, of an agent whose own folder is elsewhere.
fn on(disk: &Path, scratch: PathBuf) -> Files {
    let root = disk.join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::create_dir_all(&scratch).unwrap();
    let workspace = Workspace::open(WorkspaceConfig { root, scratch, fsync: true }).unwrap();
    Files { folder: tempfile::tempdir().unwrap(), workspace }
}

/// Leaves no byte of room on a disk.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("fill");
    let mut file = fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    assert!(fs::write(disk.join("more"), "x").is_err());
    let _ = fs::remove_file(disk.join("more"));
    path
}

#[test]
fn on_a_full_disk_all_is_put_back() {
    let Some(disk) = on_a_small_disk("on_a_full_disk_all_is_put_back") else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let (spec, lock) = ("s".repeat(10_000), "l".repeat(200_000));
    // Beside the workspace, where a second name does; on another disk, which takes a copy; and on one that is full, too.
    let full = elsewhere.path().join("full");
    fs::create_dir(&full).unwrap();
    assert!(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "none"])
            .arg(&full)
            .status()
            .unwrap()
            .success()
    );
    for scratch in [disk.join("scratch"), elsewhere.path().join("scratch"), full.join("scratch")] {
        let files = on(&disk, scratch);
        let on_full = files.scratch().starts_with(&full);
        files.put(SPEC, &spec);
        files.put(LOCK, &lock);
        let change = files.change(&[SPEC, LOCK, "made"]).unwrap();
        files.write_in_place(SPEC, "spec of a tool");
        // Cut off, as a tool does before it finds that there is no room.
        files.write_in_place(LOCK, "");
        files.write_in_place("made", "made by a tool");
        let fills = [disk.clone(), full.clone()].map(|disk| fill(&disk));
        let restored = change.roll_back().unwrap();
        assert_eq!(paths(&restored), [SPEC, LOCK, "made"]);
        if on_full {
            let lost = Replaced::Lost("no space left on device".to_owned());
            assert_eq!((&restored[0].replaced, &restored[2].replaced), (&lost, &lost));
        } else {
            assert_eq!([0, 1, 2].map(|i| kept(&restored[i])), ["spec of a tool", "", "made by a tool"]);
        }
        assert!(files.read_text(SPEC).unwrap() == spec && files.read_text(LOCK).unwrap() == lock);
        assert!(!files.root().join("made").exists() && files.is_tidy());
        // A change that cannot begin has not begun.
        // The journal has made room for another one.
        fills.iter().for_each(|filled| drop(fill(filled.parent().unwrap())));
        assert_eq!(text(files.change(&["none", LOCK])), "change sub/lock: no space left on device");
        if on_full {
            let said = text(files.change(&["none"]));
            assert!(
                said.starts_with("write ") && said.ends_with("/scratch/rollback: no space left on device"),
                "{said}"
            );
        }
        assert!(files.is_tidy());
        fills.into_iter().for_each(|fill| fs::remove_file(fill).unwrap());
        files.change(&[SPEC, LOCK]).unwrap().keep().unwrap();
    }
    assert!(Command::new("umount").arg(&full).status().unwrap().success());
}

#[test]
fn a_file_that_is_mounted_is_written_over() {
    let Some(disk) = on_a_small_disk("a_file_that_is_mounted_is_written_over") else { return };
    let files = on(&disk, disk.join("scratch"));
    files.put(SPEC, "beneath");
    fs::write(disk.join("mounted"), "mounted").unwrap();
    let bind =
        Command::new("mount").arg("--bind").arg(disk.join("mounted")).arg(files.root().join(SPEC)).status();
    assert!(bind.unwrap().success());
    let change = files.change(&[SPEC]).unwrap();
    files.write_in_place(SPEC, "somewhat longer");
    let restored = change.roll_back().unwrap();
    assert_eq!((paths(&restored), kept(&restored[0])), (vec![SPEC], "somewhat longer".to_owned()));
    assert_eq!(fs::read_to_string(disk.join("mounted")).unwrap(), "mounted");
    assert!(files.is_tidy());
}

/// The version that the files are of, which must be the same for all: one that is written over, one that is replaced, and
/// one that is there in every second version.
fn version(files: &Files) -> usize {
    let [spec, lock] = [SPEC, LOCK].map(|path| files.read_text(path).unwrap());
    let version = spec.lines().next().unwrap().parse().unwrap();
    assert_eq!([&spec, &lock], [&content(version); 2]);
    assert_eq!(files.root().join("odd").exists(), version % 2 == 1, "in version {version}");
    version
}

fn content(version: usize) -> String {
    format!("{version}\n").repeat(3000)
}

/// Makes versions until it is killed; each second is rolled back, by itself or as by the next agent.
fn make_versions(files: &Files) {
    for round in 0.. {
        let next = version(files) + 1;
        let change = files.change(&[SPEC, LOCK, "odd"]).unwrap();
        files.write_in_place(SPEC, &content(next));
        files.write_anew(LOCK, &content(next));
        if next % 2 == 1 {
            files.write_in_place("odd", "x");
        } else {
            files.remove(Path::new("odd")).unwrap();
        }
        match round % 4 {
            0 | 2 => change.keep().unwrap(),
            1 => assert_eq!(change.roll_back().unwrap().len(), 3),
            _ => {
                drop(change);
                assert_eq!(files.roll_back_left().unwrap().len(), 3);
            }
        }
    }
}

#[test]
fn killed_at_any_moment_all_files_are_of_one_version() {
    const TEST: &str = "killed_at_any_moment_all_files_are_of_one_version";
    if let Some(folder) = std::env::var_os(DISK).map(PathBuf::from) {
        return make_versions(&on(&folder, folder.join("scratch")));
    }
    let folder = tempfile::tempdir().unwrap();
    let files = on(folder.path(), folder.path().join("scratch"));
    files.put(SPEC, &content(0));
    files.put(LOCK, &content(0));
    let rounds = if std::env::var_os("PID1_LONG").is_some_and(|value| value == "1") { 1000 } else { 30 };
    let (mut last, mut cut_short) = (0, 0);
    for round in 0..rounds {
        let mut command = again(TEST, &["env"], folder.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // It is at work, and then at any point of it.
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while files.read_text(SPEC).is_ok_and(|text| text.starts_with(&format!("{last}\n"))) {
            assert!(child.try_wait().unwrap().is_none() && std::time::Instant::now() < deadline);
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(round * 7919 % 20_000));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "it ended by itself");
        cut_short += usize::from(files.journal().exists());
        let next = files.next_agent();
        next.roll_back_left().unwrap();
        last = version(&files);
        assert_eq!(next.roll_back_left().unwrap(), []);
        // What was not yet, or no longer, told of in a journal.
        for left in files.temporaries() {
            fs::remove_file(left).unwrap();
        }
    }
    assert!(cut_short > 0 && last > 0, "{cut_short} of {rounds} were killed amid a change, {last} versions");
}
