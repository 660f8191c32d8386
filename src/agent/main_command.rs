//! The main command: what the container is there for, beside the agent. Its exit is the agent's exit.
//!
//! On a terminal it runs on one of its own, and ours is raw: keys and sizes go there, its screen comes here. Else its
//! stdin, stdout and stderr are copied; in the background of a terminal its input is empty. Who reads what it prints too
//! slowly is waited for by nobody but itself.

use std::ffi::OsString;

use anyhow::{Context, Result};
use bytes::BytesMut;
use futures_util::FutureExt;
use pid1_sdk::engine::Engine;
use pid1_sdk::process::{Hold, Io, Item, Keep, Process, Signal, Spec, Stream, WindowSize};
use rustix::fs::OFlags;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracing::{debug, info};

use crate::init::Forwarded;
use crate::terminal::{self, RawMode};

/// Bytes copied in one go.
const CHUNK_BYTES: usize = 64 << 10;

/// The name under which it is listed.
const NAME: &str = "main";

/// The main command, running.
pub(super) struct MainCommand {
    process: Process,
    signals: Forwarded,
    /// Our own terminal, while it has one.
    raw: Option<RawMode>,
}

impl MainCommand {
    /// Starts it where and as programs of the agent start.
    pub(super) fn start(engine: &Engine, args: Vec<OsString>) -> Result<MainCommand> {
        let in_background = terminal::in_background();
        let interactive = terminal::is_terminal() && !in_background;
        let io = if interactive { Io::Terminal(size()) } else { Io::Pipes { split_stderr: true } };
        let shown = args.first().cloned().unwrap_or_default();
        // Our terminal is what it shows itself on.
        let env = std::env::var_os("TERM").filter(|_| interactive).map(|term| ("TERM".into(), term));
        let spec = engine.spec(args, env.into_iter().collect(), io, Keep::Tail);
        let spec = Spec { label: Some(NAME.to_owned()), term_first: true, ..spec };
        wait_for_room();
        let signals = Forwarded::watch().context("cannot watch for signals")?;
        let raw = if interactive { Some(RawMode::enter().context("cannot use the terminal")?) } else { None };
        let process = engine
            .processes()
            .start(spec)
            .with_context(|| format!("cannot start the main command {}", shown.display()))?;
        engine.set_main_command(process.clone());
        info!(pid = process.pid(), "the main command runs");
        if in_background {
            // Reading our terminal would stop us, and all clients with us.
            process.stdin().close();
        }
        Ok(MainCommand { process, signals, raw })
    }

    /// Copies its input and output and passes signals on, until it has ended and all that it printed is written.
    /// Its output comes after what is `announced`. Cancel-safe but for what is on its way.
    pub(super) async fn run(mut self, announced: impl Future<Output = ()>) {
        let process = &self.process;
        let ended = async {
            tokio::join!(
                announced.then(|()| copy(process, Stream::Stdout, tokio::io::stdout())),
                copy(process, Stream::Stderr, tokio::io::stderr()),
                // It may run on although nobody takes what it prints.
                process.exited()
            )
        };
        let signals = async {
            loop {
                let signal = self.signals.next().await;
                match signal {
                    // It has ended if that fails.
                    resized if resized == Signal::SIGWINCH.into() && self.raw.is_some() => {
                        drop(process.resize(size()));
                    }
                    signal => drop(process.signal(signal)),
                }
            }
        };
        tokio::select! {
            (.., exit) = ended => info!(status = exit.text(), "the main command has ended"),
            () = type_in(process) => {}
            () = signals => {}
        }
    }

    /// The command, for whoever wants to know how it ended.
    pub(super) fn process(&self) -> Process {
        self.process.clone()
    }
}

/// Whoever shares our stdin, stdout or stderr may have made them non-blocking. There a pipe that is full for a moment would
/// look like one that nobody reads.
fn wait_for_room() {
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        if let Ok(flags) = rustix::fs::fcntl_getfl(fd)
            && flags.contains(OFlags::NONBLOCK)
        {
            // One that is closed needs none.
            let _ = rustix::fs::fcntl_setfl(fd, flags.difference(OFlags::NONBLOCK));
        }
    }
}

fn size() -> WindowSize {
    terminal::size().map_or_else(WindowSize::default, |(rows, cols)| WindowSize { rows, cols })
}

async fn copy(process: &Process, stream: Stream, mut out: impl AsyncWrite + Unpin) {
    let Some(log) = process.output(stream) else { return };
    let mut reader = log.reader(0, Hold::Back);
    loop {
        match reader.next(CHUNK_BYTES).await {
            Item::Chunk { bytes, .. } => {
                let written = async {
                    out.write_all(&bytes).await?;
                    out.flush().await
                };
                if let Err(error) = written.await {
                    debug!(%error, ?stream, "nobody takes what the main command prints");
                    // It learns of that as if the pipe were its own.
                    return log.hang_up();
                }
            }
            Item::Gap { .. } => {}
            Item::Settled | Item::End => return,
        }
    }
}

/// Never ends: the end of the input is not the end of the command.
async fn type_in(process: &Process) {
    let (mut stdin, input) = (tokio::io::stdin(), process.stdin());
    while !input.closed() {
        input.room().await;
        let mut typed = BytesMut::with_capacity(CHUNK_BYTES);
        if !matches!(stdin.read_buf(&mut typed).await, Ok(1..)) {
            input.close();
            break;
        }
        if input.push(typed.freeze()).is_err() {
            break;
        }
    }
    std::future::pending().await
}
