//! The service as a script of what members send and get.

use pid1_exec::Exec;
use pid1_sdk::Role;
use pid1_sdk::api::{Exec as Run, Ok as Done, State, command::Body};
use pid1_sdk::channel::Leave;
use pid1_sdk::testing::{TestChannel, TestMember, conformance};

const RUNNING: Body = Body::State(State::Running as i32);
const STOPPED: Body = Body::State(State::Stopped as i32);
const OK: Body = Body::Ok(Done {});

fn run(args: &[&str]) -> Body {
    Body::Exec(Run { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Run::default() })
}

fn sh(script: &str) -> Body {
    run(&["sh", "-c", script])
}

/// What `state` and `output` say from here to the end of one run, output joined.
async fn one_run(member: &mut TestMember) -> (Body, String, Body) {
    let begin = member.next().await;
    let mut output = String::new();
    loop {
        match member.next().await {
            Body::Output(text) => output += &text,
            end => return (begin, output, end),
        }
    }
}

#[tokio::test]
async fn a_run_is_told_from_begin_to_end() {
    let channel = TestChannel::open::<Exec>(None);
    let mut member = channel.join(Role::Editor).await;
    assert_eq!(member.ask(sh("printf 'é%s' \"$PWD\"; exit 0")).await, OK);
    let expected = format!("é{}", channel.root().display());
    assert_eq!(one_run(&mut member).await, (RUNNING, expected, STOPPED));
    assert_eq!(member.ask(sh("exit 3")).await, Body::Error("exit status 3".into()));
    assert_eq!(member.ask(sh("kill -9 $$")).await, Body::Error("signal: killed".into()));
    let missing = "exec: \"no-such-program\": executable file not found in $PATH";
    assert_eq!(member.ask(run(&["no-such-program"])).await, Body::Error(missing.into()));
    assert_eq!(member.ask(run(&[])).await, Body::Error("exec: args is empty: nothing to run".into()));
}

#[tokio::test]
async fn requests_queue_and_input_goes_to_the_one_that_runs() {
    let channel = TestChannel::open::<Exec>(None);
    let mut member = channel.join(Role::Editor).await;
    let nothing = Body::Error("exec: nothing is running on this channel".into());
    assert_eq!(member.ask(Body::Input("x".into())).await, nothing);
    member.send(run(&["cat"])).await;
    member.send(sh("echo second")).await;
    member.send(Body::Input("first ".into())).await;
    member.send(Body::Input("of two".into())).await;
    member.send(Body::InputClose(())).await;
    assert_eq!(one_run(&mut member).await, (RUNNING, "first of two".into(), STOPPED));
    assert_eq!(one_run(&mut member).await, (RUNNING, "second\n".into(), STOPPED));
}

#[tokio::test]
async fn stderr_is_split_off_when_asked() {
    let channel = TestChannel::open::<Exec>(None);
    let mut member = channel.join(Role::Editor).await;
    let args = ["sh", "-c", "echo out; echo err >&2"].map(str::to_owned).to_vec();
    let split = Body::Exec(Run { args, split_stderr: true, ..Run::default() });
    assert_eq!(member.ask(split).await, OK);
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(member.next().await);
    }
    assert!(seen.contains(&Body::Output("out\n".into())) && seen.contains(&Body::Stderr("err\n".into())));
}

#[tokio::test]
async fn closing_ends_the_whole_tree() {
    let channel = TestChannel::open::<Exec>(None);
    let mut member = channel.join(Role::Editor).await;
    member.send(sh("trap '' TERM; sleep 1000 & echo started; wait; sleep 1000")).await;
    member.until_output("started").await;
    member.leave(Leave::Close).await;
    channel.ended().await;
    let stopped = async {
        for process in channel.engine().processes().list() {
            process.stopped().await;
        }
    };
    assert!(tokio::time::timeout(std::time::Duration::from_secs(20), stopped).await.is_ok());
    assert_eq!(channel.engine().processes().live(), 0);
}

#[tokio::test]
async fn it_keeps_the_promises_of_every_service() {
    conformance::<Exec>(&[run(&["yes"])]).await;
}

/// A paste in pieces; what of it was taken.
async fn paste(member: &mut TestMember, pieces: usize) -> String {
    let mut taken = String::new();
    for piece in 0..pieces {
        let text = format!("{piece:>79}\n").repeat(640);
        let answer = member.ask(Body::Input(text.clone())).await;
        if answer == OK {
            taken += &text;
        } else {
            let told = matches!(&answer, Body::Error(why) if why.contains("stop the program, or wait until it reads"));
            assert!(told, "{answer:?}");
        }
    }
    taken
}

#[tokio::test]
async fn a_program_that_does_not_read_holds_up_nobody_and_gets_what_was_taken() {
    let channel = TestChannel::open::<Exec>(Some("shared"));
    let (mut one, mut other) = (channel.join(Role::Editor).await, channel.join(Role::Editor).await);
    one.send(sh("until [ -e go ]; do sleep 0.01; done; cat > got; echo done")).await;
    let mut taken = paste(&mut one, 20).await;
    let refused = other.ask(Body::Input("x".into())).await;
    assert!(matches!(&refused, Body::Error(why) if why.contains("does not read")), "{refused:?}");
    std::fs::write(channel.root().join("go"), "").expect("written");
    // It reads again: as before, nothing is refused.
    while other.ask(Body::Input("last\n".into())).await != OK {}
    taken += "last\n";
    taken += &paste(&mut one, 20).await;
    one.send(Body::InputClose(())).await;
    other.until_output("done").await;
    assert!(std::fs::read_to_string(channel.root().join("got")).expect("written") == taken);
}

#[tokio::test]
async fn a_slow_reader_gets_every_byte() {
    let channel = TestChannel::open::<Exec>(Some("shared"));
    let mut member = channel.join(Role::Editor).await;
    member
        .send(sh("while [ $(head -c 700000 | tee -a got | wc -c) != 0 ]; do sleep 1; done; echo done"))
        .await;
    let taken = paste(&mut member, 60).await;
    assert_eq!(taken.len(), 60 * 51_200);
    member.send(Body::InputClose(())).await;
    member.until_output("done").await;
    assert!(std::fs::read_to_string(channel.root().join("got")).expect("written") == taken);
}
