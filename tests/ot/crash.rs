//! Sudden ends.

use std::fs;

use nix::sys::signal::Signal;

use super::editor::{Editor, agree};
use crate::support::{Agent, HEAVY, Rng, size};

#[tokio::test]
async fn versions_go_on_and_old_changes_are_there_after_a_kill() {
    let mut agent = Agent::with(&["--autosave", "600"]).await;
    fs::write(agent.root().join("a.txt"), "abc\n").unwrap();
    let mut editor = Editor::open(&agent, "a.txt").await;
    editor.edit(0, 0, "\u{1f600}").await;
    editor.flush().await;
    editor.edit(1, 0, "not written\n").await;
    let (text, version) = (editor.text(), editor.version);
    agent.kill().await;
    assert_eq!(fs::read_to_string(agent.root().join("a.txt")).unwrap(), "\u{1f600}abc\n");
    let next = agent.launch().start().await;
    let mut editor = Editor::open(&next, "a.txt").await;
    assert_eq!((editor.text(), editor.version), (text, version));
    let versions: Vec<u32> = editor.fetch(1, 99).await.iter().map(|packet| packet.version).collect();
    assert_eq!(versions, [1, 2, 3]);
    editor.edit(0, 0, "more\n").await;
    agree(&next, &mut [editor], "a.txt").await;
}

#[tokio::test]
async fn what_was_not_written_is_merged_with_what_others_wrote_meanwhile() {
    let mut agent = Agent::with(&["--autosave", "600"]).await;
    let file = agent.root().join("a.txt");
    fs::write(&file, "one\ntwo\nthree\n").unwrap();
    let mut editor = Editor::open(&agent, "a.txt").await;
    editor.edit(0, 0, "edited\n").await;
    agent.kill().await;
    fs::write(&file, "one\ntwo\nTHREE\n").unwrap();
    let mut next = agent.launch().start().await;
    let editor = Editor::open(&next, "a.txt").await;
    assert_eq!((editor.text().as_str(), editor.version), ("edited\none\ntwo\nTHREE\n", 3));
    // Once more, before that is written.
    next.kill().await;
    fs::write(&file, "one\nTWO\nTHREE\n").unwrap();
    let last = next.launch().start().await;
    let editor = Editor::open(&last, "a.txt").await;
    assert_eq!((editor.text().as_str(), editor.version), ("edited\none\nTWO\nTHREE\n", 4));
    agree(&last, &mut [editor], "a.txt").await;
}

#[tokio::test]
async fn a_file_that_was_removed_meanwhile_is_gone_unless_something_was_not_written() {
    let mut agent = Agent::with(&["--autosave", "600"]).await;
    for name in ["written", "unwritten"] {
        fs::write(agent.root().join(name), "abc\n").unwrap();
        let mut editor = Editor::open(&agent, name).await;
        editor.edit(0, 0, "x").await;
        if name == "written" {
            editor.flush().await;
        }
    }
    agent.kill().await;
    for name in ["written", "unwritten"] {
        fs::remove_file(agent.root().join(name)).unwrap();
    }
    let next = agent.launch().start().await;
    let mut editor = Editor::join(next.client().await, "written").await;
    let answer = format!("{:?}", editor.try_link("written").await);
    assert!(answer.contains("no such file"), "{answer}");
    let editor = Editor::open(&next, "unwritten").await;
    assert_eq!(editor.text(), "xabc\n");
    agree(&next, &mut [editor], "unwritten").await;
}

/// Everything that was acknowledged is there after each kill, whenever it comes.
#[tokio::test]
async fn nothing_acknowledged_is_lost_however_often_it_is_killed() {
    let _alone = HEAVY.lock().await;
    let mut rng = Rng::seeded("kills");
    let mut agent = Agent::with(&["--autosave", "0.05"]).await;
    let file = agent.root().join("a.txt");
    fs::write(&file, "end\n").unwrap();
    let mut marks: Vec<String> = Vec::new();
    let mut version = 0;
    for round in 0..size(20, 1_000) {
        let mut editor = Editor::open(&agent, "a.txt").await;
        assert!(editor.version >= version, "{} after {version}", editor.version);
        let text = editor.text();
        for mark in &marks {
            assert_eq!(text.matches(mark.as_str()).count(), 1, "round {round}: {mark} in {text:?}");
        }
        // One that was not acknowledged may be there.
        for number in 0..1 + rng.below(20) {
            let mark = format!("<{round}.{number}>\n");
            editor.edit(0, 0, &mark).await;
            marks.push(mark);
        }
        version = editor.version;
        editor.send(0, 0, &format!("<{round}.last>\n")).await;
        if rng.below(2) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(rng.next() % 80)).await;
        }
        agent.kill().await;
        let next = agent.launch();
        agent = next.start().await;
        if marks.len() > 200 {
            // So that the text stays short.
            let mut editor = Editor::open(&agent, "a.txt").await;
            let length = editor.text.len();
            editor.edit(0, length, "").await;
            version = editor.version;
            marks.clear();
        }
    }
    let editor = Editor::open(&agent, "a.txt").await;
    agree(&agent, &mut [editor], "a.txt").await;
    agent.kill().await;
    let store = rusqlite::Connection::open(agent.root().join("../state/store.db")).unwrap();
    let check: String = store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test]
async fn an_agent_that_is_asked_to_end_writes_its_documents() {
    let mut agent = Agent::with(&["--autosave", "600"]).await;
    let file = agent.root().join("a.txt");
    fs::write(&file, "abc\n").unwrap();
    let mut editor = Editor::open(&agent, "a.txt").await;
    editor.edit(0, 0, "not written\n").await;
    agent.signal(Signal::SIGTERM);
    assert!(agent.ended().await.success());
    assert_eq!(fs::read_to_string(&file).unwrap(), "not written\nabc\n");
    // All of the store is in its one file.
    let gathered = agent.root().join("../state/store.db-wal");
    assert!(!gathered.exists() || fs::metadata(&gathered).unwrap().len() == 0);
}
