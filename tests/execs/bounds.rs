//! What clients can make the agent hold, and that what one of them holds keeps no other from working.

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::Code;

use crate::access::keys::Keys;
use crate::support::router::{Router, Stdout, command};
use crate::support::{Agent, HEAVY, LATE, SOON, eventually, size, within};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn input_that_nobody_reads_is_bounded_and_holds_up_nobody_else() {
    let _alone = HEAVY.lock().await;
    let (agent, keys) = Keys::agent(&[]).await;
    let ann = Router::on(&agent, &keys.jwt(&["--role", "editor", "--user", "ann"])).await;
    let before = agent.rss_bytes();
    // She fills what all may leave unread, and her part of what may wait.
    let mut calls = Vec::new();
    for mebibytes in [85, 85, 85, 60, 60, 60] {
        let exec = ann.start(command(&["sleep", "1000"])).await.unwrap();
        let (ann, data) = (ann.clone(), vec![b'x'; mebibytes * MIB]);
        calls.push(tokio::spawn(async move { ann.write_in_time(&exec, 0, data, LATE).await }));
    }
    eventually("one has no room to wait", LATE, || {
        calls.iter().filter(|call| call.is_finished()).count() >= 4
    })
    .await;
    let (over, waiting): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.is_finished());
    let mut refused = 0;
    for call in over {
        if let Err(status) = call.await.unwrap() {
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            refused += 1;
        }
    }
    assert_eq!((refused, waiting.len()), (1, 2));
    let peak = agent.peak_rss_bytes().saturating_sub(before);
    assert!(peak < 1000 * MIB as u64, "{} MiB", peak >> 20);

    // Bob has a program that reads late, and more than fits into it at once.
    let bob = Router::on(&agent, &keys.jwt(&["--role", "editor", "--user", "bob"])).await;
    let late = bob.sh("until [ -e go ]; do sleep 0.02; done; exec wc -c").await;
    let write = {
        let (bob, late) = (bob.clone(), late.clone());
        tokio::spawn(async move { bob.write_in_time(&late, 0, vec![b'y'; 8 * MIB], LATE).await })
    };
    eventually("the first piece is taken", SOON, || !write.is_finished()).await;
    std::fs::write(agent.root().join("go"), "").unwrap();
    write.await.unwrap().expect("all is taken");
    bob.write(&late, 8 * MIB as u64, "", true).await.unwrap();
    assert_eq!(bob.read(&late, Stdout, 0).await.unwrap(), format!("{}\n", 8 * MIB).as_bytes());

    for pid in agent.programs() {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    for call in waiting {
        // Or it was taken, because another was gone first.
        if let Err(status) = within("an answer", SOON, call).await.unwrap() {
            assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        }
    }
}

#[tokio::test]
async fn one_program_has_so_many_readers() {
    let agent = Agent::start().await;
    let router = Router::open(&agent).await;
    let exec = router.sh("echo hello; until [ -e go ]; do sleep 0.02; done").await;
    let mut readers = Vec::new();
    let refused = loop {
        match router.reading(&exec, Stdout, 0).await {
            Ok(reader) => readers.push(reader),
            Err(status) => break status,
        }
        assert!(readers.len() < 1000);
    };
    // Tried again by the published clients, for a while.
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    readers.pop();
    let mut last = None;
    for _ in 0..100 {
        last = router.reading(&exec, Stdout, 0).await.ok();
        if last.is_some() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let piece = within("output", SOON, last.expect("there is a place again").message()).await.unwrap();
    assert_eq!(piece.expect("a line").data.as_ref(), b"hello\n");
    std::fs::write(agent.root().join("go"), "").unwrap();
    assert_eq!(router.wait(&exec).await.unwrap(), 0);
}

#[tokio::test]
async fn a_secret_that_is_named_often_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.toml");
    let lines = format!("[st-1]\nA = \"{}\"\n[st-2]\nA = \"two\"\n", "x".repeat(100_000));
    std::fs::write(&file, lines).unwrap();
    let agent = Agent::with(&["--secrets", file.to_str().unwrap()]).await;
    let router = Router::open(&agent).await;
    let before = agent.peak_rss_bytes();
    let mut request = command(&["sh", "-c", "printf %s \"$A\" | wc -c"]);
    request.secret_ids = (0..20_000).map(|at| if at == 7 { "st-2" } else { "st-1" }.to_owned()).collect();
    // Many more variables than any program has: none of them is looked for among all others.
    request.env = (0..10_000).map(|at| (format!("N{at}"), String::new())).collect();
    let exec = router.start(request).await.unwrap();
    assert_eq!(router.read(&exec, Stdout, 0).await.unwrap(), b"100000\n");
    assert!(agent.peak_rss_bytes() - before < 64 << 20, "{} MiB", (agent.peak_rss_bytes() - before) >> 20);
}

#[tokio::test]
async fn all_of_many_that_flood_get_on() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let router = Router::open(&agent).await;
    let execs = size(100, 300);
    let started = join_all((0..execs).map(|_| router.start(command(&["yes"])))).await;
    let reads = started.into_iter().map(|exec| {
        let router = router.clone();
        tokio::spawn(async move {
            let exec = exec.unwrap();
            let mut pieces = router.reading(&exec, Stdout, 0).await.unwrap();
            let mut came = 0;
            while came < MIB {
                let piece = within("output", LATE, pieces.message()).await.unwrap().expect("it goes on");
                came += piece.data.len();
            }
        })
    });
    for read in join_all(reads).await {
        read.unwrap();
    }
    // Small calls get past all that.
    let exec = router.start(command(&["true"])).await.unwrap();
    assert_eq!(within("the end", SOON, router.wait(&exec)).await.unwrap(), 0);
}

#[tokio::test]
async fn requests_that_make_no_sense_change_nothing() {
    let agent = Agent::start().await;
    let router = Router::open(&agent).await;
    let plain = || command(&["touch", "was-here"]);
    let mut cases = vec![
        (
            "no task",
            {
                let mut r = plain();
                r.task_id.clear();
                r
            },
            Code::InvalidArgument,
            "task_id",
        ),
        (
            "no name",
            {
                let mut r = plain();
                r.exec_id.clear();
                r
            },
            Code::InvalidArgument,
            "exec_id",
        ),
        (
            "a long name",
            {
                let mut r = plain();
                r.exec_id = "x".repeat(257);
                r
            },
            Code::InvalidArgument,
            "256",
        ),
        (
            "no command",
            {
                let mut r = plain();
                r.command_args.clear();
                r
            },
            Code::InvalidArgument,
            "no command",
        ),
        (
            "a zero",
            {
                let mut r = plain();
                r.command_args[1] = "a\0b".into();
                r
            },
            Code::InvalidArgument,
            "NUL",
        ),
        (
            "no folder",
            {
                let mut r = plain();
                r.workdir = Some("/nowhere".into());
                r
            },
            Code::InvalidArgument,
            "/nowhere",
        ),
        (
            "another box",
            {
                let mut r = plain();
                r.container_id = "co-1".into();
                r
            },
            Code::NotFound,
            "co-1",
        ),
        (
            "a secret",
            {
                let mut r = plain();
                r.secret_ids = vec!["st-1".into()];
                r
            },
            Code::FailedPrecondition,
            "--secrets",
        ),
    ];
    let mut stream = plain();
    stream.stderr_config = 7;
    cases.push(("a stream", stream, Code::InvalidArgument, "stderr_config"));
    let mut variable = plain();
    variable.env.insert("A=B".to_owned(), "c".to_owned());
    cases.push(("a variable", variable, Code::InvalidArgument, "A=B"));
    for (what, request, code, text) in cases {
        let exec = request.exec_id.clone();
        let status = router.start(request).await.expect_err(what);
        assert!(status.code() == code && status.message().contains(text), "{what}: {status}");
        if (1..=256).contains(&exec.len()) && what != "no task" {
            let unknown = router.poll(&exec).await.expect_err("nothing is kept of it");
            assert_eq!(unknown.code(), Code::NotFound, "{what}: {unknown}");
        }
    }
    assert!(!agent.root().join("was-here").exists());
    for call in [router.wait("nobody").await.map(drop), router.write("nobody", 0, "x", false).await] {
        let unknown = call.expect_err("there is none");
        assert!(unknown.code() == Code::NotFound && unknown.message().contains("nobody"), "{unknown}");
    }
}
