//! Many of everything, until something runs out; and when it is over, nothing of it is left.

use std::time::Instant;

use pid1_sdk::api::{
    CloseChannel, Command, Exec, ProcessStdin, ResizeTerm, close_channel::Action as CloseAction,
    command::Body,
};

use crate::support::{
    Agent, HEAVY, LATE, Launch, PROMPT, Raw, Rng, SLACK_BYTES, SOON, eventually, process_start, size, within,
    wrapped,
};

/// Without descriptors nobody new comes in and nothing starts; whoever is there is served, and it passes.
#[tokio::test]
async fn an_agent_without_descriptors_serves_whom_it_has() {
    let agent = Launch::new().descriptors(64).start().await;
    let mut client = agent.client().await;
    let (shell, exec) = (client.shell("").await, client.open("exec", "").await);
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(Raw::dial(&agent).await);
    }
    eventually("all descriptors are taken", SOON, || agent.descriptors() >= 63).await;
    let run = || Body::Exec(Exec { args: vec!["true".into()], ..Exec::default() });
    for _ in 0..5 {
        client.ping().await;
        client.shell_run(shell, "echo still here").await;
        let error = client.refused(exec, run()).await;
        assert!(error.contains("open files") || error.contains("descriptors"), "{error}");
    }
    let lines = agent.log().lines().count();
    assert!(lines < 200, "{lines} lines of log");
    drop(crowd);
    eventually("they are gone", SOON, || agent.descriptors() < 40).await;
    assert_eq!(client.ask(exec, run()).await, Body::Ok(Default::default()));
    agent.client().await.ping().await;
}

/// Programs take descriptors as well: those that run are served and can be ended when there is none left.
#[tokio::test]
async fn programs_that_take_all_descriptors_run_on_and_can_be_ended() {
    let agent = Launch::new().flags(&["--stop-grace", "1"]).descriptors(64).start().await;
    let mut client = agent.client().await;
    let shell = client.shell("").await;
    let cat = || Body::ProcessStart(process_start(&["cat"]));
    let mut cats = Vec::new();
    let (refused, error) = loop {
        assert!(cats.len() < 64);
        let channel = client.open("process", "").await;
        match client.ask(channel, cat()).await {
            Body::ProcessStarted(_) => cats.push(channel),
            Body::Error(error) => break (channel, error),
            other => panic!("{other:?}"),
        }
    };
    assert!(error.contains("open files"), "{error}");
    // The last ones, which one more program does not fit in.
    let mut crowd = Vec::new();
    for _ in 0..10 {
        crowd.push(Raw::dial(&agent).await);
    }
    eventually("all descriptors are taken", SOON, || agent.descriptors() >= 63).await;
    let other = client.open("shell", "").await;
    let error = client.refused(other, Body::Input("echo\n".into())).await;
    assert!(error.contains("open files"), "{error}");
    for cat in &cats {
        let line = ProcessStdin { data: "still here\n".into(), ..ProcessStdin::default() };
        client.send(*cat, Body::ProcessStdin(line)).await;
        let echo = |command: &Command| {
            command.channel == *cat && matches!(command.body, Some(Body::ProcessOutput(_)))
        };
        client.until("what runs is served", echo).await;
    }
    client.shell_run(shell, "echo still here; ls; true").await;
    for id in &cats {
        let close = CloseChannel { id: *id, action: CloseAction::Close.into() };
        client.ask(0, Body::CloseChan(close)).await;
    }
    eventually("they end without a descriptor to find them with", SOON, || agent.programs().len() == 1).await;
    drop(crowd);
    eventually("there is room again", SOON, || agent.descriptors() < 40).await;
    assert!(matches!(client.ask(refused, cat()).await, Body::ProcessStarted(_)));
    agent.client().await.shell("").await;
}

/// The limit of programs refuses one program, not the agent.
#[tokio::test]
async fn the_limit_of_programs_refuses_what_is_above_it() {
    let agent = Agent::with(&["--max-processes", "5", "--stop-grace", "1"]).await;
    let mut client = agent.client().await;
    let mut channels = Vec::new();
    for _ in 0..5 {
        let channel = client.open("process", "").await;
        client.ask(channel, Body::ProcessStart(process_start(&["sleep", "9101"]))).await;
        channels.push(channel);
    }
    let channel = client.open("process", "").await;
    let start = || Body::ProcessStart(process_start(&["true"]));
    let error = client.refused(channel, start()).await;
    assert!(error.contains('5'), "the limit is named: {error}");
    // A shell that cannot start says so on its channel, and again to whoever types.
    let shell = client.open("shell", "").await;
    assert!(client.refused(shell, Body::Input("echo\n".into())).await.contains('5'));
    let close = CloseChannel { id: channels[0], action: CloseAction::Close.into() };
    client.ask(0, Body::CloseChan(close)).await;
    eventually("one is gone", SOON, || agent.programs().len() == 4).await;
    // It is dead before the agent has taken note of it.
    let begin = Instant::now();
    while !matches!(client.ask(channel, start()).await, Body::ProcessStarted(_)) {
        assert!(begin.elapsed() < SOON, "there is room again");
    }
}

/// A message may hold far more elements than memory is meant for it.
#[tokio::test]
async fn messages_of_millions_of_elements_cost_little() {
    let _alone = HEAVY.lock().await;
    // Empty arguments, and numbers of one byte each.
    let args = wrapped(Body::Exec(Exec::default()).number(), &[0x0a, 0x00].repeat(16 << 20));
    let numbers = wrapped(Body::Audio(Default::default()).number(), &wrapped(1, &vec![0; 32 << 20]));
    for (what, body) in [("arguments", args), ("numbers", numbers)] {
        let agent = Agent::start().await;
        let mut bystander = agent.client().await;
        bystander.ping().await;
        let before = agent.rss_bytes();
        let mut raw = Raw::open(&agent).await;
        let exec = raw.open_channel("exec", "").await;
        let message = [Raw::encoded(exec, "many", None), body].concat();
        raw.frame(crate::support::BINARY, &message).await.unwrap();
        let answer = raw.next().await.unwrap();
        assert!(matches!(answer.body, Some(Body::Error(_) | Body::ProtocolError(_))), "{:?}", answer.body);
        bystander.ping().await;
        // The message itself, twice while its buffer grows, and as much again.
        let cost = agent.peak_rss_bytes() - before;
        assert!(cost < 128 << 20, "{what}: a message of {} MiB cost {} MiB", message.len() >> 20, cost >> 20);
    }
}

async fn chaos(agent: &Agent, mut rng: Rng, lives: usize) {
    for _ in 0..lives {
        let mut raw = Raw::open(agent).await;
        let mut channels = vec![1, 2];
        for turn in 0..10 + rng.below(20) {
            let service = *rng.pick(&["shell", "exec", "process", "null"]);
            let name = if rng.below(2) == 0 { "" } else { *rng.pick(&["chaos 1", "chaos 2"]) };
            let name = if name.is_empty() { String::new() } else { format!("{service} {name}") };
            let channel = *rng.pick(&channels);
            let script = *rng.pick(&[
                "yes | head -c 200000",
                "exit 1",
                "cat",
                "sleep 0.05; kill -9 $$",
                "sleep 9201 & exit",
            ]);
            let args = ["sh", "-c", script];
            let body = match rng.below(9) {
                0..3 => {
                    channels.push(raw.open_channel(service, &name).await);
                    continue;
                }
                3 => Body::Exec(Exec { args: args.map(str::to_owned).to_vec(), ..Exec::default() }),
                4 => Body::Input(format!("{script}\n")),
                5 => Body::ProcessStart(process_start(&args)),
                6 => {
                    Body::ResizeTerm(ResizeTerm { rows: rng.below(300) as u32, cols: rng.below(300) as u32 })
                }
                7 => Body::InputClose(()),
                _ => {
                    let action =
                        *rng.pick(&[CloseAction::Disconnect, CloseAction::TryClose, CloseAction::Close]);
                    let request = Body::CloseChan(CloseChannel { id: channel, action: action.into() });
                    raw.ask(0, &format!("close {turn}"), Some(request)).await;
                    continue;
                }
            };
            raw.command(channel, "", Some(body)).await.unwrap();
            if rng.below(3) == 0 {
                raw.ping(&format!("ping {turn}")).await;
            }
        }
        if rng.below(2) == 0 { raw.reset() } else { drop(raw) }
    }
}

/// Everything at once, by clients that come and go as they like.
#[tokio::test]
async fn after_chaos_nothing_is_left() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::with(&["--stop-grace", "0.5"]).await;
    let mut bystander = agent.client().await;
    let shell = bystander.shell("").await;
    let mut rng = Rng::seeded("chaos");
    let lives = size(20, 1_000);
    let mut sizes = Vec::new();
    for _half in 0..2 {
        let clients = (0..6).map(|_| chaos(&agent, Rng::from(rng.next()), lives));
        within("the chaos ends", 5 * LATE, futures_util::future::join_all(clients)).await;
        bystander.shell_run(shell, "echo still here").await;
        let mut cleaner = Raw::open(&agent).await;
        for service in ["shell", "exec", "process", "null"] {
            for name in ["chaos 1", "chaos 2"] {
                let id = cleaner.open_channel(service, &format!("{service} {name}")).await;
                let close = CloseChannel { id, action: CloseAction::Close.into() };
                cleaner.ask(0, &format!("close {service} {name}"), Some(Body::CloseChan(close))).await;
            }
        }
        drop(cleaner);
        eventually("only the bystander's shell is left", SOON, || agent.programs().len() == 1).await;
        sizes.push((agent.descriptors(), agent.threads(), agent.rss_bytes()));
    }
    let ((before, ..), (descriptors, threads, rss)) = (sizes[0], sizes[1]);
    assert!(descriptors <= before + 2, "{before} -> {descriptors} descriptors");
    assert!(threads < 16, "{threads} threads");
    assert!(rss < sizes[0].2 + SLACK_BYTES, "{} -> {}", sizes[0].2 >> 20, rss >> 20);
    bystander.type_in(shell, "\n").await;
    bystander.output_until(shell, PROMPT).await;
}
