//! What goes wrong: a store that fails, files that others keep changing, clients that ask for too much.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pid1_ot::Ot;
use pid1_sdk::Role;
use pid1_sdk::api::ot_rune_transform_op::Op;
use pid1_sdk::api::{OtCursor, OtFetchRequest, OtTransformSelectionRequest, User, command::Body};
use pid1_sdk::limits;
use pid1_sdk::testing::TestChannel;

use super::{FLUSH, OK, insert, link, linked, status, submit, until_file};

/// Makes writing to the store fail where `condition` holds, as a full disk does.
fn break_store(channel: &TestChannel, condition: &str) {
    sql(
        channel,
        &format!(
            "CREATE TRIGGER full BEFORE INSERT ON entries WHEN {condition} BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        ),
    );
}

fn mend_store(channel: &TestChannel) {
    sql(channel, "DROP TRIGGER full");
}

fn sql(channel: &TestChannel, sql: &str) {
    let store = rusqlite::Connection::open(channel.root().join("../scratch/store.db")).unwrap();
    store.busy_timeout(Duration::from_secs(20)).unwrap();
    store.execute_batch(sql).unwrap();
}

/// Seconds of a processor that this thread has used, on which the service runs, too.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

async fn text_of(channel: &TestChannel) -> String {
    let mut other = channel.join(Role::Editor).await;
    status(other.next().await).contents
}

#[tokio::test]
async fn all_of_a_large_file_is_replaced() {
    let (channel, mut member) = linked(&"a line of text\n".repeat(1_800_000)).await;
    let new = "another line\n".repeat(2_000_000);
    fs::write(channel.root().join("a.txt"), &new).unwrap();
    assert_eq!(member.ask(FLUSH).await, OK);
    // It may have been seen half-way: then it came in two changes.
    let mut other = channel.join(Role::Editor).await;
    let seen = status(other.next().await);
    assert!(seen.contents == new);
    assert_eq!(member.ask(submit(seen.version, [insert("x")])).await, OK);
    assert_eq!(member.ask(FLUSH).await, OK);
}

#[tokio::test]
async fn what_others_write_may_be_what_the_document_says() {
    let (channel, mut member) = linked("abc").await;
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    fs::write(channel.root().join("a.txt"), "xabc").unwrap();
    assert_eq!(member.ask(FLUSH).await, OK);
    assert_eq!(fs::read_to_string(channel.root().join("a.txt")).unwrap(), "xabc");
}

#[tokio::test]
async fn a_viewer_who_came_before_the_file_gets_it_with_all_others() {
    let channel = TestChannel::open::<Ot>(Some("ot:a.txt"));
    fs::write(channel.root().join("a.txt"), "abc").unwrap();
    let mut member = channel.join(Role::Editor).await;
    let mut viewer = channel.join(Role::Viewer).await;
    member.next().await;
    viewer.next().await;
    assert!(matches!(member.ask(link("a.txt")).await, Body::OtLinkFileResponse(_)));
    assert_eq!(status(viewer.next().await).contents, "abc");
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    assert!(matches!(viewer.next().await, Body::Ot(packet) if packet.version == 2));
}

#[tokio::test]
async fn a_cursor_is_small() {
    let (channel, _member) = linked("abc").await;
    let mut viewer = channel.join(Role::Viewer).await;
    viewer.next().await;
    let user = Some(User { name: "x".repeat(2_000), ..User::default() });
    let Body::Error(text) = viewer.ask(Body::OtNewCursor(OtCursor { user, ..OtCursor::default() })).await
    else {
        panic!("it was kept")
    };
    assert!(text.contains("at most 1024 bytes"), "{text}");
}

#[tokio::test]
async fn only_so_many_wait_for_old_changes() {
    let (channel, _member) = linked(&"abc".repeat(1_000_000)).await;
    let mut viewer = channel.join(Role::Viewer).await;
    viewer.next().await;
    let tasks = || channel.engine().runtimes().tracker().len();
    let before = tasks();
    for _ in 0..1_000 {
        viewer.send(Body::OtFetchRequest(OtFetchRequest { version_from: 0, version_to: 9 })).await;
    }
    assert!(tasks() <= before + 2 * limits::OT_FETCHES_WAITING, "{} tasks", tasks());
}

#[tokio::test]
async fn a_flush_does_not_write_what_could_not_be_kept() {
    let (channel, mut member) = linked("abc").await;
    break_store(&channel, "NEW.number > 0 AND length(NEW.data) > 1000");
    let other = channel.join(Role::Editor).await;
    tokio::join!(member.send(submit(1, [insert(&"z".repeat(2_000))])), other.send(FLUSH));
    assert_eq!(member.ask(submit(1, [insert("y")])).await, OK);
    assert_eq!(member.ask(FLUSH).await, OK);
    assert_eq!(fs::read_to_string(channel.root().join("a.txt")).unwrap(), "yabc");
    assert_eq!(text_of(&channel).await, "yabc");
}

#[tokio::test]
async fn a_text_that_cannot_be_kept_costs_nothing_meanwhile() {
    let (channel, mut member) = linked("").await;
    break_store(&channel, "NEW.number < 0");
    let text = "x".repeat(300_000);
    let mut version = 1;
    for _ in 0..6 {
        assert_eq!(member.ask(submit(version, [insert(&text)])).await, OK);
        assert_eq!(member.ask(submit(version + 1, [Op::Delete(300_000)])).await, OK);
        version += 2;
    }
    assert_eq!(member.ask(FLUSH).await, OK);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let c = cpu();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used = cpu() - c;
    assert!(used < 0.3, "{used:.2} s of cpu in 3 s of nothing");
}

#[tokio::test]
async fn a_flush_is_refused_when_what_others_wrote_cannot_be_merged() {
    let (channel, mut member) = linked("abc\n").await;
    break_store(&channel, "NEW.number < 0");
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    fs::write(channel.root().join("a.txt"), "abc\nd\n").unwrap();
    let Body::Error(text) = member.ask(FLUSH).await else { panic!("it was written") };
    assert!(text.contains("disk full"), "{text}");
    mend_store(&channel);
    until_file(&channel, "xabc\nd\n").await;
    assert_eq!(text_of(&channel).await, "xabc\nd\n");
}

#[tokio::test]
async fn a_merge_that_cannot_be_committed_is_made_later() {
    let (channel, mut member) = linked("abc\n").await;
    break_store(&channel, "NEW.number > 0");
    fs::write(channel.root().join("a.txt"), "abc\nd\n").unwrap();
    assert!(matches!(member.ask(FLUSH).await, Body::Error(_)));
    mend_store(&channel);
    member.until(|body| matches!(body, Body::Ot(packet) if packet.version == 2)).await;
    assert_eq!(text_of(&channel).await, "abc\nd\n");
}

#[tokio::test]
async fn a_document_is_written_once_the_store_works_again() {
    let (channel, mut member) = linked("abc\n").await;
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    break_store(&channel, "NEW.number = 0");
    assert!(matches!(member.ask(FLUSH).await, Body::Error(_)));
    mend_store(&channel);
    until_file(&channel, "xabc\n").await;
}

#[tokio::test]
async fn a_change_that_takes_long_to_fit_is_refused() {
    let (_channel, mut member) = linked(&"a".repeat(400_000)).await;
    for version in 1..=100 {
        assert_eq!(member.ask(submit(version, [insert("b")])).await, OK);
    }
    let steps = |count| (0..count).flat_map(|_| [Op::Skip(1), insert("x")]);
    let Body::Error(text) = member.ask(submit(101, steps(200_000))).await else { panic!("it was applied") };
    assert!(text.contains("at most 100000 steps"), "{text}");
    let Body::Error(text) = member.ask(submit(1, steps(40_000))).await else { panic!("it was applied") };
    assert!(text.contains("fetch what is between them"), "{text}");
    let paste = "x".repeat(limits::OT_CHANGE_BYTES);
    let Body::Error(text) = member.ask(submit(101, [insert(&paste)])).await else { panic!("it was applied") };
    assert!(text.contains("write the file as a whole"), "{text}");
    assert_eq!(member.ask(submit(101, steps(40_000))).await, OK);
}

#[tokio::test]
async fn a_file_that_is_removed_is_not_made_again_by_what_was_edited_before() {
    let (channel, mut member) = linked("abc").await;
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    fs::remove_file(channel.root().join("a.txt")).unwrap();
    // Five times the time after which it would be.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!channel.root().join("a.txt").exists());
}

#[tokio::test]
async fn a_file_that_others_keep_changing_holds_nobody_up() {
    let (channel, mut member) = linked(&"a line of text\n".repeat(20_000)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (path, stopped) = (channel.root().join("a.txt"), stop.clone());
    let writer = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            writeln!(file, "more").unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    // Whatever is said, it is said.
    let answer = member.ask(FLUSH).await;
    assert!(
        matches!(&answer, Body::Ok(_)) || format!("{answer:?}").contains("others keep changing it"),
        "{answer:?}"
    );
    // The other may not have come to write yet.
    let written = async {
        while !fs::read_to_string(channel.root().join("a.txt")).unwrap().ends_with("more\n") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.expect("the other writes");
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!(member.ask(FLUSH).await, OK);
    let text = fs::read_to_string(channel.root().join("a.txt")).unwrap();
    assert!(text.starts_with("xa line"), "{:?}", &text[..20]);
    assert!(text.ends_with("more\n"), "{:?}", &text[text.len() - 20..]);
    assert!(text == text_of(&channel).await);
}

#[tokio::test]
async fn the_end_of_the_agent_finds_a_file_written_that_was_removed_before_the_last_change() {
    let (channel, mut member) = linked("abc\n").await;
    fs::remove_file(channel.root().join("a.txt")).unwrap();
    // Nobody is told that it was seen to be gone: thirty times what that takes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    channel.engine().stopping().cancel();
    channel.ended().await;
    assert_eq!(fs::read_to_string(channel.root().join("a.txt")).ok().as_deref(), Some("xabc\n"));
}

#[tokio::test]
async fn two_names_of_one_file_are_one_file_while_it_is_opened() {
    let channel = TestChannel::open::<Ot>(Some("ot:a.txt"));
    fs::write(channel.root().join("a.txt"), "abc").unwrap();
    let mut one = channel.join(Role::Editor).await;
    let mut two = channel.join(Role::Editor).await;
    one.next().await;
    two.next().await;
    let (_, b) = tokio::join!(one.send(link("a.txt")), two.ask(link("./a.txt")));
    assert!(!matches!(b, Body::Error(_)), "{b:?}");
}

#[tokio::test]
async fn a_selection_is_carried_over_a_change_of_the_same_turn() {
    let (channel, mut member) = linked("abc").await;
    let mut viewer = channel.join(Role::Viewer).await;
    viewer.next().await;
    let big = "z".repeat(200_000);
    assert_eq!(member.ask(submit(1, [insert(&big)])).await, OK);
    assert_eq!(member.ask(submit(2, [Op::Delete(200_000)])).await, OK);
    // From here on nothing is in memory; one that is not committed yet, and a selection from before, in one turn.
    let r = OtTransformSelectionRequest { version_from: 1, version_to: 3, ..Default::default() };
    let (_, a) =
        tokio::join!(member.send(submit(3, [insert("q")])), viewer.ask(Body::OtTransformSelectionRequest(r)));
    assert!(matches!(a, Body::OtTransformSelectionResponse(_)), "{a:?}");
}

#[tokio::test]
async fn a_folder_in_the_place_of_the_file_is_waited_out() {
    let (channel, mut member) = linked("abc").await;
    assert_eq!(member.ask(submit(1, [insert("x")])).await, OK);
    // A folder takes its place, and the file comes back.
    let f = channel.root().join("a.txt");
    fs::rename(&f, channel.root().join("b.txt")).unwrap();
    fs::create_dir(&f).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    fs::remove_dir(&f).unwrap();
    fs::rename(channel.root().join("b.txt"), &f).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(member.ask(FLUSH).await, OK);
    assert_eq!(fs::read_to_string(&f).unwrap(), "xabc");
}
