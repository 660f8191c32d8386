//! Metadata at the real door: what was answered is kept, and two who append at once lose nothing.

use std::time::{Duration, Instant};

use pid1::client::{Address, Client};
use pid1_sdk::api::{AppendMeta, ReadMeta, WriteMeta, command::Body, open_channel::Action};

use super::OK;
use crate::support::{Agent, HEAVY, Launch, Peer, Rng, SOON, size, within};

fn append(key: &str, data: impl Into<Vec<u8>>) -> Body {
    Body::AppendMeta(AppendMeta { key: key.into(), data: data.into().into() })
}

fn write(key: &str, data: impl Into<Vec<u8>>) -> Body {
    Body::WriteMeta(WriteMeta { key: key.into(), data: data.into().into() })
}

async fn read(peer: &mut Peer, channel: i32, key: &str) -> Option<String> {
    match peer.ask(channel, Body::ReadMeta(ReadMeta { key: key.into(), ..ReadMeta::default() })).await {
        Body::ReadMeta(found) => found.exists.then(|| String::from_utf8(found.data.into()).unwrap()),
        other => panic!("{other:?} instead of readMeta"),
    }
}

#[tokio::test]
async fn a_new_agent_has_what_was_written() {
    let mut agent = Agent::start().await;
    let mut peer = agent.client().await;
    let channel = peer.open("meta", "").await;
    assert_eq!(peer.ask(channel, write("a", "one")).await, OK);
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    agent.ended().await;
    let mut agent = agent.launch().start().await;
    let mut peer = agent.client().await;
    let channel = peer.open("meta", "any name").await;
    assert_eq!(peer.ask(channel, append("a", ", two")).await, OK);
    agent.kill().await;
    let agent = agent.launch().start().await;
    let mut peer = agent.client().await;
    let channel = peer.open("meta", "").await;
    assert_eq!(read(&mut peer, channel, "a").await.as_deref(), Some("one, two"));
    assert_eq!(read(&mut peer, channel, "b").await, None);
}

/// Four clients on channels of their own append to one key, and the agent is killed: of each its own are there in their
/// order, without a hole, and none that was answered is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_many_outlive_the_agent() {
    // Far more than are made before the agent is killed, however fast it is.
    const APPENDS: usize = 20_000;
    let _alone = HEAVY.lock().await;
    let mut rng = Rng::seeded("meta");
    let mut launch = Launch::new();
    let mut cut_short = 0;
    for round in 0..size(10, 200) {
        let mut agent: Agent = launch.start().await;
        let address: Address = agent.url().parse().unwrap();
        let key = format!("log {round}");
        let (first, mut began) = tokio::sync::mpsc::channel(4 * APPENDS);
        let mut writers = Vec::new();
        for who in ["a", "b", "c", "d"] {
            let mut client = within("a client connects", SOON, Client::connect(&address)).await.unwrap();
            let (channel, _) = client.open("meta", "", Action::Create).await.unwrap();
            let (mut sender, mut answers, _) = client.split();
            let (key, answered) = (key.clone(), first.clone());
            tokio::spawn(async move {
                for number in 0..APPENDS {
                    let data = format!("{who}{number}\n");
                    if sender.send(channel, number.to_string(), append(&key, data)).await.is_err() {
                        break;
                    }
                }
            });
            let count = async move {
                let mut count = 0;
                while let Ok(command) = answers.next().await {
                    if let (Ok(number), Some(Body::Ok(_))) = (command.r#ref.parse::<usize>(), command.body) {
                        assert_eq!(number, count, "answers come in order");
                        count += 1;
                        answered.send(()).await.unwrap();
                    }
                }
                count
            };
            writers.push((who, tokio::spawn(count)));
        }
        for _ in 0..=rng.below(500) {
            within("an answer", SOON, began.recv()).await.unwrap();
        }
        let moment = Instant::now() + Duration::from_micros(rng.below(2000) as u64);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        agent.kill().await;
        launch = agent.launch();
        let agent = launch.clone().start().await;
        let mut peer = agent.client().await;
        let channel = peer.open("meta", "").await;
        let kept = read(&mut peer, channel, &key).await.unwrap();
        assert!(kept.ends_with('\n'), "a whole number of appends");
        for (who, answered) in writers {
            let answered = within("the line breaks", SOON, answered).await.unwrap();
            let own: Vec<_> = kept.lines().filter_map(|line| line.strip_prefix(who)).collect();
            let all: Vec<_> = (0..own.len()).map(|number| number.to_string()).collect();
            assert_eq!(own, all, "of {who}");
            assert!(own.len() >= answered, "{who} was answered {answered}, {} are there", own.len());
            cut_short += usize::from(answered < APPENDS);
        }
    }
    assert!(cut_short > 0, "no agent was killed before it was done");
}

#[tokio::test]
async fn on_a_full_disk_what_was_there_stays() {
    let agent = Launch::new().small_disk("state").start().await;
    let mut peer = agent.client().await;
    let channel = peer.open("meta", "").await;
    assert_eq!(peer.ask(channel, write("key", "there")).await, OK);
    let refused = peer.refused(channel, write("key", vec![b'x'; 1 << 20])).await;
    assert!(refused.starts_with("meta: cannot change") && refused.contains("full"), "{refused}");
    assert_eq!(read(&mut peer, channel, "key").await.as_deref(), Some("there"));
    // What comes with it is done all the same.
    peer.send(channel, write("key", vec![b'x'; 1 << 20])).await;
    assert_eq!(read(&mut peer, channel, "key").await.as_deref(), Some("there"));
    let refused = peer.refused(channel, append("new", vec![b'x'; 1 << 20])).await;
    assert!(refused.contains("full"), "{refused}");
    assert_eq!(read(&mut peer, channel, "new").await, None);
    assert_eq!(peer.ask(channel, append("key", " and more")).await, OK);
    assert_eq!(read(&mut peer, channel, "key").await.as_deref(), Some("there and more"));
}
