//! A program that prints much on a terminal: through a shell channel, beside a bare loop that reads the terminal.
//!
//! Every byte that the client gets is counted and hashed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::agent::Agent;
use crate::bare::{self, Flow};
use crate::client::Client;
use crate::rows::Report;
use crate::setup::{Setup, program};
use crate::shell::Shell;
use crate::stand_in;
use crate::table::{Row, Target};

/// Eighty columns, some of them in characters of several bytes, so that reads end within one.
const LINE: &str = "0123456789 a line as a build prints it, with some words in it: häßlich, 鳥, 😀 |";

/// Behind ten digits of two columns each it fills a line of eighty. Characters of three and of four bytes, so that a
/// read of a power of two ends at each place within one.
const WIDE: &str = "鳥😀花風月山川😀海空雲雨雪星光🎉木火土金水日年時分🚀人心手目";

/// What a program prints, as it comes out of the terminal: a carriage return before each line feed.
pub struct Content {
    pub bytes: u64,
    crc: crc32fast::Hasher,
}

impl Content {
    fn new() -> Content {
        Content { bytes: 0, crc: crc32fast::Hasher::new() }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc.update(bytes);
    }
}

pub fn run(setup: &Setup) -> Result<Report> {
    let (file, text) = text_file(setup, setup.size(64 << 20))?;
    let path = file.display().to_string();
    let last = setup.size(400_000);
    let mut lines = Content::new();
    for number in 1..=last {
        lines.add(stand_in::line(number).replace('\n', "\r\n").as_bytes());
    }
    let (wide, wide_text) = wide_file(setup, setup.size(64 << 20))?;
    let wide = wide.display().to_string();
    let this = setup.this.display();
    let count = last.to_string();
    let cat = |path: &str| {
        let mut cat = program(Path::new("/bin/cat"));
        cat.arg(path);
        cat
    };
    let lines_alone = || stand_in::command(setup, &["lines", &count]);
    let mut rows = Vec::new();
    rows.extend(pair(setup, "cat", &text, &format!("cat '{path}'"), || cat(&path), (0.85, 1.3))?);
    let typed = format!("cat '{wide}'");
    rows.extend(pair(setup, "cat of wide text", &wide_text, &typed, || cat(&wide), (0.85, 1.3))?);
    let typed = format!("'{this}' {} lines {last}", stand_in::WORD);
    rows.extend(pair(setup, "line by line", &lines, &typed, lines_alone, (1.0, 1.5))?);
    Ok(rows.into())
}

fn pair(
    setup: &Setup,
    name: &str,
    content: &Content,
    typed: &str,
    bare: impl Fn() -> std::process::Command,
    (least_rate, most_cpu): (f64, f64),
) -> Result<[Row; 2]> {
    let agent = Agent::start(setup)?;
    let mut client = Client::connect(&agent)?.with_large_buffer();
    let shell = Shell::open(&mut client, "")?;
    let mut rate = Row::new(format!("shell {name}"), "MB/s", Target::RatioAtLeast(least_rate));
    let mut cpu = Row::new(format!("shell {name}, CPU per GB"), "s", Target::RatioAtMost(most_cpu));
    setup.each_round(
        &mut client,
        |client| through_the_agent(&agent, client, &shell, typed, content),
        |_| {
            let flow = bare::terminal(bare())?;
            if flow.bytes != content.bytes {
                bail!("the bare terminal gave {} bytes instead of {}", flow.bytes, content.bytes);
            }
            Ok(flow)
        },
        |ours, limit| {
            rate.add(ours.rate(), limit.rate());
            cpu.add(ours.cpu_per_gb(), limit.cpu_per_gb());
        },
    )?;
    Ok([rate, cpu])
}

/// From the typed line to its last byte.
fn through_the_agent(
    agent: &Agent,
    client: &mut Client,
    shell: &Shell,
    typed: &str,
    content: &Content,
) -> Result<Flow> {
    let before = agent.cpu()?;
    let started = Instant::now();
    let mut got = Content::new();
    got.add(&shell.after_mark(client, ":", typed)?);
    while got.bytes < content.bytes {
        let text = shell.next(client)?;
        // The shell's next prompt comes right behind.
        let left = usize::try_from(content.bytes - got.bytes)?.min(text.len());
        got.add(&text[..left]);
    }
    let (time, cpu) = (started.elapsed(), agent.cpu()? - before);
    if got.crc.finalize() != content.crc.clone().finalize() {
        bail!("{} bytes came, but not those that were printed", got.bytes);
    }
    Ok(Flow { bytes: content.bytes, time, cpu })
}

/// A file of about `bytes` bytes of text, and what `cat` of it looks like on a terminal.
pub fn text_file(setup: &Setup, bytes: u64) -> Result<(PathBuf, Content)> {
    file_of(setup, "text", bytes / LINE.len() as u64, |number| format!("{number:10}{}", &LINE[10..]))
}

/// The same without a single character of one byte.
fn wide_file(setup: &Setup, bytes: u64) -> Result<(PathBuf, Content)> {
    let digits = |number: u64| format!("{number:010}").chars().map(wide).collect::<String>();
    file_of(setup, "wide", bytes / (30 + WIDE.len()) as u64, |number| digits(number) + WIDE)
}

/// The form of an ASCII character that is as wide as a Chinese one.
fn wide(narrow: char) -> char {
    char::from_u32(u32::from(narrow) + 0xfee0).unwrap_or(narrow)
}

/// So many lines, each another, so that a lost or doubled one is noticed.
fn file_of(
    setup: &Setup,
    name: &str,
    lines: u64,
    line: impl Fn(u64) -> String,
) -> Result<(PathBuf, Content)> {
    let path = setup.folder().join(name);
    let mut out = BufWriter::new(File::create(&path)?);
    let mut content = Content::new();
    for number in 0..lines {
        let line = line(number);
        writeln!(out, "{line}")?;
        content.add(line.as_bytes());
        content.add(b"\r\n");
    }
    out.flush()?;
    Ok((path, content))
}
