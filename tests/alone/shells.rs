//! Hundreds of shells at once.

use std::collections::HashMap;

use pid1_sdk::api::command::Body;

use crate::support::{Agent, LATE, Raw, SOON, eventually, output_of, size, within};

/// What a shell may cost the agent. The aim is a tenth of it.
const SHELL_BYTES: u64 = 320 << 10;

/// Types into each of `shells` something of its own, and waits until each has shown that.
async fn all_answer(raw: &mut Raw, shells: &[i32]) {
    for id in shells {
        raw.command(*id, "", Some(Body::Input(format!("echo th''is-is-{id}-\n")))).await.unwrap();
    }
    let mut waiting: HashMap<i32, String> = shells.iter().map(|id| (*id, String::new())).collect();
    let all = async {
        while !waiting.is_empty() {
            let command = raw.next().await.unwrap();
            let id = command.channel;
            if let (Some(piece), Some(seen)) = (output_of(&command, id), waiting.get_mut(&id)) {
                *seen += piece;
                if seen.contains(&format!("this-is-{id}-")) {
                    waiting.remove(&id);
                }
            }
        }
    };
    within("every shell answers", LATE, all).await;
}

/// More than any pool of blocking threads has: shells cost no thread, and the last one prints like the first.
#[tokio::test]
async fn hundreds_of_shells_are_all_alive() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut raw = Raw::open(&agent).await;
    // Whatever the first one starts that stays.
    let first = raw.open_channel("shell", "first").await;
    all_answer(&mut raw, &[first]).await;
    let (threads, descriptors, before) = (agent.threads(), agent.descriptors(), agent.rss_bytes());
    let shells = size(700, 1_000);
    let mut ids = Vec::new();
    for _ in 0..shells {
        ids.push(raw.open_channel("shell", "").await);
    }
    all_answer(&mut raw, &ids).await;
    let cost = agent.rss_bytes().saturating_sub(before) / shells as u64;
    eprintln!("{shells} shells: {} KiB each, {threads} -> {} threads", cost >> 10, agent.threads());
    assert_eq!(agent.programs().len(), 1 + shells);
    assert!(cost < SHELL_BYTES, "{} KiB for each shell", cost >> 10);
    assert!(agent.threads() <= threads, "{threads} -> {} threads", agent.threads());
    raw.reset();
    eventually("only the first is left", SOON, || agent.programs().len() == 1).await;
    // One less for the connection, and what it takes to look into /proc.
    eventually("no descriptor of them either", SOON, || agent.descriptors() <= descriptors).await;
}
