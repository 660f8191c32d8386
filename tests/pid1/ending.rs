//! How process 1 ends: all who listen are told, all who run are asked, in time, whatever they do.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use pid1_sdk::api::{command::Body, container_state};

use super::first::{First, daemon, exec, run_script, witness};
use super::inits::{children, send};
use crate::support::{HEAVY, LATE, Launch, Raw, SOON, Screen, eventually, named, size, within};

/// Ignores what it is asked by.
const DEAF: &str = "trap '' TERM HUP INT; while :; do sleep 8811; done";

/// Reads to the end: told with words, told as the protocol has it, then closed in order.
async fn sees_the_end(raw: &mut Raw) {
    let (mut toast, mut sleep) = (false, false);
    while let Some(command) = raw.next().await {
        match command.body {
            Some(Body::Toast(said)) => toast |= said.text.contains("stopping"),
            Some(Body::ContainerState(state)) => sleep |= state.state() == container_state::State::Sleep,
            _ => {}
        }
    }
    assert!(toast && sleep, "toast {toast}, containerState SLEEP {sleep}");
    assert_eq!(raw.closed.as_ref().map(|(code, _)| *code), Some(1001), "{:?}", raw.closed);
}

#[tokio::test]
async fn term_under_load_ends_all_in_order_and_in_time() {
    let _alone = HEAVY.lock().await;
    let shells = size(30, 100);
    let mut first = First::start(&["--stop-grace", "2"]).await;
    let root = first.agent.root();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Raw::open(&first.agent).await);
    }
    let members = clients.len();
    for at in 0..shells {
        let raw = &mut clients[at % members];
        let shell = raw.open_channel("shell", &format!("shell {at}")).await;
        raw.command(shell, "", Some(Body::Input("yes\n".into()))).await.unwrap();
    }
    let deaf_daemon = daemon(DEAF);
    for script in [DEAF, &deaf_daemon, &witness("one"), &witness("two")] {
        let channel = clients[0].open_channel("exec", "").await;
        clients[0].command(channel, "", Some(exec(&["bash", "-c", script]))).await.unwrap();
    }
    let mut begin = Instant::now();
    let signalled = async {
        eventually("all floods run", LATE, || named(&first.agent.programs(), "yes").len() == shells).await;
        eventually("daemons run", SOON, || root.join("one-up").exists() && root.join("two-up").exists())
            .await;
        eventually("the deaf run", SOON, || named(&first.agent.programs(), "sleep 8811").len() >= 2).await;
        begin = Instant::now();
        first.signal(Signal::SIGTERM);
    };
    let all = futures_util::future::join_all(clients.iter_mut().map(sees_the_end));
    within("all see the end", LATE, async { tokio::join!(all, signalled) }).await;
    assert_eq!(first.agent.ended().await.code(), Some(0));
    let took = begin.elapsed();
    eprintln!("{shells} floods: ended after {took:?}");
    // The grace of the deaf, that of their daemons, and a few seconds.
    assert!(took < Duration::from_secs(2 + 1 + 7), "{took:?}");
    assert_eq!(first.agent.programs(), [0; 0], "nothing is left");
    assert!(root.join("one-told").exists() && root.join("two-told").exists(), "daemons are asked first");
    let log = first.agent.log();
    assert!(!log.contains("gave up") && !log.contains("outlives"), "{log}");
}

#[tokio::test]
async fn a_second_term_shortens_the_grace() {
    let main = ["--", "bash", "-c", "trap '' TERM; echo ready; while :; do sleep 8812; done"];
    for (main, code) in [(&[][..], 0), (&main, 137)] {
        let mut first = First::start(&[&["--stop-grace", "30"], main].concat()).await;
        let mut client = first.agent.client().await;
        run_script(&mut client, DEAF).await;
        run_script(&mut client, &daemon(DEAF)).await;
        eventually("they run", SOON, || named(&first.agent.programs(), "sleep 8811").len() >= 2).await;
        if !main.is_empty() {
            eventually("it runs", SOON, || first.agent.printed() == b"ready\n").await;
        }
        first.signal(Signal::SIGTERM);
        eventually("it has begun to stop", SOON, || first.agent.log().contains("stopping")).await;
        let begin = Instant::now();
        first.signal(Signal::SIGTERM);
        assert_eq!(first.agent.ended().await.code(), Some(code));
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert_eq!(first.agent.programs(), [0; 0]);
    }
}

/// As `docker exec -it` would: a shell on a terminal that nobody in the container has opened. It ignores TERM.
#[tokio::test]
async fn a_shell_that_was_brought_in_from_outside_does_not_use_up_the_grace() {
    let mut first = First::start(&["--stop-grace", "60"]).await;
    let pid = first.pid.to_string();
    let words = ["nsenter", "--target", &pid, "--pid", "--mount", "bash", "--norc", "-i"];
    let mut shell = Screen::of(&words.map(PathBuf::from), Path::new("/dev/null"));
    shell.type_in(b"echo here$((1+1))\n");
    shell.until("here2").await;
    let begin = Instant::now();
    first.signal(Signal::SIGTERM);
    assert_eq!(first.agent.ended().await.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

/// The kernel drops what process 1 has no handler for, and the agent begins with other things.
#[tokio::test]
async fn a_term_that_comes_while_it_begins_is_not_lost() {
    for (main, code) in [(&[][..], 0), (&["--", "sleep", "1000"], 143)] {
        let launch = Launch::new();
        let token = launch.home().join("token");
        mkfifo(&token, Mode::S_IRWXU).unwrap();
        let launch = launch.env("HIDDEN", "so it starts itself anew").first();
        let launch =
            launch.flags(&["--secret-env", "HIDDEN", "--token-file", token.to_str().unwrap()]).flags(main);
        let mut starter = Killed(launch.command().stdin(Stdio::null()).spawn().unwrap());
        // Opened as soon as the agent reads it.
        let open = tokio::task::spawn_blocking(move || OpenOptions::new().write(true).open(token));
        let mut token = within("the agent reads its token", SOON, open).await.unwrap().unwrap();
        send(children(starter.0.id() as i32)[0], Signal::SIGTERM as i32);
        token.write_all(b"a token of 16 bytes and more\n").unwrap();
        drop(token);
        let mut status = None;
        eventually("it ends", SOON, || {
            status = starter.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert_eq!(status.unwrap().code(), Some(code));
    }
}

/// With all that it has started, whatever the test comes to.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
