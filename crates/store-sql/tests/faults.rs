//! The fault wrappers around real engines: transparent without a plan, and failing exactly where a plan says.

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use yhub_core::{ManualTime, RoomId, StreamClock};
use yhub_store::{
    Append, AssetSelection, ReadLimit, StoreOutcome, StoreVersion, StreamLog, StreamLogError, TailEvent, TaskEpoch,
    faults::{DocMethod, Fault, FaultPlan, FaultyDocStore, FaultyStreamLog, LogMethod},
    testsuite::{DocStoreRig, StreamLogRig},
};
use yhub_store_sql::{EmbeddedLog, EmbeddedLogOptions, SqliteDocs, SqliteDocsOptions};

type LogPlan = Arc<FaultPlan<LogMethod>>;

fn faulty_log() -> (StreamLogRig, LogPlan) {
    let dir = tempfile::tempdir().expect("a directory");
    let time = Arc::new(ManualTime::new(1_700_000_000_000));
    let admin = Arc::new(EmbeddedLog::open(EmbeddedLogOptions::new(dir.path()), time.clone()).expect("open the log"));
    let plan = FaultPlan::new();
    let log = Arc::new(FaultyStreamLog::new(admin.clone(), plan.clone()));
    (StreamLogRig { log, admin, control: time, keep: Box::new(dir) }, plan)
}

fn faulty_docs() -> (DocStoreRig, Arc<FaultPlan<DocMethod>>) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Arc::new(SqliteDocs::open(SqliteDocsOptions::new(dir.path())).expect("open the store"));
    let plan = FaultPlan::new();
    let docs = Arc::new(FaultyDocStore::new(store.clone(), plan.clone()));
    let control = Arc::new(support::SqliteControl::of(dir.path()));
    (DocStoreRig { docs, ..support::rig(store, control, Box::new(dir)) }, plan)
}

mod without_a_plan {
    use super::*;

    yhub_store::stream_log_conformance!(async { faulty_log().0 });

    mod docs {
        use super::*;

        yhub_store::doc_store_conformance!(async { faulty_docs().0 });
    }
}

fn room() -> RoomId {
    RoomId::new("o", "d", RoomId::MAIN)
}

async fn append(log: &dyn StreamLog, text: &'static str) -> Result<Vec<StreamClock>, StreamLogError> {
    let messages = vec![Bytes::from_static(text.as_bytes())];
    log.append(Append { room: room(), messages, floor: StreamClock::ZERO }).await
}

async fn texts(log: &dyn StreamLog) -> Vec<Bytes> {
    let limit = ReadLimit { entries: 100, size_bytes: 1 << 20 };
    let page = log.read(&room(), StreamClock::ZERO, limit).await.expect("read");
    page.entries.into_iter().filter_map(|entry| entry.message).collect()
}

#[tokio::test]
async fn the_nth_call_fails_before_or_after() {
    let (rig, plan) = faulty_log();
    append(rig.log.as_ref(), "one").await.expect("no fault yet");
    plan.on_nth(LogMethod::Append, 2, Fault::FailBefore);
    plan.on_nth(LogMethod::Append, 3, Fault::FailAfter);
    let mut ended = Vec::new();
    for text in ["two", "three", "four", "five"] {
        let result = append(rig.log.as_ref(), text).await;
        assert!(result.as_ref().err().is_none_or(StreamLogError::is_transient));
        ended.push(result.is_ok());
    }
    assert_eq!(ended, [true, false, false, true]);
    assert_eq!(texts(rig.log.as_ref()).await, ["one", "two", "four", "five"], "what failed after was done");
    assert_eq!((plan.calls(LogMethod::Append), plan.calls(LogMethod::Read)), (5, 1));
}

#[tokio::test]
async fn every_call_fails_until_cleared() {
    let (rig, plan) = faulty_log();
    plan.on_every(LogMethod::Check, Fault::FailBefore);
    for _ in 0..3 {
        assert!(rig.log.check().await.is_err());
        append(rig.log.as_ref(), "x").await.expect("another method");
    }
    plan.clear();
    rig.log.check().await.expect("cleared");
}

#[tokio::test]
async fn a_hanging_call_goes_on_when_released() {
    let (rig, plan) = faulty_log();
    plan.on_nth(LogMethod::Append, 1, Fault::Hang);
    let mut hanging = Box::pin(append(rig.log.as_ref(), "late"));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut hanging).await.is_err());
    append(rig.log.as_ref(), "early").await.expect("only the first hangs");
    plan.release();
    hanging.await.expect("released");
    assert_eq!(texts(rig.log.as_ref()).await, ["early", "late"]);
    plan.on_nth(LogMethod::Append, 1, Fault::Delay(Duration::from_millis(30)));
    let mut delayed = Box::pin(append(rig.log.as_ref(), "delayed"));
    assert!(delayed.as_mut().now_or_never().is_none());
    delayed.await.expect("later");
}

#[tokio::test]
async fn chance_is_the_same_for_the_same_seed() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let (rig, plan) = faulty_log();
        plan.by_chance(seed, 4, &[LogMethod::Append], &[Fault::FailBefore, Fault::FailAfter]);
        let mut run = Vec::new();
        for _ in 0..64 {
            run.push(append(rig.log.as_ref(), "x").await.is_ok());
            rig.log.now_ms().await.expect("not among the methods");
        }
        let failed = run.iter().filter(|ok| !**ok).count();
        assert!((4..32).contains(&failed), "{failed} of 64, one in 4 asked for");
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn a_tail_fails_and_ends() {
    let (rig, plan) = faulty_log();
    plan.on_nth(LogMethod::Tail, 1, Fault::FailBefore);
    assert!(rig.log.tail().await.is_err());
    for (fault, events) in [(Fault::FailBefore, 1), (Fault::FailAfter, 2)] {
        let (control, mut tail) = rig.log.tail().await.expect("only the first");
        let after = append(rig.log.as_ref(), "x").await.expect("append")[0];
        control.follow(room(), after);
        plan.on_nth(LogMethod::TailEvent, 2, fault);
        for _ in 0..events {
            append(rig.log.as_ref(), "y").await.expect("append");
            assert!(matches!(tail.next().await, Some(Ok(TailEvent::Entries { .. }))));
        }
        if fault == Fault::FailBefore {
            append(rig.log.as_ref(), "z").await.expect("append");
        }
        assert!(matches!(tail.next().await, Some(Err(StreamLogError::Unavailable { .. }))));
        assert!(tail.next().await.is_none(), "it has ended");
    }
}

#[tokio::test]
async fn documents_fail_before_or_after() {
    let (rig, plan) = faulty_docs();
    let version = |ms| StoreVersion {
        room: room(),
        clock: StreamClock::new(ms, 0),
        assets: [const { Bytes::from_static(b"x") }; 4],
        is_reference: [false; 4],
        replaces: Vec::new(),
        epoch: TaskEpoch(1),
    };
    plan.on_nth(DocMethod::Store, 1, Fault::FailBefore);
    plan.on_nth(DocMethod::Store, 2, Fault::FailAfter);
    assert!(rig.docs.store(version(1)).await.is_err());
    assert!(rig.docs.store(version(2)).await.is_err());
    assert_eq!(rig.docs.store(version(2)).await.expect("no fault"), StoreOutcome::AlreadyThere);
    plan.on_every(DocMethod::Read, Fault::FailBefore);
    assert!(rig.docs.read(&room(), AssetSelection::NONE).await.is_err());
    plan.clear();
    let rows = rig.docs.read(&room(), AssetSelection::NONE).await.expect("cleared").rows;
    assert_eq!(rows.into_iter().map(|row| row.t).collect::<Vec<_>>(), ["2-0"]);
}
