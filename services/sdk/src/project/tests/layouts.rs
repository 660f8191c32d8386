//! Workspaces as people have them: what in them is the program, and files that are not quite right.

use std::io::Write;

use super::*;

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
            "make --silent run",
        ),
        (&[("Makefile", "run:\n\t./app\n"), ("a.cc", "")], "make --silent run"),
        (&[("Makefile", "rerun:\n\t./app\n"), ("main.c", "")], "/build/main"),
        (&[("Makefile", "run:\n\t./app\n"), ("main.py", "")], "python3 -u main.py"),
        (&[("src/main.c", "")], "/build/main"),
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
        ("seven.c", "int remain(int n) { return n; }\nint seven(void) { return remain(7); }\n"),
    ];
    let place = Place::with(&files);
    assert_eq!(place.plan(None).unwrap().entrypoint.unwrap(), Path::new("run.c"));
    fs::write(place.root().join("other.c"), "int main() { return 1; }").unwrap();
    assert!(place.plan(None).is_err(), "there are two programs");
    fs::create_dir(place.root().join("build")).unwrap();
    let build = place.root().join("build");
    let plan = place.project().run_plan(Some("run.c"), &build).unwrap();
    for step in [plan.compile.unwrap(), plan.run] {
        assert_eq!(place.output(&step), (Some(0), String::new()));
    }
}
