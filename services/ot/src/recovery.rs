//! Tests of what is found when a document is opened again, after an end at any point.

use std::fs;
use std::path::Path;

use pid1_sdk::testing::TestChannel;
use prost::Message;

use crate::file::{self, Look, Opened};
use crate::history::{FileText, Head};
use crate::op::Op;
use crate::packet;

/// A channel, for its engine and its workspace, with a file.
fn workspace(text: &str) -> TestChannel {
    let channel = TestChannel::open::<crate::Ot>(Some("x"));
    write(&channel, text);
    channel
}

fn write(channel: &TestChannel, text: &str) {
    fs::write(channel.root().join("a.txt"), text).unwrap();
}

fn open(channel: &TestChannel) -> Opened {
    let engine = channel.engine();
    file::open(engine.workspace(), engine.store(), Path::new("a.txt"), "me").unwrap()
}

fn look(channel: &TestChannel, opened: &Opened) -> Look {
    let known = (&opened.text, &opened.file);
    let slot = opened.head.free_slot();
    file::look(channel.engine().workspace(), &opened.history, &opened.path, known, None, slot).unwrap()
}

fn edit(opened: &mut Opened, op: Op) {
    opened.text.apply(&op).unwrap();
    opened.version += 1;
    let packet = packet::of(opened.version, &op, opened.text.crc32(), None);
    opened.history.append(&[(opened.version, packet.encode_to_vec())], None).unwrap();
}

fn keep(opened: &Opened, head: &Head) -> Head {
    let mut head = head.clone();
    let kept = opened.history.keep(&mut opened.text.clone(), opened.version, head.free_slot()).unwrap();
    head.base = head.latest.replace(kept);
    opened.history.replace(&head).unwrap();
    head
}

#[tokio::test]
async fn a_file_that_is_restored_after_it_was_missed_is_no_change() {
    let channel = workspace("abc\n");
    let mut opened = open(&channel);
    edit(&mut opened, Op::insert("x".into()));
    drop(opened);
    fs::remove_file(channel.root().join("a.txt")).unwrap();
    let opened = open(&channel);
    write(&channel, "abc\n");
    assert!(matches!(look(&channel, &opened), Look::Same(_)));
}

#[tokio::test]
async fn what_others_take_back_is_taken_back() {
    let channel = workspace("abc\n");
    let mut opened = open(&channel);
    edit(&mut opened, Op::insert("x\n".into()));
    write(&channel, "abc\nd\n");
    let Look::Other { change, kept, text, .. } = look(&channel, &opened) else { panic!("nothing was found") };
    edit(&mut opened, change);
    assert_eq!(opened.text.whole(), "x\nabc\nd\n");
    let file = FileText { version: 0, kept, crc32: text.clone().crc32(), seen_at: opened.version };
    let head = Head { file: Some(file), ..opened.head.clone() };
    opened.history.append(&[], Some(&head)).unwrap();
    drop(opened);
    // As it was in the beginning: that is no old version of ours.
    write(&channel, "abc\n");
    assert_eq!(open(&channel).text.whole(), "x\nabc\n");
}

#[tokio::test]
async fn what_was_rewritten_in_place_and_not_finished_is_written_again() {
    let channel = workspace("one two three\n");
    let mut opened = open(&channel);
    edit(&mut opened, Op::insert("zero ".into()));
    opened.history.append(&[], Some(&Head { writing: 2, ..opened.head.clone() })).unwrap();
    drop(opened);
    // Room was made, and some of it written.
    write(&channel, &format!("{}{}", &"zero one two three\n"[..7], &"one two three\n\0\0\0\0\0"[7..]));
    // Twice, if need be.
    for _ in 0..2 {
        let opened = open(&channel);
        assert_eq!((opened.text.whole().as_str(), opened.version), ("zero one two three\n", 2));
    }
}

#[tokio::test]
async fn a_history_that_does_not_add_up_begins_anew_and_versions_go_on() {
    let channel = workspace("abc\n");
    let mut opened = open(&channel);
    edit(&mut opened, Op::insert("1".into()));
    opened.history.append(&[(2, b"garbage".to_vec())], None).unwrap();
    drop(opened);
    let opened = open(&channel);
    assert_eq!((opened.version, opened.text.whole().as_str()), (3, "abc\n"));
    for from in [1, 3] {
        let packets = opened.history.fetch(from, 3, 1 << 20).unwrap();
        assert_eq!(packets.iter().map(|packet| packet.version).collect::<Vec<_>>(), [3]);
    }
}

#[tokio::test]
async fn what_is_fetched_has_no_gap_whatever_was_cut_off_meanwhile() {
    let channel = workspace("abc\n");
    let mut opened = open(&channel);
    let mut head = opened.head.clone();
    for _ in 0..3 {
        for _ in 0..3 {
            edit(&mut opened, Op::insert("1".into()));
        }
        head = keep(&opened, &head);
        let packets = opened.history.fetch(1, opened.version, 1 << 20).unwrap();
        let first = head.base.unwrap().version;
        let versions: Vec<u32> = packets.iter().map(|packet| packet.version).collect();
        assert_eq!(versions, (first..=opened.version).collect::<Vec<_>>());
    }
}
