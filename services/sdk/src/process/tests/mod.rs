//! The engine against real programs. Each test has a table of its own; nothing waits for a fixed time.
#![expect(clippy::disallowed_methods, reason = "tests wait and run helpers as they like")]

mod discard;
mod full;
mod launch;
mod leaks;
mod output;
mod pressure;
mod replay;
mod shelf;
mod start;
mod status;
mod stdin;
mod stopping;
mod terminal;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use super::{Hold, Io, Item, Keep, OutputLog, Process, ProcessTable, Spec, TableConfig, WindowSize};
use crate::runtimes::Runtimes;

/// Far above what anything here takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

const SIZE: WindowSize = WindowSize { rows: 24, cols: 80 };

fn table() -> ProcessTable {
    table_with(TableConfig::default())
}

fn table_with(config: TableConfig) -> ProcessTable {
    ProcessTable::new(Runtimes::current(), config)
}

fn spec(args: &[&str]) -> Spec {
    Spec {
        env: vec![("PATH".into(), std::env::var_os("PATH").expect("the tests run with a PATH"))],
        ..Spec::new(args.iter().copied())
    }
}

fn sh(script: &str) -> Spec {
    spec(&["sh", "-c", script])
}

fn on_terminal(spec: Spec) -> Spec {
    Spec { io: Io::Terminal(SIZE), ..spec }
}

fn replayed(spec: Spec) -> Spec {
    Spec { keep: Keep::Replay, ..spec }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen in time"),
    }
}

/// Waits for a condition that nothing announces, such as the state of another process.
async fn until(what: &str, condition: impl Fn() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Everything up to `End`; panics on a gap.
async fn read_all(log: &OutputLog) -> Vec<u8> {
    let mut reader = log.reader(0, Hold::Back);
    let mut all = Vec::new();
    let mut settled = 0;
    loop {
        match soon("output", reader.next(usize::MAX)).await {
            Item::Chunk { offset, bytes } => {
                assert_eq!(offset, all.len() as u64);
                all.extend_from_slice(&bytes);
            }
            Item::Gap { from, to } => panic!("gap {from}..{to}"),
            Item::Settled => settled += 1,
            Item::End => break,
        }
    }
    assert_eq!(settled, 1);
    all
}

async fn text_of(process: &Process) -> String {
    String::from_utf8(read_all(process.stdout()).await).expect("the tests print text")
}

/// Runs a program with no input and returns what it printed.
async fn run(table: &ProcessTable, spec: Spec) -> String {
    let process = table.start(spec).expect("it starts");
    process.stdin().close();
    text_of(&process).await
}

/// Reads until the output so far contains `wanted`, and returns it.
async fn expect(process: &Process, wanted: &str) -> String {
    let mut reader = process.stdout().reader(0, Hold::Not);
    let mut all = Vec::new();
    soon(wanted, async {
        loop {
            match reader.next(usize::MAX).await {
                Item::Chunk { bytes, .. } => all.extend_from_slice(&bytes),
                Item::End => break,
                Item::Gap { .. } | Item::Settled => {}
            }
            if String::from_utf8_lossy(&all).contains(wanted) {
                break;
            }
        }
    })
    .await;
    let text = String::from_utf8_lossy(&all).into_owned();
    assert!(text.contains(wanted), "{wanted:?} not in {text:?}");
    text
}

fn alive(pid: i32) -> bool {
    super::proc_fs::stat(pid).is_some_and(|stat| !stat.zombie)
}

/// The number after `key=` in a program's output.
fn number(text: &str, key: &str) -> i32 {
    let start = text.find(&format!("{key}=")).expect("the key was printed") + key.len() + 1;
    let digits: String = text[start..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number follows")
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_owned();
    (folder, path)
}
