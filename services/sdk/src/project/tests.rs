//! Parsing, detection, plans and changes, on real folders; what goes wrong in them, too.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

mod layouts;

use super::*;
use crate::api::DotReplitUpdateOp;
use crate::workspace::WorkspaceConfig;

/// A workspace, and the settings that a client may have made.
struct Place {
    folder: TempDir,
    workspace: Workspace,
    language: &'static str,
    cwd: Option<PathBuf>,
}

impl Place {
    fn with(files: &[(&str, &str)]) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        for (path, content) in files {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), content).unwrap();
        }
        let scratch = folder.path().to_owned();
        let workspace = Workspace::open(WorkspaceConfig { root, scratch, fsync: false }).unwrap();
        Place { folder, workspace, language: "", cwd: None }
    }

    fn root(&self) -> &Path {
        self.workspace.root()
    }

    fn project(&self) -> Project<'_> {
        Project {
            workspace: &self.workspace,
            language: self.language.to_owned(),
            cwd: self.cwd.clone().unwrap_or_else(|| self.root().to_owned()),
            shell: "/bin/bash".to_owned(),
            environment: vec![("PATH".into(), "/bin".into()), ("SET".into(), "by a client".into())],
        }
    }

    fn plan(&self, file: Option<&str>) -> Result<RunPlan> {
        self.project().run_plan(file, None, Path::new("/build"))
    }

    fn error(&self, file: Option<&str>) -> String {
        self.plan(file).unwrap_err().to_string()
    }

    /// What is run, in one line.
    fn run(&self) -> String {
        line(&self.plan(None).unwrap().run)
    }
}

fn line(step: &Step) -> String {
    step.args.join(OsStr::new(" ")).into_string().unwrap()
}

fn variable(step: &Step, name: &str) -> Option<OsString> {
    step.env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

#[test]
fn commands_are_a_line_a_list_or_a_table() {
    for (text, args) in [
        ("run = \"a | b\"", &["sh", "-c", "a | b"][..]),
        ("run = ['a', 'b c']", &["a", "b c"]),
        ("run = { args = ['a'], env = { A = 'x' } }", &["a"]),
        ("[run]\nargs = 'a b'\nother = 1\n[run.env]\nA = 'x'", &["sh", "-c", "a b"]),
        ("run = ''", &[]),
        ("run = []", &[]),
        ("run = { env = { A = 'x' } }", &[]),
    ] {
        let run = DotReplit::parse(text).unwrap().run;
        assert_eq!(run.as_ref().map(|run| &run.args[..]).unwrap_or_default(), args, "{text}");
        if text.contains("env") && !args.is_empty() {
            assert_eq!(run.unwrap().env, [("A".to_owned(), "x".to_owned())]);
        }
    }
}

#[test]
fn a_whole_file_is_read_and_told_as_the_contract_has_it() {
    let text = r#"
        run = "make"
        language = "python3"
        entrypoint = "src/main.py"
        onBoot = ["setup"]
        hidden = ["venv"]
        modules = ["python-3.11"]
        audio = true
        [env]
        Z = "1"
        A = 2
        [packager]
        language = "python3"
        ignoredPackages = ["unit_tests"]
        [packager.features]
        guessImports = true
        [languages.python3]
        pattern = "**/*.py"
        [languages.python3.languageServer]
        start = "pylsp"
        configuration = { a = [1, true] }
        [interpreter]
        command = ["python3"]
        prompt = [62, 32]
        [unitTest]
        language = "python3"
        [nix]
        channel = "stable"
        [debugger]
        support = true
        [debugger.interactive]
        transport = "localhost:0"
        startCommand = ["dap", "main.py"]
        [debugger.interactive.launchMessage.arguments]
        stopOnEntry = false
        [deployment]
        run = "serve"
        deploymentTarget = "cloudrun"
        [[deployment.rewrites]]
        from = "/*"
        to = "/index.html"
        [rules.formatter.fileExtensions.".js"]
        id = "module:x"
        [[hints]]
        regex = "a(.)"
        message = "b $1"
        [[ports]]
        localPort = 3000
        externalPort = 80
        [somethingNew]
        x = 1
    "#;
    let parsed = DotReplit::parse(text).unwrap();
    assert_eq!(parsed.env, [("Z".into(), "1".into()), ("A".into(), "2".into())]);
    let told = parsed.to_message();
    let order: Vec<&str> = told.ordered_env.iter().map(|variable| &*variable.key).collect();
    assert_eq!((order, told.env.len()), (vec!["Z", "A"], 2));
    assert_eq!(told.run.unwrap().args, ["sh", "-c", "make"]);
    assert_eq!(told.interpreter.unwrap().prompt, "> ");
    let server = told.languages["python3"].language_server.as_ref().unwrap();
    assert_eq!(server.start_command.as_ref().unwrap().args, ["sh", "-c", "pylsp"]);
    assert_eq!(server.configuration_json, r#"{"a":[1,true]}"#);
    let interactive = told.debugger.unwrap().interactive.unwrap();
    assert_eq!(interactive.start_command.unwrap().args, ["dap", "main.py"]);
    assert!(interactive.launch_message.unwrap().fields.contains_key("arguments"));
    let deployment = told.deployment.unwrap();
    assert_eq!(deployment.target(), crate::api::deployment_config::Target::Cloudrun);
    assert_eq!(deployment.rewrites[0].to, "/index.html");
    assert_eq!(told.rules.unwrap().formatter.unwrap().file_extensions[".js"].id, "module:x");
    assert_eq!((told.ports[0].local_port, told.ports[0].external_port), (3000, 80));
    assert!(told.packager.unwrap().features.unwrap().guess_imports && told.audio);
    assert_eq!((told.hints_list.len(), told.auth), (1, None));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, expected) in [
        ("run = ", ".replit, line 1 (run =): "),
        ("\n\nrun = 5", ".replit, line 3 (run = 5): invalid type: integer `5`, expected a command: \"a line"),
        ("a = 1\na = 2", "duplicate key"),
        ("[env]\nA = ['x']", "line 2 (A = ['x']): invalid type: sequence, expected the value of a variable"),
        ("[env]\n'A=B' = 'x'", "no name of a variable"),
        ("run = \"a\\u0000\"", "there is a NUL in it"),
        ("run = ['a', 1]", "invalid type: integer `1`, expected a string"),
        ("[interpreter]\nprompt = 1.5", "a prompt is \"text\", or its bytes"),
        ("[workflows]\nrunButton = 1", "line 2 (runButton = 1): invalid type: integer"),
        ("workflows = 1", "expected a table: [workflows]"),
        ("interpreter = 1", "expected a table: [interpreter]"),
        ("[workflows]\nworkflow = [1]", "expected a table: [[workflows.workflow]]"),
        ("x = '\u{1b}[0m'", ".replit, line 1 (x = ' [0m'): "),
    ] {
        let error = DotReplit::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(".replit, line ") && error.contains(expected), "{text:?}: {error}");
        assert!(!error.contains(char::is_control));
    }
    let deep = format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(DotReplit::parse(&deep).unwrap_err().to_string().contains("recursion"));
}

#[test]
fn the_file_itself_may_be_anything() {
    let place = Place::with(&[]);
    assert_eq!(place.project().dot_replit().unwrap(), DotReplit::default());
    let path = place.root().join(FILE);
    fs::write(&path, b"a = 1\nrun = '\xff'").unwrap();
    assert_eq!(place.error(None), ".replit, line 2: it is not UTF-8: write it anew as that");
    fs::write(&path, "#".repeat(limits::DOT_REPLIT_BYTES + 1)).unwrap();
    assert!(place.error(None).contains("more than the 1048576"), "{}", place.error(None));
    fs::remove_file(&path).unwrap();
    fs::write(place.folder.path().join("outside"), "run = 'x'").unwrap();
    symlink("../outside", &path).unwrap();
    assert!(place.error(None).contains("leads out of the workspace"));
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    assert!(place.error(None).contains("not a regular file"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(place.error(None).contains("is a directory"));
}

#[test]
fn what_the_file_says_is_run() {
    let text = "run = 'serve $PORT'\ncompile = ['make']\n[env]\nPORT = '80'\nBOTH = \"$SET, $PORT\"\n[[hints]]\nregex = 'x'\nmessage = 'y'";
    let place = Place::with(&[(".replit", text), ("main.py", "")]);
    let plan = place.plan(None).unwrap();
    assert_eq!(
        (line(&plan.run), line(plan.compile.as_ref().unwrap())),
        ("sh -c serve $PORT".into(), "make".into())
    );
    assert_eq!(variable(&plan.run, "BOTH").unwrap(), "by a client, 80");
    // What a client has set is added by the engine.
    assert_eq!(variable(&plan.run, "SET"), None);
    assert_eq!(plan.language.unwrap().name, "python");
    assert_eq!(plan.repl, None, "it is not known what that runs");
    assert!(plan.hints[0].regex == "x" && plan.hints.len() > 1);
    // A file that is asked for is run as its language does.
    let plan = place.plan(Some("main.py")).unwrap();
    assert_eq!((line(&plan.run), plan.compile), ("python3 -u main.py".into(), None));
    assert_eq!(variable(&plan.run, "PORT").unwrap(), "80");
    let place = Place::with(&[(".replit", "run = 'x'\nentrypoint = '../..'\nlanguage = 'cobol'")]);
    assert_eq!(place.run(), "sh -c x");
    let text = "[interpreter]\ncommand = ['bc']\nprompt = '> '";
    let place = Place::with(&[(".replit", text), ("main.sh", "")]);
    let plan = place.plan(None).unwrap();
    assert_eq!((line(&plan.repl.unwrap()), &plan.prompt[..]), ("bc".into(), &b"> "[..]));
}

#[test]
fn a_workspace_without_the_file_is_known_by_its_files() {
    for (files, expected) in [
        (&["main.py", "index.js", "main.c"][..], "python3 -u main.py"),
        (&["a.py", "README"], "python3 -u a.py"),
        (&["index.js", "x.py", "y.py"], "node index.js"),
        (&["main.rs"], "/build/main"),
        (&["Cargo.toml", "main.rs", "index.js"], "cargo run --quiet"),
        (&["go.mod", "x.go"], "/build/main"),
        (&["main.sh"], "bash main.sh"),
    ] {
        let files: Vec<_> = files.iter().map(|name| (*name, "")).collect();
        assert_eq!(Place::with(&files).run(), expected, "{files:?}");
    }
    let compiled = Place::with(&[("main.c", "")]).plan(None).unwrap();
    let compile = line(&compiled.compile.unwrap());
    assert!(compile.starts_with("sh -c ") && compile.ends_with(" cc main.c /build/main"), "{compile}");
    assert_eq!(compiled.repl, None);
    let module = Place::with(&[("go.mod", "")]).plan(None).unwrap();
    assert_eq!(
        (line(&module.compile.unwrap()), module.entrypoint),
        ("go build -o /build/main .".into(), None)
    );
    for (manifest, expected) in [
        (r#"{"scripts": {"start": "x"}, "main": "lib/a.js"}"#, "npm run --silent start"),
        (r#"{"scripts": {"start": 5}, "main": "lib/a.js"}"#, "node lib/a.js"),
        (r#"{"main": "../../etc/passwd"}"#, "node index.js"),
        (r#"{"main": "missing.js"}"#, "node index.js"),
        ("{", "node index.js"),
    ] {
        let files = [("package.json", manifest), ("lib/a.js", ""), ("index.js", "")];
        assert_eq!(Place::with(&files).run(), expected, "{manifest}");
    }
}

#[test]
fn a_declared_language_and_entrypoint_count_before_what_is_found() {
    let mut place = Place::with(&[(".replit", "language = 'nodejs'"), ("main.py", ""), ("index.js", "")]);
    assert_eq!(place.run(), "node index.js");
    place.language = "python3";
    assert_eq!(place.run(), "python3 -u main.py");
    place.language = "klingon";
    assert_eq!(place.run(), "node index.js");
    let place = Place::with(&[(".replit", "entrypoint = './src/x.js'"), ("main.py", ""), ("src/x.js", "")]);
    assert_eq!(place.run(), "node src/x.js");
    let place = Place::with(&[(".replit", "language = 'go'"), ("main.py", "")]);
    assert!(
        place.error(None).contains("the language is Go, and there is no main.go"),
        "{}",
        place.error(None)
    );
    let place = Place::with(&[(".replit", "language = 'cobol'")]);
    let error = place.error(None);
    assert!(error.contains("the language cobol is not known here") && error.contains("main.py"), "{error}");
    let error = Place::with(&[]).error(None);
    assert!(error.starts_with("no program to run: write run = \"…\" into .replit, or add a file"), "{error}");
    for (entrypoint, expected) in [
        ("gone.py", "open gone.py: no such file"),
        ("../main.py", "leads out of the workspace"),
        ("/etc/passwd.py", "leads out of the workspace"),
        ("folder.py/../../x.py", "leads out of the workspace"),
        ("folder.py", "is a directory"),
    ] {
        let place = Place::with(&[(".replit", &format!("entrypoint = '{entrypoint}'")), ("folder.py/x", "")]);
        let error = place.error(None);
        assert!(
            error.contains("names an entrypoint that cannot be run") && error.contains(expected),
            "{error}"
        );
    }
    let place = Place::with(&[(".replit", "entrypoint = \"a\\u0000.py\"")]);
    assert!(place.error(None).contains("cannot be run: open a .py: "), "{}", place.error(None));
}

#[test]
fn a_file_is_found_where_programs_start_and_is_no_option() {
    let mut place = Place::with(&[("-c.py", ""), ("a b/x.py", ""), ("notes", "")]);
    symlink("a b/x.py", place.root().join("link.py")).unwrap();
    let run = |place: &Place, file: &str| line(&place.plan(Some(file)).unwrap().run);
    assert_eq!(run(&place, "-c.py"), "python3 -u ./-c.py");
    assert_eq!(run(&place, "link.py"), "python3 -u link.py");
    assert_eq!(run(&place, "a b/../a b/x.py"), "python3 -u a b/x.py");
    let inside = place.root().join("a b/x.py");
    assert_eq!(run(&place, inside.to_str().unwrap()), "python3 -u a b/x.py");
    place.cwd = Some(place.root().join("a b"));
    assert_eq!(run(&place, "a b/x.py"), format!("python3 -u {}", inside.display()));
    fs::write(place.root().join("Makefile"), "run:").unwrap();
    fs::write(place.root().join("x.c"), "").unwrap();
    assert_eq!(place.run(), format!("make --silent -C {} run", place.root().display()));
    for (file, expected) in [
        ("notes", "notes is in no language that can be run here: "),
        ("../x.py", "leads out of the workspace"),
        ("x.py\0", "open x.py : "),
        ("gone.py", "open gone.py: no such file or directory"),
    ] {
        assert!(place.error(Some(file)).contains(expected), "{file}: {}", place.error(Some(file)));
    }
    // Without a name that is text it cannot be found, but it can be asked for.
    let place = Place::with(&[]);
    fs::write(place.root().join(OsStr::from_bytes(b"\xff.py")), "").unwrap();
    assert!(place.plan(None).is_err());
    let run = place.plan(Some("\u{EFFF}.py")).unwrap().run;
    assert_eq!(run.args[2].as_bytes(), b"\xff.py");
}

#[test]
fn a_folder_of_many_files_is_looked_at_so_far() {
    let place = Place::with(&[]);
    for number in 0..limits::PROJECT_ENTRIES + 100 {
        fs::write(place.root().join(format!("{number}.txt")), "").unwrap();
    }
    assert_eq!(place.project().detect(None).unwrap(), None);
}

#[test]
fn a_change_is_made_to_what_is_there_and_keeps_its_mode() {
    let op = |path: &str, value: &str| DotReplitUpdateOp {
        op: "add".into(),
        path: path.into(),
        value: value.into(),
    };
    let place = Place::with(&[]);
    let path = place.root().join(FILE);
    place.project().update(&[op("run", "\"x\""), op("env/A", "\"1\"")]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "run = \"x\"\n\n[env]\nA = \"1\"\n");
    let wrong = [op("run", "\"y\""), op("run/x", "1")];
    assert!(place.project().update(&wrong).is_err());
    assert_eq!(place.run(), "sh -c x");
    assert!(place.project().update(&vec![op("run", "\"y\""); limits::DOT_REPLIT_OPS + 1]).is_err());
    fs::write(&path, "run = ").unwrap();
    assert!(place.project().update(&[op("run", "\"y\"")]).unwrap_err().to_string().contains("line 1"));
}

/// Whoever writes at the same time, through the agent or not: no change of anybody is lost.
#[test]
fn many_who_change_it_at_once_lose_nothing() {
    let place = Place::with(&[]);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let place = &place;
            scope.spawn(move || {
                for number in 0..16 {
                    let path = format!("env/V{writer}_{number}");
                    let op = DotReplitUpdateOp { op: "add".into(), path, value: "\"x\"".into() };
                    // One who is overtaken too often is told so, and tries again.
                    while let Err(error) = place.project().update(std::slice::from_ref(&op)) {
                        assert!(error.to_string().contains("somebody else is writing"), "{error}");
                    }
                }
            });
        }
    });
    assert_eq!(place.project().dot_replit().unwrap().env.len(), 64);
}
