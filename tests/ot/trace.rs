//! A long session of writing, keystroke by keystroke. Those that were recorded for comparing such software are in no
//! package registry; this one is made up with the same proportions: characters typed one at a time in runs, nearly a third
//! of all changes deletions, most of them of what was just typed, and jumps to other places now and then.

use std::fs;

use super::editor::{Editor, agree};
use crate::support::{Agent, Rng, size};

/// As long as the longest recorded one, that of a paper.
const WHOLE: usize = 259_778;

/// Changes that are sent before the first of them is answered.
const AHEAD: u32 = 32;

#[tokio::test]
async fn a_long_session_ends_with_the_exact_text() {
    let agent = Agent::start().await;
    fs::write(agent.root().join("paper.tex"), "").unwrap();
    let mut editor = Editor::open(&agent, "paper.tex").await;
    let mut rng = Rng::seeded("a long session");
    let mut text: Vec<char> = Vec::new();
    let (mut at, mut run) = (0_usize, 0_usize);
    let first = editor.version;
    for number in 0..size(10_000, WHOLE) as u32 {
        if run == 0 {
            run = 1 + rng.below(60);
            // One run in four goes on elsewhere.
            if rng.below(4) == 0 {
                at = rng.below(text.len() + 1);
            }
        }
        run -= 1;
        // Whoever is alone knows what comes of what he has sent.
        let base = first + number;
        if at > 0 && rng.below(100) < 30 {
            at -= 1;
            text.remove(at);
            editor.send_on(base, at, 1, "").await;
        } else {
            let typed = *rng.pick(&['e', 't', ' ', '\u{e9}', '\n', '\u{1f58b}']);
            text.insert(at, typed);
            editor.send_on(base, at, 0, &typed.to_string()).await;
            at += 1;
        }
        if number % AHEAD == AHEAD - 1 {
            editor.until_mine().await;
        }
    }
    editor.until_mine().await;
    assert_eq!(editor.text, text);
    agree(&agent, &mut [editor], "paper.tex").await;
}
