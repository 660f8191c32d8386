//! Anything at all done to a tree: after each batch every client knows what is on the disk.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::Kind;
use super::client::{Client, disk, workspace};

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }
}

/// Few names, so that they meet.
fn some_path(rng: &mut Rng, root: &Path) -> PathBuf {
    let known: Vec<PathBuf> = disk(root, |_| true)
        .into_iter()
        .filter(|(_, kind)| *kind == Kind::Folder)
        .map(|(path, _)| path)
        .collect();
    let place = rng.below(known.len() + 1);
    let folder = known.get(place).cloned().unwrap_or_default();
    let name = ["a", "b", "c", "d", "ä"][rng.below(5)];
    if folder.components().count() > 5 { PathBuf::from(name) } else { folder.join(name) }
}

fn act(rng: &mut Rng, root: &Path, outside: &Path) {
    let (one, other) = (root.join(some_path(rng, root)), root.join(some_path(rng, root)));
    // Whatever does not work is not done, as with people.
    match rng.below(12) {
        0..=2 => drop(fs::write(&one, format!("{}", rng.below(1000)))),
        3 => drop(fs::create_dir(&one)),
        4 => drop(fs::create_dir_all(one.join("a/b/c"))),
        5 => drop(fs::remove_file(&one)),
        6 => drop(fs::remove_dir_all(&one)),
        7..=8 => drop(fs::rename(&one, &other)),
        9 => {
            // Saved as editors do.
            if fs::write(one.with_extension("tmp"), "new").is_ok()
                && fs::rename(one.with_extension("tmp"), &one).is_err()
            {
                let _ = fs::remove_file(one.with_extension("tmp"));
            }
        }
        10 => {
            // Replaced by the other kind, or by itself.
            if fs::remove_dir_all(&one).is_ok() || fs::remove_file(&one).is_ok() {
                let _ =
                    if rng.below(2) == 0 { fs::write(&one, "") } else { fs::create_dir_all(one.join("d")) };
            }
        }
        _ => {
            let away = outside.join(["x", "y"][rng.below(2)]);
            if away.exists() {
                let _ = fs::rename(&away, &one);
            } else {
                let _ = fs::rename(&one, &away);
            }
        }
    }
}

#[tokio::test]
async fn after_anything_at_all_every_client_knows_what_is_there() {
    play(usize::MAX).await;
}

/// With next to no room to wait in, everything comes as a difference sooner or later.
#[tokio::test]
async fn those_who_are_always_behind_know_it_too() {
    play(4).await;
}

async fn play(queue: usize) {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = std::env::var("PID1_SEED").ok().map_or(now, |seed| seed.parse().unwrap()) | 1;
    eprintln!("repeat with PID1_SEED={seed}");
    let rounds = if std::env::var_os("PID1_LONG").is_some_and(|value| value == "1") { 2000 } else { 60 };
    let mut rng = Rng(seed);
    let (root, mut watcher) = workspace();
    watcher.queue = queue.min(watcher.queue);
    let outside = tempfile::tempdir_in(root.path().parent().unwrap()).unwrap();
    let points = ["a", "b/c", "d/a", "c/d/\u{e4}"];
    let mut pointer = Client::of_points(&watcher, root.path(), &points).await;
    let mut opener = Client::open(&watcher, root.path()).await;
    let mut whole = Client::whole(&watcher, root.path()).await;
    for round in 0..rounds {
        for _ in 0..rng.below(30) {
            act(&mut rng, root.path(), outside.path());
            // Sometimes told in between.
            if rng.below(8) == 0 {
                opener.take(std::time::Duration::from_millis(rng.below(60) as u64)).await;
            }
        }
        opener.agree().await;
        whole.agree().await;
        pointer.agree().await;
        if round % 16 == 0 {
            // A newcomer, and one who leaves.
            opener = Client::open(&watcher, root.path()).await;
        }
    }
}
