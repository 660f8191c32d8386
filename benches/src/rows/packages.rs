//! A specfile of 200 packages listed, and an installation that finds all in place beside the bare tool.

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use anyhow::{Result, ensure};
use pid1_sdk::api::{PackageInstall, PackageListSpecfile, command::Body};

use crate::agent::{Agent, PATH};
use crate::client::Client;
use crate::rows::Report;
use crate::setup::{Setup, program};
use crate::table::{Latencies, Row, Target};

/// As many as the target says.
const PACKAGES: usize = 200;

/// A file of that many packages.
fn specfile(file: &str) -> String {
    let mut text = match file {
        "Cargo.toml" => "[dependencies]\n".to_owned(),
        "package.json" => "{\"dependencies\":{\"package\":\"1.0.0\"".to_owned(),
        _ => String::new(),
    };
    for number in 0..PACKAGES {
        // Writing to a string does not fail.
        let _ = match file {
            "Cargo.toml" => writeln!(text, "package-{number} = \"1.{number}.0\""),
            "package.json" => write!(text, ",\"package-{number}\":\"^1.{number}.0\""),
            _ => writeln!(text, "package-{number}==1.{number}.0  # why"),
        };
    }
    text + if file == "package.json" { "}}" } else { "" }
}

pub fn run(setup: &Setup) -> Result<Report> {
    let mut rows = Vec::new();
    for file in ["requirements.txt", "package.json", "Cargo.toml"] {
        let agent = Agent::start(setup)?;
        fs::write(agent.root().join(file), specfile(file))?;
        let mut client = Client::connect(&agent)?;
        let channel = client.open("packager3", "")?;
        let mut row = Row::new(format!("list of 200 packages, {file}, p50"), "ms", Target::AtMost(20.0));
        for _ in 0..setup.rounds {
            let mut latencies = Latencies::new()?;
            for _ in 0..setup.size(256) {
                let asked = Instant::now();
                let answer = client.ask(channel, Body::PackageListSpecfile(PackageListSpecfile {}))?;
                ensure!(answer.body.len() > 10 * PACKAGES, "{file}: the list is too short");
                latencies.add(asked.elapsed())?;
            }
            row.add_ours(latencies.p50() / 1e3);
        }
        rows.push(row);
    }
    rows.push(installed(setup)?);
    Ok(rows.into())
}

/// npm, which finds that there is nothing to do.
fn installed(setup: &Setup) -> Result<Row> {
    let agent = Agent::start(setup)?;
    fs::write(agent.root().join("package.json"), "{\"name\":\"x\"}")?;
    let mut client = Client::connect(&agent)?;
    let channel = client.open("packager3", "")?;
    let mut row =
        Row::new("npm install with nothing to do, p50, beside bare npm", "ms", Target::RatioAtMost(1.05));
    let times = setup.size(16).max(1);
    setup.each_round(
        &mut client,
        |client| {
            let mut latencies = Latencies::new()?;
            for _ in 0..times {
                let asked = Instant::now();
                client.ask(channel, Body::PackageInstall(PackageInstall::default()))?;
                latencies.add(asked.elapsed())?;
            }
            Ok(latencies.p50() / 1e3)
        },
        |_| {
            let mut latencies = Latencies::new()?;
            for _ in 0..times {
                let mut npm = program("/usr/bin/env".as_ref());
                npm.args(["npm", "install"]).current_dir(agent.root()).env_clear();
                // As the agent gives it: what it asks for nobody's sake is left out on both sides.
                npm.envs([("PATH", PATH), ("NPM_CONFIG_AUDIT", "false"), ("NPM_CONFIG_FUND", "false")]);
                npm.env("NPM_CONFIG_UPDATE_NOTIFIER", "false").env("HOME", agent.root());
                let started = Instant::now();
                ensure!(npm.output()?.status.success(), "bare npm has failed");
                latencies.add(started.elapsed())?;
            }
            Ok(latencies.p50() / 1e3)
        },
        |ours, limit| row.add(*ours, *limit),
    )?;
    Ok(row)
}
