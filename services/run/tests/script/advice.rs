//! What is advised on what programs print.

use std::fs;

use pid1_run::Run;
use pid1_sdk::Role;
use pid1_sdk::api::{Ok as Done, RunMain, command::Body};
use pid1_sdk::testing::{TestChannel, TestMember};

use super::{RUNNING, STOPPED, run_main, state};

#[tokio::test]
async fn advice_goes_with_the_output() {
    let channel = TestChannel::open::<Run>(Some("runner"));
    fs::write(channel.root().join("main.py"), "import a_package_that_is_not_there\n").expect("written");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    let hint = editor.until(|body| matches!(body, Body::Hint(_))).await;
    assert!(
        matches!(&hint, Body::Hint(hint) if hint.text.contains("a_package_that_is_not_there")),
        "{hint:?}"
    );
}

async fn hint(member: &mut TestMember) -> String {
    let Body::Hint(hint) = member.until(|body| matches!(body, Body::Hint(_))).await else { unreachable!() };
    hint.text
}

#[tokio::test]
async fn a_run_is_advised_on_what_it_prints_itself() {
    let channel = TestChannel::open::<Run>(Some("runner"));
    let mut editor = channel.join(Role::Editor).await;
    for (line, wanted) in [
        ("echo bad one", Some("saw one")),
        ("echo good; exit 1", None),
        ("echo bad three; exit 1", Some("saw three")),
    ] {
        let hints = "[[hints]]\nregex = \"bad (.*)\"\nmessage = \"saw $1\"\n";
        fs::write(channel.root().join(".replit"), format!("run = \"{line}\"\n{hints}")).expect("written");
        assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
        // The hint comes first, but where the machine is very busy.
        let (mut hint, mut ended) = (None, false);
        state(&mut editor, &RUNNING).await;
        while !ended || hint.is_some() != wanted.is_some() {
            match editor.next().await {
                Body::Hint(said) => hint = Some(said.text),
                body => ended |= body == STOPPED,
            }
        }
        assert_eq!(hint.as_deref(), wanted);
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_advised_on() {
    let channel = TestChannel::open::<Run>(Some("runner"));
    let hints = "[[hints]]\nregex = '\"(.*)\": executable file not found'\nmessage = \"install $1\"\n";
    fs::write(channel.root().join(".replit"), format!("run = [\"not-there\"]\n{hints}")).expect("written");
    let mut editor = channel.join(Role::Editor).await;
    assert!(matches!(editor.ask(run_main()).await, Body::Error(text) if text.contains("not-there")));
    assert_eq!(hint(&mut editor).await, "install not-there");
    // Whoever shows that it starts is to know that it has not.
    assert_eq!(editor.next().await, STOPPED);
    let long = RunMain { file_path: "a".repeat(1 << 20), ..RunMain::default() };
    assert!(matches!(editor.ask(Body::RunMain(long)).await, Body::Error(text) if text.len() < 200));
}

#[tokio::test]
async fn of_very_many_hints_the_first_are_looked_for() {
    let channel = TestChannel::open::<Run>(Some("runner"));
    let hints: String =
        (0..2_000).map(|n| format!("[[hints]]\nregex = \"^n{n}$\"\nmessage = \"saw {n}\"\n")).collect();
    let run = "run = \"echo n1999; echo n64; echo n63\"\n";
    fs::write(channel.root().join(".replit"), format!("{run}{hints}")).expect("written");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    assert_eq!(hint(&mut editor).await, "saw 63");
}
