//! The workspace's files through the real agent: every request, nothing that leads outside, disks that are full or
//! forbidden, and the agent's sudden end.

mod crash;
mod disk;
mod escape;
mod left;
mod requests;

use bytes::Bytes;
use pid1_sdk::api::{File, Move, Ok as Done, StatResult, command::Body, file::Type};

use crate::support::{Agent, Peer};

const OK: Body = Body::Ok(Done {});

fn at(path: &str) -> File {
    File { path: path.to_owned(), ..File::default() }
}

fn write(path: &str, content: impl Into<Bytes>) -> Body {
    Body::Write(File { content: content.into(), ..at(path) })
}

fn moving(from: &str, to: &str) -> Body {
    Body::Move(Move { old_path: from.to_owned(), new_path: to.to_owned() })
}

/// A client with a channel for files.
struct Files {
    peer: Peer,
    channel: i32,
}

impl Files {
    async fn of(agent: &Agent) -> Files {
        let mut peer = agent.client().await;
        let channel = peer.open("gcsfiles", "").await;
        Files { peer, channel }
    }

    async fn ask(&mut self, body: Body) -> Body {
        self.peer.ask(self.channel, body).await
    }

    /// Asks for what must be done.
    async fn done(&mut self, body: Body) {
        let what = body.name();
        let answer = self.ask(body).await;
        assert_eq!(answer, OK, "{what}");
    }

    /// Asks for what must be refused; with which words.
    async fn refused(&mut self, body: Body) -> String {
        self.peer.refused(self.channel, body).await
    }

    async fn read(&mut self, path: &str) -> Bytes {
        match self.ask(Body::Read(at(path))).await {
            Body::File(file) => {
                assert_eq!(file.path, path);
                file.content
            }
            other => panic!("{path:?} is answered {other:?}"),
        }
    }

    /// Names and whether each is a folder.
    async fn list(&mut self, path: &str) -> Vec<(String, bool)> {
        match self.ask(Body::Readdir(at(path))).await {
            Body::Files(all) => all
                .files
                .into_iter()
                .map(|file| (file.path.clone(), file.r#type() == Type::Directory))
                .collect(),
            other => panic!("{path:?} is answered {other:?}"),
        }
    }

    async fn names(&mut self, path: &str) -> Vec<String> {
        self.list(path).await.into_iter().map(|(name, _)| name).collect()
    }

    async fn stat(&mut self, path: &str) -> StatResult {
        match self.ask(Body::Stat(at(path))).await {
            Body::StatRes(found) => found,
            other => panic!("{path:?} is answered {other:?}"),
        }
    }
}
