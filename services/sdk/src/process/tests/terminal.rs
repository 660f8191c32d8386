//! Terminals: controlling, sized, interrupted, and their modes.

use super::super::{ExitStatus, Signal, SignalError, StopCause, TerminalError};
use super::*;

#[tokio::test]
async fn it_is_the_controlling_terminal() {
    let table = table();
    let script = "tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && : >/dev/tty && echo controlling; ps -o sid= $$ | tr -d ' '; echo $$";
    let process = table.start(on_terminal(sh(script))).unwrap();
    let text = text_of(&process).await;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(lines[0].starts_with("/dev/pts/"), "{text}");
    assert_eq!(&lines[1..3], ["24 80", "controlling"]);
    assert_eq!(lines[3], lines[4], "it leads its session");
}

#[tokio::test]
async fn an_interrupt_reaches_the_foreground_only() {
    let table = table();
    let mut spec = on_terminal(spec(&["bash", "--norc", "--noprofile", "-i"]));
    spec.env.push(("PS1".into(), "ready> ".into()));
    let process = table.start(spec).unwrap();
    expect(&process, "ready> ").await;
    process.stdin().push("echo started; sleep 1000\r".into()).unwrap();
    let before = expect(&process, "started\r\n").await.len();
    until("the sleep in the foreground", || foreground(&process) == "sleep\n").await;
    process.stdin().push("\u{3}".into()).unwrap();
    process.stdin().push("echo code $?\r".into()).unwrap();
    expect(&process, "code 130").await;
    assert!(before > 0 && process.try_exit().is_none());

    process.stdin().push("echo go; sleep 1000\r".into()).unwrap();
    expect(&process, "go\r\n").await;
    until("the sleep in the foreground", || foreground(&process) == "sleep\n").await;
    process.signal_foreground(Signal::SIGTERM).unwrap();
    process.stdin().push("echo code $?\r".into()).unwrap();
    expect(&process, "code 143").await;
    process.stdin().push("exit 5\r".into()).unwrap();
    assert_eq!(soon("exit", process.exited()).await.status, ExitStatus::Code(5));
}

#[tokio::test]
async fn keys_that_signal_get_past_what_a_program_does_not_read() {
    let table = table();
    let script = "for signal in INT QUIT TSTP; do trap \"echo got $signal\" $signal; done; echo ready; \
                  while :; do sleep 0.01; done";
    let process = table.start(on_terminal(sh(script))).unwrap();
    expect(&process, "ready").await;
    let paste = bytes::Bytes::from("pasted\r".repeat(20_000));
    for (keys, signal) in [("more\u{3}", "INT"), ("\u{1a}", "TSTP"), ("\u{3}\u{1c}", "QUIT")] {
        process.stdin().push(paste.clone()).unwrap();
        assert!(process.stdin().queued_bytes() > 0, "{signal}");
        process.stdin().push(keys.into()).unwrap();
        assert_eq!(process.stdin().queued_bytes(), 0, "{signal}");
        expect(&process, &format!("got {signal}")).await;
    }
    process.kill(StopCause::Request);
    soon("stop", process.stopped()).await;
}

#[tokio::test]
async fn what_a_program_reads_raw_reaches_it_in_order() {
    const TOTAL: usize = 200_000;
    let table = table();
    let script = format!("stty raw -echo; echo ready; head -c {TOTAL} | tail -c 2 | od -An -tu1");
    let process = table.start(on_terminal(sh(&script))).unwrap();
    expect(&process, "ready").await;
    process.stdin().push(vec![b'x'; TOTAL - 1].into()).unwrap();
    process.stdin().push("\u{3}".into()).unwrap();
    let text = text_of(&process).await;
    assert!(text.ends_with("120   3\n"), "{text:?}");
}

#[tokio::test]
async fn a_program_may_close_its_terminal_and_open_it_again() {
    let table = table();
    let script = "exec 3<&- <&- >&- 2>&-; read x </dev/tty; echo back >/dev/tty; exit 6";
    let process = table.start(on_terminal(sh(script))).unwrap();
    let nothing_open = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", process.pid()));
        open.is_ok_and(|open| open.count() <= 1)
    };
    until("the closed or reopened terminal", nothing_open).await;
    process.stdin().push("\r".into()).unwrap();
    expect(&process, "back").await;
    assert_eq!(soon("exit", process.exited()).await.status, ExitStatus::Code(6));
}

#[tokio::test]
async fn a_resize_is_seen_and_signalled() {
    let table = table();
    let script = "trap 'stty size; exit 0' WINCH; echo up; while :; do sleep 0.01; done";
    let process = table.start(on_terminal(sh(script))).unwrap();
    expect(&process, "up").await;
    let size = WindowSize { rows: 50, cols: 132 };
    process.resize(size).unwrap();
    assert_eq!(process.size().unwrap(), size);
    expect(&process, "50 132").await;
    soon("exit", process.exited()).await;
    until("the end", || process.stdout().ended()).await;
    assert!(matches!(process.resize(SIZE), Err(TerminalError::Closed)));
    let piped = table.start(spec(&["true"])).unwrap();
    assert!(matches!(piped.size(), Err(TerminalError::Closed)));
    let error = piped.signal_foreground(Signal::SIGINT);
    assert!(matches!(error, Err(SignalError::NoTerminal { .. })));
}

#[tokio::test]
async fn modes_are_those_of_stty() {
    let table = table();
    let process = table
        .start(on_terminal(sh("read a; stty -a; read b; stty -a; read c; stty -a; exec sleep 1000")))
        .unwrap();
    process.pipe_mode(true).unwrap();
    process.stdin().push("\r".into()).unwrap();
    let raw = expect(&process, "echoke").await.replace(['\n', '\r'], " ");
    for mode in ["-icanon", " isig", " icrnl", "-opost", " -echo ", "-ixon", "min = 1"] {
        assert!(raw.contains(mode), "{mode} not in {raw}");
    }
    process.sane().unwrap();
    process.stdin().push("\r".into()).unwrap();
    expect(&process, "isig icanon").await;
    until("the whole list", || process.stdout().tail(u64::MAX, 1, 100).1.ends_with(b"-extproc\r\n")).await;
    let all = process.stdout().tail(u64::MAX, 100, 1 << 16).1;
    let text = String::from_utf8_lossy(&all).replace(['\n', '\r'], " ");
    for mode in [" icanon", " opost", " onlcr", " echo ", " ixon", " brkint"] {
        assert!(text.contains(mode), "{mode} not in {text}");
    }
    process.kill(StopCause::Request);
    soon("stop", process.stopped()).await;
}

/// The name of the program that leads the foreground group: it has been executed, so its signals are at their default.
fn foreground(process: &Process) -> String {
    let terminal = process.inner.terminal.as_ref().unwrap();
    let pid = terminal.foreground().unwrap().as_raw_nonzero();
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}
