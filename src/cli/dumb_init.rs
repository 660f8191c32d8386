//! The command line of `dumb-init`, for images that call this binary by that name.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Parser;
use nix::sys::signal::Signal;

use crate::init::foreground::Place;
use crate::init::plain::Options;

/// What `--verbose` says: everything.
const VERBOSE: u8 = 3;

/// The numbers that `--rewrite` takes.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=31;

const VARIABLES: &str = "\
Environment:
  DUMB_INIT_SETSID=0  As --single-child
  DUMB_INIT_DEBUG=1   As --verbose";

/// Run a command under an init that sends signals to all of its session's group, and ends that group with it
#[derive(Parser)]
#[command(name = "dumb-init", version, args_override_self = true, infer_long_args = true, after_help = VARIABLES)]
pub(super) struct DumbInit {
    /// Leave the command in our session, and send signals to it alone
    #[arg(short = 'c', long)]
    single_child: bool,

    /// Send signal R instead of S (numbers from 1 to 31), or none if R is 0; may be repeated
    #[arg(short, long, value_name = "S:R", value_parser = rewrite)]
    rewrite: Vec<(i32, i32)>,

    /// Say on stderr what is done
    #[arg(short, long)]
    verbose: bool,

    /// The command and its arguments; flags behind its first word are its own
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl DumbInit {
    /// As the engine takes them.
    pub(super) fn options(self) -> Options {
        let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|found| found == value);
        let single = self.single_child || is("DUMB_INIT_SETSID", "0");
        let mut rewritten = BTreeMap::new();
        if !single {
            // Without a shell in its session nothing there can be stopped by less than this.
            let stops = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];
            rewritten.extend(stops.map(|stop| (stop as i32, Signal::SIGSTOP as i32)));
        }
        rewritten.extend(self.rewrite);
        Options {
            command: self.command,
            place: if single { Place::Beside } else { Place::Session },
            whole_group: !single,
            subreaper: false,
            parent_death: None,
            remapped: Vec::new(),
            rewritten,
            verbosity: if self.verbose || is("DUMB_INIT_DEBUG", "1") { VERBOSE } else { 0 },
            warn_on_reap: false,
        }
    }
}

fn rewrite(text: &str) -> Result<(i32, i32), String> {
    let numbers = text.split_once(':').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    numbers
        .filter(|(from, to)| SIGNALS.contains(from) && (*to == 0 || SIGNALS.contains(to)))
        .ok_or_else(|| "write it as S:R, numbers from 1 to 31, or 0 for R to drop S".to_owned())
}
