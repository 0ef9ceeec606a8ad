//! Every step of a compaction, a quarantine and a release may be the last: by a failure, by a panic, or because the process is
//! killed there. What was written is there afterwards, and another worker brings it to its end.

#![expect(clippy::unwrap_used, reason = "in a test")]

mod support;

use std::{sync::Arc, time::Duration};

use fail::FailScenario;
use support::{Rig, collected, whole, write, writers};
use yhub_core::Variant;
use yhub_documents::{QuarantineReason, SetAside, quarantine_id};
use yhub_store::{AssetSelection, WorkerId};

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
        rig.documents().release(&rig.room, &id).await.unwrap_err();
        fail::remove("quarantine::released");
        assert_shown(&rig, step).await;
        assert_eq!(rig.documents().release(&rig.room, &id).await.unwrap(), None);
        assert!(rig.docs.read(&rig.room, AssetSelection::NONE).await.unwrap().quarantined.is_empty(), "{step}");
        rig.compact().await.unwrap();
        assert_eq!(whole(&[rig.row().await.nongc]), whole(&updates()), "{step}");
    }
    scenario.teardown();
}
