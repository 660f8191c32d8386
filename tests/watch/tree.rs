//! A client as simple as one can be: it lists a folder when it opens it, adds what is created, removes what is removed
//! with everything beneath, moves what moves, and subscribes to each folder that comes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pid1_sdk::api::{Command, File, FileEvent, SubscribeFile, command::Body, file::Type, file_event::Op};
use pid1_sdk::workspace::{is_temporary, to_wire};
use prost::Message as _;

use crate::support::{Agent, LATE, Peer};

/// Paths as the protocol has them, and whether each is a folder.
type Known = BTreeMap<String, bool>;

pub struct Tree {
    pub peer: Peer,
    pub channel: i32,
    pub root: PathBuf,
    pub known: Known,
    /// Every event, since this was last looked at.
    pub log: Vec<FileEvent>,
    pub event_bytes: usize,
    pub toasts: Vec<String>,
}

pub fn at(path: &str) -> File {
    File { path: path.to_owned(), ..File::default() }
}

pub fn subscribe(path: &str) -> Body {
    Body::SubscribeFile(SubscribeFile { files: vec![at(path)] })
}

/// What is on the disk.
pub fn disk(root: &Path) -> Known {
    let (mut known, mut folders) = (Known::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten().filter(|entry| !is_temporary(&entry.file_name())) {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            folders.extend(is_folder.then(|| entry.path()));
            let path = entry.path().strip_prefix(root).unwrap().to_owned();
            if path.starts_with(pid1_sdk::workspace::HIDDEN) {
                continue;
            }
            known.insert(to_wire(path.as_os_str()).into_owned(), is_folder);
        }
    }
    known
}

impl Tree {
    /// Opens every folder.
    pub async fn open(agent: &Agent) -> Tree {
        let mut tree = Tree::nothing(agent).await;
        let files = tree.peer.open("files", "").await;
        let mut folders = vec![".".to_owned()];
        while let Some(folder) = folders.pop() {
            assert!(matches!(tree.peer.ask(tree.channel, subscribe(&folder)).await, Body::Ok(_)));
            let answer = tree.peer.ask(files, Body::Readdir(at(&folder))).await;
            let Body::Files(list) = answer else { panic!("{answer:?}") };
            for entry in list.files {
                let is_folder = entry.r#type() == Type::Directory;
                let path = if folder == "." { entry.path } else { format!("{folder}/{}", entry.path) };
                folders.extend(is_folder.then(|| path.clone()));
                tree.known.insert(path, is_folder);
            }
        }
        tree
    }

    /// Subscribes to nothing.
    pub async fn nothing(agent: &Agent) -> Tree {
        let mut peer = agent.client().await;
        let channel = peer.open("fsevents", "").await;
        let (known, log, event_bytes, toasts) = Default::default();
        Tree { peer, channel, root: agent.root(), known, log, event_bytes, toasts }
    }

    /// Takes one message, if one comes in time.
    pub async fn take(&mut self, within: Duration) -> bool {
        let next = self.peer.until("a message", |_| true);
        let Ok(command) = tokio::time::timeout(within, next).await else { return false };
        self.apply(command).await;
        true
    }

    async fn apply(&mut self, command: Command) {
        let size = command.encoded_len();
        match command.body {
            Some(Body::FileEvent(event)) if command.channel == self.channel => {
                self.event_bytes += size;
                self.believe(&event).await;
                self.log.push(event);
            }
            Some(Body::Toast(toast)) => self.toasts.push(toast.text),
            Some(Body::Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }

    async fn believe(&mut self, event: &FileEvent) {
        let file = event.file.as_ref().unwrap();
        let beneath = |known: &str| {
            known.strip_prefix(&file.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match event.op() {
            Op::Create => {
                let is_folder = file.r#type() == Type::Directory;
                self.known.insert(file.path.clone(), is_folder);
                if is_folder {
                    self.peer.send(self.channel, subscribe(&file.path)).await;
                }
            }
            Op::Remove => self.known.retain(|known, _| !beneath(known)),
            Op::Modify => {}
            Op::Move => {
                let dest = &event.dest.as_ref().unwrap().path;
                let moved: Vec<_> = self.known.extract_if(.., |known, _| beneath(known)).collect();
                for (known, is_folder) in moved {
                    self.known.insert(format!("{dest}{}", &known[file.path.len()..]), is_folder);
                }
            }
        }
    }

    /// Takes messages until it has what is on the disk.
    pub async fn agree(&mut self) {
        let begin = Instant::now();
        let mut disk = disk(&self.root);
        while self.known != disk {
            // To compare takes longer than to apply.
            let (mut taken, many) = (0, 100.max(disk.len() / 10));
            while taken < many && self.take(Duration::from_millis(300)).await {
                taken += 1;
            }
            if taken == many {
                continue;
            }
            disk = self::disk(&self.root);
            if begin.elapsed() > LATE && self.known != disk {
                let only = |one: &Known, other: &Known| -> Vec<_> {
                    one.keys().filter(|path| !other.contains_key(*path)).take(20).cloned().collect()
                };
                panic!(
                    "only the client has {:?}, only the disk has {:?}, last told: {:#?}",
                    only(&self.known, &disk),
                    only(&disk, &self.known),
                    &self.log[self.log.len().saturating_sub(30)..]
                );
            }
        }
    }

    /// What it is told, up to a file that is made now.
    pub async fn told(&mut self) -> Vec<String> {
        // What it has subscribed to meanwhile is answered.
        self.agree().await;
        let fence = self.root.join("fence");
        fs::write(&fence, "").unwrap();
        self.until("fence").await;
        fs::remove_file(&fence).unwrap();
        while self.known.contains_key("fence") {
            assert!(self.take(LATE).await);
        }
        let told = self.log.drain(..).map(|event| said(&event));
        told.filter(|said| !said.ends_with(" fence")).collect()
    }

    /// Waits until it knows of `path`.
    pub async fn until(&mut self, path: &str) {
        while !self.known.contains_key(path) {
            assert!(self.take(LATE).await, "{path} did not come");
        }
    }
}

/// An event in a few words.
pub fn said(event: &FileEvent) -> String {
    let path = &event.file.as_ref().unwrap().path;
    match event.dest.as_ref() {
        Some(dest) => format!("{:?} {path} {}", event.op(), dest.path),
        None => format!("{:?} {path}", event.op()),
    }
}

/// How many folders the agent watches.
pub fn watches(agent: &Agent) -> usize {
    let infos = fs::read_dir(format!("/proc/{}/fdinfo", agent.pid())).unwrap();
    let lines = |info: fs::DirEntry| {
        let text = fs::read(info.path()).unwrap_or_default();
        text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"inotify wd:")).count()
    };
    infos.flatten().map(lines).sum()
}

/// A name that is no text.
pub fn no_text() -> &'static std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(b"no\xfftext")
}
