//! Keys and tokens as an operator makes them: with `pid1 token`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Agent, Launch, binary};

/// The shared secret of the agents here.
pub const TOKEN: &str = "0123456789-operator";

/// The `aud` of their JWTs.
pub const AUDIENCE: &str = "box.example";

/// An agent that accepts every kind of token, and all that is needed to make them.
pub struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// Keys in the launch's own folder.
    pub fn new(launch: &Launch) -> Keys {
        let keys = Keys { folder: launch.home().join("keys") };
        std::fs::create_dir_all(&keys.folder).unwrap();
        for name in ["paseto", "jwt", "other"] {
            let public = pid1(&["token", "key", "--out", keys.path(name).to_str().unwrap()]);
            std::fs::write(keys.path(&format!("{name}.pub")), public).unwrap();
        }
        for name in ["shared", "other-shared"] {
            std::fs::write(keys.path(name), pid1(&["token", "secret"])).unwrap();
        }
        keys
    }

    /// An agent that accepts them all, with `flags` of its own besides.
    pub async fn agent(flags: &[&str]) -> (Agent, Keys) {
        let launch = Launch::new();
        let keys = Keys::new(&launch);
        let all = keys.flags();
        let all: Vec<_> = all.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        (launch.flags(&all).start().await, keys)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap().trim().to_owned()
    }

    /// Flags of an agent that accepts them all.
    fn flags(&self) -> Vec<String> {
        let file = |name: &str| self.path(name).to_str().unwrap().to_owned();
        [
            "--token".into(),
            TOKEN.into(),
            "--paseto-key".into(),
            format!("k1={}", self.text("paseto.pub")),
            "--repl-id".into(),
            "box".into(),
            "--jwt-key".into(),
            format!("@{}", file("jwt.pub")),
            "--jwt-secret-file".into(),
            file("shared"),
            "--jwt-audience".into(),
            AUDIENCE.into(),
        ]
        .into()
    }

    pub fn paseto(&self, flags: &[&str]) -> String {
        self.mint("paseto", &[("--key", "paseto"), ("--key-id", "k1"), ("--repl-id", "box")], flags)
    }

    pub fn jwt(&self, flags: &[&str]) -> String {
        self.mint("jwt", &[("--key", "jwt"), ("--audience", AUDIENCE)], flags)
    }

    pub fn jwt_of(&self, role: &str) -> String {
        self.jwt(&["--role", role, "--user", role])
    }

    pub fn hs256(&self, flags: &[&str]) -> String {
        self.mint("jwt", &[("--secret-file", "shared"), ("--audience", AUDIENCE)], flags)
    }

    /// What `flags` say goes before the usual.
    fn mint(&self, kind: &str, usual: &[(&str, &str)], flags: &[&str]) -> String {
        let mut line = vec!["token".to_owned(), kind.to_owned()];
        for (flag, value) in usual.iter().filter(|(flag, _)| !flags.contains(flag)) {
            let is_file = ["--key", "--secret-file"].contains(flag);
            let value =
                if is_file { self.path(value).to_str().unwrap().to_owned() } else { (*value).to_owned() };
            line.extend([(*flag).to_owned(), value]);
        }
        line.extend(flags.iter().map(|&flag| flag.to_owned()));
        pid1(&line.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// What the command line prints.
pub fn pid1(arguments: &[&str]) -> String {
    let output = Command::new(binary()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Only its owner may read a private key.
#[test]
fn a_private_key_is_for_nobody_else_and_is_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let make =
        |file: &Path| Command::new(binary()).args(["token", "key", "--out"]).arg(file).output().unwrap();
    assert!(make(&file).status.success());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&file).unwrap();
    let again = make(&file);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains(file.to_str().unwrap()));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}
