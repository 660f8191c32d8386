//! Programs that write the file of a document.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::editor::{Editor, agree};
use crate::support::{Agent, SOON, eventually};

fn run(folder: &Path, words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn editors_and_programs_change_one_file_at_once() {
    let agent = Agent::start().await;
    let file = agent.root().join("list.txt");
    let lines: String = (0..200).map(|number| format!("line {number} is here\n")).collect();
    fs::write(&file, &lines).unwrap();
    let mut editor = Editor::open(&agent, "list.txt").await;
    for number in 0..20 {
        editor.edit(0, 0, &format!("edited {number}\n")).await;
        // In place, and by another file in its place.
        let how = if number % 2 == 0 { "sed -i" } else { "sed -i --follow-symlinks" };
        let script = format!("{how} 's/^line {} .*/program {number}/' list.txt", 199 - number);
        run(&agent.root(), &["sh", "-c", &script]);
        let wanted = format!("program {number}\n");
        while !editor.text().contains(&wanted) {
            editor.catch_up(editor.version + 1).await;
        }
    }
    let text = agree(&agent, &mut [editor], "list.txt").await;
    for number in 0..20 {
        assert!(
            text.contains(&format!("edited {number}\n")) && text.contains(&format!("program {number}\n"))
        );
    }
    assert_eq!(text.lines().count(), 220);
}

#[tokio::test]
async fn git_checkout_is_a_change_like_any_other() {
    let agent = Agent::start().await;
    let root = agent.root();
    let git = |words: &[&str]| {
        let identity =
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
        run(&root, &[&identity[..], words].concat());
    };
    git(&["init", "-q"]);
    fs::write(root.join("a.txt"), "one\ntwo\nthree\n").unwrap();
    git(&["add", "a.txt"]);
    git(&["commit", "-qm", "first"]);
    fs::write(root.join("a.txt"), "one\ntwo\nTHREE\n").unwrap();
    git(&["commit", "-qam", "second"]);
    let mut editor = Editor::open(&agent, "a.txt").await;
    git(&["checkout", "-q", "HEAD~1"]);
    editor.catch_up(2).await;
    assert_eq!(editor.text(), "one\ntwo\nthree\n");
    editor.edit(0, 0, "zero\n").await;
    editor.flush().await;
    git(&["stash", "-q"]);
    editor.catch_up(4).await;
    git(&["checkout", "-q", "main"]);
    editor.catch_up(5).await;
    assert_eq!(editor.text(), "one\ntwo\nTHREE\n");
    git(&["stash", "pop"]);
    editor.catch_up(6).await;
    assert_eq!(editor.text(), "zero\none\ntwo\nTHREE\n");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_written_as_soon_as_it_can() {
    let agent = Agent::start().await;
    let file = agent.root().join("a.txt");
    fs::write(&file, "abc\n").unwrap();
    let mut editor = Editor::open(&agent, "a.txt").await;
    // Not even by root, whom permissions do not stop.
    run(&agent.root(), &["chattr", "+i", "a.txt"]);
    editor.edit(0, 0, "x").await;
    run(&agent.root(), &["chattr", "-i", "a.txt"]);
    eventually("it is written", SOON, || fs::read_to_string(&file).is_ok_and(|text| text == "xabc\n")).await;
}
