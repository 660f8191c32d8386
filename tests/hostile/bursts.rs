//! Thousands of programs that end as soon as they have begun: each status is the right one, and none is lost.

use std::collections::HashMap;

use pid1_sdk::api::{Exec, ProcessStart, State, command::Body, process_exited::Status};

use crate::support::{Agent, BINARY, HEAVY, LATE, Raw, SOON, eventually, process_start, size, within};

/// At the same time through `exec`, for each client: every status there is, and fewer than may wait.
const QUEUED: usize = 256;

/// At the same time through `process`, for each client: a channel each.
const AT_ONCE: usize = 125;

fn exits(code: usize) -> [String; 3] {
    ["sh".to_owned(), "-c".to_owned(), format!("exit {code}")]
}

/// Runs one after the other on an exec channel, a round asked for at once.
async fn through_exec(agent: &Agent, rounds: usize) {
    let mut raw = Raw::open(agent).await;
    let channel = raw.open_channel("exec", "").await;
    for _ in 0..rounds {
        let requests = (0..QUEUED).flat_map(|n| {
            let run = Exec { args: exits(n % 256).to_vec(), ..Exec::default() };
            Raw::masked(BINARY, &Raw::encoded(channel, &n.to_string(), Some(Body::Exec(run))))
        });
        raw.write(&requests.collect::<Vec<_>>()).await.unwrap();
        let (mut next, mut stopped) = (0, 0);
        while next < QUEUED {
            let command = raw.next().await.unwrap();
            stopped += usize::from(command.body == Some(Body::State(State::Stopped.into())));
            if command.r#ref.is_empty() {
                continue;
            }
            assert_eq!(command.r#ref, next.to_string(), "in the order in which they were asked for");
            let right = match next % 256 {
                0 => Body::Ok(Default::default()),
                code => Body::Error(format!("exit status {code}")),
            };
            assert_eq!(command.body, Some(right), "run {next}");
            next += 1;
        }
        // The last one's is still to come, and nothing else.
        let rest = raw.ping("after all").await;
        assert_eq!((stopped, rest.len()), (QUEUED - 1, 1), "{rest:?}");
    }
}

/// Runs side by side, each on a process channel of its own.
async fn through_process(agent: &Agent, rounds: usize) {
    for round in 0..rounds {
        let mut raw = Raw::open(agent).await;
        let mut awaited = HashMap::new();
        for n in 0..AT_ONCE {
            awaited.insert(raw.open_channel("process", "").await, (round * AT_ONCE + n) % 256);
        }
        for (&channel, &code) in &awaited {
            let start = ProcessStart { args: exits(code).to_vec(), ..process_start(&[]) };
            raw.command(channel, "", Some(Body::ProcessStart(start))).await.unwrap();
        }
        while !awaited.is_empty() {
            let command = raw.next().await.unwrap();
            match command.body {
                Some(Body::ProcessExited(exited)) => {
                    let code = awaited.remove(&command.channel).expect("each ends once");
                    assert_eq!(exited.status, Some(Status::Code(code as i32)));
                }
                Some(Body::Error(error)) => panic!("{error}"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn every_status_of_a_burst_is_right() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut bystander = agent.client().await;
    let factor = size(1, 10);
    let all = async {
        let execs = futures_util::future::join_all((0..4).map(|_| through_exec(&agent, factor)));
        let processes = futures_util::future::join_all((0..4).map(|_| through_process(&agent, 2 * factor)));
        tokio::join!(execs, processes);
    };
    within("all have ended", 5 * LATE, all).await;
    eventually("none is left", SOON, || agent.programs().is_empty()).await;
    assert_eq!(bystander.figure("pid1_processes").await, 0);
}
