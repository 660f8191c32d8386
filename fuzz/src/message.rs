//! Any bytes as a session's messages: each is answered as the protocol says, none costs the session more than that.

use bytes::Bytes;
use pid1::session::Session;
use pid1_sdk::Role;
use pid1_sdk::api::{Command, OpenChannel, command::Body};
use pid1_sdk::outbox::Ended;
use prost::Message;

use super::agent::{Agent, drain, runtime, settled};

/// Services that start programs.
const PROGRAMS: [&str; 3] = ["shell", "exec", "process"];

/// Messages that are no command, of which the last ends the session.
const BAD_FRAMES: u32 = 10;

/// Channel and `ref`, where the body does not decode.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(int32, tag = "1")]
    channel: i32,
    #[prost(string, tag = "1000")]
    reference: String,
}

/// A message is a byte that says its length, and so many more; the last may be longer.
pub fn check(mut data: &[u8]) {
    runtime().block_on(async {
        let agent = Agent::new();
        let mut session = agent.connect(Role::Owner);
        for (id, name) in [(1, ""), (2, "a")] {
            let request = OpenChannel { service: "null".into(), name: name.into(), ..Default::default() };
            let open = Command { body: Some(Body::OpenChan(request)), ..Default::default() };
            session.receive(open.encode_to_vec().into()).await;
            let told = drain(session.outbox());
            assert!(matches!(&told[..], [Command { body: Some(Body::OpenChanRes(opened)), .. }] if opened.id == id));
        }
        let mut bad_frames = 0;
        while let Some((&length, rest)) = data.split_first() {
            let length = if length == u8::MAX { rest.len() } else { rest.len().min(length.into()) };
            let message;
            (message, data) = rest.split_at(length);
            if message.is_empty() {
                continue; // the door's own business
            }
            if !receive(&mut session, message, &mut bad_frames).await {
                break;
            }
        }
        drop(session);
        agent.stop().await;
    });
}

/// One message and what comes of it; false when the session is over.
async fn receive(session: &mut Session, message: &[u8], bad_frames: &mut u32) -> bool {
    let decoded = Command::decode(message);
    let starts = |service: &String| PROGRAMS.contains(&service.as_str());
    if let Ok(Command { body: Some(Body::OpenChan(request)), .. }) = &decoded
        && starts(&request.service)
    {
        return true;
    }
    session.receive(Bytes::copy_from_slice(message)).await;
    settled().await;
    let answers = drain(session.outbox());
    match decoded {
        Ok(command) => check_answers(&command, &answers),
        Err(error) if !error.to_string().contains("UTF-8") => {
            *bad_frames += 1;
            assert!(
                matches!(&answers[..], [Command { channel: 0, body: Some(Body::ProtocolError(_)), .. }]),
                "no Command is answered by protocolError: {answers:?}"
            );
        }
        _ => {
            let Envelope { channel, reference } = Envelope::decode(message).unwrap_or_default();
            let [answer] = &answers[..] else { panic!("one answer to what is refused: {answers:?}") };
            let expected = if reference.is_empty() { (0, String::new()) } else { (channel, reference) };
            assert_eq!((answer.channel, answer.r#ref.clone()), expected);
            assert!(matches!(answer.body, Some(Body::Error(_) | Body::ProtocolError(_))), "{answer:?}");
        }
    }
    let ended = session.outbox().ended();
    match &ended {
        None => assert!(*bad_frames < BAD_FRAMES, "enough is enough"),
        Some(Ended::Close { code: 1007, .. }) => assert_eq!(*bad_frames, BAD_FRAMES),
        Some(Ended::Close { code: 1000, .. }) => {}
        Some(other) => panic!("a message ended its session: {other:?}"),
    }
    ended.is_none()
}

/// What a well-formed command is answered with.
fn check_answers(command: &Command, answers: &[Command]) {
    let control = command.channel == 0;
    for answer in answers {
        let body = answer.body.as_ref().expect("a message has a body");
        let fits = match (command.body.as_ref().filter(|_| control), body) {
            (Some(Body::OpenChan(_)), Body::OpenChanRes(_))
            | (Some(Body::Ping(_)), Body::Pong(_))
            | (Some(Body::Toast(_)), Body::Toast(_)) => true,
            (Some(Body::CloseChan(asked)), Body::CloseChanRes(told)) => asked.id == told.id,
            (Some(Body::OpenChan(_) | Body::Ping(_) | Body::CloseChan(_)), _) => false,
            (Some(_), _) => answer.r#ref == command.r#ref && !answer.r#ref.is_empty(),
            (None, body) => matches!(body, Body::Error(_)) && !answer.r#ref.is_empty(),
        };
        assert!(fits, "{command:?} is answered by {answer:?}");
        assert_eq!(answer.channel, command.channel, "an answer comes where it was asked");
    }
    let with_ref = answers.iter().filter(|answer| !answer.r#ref.is_empty());
    let refs: Vec<&str> = with_ref.map(|answer| answer.r#ref.as_str()).collect();
    let expected: &[&str] = if command.r#ref.is_empty() { &[] } else { &[&command.r#ref] };
    assert_eq!(refs, expected, "each ref is answered exactly once: {command:?}");
}
