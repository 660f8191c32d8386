//! What people and their tools do to a workspace: editors that save, git, npm.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::Agent;

use super::tree::Tree;

/// Runs a script in the workspace; true if it succeeded.
fn tries(root: &Path, script: &str) -> bool {
    let output = Command::new("bash")
        .args(["-euc", script])
        .current_dir(root)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "test")
        .env("GIT_AUTHOR_EMAIL", "test@example.com")
        .env("GIT_COMMITTER_NAME", "test")
        .env("GIT_COMMITTER_EMAIL", "test@example.com")
        .output()
        .unwrap();
    if !output.status.success() {
        eprintln!("{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

fn run(root: &Path, script: &str) {
    assert!(tries(root, script), "{script}");
}

#[tokio::test]
async fn however_an_editor_saves_its_file_has_changed() {
    let agent = Agent::start().await;
    let root = agent.root();
    fs::write(root.join("f"), "one\n").unwrap();
    let mut tree = Tree::open(&agent).await;
    let ways = [
        ("in place", "echo two > f"),
        ("sed -i", "sed -i s/two/three/ f"),
        ("vim: the old one is moved to a backup, which goes", "mv f f~; echo four > f; rm f~"),
        ("emacs: written beside, moved over", "echo five > '#f#'; mv '#f#' f"),
        (
            "an atomic save by a temporary file of another name",
            "t=$(mktemp ./.f.XXXXXX); echo six > $t; mv $t f",
        ),
        ("removed and written again", "rm f; echo seven > f"),
        (
            "swapped in, with a backup that stays for a while",
            "echo eight > f.new; mv f f.old; mv f.new f; rm f.old",
        ),
    ];
    for (how, script) in ways {
        run(&root, script);
        let told = tree.told().await;
        tree.agree().await;
        assert_eq!(tree.known.keys().collect::<Vec<_>>(), ["f"], "{how}");
        let about_it: Vec<_> = told.iter().filter(|said| said.split(' ').any(|word| word == "f")).collect();
        assert!(!about_it.is_empty(), "{how}: nothing of the file in {told:?}");
        let only_gone = about_it.last().is_some_and(|said| said.starts_with("Remove"));
        assert!(!only_gone, "{how}: {told:?}");
    }
    // The agent's own way.
    let files = tree.peer.open("files", "").await;
    let body = pid1_sdk::api::File { path: "f".into(), content: "nine".into(), ..Default::default() };
    tree.peer.ask(files, pid1_sdk::api::command::Body::Write(body)).await;
    assert_eq!(tree.told().await, ["Modify f"]);
}

#[tokio::test]
async fn moves_are_told_as_moves_within_removals_out_and_creations_in() {
    let agent = Agent::start().await;
    let root = agent.root();
    run(&root, "mkdir -p one/inner two; touch one/inner/file; mkdir ../away");
    let mut tree = Tree::open(&agent).await;
    run(&root, "mv one/inner two/inner");
    assert_eq!(tree.told().await, ["Move one/inner two/inner"]);
    run(&root, "touch two/inner/more");
    // It is told of before its time is set, or after.
    assert_eq!(tree.told().await[0], "Create two/inner/more");
    run(&root, "mv two/inner ../away");
    assert_eq!(tree.told().await, ["Remove two/inner"]);
    run(&root, "mv ../away/inner one/back");
    assert_eq!(tree.told().await, ["Create one/back", "Create one/back/file", "Create one/back/more"]);
    run(&root, "mv one renamed; touch renamed/back/last");
    let told = tree.told().await;
    assert_eq!(told[..2], ["Move one renamed", "Create renamed/back/last"]);
    tree.agree().await;
}

#[tokio::test]
async fn git_is_followed_through_clone_checkout_and_stash() {
    let agent = Agent::start().await;
    let root = agent.root();
    let origin = root.parent().unwrap().join("origin");
    fs::create_dir(&origin).unwrap();
    run(
        &origin,
        "git init -q -b main .
         for d in a b c d e f g h; do mkdir -p $d/src/deep; for i in $(seq 40); do echo $d$i > $d/src/f$i; done; \
         echo x > $d/src/deep/x; done
         git add .; git commit -qm one
         git checkout -qb other; git mv a moved; rm -r b; mkdir -p b; echo file > b/only; git rm -rq c; echo c > c
         for i in $(seq 20); do echo changed > d/src/f$i; done
         git add -A; git commit -qm two; git checkout -q main",
    );
    let mut tree = Tree::open(&agent).await;
    run(&root, "git clone -q ../origin repo");
    tree.agree().await;
    run(&root, "cd repo; git checkout -q other");
    tree.agree().await;
    run(&root, "cd repo; git checkout -q main; git checkout -q other; git checkout -q main");
    tree.agree().await;
    run(
        &root,
        "cd repo; rm -r d; echo more > a/src/f1; echo new > new; git add new; git stash -q; git stash pop -q",
    );
    tree.agree().await;
    run(&root, "cd repo; git gc -q; git clean -qfdx; cd ..; mv repo elsewhere; rm -rf elsewhere/.git");
    tree.agree().await;
    run(&root, "rm -rf elsewhere");
    tree.agree().await;
    assert!(tree.known.is_empty());
}

#[tokio::test]
async fn packages_are_followed_as_they_are_installed() {
    let agent = Agent::start().await;
    let root = agent.root();
    let mut tree = Tree::open(&agent).await;
    // A registry may be slow to answer.
    let install = "npm install --silent --no-audit --no-fund --ignore-scripts --cache ../npm express@4.21.2";
    assert!((0..3).any(|_| tries(&root, install)), "no packages to be had");
    tree.agree().await;
    assert!(tree.known.len() > 500, "{} paths", tree.known.len());
    run(
        &root,
        "npm install --silent --no-audit --no-fund --cache ../npm --offline is-number@7.0.0 || true; rm -rf node_modules",
    );
    tree.agree().await;
}
