//! The service as a script of what members send and get.

#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "tests end by panicking")]

mod editing;
mod trouble;

use std::fs;
use std::time::Duration;

use pid1_ot::Ot;
use pid1_sdk::Role;
use pid1_sdk::api::ot_rune_transform_op::Op;
use pid1_sdk::api::{
    File, Flush, Ok as Done, OtLinkFile, OtPacket, OtRuneTransformOp, OtStatus, command::Body,
};
use pid1_sdk::testing::{TestChannel, TestMember};

const OK: Body = Body::Ok(Done {});
const FLUSH: Body = Body::Flush(Flush {});

fn link(path: &str) -> Body {
    let file = Some(File { path: path.into(), ..File::default() });
    Body::OtLinkFile(OtLinkFile { file, ..OtLinkFile::default() })
}

fn ops(ops: impl IntoIterator<Item = Op>) -> Vec<OtRuneTransformOp> {
    ops.into_iter().map(|op| OtRuneTransformOp { op: Some(op) }).collect()
}

fn submit(base: u32, steps: impl IntoIterator<Item = Op>) -> Body {
    Body::Ot(OtPacket { spooky_version: base, ops: ops(steps), nonce: 7, ..OtPacket::default() })
}

fn insert(text: &str) -> Op {
    Op::Insert(text.into())
}

fn packet(body: Body) -> OtPacket {
    match body {
        Body::Ot(packet) => packet,
        other => panic!("{other:?} is no packet"),
    }
}

fn status(body: Body) -> OtStatus {
    match body {
        Body::Otstatus(status) => status,
        other => panic!("{other:?} is no status"),
    }
}

/// A channel whose file says `text`, and a member that is bound to it.
async fn linked(text: &str) -> (TestChannel, TestMember) {
    let channel = TestChannel::open::<Ot>(Some("ot:a.txt"));
    fs::write(channel.root().join("a.txt"), text).unwrap();
    let mut member = channel.join(Role::Editor).await;
    assert_eq!(status(member.next().await), OtStatus::default());
    assert!(matches!(member.ask(link("a.txt")).await, Body::OtLinkFileResponse(_)));
    assert_eq!(packet(member.next().await).version, 1);
    (channel, member)
}

/// Waits until the file says `text`.
async fn until_file(channel: &TestChannel, text: &str) {
    let file = channel.root().join("a.txt");
    let says = async {
        while fs::read_to_string(&file).ok().as_deref() != Some(text) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), says).await;
    assert!(waited.is_ok(), "the file says {:?}", fs::read_to_string(&file));
}
