//! A file out of the agent and into it over HTTP, beside a bare process that sends and takes the same file over TCP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::agent::{Agent, TOKEN};
use crate::bare::Flow;
use crate::machine;
use crate::rows::Report;
use crate::setup::Setup;
use crate::stand_in::StandIn;
use crate::table::{Row, Target};

/// Read and written at once by the client.
const PIECE_BYTES: usize = 256 << 10;

/// How much more the agent may hold while a file goes through it than before.
const FLAT: Target = Target::AtMost(40.0);

#[derive(Clone, Copy)]
enum Kind {
    Get,
    New,
    Over,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Get => "GET of 100 MiB",
            Kind::New => "PUT of 100 MiB",
            Kind::Over => "PUT of 100 MiB over as much",
        }
    }
}

pub fn run(setup: &Setup) -> Result<Report> {
    let bytes = setup.size(100 << 20);
    let folder = setup.folder().join("transfer");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("file");
    std::fs::write(&file, vec![b'x'; bytes as usize])?;
    let agent = Agent::start(setup)?;
    put(&agent, "file", bytes)?;
    let text = file.to_str().context("a temporary folder has a plain name")?;
    let mut rows = Vec::new();
    for kind in [Kind::Get, Kind::New, Kind::Over] {
        let mut rate = Row::new(kind.name(), "MB/s", Target::RatioAtLeast(0.8));
        let mut cpu = Row::new("... CPU per GB", "s", Target::None);
        setup.each_round(
            &mut (),
            |()| match kind {
                Kind::Get => get(&agent, bytes),
                Kind::New => {
                    let flow = put(&agent, "new", bytes)?;
                    ask(&agent, "DELETE /files/new")?;
                    Ok(flow)
                }
                Kind::Over => put(&agent, "file", bytes),
            },
            |()| match kind {
                Kind::Get => bare_get(setup, text, bytes),
                Kind::New => {
                    let new = format!("{text}.new");
                    let flow = bare_put(setup, &new, &new, bytes)?;
                    std::fs::remove_file(new)?;
                    Ok(flow)
                }
                Kind::Over => bare_put(setup, &format!("{text}.new"), text, bytes),
            },
            |ours, limit| {
                rate.add(ours.rate(), limit.rate());
                cpu.add(ours.cpu_per_gb(), limit.cpu_per_gb());
            },
        )?;
        rows.extend([rate, cpu]);
    }
    let mut memory = Row::new("... and the most that was resident", "MB", FLAT);
    memory.add_ours(machine::peak_resident_bytes(agent.pid())? as f64 / 1e6);
    rows.push(memory);
    Ok(rows.into())
}

fn connect(agent: &Agent, head: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(agent.address)?;
    socket.set_nodelay(true)?;
    let host = agent.address;
    write!(
        socket,
        "{head} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n"
    )?;
    Ok(socket)
}

fn get(agent: &Agent, bytes: u64) -> Result<Flow> {
    let (before, started) = (agent.cpu()?, Instant::now());
    let mut socket = connect(agent, "GET /files/file")?;
    write!(socket, "\r\n")?;
    let came = drain(&mut socket)?;
    if !(bytes..bytes + 2048).contains(&came) {
        bail!("{came} bytes came instead of {bytes} and a head");
    }
    Ok(Flow { bytes, time: started.elapsed(), cpu: agent.cpu()? - before })
}

fn put(agent: &Agent, name: &str, bytes: u64) -> Result<Flow> {
    let (before, started) = (agent.cpu()?, Instant::now());
    let mut socket = connect(agent, &format!("PUT /files/{name}"))?;
    write!(socket, "Content-Length: {bytes}\r\n\r\n")?;
    fill(&mut socket, bytes)?;
    succeeded(&mut socket)?;
    Ok(Flow { bytes, time: started.elapsed(), cpu: agent.cpu()? - before })
}

fn ask(agent: &Agent, what: &str) -> Result<()> {
    let mut socket = connect(agent, what)?;
    write!(socket, "\r\n")?;
    succeeded(&mut socket)
}

fn succeeded(socket: &mut TcpStream) -> Result<()> {
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 20") {
        bail!("it was answered {answer:?}");
    }
    Ok(())
}

fn bare_get(setup: &Setup, file: &str, bytes: u64) -> Result<Flow> {
    let (stand_in, mut socket) = StandIn::connect(setup, &["send", file])?;
    let (before, started) = (machine::cpu_of(stand_in.pid())?, Instant::now());
    socket.write_all(b"x")?;
    let mut left = vec![0; PIECE_BYTES];
    let mut came = 0;
    while came < bytes {
        match socket.read(&mut left)? {
            0 => bail!("{came} bytes came instead of {bytes}"),
            read => came += read as u64,
        }
    }
    Ok(Flow { bytes, time: started.elapsed(), cpu: machine::cpu_of(stand_in.pid())? - before })
}

/// Into the file `at`, which is then given the name `to`.
fn bare_put(setup: &Setup, at: &str, to: &str, bytes: u64) -> Result<Flow> {
    let (stand_in, mut socket) = StandIn::connect(setup, &["take", at, to, &bytes.to_string()])?;
    let (before, started) = (machine::cpu_of(stand_in.pid())?, Instant::now());
    fill(&mut socket, bytes)?;
    socket.read_exact(&mut [0])?;
    Ok(Flow { bytes, time: started.elapsed(), cpu: machine::cpu_of(stand_in.pid())? - before })
}

fn drain(socket: &mut TcpStream) -> Result<u64> {
    let (mut piece, mut came) = (vec![0; PIECE_BYTES], 0);
    loop {
        match socket.read(&mut piece)? {
            0 => return Ok(came),
            read => came += read as u64,
        }
    }
}

fn fill(socket: &mut TcpStream, bytes: u64) -> Result<()> {
    let piece = vec![b'x'; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(PIECE_BYTES as u64);
        socket.write_all(&piece[..part as usize])?;
        left -= part;
    }
    Ok(())
}
