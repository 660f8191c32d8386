//! Disks that are full: that of the workspace, and that of the state folder.

use pid1_sdk::api::command::Body;

use super::editor::Editor;
use crate::support::{Agent, Launch};

/// An agent whose folder of this name is a small disk, and that writes documents only when it is asked to.
async fn on_a_small(folder: &str) -> Agent {
    Launch::new().flags(&["--autosave", "600"]).small_disk(folder).start().await
}

#[tokio::test]
async fn what_does_not_fit_into_the_file_is_kept_and_written_when_it_does() {
    let agent = on_a_small("root").await;
    let mut client = agent.client().await;
    let shell = client.shell("").await;
    client.shell_run(shell, "printf old > $DISK/a.txt; cat /dev/zero > $DISK/fill").await;
    let mut editor = Editor::open(&agent, "a.txt").await;
    editor.edit(0, 0, &"new ".repeat(5_000)).await;
    let said = format!("{:?}", editor.try_flush().await);
    assert!(said.contains("a.txt: no space left on device"), "{said}");
    let there = client.shell_run(shell, "cat $DISK/a.txt; ls -A $DISK").await;
    assert!(there.contains("olda.txt  fill"), "{there}");
    client.shell_run(shell, "rm $DISK/fill").await;
    editor.flush().await;
    let length = client.shell_run(shell, "wc -c < $DISK/a.txt").await;
    assert!(length.contains("20003"), "{length}");
}

#[tokio::test]
async fn what_cannot_be_kept_was_never_said() {
    let agent = on_a_small("state").await;
    std::fs::write(agent.root().join("a.txt"), "abc\n").unwrap();
    let mut editor = Editor::open(&agent, "a.txt").await;
    let mut other = Editor::open(&agent, "a.txt").await;
    let mut client = agent.client().await;
    let shell = client.shell("").await;
    client.shell_run(shell, "cat /dev/zero > $DISK/fill").await;
    let said = editor.refused(&"x".repeat(200_000)).await;
    assert!(said.contains("the change is not kept, and was not made") && said.contains("full"), "{said}");
    client.shell_run(shell, "rm $DISK/fill").await;
    editor.edit(0, 0, "x").await;
    other.catch_up(editor.version).await;
    assert_eq!((other.text().as_str(), other.version), ("xabc\n", 2));
    assert!(matches!(editor.try_flush().await, Body::Ok(_)));
    assert_eq!(std::fs::read_to_string(agent.root().join("a.txt")).unwrap(), "xabc\n");
}
