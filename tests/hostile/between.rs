//! One client's fault never touches another, nor its own other channels: what was found by looking for holes.

use std::collections::HashMap;

use pid1_sdk::api::{Exec, Pid1Config, command::Body};

use crate::support::{Agent, HEAVY, LATE, PROMPT, Raw, SOON, binary, eventually, named, output_of, within};

#[tokio::test]
async fn who_was_skipped_is_brought_back_although_the_shell_ended() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let (mut reader, mut stuck) = (agent.client().await, Raw::narrow(&agent).await);
    let shell = reader.shell("shared").await;
    assert_eq!(stuck.open_channel("shell", "shared").await, shell);
    reader.type_in(shell, "head -c 30000000 /dev/zero | base64; echo en''ded; exit\n").await;
    // What is typed while the first shell exits would go down with it: its successor's prompt comes first.
    let shown = reader.output_until(shell, PROMPT).await;
    assert!(shown.contains("ended"), "the flood was not seen to its end");
    reader.shell_run(shell, "echo next shell").await;
    let mut text = String::new();
    let catch_up = async {
        while !text.contains("of output skipped") {
            let command = stuck.next().await.expect("it is not dropped");
            text += output_of(&command, shell).unwrap_or_default();
        }
        reader.type_in(shell, "echo to b''oth\n").await;
        while !text.contains("to both") {
            text += output_of(&stuck.next().await.unwrap(), shell).unwrap_or_default();
        }
    };
    within("it is brought back", LATE, catch_up).await;
}

#[tokio::test]
async fn an_interrupt_gets_past_input_that_nobody_reads() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let shell = client.shell("").await;
    client.type_in(shell, "sleep 1000\n").await;
    eventually("it sleeps", SOON, || !named(&agent.programs(), "sleep").is_empty()).await;
    for _ in 0..6 {
        client.type_in(shell, &"a line that is never run\n".repeat(2000)).await;
    }
    client.type_in(shell, "\x03").await;
    eventually("it is interrupted", SOON, || named(&agent.programs(), "sleep").is_empty()).await;
    client.type_in(shell, "\necho the shell goes o''n\n").await;
    client.output_until(shell, "the shell goes on").await;
}

#[tokio::test]
async fn a_channel_that_takes_nothing_holds_up_no_other() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let (stuck, shell) = (client.open("exec", "").await, client.shell("").await);
    client
        .send(stuck, Body::Exec(Exec { args: vec!["sleep".into(), "1000".into()], ..Exec::default() }))
        .await;
    let before = agent.rss_bytes();
    for _ in 0..12 {
        client.send(stuck, Body::Input("x".repeat(4 << 20))).await;
    }
    within("the shell answers beside it", SOON, client.shell_run(shell, "echo hello")).await;
    let grown = agent.rss_bytes().saturating_sub(before) >> 20;
    assert!(grown < 64, "48 MiB that nobody reads cost {grown} MiB");
}

#[tokio::test]
async fn settings_that_no_program_can_be_given_are_refused() {
    let agent = Agent::start().await;
    let (mut one, mut other) = (agent.client().await, agent.client().await);
    for (name, value) in [("A=B", ""), ("", "x"), ("A\0", "x"), ("A", "x\0")] {
        let env = HashMap::from([(name.to_owned(), value.to_owned())]);
        let refusal = one.refused(0, Body::Pid1Config(Pid1Config { env, ..Pid1Config::default() })).await;
        assert!(refusal.starts_with("pid1Config: no program can be given a variable"), "{refusal}");
    }
    other.shell("").await;
}

#[tokio::test]
async fn leaving_and_joining_a_flooding_shell_again_and_again_hears_it_each_time() {
    let agent = Agent::start().await;
    let (mut keeper, mut comes) = (agent.client().await, agent.client().await);
    let shell = keeper.shell("shared").await;
    keeper.type_in(shell, "while sleep 0.01; do seq 1 3000; done\n").await;
    for _ in 0..20 {
        assert_eq!(comes.open("shell", "shared").await, shell);
        comes.until("output flows", |command| output_of(command, shell).is_some()).await;
        let close = pid1_sdk::api::CloseChannel { id: shell, action: 0 };
        comes.ask(0, Body::CloseChan(close)).await;
        comes.ping().await;
    }
    keeper.until("the flood goes on", |command| output_of(command, shell).is_some()).await;
}

#[test]
fn a_state_folder_inside_the_workspace_is_refused_also_behind_a_link() {
    let home = tempfile::tempdir().unwrap();
    let (root, link) = (home.path().join("root"), home.path().join("link"));
    std::fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink(&root, &link).unwrap();
    for state in [root.join("state"), link.join("not/there/yet"), root.join("a/../state")] {
        let mut agent = std::process::Command::new(binary());
        agent.args(["--listen", "127.0.0.1:0", "--root"]).arg(&root).arg("--state-dir").arg(&state);
        let said = agent.output().unwrap();
        assert!(!said.status.success());
        let said = String::from_utf8(said.stderr).unwrap();
        assert!(said.contains("is inside the workspace"), "{said}");
    }
}
