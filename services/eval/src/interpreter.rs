//! One interpreter: how it is started, and the task that listens to it and to what its programs print.
//!
//! One task does both, because what was printed before a result goes to the members before it. What it deliberately does
//! not do: know evaluations, members' tickets or what comes after an interpreter's end.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use pid1_sdk::channel::Audience;
use pid1_sdk::process::{Hold, Io, Item, Keep, LogReader, OutputLog, Process, StartError};
use pid1_sdk::utf8::Utf8Carry;
use pid1_sdk::{Channel, Error, Result, limits};
use tokio::net::unix::pipe::{self, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::Event;
use crate::languages::{Chosen, Evaluated};
use crate::lines::{Line, Lines, Said, understand};

/// Where the published drivers find the line from the agent, and the one to it.
const FROM_AGENT: i32 = 200;
/// See [`FROM_AGENT`].
const TO_AGENT: i32 = 201;

/// A running interpreter. When it is dropped, nobody listens to it any more.
#[derive(Debug)]
pub struct Interpreter {
    /// Tells it from earlier ones of its channel.
    pub life: u64,
    pub language: Evaluated,
    pub process: Process,
    /// It has said so.
    pub ready: bool,
    /// The number of what it was given last.
    pub asked: u64,
    orders: mpsc::Sender<Bytes>,
    _heard: oneshot::Sender<()>,
}

/// What is told of an interpreter, in order.
#[derive(Debug)]
pub enum Report {
    Ready,
    /// Printed; the task is at most two of these ahead.
    Printed(String, OwnedSemaphorePermit),
    /// What came of the evaluation of this number, or of the last. All that was printed before has been told.
    Outcome(Option<u64>, std::result::Result<String, String>),
    /// Nothing more can be expected of it, and why.
    Lost(String),
    /// It was not ready in time, if it is not by now.
    Late,
    /// It was stopped, and with it all that it had started.
    Gone,
}

impl Interpreter {
    /// Starts one.
    pub fn start(ch: &Channel<Event>, chosen: &Chosen, life: u64) -> Result<Self> {
        let language = chosen.language;
        let no_pipe = |error| Error::new(format!("eval: cannot open its pipes: {error}"));
        let (to, its_from) = pipe::pipe().map_err(no_pipe)?;
        let (its_to, from) = pipe::pipe().map_err(no_pipe)?;
        let args = language.args().map(Into::into).collect();
        let io = Io::Pipes { split_stderr: false };
        let mut spec = ch.engine().spec(args, chosen.env.clone(), io, Keep::Tail);
        spec.fds = vec![
            (its_from.into_blocking_fd().map_err(no_pipe)?, FROM_AGENT),
            (its_to.into_blocking_fd().map_err(no_pipe)?, TO_AGENT),
        ];
        spec.label = Some(format!("eval {}", language.language.name));
        let process = ch.engine().processes().start(spec).map_err(|error| missing(&language, error))?;
        let (orders, ordered) = mpsc::channel(1);
        let (heard, dropped) = oneshot::channel();
        let output = Output {
            log: process.stdout().clone(),
            reader: process.stdout().reader(0, Hold::Back),
            audience: ch.audience().clone(),
            carry: Utf8Carry::new(),
            paces: Arc::new(Semaphore::new(2)),
            reports: Reports { life, events: ch.events() },
            settled: false,
        };
        let (lines, listened) = (Lines::new(from), process.clone());
        ch.spawn(async move {
            tokio::select! {
                _ = dropped => {}
                () = speak(to, ordered) => {}
                _ = listen(lines, output, listened) => {}
            }
        });
        Ok(Interpreter { life, language, process, ready: false, asked: 0, orders, _heard: heard })
    }

    /// Hands it a source to evaluate. False if it has not even taken the one before the last.
    pub fn evaluate(&mut self, source: &str) -> bool {
        self.asked += 1;
        let order = serde_json::json!({ "command": "eval", "id": self.asked, "data": source });
        let mut line = order.to_string();
        line.push('\n');
        self.orders.try_send(line.into()).is_ok()
    }
}

/// What to do about a program that is not there.
fn missing(language: &Evaluated, error: StartError) -> Error {
    let name = language.language.name;
    Error::new(match &error {
        StartError::NotInPath { program } => format!(
            "eval: {name} is not installed here: {program:?} is in no folder of $PATH; install the package {} or add the \
             folder it is in",
            language.eval.package
        ),
        _ => format!("eval: cannot start {name}: {error}"),
    })
}

/// Writes what is ordered, as fast as it is read. Never ends by itself: whether the interpreter lives is seen elsewhere.
async fn speak(pipe: Sender, mut ordered: mpsc::Receiver<Bytes>) {
    while let Some(mut line) = ordered.recv().await {
        while !line.is_empty() {
            let written = match pipe.writable().await {
                Ok(()) => pipe.try_write(&line),
                Err(error) => Err(error),
            };
            match written {
                Ok(count) => line.advance(count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => line.clear(),
            }
        }
    }
    std::future::pending().await
}

/// Reports until the interpreter is lost, or the channel has ended (`None`).
async fn listen(mut lines: Lines, mut output: Output, process: Process) -> Option<()> {
    // When its line was closed, and shortly after that.
    let mut deadline = None;
    while !output.settled {
        let overdue = deadline.unwrap_or_else(Instant::now);
        tokio::select! {
            (pace, item) = output.next() => output.tell(pace, item).await?,
            line = lines.next(), if deadline.is_none() => match heed(line, &mut output).await? {
                Heeded::Well => {}
                Heeded::End => deadline = Some(Instant::now() + limits::EVAL_END_WAIT),
                Heeded::Nonsense(why) => return output.reports.send(Report::Lost(why)).await,
            },
            () = sleep_until(overdue), if deadline.is_some() => {
                let why = format!("it has closed descriptor {TO_AGENT}");
                return output.reports.send(Report::Lost(why)).await;
            }
        }
    }
    // What it said last.
    while deadline.is_none() {
        let Some(line) = lines.next().now_or_never() else { break };
        if !matches!(heed(line, &mut output).await?, Heeded::Well) {
            break;
        }
    }
    let how = process.try_exit().map_or_else(|| "exit status unknown".to_owned(), |exit| exit.text());
    output.reports.send(Report::Lost(how)).await
}

/// What is to become of the conversation.
enum Heeded {
    Well,
    End,
    Nonsense(String),
}

/// Acts on a line.
async fn heed(line: Line, output: &mut Output) -> Option<Heeded> {
    let (id, outcome) = match line {
        Line::End => return Some(Heeded::End),
        Line::TooLong => {
            let most = limits::EVAL_LINE_BYTES;
            (None, Err(format!("eval: the answer is longer than {most} bytes, and was dropped\n")))
        }
        Line::Whole(line) => match understand(&line) {
            Ok(Said::Ready) => {
                output.reports.send(Report::Ready).await?;
                return Some(Heeded::Well);
            }
            Ok(Said::Unknown) => return Some(Heeded::Well),
            Ok(Said::Outcome(id, outcome)) => (id, outcome),
            Err(error) => {
                let why =
                    format!("it has written something else than messages to descriptor {TO_AGENT}: {error}");
                return Some(Heeded::Nonsense(why));
            }
        },
    };
    output.catch_up().await?;
    output.reports.send(Report::Outcome(id, outcome)).await?;
    Some(Heeded::Well)
}

/// What the interpreter and its programs print, on its way to the members: never further ahead of them than they have
/// room.
struct Output {
    log: OutputLog,
    reader: LogReader,
    audience: Arc<Audience>,
    carry: Utf8Carry,
    paces: Arc<Semaphore>,
    reports: Reports,
    /// The interpreter has exited, and all that it printed is told.
    settled: bool,
}

impl Output {
    /// The next piece, when there is one and room for it. Cancel-safe, as each of its waits is.
    async fn next(&mut self) -> (OwnedSemaphorePermit, Item) {
        self.audience.room_for_all().await;
        let pace = self.paces.clone().acquire_owned().await.expect("nobody closes it");
        (pace, self.reader.next(limits::OUTPUT_CHUNK_BYTES).await)
    }

    /// Tells of a piece: whole characters.
    async fn tell(&mut self, pace: OwnedSemaphorePermit, item: Item) -> Option<()> {
        let text = match item {
            Item::Chunk { bytes, .. } => self.carry.push(&bytes),
            Item::Gap { .. } => self.carry.finish(),
            Item::Settled | Item::End => {
                self.settled = true;
                self.carry.finish()
            }
        };
        self.print(pace, text).await
    }

    /// Tells of all that was printed before now.
    async fn catch_up(&mut self) -> Option<()> {
        let until = self.log.written().await;
        while self.reader.offset() < until {
            let (pace, item) = self.next().await;
            self.tell(pace, item).await?;
        }
        if self.carry.held_bytes() > 0 {
            // Whoever began this character is done.
            let pace = self.paces.clone().acquire_owned().await.ok()?;
            let text = self.carry.finish();
            self.print(pace, text).await?;
        }
        Some(())
    }

    async fn print(&self, pace: OwnedSemaphorePermit, text: String) -> Option<()> {
        if text.is_empty() { Some(()) } else { self.reports.send(Report::Printed(text, pace)).await }
    }
}

/// The way to the service.
struct Reports {
    life: u64,
    events: mpsc::Sender<Event>,
}

impl Reports {
    /// `None` once the channel has ended.
    async fn send(&self, report: Report) -> Option<()> {
        self.events.send(Event { life: self.life, report }).await.ok()
    }
}
