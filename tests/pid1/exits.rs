//! Whatever the command's end was, its init's is the same.

use super::inits::{ALL, LIKE_DUMB_INIT, LIKE_TINI, Under, Who};

#[tokio::test]
async fn the_status_is_the_commands() {
    for init in ALL {
        for code in [0, 1, 2, 42, 126, 127, 128, 255] {
            assert_eq!(Under::new(init).run(&format!("exit {code}")).await.0, code, "{init:?}");
        }
        for signal in [1, 2, 6, 9, 11, 13, 15, 34, 64] {
            let script = format!("ulimit -c 0; kill -{signal} $$; sleep 1000");
            assert_eq!(Under::new(init).run(&script).await.0, 128 + signal, "{init:?}");
        }
    }
}

/// What cannot be started: what it is, and the status and words of this init for it.
pub async fn refused(init: Who, program: &str) -> (i32, String) {
    let mut running = Under::new(init).start(&[program]);
    let status = running.status().await;
    assert_eq!(running.out(), "");
    (status, running.log())
}

#[tokio::test]
async fn what_cannot_be_started_has_the_shells_status() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "text").unwrap();
    let plain = plain.to_str().unwrap();
    for init in ALL {
        for (program, code) in
            [("no-such-program", 127), ("/no/such/program", 127), (plain, 126), ("/tmp", 126)]
        {
            let (status, said) = refused(init, program).await;
            // dumb-init has one status for all.
            assert_eq!(status, if init == Who::DumbInit { 2 } else { code }, "{init:?} {program}");
            assert!(said.contains(program), "{init:?} {said}");
        }
    }
    // One that is there but may not be run is told apart in PATH, too.
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    for init in LIKE_TINI {
        let mut running = Under::new(init).env("PATH", &path).start(&["plain"]);
        assert_eq!(running.status().await, 126, "{init:?}");
    }
}

#[tokio::test]
async fn a_script_without_a_first_line_is_the_shells() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "echo \"$0 $*\"; exit 3\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let script = script.to_str().unwrap();
    for init in ALL {
        let mut running = Under::new(init).start(&[script, "a", "-b"]);
        assert_eq!(running.status().await, 3, "{init:?}");
        assert_eq!(running.out(), format!("{script} a -b\n"), "{init:?}");
    }
}

#[tokio::test]
async fn chosen_statuses_become_0() {
    for init in LIKE_TINI {
        for (flags, script, expected) in [
            (&["-e", "143"][..], "kill $$; sleep 1000", 0),
            (&["-e", "143", "-e", "3"], "exit 3", 0),
            (&["-e", "143", "-e3"], "exit 4", 4),
            (&["-e", "0", "-e", "255"], "exit 255", 0),
        ] {
            assert_eq!(Under::new(init).flags(flags).run(script).await.0, expected, "{init:?} {flags:?}");
        }
        assert_eq!(Under::new(init).flags(&["-e", "256"]).run("exit 256").await.0, 1, "{init:?}");
    }
}

/// What a script left running in its group is told that the script has ended.
#[tokio::test]
async fn dumb_init_ends_the_group_of_its_command() {
    for init in LIKE_DUMB_INIT {
        let script = "(trap 'echo told; exit' TERM; echo ready; exec 1>&2; sleep 1000 & wait; echo told) & \
            read line; exit 5";
        let mut running = Under::below(init).sh(script);
        running.until("ready", 1).await;
        running.write("go\n");
        assert_eq!(running.status().await, 5, "{init:?}");
        assert!(running.log().contains("told"), "{init:?} {}", running.log());
    }
}
