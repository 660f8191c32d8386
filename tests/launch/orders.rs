//! `pid1 launch` in the hands of somebody else than the agent.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::text;
use crate::support::{binary, copy};

/// `pid1 launch 0` with these orders, as root or not.
fn launch(name: &std::ffi::CStr, orders: &[u8], as_root: bool) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let pid1 = folder.path().join("pid1");
    copy(&binary(), &pid1);
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(orders).unwrap();
    let mut command = Command::new("setpriv");
    if !as_root {
        command.args(["--reuid", "64001", "--regid", "64001", "--clear-groups"]);
    }
    command.arg("--").arg(pid1).args(["launch", "0"]).stdin(file).output().unwrap()
}

#[test]
fn whoever_types_it_is_told() {
    for (args, stdin) in [
        (&["launch"][..], Stdio::null()),
        (&["launch", "0"], Stdio::null()),
        (&["launch", "0"], Stdio::from(File::open("/proc/self/environ").unwrap())),
        (&["launch", "3"], Stdio::null()),
        (&["launch", "x"], Stdio::null()),
        (&["launch", "--help"], Stdio::null()),
    ] {
        let output = Command::new(binary()).args(args).stdin(stdin).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.starts_with("pid1: launch is for the agent itself"), "{args:?}: {said}");
        assert!(said.lines().count() == 1 && output.stdout.is_empty(), "{args:?}: {said}");
    }
}

#[test]
fn nobody_finds_it() {
    for args in [&["--help"][..], &["man"], &["completions", "bash"], &["completions", "zsh"]] {
        let output = Command::new(binary()).args(args).output().unwrap();
        assert!(output.status.success() && !text(&output.stdout).contains("launch"), "{args:?}");
    }
}

/// Whoever forges orders can do what it could do before.
#[test]
fn orders_give_nobody_rights() {
    for ids in ["0 0", "0 64001", "64001 0", "64002 64002", "64001 64001", "64001 64001 0"] {
        let orders = format!("1 0 {ids}\0as x\0/bin/sh\0sh\0");
        let output = launch(c"pid1-orders", orders.as_bytes(), false);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(126), "{ids}: {said}");
        let begin = "pid1: cannot run \"/bin/sh\" as x: setgroups failed: operation not permitted; ";
        assert!(said.starts_with(begin) && said.contains("SETUID"), "{ids}: {said}");
    }
    let script = "3 1\0x\0/bin/sh\0sh\0-c\0id -u; echo $A\0A=b\0";
    let output = launch(c"pid1-orders", script.as_bytes(), false);
    assert_eq!(text(&output.stdout), "64001\nb\n", "{output:?}");
}

#[test]
fn what_is_no_order_is_not_obeyed() {
    let good = b"1 0\0x\0/bin/echo\0echo\0";
    assert_eq!(text(&launch(c"pid1-orders", good, true).stdout), "\n");
    for (name, orders) in [
        (c"orders", &good[..]),
        (c"pid1-secrets", good),
        (c"pid1-orders", b""),
        (c"pid1-orders", &good[..good.len() - 1]),
        (c"pid1-orders", b"2 0\0x\0/bin/echo\0echo\0"),
        (c"pid1-orders", b"1 0 -1 0\0x\0/bin/echo\0echo\0"),
    ] {
        let output = launch(name, orders, true);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains("launch is for the agent itself") && output.stdout.is_empty());
    }
}
