//! A root filesystem that holds the binary under test and nothing else, as an image made from scratch does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::binary;

/// Makes it in `folder`; the binary is `/pid1`. One that is not static, as a developer's is not, gets its libraries.
pub fn bare_root(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    copy(&binary(), &folder.join("pid1"));
    let needed = Command::new("ldd").arg(binary()).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    for library in needed.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = folder.join(library.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        copy(Path::new(library), &to);
    }
}

/// What runs it there as process 1; with these flags of `unshare` on top.
pub fn in_bare_root(root: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(flags).args(["--mount", "--pid", "--fork", "--kill-child", "--root"]);
    command.arg(root).args(["--", "/pid1"]);
    command
}

/// Copies a program for everybody. Not by ourselves: a program that another test starts meanwhile inherits our open
/// file for a moment, and what is open for writing cannot be executed.
pub fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("--dereference").arg(from).arg(to).status().unwrap().success());
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
}
