//! Workspaces as people have them: what in them is the program, and files that are not quite right.

use std::io::Write;

use super::*;
use crate::watch::{Change, Kind, What};

#[test]
fn what_people_say_of_their_program_counts_before_what_its_files_are_called() {
    for (files, expected) in [
        (
            &[("index.ts", ""), ("index.js", ""), ("package.json", r#"{"main": "index.js"}"#)][..],
            "node index.js",
        ),
        (&[("package.json", r#"{"main": "lib/server"}"#), ("lib/server.js", "")], "node lib/server.js"),
        (&[("package.json", r#"{"main": "./lib/"}"#), ("lib/index.js", "")], "node lib/index.js"),
        (&[("package.json", r#"{"scripts": {"dev": "vite"}}"#), ("index.js", "")], "npm run --silent dev"),
        (&[("package.json", r#"{"scripts": {"dev": "vite", "start": "serve"}}"#)], "npm run --silent start"),
        (
            &[("Makefile", "all:\n\ncc\nrun: all\n\t./app\n"), ("main.c", ""), ("x.c", "")],
            "make --silent -C . run",
        ),
        (&[("Makefile", "run:\n\t./app\n"), ("a.cc", "")], "make --silent -C . run"),
        (&[("Makefile", "rerun:\n\t./app\n"), ("main.c", "")], "/build/main"),
        (&[("Makefile", "run:\n\t./app\n"), ("main.py", "")], "python3 -u main.py"),
        (&[("src/main.c", "")], "/build/main"),
        // What is brought into the container counts before what weighs more.
        (&[(".replit", "modules = ['nodejs-20']"), ("main.py", ""), ("x.js", "")], "node x.js"),
        (&[(".replit", "modules = ['web', 'nodejs-20:v8']"), ("main.py", "")], "python3 -u main.py"),
    ] {
        assert_eq!(Place::with(files).run(), expected, "{files:?}");
    }
    let typescript = Place::with(&[("package.json", r#"{"main": "src/index.ts"}"#), ("src/index.ts", "")]);
    let plan = typescript.plan(None).unwrap();
    assert_eq!(
        (plan.language.unwrap().name, plan.run.args.last().unwrap().to_str()),
        ("typescript", Some("src/index.ts"))
    );
}

/// What a command of `.replit` runs is not known, but what it needs is.
#[test]
fn the_language_of_a_command_is_what_is_said_of_it_or_what_there_are_packages_of() {
    for (text, files, expected) in [
        ("language = 'python3'", &["bot.py", "keep_alive.py"][..], "python"),
        ("language = 'python3'", &[], "python"),
        ("language = 'python3'\nentrypoint = 'gone.js'", &[], "javascript"),
        ("modules = ['nodejs-20:v8', 'python-3.11']", &["src/x.js"], "javascript"),
        ("modules = ['nodejs-20', 'python-3.11']", &["main.py"], "python"),
        ("modules = ['web', 'nodejs-20']", &["deploy.sh"], "javascript"),
        ("modules = ['nodejs-20']", &["index.ts"], "typescript"),
        ("modules = ['rust-stable']", &[], "rust"),
        ("", &["main.c", "requirements.txt"], "c"),
        ("", &["a.py", "b.py", "requirements.txt"], "python"),
        ("", &["package.json", "src/x.js"], "javascript"),
    ] {
        let text = format!("run = 'mytool'\n{text}\n");
        let files = files.iter().map(|name| (*name, "")).chain([(".replit", &*text)]);
        let bins = [".venv/bin/mytool", "node_modules/.bin/mytool"].map(|name| (name, ""));
        let place = Place::with(&files.chain(bins).collect::<Vec<_>>());
        let plan = place.plan(None).unwrap();
        let language = plan.language.unwrap();
        assert_eq!((language.name, plan.hints.len()), (expected, language.hints.len()), "{text}");
        let path = variable(&plan.run, "PATH").unwrap_or_default();
        let bin = language.bin.iter().find(|bin| !bin.starts_with('$'));
        let first = bin.map(|bin| place.root().join(bin)).unwrap_or_default();
        assert!(path.as_bytes().starts_with(first.as_os_str().as_bytes()), "{text}: {path:?}");
    }
    let button = workflows(&workflow("Project", "", &[("shell.exec", "mytool")]));
    let text = fs::read_to_string(button.root().join(FILE)).unwrap();
    fs::write(button.root().join(FILE), format!("language = 'nodejs'\n{text}")).unwrap();
    assert_eq!(button.plan(None).unwrap().language.unwrap().name, "javascript");
    assert_eq!(Place::with(&[(".replit", "run = 'x'")]).plan(None).unwrap().language, None);
}

#[test]
fn what_may_change_a_plan_is_known_by_its_name() {
    let matters = |path: &str, what| matters(&Change { path: path.into(), kind: Kind::File, what });
    for name in [".replit", "main.py", "x.c", "Makefile", "requirements.txt"] {
        assert!(matters(name, What::Create) && matters("x", What::Move(name.into())), "{name}");
    }
    assert!(matters("package.json", What::Modify) && !matters("requirements.txt", What::Modify));
    assert!(!matters("README.md", What::Create));
}

#[test]
fn a_file_of_a_larger_program_is_run_as_that() {
    let files = ["src/main.rs", "src/bin/a.rs", "src/bin/b/main.rs", "examples/e.rs", "scratch.rs"];
    let package: Vec<_> = files.iter().chain(&["Cargo.toml"]).map(|name| (*name, "")).collect();
    let place = Place::with(&package);
    let steps = |place: &Place, file: Option<&str>| {
        let plan = place.plan(file).unwrap();
        (line(&plan.compile.unwrap()), line(&plan.run))
    };
    for (file, compile, run) in [
        ("src/main.rs", "cargo build", "cargo run --quiet"),
        ("src/bin/a.rs", "cargo build --bin a", "cargo run --quiet --bin a"),
        ("src/bin/b/main.rs", "cargo build --bin b", "cargo run --quiet --bin b"),
        ("examples/e.rs", "cargo build --example e", "cargo run --quiet --example e"),
        ("scratch.rs", "rustc --edition 2021 -o /build/main scratch.rs", "/build/main"),
    ] {
        fs::write(place.root().join(FILE), format!("entrypoint = '{file}'")).unwrap();
        for asked in [None, Some(file)] {
            assert_eq!(steps(&place, asked), (compile.to_owned(), run.to_owned()), "{file}");
        }
    }
    let named = place.project().run_plan(None, Language::find("rust"), Path::new("/build"));
    assert_eq!(named.unwrap().entrypoint, Some("scratch.rs".into()));
    let files = ["go.mod", "main.go", "x.go", "cmd/serve/main.go"];
    let mut module = Place::with(&files.map(|name| (name, "")));
    let compiled = |place: &Place, file: &str| steps(place, Some(file)).0;
    assert_eq!(compiled(&module, "main.go"), "go build -o /build/main .");
    assert_eq!(compiled(&module, "cmd/serve/main.go"), "go build -o /build/main ./cmd/serve");
    assert_eq!(compiled(&module, "x.go"), "go build -o /build/main x.go");
    module.cwd = Some(module.root().join("cmd"));
    assert_eq!(compiled(&module, "main.go"), format!("go build -o /build/main {}", module.root().display()));
    fs::remove_file(module.root().join("go.mod")).unwrap();
    assert!(compiled(&module, "main.go").ends_with("/main.go"));
}

impl Place {
    /// Carries out a step: its exit code, and what it prints.
    #[expect(
        clippy::disallowed_methods,
        reason = "what a shell does is what is tested, not how programs are started"
    )]
    fn output(&self, step: &Step) -> (Option<i32>, String) {
        let (input, mut typed) = std::io::pipe().unwrap();
        typed.write_all(b"typed\n").unwrap();
        drop(typed);
        let mut command = std::process::Command::new(&step.args[0]);
        let done = command.args(&step.args[1..]).stdin(input).current_dir(self.root()).output().unwrap();
        (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    }
}

/// Compiled by the command of the plan itself.
#[test]
fn a_program_of_many_files_is_compiled_with_those_that_are_no_programs() {
    let files = [
        ("run.c", "int seven(void);\nint main (void) { return seven() - 7; }\n"),
        (
            "seven.c",
            "/* used by main() */\nint remain(int n) { return n; }\nint seven(void) { return remain(7); }\n\
             const char *usage = \"see main (\";\n",
        ),
    ];
    let place = Place::with(&files);
    assert_eq!(place.plan(None).unwrap().entrypoint.unwrap(), Path::new("run.c"));
    fs::write(place.root().join("other.c"), "/* another */\nint\nmain(void) { return 1; }").unwrap();
    assert!(place.plan(None).is_err(), "there are two programs");
    fs::create_dir(place.root().join("build")).unwrap();
    let build = place.root().join("build");
    let plan = place.project().run_plan(Some("run.c"), None, &build).unwrap();
    for step in [plan.compile.unwrap(), plan.run] {
        assert_eq!(place.output(&step), (Some(0), String::new()));
    }
}

#[test]
fn the_ending_of_the_entrypoint_says_its_language() {
    let text = "language = 'nodejs'\nentrypoint = 'main.py'";
    assert_eq!(Place::with(&[(".replit", text), ("main.py", "")]).run(), "python3 -u main.py");
    let text = "language = 'nodejs'\nentrypoint = 'serve'";
    assert_eq!(Place::with(&[(".replit", text), ("serve", "")]).run(), "node serve");
}

#[test]
fn what_is_wrong_and_does_not_decide_the_run_counts_as_not_said() {
    for wrong in [
        "hidden = '.config'",
        "onBoot = false",
        "modules = 1",
        "languageServer = 'x'",
        "packager = 'upm'",
        "unitTest = []",
        "[languages]\npython = 1",
        "[[ports]]\nlocalPort = '8080'",
        "[[ports]]\nlocalPort = 80800",
        "[[hints]]\nregex = 'x'",
        "[languages.python.languageServer]\nstart = 1",
    ] {
        let text = format!("run = 'echo ok'\n{wrong}\n");
        assert_eq!(Place::with(&[(".replit", &text)]).run(), "sh -c echo ok", "{wrong}");
    }
    let text = "hidden = ['a', 1]\n[packager]\nlanguage = 3\nignoredPaths = ['x']\nenv = { A = [] }\n\
                [packager.features]\nguessImports = true\npackageSearch = 'x'\n\
                [languages]\nx = 1\npython.pattern = 'p'\n\
                [[ports]]\nlocalPort = 80800\n[[ports]]\nlocalPort = 80\n\
                [[hints]]\nregex = 'x'\n[[hints]]\nregex = 'y'\nmessage = 'z'\n";
    let read = DotReplit::parse(text).unwrap();
    let Some([port]) = read.ports.get(..) else { panic!("{:?}", read.ports) };
    assert_eq!((&read.hidden[..], port.local_port, &*read.hints[0].regex), (&["a".to_owned()][..], 80, "y"));
    assert_eq!((&*read.packager.language, &read.packager.ignored_paths[..]), ("", &["x".to_owned()][..]));
    assert!(read.packager.features.guess_imports && read.packager.env.is_empty());
    assert_eq!(
        read.languages.iter().map(|(name, it)| (&**name, &*it.pattern)).collect::<Vec<_>>(),
        [("python", "p")]
    );
}

#[test]
fn the_main_file_of_a_part_is_found_as_run_finds_it() {
    let language = |name: &str| Language::find(name).unwrap();
    let main = |place: &Place, name: &str, file: Option<&str>| {
        let found = place.project().main_file(language(name), file).map_err(|error| error.to_string());
        found.map(|file| file.strip_prefix(place.root()).unwrap().to_str().unwrap().to_owned())
    };
    let manifest = r#"{"scripts": {"start": "x"}, "main": "lib/a"}"#;
    let mut place = Place::with(&[
        ("package.json", manifest),
        ("lib/a.js", ""),
        ("x/app.py", ""),
        ("main.py", ""),
        (".replit", "entrypoint = 'x/app.py'"),
    ]);
    place.cwd = Some(place.root().join("lib"));
    assert_eq!(main(&place, "nodejs", None), Ok("lib/a.js".to_owned()));
    assert_eq!(main(&place, "python", None), Ok("x/app.py".to_owned()));
    assert_eq!(main(&place, "python", Some("main.py")), Ok("main.py".to_owned()));
    assert_eq!(main(&place, "python", Some("lib/a.js")), Err("lib/a.js is not in Python".to_owned()));
    assert!(main(&place, "python", Some("../x.py")).unwrap_err().contains("leads out of the workspace"));
    let error = main(&Place::with(&[]), "python", None).unwrap_err();
    assert!(error.starts_with("no program to run: there is no main.py: "), "{error}");
    let error = main(&Place::with(&[(".replit", "entrypoint = 'gone.py'")]), "python", None).unwrap_err();
    assert!(error.contains("an entrypoint that cannot be run: open gone.py"), "{error}");
}

/// A file with these tasks, and a button.
fn workflows(tasks: &str) -> Place {
    Place::with(&[(
        ".replit",
        &format!("run = 'no'\ncompile = 'no'\n[workflows]\nrunButton = 'Project'\n{tasks}"),
    )])
}

fn workflow(name: &str, mode: &str, tasks: &[(&str, &str)]) -> String {
    let mut text = format!("[[workflows.workflow]]\nname = '{name}'\nauthor = 'agent'\nmode = '{mode}'\n");
    for (task, args) in tasks {
        text += &format!(
            "[[workflows.workflow.tasks]]\ntask = '{task}'\nargs = '''{args}'''\nwaitForPort = 5000\n"
        );
    }
    text
}

#[test]
fn the_workflow_of_the_button_is_what_runs() {
    let only = workflow("Project", "parallel", &[("workflow.run", "Start")])
        + &workflow("Start", "", &[("shell.exec", "source x && y")]);
    let plan = workflows(&only).plan(None).unwrap();
    assert_eq!((line(&plan.run), plan.compile), ("/bin/bash -c source x && y".to_owned(), None));
    // One that no button has is none.
    let idle = Place::with(&[(".replit", &only)]);
    assert!(
        idle.error(None).contains("or runButton = \"Project\" into its [workflows]"),
        "{}",
        idle.error(None)
    );
    let place = Place::with(&[(".replit", &format!("run = 'mine'\n{only}"))]);
    assert_eq!(place.run(), "sh -c mine");
    for (tasks, code, output) in [
        (
            workflow(
                "Project",
                "sequential",
                &[("shell.exec", "echo a; cd /"), ("shell.exec", "echo it\\'s; pwd")],
            ),
            0,
            "a\nit's\nROOT\n",
        ),
        (workflow("Project", "", &[("shell.exec", "exit 3"), ("shell.exec", "echo never")]), 3, ""),
        (
            workflow("Project", "", &[("packager.installForAll", ""), ("shell.exec", "echo b")]),
            0,
            "Packages are not installed by a workflow here: the task packager.installForAll is left out.\nb\n",
        ),
        // Each waits for what the other does.
        (
            workflow("Project", "", &[("shell.exec", "mkfifo p q"), ("workflow.run", "Both")])
                + &workflow(
                    "Both",
                    "parallel",
                    &[("shell.exec", "echo x > p; cat q"), ("workflow.run", "Other"), ("shell.exec", "true")],
                )
                + &workflow(
                    "Other",
                    "",
                    &[("shell.exec", "x=$(cat p); echo $x > q"), ("shell.exec", "exit 4")],
                ),
            4,
            "x\n",
        ),
        (
            workflow(
                "Project",
                "",
                &[
                    ("workflow.run", "Both"),
                    (
                        "shell.exec",
                        "read line; echo then $line; [ -e /dev/fd/3 ] || [ -e /dev/fd/4 ] || echo closed",
                    ),
                ],
            ) + &workflow("Both", "parallel", &[("shell.exec", "true"), ("workflow.run", "Inner")])
                + &workflow(
                    "Inner",
                    "parallel",
                    &[
                        ("shell.exec", "true"),
                        ("shell.exec", "[ -e /dev/fd/3 ] || [ -e /dev/fd/4 ] || echo closed"),
                    ],
                ),
            0,
            "closed\nthen typed\nclosed\n",
        ),
    ] {
        let place = workflows(&tasks);
        let output = output.replace("ROOT", place.root().to_str().unwrap());
        assert_eq!(place.output(&place.plan(None).unwrap().run), (Some(code), output), "{tasks}");
    }
}

#[test]
fn workflows_that_cannot_run_are_told_and_all_are_bounded() {
    let chain: String = (0..=limits::WORKFLOW_DEPTH)
        .map(|n| workflow(&n.to_string(), "", &[("workflow.run", &(n + 1).to_string())]))
        .collect();
    let many = vec![("shell.exec", "x"); limits::WORKFLOW_TASKS + 1];
    for (tasks, expected) in [
        (
            workflow("Other", "", &[]),
            ".replit: the workflow Project: there is none of that name, only: Other",
        ),
        (workflow("Project", "at once", &[]), "its mode is sequential or parallel, not at once"),
        (workflow("Project", "", &[("deploy", "x")]), "packager.installForAll, not deploy"),
        (workflow("Project", "", &[("workflow.run", "Project")]), "it runs itself"),
        (workflow("Project", "", &[("workflow.run", "0")]) + &chain, "run each other 8 deep at most"),
        (workflow("Project", "", &many), "more than the 64 tasks"),
    ] {
        let error = workflows(&tasks).error(None);
        assert!(error.starts_with(".replit: the workflow ") && error.contains(expected), "{error}");
    }
    // What does nothing leaves it to `run`.
    assert_eq!(workflows(&workflow("Project", "", &[])).run(), "sh -c no");
}
