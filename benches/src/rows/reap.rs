//! What orphans cost the init that reaps them, beside tini.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::machine;
use crate::rows::Report;
use crate::setup::{Setup, pause, program};
use crate::table::{Row, Target};

/// A shell that is waited for makes so many children, and waits for none: they are orphans when it ends.
const LITTER: u64 = 100;

/// `$1` shells one after the other, between two lines that it writes and two that it reads.
const SCRIPT: &str = "echo ready; read go; i=0; while [ $i -lt $1 ]; do
    sh -c 'j=0; while [ $j -lt $1 ]; do : & j=$((j + 1)); done' sh $2; i=$((i + 1)); done; echo made; read end";

pub fn run(setup: &Setup) -> Result<Report> {
    let count = setup.size(10_000);
    let mut row = Row::new(format!("CPU of {count} orphans"), "ms", Target::RatioAtMost(1.5));
    let ours = |_: &mut ()| reap(&setup.pid1, &["init", "-s"], count);
    if program(Path::new("tini")).arg("--version").stdout(Stdio::null()).status().is_ok() {
        let tini = |_: &mut ()| reap(Path::new("tini"), &["-s"], count);
        setup.each_round(&mut (), ours, tini, |ours, tini| row.add(*ours, *tini))?;
    } else {
        for _ in 0..setup.rounds {
            row.add_ours(ours(&mut ())?);
        }
    }
    Ok(vec![row].into())
}

/// Milliseconds of CPU that the init takes for so many orphans, its start and its end not counted.
fn reap(init: &Path, flags: &[&str], count: u64) -> Result<f64> {
    let shells = count.div_ceil(LITTER).to_string();
    let mut child = program(init)
        .args(flags)
        .args(["--", "sh", "-c", SCRIPT, "sh", &shells, &LITTER.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", init.display()))?;
    let mut out = BufReader::new(child.stdout.take().context("it was asked for")?);
    expect(&mut out, "ready")?;
    let before = machine::cpu_of(child.id())?;
    tell(&mut child)?;
    expect(&mut out, "made")?;
    let list = format!("/proc/{0}/task/{0}/children", child.id());
    while std::fs::read_to_string(&list)?.split_whitespace().count() > 1 {
        pause(Duration::from_millis(5));
    }
    let cpu = machine::cpu_of(child.id())? - before;
    tell(&mut child)?;
    child.wait()?;
    Ok(cpu.as_secs_f64() * 1e3)
}

fn expect(out: &mut BufReader<ChildStdout>, word: &str) -> Result<()> {
    let mut line = String::new();
    out.read_line(&mut line)?;
    anyhow::ensure!(line.trim() == word, "the command said {line:?} instead of {word:?}");
    Ok(())
}

fn tell(child: &mut Child) -> Result<()> {
    child.stdin.as_mut().context("it was asked for")?.write_all(b"\n")?;
    Ok(())
}
