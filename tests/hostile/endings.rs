//! Programs that do not want to end, or leave others behind: when their channel is closed, none is left.

use pid1_sdk::api::{CloseChannel, Exec, close_channel::Action, command::Body};

use crate::support::{Agent, PROMPT, Peer, SOON, eventually, named, size};

fn close(id: i32) -> Body {
    Body::CloseChan(CloseChannel { id, action: Action::Close.into() })
}

async fn exec(client: &mut Peer, script: &str) -> i32 {
    let channel = client.open("exec", "").await;
    let args = ["bash", "-c", script].map(str::to_owned).to_vec();
    client.send(channel, Body::Exec(Exec { args, ..Exec::default() })).await;
    channel
}

/// Waits until something runs whose command line has `text`.
async fn runs(agent: &Agent, text: &str) {
    eventually(text, SOON, || !named(&agent.programs(), text).is_empty()).await;
}

#[tokio::test]
async fn a_shell_that_is_killed_is_started_again_and_nobody_else_notices() {
    let agent = Agent::start().await;
    let (mut client, mut other) = (agent.client().await, agent.client().await);
    let (shell, bystander) = (client.shell("one").await, other.shell("other").await);
    assert_eq!(other.open("shell", "one").await, shell);
    client.shell_run(shell, "WHO=first").await;
    client.type_in(shell, "kill -9 $$\n").await;
    client.output_until(shell, PROMPT).await;
    let text = client.shell_run(shell, "echo [$WHO]").await;
    assert!(text.contains("[]"), "a new shell: {text:?}");
    other.output_until(shell, "[]").await;
    other.shell_run(bystander, "echo untouched").await;
    assert_eq!(named(&agent.programs(), "bash").len(), 2);
}

/// At most 3 times in 10 seconds by itself; then it waits for somebody to type.
#[tokio::test]
async fn a_shell_that_always_dies_does_not_spin() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let shell = client.shell("").await;
    for _ in 0..3 {
        client.type_in(shell, "exit\n").await;
        client.output_until(shell, PROMPT).await;
    }
    let stopped = Body::State(pid1_sdk::api::State::Stopped.into());
    client.type_in(shell, "exit\n").await;
    client
        .until("it stays down", |command| command.channel == shell && command.body.as_ref() == Some(&stopped))
        .await;
    eventually("nothing runs", SOON, || agent.programs().is_empty()).await;
    client.shell_run(shell, "echo up again").await;
}

#[tokio::test]
async fn a_closed_shell_leaves_no_job_behind() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut client = agent.client().await;
    let shell = client.shell("jobs").await;
    for line in [
        "sleep 8101 &",
        "nohup sleep 8102 > /dev/null 2>&1 &",
        "(trap '' HUP TERM; sleep 8103; sleep 8104) &",
        "bash -c 'sleep 8105 & disown; sleep 8106' &",
        "(sleep 8107 &)",
    ] {
        client.type_in(shell, &format!("{line}\n")).await;
    }
    client.type_in(shell, "sleep 8108\n").await;
    for sleep in [8101, 8102, 8103, 8105, 8106, 8107, 8108] {
        runs(&agent, &format!("sleep {sleep}")).await;
    }
    client.type_in(shell, "\x1a").await;
    client.output_until(shell, "Stopped").await;
    client.ask(0, close(shell)).await;
    eventually("none is left", SOON, || agent.programs().is_empty()).await;
}

#[tokio::test]
async fn a_tree_that_ignores_term_is_killed_after_its_grace() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut client = agent.client().await;
    let stubborn = "trap '' TERM HUP INT; (trap '' TERM; sleep 8201 & wait; while :; do sleep 8202; done) & \
                    setsid bash -c 'trap \"\" TERM; while :; do sleep 8203; done' & while :; do sleep 8204; done";
    let channel = exec(&mut client, stubborn).await;
    for sleep in ["sleep 8201", "sleep 8203", "sleep 8204"] {
        runs(&agent, sleep).await;
    }
    client.ask(0, close(channel)).await;
    eventually("none is left", SOON, || agent.programs().is_empty()).await;
}

/// TERM first: who cleans up has his grace.
#[tokio::test]
async fn a_program_that_cleans_up_has_the_time() {
    let agent = Agent::with(&["--stop-grace", "10"]).await;
    let mut client = agent.client().await;
    let script = "trap 'echo cleaned > cleaned; exit' TERM; echo ready > ready; while :; do sleep 0.05; done";
    let channel = exec(&mut client, script).await;
    eventually("it runs", SOON, || agent.root().join("ready").exists()).await;
    client.ask(0, close(channel)).await;
    eventually("none is left", SOON, || agent.programs().is_empty()).await;
    assert!(agent.root().join("cleaned").exists());
}

#[tokio::test]
async fn many_children_and_those_who_fork_on_are_all_ended() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut client = agent.client().await;
    let children = size(200, 2_000);
    let channel = exec(&mut client, &format!("for i in $(seq {children}); do sleep 8301 & done; wait")).await;
    // The bash has the words in its command line too.
    let all = || named(&agent.programs(), "sleep 8301").len() == children + 1;
    eventually("all children run", SOON, all).await;
    // One that replaces itself all the time, so that no list of it is ever complete.
    let restless = "trap '' TERM; f() { sleep 0.01; f & }; f & f & wait; while :; do sleep 8302; done";
    let other = exec(&mut client, restless).await;
    runs(&agent, "sleep 8302").await;
    let mut bystander = agent.client().await;
    let shell = bystander.shell("").await;
    for id in [channel, other] {
        client.ask(0, close(id)).await;
    }
    bystander.shell_run(shell, "echo hello").await;
    eventually("only the bystander's is left", SOON, || agent.programs().len() == 1).await;
}

/// What a finished exec left running belongs to the channel.
#[tokio::test]
async fn what_an_exec_left_running_ends_with_the_channel() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut client = agent.client().await;
    let channel = client.open("exec", "").await;
    let args = ["bash", "-c", "sleep 8401 & echo started"].map(str::to_owned).to_vec();
    let answer = client.ask(channel, Body::Exec(Exec { args, ..Exec::default() })).await;
    assert_eq!(
        answer,
        Body::Ok(Default::default()),
        "it is done when the program is, not when its children are"
    );
    runs(&agent, "sleep 8401").await;
    client.ask(0, close(channel)).await;
    eventually("none is left", SOON, || agent.programs().is_empty()).await;
}

/// Programs of the same user that are none of the agent's survive it all.
#[tokio::test]
async fn an_unrelated_process_survives() {
    let mut unrelated = std::process::Command::new("sleep").arg("8501").spawn().unwrap();
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut client = agent.client().await;
    let shell = client.shell("").await;
    let channel = exec(&mut client, "trap '' TERM; sleep 8502").await;
    runs(&agent, "sleep 8502").await;
    for id in [shell, channel] {
        client.ask(0, close(id)).await;
    }
    eventually("none is left", SOON, || agent.programs().is_empty()).await;
    let survived = unrelated.try_wait().unwrap().is_none();
    unrelated.kill().unwrap();
    unrelated.wait().unwrap();
    assert!(survived);
}
