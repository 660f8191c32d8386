//! `kill -9` of the agent in the middle of a thousand writes: every file is entirely old or entirely new, and what was
//! acknowledged is there.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use pid1::client::{Address, Client};
use pid1_sdk::api::command::Body;
use pid1_sdk::api::open_channel::Action;

use super::write;
use crate::support::{Agent, HEAVY, Launch, Rng, SOON, size, within};

const FILES: usize = 10;
const WRITES: usize = 1000;

/// Every so many a few are so large that writing them takes a while.
const LARGE_EVERY: usize = 50;
const LARGE: usize = 3;

/// A content that says its version everywhere, and of which no beginning is another.
fn content(version: usize, rng: &mut Rng) -> Vec<u8> {
    let line = format!("{version:08}\n");
    let lines = 1 + if version % LARGE_EVERY < LARGE { 400_000 } else { rng.below(600) };
    let mut all = line.repeat(lines).into_bytes();
    all.extend(format!("end of {lines}\n").bytes());
    all
}

/// The version of a whole content.
fn version_of(path: &std::path::Path) -> usize {
    let text = fs::read_to_string(path).unwrap();
    let (lines, end) = text.trim_end().rsplit_once('\n').unwrap_or_else(|| panic!("a cut file: {text:?}"));
    let first = lines.lines().next().unwrap();
    assert!(lines.lines().all(|line| line == first), "two versions in one file");
    assert_eq!(end, format!("end of {}", lines.lines().count()), "not a whole version");
    first.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_amid_a_thousand_writes_every_file_is_old_or_new() {
    let _alone = HEAVY.lock().await;
    let mut rng = Rng::seeded("crash");
    let mut launch = Launch::new();
    let (mut next, mut known): (usize, HashMap<usize, usize>) = (1, HashMap::new());
    let mut cut_short = 0;
    for _ in 0..size(20, 1000) {
        let mut agent: Agent = launch.start().await;
        let address: Address = agent.url().parse().unwrap();
        let mut client = within("a client connects", SOON, Client::connect(&address)).await.unwrap();
        let (channel, _) = client.open("gcsfiles", "", Action::Create).await.unwrap();
        let (mut sender, mut receiver, _) = client.split();
        let first = next;
        next += WRITES;
        // Sent as fast as they are taken.
        let contents: Vec<_> = (first..next).map(|version| content(version, &mut rng)).collect();
        let sending = tokio::spawn(async move {
            for (version, content) in (first..).zip(contents) {
                let path = format!("file{}", version % FILES);
                if sender.send(channel, version.to_string(), write(&path, content)).await.is_err() {
                    break;
                }
            }
        });
        // Killed after so many answers, while a large one is being written.
        let before_large = (LARGE_EVERY - first % LARGE_EVERY) % LARGE_EVERY;
        let last_words = before_large + LARGE_EVERY * rng.below(WRITES / LARGE_EVERY);
        let mut answered = 0;
        while answered < last_words {
            let command = within("an answer", SOON, receiver.next()).await.unwrap();
            if let Ok(version) = command.r#ref.parse::<usize>() {
                assert!(matches!(command.body, Some(Body::Ok(_))), "{:?}", command.body);
                known.insert(version % FILES, version);
                answered += 1;
            }
        }
        let moment = Instant::now() + Duration::from_micros(rng.below(4000) as u64);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        agent.kill().await;
        while let Ok(command) = receiver.next().await {
            if let (Ok(version), Some(Body::Ok(_))) = (command.r#ref.parse::<usize>(), command.body) {
                known.insert(version % FILES, version);
                answered += 1;
            }
        }
        sending.await.unwrap();
        cut_short += usize::from(answered < WRITES);
        for entry in fs::read_dir(agent.root()).unwrap() {
            let name = entry.unwrap().file_name();
            let Some(number) = name.to_str().unwrap().strip_prefix("file") else {
                assert!(pid1_sdk::workspace::is_temporary(&name), "left behind: {name:?}");
                continue;
            };
            let number: usize = number.parse().unwrap();
            let version = version_of(&agent.root().join(&name));
            let acknowledged = known.get(&number).copied().unwrap_or(0);
            assert!(
                version >= acknowledged && version < next && version % FILES == number,
                "{name:?} has version {version}, {acknowledged} was acknowledged"
            );
        }
        for number in known.keys() {
            assert!(agent.root().join(format!("file{number}")).exists(), "an acknowledged file is gone");
        }
        launch = agent.launch();
    }
    assert!(cut_short > 0, "no agent was killed before it was done");
}
