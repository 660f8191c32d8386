//! The limits: loops that do what the machine asks for and nothing else, in this very process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::machine;
use crate::pty::Pty;
use crate::table::Latencies;

/// The size of a pipe that nobody enlarged, and more than a terminal ever holds.
const READ_BYTES: usize = 64 << 10;

/// Bytes moved, how long that took and what CPU it cost.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// How many.
    pub bytes: u64,
    /// From the start of the program to its last byte.
    pub time: Duration,
    /// Of whoever moved them; not of the program, nor of the client.
    pub cpu: Duration,
}

impl Flow {
    /// Millions of bytes per second.
    pub fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.time.as_secs_f64()
    }

    /// CPU seconds per 10^9 bytes.
    pub fn cpu_per_gb(&self) -> f64 {
        self.cpu.as_secs_f64() / (self.bytes as f64 / 1e9)
    }
}

/// What `program` prints on a terminal, read with blocking reads of 64 KiB.
pub fn terminal(program: Command) -> Result<Flow> {
    let started = Instant::now();
    let mut pty = Pty::start(program, false)?;
    let mut buffer = vec![0; READ_BYTES];
    let before = machine::cpu_of_this_thread()?;
    let mut bytes = 0;
    loop {
        match pty.read(&mut buffer)? {
            0 => break,
            read => bytes += read as u64,
        }
    }
    let cpu = machine::cpu_of_this_thread()? - before;
    Ok(Flow { bytes, time: started.elapsed(), cpu })
}

/// What `program` prints into a pipe, read with blocking reads of 64 KiB.
pub fn pipe(mut program: Command) -> Result<Flow> {
    let started = Instant::now();
    let mut child = program.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("it was asked for")?;
    let mut buffer = vec![0; READ_BYTES];
    let before = machine::cpu_of_this_thread()?;
    let mut bytes = 0;
    loop {
        match stdout.read(&mut buffer)? {
            0 => break,
            read => bytes += read as u64,
        }
    }
    let cpu = machine::cpu_of_this_thread()? - before;
    let flow = Flow { bytes, time: started.elapsed(), cpu };
    child.wait()?;
    Ok(flow)
}

/// Starts a program that does nothing, waits for it, `times` times. For a plain program the standard library uses
/// posix_spawn; for one with a user of its own, fork and exec.
pub fn spawns(times: u64, program: impl Fn() -> Command) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for _ in 0..times {
        let started = Instant::now();
        if !program().status()?.success() {
            bail!("a program that always succeeds has failed");
        }
        latencies.add(started.elapsed())?;
    }
    Ok(latencies)
}

/// Sends `len` bytes and waits until as many have come back, `times` times, with `pause` before each.
pub fn round_trips(socket: &mut TcpStream, len: usize, times: u64, pause: Duration) -> Result<Latencies> {
    let (message, mut answer) = (vec![b'x'; len], vec![0; len]);
    let mut latencies = Latencies::new()?;
    for _ in 0..times {
        if pause > Duration::ZERO {
            crate::setup::pause(pause);
        }
        let started = Instant::now();
        socket.write_all(&message)?;
        socket.read_exact(&mut answer)?;
        latencies.add(started.elapsed())?;
    }
    Ok(latencies)
}
