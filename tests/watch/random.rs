//! Random trees and random operations: after each batch every client has what is on the disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::{Agent, Rng, size};

use super::tree::{Tree, no_text};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "ä ö", ".hidden"];

fn some_path(rng: &mut Rng, root: &Path) -> PathBuf {
    let mut path = root.to_owned();
    for _ in 0..rng.below(4) {
        let inner: Vec<PathBuf> = fs::read_dir(&path)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        if inner.is_empty() {
            break;
        }
        path = rng.pick(&inner).clone();
    }
    if rng.below(12) == 0 { path.join(no_text()) } else { path.join(rng.pick(&NAMES)) }
}

/// Does something; what does not work is not done, as with people.
fn act(rng: &mut Rng, root: &Path, outside: &Path) {
    let (one, other) = (some_path(rng, root), some_path(rng, root));
    let away = outside.join(rng.pick(&NAMES));
    let _ = match rng.below(13) {
        0..=2 => fs::write(&one, "content"),
        3 => fs::create_dir(&one),
        4 => fs::create_dir_all(one.join("x/y/z")),
        5 => fs::remove_file(&one),
        6 => fs::remove_dir_all(&one),
        7 | 8 => fs::rename(&one, &other),
        9 => fs::write(one.with_extension("new"), "saved")
            .and_then(|()| fs::rename(one.with_extension("new"), &one)),
        10 => symlink(&other, &one),
        11 => fs::rename(&one, &away),
        _ => fs::rename(&away, &one),
    };
}

#[tokio::test]
async fn whatever_is_done_every_client_ends_with_what_is_there() {
    let mut rng = Rng::seeded("whatever_is_done_every_client_ends_with_what_is_there");
    let agent = Agent::start().await;
    let root = agent.root();
    let outside = root.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    for _ in 0..50 {
        act(&mut rng, &root, &outside);
    }
    let mut trees = vec![Tree::open(&agent).await, Tree::open(&agent).await];
    for round in 0..size(40, 1_000) {
        for _ in 0..rng.below(40) {
            act(&mut rng, &root, &outside);
        }
        for tree in &mut trees {
            tree.agree().await;
        }
        if round % 10 == 9 {
            // One loses its connection and comes back.
            trees[0] = Tree::open(&agent).await;
        }
    }
}
