//! The service as a script of what members send and get.

use pid1_run::Run;
use pid1_sdk::Role;
use pid1_sdk::api::{State, command::Body};
use pid1_sdk::process::{Io, Keep};
use pid1_sdk::testing::{TestChannel, conformance};

/// A channel of that name, on an engine whose main command is this script.
fn channel(name: &str, script: &str) -> TestChannel {
    let channel = TestChannel::open::<Run>(Some(name));
    let engine = channel.engine();
    let args = ["/bin/sh", "-c", script].map(Into::into).to_vec();
    let spec = engine.spec(args, Vec::new(), Io::Pipes { split_stderr: true }, Keep::Tail);
    engine.set_main_command(engine.processes().start(spec).expect("there is a shell"));
    channel
}

#[tokio::test]
async fn it_shows_both_streams_takes_input_and_says_when_the_command_has_ended() {
    let channel = channel("main", "echo out; echo err >&2; read line; echo got $line; exit 3");
    let mut viewer = channel.join(Role::Viewer).await;
    let mut editor = channel.join(Role::Editor).await;
    let mut seen = String::new();
    while !(seen.contains("out\n") && seen.contains("err\n")) {
        if let Body::Output(text) = viewer.next().await {
            seen += &text;
        }
    }
    let refused = viewer.ask(Body::Input("x\n".into())).await;
    assert!(matches!(&refused, Body::Error(text) if text.contains("editor")), "{refused:?}");
    assert_eq!(editor.ask(Body::Input("it\n".into())).await, Body::Ok(Default::default()));
    viewer.until_output("got it\n").await;
    viewer.until(|body| *body == Body::State(State::Stopped.into())).await;

    let mut late = channel.join(Role::Viewer).await;
    assert_eq!(late.next().await, Body::Output("out\ngot it\nerr\n".into()));
    assert_eq!(late.next().await, Body::State(State::Stopped.into()));
}

#[tokio::test]
async fn another_name_says_what_there_is() {
    let channel = channel("other", "exec sleep 10");
    let mut editor = channel.join(Role::Editor).await;
    let said = editor.next().await;
    assert!(matches!(&said, Body::Error(text) if text.contains("named main")), "{said:?}");
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<Run>(&[]).await;
}
