//! What members do to a document, and what happens to its file.

use std::fs;
use std::time::Duration;

use pid1_ot::Ot;
use pid1_sdk::Role;
use pid1_sdk::api::ot_rune_transform_op::Op;
use pid1_sdk::api::{
    File, OtCursor, OtFetchRequest, OtLinkFile, OtPacket, OtStatus, OtTransformSelectionRequest,
    command::Body,
};
use pid1_sdk::channel::Leave;
use pid1_sdk::testing::{TestChannel, conformance};

use super::{FLUSH, OK, insert, link, linked, ops, packet, status, submit, until_file};

#[tokio::test]
async fn linking_gives_the_whole_text_in_both_forms() {
    let channel = TestChannel::open::<Ot>(Some("ot:a.txt"));
    fs::write(channel.root().join("a.txt"), "h\u{e9}llo\n").unwrap();
    let mut member = channel.join(Role::Editor).await;
    assert_eq!(status(member.next().await), OtStatus::default());
    member.send(link("./a.txt")).await;
    let first = packet(member.next().await);
    assert_eq!((first.version, first.spooky_version), (1, 1));
    assert_eq!(first.ops, ops([insert("h\u{e9}llo\n")]));
    assert_eq!(first.crc32, crc32fast::hash("h\u{e9}llo\n".as_bytes()));
    let Body::OtLinkFileResponse(again) = member.ask(link("a.txt")).await else { panic!("no response") };
    assert_eq!(again.version, 1);
    assert_eq!(again.linked_file.unwrap().content, "h\u{e9}llo\n".as_bytes());
    let other = member.ask(link("b.txt")).await;
    assert_eq!(
        other,
        Body::Error("ot: this channel is bound to ./a.txt: open another channel for another file".into())
    );

    let mut next = channel.join(Role::Editor).await;
    let status = status(next.next().await);
    assert_eq!((status.version, status.contents.as_str()), (1, "h\u{e9}llo\n"));
    assert_eq!(status.linked_file.unwrap().path, "./a.txt");
}

#[tokio::test]
async fn an_empty_file_is_linked_by_a_packet_without_ops() {
    let (_channel, _) = linked("").await;
    let channel = TestChannel::open::<Ot>(Some("ot:a.txt"));
    fs::write(channel.root().join("a.txt"), "").unwrap();
    let mut member = channel.join(Role::Editor).await;
    member.next().await;
    member.send(link("a.txt")).await;
    let first = packet(member.next().await);
    assert_eq!((first.version, first.ops, first.crc32), (1, Vec::new(), 0));
}

#[tokio::test]
async fn what_cannot_be_edited_is_refused() {
    let channel = TestChannel::open::<Ot>(Some("ot:x"));
    fs::write(channel.root().join("binary"), [0xff, 0xfe]).unwrap();
    fs::create_dir(channel.root().join("folder")).unwrap();
    let mut member = channel.join(Role::Editor).await;
    member.next().await;
    for (path, wanted) in [
        ("missing", "no such file"),
        ("binary", "it is not UTF-8 text (byte 0 is not)"),
        ("folder", "is a directory"),
        ("../outside", "leads out of the workspace"),
        ("", "names no file"),
    ] {
        let Body::Error(text) = member.ask(link(path)).await else { panic!("{path} was linked") };
        assert!(text.contains(wanted), "{path}: {text}");
    }
    let Body::Error(text) = member.ask(submit(0, [insert("x")])).await else { panic!("that was edited") };
    assert!(text.contains("send otLinkFile first"), "{text}");
}

#[tokio::test]
async fn everybody_gets_a_change_and_then_its_author_is_answered() {
    let (channel, mut one) = linked("abc").await;
    let mut two = channel.join(Role::Editor).await;
    two.next().await;
    one.send(submit(1, [Op::Skip(3), insert("d")])).await;
    let sent = packet(one.next().await);
    assert_eq!((sent.version, sent.spooky_version, sent.nonce), (2, 2, 7));
    assert_eq!(sent.ops, ops([Op::Skip(3), insert("d")]));
    assert_eq!(sent.crc32, crc32fast::hash(b"abcd"));
    assert!(sent.committed.is_some());
    assert_eq!(packet(two.next().await), sent);
    // Based on the same version: what is committed stays where it is. This client says which version it makes.
    let late = OtPacket { version: 2, ops: ops([Op::Skip(3), insert("e")]), ..OtPacket::default() };
    assert_eq!(two.ask(Body::Ot(late)).await, OK);
    assert_eq!(packet(one.next().await).ops, ops([Op::Skip(4), insert("e")]));
    assert_eq!(one.ask(FLUSH).await, OK);
    assert_eq!(fs::read_to_string(channel.root().join("a.txt")).unwrap(), "abcde");
}

#[tokio::test]
async fn what_does_not_fit_changes_nothing() {
    let (channel, mut member) = linked("abc").await;
    for (wrong, wanted) in [
        (submit(1, [Op::Skip(4), insert("x")]), "reaches to code point 4 of a text of 3"),
        (submit(1, [Op::Delete(u32::MAX), Op::Delete(u32::MAX)]), "of a text of 3"),
        (submit(9, [insert("x")]), "based on version 9, and the document is at version 1"),
    ] {
        let Body::Error(text) = member.ask(wrong).await else { panic!("that was applied") };
        assert!(text.contains(wanted), "{text}");
    }
    let mut other = channel.join(Role::Editor).await;
    assert_eq!(status(other.next().await).contents, "abc");
}

#[tokio::test]
async fn old_changes_are_fetched_and_selections_carried_over() {
    let (_channel, mut member) = linked("abc").await;
    for (version, text) in [(1, "x"), (2, "y"), (3, "z")] {
        assert_eq!(member.ask(submit(version, [insert(text)])).await, OK);
    }
    let fetch = |version_from, version_to| Body::OtFetchRequest(OtFetchRequest { version_from, version_to });
    let versions = |body| match body {
        Body::OtFetchResponse(response) => {
            response.packets.iter().map(|packet| (packet.version, packet.crc32)).collect::<Vec<_>>()
        }
        other => panic!("{other:?} is no response"),
    };
    let all = versions(member.ask(fetch(0, 99)).await);
    let crc = |text: &str| crc32fast::hash(text.as_bytes());
    assert_eq!(all, [(1, crc("abc")), (2, crc("xabc")), (3, crc("yxabc")), (4, crc("zyxabc"))]);
    assert_eq!(versions(member.ask(fetch(3, 3)).await), [(3, crc("yxabc"))]);
    assert_eq!(versions(member.ask(fetch(4, 3)).await), []);
    let select = OtTransformSelectionRequest { index_start: 1, index_end: 2, version_from: 2, version_to: 4 };
    let Body::OtTransformSelectionResponse(moved) =
        member.ask(Body::OtTransformSelectionRequest(select)).await
    else {
        panic!("no response")
    };
    assert_eq!((moved.index_start, moved.index_end, moved.version), (3, 4, 4));
}

#[tokio::test]
async fn a_document_is_written_by_itself() {
    let (channel, mut member) = linked("abc").await;
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    until_file(&channel, "xabc").await;
}

#[tokio::test]
async fn what_others_write_is_merged_with_what_is_not_written_yet() {
    let (channel, mut member) = linked("one\ntwo\nthree\n").await;
    assert_eq!(member.ask(submit(1, [insert("zero\n")])).await, OK);
    fs::write(channel.root().join("a.txt"), "one\nTWO\nthree\n").unwrap();
    let merged = packet(member.until(|body| matches!(body, Body::Ot(packet) if packet.nonce == 0)).await);
    assert_eq!(merged.crc32, crc32fast::hash(b"zero\none\nTWO\nthree\n"));
    until_file(&channel, "zero\none\nTWO\nthree\n").await;
    // By another file in its place.
    fs::write(channel.root().join("new"), "zero\none\nTWO\n").unwrap();
    fs::rename(channel.root().join("new"), channel.root().join("a.txt")).unwrap();
    let merged = packet(member.until(|body| matches!(body, Body::Ot(_))).await);
    assert_eq!(merged.crc32, crc32fast::hash(b"zero\none\nTWO\n"));
}

#[tokio::test]
async fn a_file_that_is_removed_comes_back_with_the_next_change() {
    let (channel, mut member) = linked("abc").await;
    let file = channel.root().join("a.txt");
    fs::remove_file(&file).unwrap();
    // Those that are made before it is seen to be gone do not bring it back.
    let mut version = 1;
    while !file.exists() {
        assert_eq!(member.ask(submit(version, [insert("x")])).await, OK);
        version += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(fs::read_to_string(&file).unwrap().ends_with("xabc"));
    fs::remove_file(&file).unwrap();
    assert_eq!(member.ask(FLUSH).await, OK);
    assert!(fs::read_to_string(&file).unwrap().ends_with("xabc"));
}

#[tokio::test]
async fn a_file_that_becomes_something_else_is_left_alone() {
    let (channel, mut member) = linked("abc").await;
    fs::write(channel.root().join("a.txt"), [0xff]).unwrap();
    let toast = member.until(|body| matches!(body, Body::Toast(_))).await;
    let Body::Toast(toast) = toast else { unreachable!("it was waited for") };
    assert!(toast.text.contains("not UTF-8"), "{}", toast.text);
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    let Body::Error(text) = member.ask(FLUSH).await else { panic!("it was written") };
    assert!(text.contains("not UTF-8"), "{text}");
    assert_eq!(fs::read(channel.root().join("a.txt")).unwrap(), [0xff]);
    // Text again: what was edited meanwhile is not lost.
    fs::write(channel.root().join("a.txt"), "abcd").unwrap();
    until_file(&channel, "xabcd").await;
}

#[tokio::test]
async fn with_high_consistency_a_change_is_in_the_file_before_its_answer() {
    let channel = TestChannel::open::<Ot>(Some("ot:a.txt"));
    fs::write(channel.root().join("a.txt"), "").unwrap();
    let mut member = channel.join(Role::Editor).await;
    member.next().await;
    let file = Some(File { path: "a.txt".into(), ..File::default() });
    let link = OtLinkFile { file, high_consistency: true, ..OtLinkFile::default() };
    member.ask(Body::OtLinkFile(link)).await;
    for version in 1..20 {
        assert_eq!(member.ask(submit(version, [insert("x")])).await, OK);
        let length = fs::metadata(channel.root().join("a.txt")).unwrap().len();
        assert_eq!(length, u64::from(version));
    }
}

#[tokio::test]
async fn mode_is_kept_and_so_is_a_change_of_it() {
    use std::os::unix::fs::PermissionsExt;
    let (channel, mut member) = linked("abc").await;
    let file = channel.root().join("a.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    assert_eq!(member.ask(FLUSH).await, OK);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o750);
    assert_eq!(fs::read_to_string(&file).unwrap(), "xabc");
}

#[tokio::test]
async fn cursors_are_relayed_kept_and_end_with_their_session() {
    let (channel, mut one) = linked("abc").await;
    let mut two = channel.join(Role::Viewer).await;
    two.next().await;
    let cursor = |id: &str, position| OtCursor { id: id.into(), position, ..OtCursor::default() };
    assert_eq!(one.ask(Body::OtNewCursor(cursor("a", 1))).await, OK);
    assert_eq!(two.next().await, Body::OtNewCursor(cursor("a", 1)));
    assert_eq!(two.ask(Body::OtNewCursor(cursor("b", 2))).await, OK);
    assert_eq!(one.next().await, Body::OtNewCursor(cursor("b", 2)));
    let mut three = channel.join(Role::Viewer).await;
    assert_eq!(status(three.next().await).cursors, [cursor("a", 1), cursor("b", 2)]);
    assert_eq!(one.ask(Body::OtDeleteCursor(cursor("a", 0))).await, OK);
    assert_eq!(two.next().await, Body::OtDeleteCursor(cursor("a", 0)));
    two.leave(Leave::Vanish).await;
    assert_eq!(one.next().await, Body::OtDeleteCursor(cursor("b", 0)));
    let many = (0..100).map(|number| cursor(&number.to_string(), 0));
    let mut refused = 0;
    for cursor in many {
        refused += usize::from(one.ask(Body::OtNewCursor(cursor)).await != OK);
    }
    assert_eq!(refused, 36);
}

#[tokio::test]
async fn two_who_link_at_once_both_get_the_text_first() {
    let channel = TestChannel::open::<Ot>(Some("ot:a.txt"));
    fs::write(channel.root().join("a.txt"), "abc").unwrap();
    let mut one = channel.join(Role::Editor).await;
    let mut two = channel.join(Role::Editor).await;
    one.next().await;
    two.next().await;
    one.send(link("a.txt")).await;
    assert_eq!(packet(one.next().await).version, 1);
    // The other has not asked yet: it would take this for the whole text.
    one.send(submit(1, [insert("x")])).await;
    assert_eq!(packet(one.next().await).version, 2);
    two.send(link("a.txt")).await;
    let first = packet(two.next().await);
    assert_eq!((first.version, first.ops), (2, ops([insert("xabc")])));
}

#[tokio::test]
async fn the_last_to_leave_finds_the_file_written() {
    let (channel, mut member) = linked("abc").await;
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    member.leave(Leave::Vanish).await;
    channel.ended().await;
    assert_eq!(fs::read_to_string(channel.root().join("a.txt")).unwrap(), "xabc");
}

#[tokio::test]
async fn a_long_history_is_cut_and_its_versions_go_on() {
    let (channel, mut member) = linked("").await;
    let text = "x".repeat(50_000);
    let mut version = 1;
    for _ in 0..120 {
        assert_eq!(member.ask(submit(version, [insert(&text)])).await, OK);
        assert_eq!(member.ask(submit(version + 1, [Op::Delete(50_000)])).await, OK);
        version += 2;
    }
    let kept = async {
        loop {
            let request = OtFetchRequest { version_from: 0, version_to: version };
            let Body::OtFetchResponse(all) = member.ask(Body::OtFetchRequest(request)).await else {
                panic!("no response")
            };
            if all.packets[0].version > 1 {
                return all.packets;
            }
        }
    };
    let packets = tokio::time::timeout(Duration::from_secs(20), kept).await.unwrap();
    let expected: Vec<u32> = (packets[0].version..=version).collect();
    assert_eq!(packets.iter().map(|packet| packet.version).collect::<Vec<_>>(), expected);
    let bytes: usize = packets.iter().map(prost::Message::encoded_len).sum();
    assert!((1 << 20..4 << 20).contains(&bytes), "{bytes}");
    drop(channel);
}

#[tokio::test]
async fn viewers_read_and_change_nothing() {
    let (channel, mut editor) = linked("abc").await;
    let mut viewer = channel.join(Role::Viewer).await;
    assert_eq!(status(viewer.next().await).contents, "abc");
    for body in [submit(1, [insert("x")]), FLUSH, link("a.txt")] {
        let Body::Error(text) = viewer.ask(body).await else { panic!("a viewer did that") };
        assert!(text.contains("needs the role editor"), "{text}");
    }
    let request = OtFetchRequest { version_from: 1, version_to: 1 };
    assert!(matches!(viewer.ask(Body::OtFetchRequest(request)).await, Body::OtFetchResponse(_)));
    assert_eq!(editor.ask(submit(1, [insert("x")])).await, OK);
    assert_eq!(packet(viewer.next().await).version, 2);
}

#[tokio::test]
async fn it_keeps_the_contract_of_services() {
    conformance::<Ot>(&[]).await;
}
