//! The command line as people and scripts use it: `pid1 exec` is the command it runs, byte for byte.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Agent, HEAVY, Rng, SOON, binary, eventually, named};

fn pid1(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_remove("PID1_URL").stdin(Stdio::null());
    command
}

fn exec(agent: &Agent, command: &[&str]) -> Command {
    let mut exec = pid1(&["exec", agent.url(), "--"]);
    exec.args(command);
    exec
}

fn run(agent: &Agent, command: &[&str]) -> Output {
    exec(agent, command).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes `bytes` to a file and opens it for reading.
fn file_of(folder: &Path, bytes: &[u8]) -> File {
    let path = folder.join("input");
    fs::write(&path, bytes).unwrap();
    File::open(path).unwrap()
}

#[tokio::test]
async fn bytes_go_both_ways_unchanged() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let folder = agent.root();
    let mut input: Vec<u8> = (0..=255).collect();
    input.extend(Rng::seeded("cli").bytes(20 << 20));
    let output = exec(&agent, &["cat"]).stdin(file_of(&folder, &input)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout == input, "{} bytes back from {}", output.stdout.len(), input.len());
    assert!(output.stderr.is_empty());
    let output =
        exec(&agent, &["sh", "-c", "tee /dev/stderr"]).stdin(file_of(&folder, &input)).output().unwrap();
    assert!(output.stdout == input && output.stderr == input);
}

#[tokio::test]
async fn stdout_and_stderr_are_kept_apart() {
    let agent = Agent::start().await;
    let output = run(&agent, &["sh", "-c", "printf 'a\\377\\0b'; printf 'c\\376' >&2; printf d"]);
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"a\xff\0bd"[..], &b"c\xfe"[..]));
    let output = run(&agent, &["true"]);
    assert!(output.stdout.is_empty() && output.stderr.is_empty() && output.status.success());
}

#[tokio::test]
async fn arguments_arrive_as_they_are() {
    let agent = Agent::start().await;
    let args = ["", " ", "a b", "*", "$HOME", "'", "\"", "\\", "--help", "-x", "é😀", "a\nb"];
    let output = run(&agent, &[&["printf", "[%s]"], &args[..]].concat());
    assert_eq!(text(&output.stdout), args.map(|arg| format!("[{arg}]")).concat());
    let here = text(&run(&agent, &["pwd"]).stdout);
    assert_eq!(Path::new(here.trim()), agent.root().canonicalize().unwrap());
}

#[tokio::test]
async fn every_exit_code_is_the_command_s() {
    let agent = Agent::start().await;
    for code in 0..=255 {
        let output = run(&agent, &["sh", "-c", &format!("exit {code}")]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    for (signal, number) in [("TERM", 15), ("KILL", 9), ("INT", 2), ("SEGV", 11), ("USR1", 10)] {
        let output = run(&agent, &["sh", "-c", &format!("kill -{signal} $$")]);
        assert_eq!(output.status.code(), Some(128 + number), "{signal}: {output:?}");
    }
}

#[tokio::test]
async fn what_cannot_run_has_the_status_that_shells_give() {
    let agent = Agent::start().await;
    fs::write(agent.root().join("no-x"), "#!/bin/sh\n").unwrap();
    for (program, status, words) in [
        ("no-such-program-anywhere", 127, "not found"),
        ("./no-such-file", 127, "no such file"),
        ("/no/such/folder/program", 127, "no such file"),
        ("./no-x", 126, "permission denied"),
        ("/", 126, "/"),
    ] {
        let output = run(&agent, &[program]);
        let said = text(&output.stderr);
        assert!(said.contains(words) && said.contains(program), "{program}: {said:?}");
        assert_eq!(output.status.code(), Some(status), "{program}: {said:?}");
    }
}

/// As `yes | head` ends on one machine: the writer is told, and nothing runs on.
#[tokio::test]
async fn a_reader_that_has_enough_ends_it() {
    let agent = Agent::start().await;
    let script = "\"$0\" exec \"$1\" -- yes | head -c 1; echo \" ${PIPESTATUS[0]}\"";
    let piped = |script: &str| {
        Command::new("bash").args(["-c", script]).arg(binary()).arg(agent.url()).output().unwrap()
    };
    let output = piped(script);
    assert_eq!(text(&output.stdout), "y 141\n", "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "without a word: {}", text(&output.stderr));
    eventually("nothing runs on", SOON, || agent.programs().is_empty()).await;
    // And the other way round: a command that wants no more input.
    let output = piped("yes | \"$0\" exec \"$1\" -- head -c 4; echo \" ${PIPESTATUS[1]}\"");
    assert_eq!(text(&output.stdout), "y\ny\n 0\n", "{}", text(&output.stderr));
    // An input that never ends does not keep it once the command has ended.
    let mut silent = Command::new("sleep").arg("8701").stdout(Stdio::piped()).spawn().unwrap();
    let output = exec(&agent, &["echo", "done"]).stdin(silent.stdout.take().unwrap()).output().unwrap();
    silent.kill().unwrap();
    silent.wait().unwrap();
    assert_eq!(text(&output.stdout), "done\n");
}

#[tokio::test]
async fn an_end_of_input_reaches_the_command() {
    let agent = Agent::start().await;
    assert_eq!(text(&run(&agent, &["wc", "-c"]).stdout).trim(), "0");
    let input = file_of(&agent.root(), b"no newline");
    assert_eq!(text(&exec(&agent, &["cat"]).stdin(input).output().unwrap().stdout), "no newline");
}

#[tokio::test]
async fn a_command_ends_with_whoever_ran_it() {
    let agent = Agent::with(&["--stop-grace", "1"]).await;
    let mut running = exec(&agent, &["sleep", "8702"]).env("PID1_EXEC_RECONNECT", "1").spawn().unwrap();
    eventually("it runs", SOON, || !named(&agent.programs(), "sleep 8702").is_empty()).await;
    running.kill().unwrap();
    running.wait().unwrap();
    eventually("it is gone", SOON, || agent.programs().is_empty()).await;
}

#[tokio::test]
async fn an_agent_that_dies_is_said_to_be_gone() {
    let mut agent = Agent::start().await;
    let mut running = exec(&agent, &["sleep", "8703"]);
    let running = running.env("PID1_EXEC_RECONNECT", "1").stderr(Stdio::piped()).spawn().unwrap();
    eventually("it runs", SOON, || !named(&agent.programs(), "sleep 8703").is_empty()).await;
    agent.kill().await;
    let output = running.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{said}");
    assert!(said.starts_with("pid1: ") && said.contains("lost"), "{said:?}");
}

#[tokio::test]
async fn no_agent_is_255_and_said_clearly() {
    let mut agent = Agent::start().await;
    let address = agent.address();
    let failed = |url: &str, words: &[&str], statuses: &[i32]| {
        let output = pid1(&["exec", url, "--", "true"]).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code().is_some_and(|code| statuses.contains(&code)), "{url}: {output:?}");
        for word in words {
            assert!(said.contains(word), "{url}: {said:?} should say {word:?}");
        }
        assert!(!said.contains("secret-of-mine") && !said.contains("panicked"), "{said:?}");
    };
    failed(
        &format!("http://{address}/#token=secret-of-mine-but-wrong"),
        &["the token is not accepted"],
        &[255],
    );
    failed(&format!("ws://{address}/wsv2/secret-of-mine-but-wrong"), &["the token is not accepted"], &[255]);
    // Errors of use are clap's.
    failed(&format!("http://{address}/"), &["#token="], &[255, 2]);
    failed("box:4560", &["http://"], &[255, 2]);
    failed(
        &format!("https://{address}/#token=secret-of-mine-but-wrong"),
        &["refuses TLS", "http://"],
        &[255],
    );
    agent.kill().await;
    let url = format!("http://{address}/#token=secret-of-mine-but-wrong");
    failed(&url, &["cannot connect", &address.to_string(), "is the agent running"], &[255]);
    failed("http://no-such-host.invalid/#token=secret-of-mine", &["no-such-host.invalid"], &[255]);
}

#[tokio::test]
async fn the_url_may_come_from_the_environment() {
    let agent = Agent::start().await;
    let output = pid1(&["exec", "--", "echo", "hi"]).env("PID1_URL", agent.url()).output().unwrap();
    assert_eq!(text(&output.stdout), "hi\n", "{}", text(&output.stderr));
    let websocket = format!("ws://{}/wsv2/{}", agent.address(), agent.token());
    let output = pid1(&["exec", &websocket, "--", "echo", "hi"]).output().unwrap();
    assert_eq!(text(&output.stdout), "hi\n", "{}", text(&output.stderr));
}

#[test]
fn help_and_lists() {
    let output = pid1(&["--help"]).output().unwrap();
    let help = text(&output.stdout);
    assert!(output.status.success());
    for word in ["serve", "exec", "attach", "services", "--listen", "--token-file", "--state-dir"] {
        assert!(help.contains(word), "{word} is not in the help");
    }
    let version = text(&pid1(&["--version"]).output().unwrap().stdout);
    assert_eq!(version.trim(), concat!("pid1 ", env!("CARGO_PKG_VERSION")));
    let services = text(&pid1(&["services"]).output().unwrap().stdout);
    for service in ["shell ", "exec ", "process "] {
        assert!(services.lines().any(|line| line.starts_with(service)), "{service}: {services}");
    }
    // A secret of the environment is not shown to whoever asks for help.
    let help = pid1(&["--help"]).env("PID1_TOKEN", "secret-of-mine-of-16").output().unwrap();
    assert!(!text(&help.stdout).contains("secret-of-mine"));
}

#[test]
fn a_list_nobody_reads_is_no_crash() {
    for arg in ["services", "--help", "--version"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = pid1(&[arg]).stdout(writer).output().unwrap();
        assert!(output.stderr.is_empty(), "{arg}: {}", text(&output.stderr));
    }
}
