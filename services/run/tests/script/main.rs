//! The services as a script of what members send and get, with real programs.

mod advice;
mod stopping;

use std::fs;

use pid1_run::{Interpreter, Output, Run, ShellRun};
use pid1_sdk::api::{Clear, Ok as Done, PtyConfig, ResizeTerm, RunMain, State, command::Body};
use pid1_sdk::process::{Io, Keep, StopCause};
use pid1_sdk::testing::{TestChannel, TestMember, conformance};
use pid1_sdk::{Role, Service};

const RUNNING: Body = Body::State(State::Running as i32);
const STOPPED: Body = Body::State(State::Stopped as i32);

fn run_main() -> Body {
    Body::RunMain(RunMain::default())
}

/// A window on a project whose Run button runs this line.
fn project<S: Service>(line: &str) -> TestChannel {
    let channel = TestChannel::open::<S>(Some("runner"));
    fs::write(channel.root().join(".replit"), format!("run = {line:?}\n")).expect("written");
    channel
}

async fn state(member: &mut TestMember, wanted: &Body) {
    member.until(|body| body == wanted).await;
}

/// Waits for `text`, and then for a prompt.
async fn prompt_behind(member: &mut TestMember, text: &str) {
    let mut all = String::new();
    while !all.split_once(text).is_some_and(|(_, rest)| rest.contains('\u{eea7}')) {
        if let Body::Output(more) = member.next().await {
            all += &more;
        }
    }
}

#[tokio::test]
async fn run_is_pressed_answered_and_watched_in_any_number_of_windows() {
    let channel = project::<Run>("echo begin; read line; echo got $line; exit 3");
    let mut editor = channel.join(Role::Editor).await;
    let mut viewer = channel.join(Role::Viewer).await;
    assert_eq!(editor.next().await, STOPPED);
    assert!(
        matches!(editor.ask(Body::Input("early\n".into())).await, Body::Error(text) if text.contains("press Run"))
    );
    assert!(matches!(viewer.ask(run_main()).await, Body::Error(text) if text.contains("editor")));
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    state(&mut viewer, &RUNNING).await;
    viewer.until_output("begin\r\n").await;
    // A second press changes nothing.
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    editor.send(Body::Input("it\n".into())).await;
    let said = viewer.until_output("exit status 3\r\n").await;
    assert!(said.contains("got it\r\n") && said.matches("begin").count() <= 1, "{said:?}");
    state(&mut viewer, &STOPPED).await;

    let mut late = channel.join(Role::Viewer).await;
    let Body::Output(past) = late.next().await else { panic!("the past comes first") };
    assert!(past.starts_with("begin\r\n") && past.ends_with("exit status 3\r\n"), "{past:?}");
    assert_eq!(late.next().await, STOPPED);
}

#[tokio::test]
async fn each_run_is_shown_to_its_end_before_the_next() {
    let channel = project::<Output>("echo hello; exit 3");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.next().await, STOPPED);
    for _ in 0..30 {
        // As soon as the one before has exited, whatever is shown of it.
        assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
        for process in channel.engine().processes().list() {
            process.exited().await;
        }
    }
    fs::write(channel.root().join(".replit"), "run = \"echo the last\"\n").expect("written");
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    let mut shown = String::new();
    while !shown.contains("<the last") {
        let mut text = String::new();
        assert_eq!(editor.next().await, RUNNING);
        assert!(matches!(editor.next().await, Body::OutputBlockStartEvent(_)));
        let code = loop {
            match editor.next().await {
                Body::Output(more) => text += &more,
                Body::ExitCodeEvent(code) => break code,
                other => panic!("{other:?} after {text:?}"),
            }
        };
        assert!(
            matches!((&text[..], code), ("hello\r\nexit status 3\r\n", 3) | ("the last\r\n", 0)),
            "{text:?}"
        );
        assert!(matches!(editor.next().await, Body::OutputBlockEndEvent(end) if end.exit_code == code));
        assert_eq!(editor.next().await, STOPPED);
        shown += &format!("<{text}");
    }
    assert!(shown.contains("<hello"), "{shown:?}");
}

#[tokio::test]
async fn a_window_is_prepared_while_nothing_runs() {
    let channel = project::<Run>("stty -a");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.ask(Body::PtyConfig(PtyConfig { pipe_mode: true })).await, Body::Ok(Done {}));
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    editor.until_output("-icanon").await;
}

#[tokio::test]
async fn a_shell_that_stays_down_is_told() {
    let channel = project::<ShellRun>("true");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.next().await, STOPPED);
    for _ in 0..4 {
        editor.until_output("\u{eea7}").await;
        editor.send(Body::Input("exit\r".into())).await;
    }
    state(&mut editor, &STOPPED).await;
    editor.send(Body::Input("echo $((6*7))\r".into())).await;
    editor.until_output("42\r\n").await;
}

#[tokio::test]
async fn without_a_program_it_says_what_to_do() {
    let channel = TestChannel::open::<Run>(Some("runner"));
    let mut editor = channel.join(Role::Editor).await;
    let Body::Error(said) = editor.ask(run_main()).await else { panic!("there is nothing to run") };
    assert!(said.contains(".replit"), "{said}");
    editor.until_output(".replit").await;
}

#[tokio::test]
async fn a_shell_is_there_between_runs_with_the_prompt_that_clients_look_for() {
    let channel = project::<ShellRun>("echo it runs; read line; echo got $line");
    let mut editor = channel.join(Role::Editor).await;
    editor.until_output("\u{eea7}").await;
    editor.send(Body::Input("echo $((6*7))\r".into())).await;
    prompt_behind(&mut editor, "42\r\n").await;
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    state(&mut editor, &RUNNING).await;
    editor.until_output("it runs\r\n").await;
    editor.send(Body::Input("a line\r".into())).await;
    prompt_behind(&mut editor, "got a line\r\n").await;
    // The same shell.
    editor.send(Body::Input("echo back\r".into())).await;
    editor.until_output("back\r\n").await;
}

#[tokio::test]
async fn a_shell_that_ends_during_a_run_comes_back_behind_it() {
    let channel = project::<ShellRun>("echo it runs; read line; echo got $line");
    let mut editor = channel.join(Role::Editor).await;
    editor.until_output("\u{eea7}").await;
    let shell = channel.engine().processes().list().pop().expect("the shell");
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    editor.until_output("it runs\r\n").await;
    shell.kill(StopCause::Request);
    shell.stopped().await;
    for _ in 0..50 {
        // Whatever would come of it has its turn.
        assert_eq!(editor.ask(Body::ResizeTerm(ResizeTerm { rows: 20, cols: 80 })).await, Body::Ok(Done {}));
    }
    let running = channel.engine().processes().list();
    assert_eq!(running.iter().filter(|process| process.try_exit().is_none()).count(), 1, "only the run");
    editor.send(Body::Input("a line\r".into())).await;
    prompt_behind(&mut editor, "got a line\r\n").await;
    editor.send(Body::Input("echo $((6*7))\r".into())).await;
    editor.until_output("42\r\n").await;
}

#[tokio::test]
async fn the_window_has_the_size_of_who_typed_last() {
    let channel = project::<Run>("stty size; read line; stty size");
    let mut editor = channel.join(Role::Editor).await;
    let mut viewer = channel.join(Role::Viewer).await;
    editor.send(Body::ResizeTerm(ResizeTerm { rows: 33, cols: 111 })).await;
    assert_eq!(viewer.ask(Body::ResizeTerm(ResizeTerm { rows: 5, cols: 5 })).await, Body::Ok(Done {}));
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    editor.until_output("33 111\r\n").await;
    editor.send(Body::ResizeTerm(ResizeTerm { rows: 40, cols: 120 })).await;
    editor.send(Body::Input("\r".into())).await;
    editor.until_output("40 120\r\n").await;
}

#[tokio::test]
async fn a_program_that_reads_nothing_is_stopped_by_anybody_behind_a_paste() {
    let channel = project::<ShellRun>("echo up; exec sleep 1000");
    let (mut one, mut other) = (channel.join(Role::Editor).await, channel.join(Role::Editor).await);
    one.until_output("\u{eea7}").await;
    for stop in [Body::Input("\x03".into()), Body::Clear(Clear {})] {
        assert_eq!(one.ask(run_main()).await, Body::Ok(Done {}));
        state(&mut other, &RUNNING).await;
        other.until_output("up\r\n").await;
        for _ in 0..12 {
            one.send(Body::Input(format!("{:>79}\n", "a line").repeat(640))).await;
        }
        assert_eq!(other.ask(stop).await, Body::Ok(Done {}));
        state(&mut other, &STOPPED).await;
    }
    // The one who has pasted, too.
    assert_eq!(one.ask(Body::Clear(Clear {})).await, Body::Ok(Done {}));
}

#[tokio::test]
async fn who_only_looks_on_is_told_where_each_output_begins_and_ends() {
    let channel = project::<Output>("echo hello; exit 4");
    let mut editor = channel.join(Role::Editor).await;
    assert!(matches!(editor.ask(Body::Input("x".into())).await, Body::Error(_)));
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    editor.until(|body| matches!(body, Body::OutputBlockStartEvent(_))).await;
    editor.until_output("hello\r\n").await;
    editor.until(|body| *body == Body::ExitCodeEvent(4)).await;
    let end = editor.until(|body| matches!(body, Body::OutputBlockEndEvent(_))).await;
    assert!(matches!(end, Body::OutputBlockEndEvent(end) if end.exit_code == 4));
    state(&mut editor, &STOPPED).await;
}

#[tokio::test]
async fn what_compiles_and_what_runs_have_variables_of_their_own() {
    let channel = TestChannel::open::<Run>(Some("runner"));
    let replit = r#"
        compile = { args = ["sh", "-c", "echo compiled $A-$B-$C"], env = { A = "1 2" } }
        run = { args = ["sh", "-c", "echo ran $A-$B-$C"], env = { B = "it's" } }
        env = { C = "both" }
    "#;
    fs::write(channel.root().join(".replit"), replit).expect("written");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    let said = editor.until_output("-both\r\nran -it's-both\r\n").await;
    assert!(said.starts_with("compiled 1 2--both\r\n"), "{said:?}");
}

#[tokio::test]
async fn what_is_started_is_one_of_the_ways_that_the_toolchain_has() {
    let channel = project::<Run>("echo by replit");
    for (file, text) in [("main.py", "print('by python')\n"), ("tool.py", "print('by file')\n")] {
        fs::write(channel.root().join(file), text).expect("written");
    }
    let mut editor = channel.join(Role::Editor).await;
    for (runner_id, file_path, expected) in [
        ("", "", "by replit"),
        ("dotreplit", "", "by replit"),
        ("language:python", "", "by python"),
        ("language:python", "tool.py", "by file"),
        ("", "tool.py", "by file"),
    ] {
        let (runner_id, file_path) = (runner_id.to_owned(), file_path.to_owned());
        let press = Body::RunMain(RunMain { runner_id, file_path, ..RunMain::default() });
        assert_eq!(editor.ask(press).await, Body::Ok(Done {}));
        editor.until_output(&format!("{expected}\r\n")).await;
        state(&mut editor, &STOPPED).await;
    }
    for (runner_id, expected) in [("language:ruby", "is none of the ways"), ("language:go", "no main.go")] {
        let press = Body::RunMain(RunMain { runner_id: runner_id.to_owned(), ..RunMain::default() });
        let Body::Error(error) = editor.ask(press).await else { unreachable!("{runner_id} runs") };
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn the_interpreter_stays_when_the_program_has_ended() {
    let channel = TestChannel::open::<Interpreter>(Some("interper"));
    fs::write(channel.root().join("main.py"), "answer = 6 * 7\nprint('ready')\n").expect("written");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    editor.until_output("ready\r\n").await;
    editor.send(Body::Input("answer + 1\r".into())).await;
    editor.until_output("43\r\n").await;
    assert_eq!(editor.ask(Body::Clear(Clear {})).await, Body::Ok(Done {}));
    state(&mut editor, &STOPPED).await;
}

#[tokio::test]
async fn node_runs_the_program_as_that_and_stays_when_it_fails() {
    let channel = TestChannel::open::<Interpreter>(Some("interper"));
    let mut editor = channel.join(Role::Editor).await;
    let main = "if (require.main === module) console.log(`main ${__filename === process.argv[1]}`);\n\
        setTimeout(() => { throw new Error('later'); }); globalThis.answer = 42; require('./gone');\n";
    let module = "globalThis.answer = await 42; console.log('main true');\nnull.later;\n";
    for (gone, file, text) in [("index.mjs", "index.js", main), ("index.js", "index.mjs", module)] {
        let _ = fs::remove_file(channel.root().join(gone));
        fs::write(channel.root().join(file), text).expect("written");
        assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
        state(&mut editor, &RUNNING).await;
        let said = editor.until_output("\x1b[0J> ").await;
        assert_eq!(said.matches("main true").count(), 1, "{file} {said:?}");
        assert!(said.contains("Cannot find module './gone'") || said.contains("(reading 'later')"), "{said}");
        editor.send(Body::Input("answer + 1\r".into())).await;
        editor.until_output("\x1b[33m43\x1b[39m").await;
        assert_eq!(editor.ask(Body::Clear(Clear {})).await, Body::Ok(Done {}));
        state(&mut editor, &STOPPED).await;
    }
}

#[tokio::test]
async fn endless_output_comes_in_few_messages_and_is_stopped() {
    let channel = project::<Run>("i=0; while :; do i=$((i+1)); echo $i; done");
    let mut editor = channel.join(Role::Editor).await;
    assert_eq!(editor.ask(run_main()).await, Body::Ok(Done {}));
    let mut outputs = 0;
    let begin = std::time::Instant::now();
    while begin.elapsed().as_secs() < 3 {
        // What has gathered is free.
        outputs += usize::from(matches!(editor.next().await, Body::Output(text) if text.len() < 16 << 10));
    }
    assert!(outputs < 120 + 3 * 80, "{outputs} messages");
    editor.send(Body::Clear(Clear {})).await;
    state(&mut editor, &STOPPED).await;
}

/// A channel of that name, on an engine whose main command is this script.
fn main_command(script: &str) -> TestChannel {
    let channel = TestChannel::open::<Run>(Some("main"));
    let engine = channel.engine();
    let args = ["/bin/sh", "-c", script].map(Into::into).to_vec();
    let spec = engine.spec(args, Vec::new(), Io::Pipes { split_stderr: true }, Keep::Tail);
    engine.set_main_command(engine.processes().start(spec).expect("there is a shell"));
    channel
}

#[tokio::test]
async fn the_main_command_is_shown_fed_and_not_stopped() {
    let channel = main_command("echo out; echo err >&2; read line; echo got $line; exit 3");
    let mut viewer = channel.join(Role::Viewer).await;
    let mut editor = channel.join(Role::Editor).await;
    let mut seen = String::new();
    while !(seen.contains("out\n") && seen.contains("err\n")) {
        if let Body::Output(text) = viewer.next().await {
            seen += &text;
        }
    }
    let refused = viewer.ask(Body::Input("x\n".into())).await;
    assert!(matches!(&refused, Body::Error(text) if text.contains("editor")), "{refused:?}");
    assert!(matches!(editor.ask(Body::Clear(Clear {})).await, Body::Error(_)));
    assert_eq!(editor.ask(Body::Input("it\n".into())).await, Body::Ok(Done {}));
    viewer.until_output("got it\n").await;
    state(&mut viewer, &STOPPED).await;

    let mut late = channel.join(Role::Viewer).await;
    let Body::Output(past) = late.next().await else { panic!("the past comes first") };
    assert!(past.contains("out\n") && past.contains("err\n") && past.ends_with("got it\n"), "{past:?}");
    assert_eq!(late.next().await, STOPPED);
}

#[tokio::test]
async fn they_keep_the_promises_of_every_service() {
    conformance::<Run>(&[]).await;
    conformance::<ShellRun>(&[]).await;
    conformance::<Interpreter>(&[]).await;
    conformance::<Output>(&[]).await;
}
