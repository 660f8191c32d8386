//! Nothing runs slower, and nothing is started, because it is watched by somebody who may only watch.

use pid1_sdk::api::{CloseChannel, Exec, State, close_channel::Action, command::Body};

use super::keys::Keys;
use crate::support::{HEAVY, PROMPT, Raw, SOON, eventually, within};

fn leave(id: i32) -> Body {
    Body::CloseChan(CloseChannel { id, action: Action::Disconnect.into() })
}

#[tokio::test]
async fn a_job_left_running_is_not_held_up_by_a_viewer_who_reads_nothing() {
    let _alone = HEAVY.lock().await;
    let (agent, keys) = Keys::agent(&[]).await;
    let mut editor = agent.client_as(&keys.jwt_of("editor")).await;
    let shell = editor.shell("left").await;
    let mut viewer = Raw::narrow_as(&agent, &keys.jwt_of("viewer")).await;
    assert_eq!(viewer.open_channel("shell", "left").await, shell);
    editor.type_in(shell, "head -c 30000000 /dev/zero | base64; touch is-done\n").await;
    editor.ask(0, leave(shell)).await;
    eventually("it runs to its end", SOON, || agent.root().join("is-done").exists()).await;
    let text = async {
        let mut text = String::new();
        while !text.split_once("of output skipped").is_some_and(|(_, end)| end.contains(PROMPT)) {
            let command = viewer.next().await.expect("he is not dropped");
            text += crate::support::output_of(&command, shell).unwrap_or_default();
        }
    };
    within("he is shown the end of it", SOON, text).await;
}

#[tokio::test]
async fn output_of_which_nothing_may_be_lost_goes_on_without_a_viewer_who_reads_nothing() {
    let _alone = HEAVY.lock().await;
    let (agent, keys) = Keys::agent(&[]).await;
    let mut editor = agent.client_as(&keys.jwt_of("editor")).await;
    let exec = editor.open("exec", "shared").await;
    let mut viewer = Raw::narrow_as(&agent, &keys.jwt_of("viewer")).await;
    assert_eq!(viewer.open_channel("exec", "shared").await, exec);
    let args = ["head", "-c", "60000000", "/dev/zero"].map(str::to_owned).to_vec();
    let answer = editor.ask(exec, Body::Exec(Exec { args, ..Exec::default() })).await;
    assert_eq!(answer, Body::Ok(Default::default()));
    let end = async { while viewer.next_unbounded().await.is_some() {} };
    within("he is dropped", SOON, end).await;
    eventually("the log says why", SOON, || agent.log().contains("nobody waits for a viewer")).await;
}

#[tokio::test]
async fn a_shell_that_exits_before_viewers_alone_stays_down() {
    let (agent, keys) = Keys::agent(&[]).await;
    let mut editor = agent.client_as(&keys.jwt_of("editor")).await;
    let mut viewer = agent.client_as(&keys.jwt_of("viewer")).await;
    let shell = editor.shell("watched").await;
    assert_eq!(viewer.open("shell", "watched").await, shell);
    editor.type_in(shell, "while [ ! -e go ]; do sleep 0.01; done; exit\n").await;
    editor.ask(0, leave(shell)).await;
    std::fs::write(agent.root().join("go"), "").unwrap();
    let stopped = Body::State(State::Stopped.into());
    viewer.until("it stays down", |command| command.body.as_ref() == Some(&stopped)).await;
    eventually("nothing runs", SOON, || agent.programs().is_empty()).await;
    assert_eq!(editor.open("shell", "watched").await, shell);
    editor.shell_run(shell, "echo up again").await;
}
