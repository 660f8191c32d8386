//! A program that starts itself without end, where the number of processes is limited: as in a container.

use std::time::Instant;

use pid1_sdk::api::{CloseChannel, Exec, close_channel::Action, command::Body};

use crate::support::{Agent, LATE, Launch, Peer, SOON, eventually};

/// Threads of the agent included.
const PROCESSES: u32 = 120;

const BOMB: &str = "bomb() { bomb | bomb & }; bomb; wait";

fn exec(args: &[&str]) -> Body {
    Body::Exec(Exec { args: args.iter().map(|&arg| arg.to_owned()).collect(), ..Exec::default() })
}

/// Asks for starts until one is refused, and how; a bomb leaves a place free now and then.
async fn refusal(client: &mut Peer, channel: i32) -> String {
    let begin = Instant::now();
    while begin.elapsed() < LATE {
        match client.ask(channel, exec(&["true"])).await {
            Body::Error(error) => return error,
            answer => assert_eq!(answer, Body::Ok(Default::default())),
        }
    }
    panic!("programs start although there are as many as there may be");
}

/// The agent serves while `channel` has a bomb on it; closed, the bomb is gone and programs start again.
async fn goes_with_its_channel(agent: &Agent, client: &mut Peer, bystander: i32, channel: i32) {
    let exec_channel = client.open("exec", "").await;
    eventually("the limit is reached", LATE, || agent.programs().len() > PROCESSES as usize * 3 / 4).await;
    let error = refusal(client, exec_channel).await;
    assert!(error.contains("limit of processes"), "{error}");
    // What runs is served, and who comes.
    client.ping().await;
    client.shell_run(bystander, "echo still here").await;
    agent.client().await.ping().await;
    let close = CloseChannel { id: channel, action: Action::Close.into() };
    client.ask(0, Body::CloseChan(close)).await;
    eventually("the bystander's shell alone is left", LATE, || agent.programs().len() == 1).await;
    assert_eq!(client.figure("pid1_processes").await, 1);
    // What was killed counts until its parent, or the first process of the machine, has taken note of it.
    let begin = Instant::now();
    while client.ask(exec_channel, exec(&["true"])).await != Body::Ok(Default::default()) {
        assert!(begin.elapsed() < SOON, "programs start again");
    }
}

#[tokio::test]
async fn a_fork_bomb_ends_with_its_channel() {
    let agent = Launch::new().flags(&["--stop-grace", "1"]).processes(PROCESSES).start().await;
    let mut client = agent.client().await;
    let bystander = client.shell("bystander").await;

    // The first thing that this agent is to end: whatever it needs for that, it has.
    let channel = client.open("exec", "").await;
    client.send(channel, exec(&["bash", "-c", BOMB])).await;
    goes_with_its_channel(&agent, &mut client, bystander, channel).await;

    let channel = client.shell("").await;
    client.type_in(channel, &format!("{BOMB}\n")).await;
    goes_with_its_channel(&agent, &mut client, bystander, channel).await;
    agent.client().await.shell("").await;
}
