//! What clients can make the agent hold, and that what one of them holds keeps no other from working.

use futures_util::future::join_all;
use tonic::Code;

use crate::support::router::{Router, Stdout, command};
use crate::support::{Agent, HEAVY, LATE, SOON, eventually, size, within};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn input_that_nobody_reads_is_bounded_and_holds_up_nobody_else() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let router = Router::open(&agent).await;
    let mut stuck = Vec::new();
    for _ in 0..5 {
        stuck.push(router.start(command(&["sleep", "1000"])).await.unwrap());
    }
    let before = agent.rss_bytes();
    // 256 MiB have room for four, and as much more may wait.
    for exec in &stuck[..4] {
        router.write(exec, 0, vec![b'x'; 60 * MIB], false).await.unwrap();
    }
    let waiting = (0..6).map(|at| {
        let (router, exec) = (router.clone(), stuck[at % 5].clone());
        tokio::spawn(async move {
            let asked = pid1::proto::modal::task_command_router::TaskExecStdinWriteRequest {
                task_id: "ta-1".to_owned(),
                exec_id: exec,
                offset: if at == 4 { 0 } else { 60 * MIB as u64 },
                data: vec![b'y'; 60 * MIB].into(),
                eof: false,
            };
            router.raw().task_exec_stdin_write(router.request(asked)).await.map(drop)
        })
    });
    let waiting: Vec<_> = waiting.collect();
    eventually("two are refused", LATE, || waiting.iter().filter(|write| write.is_finished()).count() >= 2)
        .await;
    let peak = agent.peak_rss_bytes().saturating_sub(before);
    assert!(peak < 1100 * MIB as u64, "{} MiB", peak >> 20);
    let cat = router.start(command(&["cat"])).await.unwrap();
    router.write(&cat, 0, "still here", true).await.unwrap();
    assert_eq!(router.read(&cat, Stdout, 0).await.unwrap(), b"still here");
    let (refused, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|write| write.is_finished());
    for write in refused {
        let status = write.await.unwrap().expect_err("there is no room");
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
    // One goes, and with it what waits for it: there is room for whom it held up.
    let mut first = 0;
    for exec in &stuck {
        first += router.status(exec).await.unwrap().0;
    }
    assert_eq!(first, 240 * MIB as u64);
    for pid in agent.programs() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    for write in waiting {
        // Or it was taken before its program had gone, too.
        if let Err(status) = within("an answer", SOON, write).await.unwrap() {
            assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        }
    }
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
