//! What the command inherits is what its init was given: descriptors, signals, folder, environment.

use super::inits::{ALL, Under, Who};

/// What a command sees without any init.
fn bare(prefix: &[&str], script: &str) -> String {
    let words = [prefix, &["bash", "-c", script]].concat();
    let output = std::process::Command::new(words[0]).args(&words[1..]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn descriptors_are_inherited_and_none_is_added() {
    let file = "exec 5>/dev/null 7</proc/sys/kernel/ostype 200</dev/null; exec \"$@\"";
    let prefix = ["bash", "-c", file, "bash"];
    let expected = bare(&prefix, "cd /proc/$$/fd; echo *; read -u 7 line; echo $line");
    assert!(expected.contains("200") && expected.ends_with("Linux"), "{expected}");
    for init in ALL {
        let under = Under::new(init).prefix(&prefix);
        let (_, seen) = under.run("cd /proc/$$/fd; echo *; read -u 7 line; echo $line").await;
        assert_eq!(seen, expected, "{init:?}");
    }
}

#[tokio::test]
async fn signals_are_ignored_and_blocked_as_they_were() {
    let prefix = ["env", "--ignore-signal=HUP", "--ignore-signal=USR1", "--block-signal=USR2"];
    // All but the C library's own two, which whoever starts a program may leave ignored.
    let show = "while read name mask; do case $name in SigIgn:|SigBlk:|SigPnd:)
        printf '%s %x\\n' $name $((0x$mask & ~0x180000000));; esac; done < /proc/self/status";
    let expected = bare(&prefix, show);
    let nothing = bare(&[], show);
    assert_ne!(expected, nothing);
    for init in [Who::Pid1, Who::AsTini, Who::AsDumbInit, Who::Tini] {
        assert_eq!(Under::new(init).prefix(&prefix).run(show).await.1, expected, "{init:?}");
        assert_eq!(Under::new(init).run(show).await.1, nothing, "{init:?}");
    }
}

#[tokio::test]
async fn folder_environment_and_arguments_are_as_given() {
    for init in ALL {
        let mut running = Under::new(init).env("ODD", "a=b\n'c").start(&[
            "bash",
            "-c",
            "printf %s \"$ODD|$PWD|$1\"; cat",
            "-",
            "--x",
        ]);
        let here = std::env::current_dir().unwrap();
        running.until("--x", 1).await;
        assert_eq!(running.out(), format!("a=b\n'c|{}|--x", here.display()), "{init:?}");
        running.write(" and stdin");
        running.until("|--x and stdin", 1).await;
    }
}

/// Nor is the command killed sooner for want of memory than it would be alone.
#[tokio::test]
async fn what_is_killed_for_memory_is_not_changed() {
    let show = "cat /proc/self/oom_score_adj";
    let expected = bare(&["choom", "-n", "321", "--"], show);
    assert_eq!(expected, "321");
    for init in ALL {
        let under = Under::new(init).prefix(&["choom", "-n", "321", "--"]);
        assert_eq!(under.run(show).await.1, expected, "{init:?}");
    }
}
