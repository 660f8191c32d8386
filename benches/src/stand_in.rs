//! What must be a process of its own: servers of the bare limit, and programs that behave exactly so on any machine.
//!
//! They are this very binary, started with a hidden first word.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};

use crate::bare;
use crate::pty::Pty;
use crate::setup::{Setup, program};
use crate::{grpc, router};

/// The hidden first word.
pub const WORD: &str = "stand-in";

/// Bytes read at once where there is only little.
const SMALL_BYTES: usize = 4096;

/// Bytes read at once of a file.
const LARGE_BYTES: usize = 256 << 10;

/// The child's side.
pub fn run(words: &[OsString]) -> Result<()> {
    let word = |at: usize| words.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    match word(0) {
        "echo" => echo(accept()?),
        "relay" => relay(accept()?),
        "drain" => drain(Path::new(word(1))),
        "send" => send(accept()?, Path::new(word(1))),
        "take" => take(accept()?, [word(1), word(2)].map(Path::new), word(3).parse()?),
        "fork" => fork(word(1).parse()?, word(2).parse()?),
        "router" => router::serve_bare(word(1).parse()?, |port| Ok(writeln!(std::io::stdout(), "{port}")?)),
        "grpc" => grpc::serve_bare(word(1).parse()?, |port| Ok(writeln!(std::io::stdout(), "{port}")?)),
        "lines" => lines(word(1).parse()?),
        other => bail!("there is no stand-in {other:?}"),
    }
}

/// One connection on any port, which is printed.
fn accept() -> Result<TcpStream> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
    let (socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// The bare limit of a ping: sends back what it gets.
fn echo(mut socket: TcpStream) -> Result<()> {
    let mut buffer = [0; SMALL_BYTES];
    loop {
        match socket.read(&mut buffer)? {
            0 => return Ok(()),
            read => socket.write_all(&buffer[..read])?,
        }
    }
}

/// The bare limit of typing: one poll loop between a socket and a raw terminal with `cat` on it.
fn relay(mut socket: TcpStream) -> Result<()> {
    let mut pty = Pty::start(program(Path::new("/bin/cat")), true)?;
    let mut buffer = [0; SMALL_BYTES];
    loop {
        let mut fds = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&pty.master, PollFlags::IN)];
        poll(&mut fds, None)?;
        let [typed, printed] = fds.map(|fd| !fd.revents().is_empty());
        if typed {
            match socket.read(&mut buffer)? {
                0 => return Ok(()),
                read => pty.master.write_all(&buffer[..read])?,
            }
        }
        if printed {
            match pty.read(&mut buffer)? {
                0 => return Ok(()),
                read => socket.write_all(&buffer[..read])?,
            }
        }
    }
}

/// The bare limit of a download: reads a file and sends it, once it is asked to.
fn send(mut socket: TcpStream, file: &Path) -> Result<()> {
    socket.read_exact(&mut [0])?;
    let mut file = File::open(file)?;
    let mut buffer = vec![0; LARGE_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => socket.write_all(&buffer[..read])?,
        }
    }
    hang_up(socket)
}

/// The bare limit of an upload: writes what comes into a new file, gives it the name that it is to have, and says so.
fn take(mut socket: TcpStream, [at, to]: [&Path; 2], bytes: u64) -> Result<()> {
    let mut file = File::create(at)?;
    let mut buffer = vec![0; LARGE_BYTES];
    let mut came = 0;
    while came < bytes {
        match socket.read(&mut buffer)? {
            0 => bail!("{came} bytes came instead of {bytes}"),
            read => {
                file.write_all(&buffer[..read])?;
                came += read as u64;
            }
        }
    }
    if at != to {
        std::fs::rename(at, to)?;
    }
    socket.write_all(b"x")?;
    hang_up(socket)
}

/// Stays until the other side is gone, which looks at what this has used before.
fn hang_up(mut socket: TcpStream) -> Result<()> {
    let _ = socket.read(&mut [0]);
    Ok(())
}

/// The bare limit of a flood beside other work: reads `cat FILE` over and over from a terminal, and drops it.
fn drain(file: &Path) -> Result<()> {
    let mut shell = program(Path::new("/bin/sh"));
    // It ends with the terminal, which is not its controlling one, so nobody else would end it.
    shell.args(["-c", "while cat \"$1\"; do :; done", "sh"]).arg(file);
    let mut pty = Pty::start(shell, false)?;
    let mut buffer = vec![0; 64 << 10];
    while pty.read(&mut buffer)? > 0 {}
    Ok(())
}

/// What starting a program costs who forks, while so much memory is resident: prints the median in microseconds.
fn fork(mib: usize, times: u64) -> Result<()> {
    let memory = vec![1_u8; mib << 20];
    let user = rustix::process::getuid().as_raw();
    let latencies = bare::spawns(times, || {
        let mut program = program(Path::new("/bin/true"));
        // The user that it has anyhow; but for one that is named the standard library does not use posix_spawn.
        program.uid(user);
        program
    })?;
    writeln!(std::io::stdout(), "{}", latencies.p50())?;
    // Until here it is resident.
    drop(std::hint::black_box(memory));
    Ok(())
}

/// A line-buffered program: so many numbered lines, one write(2) for each.
fn lines(last: u64) -> Result<()> {
    let mut out = File::from(rustix::io::dup(rustix::stdio::stdout())?);
    for number in 1..=last {
        out.write_all(line(number).as_bytes())?;
    }
    Ok(())
}

/// One of its lines: 60 columns.
pub fn line(number: u64) -> String {
    format!("{number:10} one line of a program that is line-buffered, ...\n")
}

/// The parent's side: a stand-in that runs until this is dropped.
pub struct StandIn(Child);

impl StandIn {
    /// Starts one.
    pub fn start(setup: &Setup, words: &[&str]) -> Result<StandIn> {
        let child = command(setup, words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        Ok(StandIn(child))
    }

    /// Starts one that accepts connections, on that port.
    pub fn serve(setup: &Setup, words: &[&str]) -> Result<(StandIn, u16)> {
        let mut stand_in = StandIn::start(setup, words)?;
        let stdout = stand_in.0.stdout.as_mut().context("it was asked for")?;
        let mut port = String::new();
        BufReader::new(stdout).read_line(&mut port)?;
        Ok((stand_in, port.trim().parse()?))
    }

    /// Starts one that accepts a connection, and connects.
    pub fn connect(setup: &Setup, words: &[&str]) -> Result<(StandIn, TcpStream)> {
        let (stand_in, port) = StandIn::serve(setup, words)?;
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok((stand_in, socket))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

/// A stand-in as a command, to be started elsewhere.
pub fn command(setup: &Setup, words: &[&str]) -> Command {
    let mut command = program(&setup.this);
    command.arg(WORD).args(words);
    command
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
