//! Flags and variables of tini and dumb-init mean to us what they mean to them.

use nix::sys::signal::Signal;

use super::inits::{ALL, LIKE_DUMB_INIT, LIKE_TINI, Running, Under, Who, send};
use crate::support::{SOON, eventually};

async fn outcome(mut running: Running) -> (i32, String, String) {
    let status = running.status().await;
    (status, running.out(), running.log())
}

#[tokio::test]
async fn flags_end_at_the_command() {
    for init in ALL {
        let (status, out, _) = outcome(Under::new(init).start(&["echo", "-v", "--", "-g"])).await;
        assert_eq!((status, out.as_str()), (0, "-v -- -g\n"), "{init:?}");
    }
}

/// Without a `--` in front, as both print their usage.
#[tokio::test]
async fn the_command_needs_no_separator() {
    let folder = tempfile::tempdir().unwrap();
    for init in ALL {
        for (words, expected) in [(&["echo", "a"][..], "a\n"), (&["echo", "--", "-a"], "-a\n")] {
            let line = init.words(folder.path());
            let output = std::process::Command::new(&line[0])
                .args(&line[1..])
                .args(words)
                .env("TINI_SUBREAPER", "1")
                .output()
                .unwrap();
            // For dumb-init it is an argument like any other.
            let expected =
                if LIKE_DUMB_INIT.contains(&init) { words[1..].join(" ") + "\n" } else { expected.into() };
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{init:?} {words:?}");
        }
    }
}

#[tokio::test]
async fn mistakes_are_told_and_nothing_runs() {
    for (inits, flags) in [
        (&LIKE_TINI[..], &[&["-x"][..], &["-e", "256"], &["-e", "x"], &["-p", "SIGNOTHING"], &["-p"]][..]),
        (&LIKE_DUMB_INIT, &[&["-x"], &["-r", "15"], &["-r", "15:99"], &["--rewrite", "0:15"]]),
    ] {
        for &init in inits {
            for flags in flags {
                let (status, out, log) = outcome(Under::new(init).flags(flags).start(&["echo", "ran"])).await;
                assert_eq!((status, out.as_str()), (1, ""), "{init:?} {flags:?}");
                assert!(!log.is_empty(), "{init:?} {flags:?}");
            }
        }
    }
    for init in ALL {
        assert_eq!(outcome(Under::new(init).start(&[])).await.0, 1, "{init:?}");
    }
}

#[tokio::test]
async fn help_version_and_license_are_shown() {
    for init in ALL {
        for flag in if LIKE_TINI.contains(&init) { ["-h", "-l"] } else { ["--help", "-V"] } {
            let (status, out, log) = outcome(Under::new(init).flags(&[flag]).start(&[])).await;
            assert_eq!(status, 0, "{init:?} {flag}");
            // Where dumb-init puts its own is no matter.
            assert!(init == Who::DumbInit || (!out.is_empty() && log.is_empty()), "{init:?} {flag} {log}");
        }
    }
    for init in [Who::Pid1, Who::AsTini, Who::AsDumbInit] {
        let folder = tempfile::tempdir().unwrap();
        let line = init.words(folder.path());
        let output = std::process::Command::new(&line[0]).args(&line[1..]).arg("--version").output().unwrap();
        assert!(output.status.success() && output.stdout.ends_with(b"\n"), "{init:?} {output:?}");
    }
}

#[tokio::test]
async fn the_death_of_the_parent_is_a_signal() {
    for init in LIKE_TINI {
        let under = Under::below(init).flags(&["-s", "-p", "SIGUSR1"]).prefix(&[
            "bash",
            "-c",
            "\"$@\" <&0 & read; kill -9 $$",
            "bash",
        ]);
        let mut running = under
            .sh("trap 'echo orphaned; kill $!; exit' USR1; sleep 1000 & echo ready; while :; do wait; done");
        running.until("ready", 1).await;
        running.write("\n");
        running.until("orphaned", 1).await;
        running.status().await;
    }
}

#[tokio::test]
async fn signals_are_rewritten() {
    let listener = "for s in TERM QUIT USR1; do trap \"echo $s\" $s; done; echo ready
        sleep 1000 & while :; do wait; done";
    for init in LIKE_DUMB_INIT {
        for flags in [&["-r", "15:3", "--rewrite", "1:0"][..], &["-c", "--rewrite=15:3", "-r1:0"]] {
            let running = Under::new(init).flags(flags).sh(listener);
            running.until("ready", 1).await;
            // One that is dropped ends nothing; the marks say that it has been read.
            for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1] {
                running.signal(signal as i32).await;
                let expected = match signal {
                    Signal::SIGTERM => "QUIT",
                    Signal::SIGUSR1 => "USR1",
                    _ => continue,
                };
                running.until(expected, 1).await;
            }
            assert_eq!(running.out(), "ready\nQUIT\nUSR1\n", "{init:?} {flags:?}");
        }
    }
}

#[tokio::test]
async fn more_is_said_if_that_is_asked_for() {
    for init in ALL {
        let quiet = outcome(Under::new(init).sh("echo out")).await;
        assert_eq!(quiet, (0, "out\n".to_owned(), String::new()), "{init:?}");
        let under = Under::new(init);
        let asked = if LIKE_TINI.contains(&init) {
            [under.flags(&["-v", "-v", "-vv"]), Under::new(init).env("TINI_VERBOSITY", "3")]
        } else {
            [under.flags(&["--verbose"]), Under::new(init).env("DUMB_INIT_DEBUG", "1")]
        };
        for under in asked {
            let (status, out, log) = outcome(under.sh("echo out")).await;
            assert_eq!(status, 0);
            // tini says it on stdout, where the command's output is.
            assert!(!(out + &log).replace("out\n", "").is_empty(), "{init:?}");
            assert!(!init.is_ours() || log.lines().all(|line| line.starts_with("pid1 init: ")), "{log}");
        }
    }
}

/// A signal that comes before the command has begun is the command's.
#[tokio::test]
async fn no_signal_is_lost_at_the_start() {
    for init in [Who::Pid1, Who::AsTini, Who::AsDumbInit] {
        for _ in 0..crate::support::size(10, 200) {
            let mut running = Under::new(init).start(&["sleep", "1000"]);
            let pid = running.init().await;
            // All of them: what comes before us blocks a few.
            let held = || super::inits::field(pid, "SigBlk").starts_with("fffffffe");
            eventually("signals are held", SOON, held).await;
            send(pid, Signal::SIGTERM as i32);
            assert_eq!(running.status().await, 143, "{init:?}");
        }
    }
}
