//! A client that behaves, with a deadline on everything it waits for.

use pid1::client::{Address, Client};
use pid1_sdk::api::{
    Command, ProcessExited, ProcessStart, ProcessStdin, ProcessStream, command::Body, open_channel::Action,
};
use prost::Message as _;

use super::{LATE, SOON, within};

/// What a test's shell shows when it waits for a command.
pub const PROMPT: &str = "test> ";

pub struct Peer {
    client: Client,
}

impl Peer {
    pub(super) fn new(client: Client) -> Peer {
        Peer { client }
    }

    /// A client of the agent at `url`, which may be anybody's.
    pub async fn connect(url: &str) -> Peer {
        let address: Address = url.parse().unwrap();
        let client = within("a client connects", SOON, Client::connect(&address)).await;
        Peer::new(client.unwrap_or_else(|error| panic!("a client cannot connect: {error}")))
    }

    /// Attaches to the channel `name`, or makes it; without a name, makes one of its own.
    pub async fn open(&mut self, service: &str, name: &str) -> i32 {
        let action = if name.is_empty() { Action::Create } else { Action::AttachOrCreate };
        let opened = within("openChan is answered", SOON, self.client.open(service, name, action)).await;
        opened.unwrap_or_else(|error| panic!("cannot open {service} {name:?}: {error}")).0
    }

    pub async fn send(&mut self, channel: i32, body: Body) {
        within("a command can be sent", SOON, self.client.send(channel, body)).await.unwrap();
    }

    pub async fn ask(&mut self, channel: i32, body: Body) -> Body {
        let what = format!("{} is answered", body.name());
        within(&what, LATE, self.client.request(channel, body)).await.unwrap()
    }

    /// Asks for something that must be refused; with which words.
    pub async fn refused(&mut self, channel: i32, body: Body) -> String {
        match self.ask(channel, body).await {
            Body::Error(error) => error,
            other => panic!("{} instead of an error", other.name()),
        }
    }

    /// A round trip through the agent: it serves.
    pub async fn ping(&mut self) {
        let answer =
            within("a ping is answered", SOON, self.client.request(0, Body::Ping(Default::default()))).await;
        assert!(matches!(answer, Ok(Body::Pong(_))), "{answer:?}");
    }

    /// One of the agent's own figures, by its name.
    pub async fn figure(&mut self, name: &str) -> usize {
        let Body::Metrics(all) = self.ask(0, Body::Metrics(Default::default())).await else { panic!() };
        let families = all.prometheus_metric_families.iter().map(|bytes| Family::decode(&bytes[..]).unwrap());
        let family = families.into_iter().find(|family| family.name == name);
        family.unwrap_or_else(|| panic!("no figure {name}")).metric[0].gauge.unwrap().value as usize
    }

    pub async fn until(&mut self, what: &str, mut wanted: impl FnMut(&Command) -> bool) -> Command {
        let find = async {
            loop {
                let command = self.client.next().await.unwrap();
                if wanted(&command) {
                    return command;
                }
            }
        };
        within(what, LATE, find).await
    }

    /// The output of `channel` up to and with `end`; only the last 1 MiB of it is kept.
    pub async fn output_until(&mut self, channel: i32, end: &str) -> String {
        let mut text = String::new();
        let read = async {
            loop {
                if let Some(piece) = output_of(&self.client.next().await.unwrap(), channel) {
                    // The end may have begun in the piece before.
                    let from = text.ceil_char_boundary(text.len().saturating_sub(end.len()));
                    text += piece;
                    if text[from..].contains(end) {
                        return;
                    }
                    if text.len() > 2 << 20 {
                        text.drain(..text.ceil_char_boundary(text.len() - (1 << 20)));
                    }
                }
            }
        };
        let read = tokio::time::timeout(LATE, read).await;
        assert!(read.is_ok(), "{end:?} did not come on channel {channel}; so far: {:?}", last(&text));
        text
    }

    pub async fn type_in(&mut self, shell: i32, text: &str) {
        self.send(shell, Body::Input(text.to_owned())).await;
    }

    /// Types a command and waits for the prompt after it; what the terminal showed.
    pub async fn shell_run(&mut self, shell: i32, line: &str) -> String {
        // What is typed is echoed, so the word that ends it is put together by the shell.
        self.type_in(shell, &format!("{line}; echo en''d-of-it $?\n")).await;
        let shown = self.output_until(shell, "end-of-it ").await;
        // It may have come with the end, or in a message of its own.
        match shown.rsplit("end-of-it ").next() {
            Some(rest) if rest.contains(PROMPT) => {}
            _ => drop(self.output_until(shell, PROMPT).await),
        }
        shown
    }

    /// Opens a shell where there is none; what is said instead.
    pub async fn no_shell(&mut self) -> String {
        let shell = self.open("shell", "").await;
        let is_error =
            |command: &Command| command.channel == shell && matches!(command.body, Some(Body::Error(_)));
        match self.until("an error", is_error).await.body {
            Some(Body::Error(said)) => said,
            _ => unreachable!(),
        }
    }

    /// Opens a shell and waits for its prompt.
    pub async fn shell(&mut self, name: &str) -> i32 {
        let shell = self.open("shell", name).await;
        self.output_until(shell, PROMPT).await;
        shell
    }
}

/// `io.prometheus.client.MetricFamily`, as far as gauges need it.
#[derive(Clone, PartialEq, prost::Message)]
struct Family {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Metric {
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Gauge {
    #[prost(double, tag = "1")]
    value: f64,
}

fn last(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(2000))..]
}

/// What `command` shows on `channel`, if it is output of it.
pub fn output_of(command: &Command, channel: i32) -> Option<&str> {
    match &command.body {
        Some(Body::Output(text)) if command.channel == channel => Some(text),
        _ => None,
    }
}

pub fn process_start(args: &[&str]) -> ProcessStart {
    ProcessStart { args: args.iter().map(|&arg| arg.to_owned()).collect(), ..ProcessStart::default() }
}

/// Runs a program through `process` with `input`, to its end; `take` gets what it writes to stdout.
pub async fn run_program(
    peer: &mut Peer,
    args: &[&str],
    input: &[u8],
    mut take: impl FnMut(u64, &[u8]),
) -> ProcessExited {
    let channel = peer.open("process", "").await;
    match peer.ask(channel, Body::ProcessStart(process_start(args))).await {
        Body::ProcessStarted(_) => {}
        other => panic!("{other:?} instead of processStarted"),
    }
    let mut offset = 0;
    for piece in input.chunks(64 << 10) {
        let data = bytes::Bytes::copy_from_slice(piece);
        let size = data.len() as u64;
        let body = Body::ProcessStdin(ProcessStdin { offset: Some(offset), data, eof: false });
        assert!(matches!(peer.ask(channel, body).await, Body::ProcessStdinTaken(_)));
        offset += size;
    }
    let eof = ProcessStdin { offset: Some(offset), eof: true, ..ProcessStdin::default() };
    peer.send(channel, Body::ProcessStdin(eof)).await;
    let mut exited = None;
    let end = |command: &Command| {
        match &command.body {
            Some(Body::ProcessOutput(output)) if output.stream() == ProcessStream::Stdout => {
                take(output.offset, &output.data);
            }
            Some(Body::ProcessGap(gap)) => panic!("{gap:?} for a member who holds the program"),
            Some(Body::ProcessExited(end)) => exited = Some(*end),
            _ => {}
        }
        exited.is_some()
    };
    peer.until("the program ends", end).await;
    exited.unwrap()
}
