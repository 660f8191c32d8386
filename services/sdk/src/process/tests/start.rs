//! How programs start: arguments, environment, folder, descriptors, and what cannot start says why.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use super::super::{StartError, StopCause, proc_fs};
use super::*;

fn refusal(table: &ProcessTable, spec: Spec) -> (String, i32) {
    let error: StartError = table.start(spec).expect_err("it cannot start");
    (error.to_string(), error.shell_code())
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let table = table();
    let (_keep, dir) = folder();
    let plain = dir.join("plain");
    std::fs::write(&plain, "x").unwrap();
    let broken = dir.join("broken");
    std::fs::write(&broken, [0u8, 1, 2, 3]).unwrap();
    std::fs::set_permissions(&broken, PermissionsExt::from_mode(0o755)).unwrap();
    let script = dir.join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();

    let (text, code) = refusal(&table, spec(&["no-such-program"]));
    assert_eq!((text.as_str(), code), ("exec: \"no-such-program\": executable file not found in $PATH", 127));
    let (text, code) = refusal(&table, spec(&["./missing"]));
    assert_eq!((text.as_str(), code), ("exec: \"./missing\": no such file or directory", 127));
    let (text, code) = refusal(&table, spec(&["/tmp"]));
    assert_eq!((text.as_str(), code), ("exec: \"/tmp\": is a directory", 126));
    let (text, code) = refusal(&table, spec(&[&path(&plain)]));
    assert!(text.ends_with("permission denied"), "{text}");
    assert_eq!(code, 126);
    let (text, code) = refusal(&table, spec(&[&path(&broken)]));
    assert!(text.ends_with("exec format error"), "{text}");
    assert_eq!(code, 126);
    let (text, code) = refusal(&table, spec(&[&path(&script)]));
    assert!(text.contains("interpreter"), "{text}");
    assert_eq!(code, 127);
    assert_eq!(refusal(&table, spec(&[])).0, "exec: no command");
    assert!(refusal(&table, spec(&["true", "a\0b"])).0.contains("NUL"));
    let nul = Spec { env: vec![("A".into(), "a\0b".into())], ..spec(&["true"]) };
    assert!(refusal(&table, nul).0.contains("NUL"));
    let cwd = Spec { cwd: "/no/such/folder".into(), ..spec(&["true"]) };
    assert_eq!(refusal(&table, cwd).0, "chdir /no/such/folder: no such file or directory");
    let cwd = Spec { cwd: plain.clone(), ..spec(&["true"]) };
    assert!(refusal(&table, cwd).0.ends_with("not a directory"));
    let huge = "x".repeat(4 << 20);
    assert!(refusal(&table, spec(&["true", &huge])).0.contains("argument list too long"));
    assert_eq!(table.live(), 0);
    assert!(table.list().is_empty());
}

#[tokio::test]
async fn the_environment_is_whole_and_exact() {
    let table = table();
    let spec = Spec {
        env: vec![("B".into(), "1 = 2".into()), ("A".into(), "\u{fc}\n".into())],
        ..Spec::new(["/usr/bin/env", "-0"])
    };
    assert_eq!(run(&table, spec).await, "B=1 = 2\0A=\u{fc}\n\0");
    assert_eq!(run(&table, Spec::new(["/usr/bin/env"])).await, "");
    // Without a PATH the program is searched where the system keeps it.
    assert_eq!(run(&table, Spec::new(["sh", "-c", "echo $0 $#", "a", ""])).await, "a 1\n");
}

#[tokio::test]
async fn folder_and_relative_programs() {
    let table = table();
    let (_keep, dir) = folder();
    let program = dir.join("hello");
    std::fs::write(&program, "#!/bin/sh\npwd -P\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let real = dir.canonicalize().unwrap();
    let expected = format!("{}\n", real.display());
    let by_path = Spec { cwd: dir.clone(), ..spec(&["./hello"]) };
    assert_eq!(run(&table, by_path).await, expected);
    let by_name =
        Spec { cwd: dir.clone(), env: vec![("PATH".into(), "/nowhere:.".into())], ..Spec::new(["hello"]) };
    assert_eq!(run(&table, by_name).await, expected);
}

#[tokio::test]
async fn descriptors_are_mapped_and_no_others_are_there() {
    let table = table();
    let list = "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> \\(.*\\)/\\1 \\2/p'";
    // Many of ours are open meanwhile, terminals among them.
    let others: Vec<_> =
        (0..5).map(|_| table.start(on_terminal(spec(&["sleep", "1000"]))).unwrap()).collect();
    let plain = run(&table, sh(list)).await;
    let numbers: Vec<&str> = plain.lines().filter_map(|line| line.split(' ').next()).collect();
    // The fourth is the listing's own.
    assert_eq!(numbers, ["0", "1", "2", "3"], "{plain}");

    let (_keep, dir) = folder();
    let open = |name: &str| -> OwnedFd { std::fs::File::create(dir.join(name)).unwrap().into() };
    let (a, b) = (open("a"), open("b"));
    let mapped = Spec {
        fds: vec![(a, 201), (b, 200)],
        // Not every sh knows numbers above 9.
        ..spec(&["bash", "-c", "ls /proc/self/fd | sort -n | tr '\\n' ' '; echo a >&201; echo b >&200"])
    };
    assert_eq!(run(&table, mapped).await, "0 1 2 3 200 201 ");
    assert_eq!(std::fs::read_to_string(dir.join("a")).unwrap(), "a\n");
    assert_eq!(std::fs::read_to_string(dir.join("b")).unwrap(), "b\n");

    // Swapped numbers must not overwrite each other.
    let (c, d) = (open("c"), open("d"));
    let (to_c, to_d) = {
        use std::os::fd::AsRawFd;
        (c.as_raw_fd(), d.as_raw_fd())
    };
    let swapped = Spec {
        fds: vec![(c, to_d), (d, to_c)],
        ..spec(&["bash", "-c", &format!("echo c >&{to_d}; echo d >&{to_c}")])
    };
    assert_eq!(run(&table, swapped).await, "");
    assert_eq!(std::fs::read_to_string(dir.join("c")).unwrap(), "c\n");
    assert_eq!(std::fs::read_to_string(dir.join("d")).unwrap(), "d\n");

    let twice = Spec { fds: vec![(open("e"), 9), (open("f"), 9)], ..spec(&["true"]) };
    assert!(matches!(table.start(twice), Err(StartError::Descriptor { fd: 9 })));
    for other in others {
        other.kill(super::super::StopCause::Request);
        soon("stop", other.stopped()).await;
    }
}

#[tokio::test]
async fn signals_are_at_their_default_and_limits_are_given_back() {
    let config = TableConfig { child_nofile_soft: Some(512), ..TableConfig::default() };
    let table = table_with(config);
    let text = run(&table, sh("ulimit -Sn; grep -E 'Sig(Ign|Blk)' /proc/self/status")).await;
    assert!(text.starts_with("512\n"), "{text}");
    for line in text.lines().skip(1) {
        assert!(line.ends_with("\t0000000000000000"), "{text}");
    }
    let ours = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_ne!(ours.current, Some(512));
}

#[tokio::test]
async fn the_table_has_a_limit() {
    let config = TableConfig { max_processes: 2, ..TableConfig::default() };
    let table = table_with(config);
    let first = table.start(spec(&["cat"])).unwrap();
    let _second = table.start(spec(&["cat"])).unwrap();
    assert!(matches!(table.start(spec(&["cat"])), Err(StartError::TooMany { limit: 2 })));
    first.stdin().close();
    soon("exit", first.exited()).await;
    table.start(spec(&["cat"])).unwrap();
    soon("all stopped", table.stop_all()).await;
    assert!(matches!(table.start(spec(&["cat"])), Err(StartError::ShuttingDown)));
    assert_eq!(table.live(), 0);
}

fn oom_score(pid: i32) -> i32 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("it runs");
    text.trim().parse().expect("a number")
}

#[tokio::test]
async fn a_program_and_its_children_are_killed_for_memory_as_the_table_says() {
    let score = oom_score(std::process::id() as i32) + 150;
    let table = table_with(TableConfig { child_oom_score: Some(score), ..TableConfig::default() });
    let script = "read line; echo child=$(sh -c 'cat /proc/self/oom_score_adj'); read line";
    for spec in [sh(script), on_terminal(sh(script))] {
        let process = table.start(spec).expect("it starts");
        assert_eq!(oom_score(process.pid()), score);
        process.stdin().push("\n".into()).expect("it reads");
        assert_eq!(number(&expect(&process, "child=").await, "child"), score);
        process.kill(StopCause::Request);
    }
}

/// Under load a program has started others before its own start has returned. Some choose for themselves.
#[tokio::test]
async fn a_child_that_was_there_before_is_killed_for_memory_as_its_parent() {
    let own = oom_score(std::process::id() as i32);
    let score = own + 150;
    let table = table();
    let process =
        table.start(sh("sh -c 'sh -c \"echo last=\\$\\$; read a; exit\"; exit'; exit")).expect("it starts");
    let last = number(&expect(&process, "\n").await, "last");
    assert_ne!(oom_score(last), score);
    proc_fs::set_oom_scores(proc_fs::children_of(process.pid()), score);
    assert_eq!(oom_score(last), score);
    std::fs::write(format!("/proc/{last}/oom_score_adj"), (own + 50).to_string()).expect("it takes one");
    proc_fs::set_oom_scores(proc_fs::children_of(process.pid()), score);
    assert_eq!(oom_score(last), own + 50, "its own choice");
    process.kill(StopCause::Request);
}
