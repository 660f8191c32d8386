//! A remote program over one connection: join its channel, report what it prints, send what the local side does.

use std::pin::pin;
use std::time::Duration;

use bytes::Buf;
use pid1_sdk::api::{
    CloseChannel, Command, Ping, ProcessAttach, ProcessExited, ProcessGap, ProcessOutput, ProcessStart,
    ProcessStream, close_channel, command::Body, open_channel::Action, open_channel_res::State,
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::controls::{INPUT, SIGNAL};
use super::{Client, ClientError, Controls, End, Event, Leave, Program, Receiver, Remote, Sender};

/// How often we show that we are there: more often than an agent looks that is told to look often. While our own output
/// is not taken we read nothing, so the agent's own pings go unanswered.
const ALIVE: Duration = Duration::from_secs(1);

/// The agent answers each of those; a network that has swallowed this many is gone, whatever it says itself.
const SILENCE: Duration = Duration::from_secs(15);

/// What the agent says of input that the program itself no longer wants.
const INPUT_CLOSED: &str = "input is closed";

/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);

impl Remote {
    /// Follows the program over one connection.
    pub(super) async fn follow(&mut self, mut client: Client) -> Result<End, ClientError> {
        let controls = self.controls.clone();
        let channel = {
            let mut joined = pin!(timeout(SILENCE, self.join(&mut client)));
            tokio::select! {
                biased;
                channel = &mut joined => channel.map_err(|_| silent())??,
                // A command that is just being started is not left behind.
                how = controls.leaving() => {
                    let patience = if how == Leave::Close { FAREWELL } else { Duration::ZERO };
                    match timeout(patience, joined).await {
                        Ok(Ok(Ok(channel))) => channel,
                        _ => return Ok(End::Left),
                    }
                }
            }
        };
        self.found_again();
        if controls.away() {
            controls.set_away(false);
            let _ = self.events.send(Event::Back).await;
        }
        let (mut sender, mut receiver, early) = client.split();
        let end = tokio::select! {
            end = self.receive(&mut receiver, early, channel) => {
                let exited = end?;
                controls.set_ended();
                End::Exited(exited)
            }
            left = send(&mut sender, &controls, channel) => left?,
        };
        let action = match (end, controls.left()) {
            (End::Left, Some(Leave::Detach)) => close_channel::Action::Disconnect,
            (End::Left, _) => close_channel::Action::Close,
            // Whoever is left may still be reading.
            (End::Exited(_), _) if self.wanted.shared => close_channel::Action::TryClose,
            (End::Exited(_), _) => close_channel::Action::Close,
        };
        let _ = timeout(FAREWELL, say_goodbye(sender, receiver, channel, action)).await;
        Ok(end)
    }

    /// Opens the channel and finds or starts the program there.
    async fn join(&mut self, client: &mut Client) -> Result<i32, ClientError> {
        if self.wanted.shared && self.program.is_none() {
            self.looking_on = matches!(client.request(0, Body::HasCap(true)).await?, Body::HasCap(false));
        }
        let name = self.wanted.channel.clone();
        let known = self.program.is_some();
        let action =
            if known || self.looking_on || self.asked { Action::Attach } else { Action::AttachOrCreate };
        let (channel, state) = client.open("process", &name, action).await.map_err(|error| match error {
            ClientError::Refused(_) if known => gone(),
            // No command is run twice: the channel outlives us, so this is another agent, or the same started anew.
            ClientError::Refused(_) if self.asked => ClientError::Refused(
                "the connection was lost while the command was being started, and the agent does not know of it any \
                 more: it may have run"
                    .to_owned(),
            ),
            ClientError::Refused(why) if self.looking_on => {
                ClientError::Refused(format!("{why}; this token may look on, but starts nothing"))
            }
            other => other,
        })?;
        let follow = ProcessAttach {
            stdout_from: self.stdout.unwrap_or_default(),
            stderr_from: self.stderr,
            writer: self.wanted.writer.clone(),
            scrollback: self.stdout.is_none() && self.wanted.shared,
            target: None,
        };
        let request = match &self.wanted.program {
            Program::Start(start) if !known && !self.looking_on => {
                let writer = self.wanted.writer.clone();
                let start = ProcessStart { writer, or_attach: Some(follow), ..(**start).clone() };
                Body::ProcessStart(start)
            }
            Program::Running(target) if state == State::Created => {
                Body::ProcessAttach(ProcessAttach { target: Some(target.clone()), ..follow })
            }
            _ => Body::ProcessAttach(follow),
        };
        let starting = matches!(request, Body::ProcessStart(_));
        self.asked = starting && !self.wanted.shared;
        let program = match client.request(channel, request).await? {
            Body::ProcessStarted(program) => program,
            Body::Error(error) if starting => return Err(ClientError::NotStarted(error)),
            Body::Error(_) if known => return Err(gone()),
            Body::Error(error) => return Err(ClientError::Refused(error)),
            other => return Err(ClientError::Refused(format!("the agent answered with {}", other.name()))),
        };
        match &self.program {
            Some(known) if (known.id, known.pid) != (program.id, program.pid) => return Err(gone()),
            Some(_) => {}
            None => {
                self.program = Some(program);
                if !program.found {
                    // All of it is wanted, also if the connection is lost before the first byte has come.
                    self.stdout = Some(0);
                }
                if self.looking_on {
                    self.controls.never_types();
                }
                let _ = self.events.send(Event::Started { program, looking_on: self.looking_on }).await;
                self.past = program.found.then_some(program.stdout_end);
                self.catch_up(0).await;
            }
        }
        self.controls.connected_at(program.stdin_taken)?;
        Ok(channel)
    }

    /// Reports what comes, up to the program's end.
    async fn receive(
        &mut self,
        receiver: &mut Receiver,
        early: impl IntoIterator<Item = Command>,
        channel: i32,
    ) -> Result<ProcessExited, ClientError> {
        let mut early = early.into_iter();
        loop {
            let command = match early.next() {
                Some(command) => command,
                None => timeout(SILENCE, receiver.next()).await.map_err(|_| silent())??,
            };
            match (command.r#ref.as_str(), command.body) {
                (INPUT, Some(Body::ProcessStdinTaken(taken))) => self.controls.taken(taken.offset),
                // A program that wants no more input gets none, as with a pipe; everything else must not pass unseen.
                (INPUT, Some(Body::Error(why))) if self.controls.refused() && !why.contains(INPUT_CLOSED) => {
                    return Err(ClientError::Refused(format!("the agent takes no more of our input: {why}")));
                }
                (INPUT, Some(Body::Error(_))) => {}
                (SIGNAL, _) => self.controls.signalled(),
                (_, Some(Body::ProcessOutput(output))) if command.channel == channel => {
                    self.output(output).await?;
                }
                (_, Some(Body::ProcessGap(gap))) if command.channel == channel => self.gap(gap).await,
                (_, Some(Body::ProcessExited(exited))) if command.channel == channel => return Ok(exited),
                (_, Some(Body::CloseChanRes(closed))) if closed.id == channel => {
                    return Err(ClientError::Refused(
                        "the program's channel was closed: by somebody else, or because the agent stops"
                            .to_owned(),
                    ));
                }
                _ => {}
            }
        }
    }

    async fn output(&mut self, output: ProcessOutput) -> Result<(), ClientError> {
        let (stream, mut data) = (output.stream(), output.data);
        let next = match stream {
            ProcessStream::Stdout => self.stdout.get_or_insert(output.offset),
            ProcessStream::Stderr => &mut self.stderr,
        };
        let Some(known) = next.checked_sub(output.offset) else {
            return Err(ClientError::Refused(format!(
                "the agent left out {} bytes of output without a word",
                output.offset - *next
            )));
        };
        data.advance(data.len().min(usize::try_from(known).unwrap_or(usize::MAX)));
        // Counted only when it is certain to be shown: this may be dropped while it waits.
        let Ok(place) = self.events.reserve().await else {
            return std::future::pending().await; // nobody looks any more: about to leave
        };
        *next += data.len() as u64;
        let end = *next;
        place.send(Event::Output(stream, data));
        if stream == ProcessStream::Stdout {
            self.catch_up(end).await;
        }
        Ok(())
    }

    /// Reports that the past is over, if all below `offset` has been reported and it is.
    async fn catch_up(&mut self, offset: u64) {
        if self.past.is_some_and(|past| past <= offset) && self.events.send(Event::CaughtUp).await.is_ok() {
            self.past = None;
        }
    }

    async fn gap(&mut self, gap: ProcessGap) {
        let Ok(place) = self.events.reserve().await else { return };
        match gap.stream() {
            ProcessStream::Stdout => self.stdout = Some(gap.to),
            ProcessStream::Stderr => self.stderr = gap.to,
        }
        place.send(Event::Gap(gap.to.saturating_sub(gap.from)));
        if gap.stream() == ProcessStream::Stdout {
            self.catch_up(gap.to).await;
        }
    }
}

/// Sends what the local side does, and that we live; until it leaves.
async fn send(sender: &mut Sender, controls: &Controls, channel: i32) -> Result<End, ClientError> {
    let mut alive = interval(ALIVE);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while let Some((body, reference)) = controls.next_message() {
            sender.send(channel, reference.to_owned(), body).await?;
        }
        if controls.left().is_some() {
            return Ok(End::Left);
        }
        tokio::select! {
            () = controls.news() => {}
            _ = alive.tick() => sender.send(0, String::new(), Body::Ping(Ping {})).await?,
        }
    }
}

/// Leaves the channel, and hangs up when that is done.
async fn say_goodbye(mut sender: Sender, mut receiver: Receiver, id: i32, action: close_channel::Action) {
    let close = Body::CloseChan(CloseChannel { id, action: action.into() });
    if sender.send(0, "close".to_owned(), close).await.is_err() {
        return;
    }
    while let Ok(command) = receiver.next().await {
        if command.r#ref == "close" {
            return sender.close().await;
        }
    }
}

fn silent() -> ClientError {
    ClientError::Lost(format!("nothing was heard for {SILENCE:?}"))
}

fn gone() -> ClientError {
    ClientError::Refused(
        "the program is gone: the agent was started anew, or we were away for longer than it keeps programs"
            .to_owned(),
    )
}
