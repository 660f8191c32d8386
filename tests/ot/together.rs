//! Several who edit at once.

use std::fs;

use futures_util::future::join_all;

use super::editor::{Editor, agree};
use crate::support::{Agent, Rng, size};

/// With more than one unit of UTF-16, with marks that combine, and ends of lines.
const PIECES: [&str; 6] = ["a", "\u{1f600}", "e\u{301}", "\r\n", "\u{4e16}\u{754c}", "\n"];

#[tokio::test]
async fn eight_editors_end_with_one_text_and_the_file_has_it() {
    let agent = Agent::start().await;
    fs::write(agent.root().join("main.py"), "print('\u{1f680}')\r\n").unwrap();
    let mut editors = Vec::new();
    for _ in 0..8 {
        editors.push(Editor::open(&agent, "main.py").await);
    }
    let mut rng = Rng::seeded("eight editors");
    let rounds = size(60, 500);
    let work = editors.into_iter().enumerate().map(|(number, mut editor)| {
        let mut rng = Rng::from(rng.next());
        async move {
            for round in 0..rounds {
                let at = rng.below(editor.text.len() + 1);
                let gone = rng.below(3).min(editor.text.len() - at);
                let text = format!("<{number}.{round}>{}", rng.pick(&PIECES));
                editor.edit(at, gone, &text).await;
            }
            editor
        }
    });
    let mut editors = join_all(work).await;
    let text = agree(&agent, &mut editors, "main.py").await;
    // Versions without a gap: the first, and one for each change.
    assert_eq!(editors[0].version as usize, 1 + 8 * rounds);
    assert!(text.chars().count() > 8 * rounds);
    // The history makes the same text again.
    let newest = editors[0].version;
    let packets = editors[0].fetch(1, newest).await;
    assert_eq!(packets.len(), newest as usize);
    assert_eq!(packets.last().unwrap().crc32, crc32fast::hash(text.as_bytes()));
}

#[tokio::test]
async fn who_was_cut_off_fetches_what_it_missed() {
    let agent = Agent::start().await;
    fs::write(agent.root().join("a.txt"), "abc\n").unwrap();
    let mut stays = Editor::open(&agent, "a.txt").await;
    let mut leaves = Editor::open(&agent, "a.txt").await;
    leaves.edit(0, 0, "1").await;
    let seen = leaves.version;
    drop(leaves);
    for number in 0..20 {
        stays.edit(number, 0, "x").await;
    }
    let mut back = Editor::join(agent.client().await, "a.txt").await;
    assert_eq!(back.version, stays.version);
    let packets = back.fetch(seen + 1, back.version).await;
    let versions: Vec<u32> = packets.iter().map(|packet| packet.version).collect();
    assert_eq!(versions, (seen + 1..=back.version).collect::<Vec<_>>());
    back.edit(0, 0, "y").await;
    agree(&agent, &mut [stays, back], "a.txt").await;
}

#[tokio::test]
async fn a_file_is_one_document_whatever_its_channel_is_called() {
    let agent = Agent::start().await;
    fs::write(agent.root().join("a.txt"), "abc\n").unwrap();
    std::os::unix::fs::symlink("a.txt", agent.root().join("link")).unwrap();
    let _first = Editor::open(&agent, "a.txt").await;
    let mut second = Editor::join(agent.client().await, "link").await;
    let answer = second.try_link("link").await;
    let error = format!("{answer:?}");
    assert!(error.contains("a.txt is edited on the channel ot:a.txt already"), "{error}");
}
