//! Thousands of random and mutated commands: every one that decodes and has a `ref` is answered exactly once, every
//! other costs what it costs, and a bystander is served throughout.

use std::collections::{HashMap, HashSet};

use pid1_sdk::api::{
    CloseChannel, Command, Exec, Hello, Pid1Config, ProcessAttach, ProcessSignal, ProcessStdin, PtyConfig,
    ResizeTerm, command::Body, open_channel::Action,
};
use prost::Message as _;

use crate::support::{Agent, BINARY, LATE, Raw, Rng, process_start, size, within};

const CONNECTIONS: usize = 4;

/// Frames sent before the answers are looked at.
const BATCH: usize = 40;

/// What is mutated: every kind of command that does something, none that does harm when a byte of it changes.
fn seeds(channels: &[i32]) -> Vec<(i32, Body)> {
    let exec = Exec { args: vec!["/bin/true".into(), "x".into()], ..Exec::default() };
    let some = |body: Body| channels.iter().map(move |channel| (*channel, body.clone()));
    let stdin = ProcessStdin { offset: Some(0), data: "x".into(), eof: false };
    let bodies = [
        Body::Input("#comment\n".into()),
        Body::InputClose(()),
        Body::Exec(exec),
        Body::Exec(Exec::default()),
        Body::ResizeTerm(ResizeTerm { rows: 50, cols: 132 }),
        Body::ResizeTerm(ResizeTerm { rows: u32::MAX, cols: 0 }),
        Body::SaneTerm(Default::default()),
        Body::PtyConfig(PtyConfig { pipe_mode: true }),
        Body::ProcessStart(process_start(&["/bin/cat"])),
        Body::ProcessStart(process_start(&["/no/such/program"])),
        Body::ProcessStdin(stdin),
        Body::ProcessAttach(ProcessAttach { stdout_from: u64::MAX, ..ProcessAttach::default() }),
        Body::ProcessSignal(ProcessSignal { signal: i32::MAX }),
        Body::ProcessList(Default::default()),
        Body::Write(Default::default()),
        Body::Ok(Default::default()),
    ];
    let control = [
        Body::Ping(Default::default()),
        Body::Hello(Hello { username: "\x1b[31mmallory".into(), ..Hello::default() }),
        Body::Auth(Default::default()),
        Body::HasCap(true),
        Body::Metrics(Default::default()),
        Body::Debug(Default::default()),
        Body::IncRef(Default::default()),
        Body::Pid1Config(Pid1Config { cwd: ".".into(), ..Pid1Config::default() }),
        Body::CloseChan(CloseChannel { id: i32::MAX, action: 7 }),
        Raw::open_body("null", "", Action::Create),
        Raw::open_body("null", "known", Action::AttachOrCreate),
        Raw::open_body("nothing", "", Action::Create),
        Raw::open_body("null", "not there", Action::Attach),
    ];
    bodies.into_iter().flat_map(some).chain(control.into_iter().map(|body| (0, body))).collect()
}

fn mutated(rng: &mut Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(bytes.len().max(1));
        match rng.below(5) {
            _ if bytes.is_empty() => bytes = rng.bytes(8),
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = rng.next() as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.next() as u8),
            _ => {
                let piece = bytes[at..(at + 9).min(bytes.len())].to_vec();
                bytes.extend(piece);
            }
        }
    }
    bytes
}

/// Channel and `ref` of what does not decode as a whole: a string that is no UTF-8 is answered by `error` with it.
#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(int32, tag = "1")]
    channel: i32,
    #[prost(string, tag = "1000")]
    reference: String,
}

/// What is owed on one connection.
#[derive(Default)]
struct Ledger {
    asked: HashMap<String, usize>,
    /// May be answered: what it was in did not decode.
    unclear: HashMap<String, usize>,
    answered: HashMap<String, usize>,
    /// Channels that the client may have left: what it asked there before is dropped with them.
    left: HashSet<i32>,
    on_channel: HashMap<String, i32>,
}

impl Ledger {
    fn sent(&mut self, bytes: &[u8]) {
        let Ok(command) = Command::decode(bytes) else {
            let Envelope { reference, .. } = Envelope::decode(bytes).unwrap_or_default();
            return *self.unclear.entry(reference).or_default() += 1;
        };
        if let Some(Body::CloseChan(request)) = &command.body {
            self.left.insert(request.id);
        }
        if !command.r#ref.is_empty() {
            self.on_channel.insert(command.r#ref.clone(), command.channel);
            *self.asked.entry(command.r#ref).or_default() += 1;
        }
    }

    fn received(&mut self, command: Command) {
        if !command.r#ref.is_empty() {
            *self.answered.entry(command.r#ref).or_default() += 1;
        }
    }

    /// Nothing was answered twice; what else is wrong, if all answers are in.
    fn check(&self) -> Result<(), String> {
        for (reference, asked) in &self.asked {
            let answered = self.answered.get(reference).copied().unwrap_or_default();
            let channel = &self.on_channel[reference];
            let unclear = self.unclear.get(reference).copied().unwrap_or_default();
            assert!(
                answered <= *asked + unclear,
                "{reference:?} on {channel}: asked {asked} times, answered {answered}"
            );
            if answered < *asked && !self.left.contains(channel) {
                return Err(format!("{reference:?} on {channel}: asked {asked} times, answered {answered}"));
            }
        }
        Ok(())
    }
}

async fn connection(agent: &Agent, mut rng: Rng, frames: usize) -> usize {
    let (mut sent, mut lives) = (0, 0);
    while sent < frames {
        lives += 1;
        let mut raw = Raw::open(agent).await;
        let mut channels = vec![i32::MAX, -1];
        for service in ["null", "exec", "shell", "process"] {
            channels.push(raw.open_channel(service, "").await);
        }
        let seeds = seeds(&channels);
        let mut ledger = Ledger::default();
        let mut alive = true;
        while alive && sent < frames {
            for _ in 0..BATCH.min(frames - sent) {
                sent += 1;
                let (channel, body) = rng.pick(&seeds).clone();
                let bytes = Raw::encoded(channel, &format!("{sent}"), Some(body));
                let bytes = match rng.below(20) {
                    0 => {
                        let len = rng.below(64);
                        rng.bytes(len)
                    }
                    1..=8 => bytes,
                    _ => mutated(&mut rng, bytes),
                };
                if raw.frame(BINARY, &bytes).await.is_err() {
                    break; // closed for the tenth that was none; what follows is not heard
                }
                ledger.sent(&bytes);
            }
            alive = in_step(&mut raw, &mut ledger).await;
        }
        // Programs may still have to end.
        while alive && ledger.check().is_err() {
            match raw.next_unbounded().await {
                Some(command) => ledger.received(command),
                None => alive = false,
            }
        }
        let _ = ledger.check();
    }
    lives
}

/// Reads until a ping behind all that was sent is answered; false if the connection was closed instead.
async fn in_step(raw: &mut Raw, ledger: &mut Ledger) -> bool {
    if raw.command(0, "in step", Some(Body::Ping(Default::default()))).await.is_err() {
        return false;
    }
    loop {
        let Some(command) = raw.next().await else {
            // For what was sent, or because a mutant said goodbye.
            assert!(matches!(raw.closed, Some((1007 | 1000, _)) | None), "{:?}", raw.closed);
            return false;
        };
        if command.r#ref == "in step" {
            return true;
        }
        ledger.received(command);
    }
}

#[tokio::test]
async fn every_command_that_asks_is_answered_exactly_once() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut rng = Rng::seeded("mutants");
    let frames = size(10_000, 200_000) / CONNECTIONS;
    let all = futures_util::future::join_all(
        (0..CONNECTIONS).map(|_| connection(&agent, Rng::from(rng.next()), frames)),
    );
    let mut bystander = agent.client().await;
    let channel = bystander.shell("").await;
    let lives = within("all frames are answered", LATE, async {
        tokio::pin!(all);
        let mut round = 0;
        loop {
            tokio::select! {
                lives = &mut all => return lives,
                () = async {
                    bystander.ping().await;
                    round += 1;
                    bystander.shell_run(channel, &format!("echo {round}")).await;
                } => {}
            }
        }
    })
    .await;
    eprintln!("lives of each connection: {lives:?}");
    agent.client().await.ping().await;
}
