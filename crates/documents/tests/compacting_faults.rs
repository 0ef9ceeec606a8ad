//! I-7: every step of a compaction may fail, be cut off or run twice; another worker then brings it to its end.

#![expect(clippy::unwrap_used, reason = "in a test")]

mod support;

use std::time::Duration;

use support::{Rig, collected, delete, go_on, whole, write, writers};
use yhub_core::Variant;
use yhub_documents::Compacted;
use yhub_store::{
    AssetSelection, WorkerId,
    faults::{DocMethod, Fault, LogMethod},
};

/// What is written before the first compaction, and between the two.
fn before() -> Vec<(Vec<u8>, &'static str)> {
    vec![(write(7, 0, "hello"), "ann"), (delete(7, 1, 2), "bob"), (go_on(9, 1, "later"), "cy")]
}

fn between() -> Vec<(Vec<u8>, &'static str)> {
    vec![(write(7, 0, "hello"), "mallory"), (write(9, 0, "_"), "dan")]
}

fn all() -> Vec<Vec<u8>> {
    before().into_iter().chain(between()).map(|(update, _)| update).collect()
}

/// What must be there whatever went wrong: in either store, nothing lost, nothing twice, and as attributed at first.
async fn assert_nothing_lost(rig: &Rig, updates: &[Vec<u8>], context: &str) {
    let nongc = rig.load(Variant::Nongc).await.unwrap();
    assert_eq!(whole(&[nongc.base]), whole(updates), "{context}");
    let gc = rig.load(Variant::Gc).await.unwrap();
    assert_eq!(collected(&[gc.base]), collected(updates), "{context}");
    assert!(rig.rows().await.len() <= 1, "{context}: double rows");
}

async fn assert_compacted(rig: &Rig, context: &str) {
    let row = rig.row().await;
    assert_eq!(whole(&[&row.nongc]), whole(&all()), "{context}");
    assert_eq!(collected(&[&row.gc]), collected(&all()), "{context}");
    assert_eq!(row.ids, row.map.to_ids(), "{context}");
    assert_eq!(writers(&row.map, 7), ["ann"; 5], "{context}");
    assert_eq!(writers(&row.map, 9), ["dan", "cy", "cy", "cy", "cy", "cy"], "{context}");
    assert!(rig.entries().await.is_empty(), "{context}: left in the stream");
    let tasks = rig.log.claim(&WorkerId("any".into()), 10, Duration::ZERO, support::LEASE).await.unwrap();
    assert!(tasks.is_empty(), "{context}: I-3, a room that is not live has no task");
}

/// Where a compaction is hit.
#[derive(Clone, Copy, Debug)]
enum At {
    Log(LogMethod, u64),
    Docs(DocMethod, u64),
}

const STEPS: [At; 4] =
    [At::Log(LogMethod::Read, 1), At::Docs(DocMethod::Read, 1), At::Docs(DocMethod::Store, 1), At::Log(LogMethod::Complete, 1)];

fn plan(rig: &Rig, at: At, fault: Fault) {
    match at {
        At::Log(method, nth) => rig.log_faults.on_nth(method, nth, fault),
        At::Docs(method, nth) => rig.doc_faults.on_nth(method, nth, fault),
    }
}

#[tokio::test]
async fn the_steps_above_are_all_there_are() {
    let rig = Rig::new();
    rig.write(&write(7, 0, "hello"), "ann").await;
    rig.pass();
    let task = rig.claim("worker").await;
    rig.faulty().compact(&WorkerId("worker".into()), &task, Duration::ZERO).await.unwrap();
    let log = [LogMethod::Read, LogMethod::Complete, LogMethod::Append, LogMethod::NowMs, LogMethod::Renew];
    assert_eq!(log.map(|method| rig.log_faults.calls(method)), [1, 1, 0, 0, 0]);
    assert_eq!([DocMethod::Read, DocMethod::Store].map(|method| rig.doc_faults.calls(method)), [1, 1]);
}

#[tokio::test]
async fn whatever_step_fails_another_worker_ends_it() {
    let written: Vec<Vec<u8>> = before().into_iter().map(|(update, _)| update).collect();
    for first in STEPS {
        for fault in [Fault::FailBefore, Fault::FailAfter] {
            let context = format!("{fault:?} at {first:?}");
            let rig = Rig::new();
            for (update, user) in before() {
                rig.write(&update, user).await;
            }
            rig.pass();
            let task = rig.claim("first").await;
            plan(&rig, first, fault);
            let failed = rig.faulty().compact(&WorkerId("first".into()), &task, Duration::ZERO).await.unwrap_err();
            assert!(failed.is_transient(), "{context}: {failed}");
            assert_nothing_lost(&rig, &written, &context).await;
            for (update, user) in between() {
                rig.write(&update, user).await;
            }
            // The lease lapses, or the room has become live anew; and the next is hit too, somewhere else.
            for second in STEPS {
                rig.pass();
                let tasks = rig.log.claim(&WorkerId("next".into()), 10, Duration::ZERO, support::LEASE).await.unwrap();
                let Some(task) = tasks.first() else { continue };
                plan(&rig, second, fault);
                let _ = rig.faulty().compact(&WorkerId("next".into()), task, Duration::ZERO).await;
                rig.doc_faults.clear();
                rig.log_faults.clear();
                assert_nothing_lost(&rig, &all(), &context).await;
            }
            rig.pass();
            let tasks = rig.log.claim(&WorkerId("last".into()), 10, Duration::ZERO, support::LEASE).await.unwrap();
            for task in &tasks {
                rig.documents().compact(&WorkerId("last".into()), task, Duration::ZERO).await.unwrap();
            }
            assert_compacted(&rig, &context).await;
        }
    }
}

/// A worker that is killed: its calls are cut off where they wait.
#[tokio::test]
async fn whatever_step_is_cut_off_another_worker_ends_it() {
    for at in STEPS {
        let context = format!("cut off at {at:?}");
        let rig = Rig::new();
        for (update, user) in before() {
            rig.write(&update, user).await;
        }
        rig.pass();
        let task = rig.claim("first").await;
        plan(&rig, at, Fault::Hang);
        let (documents, first) = (rig.faulty(), WorkerId("first".into()));
        let cut = tokio::time::timeout(Duration::from_millis(100), documents.compact(&first, &task, Duration::ZERO)).await;
        assert!(cut.is_err(), "{context}: it ended");
        for (update, user) in between() {
            rig.write(&update, user).await;
        }
        rig.compact().await.unwrap();
        assert_compacted(&rig, &context).await;
    }
}

/// Two workers, of which each believes that the task is its own, at every offset to each other.
#[tokio::test]
async fn two_workers_at_once_lose_nothing() {
    for at in STEPS {
        for second_is_held in [false, true] {
            let context = format!("held at {at:?}, the second one: {second_is_held}");
            let rig = Rig::new();
            for (update, user) in before() {
                rig.write(&update, user).await;
            }
            rig.pass();
            let old = rig.claim("first").await;
            rig.pass();
            let new = rig.claim("second").await;
            for (update, user) in between() {
                rig.write(&update, user).await;
            }
            plan(&rig, at, Fault::Hang);
            let (held, free) = (rig.faulty(), rig.documents());
            let (first, second) = (WorkerId("first".into()), WorkerId("second".into()));
            let (one, other) = if second_is_held {
                (held.compact(&second, &new, Duration::ZERO), free.compact(&first, &old, Duration::ZERO))
            } else {
                (held.compact(&first, &old, Duration::ZERO), free.compact(&second, &new, Duration::ZERO))
            };
            let release = async {
                let other = other.await;
                rig.doc_faults.release();
                rig.log_faults.release();
                // Whoever hangs may not have begun to.
                tokio::time::sleep(Duration::from_millis(20)).await;
                rig.doc_faults.release();
                rig.log_faults.release();
                other
            };
            let (one, other) = tokio::join!(one, release);
            let (old_done, new_done) = if second_is_held { (other, one) } else { (one, other) };
            assert_eq!(old_done.unwrap(), Compacted::Lost, "{context}: who lost the task says so");
            assert_ne!(new_done.unwrap(), Compacted::Lost, "{context}");
            assert_compacted(&rig, &context).await;
        }
    }
}

/// Faults by chance, workers by chance, writers all the time.
#[tokio::test]
async fn nothing_is_lost_over_many_rounds_of_faults() {
    for seed in 0..12 {
        let rig = Rig::new();
        let mut random = fastrand::Rng::with_seed(seed);
        rig.log_faults.by_chance(seed, 6, &[LogMethod::Read, LogMethod::Complete], &[Fault::FailBefore, Fault::FailAfter]);
        rig.doc_faults.by_chance(seed + 1, 6, &[DocMethod::Read, DocMethod::Store], &[Fault::FailBefore, Fault::FailAfter]);
        let (mut updates, mut failed, mut stored) = (Vec::new(), 0, 0);
        for round in 0..40u32 {
            let update = if round == 0 { write(7, 0, "x") } else { go_on(7, round, "x") };
            rig.write(&update, &format!("user-{round}")).await;
            updates.push(update);
            if random.u64(..4) == 0 {
                rig.write(&updates[random.u64(..updates.len() as u64) as usize], "mallory").await;
            }
            let worker = WorkerId(format!("worker-{}", random.u64(..3)));
            rig.time.advance(Duration::from_secs(random.u64(..12)));
            let tasks = rig.log.claim(&worker, 1, Duration::ZERO, support::LEASE).await.unwrap();
            if let Some(task) = tasks.first() {
                match rig.faulty().compact(&worker, task, Duration::from_secs(random.u64(..3) * 5)).await {
                    Ok(_) => stored += 1,
                    Err(_) => failed += 1,
                }
            }
            assert_nothing_lost(&rig, &updates, &format!("seed {seed}, round {round}")).await;
        }
        assert!(failed > 0 && stored > 0, "seed {seed}: {failed} failed, {stored} done");
        rig.write(&updates[0], "mallory").await;
        rig.compact().await.unwrap();
        let row = rig.row().await;
        let users: Vec<String> = (0..40).map(|round| format!("user-{round}")).collect();
        assert_eq!(writers(&row.map, 7), users, "seed {seed}: I-6");
        assert!(rig.entries().await.is_empty(), "seed {seed}");
        assert_eq!(rig.docs.read(&rig.room, AssetSelection::NONE).await.unwrap().rows.len(), 1);
    }
}
