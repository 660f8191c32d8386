//! What Python's driver promises.

use pid1_sdk::api::RunMain;

use super::*;

#[tokio::test]
async fn state_stays_and_the_last_expression_is_the_result() {
    let (_channel, mut member) = in_language("python3").await;
    assert_eq!(member.ask(eval("x = 20\ndef double(n):\n    return 2 * n")).await, result(""));
    assert_eq!(member.ask(eval("double(x) + 2")).await, result("42"));
    assert_eq!(member.ask(eval("_ + 1")).await, result("43"));
    assert_eq!(member.ask(eval("for n in range(3): x += n\nx")).await, result("23"));
    assert_eq!(member.ask(eval("None")).await, result(""));
    assert_eq!(member.ask(eval("")).await, result(""));
    let names = "__name__, sorted(name for name in globals() if name[0] != '_')";
    assert_eq!(member.ask(eval(names)).await, result("('__main__', ['double', 'n', 'x'])"));
    assert_eq!(member.ask(eval("from __future__ import annotations")).await, result(""));
    let annotated = "def f(a: whatever): pass\nf.__annotations__";
    assert_eq!(member.ask(eval(annotated)).await, result("{'a': 'whatever'}"));
}

#[tokio::test]
async fn a_traceback_names_line_and_function_and_nothing_of_the_driver() {
    let (_channel, mut member) = in_language("python").await;
    member.ask(eval("def inner(n):\n    return 1 / n\n\ndef outer():\n    return inner(0)")).await;
    let text = error_of(&mut member, "outer()").await;
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().starts_with(['~', '^'])).collect();
    assert_eq!(
        lines,
        [
            "Traceback (most recent call last):",
            "  File \"<eval 2>\", line 1, in <module>",
            "    outer()",
            "  File \"<eval 1>\", line 5, in outer",
            "    return inner(0)",
            "  File \"<eval 1>\", line 2, in inner",
            "    return 1 / n",
            "ZeroDivisionError: division by zero",
        ],
        "{text}"
    );
    let text = error_of(&mut member, "x = 1\ny = (").await;
    assert!(
        text.starts_with("  File \"<eval 3>\", line 2\n    y = (\n") && text.contains("SyntaxError"),
        "{text}"
    );
    // It ends the evaluation, not the interpreter.
    let text = error_of(&mut member, "import sys; kept = 1; sys.exit(3)").await;
    assert!(text.ends_with("SystemExit: 3\n"), "{text}");
    let text = error_of(&mut member, "exit()").await;
    assert!(text.ends_with("SystemExit: None\n"), "{text}");
    assert_eq!(member.ask(eval("kept")).await, result("1"));
    let text = error_of(&mut member, "raise ValueError('a\\x1b[31m\\nb')").await;
    assert!(text.ends_with("ValueError: a [31m\nb\n"), "{text:?}");
    let text = error_of(&mut member, "class Mute(Exception):\n    def __str__(self): 1/0\nraise Mute").await;
    assert!(text.contains("Mute"), "{text}");
    let text = error_of(&mut member, "def r(): r()\nr()").await;
    assert!(text.contains("RecursionError"), "{text}");
}

#[tokio::test]
async fn text_of_any_kind_arrives() {
    let (_channel, mut member) = in_language("python").await;
    assert_eq!(member.ask(eval("'é😀' + '\\0'")).await, result("'é😀\\x00'"));
    assert_eq!(
        member.ask(eval("class S:\n    def __repr__(self): return 'a\\0\\ud800😀'\nS()")).await,
        result("a\0?😀")
    );
    let text = error_of(&mut member, "a\0b").await;
    assert!(text.contains("null bytes"), "{text}");
    assert_eq!(member.ask(eval("print('é😀')\nimport os\nos.write(1, b'\\xc3') and None")).await, result(""));
    let (output, _) = loop {
        let turn = one_turn(&mut member).await;
        if !turn.0.is_empty() {
            break turn;
        }
    };
    assert_eq!(output, "é😀\n\u{fffd}", "half a character is told before the result");
    let Body::Result(long) = member.ask(eval("'é' * 1_000_000")).await else { panic!("no result") };
    assert_eq!(long.chars().count(), 1_000_002);
    let text = error_of(&mut member, "'x' * (40 << 20)").await;
    assert!(text.contains("longer than"), "{text}");
    let source = format!("len('{}')", "x".repeat(1 << 20));
    assert_eq!(member.ask(eval(&source)).await, result("1048576"));
}

#[tokio::test]
async fn a_loop_is_interrupted_and_the_state_stays() {
    let (_channel, mut member) = in_language("python").await;
    assert_eq!(member.ask(eval("x = 5")).await, result(""));
    for endless in [
        "print('on')\nwhile True: pass",
        "print('on')\nimport time\ntime.sleep(1000)",
        "print('on'); input()",
    ] {
        member.send(eval(endless)).await;
        member.until_output("on").await;
        member.send(input(INTERRUPT)).await;
        let Body::Error(text) = member.until(|body| matches!(body, Body::Error(_))).await else { panic!() };
        assert!(text.contains("line ") && text.ends_with("KeyboardInterrupt\n"), "{text}");
        // Between evaluations it does nothing.
        member.send(input(INTERRUPT)).await;
        assert_eq!(member.ask(eval("x")).await, result("5"));
    }
}

#[tokio::test]
async fn what_it_starts_inherits_no_line_to_the_agent() {
    let (_channel, mut member) = in_language("python").await;
    let list =
        "import subprocess\nsubprocess.check_output('ls /proc/self/fd', shell=True, close_fds=False).split()";
    assert_eq!(member.ask(eval(list)).await, result("[b'0', b'1', b'2', b'3']"));
    // A copy of the interpreter does not answer in its place.
    assert_eq!(member.ask(eval("import os\npid = os.fork()\n1 if pid else 2")).await, result("1"));
    assert_eq!(member.ask(eval("os.waitpid(pid, 0)[1]")).await, result("0"));
    assert_eq!(member.ask(eval("3")).await, result("3"));
}

#[tokio::test]
async fn the_workspace_does_not_stand_in_for_the_library() {
    let (channel, mut member) = in_language("python").await;
    for name in ["json.py", "ast.py", "tokenize.py", "signal.py"] {
        std::fs::write(channel.root().join(name), "raise ImportError('not me')").unwrap();
    }
    std::fs::write(channel.root().join("mine.py"), "value = 7").unwrap();
    assert_eq!(member.ask(eval("import mine; mine.value")).await, result("7"));
    let Body::Error(text) = member.ask(Body::RunMain(Default::default())).await else { panic!() };
    assert!(text.starts_with("eval: no program to run: there is no main.py: "), "{text}");
    std::fs::write(
        channel.root().join("main.py"),
        "import mine\nhere = mine.value if __name__ == '__main__' else 0\n",
    )
    .unwrap();
    assert!(matches!(member.ask(Body::RunMain(Default::default())).await, Body::Ok(_)));
    assert_eq!(member.ask(eval("here")).await, result("7"));
}

/// Wherever programs start, and as a script that is started: with its folder, its variables and its programs.
#[tokio::test]
async fn the_main_file_is_the_one_that_run_finds() {
    let channel = channel();
    let root = channel.root().to_owned();
    for folder in ["x\" y", "elsewhere", ".venv/bin"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("x\" y/beside.py"), "value = 7").unwrap();
    std::fs::write(
        root.join("x\" y/app.py"),
        "import beside, os\nhere = beside.value, os.environ['FOO'], __name__\n",
    )
    .unwrap();
    std::fs::write(root.join("other.py"), "here = 'other'").unwrap();
    std::fs::write(root.join(".replit"), "entrypoint = 'x\" y/app.py'\n[env]\nFOO = 'bar'\n").unwrap();
    let settings = Settings { cwd: Some(root.join("elsewhere")), ..Settings::default() };
    channel.engine().set_settings(settings);
    let mut member = channel.join(Role::Editor).await;
    let main = |file: &str| Body::RunMain(RunMain { file_path: file.into(), ..RunMain::default() });
    assert!(matches!(member.ask(main("")).await, Body::Ok(_)));
    assert_eq!(member.ask(eval("here")).await, result("(7, 'bar', '__main__')"));
    let path = format!("'{}", root.join(".venv/bin:").display());
    let Body::Result(found) = member.ask(eval("os.environ['PATH']")).await else { panic!() };
    assert!(found.starts_with(&path), "{found}");
    assert!(matches!(member.ask(main("other.py")).await, Body::Ok(_)));
    assert_eq!(member.ask(eval("here")).await, result("'other'"));
    std::fs::write(root.join("x.js"), "").unwrap();
    for (file, said) in [
        ("x.js", "eval: x.js is not in Python"),
        ("gone.py", "eval: open gone.py: no such file or directory"),
    ] {
        assert_eq!(member.ask(main(file)).await, Body::Error(said.into()));
    }
}

#[tokio::test]
async fn the_driver_needs_nothing_that_is_put_in_its_place() {
    let (_channel, mut member) = in_language("python").await;
    let taken =
        ["json.dumps", "json.loads", "traceback.format_exception", "signal.signal", "signal.getsignal"];
    let imports = "import json, signal, traceback\n";
    assert_eq!(member.ask(eval(&format!("{imports}{} = None", taken.join(" = ")))).await, result(""));
    assert_eq!(member.ask(eval("6 * 7")).await, result("42"));
    let text = error_of(&mut member, "1 / 0").await;
    assert!(text.ends_with("ZeroDivisionError: division by zero\n"), "{text}");
}

#[tokio::test]
async fn a_signal_between_evaluations_is_handled_and_what_that_raises_is_told() {
    let (_channel, mut member) = in_language("python").await;
    let alarm = "import signal\ndef rings(*_):\n    raise ValueError('it rings')\n\
        signal.signal(signal.SIGALRM, rings)\nkept = signal.setitimer(signal.ITIMER_REAL, 0.2)";
    assert_eq!(member.ask(eval(alarm)).await, result(""));
    let said = member.until_output("ValueError: it rings\n").await;
    assert!(said.contains("line 3, in rings") && !said.contains("read_order"), "{said}");
    assert_eq!(member.ask(eval("kept")).await, result("(0.0, 0.0)"));
}
