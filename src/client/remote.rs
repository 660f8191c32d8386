//! A program where an agent is, followed over any number of connections: what it prints comes once and whole, what is
//! typed arrives once and whole.
//!
//! The program runs on a named channel of the `process` service, which outlives connections. After a lost one we
//! attach again with the offsets of the next bytes that we want; [`Controls`] does the same for input. A refusal ends
//! it at once; a failing network only when patience does. What this deliberately does not do: print, or touch a
//! terminal.

use std::time::Duration;

use bytes::Bytes;
use pid1_sdk::api::{ProcessExited, ProcessStart, ProcessStarted, ProcessStream, process_attach::Target};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Address, Client, ClientError, Controls, REDIRECTS};

/// Breaks shorter than this are nobody's business.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// The first pause between two attempts to connect; each is twice as long as the one before...
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// ...up to this: short enough for a person who waits.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Pieces of output between the connection and whoever shows them, who takes them all in one go. Then nothing more is
/// taken from the agent, which holds the program back as a pipe would.
const EVENTS: usize = 8;

/// Which program.
#[derive(Clone, Debug)]
pub enum Program {
    /// This one is started; or if the channel has one already, that one is followed.
    Start(Box<ProcessStart>),
    /// One that somebody has started.
    Running(Target),
}

/// What is wanted of a [`Remote`].
#[derive(Debug)]
pub struct Wanted {
    /// The name of the channel.
    pub channel: String,
    /// The program.
    pub program: Program,
    /// Who we are for the agent, so that our input is counted apart; nobody can guess it.
    pub writer: String,
    /// A terminal that several may share: it begins with its past, who may not type looks on, the last to leave an
    /// ended one closes it. Otherwise it is ours alone: all its output comes, and it is closed at the end.
    pub shared: bool,
    /// How long a lost connection is tried again; for ever without.
    pub patience: Option<Duration>,
}

/// What happens, in order.
#[derive(Debug)]
pub enum Event {
    /// The program is followed from now on.
    Started {
        /// Which, and whether it was there before.
        program: ProcessStarted,
        /// We may not type.
        looking_on: bool,
    },
    /// It printed.
    Output(ProcessStream, Bytes),
    /// A program that was there before: its past has been reported, what comes now is new.
    CaughtUp,
    /// So many bytes of its output are no longer kept.
    Gap(u64),
    /// The connection was lost, and is tried again.
    Away(String),
    /// It is there again.
    Back,
}

/// How following a program ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// With the program, all of whose output was reported.
    Exited(ProcessExited),
    /// We left.
    Left,
}

/// A program somewhere else.
#[derive(Debug)]
pub struct Remote {
    home: Address,
    /// Where the last redirect led.
    address: Address,
    pub(super) wanted: Wanted,
    pub(super) controls: Controls,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) program: Option<ProcessStarted>,
    pub(super) looking_on: bool,
    /// Its start was asked for on a connection before, without an answer.
    pub(super) asked: bool,
    /// Since when there is no program on a connection, and the pause before the next attempt.
    lost: Option<Instant>,
    pause: Duration,
    /// Redirects since then.
    moves: usize,
    /// The next byte wanted of each stream; of stdout unknown while a terminal's past was asked for.
    pub(super) stdout: Option<u64>,
    pub(super) stderr: u64,
    /// Where the past of a program ends that was there before us.
    pub(super) past: Option<u64>,
}

impl Remote {
    /// Nothing happens until it is [`run`](Remote::run).
    pub fn new(address: Address, wanted: Wanted) -> (Remote, Controls, mpsc::Receiver<Event>) {
        let (events, happened) = mpsc::channel(EVENTS);
        let controls = Controls::default();
        let remote = Remote {
            home: address.clone(),
            address,
            wanted,
            controls: controls.clone(),
            events,
            program: None,
            looking_on: false,
            asked: false,
            lost: None,
            pause: Duration::ZERO,
            moves: 0,
            stdout: None,
            stderr: 0,
            past: None,
        };
        (remote, controls, happened)
    }

    /// Follows the program to its end, or until the local side leaves.
    ///
    /// # Errors
    /// The first connection must succeed; later ones are tried again while patience lasts.
    pub async fn run(mut self) -> Result<End, ClientError> {
        let controls = self.controls.clone();
        let mut client = tokio::select! {
            client = Client::connect(&self.address) => client?,
            _ = controls.leaving() => return Ok(End::Left),
        };
        loop {
            let lost = match self.follow(client).await {
                Err(ClientError::Redirected { to }) if self.moves < REDIRECTS => {
                    self.moves += 1;
                    self.address = self.address.moved(&to)?;
                    ClientError::Lost(format!("the agent sends us to {to}"))
                }
                Err(error) if error.is_passing() => error,
                other => return other,
            };
            client = match self.connect_again(lost).await? {
                Some(client) => client,
                None => return Ok(End::Left),
            };
        }
    }

    /// Connects, however often that takes; `None` if the local side leaves meanwhile.
    async fn connect_again(&mut self, lost: ClientError) -> Result<Option<Client>, ClientError> {
        let (controls, events) = (self.controls.clone(), self.events.clone());
        let patience = self.wanted.patience;
        let why = lost.to_string();
        let since = *self.lost.get_or_insert_with(Instant::now);
        let gives_up = async {
            match patience {
                Some(patience) => sleep_until(since + patience).await,
                None => std::future::pending().await,
            }
        };
        let tell = async {
            sleep_until(since + TELL_AFTER).await;
            if !controls.away() {
                controls.set_away(true);
                // If our own output is stuck, there is nobody to tell.
                let _ = events.try_send(Event::Away(why));
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            _ = controls.leaving() => Ok(None),
            client = self.try_again() => client.map(Some),
            () = tell => Ok(None),
            () = gives_up => Err(match patience {
                Some(Duration::ZERO) | None => lost,
                Some(patience) => {
                    ClientError::Lost(format!("{lost}; connecting again failed for {} s", patience.as_secs()))
                }
            }),
        }
    }

    /// The program is on a connection: what is lost next is lost anew.
    pub(super) fn found_again(&mut self) {
        (self.lost, self.pause, self.moves) = (None, Duration::ZERO, 0);
    }

    async fn try_again(&mut self) -> Result<Client, ClientError> {
        loop {
            // After a connection that worked, the first attempt is made at once.
            sleep(self.pause).await;
            self.pause = LAST_PAUSE.min(FIRST_PAUSE.max(2 * self.pause));
            match Client::connect(&self.address).await {
                // Where we were sent may be gone for good; where we came from knows better.
                Err(error) if error.is_passing() => self.address = self.home.clone(),
                other => return other,
            }
        }
    }
}
