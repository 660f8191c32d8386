//! Who may call what.

use hyper::http::Request as HttpRequest;
use pid1::proto::exec_service::exec_message::Payload;
use pid1::proto::exec_service::exec_status_response::Status as State;
use pid1::proto::exec_service::{ExecMessage, ExecStartRequest};
use pid1::proto::volt::command_stream_request::Payload as Terminal;
use pid1::proto::volt::terminal_api_client::TerminalApiClient;
use pid1::proto::volt::{CommandStreamRequest, Control};
use tonic::{Code, Request, Status};

use crate::access::keys::{Keys, TOKEN};
use crate::support::{Agent, Call, Http2, SOON, channel, eventually, input, start, within};

/// What becomes of a call of ExecService with this token.
async fn exec(agent: &Agent, token: &str) -> Result<(), Status> {
    let mut call = Call::on(channel(agent).await, token).await?;
    call.send(start(&["touch", "exec-was-here"])).await;
    call.started().await;
    assert_eq!(call.ended().await.code, 0);
    Ok(())
}

/// And of one of TerminalAPI.
async fn terminal(agent: &Agent, token: &str) -> Result<(), Status> {
    let control = Control {
        command: "touch".to_owned(),
        arg: vec!["terminal-was-here".to_owned()],
        ..Control::default()
    };
    let message = CommandStreamRequest { payload: Some(Terminal::Control(control)) };
    let mut request = Request::new(tokio_stream::once(message));
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    let mut client = TerminalApiClient::new(channel(agent).await);
    let mut answers = within("a call", SOON, client.command_stream(request)).await?.into_inner();
    while within("an answer", SOON, answers.message()).await?.is_some() {}
    Ok(())
}

#[tokio::test]
async fn each_method_asks_for_a_role_before_anything_happens() {
    let (agent, keys) = Keys::agent(&[]).await;
    for (token, refusal) in [
        ("not-the-token-of-this-agent".to_owned(), Some(Code::Unauthenticated)),
        (keys.jwt_of("viewer"), Some(Code::PermissionDenied)),
        (keys.jwt_of("editor"), None),
        (TOKEN.to_owned(), None),
    ] {
        for (file, done) in [
            ("exec-was-here", exec(&agent, &token).await),
            ("terminal-was-here", terminal(&agent, &token).await),
        ] {
            let path = agent.root().join(file);
            assert_eq!(done.as_ref().err().map(Status::code), refusal, "{file}: {done:?}");
            if refusal.is_some() {
                assert!(!path.exists(), "{file}");
            } else {
                // The terminal's program may still be at it.
                eventually("the program has run", SOON, || path.exists()).await;
                std::fs::remove_file(path).unwrap();
            }
        }
    }
    eventually("nothing is left running", SOON, || agent.programs().is_empty()).await;
}

#[tokio::test]
async fn only_an_owner_follows_what_others_have_started() {
    let (agent, keys) = Keys::agent(&[]).await;
    let mut first = Call::on(channel(&agent).await, TOKEN).await.unwrap();
    first.send_as("the-first", start(&["sh", "-c", "echo past; read word; echo got $word"])).await;
    assert_eq!(first.started().await, "the-first");
    first.prints("past").await;
    let pid = agent.programs()[0];
    let follow = |target: String| {
        Payload::StartRequest(ExecStartRequest { container_id: target, ..ExecStartRequest::default() })
    };
    let targets = [format!("pid1://pid/{pid}"), "pid1://exec/the-first".to_owned()];
    for role in ["editor", "owner"] {
        let mut call = Call::on(channel(&agent).await, &keys.jwt_of(role)).await.unwrap();
        for target in &targets {
            call.send(follow(target.clone())).await;
            match (role, call.next().await.unwrap()) {
                ("owner", Some(ExecMessage { payload: Some(Payload::Status(status)), .. })) => {
                    assert_eq!(status.status(), State::Started);
                    call.prints("past").await;
                }
                ("editor", Some(ExecMessage { payload: Some(Payload::Status(status)), .. })) => {
                    assert_eq!(status.status(), State::Error);
                    assert!(status.error_message.contains("need the role owner"), "{status:?}");
                }
                (_, other) => panic!("{other:?}"),
            }
        }
        // Who only follows ends nothing by leaving...
        drop(call);
    }
    // ...and types like anybody.
    let mut other = Call::on(channel(&agent).await, TOKEN).await.unwrap();
    other.send(follow(targets[1].clone())).await;
    other.started().await;
    other.prints("past").await;
    other.send(input("a word\n")).await;
    for call in [&mut first, &mut other] {
        let ended = call.ended().await;
        assert_eq!((String::from_utf8_lossy(&ended.stdout).trim(), ended.code), ("got a word", 0));
    }
    // The past of a program that has ended is there, too.
    let mut late = Call::on(channel(&agent).await, TOKEN).await.unwrap();
    late.send(follow(targets[1].clone())).await;
    late.started().await;
    assert_eq!(late.ended().await.stdout, b"past\ngot a word\n");
}

#[tokio::test]
async fn hosts_and_origins_are_looked_at_as_everywhere() {
    let agent = Agent::start().await;
    let mut client = Http2::dial(&agent).await;
    for (host, origin, status) in [
        ("evil.example.com", None, 421),
        ("localhost", Some("http://evil.example.com"), 403),
        ("localhost", None, 200),
    ] {
        let uri = format!("http://{host}/exec_service.ExecService/ExecStream");
        let request =
            HttpRequest::builder().method("POST").uri(uri).header("content-type", "application/grpc");
        let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
        let answer = client.send(request, "").await;
        assert_eq!(answer.status().as_u16(), status, "{host} {origin:?}");
        let code = answer.headers().get("grpc-status").and_then(|code| code.to_str().ok());
        // 7 is "permission denied", 16 "unauthenticated": whoever looks at that alone is told as well.
        assert_eq!(code, Some(if status == 200 { "16" } else { "7" }));
    }
}
