//! Every step of a compaction, a quarantine and a release may be the last: by a failure, by a panic, or because the process is
//! killed there. What was written is there afterwards, and another worker brings it to its end.

#![expect(clippy::unwrap_used, reason = "in a test")]
#![expect(clippy::result_large_err, reason = "a thread returns what the compaction did")]

mod support;

use std::{sync::Arc, time::Duration};

use fail::FailScenario;
use support::{Rig, collected, whole, write, writers};
use yhub_core::{Asset, AssetId, AssetIdKind, StreamClock, Variant};
use yhub_documents::{DeleteKind, Deleted, DocumentsError, Purged, QuarantineReason, SetAside, quarantine_id};
use yhub_store::{AssetPlugins, AssetSelection, Branches, StoreVersion, TaskEpoch, Tombstone, WorkerId, testsuite::MemoryAssets};

const STEPS: [&str; 5] = ["compact::claimed", "compact::read", "compact::merged", "compact::stored", "compact::completed"];

/// Fails as a store that is away, as an entry that cannot be read, and by a panic.
const ENDS: [&str; 3] = ["1*return", "1*return(entry)", "1*panic(on purpose)"];

fn updates() -> [Vec<u8>; 2] {
    [write(7, 0, "hello"), write(9, 0, "world")]
}

async fn assert_shown(rig: &Rig, context: &str) {
    for variant in Variant::ALL {
        let loaded = rig.load(variant).await.unwrap();
        assert_eq!(collected(&[loaded.base]), collected(&updates()), "{context}");
    }
}

#[tokio::test]
async fn whatever_step_of_a_compaction_is_the_last_another_worker_ends_it() {
    let scenario = FailScenario::setup();
    for step in STEPS {
        for end in ENDS {
            let context = format!("{step}: {end}");
            let rig = Rig::new();
            for (update, user) in updates().iter().zip(["ann", "bob"]) {
                rig.write(update, user).await;
            }
            rig.pass();
            let task = rig.claim("first").await;
            fail::cfg(step, end).unwrap();
            let failed = rig.documents().compact(&WorkerId("first".into()), &task, Duration::ZERO).await.unwrap_err();
            fail::remove(step);
            let class = ["store", "entry", "panic"][ENDS.iter().position(|other| *other == end).unwrap()];
            assert_eq!((failed.error.class().name(), failed.is_transient()), (class, class == "store"), "{context}");
            assert_shown(&rig, &context).await;
            rig.pass();
            for task in rig.log.claim(&WorkerId("next".into()), 9, Duration::ZERO, support::LEASE).await.unwrap() {
                rig.documents().compact(&WorkerId("next".into()), &task, Duration::ZERO).await.unwrap();
            }
            assert_shown(&rig, &context).await;
            assert!(rig.entries().await.is_empty(), "{context}");
            let row = rig.row().await;
            assert_eq!((writers(&row.map, 7), writers(&row.map, 9)), (vec!["ann".into(); 5], vec!["bob".into(); 5]), "{context}");
        }
    }
    scenario.teardown();
}

/// A worker that sleeps at a step for longer than its lease, while another does all of it and more is written; then it wakes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_step_a_worker_sleeps_at_it_does_no_harm_when_it_wakes() {
    let scenario = FailScenario::setup();
    for step in STEPS {
        let rig = Arc::new(Rig::new());
        rig.write(&updates()[0], "ann").await;
        rig.pass();
        let old = rig.claim("sleeper").await;
        fail::cfg(step, "1*pause").unwrap();
        let documents = rig.documents();
        let sleeper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(documents.compact(&WorkerId("sleeper".into()), &old, Duration::ZERO))
        });
        // Asleep by then, or it has not begun: both may be.
        tokio::time::sleep(Duration::from_millis(50)).await;
        rig.pass();
        rig.write(&updates()[1], "bob").await;
        for task in rig.log.claim(&WorkerId("next".into()), 9, Duration::ZERO, support::LEASE).await.unwrap() {
            rig.documents().compact(&WorkerId("next".into()), &task, Duration::ZERO).await.unwrap();
        }
        fail::remove(step);
        let woken = tokio::task::spawn_blocking(move || sleeper.join().unwrap()).await.unwrap();
        assert_shown(&rig, &format!("{step}: {woken:?}")).await;
        rig.pass();
        for task in rig.log.claim(&WorkerId("last".into()), 9, Duration::ZERO, support::LEASE).await.unwrap() {
            rig.documents().compact(&WorkerId("last".into()), &task, Duration::ZERO).await.unwrap();
        }
        assert_shown(&rig, step).await;
        assert!(rig.entries().await.is_empty(), "{step}");
    }
    scenario.teardown();
}

#[tokio::test]
async fn whatever_step_of_a_quarantine_is_the_last_it_is_done_again() {
    let scenario = FailScenario::setup();
    let why = || QuarantineReason { class: "entry".into(), signature: "s".into(), reason: "r".into(), from: None };
    for step in ["quarantine::recorded", "quarantine::moved"] {
        let rig = Rig::new();
        let first = rig.write(&updates()[0], "ann").await;
        rig.write(&updates()[1], "bob").await;
        fail::cfg(step, "1*return").unwrap();
        rig.documents().quarantine(&rig.room, why()).await.unwrap_err();
        fail::remove(step);
        assert_shown(&rig, step).await;
        let id = quarantine_id(&rig.room, first);
        let again = rig.documents().quarantine(&rig.room, why()).await.unwrap();
        let expected = if step == "quarantine::moved" { SetAside::Nothing } else { SetAside::Done { id: id.clone() } };
        assert_eq!(again, expected, "{step}");
        assert_eq!(
            rig.docs.read(&rig.room, AssetSelection::NONE).await.unwrap().quarantined,
            std::slice::from_ref(&id),
            "{step}"
        );
        assert_shown(&rig, step).await;
        fail::cfg("quarantine::released", "1*return").unwrap();
        rig.documents().release(&rig.room, &id, None).await.unwrap_err();
        fail::remove("quarantine::released");
        assert_shown(&rig, step).await;
        assert_eq!(rig.documents().release(&rig.room, &id, None).await.unwrap(), None);
        assert!(rig.docs.read(&rig.room, AssetSelection::NONE).await.unwrap().quarantined.is_empty(), "{step}");
        rig.compact().await.unwrap();
        assert_eq!(whole(&[rig.row().await.nongc]), whole(&updates()), "{step}");
    }
    scenario.teardown();
}

const PLUGIN: &str = "memory:v1";

/// A room with 150 rows, each with an object, one object without a row, a stream that was set aside, and one entry.
async fn furnished() -> Rig {
    let mut rig = Rig::new();
    let place = Arc::new(MemoryAssets::new(PLUGIN, Branches::All));
    rig.assets = Arc::new(AssetPlugins::new(vec![place], Duration::ZERO));
    let inline = Asset::YDoc { update: updates()[0].clone().into() }.encode();
    let reference = Asset::Retrievable { plugin: PLUGIN.into() }.encode();
    for ms in 0..=150 {
        let clock = StreamClock::new(1_000 + ms, 0);
        let id = AssetId { kind: AssetIdKind::YDoc { gc: true }, room: rig.room.clone(), t: clock.to_string() };
        assert!(rig.assets.store(&id, inline.clone()).await.unwrap().is_reference);
        if ms < 150 {
            let version = StoreVersion {
                room: rig.room.clone(),
                clock,
                assets: [reference.clone(), inline.clone(), inline.clone(), inline.clone()],
                is_reference: [true, false, false, false],
                replaces: Vec::new(),
                epoch: TaskEpoch(0),
            };
            rig.docs.store(version).await.unwrap();
        }
    }
    rig.write(&updates()[0], "ann").await;
    let why = QuarantineReason { class: "entry".into(), signature: "s".into(), reason: "r".into(), from: None };
    rig.documents().quarantine(&rig.room, why).await.unwrap();
    rig.write(&updates()[1], "bob").await;
    rig
}

/// After a deletion or purge stopped at `step`: nothing is shown, and whoever comes next ends it.
async fn assert_ended(rig: &Rig, context: &str, by_janitor: bool) {
    for variant in Variant::ALL {
        assert!(matches!(rig.load(variant).await, Err(DocumentsError::Deleted { .. })), "{context}");
    }
    // A compaction that comes in between changes nothing of that.
    rig.pass();
    for task in rig.log.claim(&WorkerId("next".into()), 9, Duration::ZERO, support::LEASE).await.unwrap() {
        rig.documents().compact(&WorkerId("next".into()), &task, Duration::ZERO).await.unwrap();
    }
    if by_janitor {
        let swept = rig.documents().resume_deletions(i64::MAX, None, 10).await.unwrap();
        assert!(swept.failed.is_empty() && swept.held.is_empty(), "{context}: {swept:?}");
    } else {
        let deleted = rig.documents().delete(&rig.room, DeleteKind::Hard, Some("bob"), None).await.unwrap();
        assert!(matches!(deleted, Deleted::Erased(_)), "{context}: {deleted:?}");
    }
    let stored = rig.docs.read(&rig.room, AssetSelection::NONE).await.unwrap();
    assert_eq!((stored.rows.len(), stored.quarantined.len(), rig.content().await.len()), (0, 0, 0), "{context}");
    assert_eq!(rig.admin.quarantined(Some(&rig.room), None, 9).await.unwrap().items, [], "{context}");
    for place in rig.assets.iter() {
        assert_eq!(place.list(None, None, 1_000).await.unwrap().items, [], "{context}");
    }
    // What was erased before it stopped is on the receipt all the same.
    let receipt = rig.deletions.receipt(&rig.room).await.unwrap().expect("a receipt").json;
    let receipt: serde_json::Value = serde_json::from_str(&receipt).unwrap();
    let erased = &receipt["erased"];
    assert_eq!((&erased["rows"]["count"], &receipt["deletedBy"]), (&150.into(), &"ann".into()), "{context}");
    assert!(erased["objects"]["count"].as_u64().unwrap() >= 150, "{context}: {erased}");
    assert_eq!(rig.deletions.erased_rows(&rig.room, None, 1_000).await.unwrap(), [], "{context}");
}

#[tokio::test]
async fn whatever_step_of_a_deletion_is_the_last_another_ends_it() {
    let scenario = FailScenario::setup();
    let steps = ["delete::recorded", "delete::cleared", "delete::announced", "delete::uncached"];
    for (n, step) in steps.into_iter().enumerate() {
        for (m, end) in ["1*return", "1*panic(on purpose)"].into_iter().enumerate() {
            let context = format!("{step}: {end}");
            let rig = Arc::new(furnished().await);
            fail::cfg(step, end).unwrap();
            let deleting = tokio::spawn({
                let rig = rig.clone();
                async move { rig.documents().delete(&rig.room, DeleteKind::Hard, Some("ann"), None).await }
            });
            assert!(!matches!(deleting.await, Ok(Ok(_))), "{context}");
            fail::remove(step);
            assert_ended(&rig, &context, (n + m) % 2 == 0).await;
        }
    }
    scenario.teardown();
}

#[tokio::test]
async fn whatever_step_of_a_purge_is_the_last_another_ends_it() {
    let scenario = FailScenario::setup();
    let steps = [
        "purge::some_rows",
        "purge::rows",
        "purge::objects",
        "purge::discarded",
        "purge::set_aside",
        "purge::cleared",
        "purge::erased",
        "purge::read_back",
        "purge::finished",
    ];
    for (n, step) in steps.into_iter().enumerate() {
        for (m, end) in ["1*return", "1*panic(on purpose)"].into_iter().enumerate() {
            let context = format!("{step}: {end}");
            let rig = Arc::new(furnished().await);
            let hard = Tombstone { deleted_at_ms: 1, hard: true, purged_at_ms: None, by: Some("ann".into()) };
            rig.docs.put_tombstone(&rig.room, hard, None).await.unwrap();
            fail::cfg(step, end).unwrap();
            let purging = tokio::spawn({
                let rig = rig.clone();
                async move { rig.documents().purge(&rig.room, None, None).await }
            });
            assert!(!matches!(purging.await, Ok(Ok(Purged::Done(_)))), "{context}");
            fail::remove(step);
            assert_ended(&rig, &context, step != "purge::finished" && (n + m) % 2 == 0).await;
        }
    }
    scenario.teardown();
}
