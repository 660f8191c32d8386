//! What a program elsewhere prints, here: bytes to stdout and stderr, and what the person must know beside them.

use std::io;
use std::time::Instant;

use bytes::{Buf, Bytes};
use nix::sys::signal::Signal;
use pid1_sdk::api::ProcessStream;
use pid1_sdk::error::printable;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::console::{Console, say, say_raw};
use super::modes::Modes;
use crate::client::{ClientError, Controls, Event, Leave};

/// On the other screen of a terminal: all of it, cleared. Terminals forget a scroll region when they change their size,
/// so programs do not reset it then; the past of one that has seen another size leaves it behind.
const CLEAR: &[u8] = b"\x1b[r\x1b[2J\x1b[H";

/// How showing it ended.
pub(super) enum Shown {
    /// With all of it.
    All,
    /// Whoever read our output has gone.
    Broken,
}

impl Console {
    /// Writes as fast as our own reader takes it; meanwhile nothing more is taken from the agent, which holds the
    /// program back as a pipe would.
    pub(super) async fn show(
        &self,
        mut events: mpsc::Receiver<Event>,
        controls: &Controls,
    ) -> Result<Shown, ClientError> {
        let mut modes = self.raw.is_some().then(Modes::default);
        let mut next = None;
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => match events.recv().await {
                    Some(event) => event,
                    None => break,
                },
            };
            let written = match event {
                Event::Output(stream, data) => {
                    // What came while the last was written goes out in one step.
                    let mut pieces = vec![data];
                    while let Ok(event) = events.try_recv() {
                        match event {
                            Event::Output(same, data) if same == stream => pieces.push(data),
                            other => {
                                next = Some(other);
                                break;
                            }
                        }
                    }
                    if let Some(modes) = &mut modes {
                        pieces.iter().for_each(|piece| modes.learn(piece));
                    }
                    self.writing.set(Some(Instant::now()));
                    let written = write(stream, pieces).await;
                    self.writing.set(None);
                    written
                }
                Event::CaughtUp => {
                    // What was there is shown as it was printed; a full-screen program draws anew.
                    let full = modes.as_ref().is_some_and(Modes::other_screen);
                    let clear = if full { vec![Bytes::from_static(CLEAR)] } else { Vec::new() };
                    let cleared = write(ProcessStream::Stdout, clear).await;
                    self.redraw(controls);
                    cleared
                }
                other => {
                    self.tell(other, controls)?;
                    continue;
                }
            };
            if let Err(error) = written {
                controls.leave(if self.exact { Leave::Close } else { Leave::Detach });
                let broken = error.kind() == io::ErrorKind::BrokenPipe;
                return if broken { Ok(Shown::Broken) } else { Err(ClientError::Output(error)) };
            }
        }
        // A program that is still there has not put our terminal back; one that ended has done what it wanted.
        if let Some(modes) = modes.as_mut().filter(|_| !controls.ended()) {
            let _ = write(ProcessStream::Stdout, vec![modes.reset().into()]).await;
        }
        Ok(Shown::All)
    }

    fn tell(&self, event: Event, controls: &Controls) -> Result<(), ClientError> {
        match event {
            Event::Gap(missing) if self.exact => {
                controls.leave(Leave::Close);
                return Err(ClientError::Lost(format!(
                    "{missing} bytes of output were dropped before we took them"
                )));
            }
            Event::Gap(missing) => self.note(&format!("{missing} bytes of output are not kept any more")),
            Event::Started { looking_on: true, .. } => {
                self.note("read-only: this token may look on, what you type is not sent");
            }
            Event::Away(why) => {
                let leave = match (&self.raw, &self.keys) {
                    (Some(_), Some(keys)) => format!("; ctrl-c or {keys} leaves"),
                    (Some(_), None) => "; ctrl-c leaves".to_owned(),
                    (None, _) => String::new(),
                };
                self.note(&format!("{}; connecting again{leave}", printable(&why)));
            }
            Event::Back => {
                self.note("connected again");
                self.redraw(controls);
            }
            Event::Started { .. } | Event::Output(..) | Event::CaughtUp => {}
        }
        Ok(())
    }

    /// Has a full-screen program draw everything anew.
    pub(super) fn redraw(&self, controls: &Controls) {
        if self.raw.is_some() {
            controls.signal(Signal::SIGWINCH as i32);
        }
    }

    /// To the person, while the program has the terminal.
    fn note(&self, text: &str) {
        if self.raw.is_some() { say_raw(text) } else { say(text) }
    }
}

/// Writes from a thread that may wait; keys and signals are served meanwhile.
async fn write(stream: ProcessStream, pieces: Vec<Bytes>) -> io::Result<()> {
    let write = move || {
        let to = match stream {
            ProcessStream::Stdout => rustix::stdio::stdout(),
            ProcessStream::Stderr => rustix::stdio::stderr(),
        };
        for mut piece in pieces {
            while !piece.is_empty() {
                match rustix::io::write(to, &piece) {
                    Ok(count) => piece.advance(count),
                    Err(Errno::INTR) => {}
                    // Somebody else who has this terminal or pipe made it so; it is not ours to change.
                    Err(Errno::AGAIN) => {
                        poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None)?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    };
    tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
}
