//! Four clients open, close, ask and vanish: one command after the other, where what each is told is known exactly;
//! or all at once, where the rules of the [`Ledger`] hold whatever comes first.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use futures_util::future::join_all;
use pid1::session::Session;
use pid1_sdk::Role;
use pid1_sdk::api::{CloseChannel, Command, Hello, OpenChannel, Toast, command::Body};
use pid1_sdk::api::{close_channel::Action as Close, open_channel::Action as Open};
use prost::Message;

use super::agent::{Agent, drain, runtime, settled};
use super::ledger::Ledger;
use super::names::{Names, Told, Who};

const ROLES: [Role; 4] = [Role::Owner, Role::Editor, Role::Viewer, Role::Viewer];

/// One that viewers may start, one that they may not, and none.
const SERVICES: [&str; 5] = ["null", "exec", "git", "exec", "no such service"];
const NAMES: [&str; 4] = ["", "a", "b", "a"];

/// Steps of one execution: more only repeat themselves.
const STEPS: usize = 64;

/// Commands that each client may send at once: more than an inbox takes when they are pings to one channel.
const ROUND: usize = 24;

struct Client {
    session: Session,
    ledger: Ledger,
    /// What it sends next, and how often it lets others go first.
    plan: Vec<(Command, u8)>,
}

/// One thing that a client does.
enum Step {
    Open {
        service: &'static str,
        name: &'static str,
        how: Open,
    },
    Close {
        id: i32,
        how: Close,
    },
    Ask {
        channel: i32,
        body: Box<Option<Body>>,
    },
    Vanish,
    /// Everybody is done before anybody goes on.
    Settle,
}

/// The first byte says whether all go at once; then each two to five are a step.
pub fn check(data: &[u8]) {
    runtime().block_on(async {
        let agent = Agent::new();
        let mut room = Room {
            clients: ROLES.map(|role| Client::new(&agent, role)).into(),
            agent,
            names: Names::default(),
            dead: BTreeSet::new(),
        };
        let mut input = Unstructured::new(data);
        let at_once = input.ratio(1, 2u8).unwrap_or_default();
        for _ in 0..STEPS {
            if input.is_empty() {
                break;
            }
            let (who, odd, step) = step(&mut input).expect("numbers never run out");
            if at_once {
                room.plan(who, odd, step).await;
            } else {
                room.play(who, odd, step).await;
            }
        }
        room.go().await;
        room.end(at_once).await;
    });
}

fn step(input: &mut Unstructured) -> Result<(Who, u8, Step)> {
    let who = input.int_in_range(0..=ROLES.len() - 1)?;
    // Numbers are given from 1 up, so these are met; -1, 0 and the last ones are nobody's.
    let id = |input: &mut Unstructured| Ok(input.int_in_range(0..=9u8)? as i32 - 1);
    let step = match input.int_in_range(0..=8u8)? {
        0..=2 => Step::Open {
            service: input.choose(&SERVICES)?,
            name: input.choose(&NAMES)?,
            how: *input.choose(&[Open::Create, Open::Attach, Open::AttachOrCreate])?,
        },
        3 | 4 => Step::Close {
            id: id(input)?,
            how: *input.choose(&[Close::Disconnect, Close::TryClose, Close::Close])?,
        },
        5 | 6 => Step::Ask { channel: id(input)?, body: Box::new(body(input)?) },
        7 => Step::Settle,
        _ => Step::Vanish,
    };
    Ok((who, input.arbitrary()?, step))
}

fn body(input: &mut Unstructured) -> Result<Option<Body>> {
    Ok(match input.int_in_range(0..=7u8)? {
        0 => None,
        1 => Some(Body::Ping(Default::default())),
        2 => Some(Body::Input("x".into())),
        3 => Some(Body::Exec(Default::default())), // nothing to run
        4 => Some(Body::Hello(Hello { username: "ada".into(), ..Hello::default() })),
        5 => Some(Body::Toast(Toast { text: "hear".into() })),
        6 => Some(Body::HasCap(false)),
        _ => Some(Body::Ok(Default::default())),
    })
}

impl Client {
    fn new(agent: &Agent, role: Role) -> Client {
        Client { session: agent.connect(role), ledger: Ledger::default(), plan: Vec::new() }
    }

    /// What it says for `step`.
    fn command(&mut self, with_ref: bool, step: &Step) -> Option<Command> {
        let (channel, body) = match step {
            Step::Open { service, name, how } => {
                let (service, name) = (service.to_string(), name.to_string());
                let request = OpenChannel { service, name, action: (*how).into(), ..OpenChannel::default() };
                (0, Some(Body::OpenChan(request)))
            }
            Step::Close { id, how } => {
                (0, Some(Body::CloseChan(CloseChannel { id: *id, action: (*how).into() })))
            }
            Step::Ask { channel, body } => (*channel, body.as_ref().clone()),
            Step::Vanish | Step::Settle => return None,
        };
        Some(self.ledger.ask(channel, body, with_ref))
    }
}

struct Room {
    agent: Agent,
    clients: Vec<Client>,
    names: Names,
    /// Channels that somebody was told have ended.
    dead: BTreeSet<i32>,
}

impl Room {
    /// One command, and everything that comes of it.
    async fn play(&mut self, who: Who, odd: u8, step: Step) {
        let client = &mut self.clients[who];
        let viewer = ROLES[who] == Role::Viewer;
        let Some(command) = client.command(odd.is_multiple_of(2), &step) else {
            return self.leave(who, step).await;
        };
        client.session.receive(command.encode_to_vec().into()).await;
        settled().await;
        let mut expected: Vec<Vec<Told>> = self.clients.iter().map(|_| Vec::new()).collect();
        match step {
            Step::Open { service, name, how } => {
                expected[who].push(self.names.open((who, viewer), service, name, how));
            }
            Step::Close { id, how } => {
                let (told, others) = self.names.close((who, viewer), id, how);
                expected[who].push(told);
                others.into_iter().for_each(|other| expected[other].push(told));
            }
            _ => {}
        }
        assert_eq!(self.hear(), expected, "told, and what should have been");
        self.clients.iter_mut().for_each(|client| client.ledger.settle());
    }

    async fn leave(&mut self, who: Who, step: Step) {
        if let Step::Vanish = step {
            self.clients[who] = Client::new(&self.agent, ROLES[who]);
            self.names.vanish(who);
            settled().await;
            assert_eq!(self.agent.router.running(), self.names.running(), "channels run on, or ended");
        }
    }

    /// Adds to what is sent at once.
    async fn plan(&mut self, who: Who, odd: u8, step: Step) {
        let client = &mut self.clients[who];
        match client.command(odd.is_multiple_of(2), &step) {
            Some(command) => client.plan.push((command, odd / 2 % 4)),
            None => {
                self.go().await;
                if let Step::Vanish = step {
                    self.clients[who] = Client::new(&self.agent, ROLES[who]);
                }
            }
        }
        if self.clients[who].plan.len() >= ROUND {
            self.go().await;
        }
    }

    /// Everybody sends what is planned, and hears what comes of it.
    async fn go(&mut self) {
        let sending = self.clients.iter_mut().map(|client| async {
            for (command, patience) in client.plan.drain(..) {
                for _ in 0..patience {
                    tokio::task::yield_now().await;
                }
                client.session.receive(command.encode_to_vec().into()).await;
            }
        });
        join_all(sending).await;
        settled().await;
        self.hear();
        self.clients.iter_mut().for_each(|client| client.ledger.settle());
    }

    /// Everybody reads; what each was told of channels.
    fn hear(&mut self) -> Vec<Vec<Told>> {
        let mut ended = BTreeSet::new();
        let mut all = Vec::new();
        for client in &mut self.clients {
            let mut told = Vec::new();
            for message in drain(client.session.outbox()) {
                client.ledger.receive(&message, &self.dead);
                match message.body {
                    Some(Body::OpenChanRes(opened)) => told.push(Told::Opened(opened.id, opened.state)),
                    Some(Body::CloseChanRes(closed)) => {
                        told.push(Told::Closed(closed.id, closed.status));
                        ended.extend((closed.status == 1).then_some(closed.id));
                    }
                    _ => {}
                }
            }
            assert_eq!(client.session.outbox().ended(), None, "nobody is thrown out");
            all.push(told);
        }
        self.dead.append(&mut ended);
        assert!(self.clients.iter().all(|client| client.ledger.on().is_disjoint(&self.dead)));
        all
    }

    /// All go: what had no name goes with them, and with the agent goes the rest.
    async fn end(mut self, at_once: bool) {
        for who in 0..self.clients.len() {
            self.names.vanish(who);
        }
        self.clients.clear();
        settled().await;
        if !at_once {
            assert_eq!(self.agent.router.running(), self.names.running(), "channels run on, or ended");
        }
        self.agent.stop().await;
    }
}
