//! `pid1 exec`: a command where an agent is, as if it ran here. Byte for byte, through the `process` service.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pid1_sdk::api::{
    Command, Ping, ProcessExited, ProcessOutput, ProcessStart, ProcessStdin, ProcessStream, command::Body,
    open_channel::Action, process_exited::Status,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::fail;
use crate::client::{Address, Client, ClientError, Receiver, Sender};

/// What shells and ssh use for "the other side could not be reached".
const EXIT_NO_AGENT: u8 = 255;

/// The command was not found, as shells say it.
const EXIT_NOT_FOUND: u8 = 127;

/// The command was found and cannot be run, as shells say it.
const EXIT_NOT_RUN: u8 = 126;

/// Input sent in one message.
const CHUNK_BYTES: usize = 64 << 10;

/// Messages of input on the way: half of what the agent keeps for a program that does not read.
const CHUNKS_IN_FLIGHT: usize = 8;

/// How often we show that we are there: more often than an agent looks that is told to look often.
const ALIVE: Duration = Duration::from_secs(1);

/// The `ref` of every message of input.
const INPUT: &str = "stdin";

pub(super) fn run(url: &str, command: Vec<String>) -> ExitCode {
    let address: Address = match url.parse() {
        Ok(address) => address,
        Err(error) => return fail(&format!("{error}"), EXIT_NO_AGENT),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string(), EXIT_NO_AGENT),
    };
    let result = runtime.block_on(exec(&address, command));
    // A read of stdin that nobody needs any more must not keep us.
    runtime.shutdown_background();
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => fail(&error.to_string(), EXIT_NO_AGENT),
    }
}

async fn exec(address: &Address, command: Vec<String>) -> Result<u8, ClientError> {
    let mut client = Client::connect(address).await?;
    let (channel, _) = client.open("process", "", Action::Create).await?;
    let start = ProcessStart { args: command, ..ProcessStart::default() };
    match client.request(channel, Body::ProcessStart(start)).await? {
        Body::ProcessStarted(_) => {}
        Body::Error(error) => {
            // The text is all that the protocol carries; of the folder, `chdir` speaks.
            let missing = error.contains("not found") || error.contains("no such file");
            let status = if missing && error.starts_with("exec:") { EXIT_NOT_FOUND } else { EXIT_NOT_RUN };
            fail(&error, status);
            return Ok(status);
        }
        other => {
            return Err(ClientError::Refused(format!("the agent answered {} to processStart", other.name())));
        }
    }
    let (sender, receiver, early) = client.split();
    let window = Arc::new(Semaphore::new(CHUNKS_IN_FLIGHT));
    let sending = async {
        send_input(sender, channel, &window).await;
        std::future::pending().await // the program's end is the end, not ours
    };
    tokio::select! {
        status = receive(receiver, early, &window) => status,
        status = sending => status,
    }
}

/// Sends stdin to its end. If the program or the agent wants no more of it, that is no failure: the other side says
/// how things end. Never returns while the connection lives.
async fn send_input(mut sender: Sender, channel: i32, window: &Semaphore) {
    let mut stdin = tokio::io::stdin();
    let mut alive = tokio::time::interval(ALIVE);
    let (mut offset, mut eof) = (0, false);
    loop {
        let mut data = bytes::BytesMut::with_capacity(if eof { 0 } else { CHUNK_BYTES });
        let read = async {
            let Ok(place) = window.acquire().await else { return true };
            let more = matches!(stdin.read_buf(&mut data).await, Ok(1..));
            place.forget(); // given back when the agent has taken it
            !more
        };
        let sent = tokio::select! {
            ended = read, if !eof => {
                eof = ended;
                let size = data.len() as u64;
                let input = ProcessStdin { offset: Some(offset), data: data.freeze(), eof };
                offset += size;
                sender.send(channel, INPUT.to_owned(), Body::ProcessStdin(input)).await
            }
            // While our own output is not taken we read nothing, so the agent's pings go unanswered.
            _ = alive.tick() => sender.send(0, String::new(), Body::Ping(Ping {})).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn receive(
    mut receiver: Receiver,
    early: impl IntoIterator<Item = Command>,
    window: &Semaphore,
) -> Result<u8, ClientError> {
    let mut early = early.into_iter();
    loop {
        let command = match early.next() {
            Some(command) => command,
            None => receiver.next().await?,
        };
        if command.r#ref == INPUT {
            window.add_permits(1);
        }
        match command.body {
            Some(Body::ProcessOutput(output)) => match show(&output).await {
                Ok(()) => {}
                // Whoever read our output has gone; a program run here would have been told by SIGPIPE.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(128 + 13),
                Err(error) => return Err(ClientError::Output(error)),
            },
            Some(Body::ProcessGap(gap)) => {
                let missing = gap.to - gap.from;
                return Err(ClientError::Lost(format!(
                    "{missing} bytes of output were dropped before we took them"
                )));
            }
            Some(Body::ProcessExited(exited)) => return Ok(status(&exited)),
            _ => {}
        }
    }
}

/// Writes as fast as our own reader takes it; meanwhile nothing more is taken from the agent, which holds the command
/// back as a pipe would.
async fn show(output: &ProcessOutput) -> io::Result<()> {
    match output.stream() {
        ProcessStream::Stdout => {
            let mut stdout = tokio::io::stdout();
            stdout.write_all(&output.data).await?;
            stdout.flush().await
        }
        ProcessStream::Stderr => {
            let mut stderr = tokio::io::stderr();
            stderr.write_all(&output.data).await?;
            stderr.flush().await
        }
    }
}

fn status(exited: &ProcessExited) -> u8 {
    let status = match exited.status {
        Some(Status::Code(code)) => code,
        Some(Status::Signal(signal)) => 128 + signal,
        None => i32::from(EXIT_NO_AGENT),
    };
    u8::try_from(status).unwrap_or(EXIT_NO_AGENT)
}
