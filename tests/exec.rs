//! `pid1 exec` beyond the plain run: over connections that break, on a terminal, with limits, signals and settings.

mod manners;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prost::Message as _;

use crate::support::{
    Agent, HEAVY, Launch, Proxy, Rng, SOON, Screen, binary, eventually, named, size, stopped,
};

const TOKEN: &str = "a-token-that-outlives-agents";

fn exec(url: &str, flags: &[&str], command: &[&str]) -> Command {
    let mut exec = Command::new(binary());
    exec.arg("exec").args(flags).args([url, "--"]).args(command).env_remove("PID1_URL").stdin(Stdio::null());
    exec
}

fn run(url: &str, flags: &[&str], command: &[&str]) -> Output {
    exec(url, flags, command).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn random_file(folder: &Path, bytes: usize) -> (PathBuf, Vec<u8>) {
    let (path, random) = (folder.join("random"), Rng::seeded("exec").bytes(bytes));
    fs::write(&path, &random).unwrap();
    (path, random)
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

/// Starts it, and waits until it is known to run: it prints `ready`.
fn started(mut exec: Command) -> Child {
    let mut child = exec.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    child
}

async fn runs(agent: &Agent, text: &str) -> i32 {
    let mut found = Vec::new();
    eventually(&format!("{text} runs"), SOON, || {
        found = named(&agent.programs(), text);
        !found.is_empty()
    })
    .await;
    found[0]
}

#[tokio::test]
async fn output_is_whole_over_a_network_that_breaks() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let (path, random) = random_file(&agent.root(), 8 << 20);
    let proxy = Proxy::to(agent.address());
    proxy.cut_after(700_001, 9);
    let script = format!("cat {0}; cat {0} >&2; exit 7", path.display());
    let output = run(&proxy.url(agent.token()), &[], &["sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(7), "{}", output.stdout.len());
    assert!(output.stdout == random, "{} bytes of stdout", output.stdout.len());
    assert!(output.stderr == random, "{} bytes of stderr", output.stderr.len());
    assert!(proxy.cuts() >= 5, "{} cuts", proxy.cuts());
    eventually("nothing is kept", SOON, || agent.programs().is_empty()).await;
}

#[tokio::test]
async fn input_is_whole_over_a_network_that_breaks() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let (path, random) = random_file(&agent.root(), 8 << 20);
    let proxy = Proxy::to(agent.address());
    proxy.cut_after(900_007, 7);
    let url = proxy.url(agent.token());
    let output = exec(&url, &[], &["sha256sum"]).stdin(File::open(&path).unwrap()).output().unwrap();
    let expected = Command::new("sha256sum").stdin(File::open(&path).unwrap()).output().unwrap();
    assert_eq!(text(&output.stdout), text(&expected.stdout), "{}", text(&output.stderr));
    assert!(proxy.cuts() >= 5, "{} cuts", proxy.cuts());
    // Both ways at once.
    proxy.cut_after(800_003, 8);
    let output = exec(&url, &[], &["cat"]).stdin(File::open(&path).unwrap()).output().unwrap();
    assert!(output.stdout == random && output.status.success(), "{} bytes back", output.stdout.len());
    assert!(proxy.cuts() >= 10, "{} cuts", proxy.cuts());
}

/// Wherever the connection is cut, in the middle of starting it too.
#[tokio::test]
async fn a_command_is_run_once() {
    let agent = Agent::start().await;
    let count = agent.root().join("count");
    let mut cut = 0;
    for bytes in (150..1600).step_by(size(60, 7)) {
        fs::write(&count, "").unwrap();
        let proxy = Proxy::to(agent.address());
        proxy.cut_after(bytes as u64, 1);
        let output = run(&proxy.url(agent.token()), &[], &["sh", "-c", "echo run >>count; echo done"]);
        let (runs, said) = (fs::read_to_string(&count).unwrap(), text(&output.stderr));
        cut += proxy.cuts();
        match output.status.code() {
            Some(0) => {
                assert_eq!((runs.as_str(), text(&output.stdout).as_str()), ("run\n", "done\n"), "{bytes}")
            }
            // The very first connection must succeed.
            Some(255) => assert_eq!(runs, "", "cut after {bytes} bytes: {said}"),
            other => panic!("cut after {bytes} bytes: {other:?} {said}"),
        }
    }
    assert!(cut > 10, "{cut} cuts are too few to say anything");
}

#[tokio::test]
async fn a_long_break_is_told_once_and_costs_nothing() {
    let agent = Agent::start().await;
    let proxy = Proxy::to(agent.address());
    let script = "echo begin; read word; echo \"got $word\"; for n in $(seq 1000); do echo $n; done; exit 3";
    let mut exec = exec(&proxy.url(agent.token()), &[], &["sh", "-c", script]);
    let mut child = exec.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut begin = [0; 6];
    stdout.read_exact(&mut begin).unwrap();
    proxy.down();
    std::io::Write::write_all(&mut stdin, b"word\n").unwrap();
    let log = agent.root().join("never");
    let begin = Instant::now();
    eventually("it has been away for a while", SOON, || begin.elapsed() > Duration::from_secs(3)).await;
    assert!(!log.exists() && child.try_wait().unwrap().is_none());
    proxy.up();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    let numbers: String = (1..=1000).map(|n| format!("{n}\n")).collect();
    assert_eq!(rest, format!("got word\n{numbers}"));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert_eq!(said.matches("connecting again").count(), 1, "{said}");
    assert!(said.contains("connected again"), "{said}");
}

#[tokio::test]
async fn what_cannot_help_ends_it_at_once() {
    let launch = || Launch::new().flags(&["--token", TOKEN]);
    let agent = launch().start().await;
    let other = launch().start().await;
    let stranger = Agent::start().await;
    for (next, words) in [(&other, "the program is gone"), (&stranger, "the token is not accepted")] {
        let proxy = Proxy::to(agent.address());
        let child = started(exec(&proxy.url(TOKEN), &[], &["sh", "-c", "echo ready; sleep 8710"]));
        proxy.turn_to(next.address());
        proxy.cut();
        let begin = Instant::now();
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(255), "{said}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(begin.elapsed() < SOON, "at once, not after a minute");
    }
    // And patience ends.
    let proxy = Proxy::to(agent.address());
    let command = ["sh", "-c", "echo ready; sleep 8711"];
    let child = started(exec(&proxy.url(TOKEN), &["--reconnect", "1.5"], &command));
    proxy.down();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output.stderr).contains("failed for"), "{}", text(&output.stderr));
    eventually("its program is not left behind", SOON, || named(&agent.programs(), "sleep 8711").is_empty())
        .await;
}

#[tokio::test]
async fn a_killed_client_leaves_its_command_no_longer_than_it_is_kept() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut command = exec(agent.url(), &["--reconnect", "1"], &["sleep", "8712"]);
    let mut child = command.spawn().unwrap();
    runs(&agent, "sleep 8712").await;
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("it is gone", SOON, || agent.programs().is_empty()).await;
}

#[tokio::test]
async fn a_time_limit_ends_the_whole_tree_and_keeps_what_was_printed() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let script = "echo printed; (trap '' TERM; sleep 8713) & sleep 8713; echo never";
    let begin = Instant::now();
    let output = run(agent.url(), &["--timeout", "0.7"], &["sh", "-c", script]);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(124), "printed\n"), "{said}");
    assert!(said.contains("0.7 s") && said.contains("--timeout"), "{said}");
    assert!(begin.elapsed() > Duration::from_millis(700) && begin.elapsed() < SOON);
    eventually("nothing is left", SOON, || agent.programs().is_empty()).await;
    // Whoever ends in time is not late.
    let output = run(agent.url(), &["--timeout", "30"], &["sh", "-c", "exit 5"]);
    assert_eq!(output.status.code(), Some(5));
    for wrong in ["0", "-1", "soon", "1e99"] {
        let output = run(agent.url(), &[&format!("--timeout={wrong}")], &["true"]);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains("seconds"), "{wrong}: {said}");
    }
}

#[tokio::test]
async fn signals_reach_the_command() {
    let agent = Agent::start().await;
    for wish in
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2]
    {
        let child = started(exec(agent.url(), &[], &["sh", "-c", "echo ready; exec sleep 8714"]));
        signal(&child, wish);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(128 + wish as i32), "{wish}: {output:?}");
    }
    // One that is handled is no end.
    let script = "trap 'echo heard; exit 9' USR1; echo ready; while :; do sleep 0.1; done";
    let child = started(exec(agent.url(), &[], &["sh", "-c", script]));
    signal(&child, Signal::SIGUSR1);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(9), "heard\n"));
}

/// The client does not know yet that the command runs.
#[tokio::test]
async fn a_signal_while_it_starts_leaves_nothing_behind() {
    let agent = Agent::start().await;
    for _ in 0..size(20, 500) {
        let child = exec(agent.url(), &[], &["sleep", "8716"]).stderr(Stdio::piped()).spawn().unwrap();
        runs(&agent, "sleep 8716").await;
        signal(&child, Signal::SIGTERM);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(143), "{output:?}");
        eventually("nothing is left behind", SOON, || agent.programs().is_empty()).await;
    }
}

/// As `ctrl-z` and `fg` do it with a command that runs here.
#[tokio::test]
async fn a_stopped_client_stops_its_command() {
    let agent = Agent::start().await;
    let child = exec(agent.url(), &[], &["sleep", "8715"]).spawn().unwrap();
    let pid = runs(&agent, "sleep 8715").await;
    let both = [pid, child.id() as i32];
    signal(&child, Signal::SIGTSTP);
    eventually("both are stopped", SOON, || both.iter().all(|pid| stopped(*pid))).await;
    signal(&child, Signal::SIGCONT);
    eventually("both go on", SOON, || !both.iter().any(|pid| stopped(*pid))).await;
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
}

#[tokio::test]
async fn a_place_and_variables_of_its_own() {
    let agent = Agent::start().await;
    fs::create_dir(agent.root().join("below")).unwrap();
    let script = "pwd; echo \"$ONE|$TWO|$OURS|$PID1_X\"";
    let output = exec(
        agent.url(),
        &["--cwd", "below", "-e", "ONE=1=1", "-e", "TWO=", "--env", "OURS"],
        &["sh", "-c", script],
    )
    .env("OURS", "from here")
    .env("PID1_X", "never")
    .output()
    .unwrap();
    let place = agent.root().canonicalize().unwrap().join("below");
    assert_eq!(text(&output.stdout), format!("{}\n1=1||from here|\n", place.display()));
    let output = exec(agent.url(), &[], &["pwd"]).env("PID1_EXEC_CWD", "/").output().unwrap();
    assert_eq!(text(&output.stdout), "/\n");
    for (flags, words) in
        [(["-e", "=x"], "NAME=VALUE"), (["-e", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE=VALUE")]
    {
        let output = run(agent.url(), &flags, &["true"]);
        assert!(output.status.code() == Some(2) && text(&output.stderr).contains(words), "{flags:?}");
    }
    let output = run(agent.url(), &["--cwd", "nowhere"], &["pwd"]);
    assert_eq!(output.status.code(), Some(126), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("nowhere"));
}

#[tokio::test]
async fn a_terminal_for_a_command() {
    let agent = Agent::start().await;
    let log = agent.root().join("log");
    let script = "tty; stty size; echo \"$TERM/$COLORTERM\"; read line; echo \"[$line]\"; stty size; exit 6";
    let mut screen = Screen::run(
        &["exec", "-t", "--env", "COLORTERM=truecolor", agent.url(), "--", "sh", "-c", script],
        &log,
    );
    let shown = screen.until("truecolor\r\n").await;
    assert!(shown.contains("/dev/pts/") && shown.contains("30 100") && shown.contains("xterm-direct/"));
    screen.resize(44, 132);
    eventually("the size is there", SOON, || agent.has_window("44 132")).await;
    screen.type_in(b"wordx\x7f\r");
    assert!(screen.until("44 132").await.contains("[word]"));
    assert_eq!(screen.status().await, 6, "{}", fs::read_to_string(&log).unwrap());
    // Keys that leave it to itself, where somebody asked for them.
    let flags = ["exec", "-t", "--detach-keys", "ctrl-]", agent.url(), "--"];
    let command = ["sh", "-c", "echo READY; read a; echo [$a]; exit 2"];
    let mut screen = Screen::run(&[&flags[..], &command].concat(), &log);
    screen.until("READY").await;
    screen.type_in(b"\x1d");
    assert_eq!(screen.status().await, 0);
    let said = fs::read_to_string(&log).unwrap();
    let name = said.split("--name ").nth(1).expect("it says how to come back").trim();
    let mut again = Screen::run(&["attach", agent.url(), "--name", name], &log);
    again.until("READY").await;
    again.type_in(b"back\r");
    again.until("[back]").await;
    assert_eq!(again.status().await, 2);
    // Without a terminal here the command has one all the same.
    let output = exec(agent.url(), &[], &["sh", "-c", "test -t 1 && stty size"])
        .env("PID1_EXEC_TTY", "1")
        .env("PID1_EXEC_DETACH_KEYS", "ctrl-a")
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "24 80\r\n", "{}", text(&output.stderr));
}

#[tokio::test]
async fn an_input_that_is_closed_or_nothing() {
    let agent = Agent::start().await;
    for script in [
        "\"$0\" exec \"$1\" -- wc -c <&-",
        "\"$0\" exec \"$1\" -- wc -c </dev/null",
        "printf '' | \"$0\" exec \"$1\" -- wc -c",
    ] {
        let output =
            Command::new("bash").args(["-c", script]).arg(binary()).arg(agent.url()).output().unwrap();
        assert_eq!(text(&output.stdout).trim(), "0", "{script}: {}", text(&output.stderr));
    }
}

/// A gate that sends its clients on, as a Redirect on channel 0.
#[tokio::test]
async fn a_redirect_is_followed_with_the_same_token() {
    use futures_util::SinkExt;
    use pid1_sdk::api::{Command as Message, Redirect, command::Body};
    let agent = Agent::start().await;
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gate.local_addr().unwrap();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    let serve = |to: String| async move {
        loop {
            let (stream, _) = gate.accept().await.unwrap();
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            let body = Some(Body::Redirect(Redirect { url: to.clone() }));
            let bytes = Message { body, ..Message::default() }.encode_to_vec();
            let _ = socket.send(tokio_tungstenite::tungstenite::Message::Binary(bytes.into())).await;
        }
    };
    let run = |command: &'static str, url: String| {
        tokio::task::spawn_blocking(move || self::run(&url, &[], &["echo", command]))
    };
    let url = format!("http://{address}/#token={}", agent.token());
    let serving = tokio::spawn(serve(format!("ws://{}", agent.address())));
    let output = run("there", url).await.unwrap();
    assert_eq!(text(&output.stdout), "there\n", "{}", text(&output.stderr));
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    serving.abort();
}
