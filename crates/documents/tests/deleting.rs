//! Deleting rooms, one after the other: what is kept and what is erased, what the receipt says, holds, retention, orphans.

#![expect(clippy::unwrap_used, reason = "in a test")]

mod support;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use support::{Rig, collected, write};
use yhub_content::history::ChangeFilter;
use yhub_core::{Asset, AssetId, AssetIdKind, Author, RoomId, StreamClock, StreamMessage, Variant};
use yhub_documents::{
    Compacted, DeleteKind, Deleted, Documents, DocumentsError, DueRoom, OrphanCursor, Purged, QuarantineReason, SetAside, Writer,
    Written,
};
use yhub_store::{
    Allowance, AssetPlugins, AssetSelection, AssetStore, AssetStoreError, AuditRecord, Branches, Brought, CacheKey, DocStore,
    DocStoreError, FailureReport, Hold, Page, Restored, ScanPage, StoreOutcome, StoreVersion, Stored, StoredName, StoredObject,
    StoredRoom, TaskEpoch, Tombstone, TombstoneFilter, TombstoneOutcome, TombstoneState,
    faults::{DocMethod, Fault, LogMethod},
    testsuite::MemoryAssets,
};

const PLUGIN: &str = "memory:v1";
const ALL: Page<'static> = Page { after: None, max: 1_000 };

/// A rig that has a place for assets.
fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.assets = place();
    rig
}

fn place() -> Arc<AssetPlugins> {
    Arc::new(AssetPlugins::new(vec![Arc::new(MemoryAssets::new(PLUGIN, Branches::All))], Duration::ZERO))
}

fn gc_doc(room: &RoomId, t: &str) -> AssetId {
    AssetId { kind: AssetIdKind::YDoc { gc: true }, room: room.clone(), t: t.to_owned() }
}

/// Stores an object without a row.
async fn put_object(rig: &Rig, room: &RoomId, t: &str) {
    let asset = Asset::YDoc { update: Bytes::from_static(b"update") }.encode();
    assert!(rig.assets.store(&gc_doc(room, t), asset).await.unwrap().is_reference);
}

/// A row at `ms` whose document without deleted content is an object.
fn row(room: &RoomId, ms: u64) -> StoreVersion {
    let inline = Asset::YDoc { update: Bytes::from_static(b"update") }.encode();
    let reference = Asset::Retrievable { plugin: PLUGIN.into() }.encode();
    StoreVersion {
        room: room.clone(),
        clock: StreamClock::new(ms, 0),
        assets: [reference, inline.clone(), inline.clone(), inline],
        is_reference: [true, false, false, false],
        replaces: Vec::new(),
        epoch: TaskEpoch(0),
    }
}

async fn put_row(rig: &Rig, room: &RoomId, ms: u64) {
    put_object(rig, room, &format!("{ms}-0")).await;
    assert_eq!(rig.docs.store(row(room, ms)).await.unwrap(), StoreOutcome::Stored);
}

async fn objects(rig: &Rig, of: Option<&RoomId>) -> Vec<AssetId> {
    let mut found = Vec::new();
    for place in rig.assets.iter() {
        let page = place.list(of, None, 1_000).await.unwrap();
        found.extend(page.items.into_iter().filter_map(|object| match object.name {
            StoredName::Asset(id) => Some(id),
            StoredName::Other(_) => None,
        }));
    }
    found.sort_by_key(ToString::to_string);
    found
}

async fn set_aside(rig: &Rig) {
    let why = QuarantineReason { class: "entry".into(), signature: "s".into(), reason: "r".into(), from: None };
    assert!(matches!(rig.documents().quarantine(&rig.room, why).await.unwrap(), SetAside::Done { .. }));
}

async fn fail(rig: &Rig) {
    let report = FailureReport {
        room: rig.room.clone(),
        class: "row".into(),
        signature: "s".into(),
        attempt: 1,
        from: StreamClock::ZERO,
        upto: StreamClock::ZERO,
        message: "m".into(),
        at_ms: 1,
    };
    rig.failures.record_failure(&report, 0).await.unwrap();
}

fn answer(rig: &Rig) -> CacheKey {
    CacheKey { room: rig.room.clone(), endpoint: "activity".into(), arguments: Vec::new() }
}

async fn cache(rig: &Rig) {
    rig.cache.cache(&answer(rig), Bytes::from_static(b"what it was"), Duration::from_secs(60)).await.unwrap();
}

async fn is_cached(rig: &Rig) -> bool {
    rig.cache.cached(&answer(rig)).await.unwrap().is_some()
}

async fn delete(rig: &Rig, kind: DeleteKind) -> Deleted {
    rig.documents().delete(&rig.room, kind, Some("ann"), None).await.unwrap()
}

async fn tombstone(rig: &Rig, room: &RoomId) -> Option<Tombstone> {
    rig.docs.read(room, AssetSelection::NONE).await.unwrap().tombstone
}

async fn hold(rig: &Rig) {
    let hold = Hold { room: rig.room.clone(), by: "law".into(), reason: "case 7".into(), at_ms: 1 };
    assert!(rig.deletions.hold(&hold, None).await.unwrap());
}

/// Nothing is left of the room but that it was deleted.
async fn assert_erased(rig: &Rig, context: &str) {
    let stored = rig.docs.read(&rig.room, AssetSelection::ALL).await.unwrap();
    assert_eq!((stored.rows.len(), stored.quarantined.len()), (0, 0), "{context}");
    assert_eq!(rig.content().await, [], "{context}");
    assert_eq!(rig.admin.quarantined(Some(&rig.room), None, 100).await.unwrap().items, [], "{context}");
    assert_eq!(objects(rig, Some(&rig.room)).await, [], "{context}");
    assert!(rig.failures.failures(ALL).await.unwrap().iter().all(|failure| failure.report.room != rig.room), "{context}");
    assert!(!is_cached(rig).await, "{context}");
    for variant in Variant::ALL {
        assert!(matches!(rig.load(variant).await, Err(DocumentsError::Deleted { .. })), "{context}");
    }
}

#[tokio::test]
async fn a_soft_deletion_keeps_everything_and_is_taken_back() {
    let rig = Rig::new();
    let (stored, late) = (write(7, 0, "stored"), write(9, 0, "late"));
    rig.write(&stored, "ann").await;
    rig.compact().await.unwrap();
    rig.write(&late, "bob").await;
    cache(&rig).await;
    let Deleted::Kept(first) = delete(&rig, DeleteKind::Soft).await else { panic!() };
    assert_eq!((first.hard, first.by.as_deref(), first.purged_at_ms), (false, Some("ann"), None));
    assert!(!is_cached(&rig).await);
    assert!(matches!(rig.load(Variant::Gc).await, Err(DocumentsError::Deleted { .. })));
    let told = rig.entries().await.pop().and_then(|entry| entry.message);
    assert_eq!(told, Some(StreamMessage::encode_tombstone()));
    // What is written before everybody has heard of it is stored, too.
    rig.pass();
    let Deleted::Kept(again) = delete(&rig, DeleteKind::Soft).await else { panic!() };
    assert_eq!(again, first, "time and author stay");
    rig.compact().await.unwrap();
    assert_eq!(rig.documents().restore(&rig.room, None).await.unwrap(), Restored::Restored);
    for variant in Variant::ALL {
        assert_eq!(collected(&[rig.load(variant).await.unwrap().base]), collected(&[&stored, &late]));
    }
    assert_eq!(rig.documents().restore(&rig.room, None).await.unwrap(), Restored::NotDeleted);
}

#[tokio::test]
async fn a_hard_deletion_erases_everything_and_says_so() {
    let rig = rig();
    let other = RoomId::new("org", "doc", "other");
    for room in [&rig.room, &other] {
        put_row(&rig, room, 1_000).await;
        put_row(&rig, room, 2_000).await;
        // Of a row that is gone, or never was.
        put_object(&rig, room, "500-0").await;
    }
    rig.write(&write(7, 0, "set aside"), "ann").await;
    rig.write(&write(8, 0, "this too"), "ann").await;
    set_aside(&rig).await;
    rig.write(&write(9, 0, "in the stream"), "bob").await;
    fail(&rig).await;
    cache(&rig).await;
    let Deleted::Erased(receipt) = delete(&rig, DeleteKind::Hard).await else { panic!() };
    assert_erased(&rig, "").await;
    assert_eq!((rig.docs.read(&other, AssetSelection::NONE).await.unwrap().rows.len(), objects(&rig, None).await.len()), (2, 3));
    let said: Value = serde_json::from_str(&receipt.json).unwrap();
    let purged_at_ms = receipt.purged_at_ms;
    assert_eq!((&said["docid"], &said["branch"], &said["org"]), (&"doc".into(), &"main".into(), &"org".into()));
    assert_eq!((&said["deletedBy"], &said["purgedAt"]), (&"ann".into(), &purged_at_ms.into()));
    let erased = &said["erased"];
    assert_eq!((&erased["rows"]["count"], &erased["rows"]["listed"][1]["t"]), (&2.into(), &"2000-0".into()));
    let lengths: u64 = row(&other, 1).assets.iter().map(|asset| asset.len() as u64).sum();
    assert_eq!(erased["rows"]["bytes"], 2 * lengths);
    let listed = erased["objects"]["listed"].as_array().unwrap();
    let ids: Vec<_> = listed.iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect();
    let expected = ["1000-0", "2000-0", "500-0"].map(|t| gc_doc(&rig.room, t).to_string());
    assert_eq!(ids, expected);
    assert!(listed.iter().all(|object| object["plugin"] == PLUGIN && object["bytes"].as_u64().unwrap() > 6));
    assert_eq!((&erased["setAside"]["count"], &erased["setAside"]["listed"][0]["entries"]), (&1.into(), &2.into()));
    // The filler that setting aside left, and what came after it.
    assert_eq!(erased["streamEntries"], 2);
    assert_eq!(tombstone(&rig, &rig.room).await.unwrap().purged_at_ms, Some(purged_at_ms));
    // Again, whatever is asked for; and nothing takes it back.
    rig.pass();
    for kind in [DeleteKind::Hard, DeleteKind::Soft] {
        assert_eq!(delete(&rig, kind).await, Deleted::Erased(receipt.clone()));
    }
    assert_eq!(rig.documents().restore(&rig.room, None).await.unwrap(), Restored::Refused);
}

#[tokio::test]
async fn a_room_whose_content_was_kept_can_be_erased_later() {
    let rig = rig();
    put_row(&rig, &rig.room, 1_000).await;
    let Deleted::Kept(first) = delete(&rig, DeleteKind::Soft).await else { panic!() };
    rig.pass();
    assert!(matches!(delete(&rig, DeleteKind::Hard).await, Deleted::Erased(_)));
    assert_erased(&rig, "").await;
    assert_eq!(tombstone(&rig, &rig.room).await.unwrap().deleted_at_ms, first.deleted_at_ms);
}

#[tokio::test]
async fn a_room_that_nobody_knows_is_deleted_all_the_same() {
    let rig = Rig::new();
    let Deleted::Erased(receipt) = delete(&rig, DeleteKind::Hard).await else { panic!() };
    let said: Value = serde_json::from_str(&receipt.json).unwrap();
    assert_eq!((&said["erased"]["rows"]["count"], &said["erased"]["streamEntries"]), (&0.into(), &0.into()));
    assert_eq!(rig.documents().purge(&RoomId::new("o", "d", "b"), None, None).await.unwrap(), Purged::NotForGood);
}

#[tokio::test]
async fn a_hold_keeps_a_room_from_being_erased() {
    let rig = rig();
    put_row(&rig, &rig.room, 1_000).await;
    let update = write(7, 0, "evidence");
    rig.write(&update, "ann").await;
    hold(&rig).await;
    let Deleted::Held(Some(hold_on)) = delete(&rig, DeleteKind::Hard).await else { panic!() };
    assert_eq!((hold_on.by.as_str(), hold_on.reason.as_str()), ("law", "case 7"));
    assert_eq!((tombstone(&rig, &rig.room).await, rig.content().await.len()), (None, 1));
    assert!(matches!(delete(&rig, DeleteKind::Soft).await, Deleted::Kept(_)));
    assert!(matches!(delete(&rig, DeleteKind::Hard).await, Deleted::Held(Some(_))));
    assert_eq!((rig.rows().await.len(), rig.content().await.len(), objects(&rig, None).await.len()), (1, 1, 1));
    assert!(rig.deletions.release_hold(&rig.room, None).await.unwrap());
    // One that comes when the deletion is on record already keeps what is still there.
    rig.docs
        .put_tombstone(&rig.room, Tombstone { deleted_at_ms: 1, hard: true, purged_at_ms: None, by: None }, None)
        .await
        .unwrap();
    hold(&rig).await;
    assert_eq!(rig.documents().purge(&rig.room, None, None).await.unwrap(), Purged::Held);
    assert!(matches!(delete(&rig, DeleteKind::Soft).await, Deleted::Held(Some(_))));
    let swept = rig.documents().resume_deletions(i64::MAX, None, 10).await.unwrap();
    assert_eq!((swept.held, swept.erased), (vec![rig.room.clone()], vec![]));
    assert_eq!((rig.rows().await.len(), rig.content().await.len(), objects(&rig, None).await.len()), (1, 1, 1));
    assert!(rig.deletions.release_hold(&rig.room, None).await.unwrap());
    let swept = rig.documents().resume_deletions(i64::MAX, None, 10).await.unwrap();
    assert_eq!((swept.held, swept.erased), (vec![], vec![rig.room.clone()]));
    assert_erased(&rig, "").await;
}

/// What cannot be shown to be gone is not said to be.
#[tokio::test]
async fn objects_in_a_place_that_is_not_configured_keep_the_deletion_open() {
    let mut rig = rig();
    put_row(&rig, &rig.room, 1_000).await;
    let place = std::mem::take(&mut rig.assets);
    let error = rig.documents().delete(&rig.room, DeleteKind::Hard, None, None).await.unwrap_err();
    assert!(matches!(error, DocumentsError::Assets { .. }), "{error:?}");
    assert_eq!(rig.deletions.receipt(&rig.room).await.unwrap(), None);
    let pending = TombstoneFilter { org: None, state: TombstoneState::PurgePending };
    assert_eq!(rig.deletions.tombstones(pending, ALL).await.unwrap().len(), 1);
    rig.assets = place;
    let Deleted::Erased(receipt) = delete(&rig, DeleteKind::Hard).await else { panic!() };
    let said: Value = serde_json::from_str(&receipt.json).unwrap();
    assert_eq!((&said["erased"]["rows"]["count"], &said["erased"]["objects"]["count"]), (&1.into(), &1.into()));
    assert_erased(&rig, "").await;
}

/// Waits until something is so, while something else goes on.
async fn meanwhile(is_so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never was so");
}

/// A reader that sleeps at any of its steps while the room is deleted wholly.
#[tokio::test]
async fn a_load_that_sleeps_through_a_deletion_shows_all_or_nothing() {
    let updates = [write(7, 0, "stored"), write(8, 0, "set aside"), write(9, 0, "late")];
    for step in ["stream", "rows", "set aside"] {
        let rig = Rig::new();
        rig.write(&updates[0], "ann").await;
        rig.compact().await.unwrap();
        rig.write(&updates[1], "bob").await;
        set_aside(&rig).await;
        rig.write(&updates[2], "cy").await;
        match step {
            "stream" => rig.log_faults.on_nth(LogMethod::Read, 1, Fault::Hang),
            "rows" => rig.doc_faults.on_nth(DocMethod::Read, 1, Fault::Hang),
            _ => rig.log_faults.on_nth(LogMethod::ReadQuarantined, 1, Fault::Hang),
        }
        let is_there = || match step {
            "stream" => rig.log_faults.calls(LogMethod::Read) > 0,
            "rows" => rig.doc_faults.calls(DocMethod::Read) > 0,
            _ => rig.log_faults.calls(LogMethod::ReadQuarantined) > 0,
        };
        let faulty = rig.faulty();
        let (loaded, ()) = tokio::join!(faulty.load(&rig.room, Variant::Nongc), async {
            meanwhile(is_there).await;
            assert!(matches!(delete(&rig, DeleteKind::Hard).await, Deleted::Erased(_)));
            rig.log_faults.release();
            rig.doc_faults.release();
        });
        assert!(matches!(loaded, Err(DocumentsError::Deleted { .. })), "{step}: {loaded:?}");
    }
}

/// Between erasing and reading back somebody writes who has not heard of the deletion: that is erased, too.
#[tokio::test]
async fn what_comes_before_the_reading_back_is_erased_before_the_receipt() {
    let rig = Rig::new();
    // Reads: for the line that tells of the deletion, for what came late, to read back.
    rig.log_faults.on_nth(LogMethod::Read, 3, Fault::Hang);
    let faulty = rig.faulty();
    let deletion = async { faulty.delete(&rig.room, DeleteKind::Hard, None, None).await };
    let (deleted, ()) = tokio::join!(deletion, async {
        let wait = meanwhile(|| rig.log_faults.calls(LogMethod::Read) > 2);
        let _ = tokio::time::timeout(Duration::from_secs(2), wait).await;
        rig.write(&write(7, 0, "late"), "ann").await;
        rig.log_faults.release();
    });
    let Deleted::Erased(receipt) = deleted.unwrap() else { panic!() };
    let said: Value = serde_json::from_str(&receipt.json).unwrap();
    assert_eq!((rig.content().await, &said["erased"]["streamEntries"]), (vec![], &2.into()), "the line and what came late");
}

/// Somebody who writes without end keeps the receipt from being written, not the room from being deleted.
#[tokio::test]
async fn a_receipt_is_not_written_while_somebody_writes() {
    let rig = Rig::new();
    let faulty = rig.faulty();
    for nth in 1..40 {
        rig.log_faults.on_nth(LogMethod::Read, nth, Fault::Hang);
    }
    let deletion = async { faulty.delete(&rig.room, DeleteKind::Hard, None, None).await };
    let writing = async {
        for nth in 1.. {
            meanwhile(|| rig.log_faults.calls(LogMethod::Read) >= nth).await;
            rig.write(&write(100 + nth, 0, "late"), "ann").await;
            rig.log_faults.release();
        }
    };
    let deleted = tokio::select! { deleted = deletion => deleted, () = writing => panic!() };
    assert!(matches!(deleted, Err(DocumentsError::NotErased { .. })), "{deleted:?}");
    assert_eq!(rig.deletions.receipt(&rig.room).await.unwrap(), None);
    assert!(matches!(delete(&rig, DeleteKind::Hard).await, Deleted::Erased(_)));
    assert_erased(&rig, "").await;
}

/// The line is above whatever anybody has heard of, also where the log has forgotten it.
#[tokio::test]
async fn everybody_hears_of_a_deletion() {
    let rig = Rig::new();
    let ahead = 1_800_000_000_000;
    rig.docs.store(row(&rig.room, ahead)).await.unwrap();
    delete(&rig, DeleteKind::Soft).await;
    assert!(rig.entries().await[0].clock > StreamClock::new(ahead, 0));
}

/// Whoever deleted the room died before they told anybody, or somebody has not heard it: a compaction tells them, once.
#[tokio::test]
async fn a_compaction_tells_of_a_deletion_that_nobody_heard_of() {
    for hard in [false, true] {
        let rig = Rig::new();
        rig.write(&write(7, 0, "hello"), "ann").await;
        let tombstone = Tombstone { deleted_at_ms: 1, hard, purged_at_ms: None, by: None };
        rig.docs.put_tombstone(&rig.room, tombstone, None).await.unwrap();
        rig.compact().await.unwrap();
        let entries = rig.entries().await;
        assert_eq!((entries.len(), rig.content().await.len(), rig.rows().await.len()), (1, 0, usize::from(!hard)));
        assert!(matches!(rig.compact().await.unwrap(), Compacted::Trimmed { trimmed: 1 }));
        assert_eq!(rig.entries().await, [], "that is the end of it");
    }
}

/// Whatever cannot be read of it: a deleted room is deleted, and one deleted for good comes to its end.
#[tokio::test]
async fn a_damaged_room_is_deleted_all_the_same() {
    for hard in [false, true] {
        let rig = Rig::new();
        let damaged = [const { Bytes::from_static(b"\x76garbage") }; 4];
        rig.docs.store(StoreVersion { assets: damaged, ..row(&rig.room, 1_000) }).await.unwrap();
        rig.write(&write(7, 0, "hello"), "ann").await;
        assert!(matches!(rig.load(Variant::Gc).await, Err(DocumentsError::Row { .. })));
        let tombstone = Tombstone { deleted_at_ms: 1, hard, purged_at_ms: None, by: None };
        rig.docs.put_tombstone(&rig.room, tombstone, None).await.unwrap();
        assert!(matches!(rig.load(Variant::Gc).await, Err(DocumentsError::Deleted { .. })), "{hard}");
        let compacted = rig.compact().await;
        assert_eq!(matches!(compacted, Ok(Compacted::Trimmed { trimmed: 1 })), hard, "{compacted:?}");
    }
}

/// Whatever has become of what its rows refer to, a deleted room is deleted, and not a room that is away for now.
#[tokio::test]
async fn a_deleted_room_whose_assets_are_away_is_deleted() {
    let mut rig = rig();
    put_row(&rig, &rig.room, 1_000).await;
    rig.assets = Arc::default();
    assert!(matches!(rig.load(Variant::Gc).await, Err(DocumentsError::Assets { .. })));
    delete(&rig, DeleteKind::Soft).await;
    assert!(matches!(rig.load(Variant::Gc).await, Err(DocumentsError::Deleted { .. })));
}

/// What was set aside stays where it is, and with it the deletion goes on being whole.
#[tokio::test]
async fn nothing_set_aside_comes_back_to_a_room_deleted_for_good() {
    let rig = Rig::new();
    rig.write(&write(7, 0, "hello"), "ann").await;
    set_aside(&rig).await;
    let id = rig.docs.read(&rig.room, AssetSelection::NONE).await.unwrap().quarantined.pop().unwrap();
    let hard = Tombstone { deleted_at_ms: 1, hard: true, purged_at_ms: None, by: None };
    rig.docs.put_tombstone(&rig.room, hard, None).await.unwrap();
    let released = rig.documents().release(&rig.room, &id, None).await;
    assert!(matches!(released, Err(DocumentsError::Deleted { .. })), "{released:?}");
    rig.write(&write(9, 0, "late"), "ann").await;
    let why = QuarantineReason { class: "entry".into(), signature: "s".into(), reason: "r".into(), from: None };
    assert_eq!(rig.documents().quarantine(&rig.room, why).await.unwrap(), SetAside::Nothing);
}

/// A room that is only deleted softly when its content is due, and not one that was restored, held, or deleted lately.
#[tokio::test]
async fn retention_erases_what_is_due_and_nothing_else() {
    let rig = rig();
    let named = |docid: &str| RoomId::new("org", docid, "main");
    let deleted = |deleted_at_ms, hard| Tombstone { deleted_at_ms, hard, purged_at_ms: None, by: Some("ann".into()) };
    for (docid, at_ms) in [("due", 100), ("held", 100), ("late", 200), ("restored", 100)] {
        put_row(&rig, &named(docid), 1_000).await;
        rig.docs.put_tombstone(&named(docid), deleted(at_ms, false), None).await.unwrap();
    }
    put_row(&rig, &named("living"), 1_000).await;
    rig.deletions.hold(&Hold { room: named("held"), by: "law".into(), reason: "case 7".into(), at_ms: 1 }, None).await.unwrap();
    assert_eq!(rig.documents().restore(&named("restored"), None).await.unwrap(), Restored::Restored);
    // Looking changes nothing.
    let documents = rig.documents();
    let due: Vec<DueRoom> = documents.due_for_hard(None, 200, ALL).await.unwrap();
    let seen: Vec<_> = due.iter().map(|due| (due.deleted.room.docid(), due.hold.is_some())).collect();
    assert_eq!(seen, [("due", false), ("held", true)]);
    assert_eq!(objects(&rig, None).await.len(), 5);
    let swept = documents.carry_out_retention(200, None, 10).await.unwrap();
    assert_eq!((&swept.erased[..], &swept.held[..]), (&[named("due")][..], &[named("held")][..]));
    assert!(swept.failed.is_empty() && swept.next.is_none(), "{swept:?}");
    let left: Vec<_> = objects(&rig, None).await.into_iter().map(|id| id.room.docid().to_owned()).collect();
    assert_eq!(left, ["held", "late", "living", "restored"]);
    let receipt: Value =
        serde_json::from_str(&rig.deletions.receipt(&named("due")).await.unwrap().expect("a receipt").json).unwrap();
    assert_eq!((&receipt["deletedBy"], &receipt["purgedBy"]), (&"ann".into(), &Value::Null));
    assert_eq!(tombstone(&rig, &named("restored")).await, None);
    let swept = documents.carry_out_retention(200, None, 10).await.unwrap();
    assert_eq!((swept.erased.len(), swept.held.len()), (0, 1));
}

/// In parts: each room has its turn, however many are held.
#[tokio::test]
async fn retention_goes_on_after_those_that_are_held() {
    let rig = Rig::new();
    let named = |n: u32| RoomId::new("org", &format!("doc-{n}"), "main");
    for n in 0..9 {
        let soft = Tombstone { deleted_at_ms: 1, hard: false, purged_at_ms: None, by: None };
        rig.docs.put_tombstone(&named(n), soft, None).await.unwrap();
        if n % 3 != 2 {
            let hold = Hold { room: named(n), by: "law".into(), reason: "case 7".into(), at_ms: 1 };
            rig.deletions.hold(&hold, None).await.unwrap();
        }
    }
    let (mut after, mut erased, mut parts) = (None::<RoomId>, Vec::new(), 0);
    loop {
        let swept = rig.documents().carry_out_retention(100, after.as_ref(), 2).await.unwrap();
        erased.extend(swept.erased);
        parts += 1;
        match swept.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!((erased, parts), (vec![named(2), named(5), named(8)], 5));
}

async fn orphans_of(documents: &Documents, grace: Duration) -> Vec<String> {
    let (mut from, mut removed) = (OrphanCursor::default(), Vec::new());
    loop {
        let part = documents.remove_orphans(from, grace, 2).await.unwrap();
        assert!(part.looked_at <= 4, "{part:?}");
        removed.extend(part.removed.into_iter().map(|(place, id)| {
            assert_eq!(place, PLUGIN);
            format!("{} {}", id.room.docid(), id.t)
        }));
        let Some(next) = part.next else { return removed };
        from = next;
    }
}

/// Objects that no row refers to go, unless a row may still come, or they are too young to tell.
#[tokio::test]
async fn only_objects_that_no_row_will_refer_to_are_removed() {
    let rig = rig();
    let named = |docid: &str| RoomId::new("org", docid, "main");
    for docid in ["a", "b"] {
        put_row(&rig, &named(docid), 1_000).await;
    }
    put_object(&rig, &named("a"), "999-5").await;
    // Beyond its newest row, or of a room without any: a compaction may be about to store that row.
    put_object(&rig, &named("b"), "1000-1").await;
    put_object(&rig, &named("c"), "500-0").await;
    // A key that is no clock.
    put_object(&rig, &named("a"), "odd").await;
    let hard = Tombstone { deleted_at_ms: 1, hard: true, purged_at_ms: None, by: None };
    rig.docs.put_tombstone(&named("gone"), hard.clone(), None).await.unwrap();
    put_object(&rig, &named("gone"), "7000-0").await;
    // A row that is still to be erased: its objects are erased with it, and noted.
    put_row(&rig, &named("going"), 1_000).await;
    rig.docs.put_tombstone(&named("going"), hard, None).await.unwrap();
    let all = objects(&rig, None).await;
    // By the log's time, all of them are older than this by an hour at most.
    let young = Duration::from_millis(rig.log.now_ms().await.unwrap());
    assert_eq!(orphans_of(&rig.documents(), young).await, [""; 0]);
    assert_eq!(objects(&rig, None).await, all);
    assert_eq!(orphans_of(&rig.documents(), Duration::from_secs(3_600)).await, ["a 999-5", "gone 7000-0"]);
    assert_eq!(objects(&rig, None).await.len(), all.len() - 2);
    assert_eq!(orphans_of(&rig.documents(), Duration::ZERO).await, [""; 0]);
    // An asset that lies in its row by now: what is called so elsewhere is left behind.
    let inline = StoreVersion { is_reference: [false; 4], ..row(&named("d"), 2_000) };
    rig.docs.store(inline).await.unwrap();
    put_object(&rig, &named("d"), "2000-0").await;
    assert_eq!(orphans_of(&rig.documents(), Duration::ZERO).await, [""; 0], "nothing newer yet");
    put_row(&rig, &named("d"), 3_000).await;
    assert_eq!(orphans_of(&rig.documents(), Duration::ZERO).await, ["d 2000-0"]);
}

/// A place for assets that refuses to remove one object, and rows that cannot be read in one room.
struct Damaged {
    assets: Arc<MemoryAssets>,
    docs: Arc<dyn DocStore>,
}

#[async_trait]
impl AssetStore for Damaged {
    fn name(&self) -> &str {
        self.assets.name()
    }

    async fn init(&self) -> Result<(), AssetStoreError> {
        Ok(())
    }

    async fn store(&self, id: &AssetId, asset: &Bytes) -> Result<Stored, AssetStoreError> {
        self.assets.store(id, asset).await
    }

    async fn retrieve_within(&self, id: &AssetId, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, AssetStoreError> {
        self.assets.retrieve_within(id, allowance).await
    }

    async fn delete(&self, id: &AssetId) -> Result<(), AssetStoreError> {
        if id.room.docid() == "locked" {
            let (what, advice) = ("removing it".to_owned(), "unlock it".to_owned());
            return Err(AssetStoreError::Refused { at: "memory".to_owned(), what, advice });
        }
        self.assets.delete(id).await
    }

    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<StoredObject>, AssetStoreError> {
        self.assets.list(of, cursor, max).await
    }

    async fn check(&self) -> Result<(), AssetStoreError> {
        Ok(())
    }
}

#[async_trait]
impl DocStore for Damaged {
    async fn read_upto(&self, room: &RoomId, assets: AssetSelection, upto_ms: u64) -> Result<StoredRoom, DocStoreError> {
        if room.docid() == "corrupt" {
            return Err(DocStoreError::Corrupt { at: "a row".to_owned(), what: "it is damaged".to_owned() });
        }
        self.docs.read_upto(room, assets, upto_ms).await
    }

    async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError> {
        self.docs.store(version).await
    }

    async fn put_tombstone(
        &self,
        room: &RoomId,
        tombstone: Tombstone,
        audit: Option<&AuditRecord>,
    ) -> Result<TombstoneOutcome, DocStoreError> {
        self.docs.put_tombstone(room, tombstone, audit).await
    }

    async fn check(&self) -> Result<(), DocStoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn one_damaged_room_or_object_keeps_no_other_from_being_looked_at() {
    let mut rig = Rig::new();
    let assets = Arc::new(MemoryAssets::new(PLUGIN, Branches::All));
    let damaged = Arc::new(Damaged { assets, docs: rig.docs.clone() });
    rig.assets = Arc::new(AssetPlugins::new(vec![damaged.clone()], Duration::ZERO));
    rig.docs = damaged;
    let named = |docid: &str| RoomId::new("org", docid, "main");
    for docid in ["a", "locked", "z"] {
        put_row(&rig, &named(docid), 1_000).await;
        put_object(&rig, &named(docid), "999-5").await;
    }
    put_object(&rig, &named("corrupt"), "999-5").await;
    let found = rig.documents().remove_orphans(OrphanCursor::default(), Duration::ZERO, 1_000).await.unwrap();
    let removed: Vec<_> = found.removed.iter().map(|(_, id)| id.room.docid().to_owned()).collect();
    assert_eq!((removed, found.next), (vec!["a".to_owned(), "z".to_owned()], None));
    let skipped: Vec<_> = found.skipped.iter().map(|(what, error)| (what.as_str(), error.is_transient())).collect();
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert!(skipped[0].0.contains("corrupt") && skipped[1].0.contains("locked"), "{skipped:?}");
    assert!(skipped.iter().all(|(_, is_transient)| !is_transient));
    // A store that is away ends the search: it is there again when it goes on.
    rig.doc_faults.on_every(DocMethod::Read, Fault::FailBefore);
    let stopped = rig.faulty().remove_orphans(OrphanCursor::default(), Duration::ZERO, 1_000).await;
    assert!(stopped.is_err_and(|error| error.is_transient()));
}

/// What a prune forgets is erased.
#[tokio::test]
async fn nothing_is_pruned_while_a_hold_is_on_the_room() {
    let rig = rig();
    let prune = async || {
        let author = Author { user: "ann".to_owned(), custom: Vec::new() };
        let writer = Writer { author, at_ms: 1, unless_changed_since: None };
        rig.documents().prune(&rig.room, ChangeFilter { by: Some("ann".to_owned()), ..ChangeFilter::default() }, writer).await
    };
    hold(&rig).await;
    let refused = prune().await;
    assert!(matches!(&refused, Err(DocumentsError::Held { by: Some(by), .. }) if by == "by law: case 7"), "{refused:?}");
    assert!(!refused.unwrap_err().is_transient());
    rig.deletions.release_hold(&rig.room, None).await.unwrap();
    assert!(matches!(prune().await, Ok(Written::Nothing(_))));
}
