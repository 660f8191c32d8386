//! `pid1 serve -- CMD`: the main command's input, output, signals and status are the agent's.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::first::{First, witness};
use super::inits::{children, send, trapped};
use crate::support::{Launch, SOON, binary, eventually, settled, within, wrote_bytes};

/// The agent with this main command.
fn main_command(flags: &[&str], command: &[&str]) -> Launch {
    Launch::new().flags(flags).flags(&["--"]).flags(command)
}

/// Runs it to its end as process 1.
fn run(launch: Launch, stdin: impl Into<Stdio>) -> Output {
    launch.first().command().stdin(stdin).output().unwrap()
}

#[tokio::test]
async fn its_status_is_the_agents() {
    for code in [0, 1, 42, 126, 127, 255] {
        let output = run(main_command(&[], &["sh", "-c", &format!("exit {code}")]), Stdio::null());
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for signal in [1, 2, 9, 15, 34, 64] {
        let script = format!("kill -{signal} $$; sleep 1000");
        let output = run(main_command(&[], &["sh", "-c", &script]), Stdio::null());
        assert_eq!(output.status.code(), Some(128 + signal));
    }
}

/// Whatever the bytes are, in both directions, with the end of the input; and nothing else is on stdout but the URL.
#[tokio::test]
async fn its_input_and_output_are_the_agents_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(folder.path().join("bytes"), &bytes).unwrap();
    let input = || File::open(folder.path().join("bytes")).unwrap();
    let launch = main_command(&["--log", "off"], &["bash", "-c", "tee /proc/self/fd/2; exit 3"]);
    let Output { status, stdout, stderr } = run(launch, input());
    assert_eq!(status.code(), Some(3));
    let url = stdout.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    assert!(stdout[url..] == bytes, "{} bytes of stdout", stdout.len() - url);
    assert!(stderr == bytes, "{} bytes of stderr", stderr.len());
}

/// A parent that polls its pipes leaves them so.
#[tokio::test]
async fn pipes_that_do_not_block_carry_all_of_it() {
    let (ours, theirs) = nix::unistd::pipe().unwrap();
    nix::fcntl::fcntl(&theirs, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    let launch = main_command(&[], &["sh", "-c", "head -c 3000000 /dev/zero; exit 4"]).first();
    let mut command = launch.command();
    let mut child = command.stdin(Stdio::null()).stdout(theirs).spawn().unwrap();
    drop(command);
    let mut read = Vec::new();
    File::from(ours).read_to_end(&mut read).unwrap();
    let url = read.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    assert_eq!((read.len() - url, child.wait().unwrap().code()), (3_000_000, Some(4)));
}

#[tokio::test]
async fn what_it_prints_last_is_not_lost() {
    for _ in 0..20 {
        let output = run(main_command(&[], &["sh", "-c", "echo last words"]), Stdio::null());
        assert!(output.stdout.ends_with(b"\nlast words\n"), "{:?}", String::from_utf8_lossy(&output.stdout));
    }
}

#[tokio::test]
async fn with_keep_the_agent_outlives_it() {
    let mut first = First::start(&["--keep", "--", "sh", "-c", "echo done; exit 3"]).await;
    eventually("it has ended", SOON, || first.agent.log().contains("the main command has ended")).await;
    assert_eq!(first.agent.printed(), b"done\n");
    let mut client = first.agent.client().await;
    let shell = client.shell("").await;
    client.shell_run(shell, "echo still here").await;
    first.signal(Signal::SIGTERM);
    assert_eq!(first.agent.ended().await.code(), Some(3));
}

#[tokio::test]
async fn what_cannot_be_started_is_said_and_nothing_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "text").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    for (program, code) in
        [("no-such-program", 127), ("/no/such/program", 127), (plain.to_str().unwrap(), 126)]
    {
        let output = run(main_command(&["--log", "error"], &[program]), Stdio::null());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(program) && said.contains("main command"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(output.stdout, b"", "no URL");
    }
}

/// Says each signal it gets, but TERM and INT, which end the agent.
const LISTENER: &str = "for s in HUP QUIT ABRT USR1 USR2 ALRM CONT TSTP TTIN TTOU URG VTALRM PROF WINCH IO PWR \
    34 40 64; do trap \"echo got $s.\" $s; done; setsid sleep 1000 & echo ready; while :; do wait; done";

#[tokio::test]
async fn it_gets_the_signals_that_do_not_end_the_agent() {
    let mut first = First::start(&["--stop-grace", "1", "--", "bash", "-c", LISTENER]).await;
    let printed = |first: &First| String::from_utf8(first.agent.printed()).unwrap();
    eventually("it listens", SOON, || printed(&first).contains("ready")).await;
    for (number, name) in [
        (1, "HUP"),
        (3, "QUIT"),
        (6, "ABRT"),
        (10, "USR1"),
        (12, "USR2"),
        (14, "ALRM"),
        (18, "CONT"),
        (20, "TSTP"),
        (21, "TTIN"),
        (22, "TTOU"),
        (23, "URG"),
        (26, "VTALRM"),
        (27, "PROF"),
        (28, "WINCH"),
        (29, "IO"),
        (30, "PWR"),
        (34, "34"),
        (40, "40"),
        (64, "64"),
    ] {
        trapped(first.pid, number, name, || printed(&first).contains(&format!("got {name}."))).await;
    }
    first.agent.client().await.ping().await;
    first.signal(Signal::SIGTERM);
    assert_eq!(first.agent.ended().await.code(), Some(143));
}

#[tokio::test]
async fn it_is_asked_to_end_before_it_is_killed() {
    for (trap, code) in [("trap 'echo bye; exit 7' TERM", 7), ("trap '' TERM", 137)] {
        let script = format!("{trap}; echo ready; while :; do sleep 0.1; done");
        let mut first = First::start(&["--stop-grace", "1", "--", "bash", "-c", &script]).await;
        eventually("it runs", SOON, || first.agent.printed() == b"ready\n").await;
        let begin = Instant::now();
        first.signal(Signal::SIGTERM);
        assert_eq!(first.agent.ended().await.code(), Some(code));
        assert_eq!(begin.elapsed() >= Duration::from_secs(1), code == 137, "{:?}", begin.elapsed());
        let printed: &[u8] = if code == 7 { b"ready\nbye\n" } else { b"ready\n" };
        assert_eq!(first.agent.printed(), printed);
    }
}

/// Its end is the end of everything: programs of clients and daemons are asked, too.
#[tokio::test]
async fn its_end_ends_all_others_in_order() {
    let mut first = First::start(&["--", "sh", "-c", "until test -e go; do sleep 0.05; done; exit 9"]).await;
    let root = first.agent.root();
    let mut client = first.agent.client().await;
    super::first::run_script(&mut client, &witness("daemon")).await;
    eventually("the daemon runs", SOON, || root.join("daemon-up").exists()).await;
    fs::write(root.join("go"), "").unwrap();
    assert_eq!(first.agent.ended().await.code(), Some(9));
    assert!(root.join("daemon-told").exists());
}

/// An agent whose stdout and stderr are in the test's hands.
struct Piped {
    child: Child,
    url: String,
    pid: i32,
    out: Option<BufReader<ChildStdout>>,
    /// Its folders go with it.
    _launch: Launch,
}

impl Piped {
    async fn start(launch: Launch, stdin: Stdio, stderr: Stdio) -> Piped {
        let launch = launch.first();
        let mut command = launch.command();
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            (line, out)
        });
        let (url, out) = within("the agent prints its URL", SOON, line).await.unwrap();
        let pid = children(child.id() as i32)[0];
        Piped { child, url: url.trim().to_owned(), pid, out: Some(out), _launch: launch }
    }

    /// A command through a client that knows nothing of this test.
    async fn serves(&self) {
        let mut exec = Command::new(binary());
        exec.args(["exec", "--timeout", "20", "--reconnect", "5", &self.url, "--", "echo", "served"]);
        let run = tokio::task::spawn_blocking(move || exec.stdin(Stdio::null()).output().unwrap());
        let output = within("a client is served", SOON, run).await.unwrap();
        assert_eq!(output.stdout, b"served\n", "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the agent ends", SOON, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who takes nothing from the agent holds the main command back, and nobody else.
#[tokio::test]
async fn a_reader_that_stands_still_holds_back_the_main_command_alone() {
    for script in ["exec yes", "exec yes >&2"] {
        let launch = main_command(&["--stop-grace", "1"], &["sh", "-c", script]);
        let mut piped = Piped::start(launch, Stdio::null(), Stdio::piped()).await;
        let main = children(piped.pid)[0];
        let written = settled("it is held back", SOON, || wrote_bytes(main)).await;
        assert!(written > 0, "{script}");
        piped.serves().await;
        assert_eq!(wrote_bytes(main), written, "{script}");
        let begin = Instant::now();
        send(piped.pid, Signal::SIGTERM as i32);
        assert_eq!(piped.ended().await, Some(143), "{script}");
        // The seconds that its last words and the agent's own may take.
        assert!(begin.elapsed() < Duration::from_secs(5), "{script} {:?}", begin.elapsed());
    }
}

/// Nor does one who had stopped reading before the agent came.
#[tokio::test]
async fn a_log_that_is_full_from_the_beginning_keeps_nobody_from_being_served() {
    const FILL: &str = "timeout 0.5 cat /dev/zero; exec \"$0\" \"$@\"";
    for (main, code) in [(&[][..], 0), (&["--", "sleep", "1000"], 143)] {
        let launch = Launch::new().through(&["bash", "-c", FILL]).flags(main).first();
        let mut command = launch.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let begun = tokio::task::spawn_blocking(move || {
            log.lines().map_while(Result::ok).find(|line| line.contains("listening"))
        });
        assert!(within("the agent serves", SOON, begun).await.unwrap().is_some());
        let agent = children(child.id() as i32)[0];
        let mut piped = Piped { child, url: String::new(), pid: agent, out: None, _launch: launch };
        send(piped.pid, Signal::SIGTERM as i32);
        assert_eq!(piped.ended().await, Some(code));
    }
}

/// It is told as any writer into a broken pipe, and the agent is neither ended nor deaf.
#[tokio::test]
async fn a_reader_that_goes_away_is_the_main_commands_business() {
    let script = "trap '' PIPE; trap 'echo > told' USR1; trap 'exit 4' TERM; while :; do echo out; echo err >&2; sleep 0.01; done";
    let launch = main_command(&["--stop-grace", "5"], &["bash", "-c", script]);
    let root = launch.home().join("root");
    let mut piped = Piped::start(launch, Stdio::null(), Stdio::piped()).await;
    drop(piped.out.take());
    drop(piped.child.stderr.take());
    piped.serves().await;
    eventually("it hears signals", SOON, || {
        send(piped.pid, Signal::SIGUSR1 as i32);
        root.join("told").exists()
    })
    .await;
    send(piped.pid, Signal::SIGTERM as i32);
    assert_eq!(piped.ended().await, Some(4));

    // One that minds broken pipes no more than others dies of it.
    let launch = main_command(&[], &["yes"]);
    let mut piped = Piped::start(launch, Stdio::null(), Stdio::null()).await;
    drop(piped.out.take());
    assert_eq!(piped.ended().await, Some(128 + 13));
}

/// What is typed arrives as it is typed, and what the command does not read holds nobody up.
#[tokio::test]
async fn its_input_follows_the_agents() {
    let launch =
        main_command(&["--log", "off"], &["sh", "-c", "read line; echo \"<$line>\"; exec sleep 1000"]);
    let mut piped = Piped::start(launch, Stdio::piped(), Stdio::null()).await;
    let (mut stdin, mut out) = (piped.child.stdin.take().unwrap(), piped.out.take().unwrap());
    stdin.write_all(b"one\n").unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    });
    assert_eq!(within("it has read", SOON, read).await.unwrap(), "<one>\n");
    let flood = std::thread::spawn(move || while stdin.write_all(&[b'x'; 4096]).is_ok() {});
    piped.serves().await;
    send(piped.pid, Signal::SIGTERM as i32);
    assert_eq!(piped.ended().await, Some(143));
    flood.join().unwrap();
}
