//! Programs that cannot run, print without end, print what is no text, close what they should not; and what every
//! program gets to see of the agent.

use std::os::unix::fs::PermissionsExt;

use pid1_sdk::api::{
    Debug, Exec, Hello, ProcessAttach, ProcessSignal, ProcessStart, ProcessStdin, State, command::Body,
    open_channel::Action, process_attach::Target, process_exited::Status,
};

use crate::support::{
    Agent, HEAVY, Launch, Peer, Raw, Rng, SLACK_BYTES, output_of, process_start, run_program, size,
};

const MIB: usize = 1 << 20;

fn exec_body(args: &[&str]) -> Body {
    Body::Exec(Exec { args: args.iter().map(|&arg| arg.into()).collect(), ..Exec::default() })
}

#[tokio::test]
async fn what_cannot_run_says_why_and_the_channel_lives_on() {
    let agent = Agent::start().await;
    let root = agent.root();
    let file = |name: &str, content: &str, mode: u32| {
        let path = root.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    file("no-x", "#!/bin/sh\n", 0o644);
    file("bad-shebang", "#!/no/such/interpreter\n", 0o755);
    file("garbage", "\x7fELFnot really", 0o755);
    std::fs::create_dir(root.join("folder")).unwrap();
    let mut client = agent.client().await;
    let channel = client.open("exec", "").await;
    for (program, words) in [
        ("no-such-program-anywhere", "executable file not found in $PATH"),
        ("./no-such-file", "no such file or directory"),
        ("./folder", "directory"),
        ("./no-x", "permission denied"),
        ("./bad-shebang", "no such file or directory"),
        ("./garbage", "exec format error"),
        ("", ""),
        ("a\0b", "NUL"),
    ] {
        let error = client.refused(channel, exec_body(&[program])).await;
        assert!(
            error.to_lowercase().contains(&words.to_lowercase()),
            "{program:?}: {error:?} should say {words:?}"
        );
        let process = client.open("process", "").await;
        let same = client.refused(process, Body::ProcessStart(process_start(&[program]))).await;
        assert_eq!(same, error, "{program:?}");
    }
    assert!(!client.refused(channel, Body::Exec(Exec::default())).await.is_empty());
    assert_eq!(client.ask(channel, exec_body(&["true"])).await, Body::Ok(Default::default()));
    assert_eq!(client.refused(channel, exec_body(&["sh", "-c", "exit 3"])).await, "exit status 3");
    assert_eq!(client.refused(channel, exec_body(&["sh", "-c", "kill -9 $$"])).await, "signal: killed");
}

/// Environments that no program can have, places that are not there, and programs of somebody else.
#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let (exec, process) = (client.open("exec", "").await, client.open("process", "").await);
    for name in ["", "A=B", "=", "A\0"] {
        let env = std::collections::HashMap::from([(name.to_owned(), "value".to_owned())]);
        let request =
            Exec { args: vec!["true".into()], env: env.clone().into_iter().collect(), ..Exec::default() };
        assert!(!client.refused(exec, Body::Exec(request)).await.is_empty(), "{name:?}");
    }
    let nowhere = ProcessStart { cwd: "no/such/folder".into(), ..process_start(&["true"]) };
    assert!(client.refused(process, Body::ProcessStart(nowhere)).await.contains("no/such/folder"));
    // Only what this agent has started can be attached to: not itself, not the first process of the machine.
    for target in
        [Target::Pid(agent.pid()), Target::Pid(1), Target::Pid(0), Target::Pid(-1), Target::Id(u64::MAX)]
    {
        let attach = ProcessAttach { target: Some(target), ..ProcessAttach::default() };
        let error = client.refused(process, Body::ProcessAttach(attach)).await;
        assert!(error.contains("no program"), "{error}");
    }
    client.ask(process, Body::ProcessStart(process_start(&["cat"]))).await;
    for signal in [-1, 0, 65, i32::MAX, i32::MIN] {
        let error = client.refused(process, Body::ProcessSignal(ProcessSignal { signal })).await;
        assert!(error.contains(&signal.to_string()), "{error}");
    }
    let hole = ProcessStdin { offset: Some(5), data: "x".into(), eof: false };
    assert!(client.refused(process, Body::ProcessStdin(hole)).await.contains("hole"));
    assert_eq!(client.ask(exec, exec_body(&["true"])).await, Body::Ok(Default::default()));
}

/// What clients write is not what the log says: no line of it begins as they like, nothing drives a terminal.
#[tokio::test]
async fn nothing_is_forged_in_the_log() {
    let agent = Agent::with(&["--log", "trace"]).await;
    let mut client = agent.client().await;
    let evil = "x\x1b[2J\r\nFORGED a line\u{9b}31m";
    let hello = Hello { username: evil.into(), ..Hello::default() };
    client.ask(0, Body::Hello(hello)).await;
    client.ask(0, Body::Debug(Debug { text: evil.into() })).await;
    client.ask(0, Raw::open_body(evil, "", Action::Create)).await;
    let channel = client.open("exec", evil).await;
    client.refused(channel, exec_body(&[evil])).await;
    let error = client.refused(channel, exec_body(&["sh", "-c", "exit 3"])).await;
    assert_eq!(error, "exit status 3");
    let process = client.open("process", "").await;
    let error = client.refused(process, Body::ProcessStart(process_start(&[evil]))).await;
    assert!(!error.contains('\x1b') && !error.contains('\n'), "{error:?}");
    let nowhere = ProcessStart { cwd: evil.into(), ..process_start(&["true"]) };
    let error = client.refused(process, Body::ProcessStart(nowhere)).await;
    assert!(!error.contains('\x1b') && !error.contains('\n'), "{error:?}");
    let log = agent.log();
    assert!(!log.contains('\x1b') && !log.contains('\u{9b}') && !log.contains('\r'), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
}

/// All that an exec prints until it stops, and how many bytes; `check` sees each piece.
async fn exec_output(client: &mut Peer, args: &[&str], mut check: impl FnMut(&str)) -> usize {
    let channel = client.open("exec", "").await;
    client.send(channel, exec_body(args)).await;
    let mut taken = 0;
    let stopped = Body::State(State::Stopped.into());
    client
        .until("the program stops", |command| {
            if let Some(text) = output_of(command, channel) {
                taken += text.len();
                check(text);
            }
            command.channel == channel && command.body.as_ref() == Some(&stopped)
        })
        .await;
    taken
}

#[tokio::test]
async fn a_program_that_closes_its_output_may_go_on() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let channel = client.open("exec", "").await;
    let answer = client.ask(channel, exec_body(&["bash", "-c", "exec >&- 2>&-; read line; exit 7"]));
    // It is not done when its output is.
    let early = tokio::time::timeout(std::time::Duration::from_secs(1), answer).await;
    assert!(early.is_err(), "{early:?}");
    client.type_in(channel, "a line\n").await;
    let stopped = Body::State(State::Stopped.into());
    let end = client
        .until("it is answered", |command| {
            assert!(command.body.as_ref() != Some(&stopped), "answered before it is said to have stopped");
            !command.r#ref.is_empty()
        })
        .await;
    assert_eq!(end.body, Some(Body::Error("exit status 7".into())));
}

#[tokio::test]
async fn output_that_never_ends_passes_through_exec_whole() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let bytes = size(300 * MIB, 3_000 * MIB);
    let (mut seen, mut half) = (0, 0);
    let script = format!("yes 0123456789 | head -c {bytes}");
    let taken = exec_output(&mut client, &["sh", "-c", &script], |text| {
        seen += text.len();
        if half == 0 && seen > bytes / 2 {
            half = agent.rss_bytes();
        }
    })
    .await;
    assert_eq!(taken, bytes);
    assert!(agent.rss_bytes() < half + SLACK_BYTES, "{} -> {}", half >> 20, agent.rss_bytes() >> 20);
}

/// FNV-1a over words: cheap enough for hundreds of megabytes in an unoptimized test.
fn hash(state: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.fold(state, |state, word| (state ^ word).wrapping_mul(0x0100_0000_01b3))
}

#[tokio::test]
async fn output_that_never_ends_passes_through_process_byte_for_byte() {
    let _alone = HEAVY.lock().await;
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    // A file of random bytes, many times over: any loss, doubling or swap changes the hash.
    let block = Rng::seeded("process").bytes(MIB);
    std::fs::write(agent.root().join("block"), &block).unwrap();
    let blocks = size(300, 3_000);
    let script = format!("for i in $(seq {blocks}); do cat block; done");
    let (mut expected_at, mut buffer, mut got, mut half) = (0, Vec::new(), 0, 0);
    let exited = run_program(&mut client, &["sh", "-c", &script], b"", |offset, data| {
        assert_eq!(offset, expected_at, "no hole and nothing twice");
        expected_at += data.len() as u64;
        buffer.extend_from_slice(data);
        while buffer.len() >= MIB {
            got = hash(got, &buffer[..MIB]);
            buffer.drain(..MIB);
        }
        if half == 0 && expected_at as usize > blocks * MIB / 2 {
            half = agent.rss_bytes();
        }
    })
    .await;
    assert_eq!((exited.status, exited.stdout_end), (Some(Status::Code(0)), (blocks * MIB) as u64));
    assert!(buffer.is_empty());
    assert_eq!(got, (0..blocks).fold(0, |state, _| hash(state, &block)));
    assert!(agent.rss_bytes() < half + SLACK_BYTES, "{} -> {}", half >> 20, agent.rss_bytes() >> 20);
}

#[tokio::test]
async fn binary_comes_back_equal_through_process() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let mut input: Vec<u8> = (0..=255).collect();
    input.extend(Rng::seeded("binary").bytes(3 * MIB));
    let mut output = Vec::new();
    run_program(&mut client, &["cat"], &input, |_, data| output.extend_from_slice(data)).await;
    assert!(output == input, "{} bytes back from {}", output.len(), input.len());
}

#[tokio::test]
async fn a_character_cut_between_reads_arrives_whole() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    // Four bytes, one at a time, with the reader awake in between.
    let script = r"for i in 1 2 3 4 5; do for b in 360 237 230 200; do printf \\$b; sleep 0.01; done; done; printf '\377\303'";
    let mut text = String::new();
    exec_output(&mut client, &["bash", "-c", script], |piece| text += piece).await;
    assert_eq!(text, format!("{}\u{fffd}\u{fffd}", "😀".repeat(5)));
}

#[tokio::test]
async fn programs_do_not_see_what_is_the_agent_s() {
    let secret = "a-secret-token-of-an-operator";
    let launch = Launch::new()
        .env("PID1_TOKEN", secret)
        .env("PID1_SECRET_ENV", "OTHER_SECRET")
        .env("OTHER_SECRET", "swordfish")
        .env("PID1_LOG", "debug")
        .env("PLAIN", "seen");
    let agent = launch.start().await;
    let mut client = agent.client_as(secret).await;
    let mut seen = String::new();
    exec_output(&mut client, &["env"], |text| seen += text).await;
    let shell = client.shell("").await;
    seen += &client.shell_run(shell, "env").await;
    let mut output = Vec::new();
    run_program(&mut client, &["env"], b"", |_, data| output.extend_from_slice(data)).await;
    seen += &String::from_utf8_lossy(&output);
    assert_eq!(seen.matches("PLAIN=seen").count(), 3, "{seen}");
    for hidden in ["PID1_", "swordfish", secret] {
        assert!(!seen.contains(hidden), "{hidden} in {seen}");
    }
}

/// The agent raises its own limit of descriptors; programs get the one the agent was started with. They inherit no
/// descriptor, and no signal is blocked or ignored.
#[tokio::test]
async fn programs_start_with_what_the_agent_was_given() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(Raw::open(&agent).await);
    }
    let ours = |what: &str| {
        let output = std::process::Command::new("sh").args(["-c", what]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let mut text = String::new();
    let script = "ulimit -Sn; ulimit -Hn; ls /proc/self/fd | wc -l; \
                  grep -E '^Sig(Blk|Ign)' /proc/self/status";
    exec_output(&mut client, &["sh", "-c", script], |piece| text += piece).await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(&lines[..2], [ours("ulimit -Sn"), ours("ulimit -Hn")]);
    // Three, and the one that `ls` has on the folder.
    assert_eq!(lines[2].trim(), "4", "{text}");
    for line in &lines[3..] {
        let mask = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        // 32 and 33 are the C library's own; its posix_spawn leaves them ignored.
        assert_eq!(mask & !(0b11 << 31), 0, "{text}");
    }
}
