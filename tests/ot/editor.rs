//! An editor that trusts nothing: it checks every version, checksum and answer. It shows a change of its own only when
//! that comes back, so it needs no transformation.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use pid1_sdk::api::ot_rune_transform_op::Op;
use pid1_sdk::api::{
    Command, File, Flush, OtFetchRequest, OtLinkFile, OtPacket, OtRuneTransformOp, OtStatus, command::Body,
};

use crate::support::{Agent, Peer};

static EDITORS: AtomicU32 = AtomicU32::new(1);

pub struct Editor {
    pub peer: Peer,
    channel: i32,
    pub text: Vec<char>,
    pub version: u32,
    nonce: u32,
}

impl Editor {
    /// Opens `path`, links it if nobody has, and has its text.
    pub async fn open(agent: &Agent, path: &str) -> Editor {
        let mut editor = Editor::join(agent.client().await, path).await;
        if editor.version == 0 {
            editor.link(path).await;
        }
        editor
    }

    /// Opens the channel, and takes what it says of the document.
    pub async fn join(mut peer: Peer, path: &str) -> Editor {
        let channel = peer.open("ot", &format!("ot:{path}")).await;
        let status = peer.until("otstatus", |command| matches!(command.body, Some(Body::Otstatus(_)))).await;
        let Some(Body::Otstatus(OtStatus { contents, version, .. })) = status.body else { unreachable!() };
        // No two have the same ones.
        let nonce = EDITORS.fetch_add(1, Ordering::Relaxed) << 16;
        Editor { peer, channel, text: contents.chars().collect(), version, nonce }
    }

    pub async fn try_link(&mut self, path: &str) -> Body {
        let file = Some(File { path: path.into(), ..File::default() });
        self.peer.ask(self.channel, Body::OtLinkFile(OtLinkFile { file, ..OtLinkFile::default() })).await
    }

    async fn link(&mut self, path: &str) {
        let Body::OtLinkFileResponse(response) = self.try_link(path).await else {
            panic!("{path} is not linked")
        };
        let content = response.linked_file.unwrap().content;
        self.text = std::str::from_utf8(&content).unwrap().chars().collect();
        self.version = response.version;
    }

    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// Puts `text` somewhere, takes out as much as `gone` there; returns when the agent has acknowledged it.
    pub async fn edit(&mut self, at: usize, gone: usize, text: &str) {
        self.send(at, gone, text).await;
        self.until_mine().await;
    }

    pub async fn send(&mut self, at: usize, gone: usize, text: &str) {
        self.send_on(self.version, at, gone, text).await;
    }

    /// A change of version `base`.
    pub async fn send_on(&mut self, base: u32, at: usize, gone: usize, text: &str) {
        let (at, gone) = (at as u32, gone as u32);
        let steps = [
            (at > 0).then_some(Op::Skip(at)),
            (gone > 0).then_some(Op::Delete(gone)),
            (!text.is_empty()).then(|| Op::Insert(text.into())),
        ];
        let ops = steps.into_iter().flatten().map(|op| OtRuneTransformOp { op: Some(op) }).collect();
        self.nonce += 1;
        let packet = OtPacket { spooky_version: base, ops, nonce: self.nonce, ..OtPacket::default() };
        self.peer.send(self.channel, Body::Ot(packet)).await;
    }

    /// Takes packets until the one with this editor's last change.
    pub async fn until_mine(&mut self) {
        let nonce = self.nonce;
        while self.take().await != nonce {}
    }

    /// Takes the next packet; whose it is, by its nonce.
    async fn take(&mut self) -> u32 {
        let channel = self.channel;
        let packet = |command: &Command| {
            assert!(!matches!(command.body, Some(Body::Error(_))), "{command:?}");
            command.channel == channel
                && matches!(&command.body, Some(Body::Ot(packet)) if packet.version > 0)
        };
        let Some(Body::Ot(packet)) = self.peer.until("a packet", packet).await.body else { unreachable!() };
        if packet.version > self.version {
            self.apply(&packet);
        }
        packet.nonce
    }

    pub async fn catch_up(&mut self, version: u32) {
        while self.version < version {
            self.take().await;
        }
    }

    fn apply(&mut self, packet: &OtPacket) {
        assert_eq!((packet.version, packet.spooky_version), (self.version + 1, self.version + 1));
        let mut at = 0;
        for step in &packet.ops {
            match step.op.as_ref().unwrap() {
                Op::Skip(count) => at += *count as usize,
                Op::Delete(count) => drop(self.text.drain(at..at + *count as usize)),
                Op::Insert(text) => {
                    self.text.splice(at..at, text.chars());
                    at += text.chars().count();
                }
            }
        }
        self.version = packet.version;
        // All of a long text takes its time.
        if self.text.len() < 4096 || self.version.is_multiple_of(64) {
            assert_eq!(crc32fast::hash(self.text().as_bytes()), packet.crc32, "version {}", self.version);
        }
    }

    pub async fn fetch(&mut self, from: u32, to: u32) -> Vec<OtPacket> {
        let request = OtFetchRequest { version_from: from, version_to: to };
        match self.peer.ask(self.channel, Body::OtFetchRequest(request)).await {
            Body::OtFetchResponse(response) => response.packets,
            other => panic!("{other:?} is no answer to a fetch"),
        }
    }

    pub async fn flush(&mut self) {
        let answer = self.try_flush().await;
        assert!(matches!(answer, Body::Ok(_)), "{answer:?}");
    }

    pub async fn try_flush(&mut self) -> Body {
        self.peer.ask(self.channel, Body::Flush(Flush {})).await
    }

    /// Sends a change that must be refused; in which words.
    pub async fn refused(&mut self, text: &str) -> String {
        let ops = vec![OtRuneTransformOp { op: Some(Op::Insert(text.into())) }];
        let packet = OtPacket { spooky_version: self.version, ops, ..OtPacket::default() };
        self.peer.refused(self.channel, Body::Ot(packet)).await
    }
}

/// Waits until all have the same text, and the file has it, too.
pub async fn agree(agent: &Agent, editors: &mut [Editor], path: &str) -> String {
    let newest = editors.iter().map(|editor| editor.version).max().unwrap();
    for editor in &mut *editors {
        editor.catch_up(newest).await;
    }
    let text = editors[0].text();
    for editor in &*editors {
        assert_eq!(editor.text(), text);
    }
    editors[0].flush().await;
    let file = agent.root().join(path);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    text
}
