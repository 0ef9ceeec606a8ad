//! Cases of deletion: what is erased and noted, what may be taken back, what a hold forbids, and what listings show.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use yhub_core::{Asset, RoomId};

use super::{
    DocStoreRig,
    docs_rows::{at, keys, read, store, version},
    support::{odd_rooms, room},
};
use crate::{
    AssetKind, DeletedRoom, DocStoreError, Erased, ErasedRow, Hardened, Hold, Page, PurgeReceipt, Restored, RoomOverview,
    StoreOutcome, StoreVersion, TaskEpoch, Tombstone, TombstoneFilter, TombstoneOutcome, TombstoneState,
};

/// All there is, in one page.
const ALL: Page<'static> = Page { after: None, max: 1_000_000 };

fn deleted(deleted_at_ms: i64, hard: bool) -> Tombstone {
    Tombstone { deleted_at_ms, hard, purged_at_ms: None, by: Some("me".to_owned()) }
}

async fn delete(rig: &DocStoreRig, room: &RoomId, hard: bool) -> TombstoneOutcome {
    rig.docs.put_tombstone(room, deleted(100, hard), None).await.expect("put tombstone")
}

async fn restore(rig: &DocStoreRig, room: &RoomId) -> Restored {
    rig.deletions.restore(room, None).await.expect("restore")
}

async fn erase(rig: &DocStoreRig, room: &RoomId, max: usize) -> Erased {
    rig.deletions.erase_rows(room, max).await.expect("erase")
}

/// The rows that were erased by one call.
async fn erased(rig: &DocStoreRig, room: &RoomId, max: usize) -> Vec<ErasedRow> {
    match erase(rig, room, max).await {
        Erased::Rows(mut rows) => {
            rows.sort_by(|one, other| one.t.cmp(&other.t));
            rows
        }
        other => panic!("{other:?}"),
    }
}

async fn noted(rig: &DocStoreRig, room: &RoomId) -> Vec<ErasedRow> {
    rig.deletions.erased_rows(room, None, 1_000_000).await.expect("list")
}

fn receipt(purged_at_ms: i64, json: &str) -> PurgeReceipt {
    PurgeReceipt { purged_at_ms, json: json.to_owned() }
}

async fn finish(rig: &DocStoreRig, room: &RoomId, receipt: PurgeReceipt) -> bool {
    rig.deletions.finish_purge(room, &receipt, None).await.expect("finish")
}

fn hold_on(room: &RoomId, by: &str) -> Hold {
    Hold { room: room.clone(), by: by.to_owned(), reason: format!("case of {by}"), at_ms: 7 }
}

async fn hold(rig: &DocStoreRig, room: &RoomId) -> bool {
    rig.deletions.hold(&hold_on(room, "ann"), None).await.expect("hold")
}

async fn release(rig: &DocStoreRig, room: &RoomId) -> bool {
    rig.deletions.release_hold(room, None).await.expect("release")
}

async fn tombstones(rig: &DocStoreRig, org: Option<&str>, state: TombstoneState) -> Vec<RoomId> {
    let found = rig.deletions.tombstones(TombstoneFilter { org, state }, ALL).await.expect("list");
    let mut rooms: Vec<_> = found.into_iter().map(|deleted| deleted.room).collect();
    rooms.sort();
    rooms
}

/// A deletion of which the content is kept is taken back, with everything as it was; and only such a one.
pub async fn only_a_soft_deletion_is_taken_back(rig: DocStoreRig) {
    store(rig.docs.as_ref(), version(&room(1), at(5, 0))).await;
    let before = read(rig.docs.as_ref(), &room(1)).await;
    assert_eq!(restore(&rig, &room(1)).await, Restored::NotDeleted);
    delete(&rig, &room(1), false).await;
    assert_eq!(restore(&rig, &room(1)).await, Restored::Restored);
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await, before);
    assert_eq!(restore(&rig, &room(1)).await, Restored::NotDeleted);
    delete(&rig, &room(1), true).await;
    let hard = read(rig.docs.as_ref(), &room(1)).await;
    assert_eq!(restore(&rig, &room(1)).await, Restored::Refused);
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await, hard);
    // One that is purged stays so, whatever its kind.
    let purged = Tombstone { purged_at_ms: Some(9), ..deleted(1, false) };
    rig.docs.put_tombstone(&room(2), purged.clone(), None).await.expect("put tombstone");
    assert_eq!(restore(&rig, &room(2)).await, Restored::Refused);
    assert_eq!(read(rig.docs.as_ref(), &room(2)).await.tombstone, Some(purged));
    // A room that was restored is deleted anew, with a time of its own.
    delete(&rig, &room(3), false).await;
    restore(&rig, &room(3)).await;
    rig.docs.put_tombstone(&room(3), deleted(200, false), None).await.expect("put tombstone");
    assert_eq!(read(rig.docs.as_ref(), &room(3)).await.tombstone, Some(deleted(200, false)));
}

/// A tombstone is found without looking at rows: as it was put, of its room only.
pub async fn a_tombstone_is_found_by_itself(rig: DocStoreRig) {
    let of = async |n| rig.deletions.tombstone(&room(n)).await.expect("tombstone");
    assert_eq!(of(1).await, None);
    delete(&rig, &room(1), false).await;
    assert_eq!((of(1).await, of(2).await), (Some(deleted(100, false)), None));
    delete(&rig, &room(1), true).await;
    assert_eq!(of(1).await, Some(deleted(100, true)));
}

/// Only a room whose content is kept for long enough, and that is neither restored nor held, is deleted for good.
pub async fn only_what_is_due_is_hardened(rig: DocStoreRig) {
    let harden = async |before_ms| rig.deletions.harden(&room(1), before_ms, None).await.expect("harden");
    store(rig.docs.as_ref(), version(&room(1), at(5, 0))).await;
    assert_eq!(harden(i64::MAX).await, Hardened::NotDue, "it is not deleted");
    delete(&rig, &room(1), false).await;
    assert_eq!(harden(100).await, Hardened::NotDue);
    hold(&rig, &room(1)).await;
    assert_eq!(harden(101).await, Hardened::Held);
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await.tombstone, Some(deleted(100, false)));
    release(&rig, &room(1)).await;
    restore(&rig, &room(1)).await;
    assert_eq!(harden(101).await, Hardened::NotDue, "it was restored");
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await.tombstone, None);
    delete(&rig, &room(1), false).await;
    assert_eq!(harden(101).await, Hardened::Done);
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await.tombstone, Some(deleted(100, true)));
    assert_eq!(harden(101).await, Hardened::NotDue, "it is so already");
    assert_eq!(store(rig.docs.as_ref(), version(&room(1), at(9, 0))).await, StoreOutcome::HardDeleted);
}

/// Rows of a room are erased only where it is deleted for good.
pub async fn only_rows_of_rooms_deleted_for_good_are_erased(rig: DocStoreRig) {
    store(rig.docs.as_ref(), version(&room(1), at(5, 0))).await;
    store(rig.docs.as_ref(), version(&room(2), at(5, 0))).await;
    assert_eq!(erase(&rig, &room(1), 10).await, Erased::NotForGood);
    delete(&rig, &room(1), false).await;
    assert_eq!(erase(&rig, &room(1), 10).await, Erased::NotForGood);
    assert!(!finish(&rig, &room(1), receipt(1, "{}")).await);
    assert_eq!(keys(rig.docs.as_ref(), &room(1)).await, ["5-0"]);
    delete(&rig, &room(1), true).await;
    assert!(!finish(&rig, &room(1), receipt(1, "{}")).await, "a row is there");
    assert_eq!(erased(&rig, &room(1), 10).await.len(), 1);
    assert_eq!(keys(rig.docs.as_ref(), &room(1)).await, [""; 0]);
    assert_eq!(erased(&rig, &room(1), 10).await, []);
    assert_eq!(keys(rig.docs.as_ref(), &room(2)).await, ["5-0"], "of another room");
    assert_eq!(noted(&rig, &room(2)).await, []);
}

/// A call erases no more than asked for, and what was erased is noted until the receipt is there, whoever erased it.
pub async fn what_is_erased_is_noted_until_the_receipt_is_there(rig: DocStoreRig) {
    for ms in 1..=25 {
        store(rig.docs.as_ref(), version(&room(1), at(ms, 0))).await;
    }
    delete(&rig, &room(1), true).await;
    assert_eq!(erased(&rig, &room(1), 0).await, []);
    let mut all = Vec::new();
    for expected in [10, 10, 5, 0] {
        let part = erased(&rig, &room(1), 10).await;
        assert_eq!(part.len(), expected);
        all.extend(part);
        assert_eq!(keys(rig.docs.as_ref(), &room(1)).await.len(), 25 - all.len());
    }
    all.sort_by(|one, other| one.t.cmp(&other.t));
    assert_eq!(noted(&rig, &room(1)).await, all);
    let (mut paged, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = rig.deletions.erased_rows(&room(1), after.as_deref(), 4).await.expect("list");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 4);
        after = Some(last.t.clone());
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert!(finish(&rig, &room(1), receipt(300, "{}")).await);
    assert_eq!(noted(&rig, &room(1)).await, []);
}

/// Of a row that was erased one knows how long its columns were, and whose plugin has what they referred to.
pub async fn erased_rows_say_where_their_assets_are(rig: DocStoreRig) {
    let reference = Asset::Retrievable { plugin: "S3Persistence:v1".to_owned() }.encode();
    let (inline, long) = (Bytes::from_static(b"an asset itself"), Bytes::from(vec![0; 100_000]));
    let assets = [reference.clone(), reference.clone(), inline.clone(), long];
    // The last two are said to be references and are none; the second is one and is said to be none.
    let is_reference = [true, false, true, true];
    store(rig.docs.as_ref(), StoreVersion { assets, is_reference, ..version(&room(1), at(5, 0)) }).await;
    delete(&rig, &room(1), true).await;
    let expected = ErasedRow {
        t: "5-0".to_owned(),
        sizes_bytes: [reference.len(), reference.len(), inline.len(), 100_000].map(|size| Some(size as u64)),
        plugins: [Some("S3Persistence:v1".to_owned()), None, None, None],
    };
    assert_eq!(erased(&rig, &room(1), 10).await, std::slice::from_ref(&expected));
    assert_eq!(noted(&rig, &room(1)).await, [expected]);
}

/// The first receipt of a room stays, and with it when it was purged.
pub async fn the_first_receipt_stays(rig: DocStoreRig) {
    assert!(!finish(&rig, &room(1), receipt(1, "not deleted")).await);
    assert_eq!(rig.deletions.receipt(&room(1)).await.expect("receipt"), None);
    delete(&rig, &room(1), true).await;
    let json = "{\"text\":\"'\\\"文档🦀\"}";
    for (at_ms, text) in [(300, json), (400, "{}")] {
        assert!(finish(&rig, &room(1), receipt(at_ms, text)).await);
        assert_eq!(rig.deletions.receipt(&room(1)).await.expect("receipt"), Some(receipt(300, json)));
        let tombstone = read(rig.docs.as_ref(), &room(1)).await.tombstone;
        assert_eq!(tombstone, Some(Tombstone { purged_at_ms: Some(300), ..deleted(100, true) }));
    }
    assert_eq!(rig.deletions.receipt(&room(2)).await.expect("receipt"), None);
    assert_eq!(store(rig.docs.as_ref(), version(&room(1), at(9, 0))).await, StoreOutcome::HardDeleted);
}

/// A hold forbids deletion for good and erasing, not deletion with the content kept, and only until it is taken off.
pub async fn a_hold_forbids_erasing(rig: DocStoreRig) {
    store(rig.docs.as_ref(), version(&room(1), at(5, 0))).await;
    assert!(hold(&rig, &room(1)).await);
    assert_eq!(delete(&rig, &room(1), true).await, TombstoneOutcome::Held);
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await.tombstone, None);
    assert_eq!(delete(&rig, &room(1), false).await, TombstoneOutcome::Recorded);
    assert_eq!(delete(&rig, &room(1), true).await, TombstoneOutcome::Held);
    assert_eq!(read(rig.docs.as_ref(), &room(1)).await.tombstone, Some(deleted(100, false)), "it is as it was");
    assert_eq!(delete(&rig, &room(2), true).await, TombstoneOutcome::Recorded, "another room");
    assert_eq!(restore(&rig, &room(1)).await, Restored::Restored, "nothing is lost by that");
    assert!(release(&rig, &room(1)).await);
    assert_eq!(delete(&rig, &room(1), true).await, TombstoneOutcome::Recorded);
    // One that comes after the deletion keeps what is still there.
    assert!(hold(&rig, &room(1)).await);
    assert_eq!(delete(&rig, &room(1), true).await, TombstoneOutcome::Held);
    assert_eq!(erase(&rig, &room(1), 10).await, Erased::Held);
    assert!(!finish(&rig, &room(1), receipt(1, "{}")).await);
    assert_eq!(keys(rig.docs.as_ref(), &room(1)).await, ["5-0"]);
    assert!(release(&rig, &room(1)).await);
    assert_eq!(erased(&rig, &room(1), 10).await.len(), 1);
    assert!(finish(&rig, &room(1), receipt(1, "{}")).await);
}

/// A hold stays as it was put on first, until it is taken off.
pub async fn the_first_hold_stays(rig: DocStoreRig) {
    let of = async || rig.deletions.hold_of(&room(1)).await.expect("hold of");
    assert_eq!(of().await, None);
    assert!(!release(&rig, &room(1)).await);
    assert!(hold(&rig, &room(1)).await);
    assert!(!rig.deletions.hold(&hold_on(&room(1), "bob"), None).await.expect("hold"));
    assert_eq!(of().await, Some(hold_on(&room(1), "ann")));
    assert!(release(&rig, &room(1)).await);
    assert!(!release(&rig, &room(1)).await);
    assert!(rig.deletions.hold(&hold_on(&room(1), "bob"), None).await.expect("hold"));
    assert_eq!(of().await, Some(hold_on(&room(1), "bob")));
    assert_eq!(rig.deletions.hold_of(&room(2)).await.expect("hold of"), None);
}

/// Of a hold and a deletion for good at the same time one is first: a room that is held and deleted was deleted before.
pub async fn of_a_hold_and_a_deletion_one_is_first(rig: DocStoreRig) {
    for n in 0..40 {
        store(rig.docs.as_ref(), version(&room(n), at(5, 0))).await;
        let (holder, deleter) = (rig.deletions.clone(), rig.docs.clone());
        let holding = tokio::spawn(async move {
            holder.hold(&hold_on(&room(n), "ann"), None).await.expect("hold");
            // Whatever is answered from now on: the room stays as it is.
            holder.hold_of(&room(n)).await.expect("hold of").expect("it is held");
            read(deleter.as_ref(), &room(n)).await.tombstone.is_some_and(|tombstone| tombstone.hard)
        });
        let outcome = delete(&rig, &room(n), true).await;
        let was_deleted = holding.await.expect("the holder failed");
        let is_deleted = read(rig.docs.as_ref(), &room(n)).await.tombstone.is_some();
        assert_eq!(is_deleted, outcome == TombstoneOutcome::Recorded);
        assert_eq!(was_deleted, is_deleted, "it was deleted under a hold");
        assert_eq!(keys(rig.docs.as_ref(), &room(n)).await, ["5-0"]);
        assert_eq!(erase(&rig, &room(n), 10).await, if is_deleted { Erased::Held } else { Erased::NotForGood });
    }
}

/// Stores, deletion and several who erase at the same time: no row is left, and each row that was there is noted once.
pub async fn whoever_erases_each_row_is_noted_once(rig: DocStoreRig) {
    for n in 0..15 {
        let writers = (0..3u64).map(|writer| {
            let docs = rig.docs.clone();
            tokio::spawn(async move {
                let mut stored = Vec::new();
                for step in 1.. {
                    let new = StoreVersion { epoch: TaskEpoch(1), ..version(&room(n), at(step, writer)) };
                    match store(docs.as_ref(), new).await {
                        StoreOutcome::Stored => stored.push(at(step, writer).to_string()),
                        StoreOutcome::HardDeleted => break,
                        other => panic!("{other:?}"),
                    }
                }
                stored
            })
        });
        let writers: Vec<_> = writers.collect();
        delete(&rig, &room(n), true).await;
        let erasers = (0..3).map(|_| async {
            let mut all = Vec::new();
            loop {
                let rows = erased(&rig, &room(n), 2).await;
                if rows.is_empty() {
                    return all;
                }
                all.extend(rows);
            }
        });
        let mut gone: Vec<_> = join_all(erasers).await.into_iter().flatten().map(|row| row.t).collect();
        let mut stored = Vec::new();
        for writer in writers {
            stored.extend(writer.await.expect("a writer failed"));
        }
        assert_eq!(keys(rig.docs.as_ref(), &room(n)).await, [""; 0]);
        stored.sort();
        gone.sort();
        assert_eq!(gone, stored);
        assert_eq!(noted(&rig, &room(n)).await.into_iter().map(|row| row.t).collect::<Vec<_>>(), stored);
    }
}

/// Deleted rooms are found by organisation and by what is still to be done.
pub async fn tombstones_are_found_by_state(rig: DocStoreRig) {
    let other = RoomId::new("other", "doc", "main");
    for (n, deleted_at_ms, hard) in [(1, 100, false), (2, 200, false), (3, 50, true), (4, 60, true)] {
        rig.docs.put_tombstone(&room(n), deleted(deleted_at_ms, hard), None).await.expect("put tombstone");
    }
    rig.docs.put_tombstone(&other, deleted(10, false), None).await.expect("put tombstone");
    store(rig.docs.as_ref(), version(&room(5), at(1, 0))).await;
    assert!(finish(&rig, &room(4), receipt(300, "{}")).await);
    let of = async |org, state| tombstones(&rig, org, state).await;
    assert_eq!(of(None, TombstoneState::Any).await, [room(1), room(2), room(3), room(4), other.clone()]);
    assert_eq!(of(Some("org"), TombstoneState::Any).await, [room(1), room(2), room(3), room(4)]);
    assert_eq!(of(Some("o"), TombstoneState::Any).await, []);
    assert_eq!(of(None, TombstoneState::PurgePending).await, [room(3)]);
    assert_eq!(of(Some("other"), TombstoneState::PurgePending).await, []);
    for (before_ms, expected) in [
        (10, vec![]),
        (11, vec![other.clone()]),
        (200, vec![room(1), other.clone()]),
        (201, vec![room(1), room(2), other.clone()]),
    ] {
        assert_eq!(of(None, TombstoneState::KeptSinceBefore(before_ms)).await, expected, "before {before_ms}");
    }
    assert_eq!(of(Some("other"), TombstoneState::KeptSinceBefore(i64::MAX)).await, std::slice::from_ref(&other));
    let filter = TombstoneFilter { org: Some("other"), state: TombstoneState::Any };
    let found = rig.deletions.tombstones(filter, ALL).await.expect("list");
    assert_eq!(found, [DeletedRoom { room: other, tombstone: deleted(10, false) }]);
}

/// In pages of any size each deleted room and each hold comes once, whatever its name.
pub async fn listings_in_pages_have_each_room_once(rig: DocStoreRig) {
    let rooms = odd_rooms();
    for room in rooms.iter().rev() {
        assert!(hold(&rig, room).await, "{room:?}");
        delete(&rig, room, false).await;
    }
    for max in [1, 7, rooms.len(), rooms.len() + 1] {
        let (mut deleted, mut held) = (Vec::<RoomId>::new(), Vec::<RoomId>::new());
        let filter = TombstoneFilter { org: None, state: TombstoneState::KeptSinceBefore(101) };
        loop {
            let page = Page { after: deleted.last(), max };
            let found = rig.deletions.tombstones(filter, page).await.expect("list");
            assert!(found.len() <= max);
            if found.is_empty() {
                break;
            }
            deleted.extend(found.into_iter().map(|deleted| deleted.room));
        }
        loop {
            let found = rig.deletions.holds(Page { after: held.last(), max }).await.expect("list");
            assert!(found.len() <= max);
            if found.is_empty() {
                break;
            }
            held.extend(found.into_iter().map(|hold| hold.room));
        }
        for mut found in [deleted, held] {
            found.sort();
            assert_eq!(found, rooms, "in pages of {max}");
        }
    }
    for room in &rooms {
        assert_eq!(restore(&rig, room).await, Restored::Restored);
        assert!(release(&rig, room).await, "{room:?}");
    }
}

/// The rooms of an organisation come each once with what is stored of it.
pub async fn the_rooms_of_an_organisation_are_listed(rig: DocStoreRig) {
    let rooms = odd_rooms();
    for room in &rooms {
        store(rig.docs.as_ref(), version(room, at(5, 0))).await;
    }
    for org in ["x", "a", "", "A", "none"] {
        let expected: Vec<_> = rooms.iter().filter(|room| room.org() == org).cloned().collect();
        for max in [1, 5, 100] {
            let mut found = Vec::<RoomOverview>::new();
            loop {
                let after = found.last().map(|found| (found.room.docid(), found.room.branch()));
                let page = rig.deletions.rooms_of(org, after, max).await.expect("list");
                assert!(page.len() <= max);
                if page.is_empty() {
                    break;
                }
                found.extend(page);
            }
            let mut names: Vec<_> = found.iter().map(|found| found.room.clone()).collect();
            names.sort();
            assert_eq!(names, expected, "of {org:?} in pages of {max}");
            assert!(found.iter().all(|found| (found.rows, found.newest.as_str()) == (1, "5-0")));
        }
        assert_eq!(rig.deletions.rooms_of(org, None, 0).await.expect("list"), []);
    }
}

/// What is said of a room: its newest row by number, how many rows, how many bytes of each kind, and its deletion.
pub async fn an_overview_counts_rows_and_bytes(rig: DocStoreRig) {
    for (n, clock) in [at(9, 10), at(10, 9), at(10, 10)].into_iter().enumerate() {
        let assets = AssetKind::ALL.map(|kind| Bytes::from(vec![0; (kind as usize + 1) * 10usize.pow(n as u32)]));
        store(rig.docs.as_ref(), StoreVersion { assets, ..version(&room(1), clock) }).await;
    }
    store(rig.docs.as_ref(), version(&RoomId::new("org", "doc-1", "branch"), at(1, 0))).await;
    delete(&rig, &room(1), true).await;
    // Deleted, and nothing is stored of it: not listed.
    delete(&rig, &room(2), false).await;
    let found = rig.deletions.rooms_of("org", None, 10).await.expect("list");
    assert_eq!(found.len(), 2);
    let expected = RoomOverview {
        room: room(1),
        newest: "10-10".to_owned(),
        rows: 3,
        sizes_bytes: [111, 222, 333, 444],
        tombstone: Some(deleted(100, true)),
    };
    assert!(found.contains(&expected), "{found:?}");
    assert_eq!(rig.deletions.overview_of(&room(1)).await.expect("one"), Some(expected));
    let kept = rig.deletions.overview_of(&room(2)).await.expect("one").expect("it is deleted");
    assert_eq!((kept.rows, kept.newest.as_str(), kept.tombstone), (0, "", Some(deleted(100, false))));
    assert_eq!(rig.deletions.overview_of(&room(3)).await.expect("none"), None);
    assert!(found.iter().any(|found| found.room.branch() == "branch" && found.tombstone.is_none()));
}

/// One owner at a time has a duty, as long as it renews it; the next has it when that time is over.
pub async fn a_duty_has_one_owner_at_a_time(rig: DocStoreRig) {
    let lease = Duration::from_millis(100);
    let take = async |name: &str, owner: &str, now_ms| rig.deletions.take_duty(name, owner, now_ms, lease).await.expect("take");
    assert!(take("janitor", "a", 1_000).await);
    assert!(!take("janitor", "b", 1_099).await);
    assert!(take("other", "b", 1_000).await, "another duty");
    assert!(take("janitor", "a", 1_050).await, "it goes on");
    assert!(!take("janitor", "b", 1_149).await);
    assert!(take("janitor", "b", 1_150).await);
    assert!(!take("janitor", "a", 1_151).await);
    // Given back at once.
    assert!(rig.deletions.take_duty("janitor", "b", 1_160, Duration::ZERO).await.expect("give back"));
    assert!(take("janitor", "a", 1_160).await);
    // Time goes back: a little, and nothing changes; by more than the lease, and nobody waits until it has caught up.
    assert!(!take("janitor", "b", 1_100).await);
    assert!(take("janitor", "b", 1_000).await);
    for n in 0..20u64 {
        let (name, now_ms) = (&format!("duty-{n}"), 5_000);
        let takers = (0..6).map(|taker| async move { (taker, take(name, &format!("taker-{taker}"), now_ms).await) });
        let had = join_all(takers).await.into_iter().filter(|(_, has)| *has).count();
        assert_eq!(had, 1);
    }
}

/// A room with U+0000 in its name is held like any other, or refused as a name; of such an organisation nothing is listed.
pub async fn names_with_nul_are_kept_or_refused(rig: DocStoreRig) {
    let nul = RoomId::new("o\0", "d", "main");
    let stored = rig.docs.store(version(&nul, at(1, 0))).await;
    let held = rig.deletions.hold(&hold_on(&nul, "ann"), None).await;
    let filter = TombstoneFilter { org: Some("o\0"), state: TombstoneState::Any };
    let (listed, found) = (rig.deletions.rooms_of("o\0", None, 10).await, rig.deletions.tombstones(filter, ALL).await);
    if stored.is_ok() {
        assert!(held.expect("hold"));
        assert_eq!((listed.expect("list").len(), found.expect("list").len()), (1, 0));
    } else {
        let errors = [held.map(drop).err(), listed.map(drop).err(), found.map(drop).err()];
        assert!(errors.iter().all(|error| matches!(error, Some(DocStoreError::Room { .. }))), "{errors:?}");
    }
    // Texts of operators are cut or kept, as with failures.
    let odd = Hold { by: "a\0b".to_owned(), reason: "é🦀".repeat(100_000), ..hold_on(&room(1), "") };
    assert!(rig.deletions.hold(&odd, None).await.expect("hold"));
    let kept = rig.deletions.hold_of(&room(1)).await.expect("hold of").expect("it is held");
    assert!(odd.reason.starts_with(&kept.reason) && kept.by.len() >= 3, "{:?}", kept.by);
}
