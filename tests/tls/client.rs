//! `pid1 exec`, `attach` and `toast` by TLS: all is as without it.

use std::fs::{self, File};

use pid1_sdk::api::command::Body;

use super::{exec, exec_believing, pid1, refused, said, secure_agent, text};
use crate::support::{Agent, HEAVY, Proxy, Rng, SOON, Screen, eventually};

/// The agent by way of a proxy that knows nothing of what passes.
fn through(proxy: &Proxy, agent: &Agent) -> String {
    proxy.url(agent.token()).replace("http://", "https://")
}

#[tokio::test]
async fn a_command_is_as_if_it_ran_here() {
    let agent = secure_agent().await;
    let (path, random) = (agent.root().join("random"), Rng::seeded("tls").bytes(3 << 20));
    fs::write(&path, &random).unwrap();
    let mut run = exec_believing(&agent.ca(), agent.url(), &["sh", "-c", "cat; echo said >&2; exit 7"]);
    let output = run.stdin(File::open(&path).unwrap()).output().unwrap();
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(7), "said\n"));
    assert!(output.stdout == random, "{} bytes came back", output.stdout.len());
    // The other form of the URL, and the file in a variable.
    let url = format!("wss://{}/wsv2/{}", agent.address(), agent.token());
    for url in [url, agent.url().replace("127.0.0.1", "localhost")] {
        let output = exec(&url, &[], &["echo", "here"]).env("PID1_TLS_CA", agent.ca()).output().unwrap();
        assert_eq!(output.stdout, b"here\n", "{}", said(&output));
    }
    let output = pid1(&["toast", "--tls-ca", text(&agent.ca()), agent.url(), "a word"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[tokio::test]
async fn all_is_whole_over_a_network_that_breaks() {
    let _alone = HEAVY.lock().await;
    let agent = secure_agent().await;
    let (path, random) = (agent.root().join("random"), Rng::seeded("tls").bytes(4 << 20));
    fs::write(&path, &random).unwrap();
    let proxy = Proxy::to(agent.address());
    proxy.cut_after(900_001, 6);
    let mut run = exec_believing(&agent.ca(), &through(&proxy, &agent), &["sh", "-c", "cat; exit 5"]);
    let output = run.stdin(File::open(&path).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(output.stdout == random, "{} bytes came back", output.stdout.len());
    assert!(proxy.cuts() >= 4, "{} cuts", proxy.cuts());
}

#[tokio::test]
async fn a_terminal_is_found_again() {
    let agent = secure_agent().await;
    let proxy = Proxy::to(agent.address());
    let (url, log, ca) = (through(&proxy, &agent), agent.root().join("log"), agent.ca());
    let script = "echo READY; read a; echo \"[$a]\"; read b; echo \"<$b>\"; exit 4";
    let mut screen = Screen::run(&["attach", "--tls-ca", text(&ca), &url, "--", "sh", "-c", script], &log);
    screen.until("READY").await;
    screen.type_in(b"first\r");
    screen.until("[first]").await;
    proxy.down();
    let heard = || fs::read_to_string(&log).unwrap().contains("connecting again");
    eventually("it says so", SOON, heard).await;
    screen.type_in(b"second\r");
    proxy.up();
    screen.until("<second>").await;
    assert_eq!(screen.status().await, 4, "{}", fs::read_to_string(&log).unwrap());
}

/// Who has moved says where to: by TLS anywhere, without it no further than this machine.
#[tokio::test]
async fn a_redirect_costs_nobody_his_tls() {
    let token = ["--token", super::TOKEN];
    let agent = Agent::with(&[&token[..], &["--tls-self-signed"]].concat()).await;
    let secure = format!("wss://{}", agent.address());
    let old = Agent::with(&[&token[..], &["--moved-to", &secure]].concat()).await;
    let url = format!("http://{}/#token={}", old.address(), super::TOKEN);
    let output = exec_believing(&agent.ca(), &url, &["pwd"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), text(&agent.root().canonicalize().unwrap()));
    refused(exec(&url, &[], &["pwd"]), super::TOKEN, &["--tls-ca"]);
    // The other way.
    let plain = Agent::with(&token).await;
    for (to, followed) in [(plain.address().to_string(), true), ("203.0.113.1:9".to_owned(), false)] {
        let to = format!("ws://{to}");
        let old = Agent::with(&[&token[..], &["--tls-self-signed", "--moved-to", &to]].concat()).await;
        let url = format!("https://{}/#token={}", old.address(), super::TOKEN);
        let mut run = exec_believing(&old.ca(), &url, &["pwd"]);
        if followed {
            let output = run.output().unwrap();
            let place = plain.root().canonicalize().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), text(&place));
        } else {
            refused(run, super::TOKEN, &["203.0.113.1:9", "without TLS"]);
        }
    }
}

/// One that is there, and one that is not, on connections that say nothing of it themselves.
#[tokio::test]
async fn who_is_silent_is_gone() {
    let agent = Agent::with(&["--tls-self-signed", "--ping-interval", "0.5"]).await;
    // Who reads answers pings; this one does not.
    let _silent = agent.client().await;
    let mut alive = agent.client().await;
    let channel = alive.open("exec", "").await;
    let gone = || agent.log().contains("the client is silent");
    let waiting = eventually("the silent one is gone", SOON, gone);
    tokio::select! {
        () = waiting => {}
        _ = alive.until("nothing", |_| false) => {}
    }
    assert_eq!(agent.log().matches("session ends").count(), 1, "{}", agent.log());
    alive.send(channel, Body::Ping(Default::default())).await;
    alive.ping().await;
}
