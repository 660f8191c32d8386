//! What becomes of programs when their calls end, and of calls when something else does.

use nix::sys::signal::Signal;
use pid1::proto::exec_service::ExecStartRequest;
use pid1::proto::exec_service::exec_message::Payload;
use pid1::proto::exec_service::exec_status_response::Status as State;
use pid1_sdk::api::command::Body;
use pid1_sdk::api::{ProcessInfo, ProcessList};
use tonic::Code;

use crate::access::keys::Keys;
use crate::support::{Agent, Call, Peer, SOON, channel, eventually, start};

#[tokio::test]
async fn a_call_that_ends_takes_the_whole_family_with_it() {
    let agent = Agent::start().await;
    for cut in [false, true] {
        let mut call = Call::open(&agent).await;
        call.send(start(&["sh", "-c", "sleep 1000 & setsid sleep 1001 & echo ready; wait"])).await;
        call.started().await;
        call.prints("ready").await;
        eventually("all three run", SOON, || agent.programs().len() == 3).await;
        if cut {
            drop(call);
        } else {
            call.end();
            // No word of the program's end: the call's is a success.
            assert_eq!(call.next().await.unwrap(), None);
        }
        eventually("all are ended", SOON, || agent.programs().is_empty()).await;
    }
}

#[tokio::test]
async fn the_end_is_told_when_nobody_can_print_any_more() {
    let agent = Agent::start().await;
    let mut call = Call::open(&agent).await;
    let script = "(until [ -e go ]; do sleep 0.05; done; echo late) & echo early; exit 3";
    call.send(start(&["sh", "-c", script])).await;
    call.started().await;
    call.prints("early").await;
    std::fs::write(agent.root().join("go"), "").unwrap();
    let ended = call.ended().await;
    assert_eq!((ended.stdout.as_slice(), ended.code), (&b"late\n"[..], 3));
}

/// As of a container's exec: who has cut himself loose runs on, and is the agent's.
#[tokio::test]
async fn what_a_program_has_left_running_outlives_its_call() {
    let agent = Agent::start().await;
    let mut call = Call::open(&agent).await;
    call.send(start(&["sh", "-c", "sleep 1000 >/dev/null 2>&1 </dev/null & echo left"])).await;
    call.started().await;
    assert_eq!(call.ended().await.code, 0);
    call.end();
    assert_eq!(call.next().await.unwrap(), None);
    // A later one on the same agent is ended, this one is not.
    let mut other = Call::open(&agent).await;
    other.send(start(&["sleep", "2000"])).await;
    other.started().await;
    drop(other);
    eventually("one is left", SOON, || agent.programs().len() == 1).await;
}

#[tokio::test]
async fn the_agents_end_is_told() {
    let mut agent = Agent::start().await;
    let mut call = Call::open(&agent).await;
    call.send(start(&["sh", "-c", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"]))
        .await;
    call.started().await;
    call.prints("ready").await;
    let mut idle = Call::open(&agent).await;
    agent.signal(Signal::SIGTERM);
    let ended = call.ended().await;
    assert_eq!((ended.stdout.as_slice(), ended.code), (&b"bye\n"[..], 5));
    for call in [&mut call, &mut idle] {
        let status = call.next().await.expect_err("the call is over");
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
    assert!(agent.ended().await.success());
}

#[tokio::test]
async fn a_call_ends_with_its_token() {
    let (agent, keys) = Keys::agent(&[]).await;
    let mut call =
        Call::on(channel(&agent).await, &keys.jwt(&["--role", "editor", "--ttl", "2s"])).await.unwrap();
    call.send(start(&["sleep", "1000"])).await;
    call.started().await;
    let status = call.next().await.expect_err("the token expires");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    eventually("the program is ended", SOON, || agent.programs().is_empty()).await;
}

#[tokio::test]
async fn sessions_are_listed_and_counted_for_their_instance() {
    let agent = Agent::start().await;
    let mut call = Call::open(&agent).await;
    let request = ExecStartRequest {
        command: vec!["sleep".to_owned(), "1000".to_owned()],
        instance_id: "instance-7".to_owned(),
        ..ExecStartRequest::default()
    };
    call.send_as("session-1", Payload::StartRequest(request)).await;
    call.started().await;
    let mut client = agent.client().await;
    let counted = async |client: &mut Peer| {
        let Body::Metrics(metrics) = client.ask(0, Body::Metrics(Default::default())).await else { panic!() };
        let families = metrics.prometheus_metric_families.iter();
        families.map(|family| String::from_utf8_lossy(family).into_owned()).any(|f| f.contains("instance-7"))
    };
    assert!(counted(&mut client).await);
    let process = client.open("process", "").await;
    let Body::ProcessListResult(list) = client.ask(process, Body::ProcessList(ProcessList {})).await else {
        panic!("no list")
    };
    let found: Vec<&ProcessInfo> = list.processes.iter().filter(|info| info.name == "session-1").collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].args, ["sleep", "1000"]);
    call.send(start(&["true"])).await;
    call.ended().await;
    assert!(!counted(&mut client).await);
}

#[tokio::test]
async fn a_program_runs_as_whom_its_request_names() {
    let agent = Agent::start().await;
    let mut call = Call::open(&agent).await;
    let request = |user: &str, line: &str| {
        Payload::StartRequest(ExecStartRequest {
            command: vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()],
            user: user.to_owned(),
            working_dir: "/".to_owned(),
            ..ExecStartRequest::default()
        })
    };
    call.send(request("nobody", "id -u; echo $HOME $USER; echo again >/dev/stdout")).await;
    call.started().await;
    let ended = call.ended().await;
    let printed = String::from_utf8(ended.stdout).unwrap();
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!((lines[0], lines[2], ended.code), ("65534", "again", 0), "{printed}");
    assert!(lines[1].ends_with(" nobody"), "{printed}");
    // One who is not there: there is no session, and the call goes on.
    call.send(request("nobody-of-that-name", "id -u")).await;
    match call.next().await.unwrap().unwrap().payload {
        Some(Payload::Status(status)) => {
            assert_eq!(status.status(), State::Error);
            assert!(status.error_message.contains("/etc/passwd"), "{status:?}");
        }
        other => panic!("{other:?}"),
    }
    call.send(request("", "id -u")).await;
    call.started().await;
    assert_eq!(call.ended().await.stdout, b"0\n");
}

/// Whoever takes nothing, and says nothing, keeps no program and no agent.
#[tokio::test]
async fn a_token_ends_also_for_who_takes_nothing() {
    let (agent, keys) = Keys::agent(&[]).await;
    let channel = channel(&agent).await;
    let call = Call::on(channel, &keys.jwt(&["--role", "editor", "--ttl", "2s"])).await.unwrap();
    // More than the client's window: what is said at the end has no room.
    for _ in 0..2 {
        call.send(start(&["sh", "-c", "yes; sleep 1000"])).await;
    }
    eventually("it runs", SOON, || !agent.programs().is_empty()).await;
    eventually("the program is ended", SOON, || agent.programs().is_empty()).await;
    drop(call);
}

#[tokio::test]
async fn a_silent_client_does_not_hold_up_the_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut agent = Agent::with(&["--stop-grace", "30"]).await;
    let mut stream = crate::support::Raw::dial(&agent).await;
    // The preface and settings; what the agent says is never answered.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // Its settings: it has taken ours.
    stream.read_exact(&mut [0; 9]).await.unwrap();
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended().await.success());
}
