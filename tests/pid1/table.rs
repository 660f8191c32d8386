//! The README's table of what each init does: made from what they are seen to do.

use super::exits;
use super::inits::{Under, Who, children, field};
use super::{jobs, orphans, signals};
use crate::support::{HEAVY, SOON, eventually, settled};

const BEGIN: &str = "<!-- inits: begin -->\n";
const END: &str = "<!-- inits: end -->\n";

const BESIDE: [Who; 3] = [Who::Pid1, Who::Tini, Who::DumbInit];

fn yes(holds: bool) -> String {
    if holds { "yes" } else { "no" }.to_owned()
}

/// What it forwards of `wanted`, by default.
async fn forwards(init: Who, wanted: &[i32]) -> String {
    let wanted = wanted.iter().copied().collect();
    yes(signals::forwarded(Under::new(init), &wanted).await == wanted)
}

async fn reach(init: Who) -> String {
    let by_default = signals::reached(Under::new(init)).await.1;
    let flag = if by_default { "-c" } else { "-g" };
    let otherwise = signals::reached(Under::new(init).flags(&[flag])).await.1;
    let who = |group: bool| if group { "its group" } else { "the command" };
    format!("{}; with `{flag}` {}", who(by_default), who(otherwise))
}

async fn refusals(init: Who) -> String {
    let missing = exits::refused(init, "no-such-program").await.0;
    format!("{missing} and {}", exits::refused(init, "/tmp").await.0)
}

/// Whether it ends although whoever started it ignores the ends of children.
async fn ends(init: Who) -> String {
    let under = Under::new(init).prefix(&["env", "--ignore-signal=CHLD"]);
    let running = under.sh("echo ready; read; exit 0");
    running.until("ready", 1).await;
    let pid = running.init().await;
    let mut running = running;
    running.write("\n");
    eventually("the command has ended", SOON, || children(pid).is_empty()).await;
    yes(settled("the init", SOON, || field(pid, "Pid")).await.is_empty())
}

async fn ignored(init: Who) -> String {
    let under = Under::new(init).prefix(&["env", "--ignore-signal=HUP"]);
    yes(under.run("grep SigIgn: /proc/self/status").await.1.ends_with('1'))
}

async fn row(what: &str, init: Who) -> String {
    match what {
        "reaps every orphan, of a burst too" => yes(orphans::left_of_a_burst(init, 100).await == 0),
        "forwards signals, real-time ones too" => forwards(init, &[1, 2, 3, 10, 12, 15, 28, 34, 64]).await,
        "forwards ABRT, SEGV and the like" => {
            forwards(init, &signals::FAULTS.map(|fault| fault as i32)).await
        }
        "to whom" => reach(init).await,
        "status of a command that is missing, or cannot be run" => refusals(init).await,
        "what was ignored (`nohup`) stays ignored" => ignored(init).await,
        "ends where ends of children are ignored" => ends(init).await,
        "ctrl-Z and `fg` in a shell" => yes(jobs::is_a_job(init).await),
        "ctrl-Z in a container leaves the command running" => yes(jobs::survives_ctrl_z(init).await),
        "in the background, leaves the shell its terminal" => yes(jobs::leaves_the_shell_alone(init).await),
        "gives the terminal back at its end" => yes(jobs::gives_the_terminal_back(init).await),
        other => unreachable!("{other}"),
    }
}

const ROWS: [&str; 11] = [
    "reaps every orphan, of a burst too",
    "forwards signals, real-time ones too",
    "forwards ABRT, SEGV and the like",
    "to whom",
    "status of a command that is missing, or cannot be run",
    "what was ignored (`nohup`) stays ignored",
    "ends where ends of children are ignored",
    "ctrl-Z and `fg` in a shell",
    "ctrl-Z in a container leaves the command running",
    "in the background, leaves the shell its terminal",
    "gives the terminal back at its end",
];

#[tokio::test]
async fn the_readme_says_what_each_init_does() {
    let _alone = HEAVY.lock().await;
    let mut table = String::from("| | `pid1 init` | tini | dumb-init |\n|---|---|---|---|\n");
    for what in ROWS {
        let mut cells = Vec::new();
        for init in BESIDE {
            cells.push(row(what, init).await);
        }
        table.push_str(&format!("| {what} | {} |\n", cells.join(" | ")));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the README has a place for the table");
    let (found, after) = rest.split_once(END).expect("the place has an end");
    if std::env::var_os("PID1_UPDATE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(found, table, "run this test with PID1_UPDATE=1 to write the table into the README");
    }
}
