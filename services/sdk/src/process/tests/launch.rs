//! What a table does to start its launcher; what a launcher does is tested with the real binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid};

use super::super::{Account, Io, Spec, StartError, TableConfig};
use super::{expect, on_terminal, run, soon, spec, table, table_with};

fn account(uid: u32, gid: u32) -> Account {
    Account { uid, gid, groups: vec![7, 8], home: "/".into(), name: None }
}

fn restricted(spec: Spec) -> Spec {
    Spec { no_new_privs: true, ..spec }
}

/// Shows how it was started.
fn stand_in(folder: &Path) -> PathBuf {
    let path = folder.join("launcher");
    // A shell keeps its script open at a number of two digits.
    let script = r#"#!/bin/sh
echo "<$@>"
tr '\0' '|' < /proc/$$/environ
tr '\0' '|' < /proc/self/fd/$2
echo
ls /proc/$$/fd | grep -v .. | tr '\n' ' '
echo "$$ end"
"#;
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn without_a_launcher_nothing_starts_as_somebody_else() {
    let table = table();
    let restricted = table.start(restricted(spec(&["true"]))).unwrap_err();
    assert!(matches!(restricted, StartError::NoLauncher { .. }), "{restricted}");
    let other = Spec { account: Some(account(65_501, 65_501)), ..spec(&["true"]) };
    let refused = table.start(other).unwrap_err();
    match refused {
        StartError::NoLauncher { .. } if geteuid().is_root() => {}
        StartError::NotRoot { own, .. } if own == geteuid().as_raw() => {}
        _ => panic!("{refused}"),
    }
    assert_eq!(refused.shell_code(), 126);
    let own = Spec { account: Some(account(geteuid().as_raw(), getegid().as_raw())), ..spec(&["true"]) };
    // Root may have other groups.
    assert_eq!(table.start(own).is_err(), geteuid().is_root());
    assert_eq!(table.live(), usize::from(!geteuid().is_root()));
}

#[tokio::test]
async fn a_launcher_that_is_not_there_is_named_as_what_is_missing() {
    let table =
        table_with(TableConfig { launcher: Some("/no/such/launcher".into()), ..TableConfig::default() });
    let error = table.start(restricted(spec(&["true"]))).unwrap_err();
    assert!(matches!(error, StartError::Launcher { .. }), "{error}");
    let error = table.start(restricted(spec(&["no-such-program"]))).unwrap_err();
    assert!(matches!(error, StartError::NotInPath { .. }), "looked for before: {error}");
}

#[tokio::test]
async fn the_launcher_has_its_orders_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = Some(stand_in(folder.path()));
    let table = table_with(TableConfig { launcher, ..TableConfig::default() });
    let wanted = Spec {
        env: vec![("LD_PRELOAD".into(), "/no/such.so".into()), ("A".into(), "b c".into())],
        ..restricted(Spec::new(["/bin/cat", "", "x"]))
    };
    let orders = "3 1|with no_new_privs|/bin/cat|/bin/cat||x|LD_PRELOAD=/no/such.so|A=b c|";
    let said = run(&table, wanted).await;
    assert!(said.starts_with(&format!("<launch 3>\n{orders}\n0 1 2 3 ")), "{said}");

    // Its descriptor has a number that the program's have not.
    let file = || fs::File::open("/dev/null").unwrap().into();
    let mapped = Spec { fds: vec![(file(), 3), (file(), 5)], ..restricted(spec(&["true"])) };
    let said = run(&table, mapped).await;
    assert!(said.starts_with("<launch 4>\n1 1|") && said.contains("\n0 1 2 3 4 5 "), "{said}");

    // It is the program, as far as everybody else can tell.
    let process = table.start(on_terminal(restricted(spec(&["true", "y"])))).unwrap();
    expect(&process, &format!("{} end", process.pid())).await;
    assert_eq!(process.args(), ["true", "y"]);
    soon("its end", process.exited()).await;

    if geteuid().is_root() {
        let io = Io::Pipes { split_stderr: true };
        let other = Spec { io, account: Some(account(65_501, 65_502)), ..spec(&["true"]) };
        let said = run(&table, other).await;
        assert!(said.contains("<launch 3>\n1 0 65501 65502 7 8|as uid 65501|/"), "{said}");
    }
}
