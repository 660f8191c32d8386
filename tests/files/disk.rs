//! Disks that are full, forbidden or read-only: what was there stays, what is said is clear, nothing half written is left.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use pid1_sdk::api::command::Body;

use super::{Files, at, moving, write};
use crate::support::{Agent, Launch};

/// Prepares the workspace, `$ROOT`, in a mount namespace of its own, and runs the agent there.
fn in_namespace(prepare: &str) -> Launch {
    let launch = Launch::new();
    let root = launch.home().join("root");
    let script = format!("set -e; {prepare}\nexec \"$0\" \"$@\"");
    launch.env("ROOT", root.to_str().unwrap()).through(&["unshare", "--mount", "sh", "-c", &script])
}

fn everything(agent: &Agent) -> Vec<String> {
    let entries = fs::read_dir(agent.inside("")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn on_a_full_disk_the_old_content_stays() {
    let agent = in_namespace("mount -t tmpfs -o size=1m none \"$ROOT\"").start().await;
    let mut files = Files::of(&agent).await;
    files.done(write("file", "old")).await;
    let large = vec![b'x'; 3 << 20];
    for path in ["file", "new", "a/b/new"] {
        let said = files.refused(write(path, large.clone())).await;
        assert_eq!(said, format!("write {path}: no space left on device"));
    }
    assert_eq!(files.read("file").await, "old");
    assert_eq!(everything(&agent), ["file"]);
    // What is left is not used up by what failed.
    files.done(write("fits", vec![b'x'; 700 << 10])).await;
    let said = files.refused(write("file", vec![b'y'; 700 << 10])).await;
    assert!(said.contains("no space left"), "{said}");
    assert_eq!(files.read("file").await, "old");
    files.done(Body::Remove(at("fits"))).await;
    files.done(write("file", vec![b'y'; 700 << 10])).await;
    assert_eq!(files.stat("file").await.size, 700 << 10);
}

#[tokio::test]
async fn where_files_may_not_be_long_a_longer_one_is_refused() {
    let limited = ["sh", "-c", "ulimit -f 2048; exec \"$0\" \"$@\""];
    let agent = Launch::new().through(&limited).start().await;
    let mut files = Files::of(&agent).await;
    files.done(write("file", "old")).await;
    let said = files.refused(write("file", vec![b'x'; 3 << 20])).await;
    assert_eq!(said, "write file: file too large");
    assert_eq!(files.read("file").await, "old");
}

#[tokio::test]
async fn a_disk_without_room_for_another_file_says_so() {
    let agent = in_namespace("mount -t tmpfs -o nr_inodes=4 none \"$ROOT\"").start().await;
    let mut files = Files::of(&agent).await;
    let mut refused = None;
    for number in 0..8 {
        if let Body::Error(said) = files.ask(write(&format!("{number}"), "x")).await {
            refused = Some(said);
            break;
        }
    }
    let said = refused.expect("there is room for four");
    assert!(said.contains("no space left on device"), "{said}");
    for name in everything(&agent) {
        assert_eq!(files.read(&name).await, "x");
    }
}

#[tokio::test]
async fn nothing_is_changed_on_a_read_only_disk() {
    let prepare =
        "mount --bind \"$ROOT\" \"$ROOT\"; echo old > \"$ROOT/file\"; mount -o remount,bind,ro \"$ROOT\"";
    let agent = in_namespace(prepare).start().await;
    let mut files = Files::of(&agent).await;
    for body in [
        write("file", "new"),
        write("new", "new"),
        Body::Mkdir(at("folder")),
        Body::Remove(at("file")),
        moving("file", "other"),
    ] {
        let said = files.refused(body).await;
        assert!(said.ends_with("read-only file system"), "{said}");
    }
    assert_eq!(files.read("file").await, "old\n");
    assert_eq!(files.names(".").await, ["file"]);
}

/// A volume in the workspace is another file system: there is no renaming from one to the other.
#[tokio::test]
async fn what_moves_to_another_disk_is_copied_whole() {
    let prepare = "for it in volume outer/inner; do
            mkdir -p \"$ROOT/$it\"; mount -t tmpfs -o size=1m none \"$ROOT/$it\"
        done";
    let agent = in_namespace(prepare).start().await;
    let mut files = Files::of(&agent).await;
    let root = agent.root();
    fs::create_dir_all(root.join("folder/deep/er")).unwrap();
    fs::write(root.join("folder/deep/script"), "run").unwrap();
    fs::set_permissions(root.join("folder/deep/script"), fs::Permissions::from_mode(0o4751)).unwrap();
    chown(root.join("folder/deep/script"), Some(1234), Some(4321)).unwrap();
    fs::set_permissions(root.join("folder/deep/script"), fs::Permissions::from_mode(0o4751)).unwrap();
    std::os::unix::fs::symlink("../nowhere", root.join("folder/link")).unwrap();
    let before = fs::metadata(root.join("folder/deep/script")).unwrap();
    files.done(moving("folder", "volume/moved")).await;
    assert!(!root.join("folder").exists());
    let after = fs::metadata(agent.inside("volume/moved/deep/script")).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), 1234, 4321));
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    assert_eq!(files.read("volume/moved/deep/script").await, "run");
    assert_eq!(fs::read_link(agent.inside("volume/moved/link")).unwrap(), Path::new("../nowhere"));
    files.done(moving("volume/moved/deep/script", "script")).await;
    assert_eq!(files.read("script").await, "run");
    assert_eq!(files.names("volume/moved/deep").await, ["er"]);

    // What does not fit stays where it is, and nothing of it is there.
    fs::create_dir(root.join("large")).unwrap();
    fs::write(root.join("large/file"), vec![b'x'; 3 << 20]).unwrap();
    let said = files.refused(moving("large", "volume/large")).await;
    assert_eq!(said, "rename large volume/large: no space left on device");
    assert_eq!(fs::metadata(root.join("large/file")).unwrap().len(), 3 << 20);
    let left = fs::read_dir(agent.inside("volume")).unwrap().count();
    assert_eq!(left, 1);
    // Nor is a place taken that is not free, and nothing is copied into itself.
    files.done(write("other/file", "x")).await;
    assert!(files.refused(moving("other", "volume/moved")).await.contains("file exists"));
    assert!(files.refused(moving("volume", "other/volume")).await.contains("busy"));
    let said = files.refused(moving("outer", "outer/inner/x")).await;
    assert!(said.contains("moved into itself"), "{said}");
    assert_eq!(fs::read_dir(agent.inside("outer/inner")).unwrap().count(), 0);
    let said = files.refused(moving("outer", "volume/outer")).await;
    assert!(said.contains("another file system is mounted in it"), "{said}");
    assert_eq!(files.names("other").await, ["file"]);
}

/// What is mounted on a file cannot be replaced: it is written as it stands.
#[tokio::test]
async fn a_file_that_is_a_mount_is_rewritten_in_place() {
    let prepare = "echo other > \"$ROOT/../elsewhere\"; touch \"$ROOT/mounted\"; mount --bind \"$ROOT/../elsewhere\" \"$ROOT/mounted\"";
    let agent = in_namespace(prepare).start().await;
    let mut files = Files::of(&agent).await;
    let elsewhere = agent.root().join("../elsewhere");
    let inode = fs::metadata(&elsewhere).unwrap().ino();
    for content in ["much longer than it was", "short", ""] {
        files.done(write("mounted", content)).await;
        assert_eq!(files.read("mounted").await, content);
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), content);
    }
    assert_eq!(fs::metadata(&elsewhere).unwrap().ino(), inode);
    assert_eq!(everything(&agent), ["mounted"]);
    assert!(files.refused(Body::Remove(at("mounted"))).await.contains("busy"));
}

#[tokio::test]
async fn what_the_agents_user_may_not_do_it_says_and_leaves_alone() {
    let launch = Launch::new().confined();
    let root = launch.home().join("root");
    fs::create_dir_all(root.join("theirs")).unwrap();
    fs::create_dir_all(root.join("closed")).unwrap();
    for (path, mode, owner) in [
        ("theirs/writable", 0o666, 0),
        ("theirs/readable", 0o644, 0),
        ("secret", 0o600, 0),
        ("mine", 0o444, 65534),
    ] {
        fs::write(root.join(path), "old").unwrap();
        chown(root.join(path), Some(owner), Some(owner)).unwrap();
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let agent = launch.start().await;
    let mut files = Files::of(&agent).await;
    for body in [
        Body::Read(at("secret")),
        write("secret", "new"),
        write("theirs/readable", "new"),
        write("theirs/new", "new"),
        // Whoever took the right to write away meant it, although the folder would allow to replace the file.
        write("mine", "new"),
        Body::Mkdir(at("theirs/folder")),
        Body::Remove(at("theirs/readable")),
        moving("theirs/readable", "x"),
        Body::Readdir(at("closed")),
        write("closed/x", "new"),
    ] {
        let said = files.refused(body).await;
        assert!(said.ends_with("permission denied"), "{said}");
    }
    for path in ["theirs/readable", "secret", "mine"] {
        assert_eq!(fs::read_to_string(root.join(path)).unwrap(), "old");
    }
    // The folder may not be written, the file may.
    let inode = fs::metadata(root.join("theirs/writable")).unwrap().ino();
    for content in ["much longer than it was", "short"] {
        files.done(write("theirs/writable", content)).await;
        assert_eq!(fs::read_to_string(root.join("theirs/writable")).unwrap(), content);
    }
    let now = fs::metadata(root.join("theirs/writable")).unwrap();
    assert_eq!((now.ino(), now.uid(), now.mode() & 0o777), (inode, 0, 0o666));
    assert_eq!(fs::read_dir(root.join("theirs")).unwrap().count(), 2);
}

/// An owner that the agent cannot give a file to is kept by not replacing the file.
#[tokio::test]
async fn a_replaced_file_keeps_its_owner() {
    let agent = Agent::start().await;
    let mut files = Files::of(&agent).await;
    let path = agent.root().join("theirs");
    fs::write(&path, "old").unwrap();
    chown(&path, Some(1234), Some(4321)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    files.done(write("theirs", "new")).await;
    let now = fs::metadata(&path).unwrap();
    assert_eq!((now.uid(), now.gid(), now.mode() & 0o7777), (1234, 4321, 0o640));

    let launch = Launch::new().confined();
    fs::create_dir_all(launch.home().join("root")).unwrap();
    let path = launch.home().join("root/theirs");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let agent = launch.start().await;
    let mut files = Files::of(&agent).await;
    files.done(write("theirs", "newer")).await;
    assert_eq!(
        (fs::read_to_string(&path).unwrap().as_str(), fs::metadata(&path).unwrap().uid()),
        ("newer", 0)
    );
}

/// A quota is a full disk for one user.
#[tokio::test]
async fn over_quota_the_old_content_stays() {
    let prepare =
        "mount -t tmpfs -o size=8m,usrquota,usrquota_block_hardlimit=1m,mode=777 none \"$ROOT\" || exit 77
        exec setpriv --reuid 65500 --regid 65500 --clear-groups -- \"$0\" \"$@\"";
    let launch = in_namespace(prepare);
    // As that user, who must reach the binary and own the state folder.
    let home = launch.home().to_owned();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir_all(home.join("state")).unwrap();
    chown(home.join("state"), Some(65500), Some(65500)).unwrap();
    fs::create_dir_all(home.join("root")).unwrap();
    let probe = std::process::Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "-o", "usrquota,usrquota_block_hardlimit=1m", "none"])
        .arg(home.join("root"))
        .output()
        .unwrap();
    if !probe.status.success() {
        eprintln!("this kernel has no quotas on tmpfs: not tested");
        return;
    }
    let agent = launch.start().await;
    let mut files = Files::of(&agent).await;
    files.done(write("file", "old")).await;
    let said = files.refused(write("file", vec![b'x'; 3 << 20])).await;
    assert!(said.contains("quota exceeded"), "{said}");
    assert_eq!(files.read("file").await, "old");
    assert_eq!(everything(&agent), ["file"]);
}
