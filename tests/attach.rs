//! `pid1 attach` from a person's terminal: what is shown and typed is the program's, byte for byte, over connections
//! that break; the terminal is as it was afterwards, however it ends.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use pid1_sdk::api::{ProcessList, ResizeTerm, command::Body};

use crate::access::keys::Keys;
use crate::support::{
    Agent, HEAVY, PROMPT, Proxy, Rng, SOON, Screen, binary, eventually, named, process_start, stopped,
};

const LEAVE: &[u8] = b"\x10\x11";

/// Where a screen's stderr goes.
fn log(agent: &Agent) -> PathBuf {
    agent.root().join("log")
}

fn said(agent: &Agent) -> String {
    fs::read_to_string(log(agent)).unwrap_or_default()
}

fn attach(agent: &Agent, url: &str, args: &[&str]) -> Screen {
    Screen::run(&[&["attach", url], args].concat(), &log(agent))
}

#[tokio::test]
async fn a_shell_that_is_shared_left_and_found_again() {
    let agent = Agent::start().await;
    let mut first = attach(&agent, agent.url(), &[]);
    first.until(PROMPT).await;
    first.type_in(b"stty size; echo \"<$TERM>\"; cd /; pwd\r");
    let shown = first.until("/\r\n").await;
    assert!(shown.contains("30 100\r\n<xterm-direct>\r\n"), "{shown:?}");
    first.resize(40, 120);
    eventually("the size is there", SOON, || agent.has_window("40 120")).await;
    first.type_in(b"stty size\r");
    first.until("40 120").await;
    // A second person sees what was there, and both see both.
    let mut second = attach(&agent, agent.url(), &[]);
    assert!(second.until("40 120").await.contains("xterm-direct"));
    second.until(PROMPT).await;
    second.type_in(b"echo from-the-sec''ond\r");
    second.until("from-the-second").await;
    first.until("from-the-second").await;
    // The interrupt key reaches what is in front.
    first.type_in(b"sleep 8720\r");
    eventually("it sleeps", SOON, || !named(&agent.programs(), "sleep 8720").is_empty()).await;
    second.type_in(b"\x03");
    eventually("it was interrupted", SOON, || named(&agent.programs(), "sleep 8720").is_empty()).await;
    second.until(PROMPT).await;
    // One leaves, then the other; the shell runs on, and what it prints is there for whoever comes.
    second.type_in(LEAVE);
    assert_eq!(second.status().await, 0);
    assert!(said(&agent).contains("pid1 attach --name terminal"), "{}", said(&agent));
    first.type_in(b"sleep 1; echo wor''ked-on\r");
    first.type_in(LEAVE);
    assert_eq!(first.status().await, 0);
    let mut again = attach(&agent, agent.url(), &[]);
    again.until("worked-on").await;
    again.type_in(b"exit 4\r");
    assert_eq!(again.status().await, 4);
    // An ended one is not found again: the next is new.
    let mut new = attach(&agent, agent.url(), &[]);
    let shown = new.until(PROMPT).await;
    assert!(!shown.contains("worked-on"), "{shown:?}");
}

#[tokio::test]
async fn what_is_typed_and_shown_is_exact_over_a_network_that_breaks() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let proxy = Proxy::to(agent.address());
    let script = "stty raw -echo; echo READY; exec head -c 3000000";
    let mut screen =
        attach(&agent, &proxy.url(agent.token()), &["--detach-keys", "", "--", "sh", "-c", script]);
    screen.until("READY\n").await;
    let random = Rng::seeded("attach").bytes(3_000_000);
    proxy.cut_after(300_001, 8);
    proxy.cut();
    for piece in random.chunks(2_000) {
        screen.type_in(piece);
    }
    let shown = screen.until_bytes(random.len()).await;
    assert_eq!(screen.status().await, 0, "{}", said(&agent));
    assert!(shown == random, "{} of {} bytes came back", shown.len(), random.len());
    assert!(proxy.cuts() >= 5, "{} cuts", proxy.cuts());
}

#[tokio::test]
async fn a_flood_is_whole_over_a_network_that_breaks() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let proxy = Proxy::to(agent.address());
    proxy.cut_after(400_001, 6);
    let script = "stty raw; seq 1 600000; exit 3";
    let mut screen = attach(&agent, &proxy.url(agent.token()), &["--", "sh", "-c", script]);
    let expected: String = (1..=600_000).map(|n| format!("{n}\n")).collect();
    let shown = screen.until_bytes(expected.len()).await;
    assert_eq!(screen.status().await, 3);
    assert!(shown == expected.as_bytes(), "{} of {} bytes", shown.len(), expected.len());
    assert!(proxy.cuts() >= 5, "{} cuts", proxy.cuts());
}

#[tokio::test]
async fn the_terminal_is_as_it_was_however_it_ends() {
    let mut agent = Agent::start().await;
    let ready = ["--", "sh", "-c", "echo READY; read line; exit ${line:-9}"];
    // Without a shell of our own on the terminal, what it was like is what a new one is like.
    let cooked = Screen::run(&["services"], &log(&agent)).modes();
    for (name, wish) in [
        ("end", None),
        ("term", Some(Signal::SIGTERM)),
        ("hup", Some(Signal::SIGHUP)),
        ("usr1", Some(Signal::SIGUSR1)),
    ] {
        let mut screen = attach(&agent, agent.url(), &[&["--name", name], &ready[..]].concat());
        screen.until("READY").await;
        assert_ne!(screen.modes(), cooked, "{name}");
        let status = match wish {
            None => {
                screen.type_in(b"5\r");
                5
            }
            Some(wish) => {
                screen.signal(wish);
                128 + wish as u32
            }
        };
        assert_eq!(screen.status().await, status, "{name}");
        assert_eq!(screen.modes(), cooked, "{name}");
    }
    // Stopped and continued.
    let mut screen = attach(&agent, agent.url(), &[&["--name", "stop"], &ready[..]].concat());
    screen.until("READY").await;
    screen.signal(Signal::SIGTSTP);
    eventually("it is stopped", SOON, || stopped(screen.pid())).await;
    assert_eq!(screen.modes(), cooked);
    screen.signal(Signal::SIGCONT);
    screen.raw(&cooked).await;
    screen.type_in(b"6\r");
    assert_eq!(screen.status().await, 6);
    assert_eq!(screen.modes(), cooked);
    // The agent dies for good.
    let mut screen =
        attach(&agent, agent.url(), &[&["--name", "lost", "--reconnect", "1"], &ready[..]].concat());
    screen.until("READY").await;
    agent.kill().await;
    assert_eq!(screen.status().await, 255);
    assert_eq!(screen.modes(), cooked);
    assert!(said(&agent).contains("the connection was lost"), "{}", said(&agent));
}

#[tokio::test]
async fn while_the_agent_is_away_a_person_can_leave() {
    let agent = Agent::start().await;
    let proxy = Proxy::to(agent.address());
    let url = proxy.url(agent.token());
    for keys in [&b"\x03"[..], LEAVE] {
        proxy.up();
        let mut screen = attach(&agent, &url, &["--", "sh", "-c", "echo READY; exec sleep 8721"]);
        screen.until("READY").await;
        fs::write(log(&agent), "").unwrap();
        proxy.down();
        eventually("it says so", SOON, || said(&agent).contains("ctrl-c or ctrl-p ctrl-q leaves")).await;
        screen.type_in(keys);
        assert_eq!(screen.status().await, 0);
        assert!(said(&agent).contains("detached"), "{}", said(&agent));
    }
    // What was typed meanwhile arrives.
    proxy.up();
    let mut screen =
        attach(&agent, &url, &["-n", "other", "--", "sh", "-c", "echo READY; read a; echo [$a]"]);
    screen.until("READY").await;
    fs::write(log(&agent), "").unwrap();
    proxy.down();
    eventually("it says so", SOON, || said(&agent).contains("connecting again")).await;
    screen.type_in(b"while ");
    screen.type_in(b"away\r");
    proxy.up();
    screen.until("[while away]").await;
    assert_eq!(screen.status().await, 0);
}

#[tokio::test]
async fn an_agent_that_was_started_anew_has_another_program() {
    let token = ["--token", "a-token-of-two-agents"];
    let (agent, next) = (Agent::with(&token).await, Agent::with(&token).await);
    let proxy = Proxy::to(agent.address());
    let mut screen = attach(&agent, &proxy.url(token[1]), &[]);
    screen.until(PROMPT).await;
    proxy.turn_to(next.address());
    proxy.cut();
    assert_eq!(screen.status().await, 255);
    assert!(said(&agent).contains("the program is gone"), "{}", said(&agent));
}

#[tokio::test]
async fn programs_that_others_started() {
    let agent = Agent::start().await;
    let mut peer = agent.client().await;
    let channel = peer.open("process", "").await;
    let mut start = process_start(&["sh", "-c", "echo READY; read word; echo \"<$word>\"; exit 8"]);
    start.terminal = Some(ResizeTerm { rows: 24, cols: 80 });
    let Body::ProcessStarted(started) = peer.ask(channel, Body::ProcessStart(start)).await else {
        panic!("it did not start")
    };
    let mut one = attach(&agent, agent.url(), &["--id", &started.id.to_string()]);
    let mut other = attach(&agent, agent.url(), &["--pid", &started.pid.to_string()]);
    one.until("READY").await;
    other.until("READY").await;
    one.type_in(LEAVE);
    assert_eq!(one.status().await, 0);
    assert!(said(&agent).contains(&format!("--id {}", started.id)), "{}", said(&agent));
    other.type_in(b"typed\r");
    other.until("<typed>").await;
    assert_eq!(other.status().await, 8);
    let list = peer.ask(channel, Body::ProcessList(ProcessList::default())).await;
    assert!(matches!(list, Body::ProcessListResult(_)));
    let mut none = attach(&agent, agent.url(), &["--id", "999"]);
    assert_eq!(none.status().await, 255);
    assert!(said(&agent).contains("no program with id 999"), "{}", said(&agent));
}

#[tokio::test]
async fn without_a_terminal_it_says_what_to_use() {
    let agent = Agent::start().await;
    let output = Command::new(binary()).args(["attach", agent.url()]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("pid1 exec") && output.stdout.is_empty(), "{said}");
    let mut missing = attach(&agent, agent.url(), &["--", "no-such-program"]);
    assert_eq!(missing.status().await, 127);
}

/// Who leaves a full-screen program gets its own screen back, and later one that is drawn anew.
#[tokio::test]
async fn a_screen_that_is_left_and_drawn_again() {
    let agent = Agent::start().await;
    let script =
        "trap 'printf REDRAWN' WINCH; printf '\\033[?1049h\\033[?25lFULL'; while :; do sleep 0.1; done";
    let command = ["--", "sh", "-c", script];
    let mut screen = attach(&agent, agent.url(), &command);
    screen.until("\x1b[?1049h\x1b[?25lFULL").await;
    screen.type_in(LEAVE);
    assert_eq!(screen.status().await, 0);
    screen.until("\x1b[?25h\x1b[?1049l").await;
    let mut again = attach(&agent, agent.url(), &command);
    again.until("FULL").await;
    again.until("\x1b[2J").await;
    again.until("REDRAWN").await;
    again.signal(Signal::SIGTERM);
    assert_eq!(again.status().await, 143);
    again.until("\x1b[?25h\x1b[?1049l").await;
}

/// A key that begins the detach keys is the program's, if the others do not follow.
#[tokio::test]
async fn keys_that_only_begin_to_leave_arrive() {
    let agent = Agent::start().await;
    let script = "stty raw -echo; printf READY; exec head -c 6 | od -An -tx1";
    let mut screen = attach(&agent, agent.url(), &["--", "sh", "-c", script]);
    screen.until("READY").await;
    screen.type_in(b"\x10a\x10\x10b");
    // The last one comes without a key behind it.
    screen.type_in(b"\x10");
    screen.until("10 61 10 10 62 10").await;
    assert_eq!(screen.status().await, 0);
}

/// Whoever may only look on sees everything, types nothing, and leaves as everybody does.
#[tokio::test]
async fn a_viewer_looks_on() {
    let (agent, keys) = Keys::agent(&[]).await;
    let url = |role: &str| format!("ws://{}/wsv2/{}", agent.address(), keys.jwt_of(role));
    let mut early = attach(&agent, &url("viewer"), &[]);
    assert_eq!(early.status().await, 255);
    assert!(said(&agent).contains("starts nothing"), "{}", said(&agent));
    let mut editor = attach(&agent, &url("editor"), &[]);
    editor.until(PROMPT).await;
    editor.type_in(b"echo sho''wn before\r");
    editor.until("shown before").await;
    let mut viewer = attach(&agent, &url("viewer"), &[]);
    viewer.until("shown before").await;
    eventually("it says so", SOON, || said(&agent).contains("read-only")).await;
    viewer.type_in(b"touch typed-by-the-viewer\r\x03\x04");
    viewer.resize(7, 7);
    editor.type_in(b"stty size; echo sho''wn after\r");
    editor.until("30 100").await;
    viewer.until("shown after").await;
    viewer.type_in(LEAVE);
    assert_eq!(viewer.status().await, 0);
    editor.type_in(b"ls typed*; exit 6\r");
    editor.until("No such file").await;
    assert_eq!(editor.status().await, 6);
}

/// Neither the program nor anybody else who types into it notices. There may be nobody to tell, either.
#[tokio::test]
async fn a_window_that_is_closed_leaves_the_terminal_to_the_others() {
    let agent = Agent::start().await;
    let mut stays = attach(&agent, agent.url(), &[]);
    stays.until(PROMPT).await;
    let window = nix::pty::openpty(None, None).unwrap();
    // Else the client would hold its own window open.
    fcntl(&window.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let shown = agent.root().join("shown");
    let mut closed = Command::new(binary())
        .args(["attach", agent.url()])
        .stdin(Stdio::from(window.slave))
        .stdout(fs::File::create(&shown).unwrap())
        .stderr(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        .spawn()
        .unwrap();
    let sees = || fs::read_to_string(&shown).unwrap().contains(PROMPT);
    eventually("the second sees the prompt", SOON, sees).await;
    drop(window.master);
    let mut status = None;
    let ended = || {
        status = closed.try_wait().unwrap();
        status.is_some()
    };
    eventually("it leaves", SOON, ended).await;
    assert_eq!(status.unwrap().code(), Some(129));
    stays.type_in(b"echo still he''re; exit 3\r");
    stays.until("still here").await;
    assert_eq!(stays.status().await, 3);
}

/// Also what came while nobody was connected, and nothing had been shown before.
#[tokio::test]
async fn a_connection_lost_before_the_first_output_costs_none_of_it() {
    let agent = Agent::start().await;
    let proxy = Proxy::to(agent.address());
    let script = "while [ ! -e go ]; do sleep 0.02; done; seq 1 50000; touch written; read end";
    let mut screen = attach(&agent, &proxy.url(agent.token()), &["--", "sh", "-c", script]);
    eventually("it waits", SOON, || !named(&agent.programs(), "50000").is_empty()).await;
    proxy.down();
    fs::write(agent.root().join("go"), "").unwrap();
    eventually("it is written", SOON, || agent.root().join("written").exists()).await;
    proxy.up();
    let shown = screen.until("\n50000\r\n").await;
    assert!(shown.starts_with("1\r\n2\r\n3\r\n"), "{:?}", &shown[..shown.len().min(60)]);
    assert_eq!(shown.lines().count(), 50000);
    screen.type_in(b"\r");
    assert_eq!(screen.status().await, 0);
}
