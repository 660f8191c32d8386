//! The pure step: by hand for what editors and people do, and against a client's tree for anything at all.

use proptest::prelude::*;

use super::*;

fn file(inode: u64) -> Option<Entry> {
    Some(Entry { kind: Kind::File, inode, content: (inode, 0, 0) })
}

fn folder(inode: u64) -> Option<Entry> {
    Some(Entry { kind: Kind::Folder, inode, content: (0, 0, 0) })
}

const QUIET: Marks = Marks { gone: false, from: false, to: false, written: false, brief: false };
const GONE: Marks = Marks { gone: true, ..QUIET };
const FROM: Marks = Marks { gone: true, from: true, ..QUIET };
const TO: Marks = Marks { to: true, ..QUIET };
const FROM_AND_TO: Marks = Marks { gone: true, from: true, to: true, ..QUIET };
const WRITTEN: Marks = Marks { written: true, ..QUIET };

fn steps<const N: usize>(slots: [(Option<Entry>, Option<Entry>, Marks); N]) -> Vec<Step> {
    reconcile(&slots.map(|(old, new, marks)| Slot { old, new, marks }))
}

#[test]
fn what_comes_goes_or_changes_is_told_as_such() {
    assert_eq!(steps([(None, file(1), QUIET)]), [Step::Create(0)]);
    assert_eq!(steps([(file(1), None, GONE)]), [Step::Remove(0)]);
    assert_eq!(steps([(file(1), file(1), WRITTEN)]), [Step::Modify(0)]);
    assert_eq!(steps([(file(1), file(2), GONE)]), [Step::Modify(0)]);
    assert_eq!(steps([(None, None, Marks { brief: true, ..GONE })]), [Step::Remove(0)]);
    assert_eq!(steps([(None, None, FROM), (file(1), file(1), QUIET)]), []);
    assert_eq!(steps([(file(1), folder(2), QUIET)]), [Step::Remove(0), Step::Create(0)]);
}

#[test]
fn a_folder_in_the_place_of_another_is_told_even_with_the_same_inode_number() {
    assert_eq!(steps([(folder(1), folder(1), GONE)]), [Step::Remove(0), Step::Create(0)]);
    assert_eq!(steps([(folder(1), folder(1), QUIET)]), []);
}

#[test]
fn a_move_is_told_as_one_where_kernel_and_disk_agree() {
    assert_eq!(steps([(file(1), None, FROM), (None, file(1), TO)]), [Step::Move(0, 1)]);
    assert_eq!(
        steps([(folder(1), file(7), FROM), (None, folder(1), TO)]),
        [Step::Move(0, 1), Step::Create(0)]
    );
    // Twice on its way: the name in between was never told.
    assert_eq!(
        steps([(file(1), None, FROM), (None, None, FROM_AND_TO), (None, file(1), TO)]),
        [Step::Move(0, 2)]
    );
    // A hard link and a removal are no move.
    assert_eq!(steps([(file(1), None, GONE), (None, file(1), QUIET)]), [Step::Remove(0), Step::Create(1)]);
}

#[test]
fn saving_by_a_move_over_the_file_is_a_change_of_the_file() {
    // The temporary file was told of before, or never.
    assert_eq!(steps([(file(2), None, FROM), (file(1), file(2), TO)]), [Step::Remove(0), Step::Modify(1)]);
    assert_eq!(steps([(None, None, FROM), (file(1), file(2), TO)]), [Step::Modify(1)]);
    // vim: the old file becomes the backup, a new one is written; then the backup goes.
    assert_eq!(steps([(file(1), file(2), FROM), (None, file(1), TO)]), [Step::Move(0, 1), Step::Create(0)]);
    assert_eq!(steps([(file(1), file(2), FROM), (None, None, FROM_AND_TO)]), [Step::Modify(0)]);
}

#[test]
fn moves_that_need_each_others_place_are_told_in_the_order_that_works() {
    // log -> log.1 -> log.2, and a new log.
    let rotated = [(file(1), file(4), FROM), (file(2), file(1), FROM_AND_TO), (None, file(2), FROM_AND_TO)];
    assert_eq!(steps(rotated), [Step::Move(1, 2), Step::Move(0, 1), Step::Create(0)]);
    let swapped = [(file(1), file(2), FROM_AND_TO), (file(2), file(1), FROM_AND_TO)];
    assert_eq!(steps(swapped), [Step::Modify(0), Step::Modify(1)]);
    let swapped = [(folder(1), folder(2), FROM_AND_TO), (folder(2), folder(1), FROM_AND_TO)];
    assert_eq!(steps(swapped), [Step::Remove(0), Step::Remove(1), Step::Create(0), Step::Create(1)]);
    // Over an empty folder.
    let over = [(folder(1), None, FROM), (folder(2), folder(1), TO)];
    assert_eq!(steps(over), [Step::Remove(1), Step::Move(0, 1)]);
}

fn entry() -> impl Strategy<Value = Option<Entry>> {
    (0u64..6, any::<bool>()).prop_map(|(inode, written)| match inode {
        0 => None,
        1..=3 => Some(Entry { kind: Kind::File, inode, content: (inode, written.into(), 0) }),
        _ => folder(inode),
    })
}

fn slot() -> impl Strategy<Value = Slot> {
    (entry(), entry(), any::<[bool; 4]>()).prop_map(|(old, new, [gone, from, to, written])| Slot {
        old,
        new,
        marks: Marks { gone, from, to, written, brief: false },
    })
}

proptest! {
    /// Whatever the events say: a client that applies the steps has what is on the disk, never sees something twice in
    /// one place, and never loses something that is not there.
    #[test]
    fn a_client_ends_with_what_is_on_the_disk(slots in prop::collection::vec(slot(), 1..8)) {
        let mut client: Vec<Option<(Kind, bool)>> =
            slots.iter().map(|slot| slot.old.map(|old| (old.kind, false))).collect();
        for step in reconcile(&slots) {
            match step {
                Step::Create(at) => {
                    prop_assert!(client[at].is_none(), "{step:?}");
                    client[at] = slots[at].new.map(|new| (new.kind, true));
                }
                Step::Remove(at) => prop_assert!(client[at].take().is_some(), "{step:?}"),
                Step::Modify(at) => {
                    prop_assert_eq!(client[at].map(|(kind, _)| kind), Some(Kind::File));
                    client[at] = Some((Kind::File, true));
                }
                Step::Move(from, to) => {
                    prop_assert!(client[to].is_none(), "{step:?}");
                    client[to] = client[from].take();
                    prop_assert!(client[to].is_some(), "{step:?}");
                    // The very same thing is there now.
                    prop_assert_eq!(slots[from].old.map(identity), slots[to].new.map(identity));
                    client[to] = client[to].map(|(kind, _)| (kind, slots[from].old == slots[to].new));
                }
            }
        }
        for (slot, client) in slots.iter().zip(client) {
            prop_assert_eq!(client.map(|(kind, _)| kind), slot.new.map(|new| new.kind));
            // What is another thing than before was told of.
            if slot.old != slot.new && let Some((_, told)) = client {
                prop_assert!(told);
            }
        }
    }
}
