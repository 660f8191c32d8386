//! Who may start, and who may do what with a program that somebody has started.

use hyper::http::Request as HttpRequest;
use tonic::Code;

use crate::access::keys::{Keys, TOKEN};
use crate::support::router::{Router, Stderr, Stdout, command};
use crate::support::{Agent, Http2, SOON, eventually, within};

/// What becomes of each call about `exec` that changes nothing for a program that reads its input.
async fn codes(router: &Router, exec: &str) -> Vec<(&'static str, Option<Code>)> {
    // The same again: were it another, it would be started.
    let mut again = command(&["touch", "started-again"]);
    again.exec_id = exec.to_owned();
    let results = [
        ("start", router.start(again).await.map(drop)),
        ("poll", router.poll(exec).await.map(drop)),
        ("write", router.write(exec, 0, "", false).await),
        ("status", router.status(exec).await.map(drop)),
        ("read", router.reading(exec, Stdout, 0).await.map(drop)),
        ("read stderr", router.reading(exec, Stderr, 0).await.map(drop)),
    ];
    results.into_iter().map(|(call, result)| (call, result.err().map(|status| status.code()))).collect()
}

#[tokio::test]
async fn a_program_is_for_who_has_started_it_and_for_owners() {
    let (agent, keys) = Keys::agent(&[]).await;
    let ann = Router::on(&agent, &keys.jwt(&["--role", "editor", "--user", "ann"])).await;
    let exec = ann.start(command(&["cat"])).await.unwrap();
    for (who, token, refused) in [
        ("ann, with another token", keys.jwt(&["--role", "editor", "--user", "ann", "--ttl", "2h"]), None),
        ("an owner", TOKEN.to_owned(), None),
        (
            "bob",
            keys.jwt(&["--role", "editor", "--user", "bob"]),
            Some((Code::PermissionDenied, "somebody else")),
        ),
        (
            "another ann",
            keys.jwt(&["--role", "editor", "--user", "ann", "--user-id", "7"]),
            Some((Code::PermissionDenied, "somebody else")),
        ),
        (
            "a viewer",
            keys.jwt(&["--role", "viewer", "--user", "ann"]),
            Some((Code::PermissionDenied, "viewer")),
        ),
        ("a stranger", "a-token-that-is-none".to_owned(), Some((Code::Unauthenticated, "token"))),
    ] {
        let router = Router::on(&agent, &token).await;
        for (call, code) in codes(&router, &exec).await {
            assert_eq!(code, refused.map(|(code, _)| code), "{who}: {call}");
        }
        let waited = match refused {
            Some(_) => router.wait(&exec).await.map(drop),
            None => Ok(()),
        };
        if let Some((code, why)) = refused {
            let status = waited.expect_err("refused");
            assert!(status.code() == code && status.message().contains(why), "{who}: {status}");
        }
    }
    assert!(!agent.root().join("started-again").exists());
    ann.write(&exec, 0, "hello", true).await.unwrap();
    assert_eq!(ann.read(&exec, Stdout, 0).await.unwrap(), b"hello");
    assert_eq!(ann.wait(&exec).await.unwrap(), 0);
}

/// Published clients fetch another token then, and go on.
#[tokio::test]
async fn calls_end_with_their_token_and_programs_go_on() {
    let (agent, keys) = Keys::agent(&[]).await;
    let short = Router::on(&agent, &keys.jwt(&["--role", "editor", "--user", "ann", "--ttl", "2s"])).await;
    let exec = short.sh("echo one; until [ -e go ]; do sleep 0.05; done; echo two").await;
    let stopped = short.start(command(&["sh", "-c", "kill -STOP $$; cat"])).await.unwrap();
    let full = short.write(&stopped, 0, vec![b'x'; 1 << 20], false).await;
    full.expect("the first is taken whole");
    let (read, wait, write) = tokio::join!(
        short.read(&exec, Stdout, 0),
        short.wait(&exec),
        short.write(&stopped, 1 << 20, vec![b'x'; 1 << 20], false),
    );
    for status in [read.expect_err("read"), wait.expect_err("wait"), write.expect_err("write")] {
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }
    let fresh = Router::on(&agent, &keys.jwt(&["--role", "editor", "--user", "ann"])).await;
    std::fs::write(agent.root().join("go"), "").unwrap();
    assert_eq!(fresh.read(&exec, Stdout, 4).await.unwrap(), b"two\n");
    assert_eq!(fresh.wait(&exec).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_not_offered_is_said_in_a_sentence_but_not_to_strangers() {
    let agent = Agent::start().await;
    let mut client = Http2::dial(&agent).await;
    for (token, code, text) in [
        (agent.token().to_owned(), "12", "this%20agent%20makes%20no%20images"),
        ("a-token-that-is-none".to_owned(), "16", "token"),
    ] {
        let request = HttpRequest::builder()
            .method("POST")
            .uri("http://localhost/modal.task_command_router.TaskCommandRouter/TaskSnapshotDirectory")
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {token}"));
        let answer = client.send(request, "").await;
        let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("grpc-status").as_deref(), Some(code));
        let said = header("grpc-message").unwrap();
        assert!(said.contains(text), "{said}");
    }
}

#[tokio::test]
async fn secrets_are_had_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.toml");
    std::fs::write(&file, "[st-1]\nA = \"from the file\"\nB = \"too\"\n").unwrap();
    let agent = Agent::with(&["--secrets", file.to_str().unwrap()]).await;
    let router = Router::open(&agent).await;
    let started = |ids: &[&str]| {
        let mut request = command(&["sh", "-c", "echo $A; echo $B"]);
        request.secret_ids = ids.iter().map(|&id| id.to_owned()).collect();
        request.env.insert("B".to_owned(), "over it".to_owned());
        router.start(request)
    };
    let exec = started(&["st-1"]).await.unwrap();
    assert_eq!(router.read(&exec, Stdout, 0).await.unwrap(), b"from the file\nover it\n");
    let refused = started(&["st-2"]).await.expect_err("there is none");
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("st-2"), "{refused}");
    // Put there while the agent runs.
    std::fs::write(&file, "[st-2]\nA = \"new\"\n").unwrap();
    let exec = started(&["st-2"]).await.unwrap();
    assert_eq!(router.read(&exec, Stdout, 0).await.unwrap(), b"new\nover it\n");
    std::fs::write(&file, "[st-2]\nA = new-value\n").unwrap();
    let refused = started(&["st-2"]).await.expect_err("it is no TOML");
    assert!(!refused.message().contains("new-value"), "{refused}");
    assert!(!agent.log().contains("from the file"), "no value is logged");
}

#[tokio::test]
async fn what_runs_is_seen_by_all_doors() {
    let agent = Agent::start().await;
    let router = Router::open(&agent).await;
    let exec = router.start(command(&["sh", "-c", "read word; echo got $word"])).await.unwrap();
    let mut call = crate::support::Call::open(&agent).await;
    let follow = pid1::proto::exec_service::ExecStartRequest {
        container_id: format!("pid1://exec/{exec}"),
        ..Default::default()
    };
    call.send(pid1::proto::exec_service::exec_message::Payload::StartRequest(follow)).await;
    call.started().await;
    call.send(crate::support::input("hello\n")).await;
    assert_eq!(call.ended().await.stdout, b"got hello\n");
    assert_eq!(router.read(&exec, Stdout, 0).await.unwrap(), b"got hello\n");
    // What others have typed does not move this client's offsets.
    assert_eq!(router.status(&exec).await.unwrap().0, 0);
    within("the end", SOON, router.wait(&exec)).await.unwrap();
    eventually("nothing runs", SOON, || agent.programs().is_empty()).await;
}
