//! Stop, what it reaches, and Run behind it.

use std::fs;
use std::time::Duration;

use pid1_run::Run;
use pid1_sdk::Role;
use pid1_sdk::api::{Clear, Ok as Done, command::Body};
use pid1_sdk::testing::TestMember;
use tokio::time::{sleep, timeout};

use super::{RUNNING, STOPPED, project, run_main, state};

#[tokio::test]
async fn what_runs_is_stopped_with_all_it_has_started_and_runs_again() {
    let channel = project::<Run>("sleep 1000 & echo up; wait");
    let mut editor = channel.join(Role::Editor).await;
    for _ in 0..3 {
        assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
        state(&mut editor, &RUNNING).await;
        editor.until_output("up\r\n").await;
        assert_eq!(editor.ask(Body::Clear(Clear {})).await, Body::Ok(Done {}));
        state(&mut editor, &STOPPED).await;
        for process in channel.engine().processes().list() {
            process.stopped().await;
            assert!(!process.left_anything().await);
        }
    }
    // Nothing of the past is left but what came since.
    assert_eq!(editor.ask(Body::Clear(Clear {})).await, Body::Ok(Done {}));
    let mut late = channel.join(Role::Editor).await;
    assert_eq!(late.next().await, STOPPED);
}

/// Looks again and again until there is something.
async fn eventually<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let look = async {
        loop {
            match found() {
                Some(found) => return found,
                None => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(Duration::from_secs(20), look).await.expect("in time")
}

/// A program that takes a while to end.
const SLOW: &str = "trap 'sleep 1; exit' HUP; echo up; while :; do sleep 0.05; done";

#[tokio::test]
async fn run_behind_stop_is_one_run_and_stop_behind_that_none() {
    let channel = project::<Run>(SLOW);
    let (mut editor, mut other) = (channel.join(Role::Editor).await, channel.join(Role::Editor).await);
    let started = || channel.engine().processes().list().len();
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    editor.until_output("up\r\n").await;
    editor.send(Body::Clear(Clear {})).await;
    editor.send(run_main()).await;
    assert_eq!(other.ask(run_main()).await, Body::Ok(Done {}));
    state(&mut editor, &STOPPED).await;
    state(&mut editor, &RUNNING).await;
    editor.until_output("up\r\n").await;
    assert_eq!(started(), 2);

    assert_eq!(editor.ask(Body::Clear(Clear {})).await, Body::Ok(Done {}));
    editor.send(run_main()).await;
    assert_eq!(editor.ask(Body::Clear(Clear {})).await, Body::Ok(Done {}));
    state(&mut editor, &STOPPED).await;
    // Nothing that waited has begun.
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    editor.until_output("up\r\n").await;
    assert_eq!(started(), 3);
}

/// Whether a process runs.
fn alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

/// The pid that a program has printed, between two `=`.
async fn pid(member: &mut TestMember) -> String {
    let said = member.until_output("=\r\n").await;
    said.split('=').nth(1).expect("a pid").to_owned()
}

#[tokio::test]
async fn what_a_run_has_left_is_gone_before_the_next_begins() {
    let channel = project::<Run>("trap '' HUP; sh left.sh & read line");
    let left = "trap 'sleep 0.5; exit' CONT; echo =$$=; while :; do sleep 0.05; done";
    fs::write(channel.root().join("left.sh"), left).expect("written");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.next().await, STOPPED);
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    let first = pid(&mut editor).await;
    editor.send(Body::Input("\r".into())).await;
    state(&mut editor, &STOPPED).await;
    assert!(alive(&first));
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    state(&mut editor, &RUNNING).await;
    assert!(!alive(&first));
    // And before a stop is told to be done.
    let second = pid(&mut editor).await;
    editor.send(Body::Input("\r".into())).await;
    state(&mut editor, &STOPPED).await;
    editor.send(Body::Clear(Clear {})).await;
    state(&mut editor, &STOPPED).await;
    assert!(!alive(&second));
}

/// As when any terminal is closed: who does not ignore that ends, and who has a session of its own is not told.
#[tokio::test]
async fn what_a_run_leaves_is_hung_up() {
    let channel = project::<Run>("setsid sh far.sh & sleep 1000 & echo =$!=; read line");
    let far = "echo $$ > far; while [ ! -e enough ]; do sleep 0.05; done";
    fs::write(channel.root().join("far.sh"), far).expect("written");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    let near = pid(&mut editor).await;
    let far = eventually(|| {
        let pid = fs::read_to_string(channel.root().join("far")).ok()?;
        pid.ends_with('\n').then(|| pid.trim().to_owned())
    });
    let far = far.await;
    editor.send(Body::Input("\r".into())).await;
    eventually(|| (!alive(&near)).then_some(())).await;
    state(&mut editor, &STOPPED).await;
    fs::write(channel.root().join(".replit"), "run = \"echo again\"\n").expect("written");
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    editor.until_output("again\r\n").await;
    assert!(alive(&far));
    fs::write(channel.root().join("enough"), "").expect("written");
    eventually(|| (!alive(&far)).then_some(())).await;
}

#[tokio::test]
async fn stopping_reaches_what_has_a_session_of_its_own() {
    let channel = project::<Run>("setsid sleep 1000 & echo =$!=; wait");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.next().await, STOPPED);
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    let far = pid(&mut editor).await;
    assert!(alive(&far));
    editor.send(Body::Clear(Clear {})).await;
    state(&mut editor, &STOPPED).await;
    assert!(!alive(&far));
}
