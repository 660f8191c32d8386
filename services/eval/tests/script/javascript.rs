//! What JavaScript's driver promises.

use pid1_sdk::api::RunMain;

use super::*;

#[tokio::test]
async fn state_stays_and_promises_are_awaited() {
    let (channel, mut member) = in_language("nodejs").await;
    assert_eq!(member.ask(eval("const x = 1; let y = 1; class A {}")).await, result(""));
    assert_eq!(member.ask(eval("const x = 20; let y = 22; x + y")).await, result("42"));
    assert_eq!(
        member.ask(eval("({ a: [x, { b: 'é😀\\0' }] })")).await,
        result("{ a: [ 20, { b: 'é😀\\x00' } ] }")
    );
    assert_eq!(
        member.ask(eval("await new Promise((done) => setTimeout(() => done(new A()), 1))")).await,
        result("A {}")
    );
    for (source, shown) in
        [("-0", "-0"), ("10n", "10n"), ("NaN", "NaN"), ("null", "null"), ("undefined", ""), ("", "")]
    {
        assert_eq!(member.ask(eval(source)).await, result(shown), "{source}");
    }
    let Body::Result(long) = member.ask(eval("'é'.repeat(1_000_000)")).await else { panic!("no result") };
    assert_eq!(long.chars().count(), 1_000_002);
    std::fs::write(channel.root().join("index.js"), "var here = require('path').basename('/a/b');").unwrap();
    assert!(matches!(member.ask(Body::RunMain(Default::default())).await, Body::Ok(_)));
    assert_eq!(member.ask(eval("here")).await, result("'b'"));
}

#[tokio::test]
async fn an_error_names_line_and_function_and_nothing_of_the_driver() {
    let (_channel, mut member) = in_language("nodejs").await;
    member.ask(eval("function inner(n) {\n  return n.a.b;\n}")).await;
    let text = error_of(&mut member, "inner({})").await;
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("TypeError: "), "{text}");
    assert_eq!(lines[1..], ["    at inner (<eval-1>:2:14)", "    at <eval-2>:1:1"], "{text}");
    let text = error_of(&mut member, "1 +").await;
    assert_eq!(text, "<eval-3>:1:4\n1 +\n   ^\nSyntaxError: Unexpected end of input\n");
    assert_eq!(error_of(&mut member, "throw 5").await, "Uncaught 5\n");
    let text = error_of(&mut member, "await 1; throw new Error('late')").await;
    assert!(text.starts_with("Error: late\n    at <eval-5>:1:16"), "{text}");
    // Nor does one that is a value, or in one.
    for source in [
        "try { inner({}) } catch (error) { error }",
        "[new TypeError('a'), { cause: Object.assign(new Error('b'), { code: 1 }) }]",
        "const rejected = Promise.reject(new Error('c')); rejected.catch(() => {}); ({ rejected })",
    ] {
        let Body::Result(text) = member.ask(eval(source)).await else { panic!("{source}") };
        let frames = text.lines().filter(|line| line.trim_start().starts_with("at "));
        assert!(frames.clone().count() > 0 && frames.clone().all(|line| line.contains("<eval-")), "{text}");
    }
    member
        .send(eval(
            "setTimeout(() => { throw new Error('later') }, 1); Promise.reject(new Error('never')); 1",
        ))
        .await;
    let output = member.until_output("later").await + &member.until_output("").await;
    assert!(output.contains("Uncaught Error: "), "{output}");
    assert_eq!(member.ask(eval("1")).await, result("1"));
}

/// What TypeScript becomes, also where only `modules` of `.replit` say it.
#[tokio::test]
async fn a_workspace_in_typescript_is_evaluated_in_javascript() {
    for (file, text) in [("index.ts", ""), (".replit", "modules = ['nodejs-20']\n")] {
        let channel = channel();
        std::fs::write(channel.root().join(file), text).unwrap();
        let mut member = channel.join(Role::Editor).await;
        assert_eq!(member.ask(eval("let a = 1; [a].map((x) => x + 1)")).await, result("[ 2 ]"), "{file}");
        let Body::Error(text) = member.ask(Body::RunMain(Default::default())).await else { panic!("run") };
        assert!(text.starts_with("eval: no program to run: there is no index.js"), "{text}");
    }
    let (_channel, mut member) = in_language("typescript").await;
    assert_eq!(member.ask(eval("typeof require")).await, result("'function'"));
}

#[tokio::test]
async fn a_loop_is_interrupted_and_the_state_stays() {
    let (_channel, mut member) = in_language("nodejs").await;
    assert_eq!(member.ask(eval("const x = 5")).await, result(""));
    for endless in [
        "console.log('on'); for (;;);",
        // What is interrupted within a write prints on afterwards.
        "for (;;) console.log('on')",
        "console.log('on'); for (;;);",
        "setTimeout(() => console.log('on'), 1); await new Promise(() => {})",
    ] {
        member.send(eval(endless)).await;
        member.until_output("on").await;
        member.send(input(INTERRUPT)).await;
        let Body::Error(text) = member.until(|body| matches!(body, Body::Error(_))).await else { panic!() };
        assert!(text.starts_with("Interrupted"), "{text}");
        member.send(input(INTERRUPT)).await;
        assert_eq!(member.ask(eval("x")).await, result("5"));
    }
}

#[tokio::test]
async fn what_it_starts_inherits_no_line_to_the_agent_and_input_is_read() {
    let (_channel, mut member) = in_language("nodejs").await;
    let list =
        "require('child_process').spawnSync('ls', ['/proc/self/fd']).stdout.toString().split(/\\s+/).length";
    assert_eq!(member.ask(eval(list)).await, result("5"), "0 to 3 and an end");
    let ask = "const lines = require('readline/promises').createInterface({ input: process.stdin, output: process.stdout });
        await lines.question('name? ')";
    member.send(eval(ask)).await;
    member.until_output("name? ").await;
    member.send(input("Ada\n")).await;
    assert_eq!(member.until(|body| matches!(body, Body::Result(_))).await, result("'Ada'"));
}

#[tokio::test]
async fn the_main_file_runs_as_a_program_and_modules_leave_what_they_export() {
    let (channel, mut member) = in_language("nodejs").await;
    let write = |path: &str, text: &str| {
        let path = channel.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let main = |file: &str| Body::RunMain(RunMain { file_path: file.into(), ..RunMain::default() });
    write("package.json", r#"{"main": "src/server"}"#);
    write("src/other.js", "module.exports = 6");
    write("src/server.js", "const other = require('./other'); const mine = require.main === module;");
    assert!(matches!(member.ask(main("")).await, Body::Ok(_)));
    assert_eq!(member.ask(eval("[other, mine]")).await, result("[ 6, true ]"));
    for (number, name) in ["a.mjs", "b.js"].into_iter().enumerate() {
        write("m.mjs", "export const six = 6;");
        write(
            name,
            &format!("import {{ six }} from './m.mjs'; export const seven = await (six + {number});"),
        );
        assert!(matches!(member.ask(main(name)).await, Body::Ok(_)), "{name}");
        assert_eq!(member.ask(eval("seven")).await, result(&(6 + number).to_string()));
    }
    write("bad.js", "const = 1");
    let Body::Error(text) = member.ask(main("bad.js")).await else { panic!("it was run") };
    assert!(text.contains("bad.js:1") || text.contains("SyntaxError"), "{text}");
    let Body::Error(text) = member.ask(main("x.py")).await else { panic!("it was run") };
    assert_eq!(text, "eval: open x.py: no such file or directory");
}

#[tokio::test]
async fn the_driver_needs_nothing_that_is_taken_away() {
    let (_channel, mut member) = in_language("nodejs").await;
    for taken in ["Promise", "JSON", "Buffer", "Atomics", "process", "Symbol", "Object", "JSON.stringify"] {
        // Some are not there any more then.
        member.ask(eval(&format!("{taken} = null; 1"))).await;
        assert_eq!(member.ask(eval("await 7")).await, result("7"), "{taken}");
        let text = error_of(&mut member, "throw 8").await;
        assert_eq!(text, "Uncaught 8\n", "{taken}");
        assert_eq!(member.ask(CLEAR).await, Body::Ok(Default::default()));
    }
}
