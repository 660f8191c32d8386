//! Members, order, queue, and the life of an interpreter.

use futures_util::FutureExt;
use pid1_sdk::channel::Leave;

use super::*;

#[tokio::test]
async fn all_that_was_printed_comes_before_the_result() {
    let (_channel, mut member) = in_language("python").await;
    let flood = "import sys\nfor n in range(40): sys.stdout.write(str(n % 10) * 50_000); sys.stderr.write('e')\n'done'";
    for _ in 0..5 {
        member.send(eval(flood)).await;
        let (output, others) = one_turn(&mut member).await;
        assert_eq!(others, [RUNNING, result("'done'")]);
        assert_eq!(output.len(), 40 * 50_001);
    }
    // Nor is it put off by somebody who prints without end.
    let noise = "import threading\ndef noise():\n    while True: print('noise' * 1000)\nthreading.Thread(target=noise, daemon=True).start()";
    assert_eq!(member.ask(eval(noise)).await, result(""));
    assert_eq!(member.ask(eval("print('here'); 1")).await, result("1"));
}

#[tokio::test]
async fn members_share_output_and_state_and_only_who_asks_is_answered() {
    let channel = channel();
    let mut viewer = channel.join(Role::Viewer).await;
    assert!(channel.engine().processes().list().is_empty());
    let mut one = channel.join(Role::Editor).await;
    let mut two = channel.join(Role::Editor).await;
    assert!(channel.engine().processes().list().is_empty(), "nothing runs before the first evaluation");
    for refused in [eval("1"), input("x"), CLEAR] {
        let Body::Error(text) = viewer.ask(refused).await else { panic!("a viewer was not refused") };
        assert!(text.contains("needs the role editor"), "{text}");
    }
    assert_eq!(one.ask(input("x")).await, Body::Error("eval: nothing is running on this channel".into()));
    assert_eq!(one.ask(eval("print('hello'); x = 1; x")).await, result("1"));
    assert_eq!(two.ask(eval("x + 1")).await, result("2"));
    for other in [&mut one, &mut two, &mut viewer] {
        let (output, others) = one_turn(other).await;
        assert_eq!((output.as_str(), others.as_slice()), ("hello\n", &[RUNNING][..]));
    }
    // Without a ref, too, as old clients ask.
    one.send(eval("x + 2")).await;
    assert_eq!(one.until(|body| matches!(body, Body::Result(_))).await, result("3"));
}

#[tokio::test]
async fn input_goes_to_the_program_and_evaluations_wait_for_their_turn() {
    let (channel, mut member) = in_language("python").await;
    member.send(eval("name = input('name? ')")).await;
    member.send(eval("name.upper()")).await;
    member.until_output("name? ").await;
    let mut late = channel.join(Role::Editor).await;
    assert_eq!(late.next().await, RUNNING, "a newcomer is told");
    member.send(input("Ada\n")).await;
    assert_eq!(member.until(|body| matches!(body, Body::Result(_))).await, result(""));
    assert_eq!(member.until(|body| matches!(body, Body::Result(_))).await, result("'ADA'"));
}

#[tokio::test]
async fn clear_stops_what_runs_and_what_waits_and_begins_anew() {
    let (channel, mut member) = in_language("python").await;
    assert_eq!(member.ask(CLEAR).await, Body::Ok(Default::default()));
    let mut other = channel.join(Role::Editor).await;
    member.send(eval("import subprocess, signal\nx = 1\nchild = subprocess.Popen(['sleep', '1000'])\nsignal.signal(2, lambda *_: None)\nprint('on')\nwhile True: pass")).await;
    member.send(eval("2")).await;
    member.until_output("on").await;
    let before = channel.engine().processes().list()[0].clone();
    assert_eq!(member.ask(CLEAR).await, Body::Ok(Default::default()));
    for _ in 0..2 {
        let Body::Error(text) = member.until(|body| matches!(body, Body::Error(_))).await else { panic!() };
        assert!(text.starts_with("eval: stopped by session "), "{text}");
    }
    other.until(|body| matches!(body, Body::Hint(_))).await;
    let text = error_of(&mut member, "x").await;
    assert!(text.contains("NameError"), "{text}");
    let gone = before.stopped().now_or_never();
    assert!(before.try_exit().is_some() && gone.is_some(), "the family is gone before the next begins");
}

#[tokio::test]
async fn the_end_of_the_channel_ends_the_family() {
    let channel = TestChannel::open::<Eval>(None);
    let mut member = channel.join(Role::Editor).await;
    let stubborn = "import signal, subprocess\nsignal.signal(15, signal.SIG_IGN)\nsubprocess.Popen(['setsid', 'sleep', '1000'])\nprint('on')\nwhile True: pass";
    member.send(eval(stubborn)).await;
    member.until_output("on").await;
    member.leave(Leave::Close).await;
    channel.freed().await;
}

#[tokio::test]
async fn a_channel_that_evaluates_nothing_makes_room_when_all_have_left() {
    let (channel, mut member) = in_language("python").await;
    assert_eq!(member.ask(eval("x = 1")).await, result(""));
    member.leave(Leave::Disconnect).await;
    assert!(channel.retire());
    channel.freed().await;
}
