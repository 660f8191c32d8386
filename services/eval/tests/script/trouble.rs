//! Interpreters that end, say nonsense, say nothing, or are not there.

use std::os::unix::fs::PermissionsExt;

use pid1_sdk::channel::Leave;

use super::*;

/// A channel whose Python is this script of bash.
async fn instead_of_python(script: &str) -> (TestChannel, TestMember) {
    let (channel, member) = in_language("python").await;
    let folder = channel.root().join("bin");
    std::fs::create_dir(&folder).expect("the workspace is ours");
    let program = folder.join("python3");
    std::fs::write(&program, format!("#!/bin/bash\n{script}\n")).expect("it is new");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let env = vec![("PATH".into(), path.into())];
    channel.engine().set_settings(Settings { env, ..Settings::default() });
    (channel, member)
}

#[tokio::test]
async fn an_interpreter_that_ends_fails_what_it_was_doing_and_there_is_a_new_one() {
    let (channel, mut member) = in_language("python").await;
    let mut other = channel.join(Role::Editor).await;
    for (how, said) in [
        ("import os; print('last words'); os._exit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "signal: killed"),
        ("import ctypes; ctypes.string_at(0)", "signal: segmentation fault"),
        ("import os, time; os.close(201); time.sleep(1000)", "it has closed descriptor 201"),
        ("import os; os.write(201, b'what?\\n')", "something else than messages"),
    ] {
        assert_eq!(member.ask(eval("x = 1")).await, result(""));
        let text = error_of(&mut member, how).await;
        assert!(text.contains(said) && text.contains("its state is lost"), "{how}: {text}");
        let Body::Hint(hint) = other.until(|body| matches!(body, Body::Hint(_))).await else { panic!() };
        assert_eq!(hint.text, text);
        let text = error_of(&mut member, "x").await;
        assert!(text.contains("NameError"), "{how}: {text}");
    }
    // While nothing is evaluated, all are told.
    let later = "import os, threading; threading.Timer(0.01, os._exit, [4]).start()";
    assert_eq!(member.ask(eval(later)).await, result(""));
    let Body::Hint(hint) = member.until(|body| matches!(body, Body::Hint(_))).await else { panic!() };
    assert!(hint.text.contains("exit status 4"), "{}", hint.text);
    assert_eq!(member.ask(eval("1")).await, result("1"));
}

#[tokio::test]
async fn nonsense_and_an_early_end_are_errors() {
    for (script, said) in [
        ("echo hello >&201; sleep 1000", "something else than messages"),
        ("echo sorry; exit 7", "cannot be used (exit status 7)"),
        ("exec 201>&-; sleep 1000", "it has closed descriptor 201"),
    ] {
        let (channel, mut member) = instead_of_python(script).await;
        for _ in 0..2 {
            let text = error_of(&mut member, "1").await;
            assert!(text.contains(said), "{script}: {text}");
        }
        member.leave(Leave::Close).await;
        channel.freed().await;
    }
}

#[tokio::test]
async fn what_the_agent_does_not_know_is_ignored_and_answers_that_nobody_asked_for_too() {
    let script = r#"
        echo '{"command":"result","data":"early"}' >&201
        echo '{"command":"greeting","data":{"a":1}}' >&201
        echo '{"command":"ready"}' >&201
        echo '{"command":"ready"}' >&201
        while read -r line <&200; do echo '{"command":"result","data":"\ud800","error":null,"more":[]}' >&201; done"#;
    let (_channel, mut member) = instead_of_python(script).await;
    for _ in 0..3 {
        let Body::Result(text) = member.ask(eval("1")).await else { panic!() };
        assert!(text.starts_with('\u{fffd}'), "{text:?}");
    }
}

#[tokio::test]
async fn a_forged_answer_takes_the_place_of_one_and_not_of_those_after_it() {
    let (_channel, mut member) = in_language("python").await;
    for forged in ["{}", "{'id': 1}"] {
        let source = format!(
            "import os, json\nos.write(201, (json.dumps({{'command': 'result', 'data': 'forged'}} | {forged}) + '\\n').encode())\n'A'"
        );
        member.send(eval(&source)).await;
        assert!(matches!(member.until(|body| matches!(body, Body::Result(_))).await, Body::Result(_)));
        for n in 0..3 {
            assert_eq!(member.ask(eval(&n.to_string())).await, result(&n.to_string()), "{forged}");
        }
    }
}

/// Neither makes the agent hold much, or the channel stand still.
#[tokio::test]
async fn floods_and_silence_on_the_line_hold_nobody_up() {
    let endless = "echo '{\"command\":\"ready\"}' >&201; tr '\\0' x </dev/zero >&201";
    let chatter = "echo '{\"command\":\"ready\"}' >&201; yes '{\"command\":\"ready\"}' >&201";
    let deaf = "echo '{\"command\":\"ready\"}' >&201; sleep 1000";
    for script in [endless, chatter, deaf] {
        let (_channel, mut member) = instead_of_python(script).await;
        member.send(eval(&"x".repeat(4 << 20))).await;
        for _ in 0..20 {
            assert_eq!(member.ask(input("still here")).await, Body::Ok(Default::default()));
        }
        assert_eq!(member.ask(CLEAR).await, Body::Ok(Default::default()));
        let Body::Error(text) = member.until(|body| matches!(body, Body::Error(_))).await else { panic!() };
        assert!(text.starts_with("eval: stopped by session "), "{text}");
        member.until(|body| *body == STOPPED).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_interpreter_that_is_never_ready_is_given_up_with_all_that_waits() {
    let (channel, mut member) = instead_of_python("sleep 1000").await;
    member.send(eval("1")).await;
    let text = error_of(&mut member, "2").await;
    assert!(text.contains("it was not ready within 15s"), "{text}");
    tokio::time::resume();
    member.leave(Leave::Close).await;
    channel.freed().await;
}

#[tokio::test]
async fn a_missing_interpreter_and_an_unknown_language_are_named() {
    let (channel, mut member) = in_language("").await;
    let env = vec![("PATH".into(), channel.root().into())];
    channel.engine().set_settings(Settings { env, ..Settings::default() });
    let text = error_of(&mut member, "1").await;
    assert_eq!(
        text,
        "eval: python is not installed here: \"python3\" is in no folder of $PATH; install the package python3 or add \
         the folder it is in"
    );
    channel.engine().set_settings(Settings { language: "cobol".into(), ..Settings::default() });
    let text = error_of(&mut member, "1").await;
    assert_eq!(text, "eval: there is nothing that evaluates \"cobol\", only javascript and python");
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let (_channel, mut member) = in_language("python").await;
    let text = error_of(&mut member, &"x".repeat(pid1_sdk::limits::EVAL_QUEUE_BYTES + 1)).await;
    assert!(text.ends_with("bytes of source are too much, with 0 bytes waiting"), "{text}");
    member.send(eval("input()")).await;
    for _ in 0..pid1_sdk::limits::EVAL_QUEUE {
        member.send(eval("")).await;
    }
    let text = error_of(&mut member, "1").await;
    assert_eq!(text, "eval: 1024 evaluations are waiting already");
}
