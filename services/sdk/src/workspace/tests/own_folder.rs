//! The agent's own folder is not there for anybody, however it is called.

use super::*;

#[test]
fn the_agents_own_folder_is_not_there() {
    let files = files();
    fs::create_dir_all(files.root().join(".pid1/sub")).unwrap();
    fs::write(files.root().join(".pid1/lock"), "state").unwrap();
    // What another file system would take for the same.
    fs::create_dir(files.root().join(".PID1")).unwrap();
    fs::write(files.root().join(".PID1/lock"), "state").unwrap();
    files.make_folder(Path::new("a/b")).unwrap();
    symlink("../.pid1", files.root().join("a/link")).unwrap();
    symlink(files.root().join(".pid1/sub"), files.root().join("absolute")).unwrap();
    symlink("..", files.root().join("a/up")).unwrap();
    let places = [
        ".PID1",
        "./.Pid1",
        ".pid1",
        "a/../.pid1",
        "a/link",
        "a/up/.pid1",
        "./.pid1",
        ".pid1/sub/..",
        "absolute/..",
    ];
    for place in places.map(Path::new) {
        for path in [place.to_owned(), place.join("lock"), place.join("new/deep")] {
            assert!(
                files.stat(&path).unwrap().is_none_or(|found| found.kind == Kind::Link),
                "{}",
                path.display()
            );
            assert!(
                files.read_now(&path).is_none() && files.stat_now(&path).is_none_or(|f| f.kind == Kind::Link)
            );
            let tries = [
                text(files.read(&path, 100)),
                text(files.write(&path, b"x")),
                text(files.make_folder(&path)),
                text(files.list(&path)),
                text(files.sync(&path)),
                text(files.rename(Path::new("a/b"), &path.join("x"))),
            ];
            for said in tries {
                let refused = said.ends_with("no such file or directory") || said.ends_with("file exists");
                assert!(refused, "{}: {said:?}", path.display());
            }
        }
    }
    assert_eq!(files.names(""), ["a", "absolute"]);
    assert_eq!(files.names("a/up"), ["a", "absolute"]);
    for path in [".pid1", ".PID1", "a/up/.pid1", "a/up/.PID1", "a/link/lock", ".pid1/lock", ".PID1/lock"] {
        assert!(text(files.remove(Path::new(path))).ends_with("no such file or directory"), "{path}");
        assert!(text(files.rename(Path::new(path), Path::new("x"))).contains("no such file"), "{path}");
    }
    assert_eq!(fs::read_to_string(files.root().join(".pid1/lock")).unwrap(), "state");
    assert_eq!(fs::read_dir(files.root().join(".pid1")).unwrap().count(), 2);
    // Elsewhere it is a name like any other.
    files.put("a/.pid1", "x");
    assert_eq!(files.names("a"), [".pid1", "b", "link", "up"]);
}

#[test]
fn the_agents_folder_is_not_made_by_others() {
    let files = files();
    files.put("folder/file", "x");
    symlink(".", files.root().join("loop")).unwrap();
    for path in ["folder/../.pid1", "folder/../.pid1/x", "loop/.pid1", "loop/.pid1/x/y"] {
        assert!(matches!(files.write(Path::new(path), b"x").unwrap_err().cause, Cause::Hidden), "{path}");
        assert!(files.make_folder(Path::new(path)).is_err() && !files.root().join(".pid1").exists());
    }
}
