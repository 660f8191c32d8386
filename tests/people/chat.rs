//! Chat at the real door: what somebody was shown is there after the agent was killed, and nothing else was shown.

use std::time::{Duration, Instant};

use pid1::client::{Address, Client};
use pid1_sdk::api::{ChatMessage, command::Body, open_channel::Action};

use super::{OK, next};
use crate::access::keys::Keys;
use crate::support::{Agent, HEAVY, Launch, Peer, Rng, SOON, size, within};

fn message(text: &str) -> ChatMessage {
    ChatMessage { username: "ada".into(), text: text.into() }
}

fn say(text: &str) -> Body {
    Body::ChatMessage(message(text))
}

/// Joins; what is shown to it.
async fn join(peer: &mut Peer, name: &str) -> (i32, Vec<String>) {
    let channel = peer.open("chat", name).await;
    let texts = next(peer, channel, "chatScrollback", |body| match body {
        Body::ChatScrollback(shown) => Some(shown.scrollback.iter().map(|said| said.text.clone()).collect()),
        _ => None,
    });
    (channel, texts.await)
}

async fn heard(peer: &mut Peer, channel: i32) -> String {
    next(peer, channel, "chatMessage", |body| match body {
        Body::ChatMessage(said) => Some(said.text.clone()),
        _ => None,
    })
    .await
}

/// The viewer who opened it first and the editor who came later are in one room.
#[tokio::test]
async fn viewers_and_editors_talk_to_each_other() {
    let (agent, keys) = Keys::agent(&[]).await;
    let mut viewer = agent.client_as(&keys.jwt_of("viewer")).await;
    let (channel, shown) = join(&mut viewer, "chatter").await;
    assert!(shown.is_empty());
    assert_eq!(viewer.ask(channel, say("anybody here?")).await, OK);
    let mut editor = agent.client_as(&keys.jwt_of("editor")).await;
    assert_eq!(join(&mut editor, "chatter").await, (channel, vec!["anybody here?".to_owned()]));
    assert_eq!(editor.ask(channel, say("yes")).await, OK);
    assert_eq!(heard(&mut viewer, channel).await, "yes");
    let mut other = agent.client_as(&keys.jwt_of("viewer")).await;
    assert_eq!(
        join(&mut other, "chatter").await,
        (channel, vec!["anybody here?".to_owned(), "yes".to_owned()])
    );
    assert_eq!(join(&mut other, "elsewhere").await.1, [""; 0]);
}

#[tokio::test]
async fn a_new_agent_knows_what_was_said() {
    let mut agent = Agent::start().await;
    let mut peer = agent.client().await;
    let (channel, _) = join(&mut peer, "chatter").await;
    assert_eq!(peer.ask(channel, say("before")).await, OK);
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    agent.ended().await;
    let mut agent = agent.launch().start().await;
    let mut peer = agent.client().await;
    let (channel, shown) = join(&mut peer, "chatter").await;
    assert_eq!(shown, ["before"]);
    assert_eq!(peer.ask(channel, say("between")).await, OK);
    agent.kill().await;
    let agent = agent.launch().start().await;
    assert_eq!(join(&mut agent.client().await, "chatter").await.1, ["before", "between"]);
}

/// Killed while one talks without a pause: what the other was shown is kept, in that order, and so is what was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_anybody_was_shown_outlives_the_agent() {
    // Far more than are said before the agent is killed, however fast it is.
    const MESSAGES: usize = 100_000;
    let _alone = HEAVY.lock().await;
    let mut rng = Rng::seeded("chat");
    let mut launch = Launch::new();
    let mut cut_short = 0;
    for round in 0..size(10, 200) {
        let mut agent: Agent = launch.start().await;
        let address: Address = agent.url().parse().unwrap();
        let room = format!("room {round}");
        let mut talker = within("a client connects", SOON, Client::connect(&address)).await.unwrap();
        let (channel, _) = talker.open("chat", &room, Action::AttachOrCreate).await.unwrap();
        let mut listener = within("a client connects", SOON, Client::connect(&address)).await.unwrap();
        listener.open("chat", &room, Action::AttachOrCreate).await.unwrap();
        let (mut sender, mut answers, _) = talker.split();
        let talking = tokio::spawn(async move {
            for number in 0..MESSAGES {
                let text = number.to_string();
                if sender.send(channel, text.clone(), say(&text)).await.is_err() {
                    break;
                }
            }
        });
        let answered = tokio::spawn(async move {
            let mut last = None;
            while let Ok(command) = answers.next().await {
                if let (Ok(number), Some(Body::Ok(_))) = (command.r#ref.parse::<usize>(), command.body) {
                    last = Some(number);
                }
            }
            last
        });
        let mut shown = None;
        let enough = 1 + rng.below(200);
        let mut hear = |command: pid1_sdk::api::Command| {
            if let Some(Body::ChatMessage(said)) = command.body {
                let number: usize = said.text.parse().unwrap();
                assert_eq!(shown.map_or(0, |shown| shown + 1), number, "each once, in order");
                shown = Some(number);
            }
            shown.unwrap_or_default()
        };
        while hear(within("a message", SOON, listener.next()).await.unwrap()) < enough {}
        let moment = Instant::now() + Duration::from_micros(rng.below(2000) as u64);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        agent.kill().await;
        while let Ok(command) = listener.next().await {
            hear(command);
        }
        talking.await.unwrap();
        let answered = within("the line breaks", SOON, answered).await.unwrap();
        let known = shown.max(answered).unwrap();
        cut_short += usize::from(known < MESSAGES - 1);
        launch = agent.launch();
        let agent = launch.clone().start().await;
        let (_, kept) = join(&mut agent.client().await, &room).await;
        let kept: Vec<usize> = kept.iter().map(|text| text.parse().unwrap()).collect();
        let last = *kept.last().expect("something was kept");
        assert!(last >= known, "{known} was shown, and {last} is the last that was kept");
        let first = (last + 1).saturating_sub(100);
        assert_eq!(kept, (first..=last).collect::<Vec<_>>());
    }
    assert!(cut_short > 0, "no agent was killed before it was done");
}

#[tokio::test]
async fn on_a_full_disk_the_sender_is_told_and_nobody_is_shown_anything() {
    let agent = Launch::new().small_disk("state").start().await;
    let (mut one, mut two) = (agent.client().await, agent.client().await);
    let (channel, _) = join(&mut one, "chatter").await;
    join(&mut two, "chatter").await;
    assert_eq!(one.ask(channel, say("there is room")).await, OK);
    assert_eq!(heard(&mut two, channel).await, "there is room");
    let shell = one.shell("").await;
    let filled = one.shell_run(shell, "cat /dev/zero > $DISK/fill").await;
    assert!(filled.contains("No space left"), "{filled}");
    // The last page of the log may still have room.
    let long = "x".repeat(60_000);
    let refused = one.refused(channel, say(&long)).await;
    assert!(refused.contains("nobody is shown it") && refused.contains("full"), "{refused}");
    one.send(channel, say(&long)).await;
    next(&mut one, channel, "an error without a ref", |body| matches!(body, Body::Error(_)).then_some(()))
        .await;
    one.shell_run(shell, "rm $DISK/fill").await;
    assert_eq!(one.ask(channel, say("there is room again")).await, OK);
    assert_eq!(heard(&mut two, channel).await, "there is room again");
    let shown = join(&mut agent.client().await, "chatter").await.1;
    assert_eq!(shown, ["there is room", "there is room again"]);
}
