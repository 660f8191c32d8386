//! THE list of families of rows. A new one is a file here and a line in `ALL`.

mod channels;
mod crowd;
mod echo;
mod exec;
mod fanout;
mod files;
mod flood;
mod grpc;
mod large;
mod ot;
mod packages;
mod ping;
mod pipe;
mod reap;
mod router;
mod run;
mod shells;
mod start;
mod stop;
mod stuck;
mod transfer;
mod watch;

use anyhow::{Result, bail};

use crate::plot::Plot;
use crate::setup::Setup;
use crate::table::Row;

/// What a family found.
#[derive(Default)]
pub struct Report {
    /// Lines of the table.
    pub rows: Vec<Row>,
    /// Pictures of how a cost grows.
    pub plots: Vec<Plot>,
}

impl From<Vec<Row>> for Report {
    fn from(rows: Vec<Row>) -> Report {
        Report { rows, plots: Vec::new() }
    }
}

/// Rows that are measured together, on one agent.
pub struct Family {
    /// As it is asked for.
    pub name: &'static str,
    /// Measures them.
    pub run: fn(&Setup) -> Result<Report>,
}

const ALL: &[Family] = &[
    Family { name: "start", run: start::run },
    Family { name: "ping", run: ping::run },
    Family { name: "channels", run: channels::run },
    Family { name: "exec", run: exec::run },
    Family { name: "large", run: large::run },
    Family { name: "flood", run: flood::run },
    Family { name: "echo", run: echo::run },
    Family { name: "pipe", run: pipe::run },
    Family { name: "grpc", run: grpc::run },
    Family { name: "router", run: router::run },
    Family { name: "run", run: run::run },
    Family { name: "packages", run: packages::run },
    Family { name: "files", run: files::run },
    Family { name: "transfer", run: transfer::run },
    Family { name: "ot", run: ot::run },
    Family { name: "fanout", run: fanout::run },
    Family { name: "stuck", run: stuck::run },
    Family { name: "crowd", run: crowd::run },
    Family { name: "shells", run: shells::run },
    Family { name: "stop", run: stop::run },
    Family { name: "watch", run: watch::run },
    Family { name: "reap", run: reap::run },
];

/// The families of these names, or all.
pub fn choose(names: &[String]) -> Result<Vec<&'static Family>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| match ALL.iter().find(|family| family.name == name) {
        Some(family) => Ok(family),
        None => {
            let known: Vec<_> = ALL.iter().map(|family| family.name).collect();
            bail!("there is no row {name:?}; there are {}", known.join(", "))
        }
    };
    names.iter().map(find).collect()
}
