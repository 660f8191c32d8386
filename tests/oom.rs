//! Who is killed first when memory runs out: programs, and what they have started, before the agent.

use std::fs;

use pid1_sdk::api::{Exec, command::Body};

use crate::support::{Agent, SOON, eventually, named, process_start};

/// `oom_score_adj`; the most that there is for a process that has just gone.
fn score(pid: u32) -> i32 {
    let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj"));
    text.map_or(1000, |text| text.trim().parse().unwrap())
}

#[tokio::test]
async fn programs_are_killed_before_the_agent() {
    let agent = Agent::start().await;
    let (given, own) = (score(std::process::id()), score(agent.pid() as u32));
    assert!(own <= given, "{own} {given}");
    let wanted = given.max(own + 100).min(1000);
    let mut peer = agent.client().await;
    let args = |seconds: u32| ["sh".to_owned(), "-c".to_owned(), format!("sleep {seconds}; exit")];
    let exec = peer.open("exec", "").await;
    peer.send(exec, Body::Exec(Exec { args: args(8901).to_vec(), ..Exec::default() })).await;
    let process = peer.open("process", "").await;
    let start = process_start(&args(8902).each_ref().map(String::as_str));
    peer.ask(process, Body::ProcessStart(start)).await;
    let shell = peer.shell("").await;
    peer.type_in(shell, "sleep 8903\n").await;
    // Whoever runs a `sleep`, and each `sleep` itself; the shell's command line does not name it.
    for (text, count) in [("sleep 8901", 2), ("sleep 8902", 2), ("sleep 8903", 1)] {
        eventually(text, SOON, || named(&agent.programs(), text).len() == count).await;
    }
    // On a busy machine some of them may have it a moment later.
    let all = || agent.programs().into_iter().map(|pid| score(pid as u32)).eq([wanted; 6]);
    eventually(&format!("all have {wanted}, the agent has {own}"), SOON, all).await;
}
