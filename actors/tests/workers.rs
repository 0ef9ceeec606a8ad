//! Nodes that only compact, the queue that is put right, and what becomes of tasks when a node stops.

mod support;

use std::time::Duration;

use support::{Rig, Settings, room};
use yhub_actors::{GetRoom, Shutdown};
use yhub_core::{
    Close, StreamClock, StreamMessage,
    alarms::{Alarm, raised},
};
use yhub_store::{Append, StreamLog};
use yhub_testkit::TextWriter;

/// Several looks of the reconciler.
const LONG: Duration = Duration::from_secs(300);

async fn append(rig: &Rig, docid: &str) {
    let update = TextWriter::new(7).append("x");
    let map = yhub_content::ContentMap::default().to_bytes();
    let messages = vec![StreamMessage::encode_update(&update, &map).0];
    let append = Append { room: room(docid), messages, floor: StreamClock::ZERO };
    rig.log.append(append).await.expect("appending works");
}

#[actix::test]
async fn a_node_that_serves_nobody_compacts_and_has_no_rooms() {
    tokio::time::pause();
    let rig = Rig::with(Settings { concurrency: 1, serves: false, ..Settings::default() });
    append(&rig, "doc").await;
    rig.until("it is compacted", |rig| rig.docs.row_count(&room("doc")) == 1).await;
    assert_eq!(rig.log.calls("open tail"), 0, "it follows no stream");
    let refused = rig.registry.send(GetRoom(room("doc"))).await.expect("the registry lives");
    assert_eq!(refused.err(), Some(Close::TRY_AGAIN));
    assert_eq!(rig.census().await.rooms, 0);
}

#[actix::test]
async fn a_node_that_does_not_compact_does_not_reconcile() {
    tokio::time::pause();
    let rig = Rig::new();
    append(&rig, "doc").await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!((rig.log.calls("claim"), rig.log.calls("reconcile")), (0, 0));
}

/// Also of the last room of several pages, and after a look that failed.
#[actix::test]
async fn a_task_that_is_missing_is_made() {
    tokio::time::pause();
    let rig = Rig::with(Settings { concurrency: 1, ..Settings::default() });
    rig.docs.hang();
    for docid in ["a", "b", "c"] {
        append(&rig, docid).await;
    }
    rig.log.lose_task(&room("c"));
    rig.log.fail_at("reconcile");
    let before = raised()[Alarm::TaskReconciled as usize].1;
    rig.within(LONG, "the queue was looked at", |rig| rig.log.calls("reconcile") >= 1).await;
    assert_eq!(raised()[Alarm::TaskReconciled as usize].1, before, "the first look failed");
    rig.within(LONG, "it was looked at again", |rig| rig.log.calls("reconcile") >= 5).await;
    rig.until("it is counted", |_| raised()[Alarm::TaskReconciled as usize].1 > before).await;
    let tasks = rig.log.claim(&yhub_store::WorkerId("any".into()), 9, Duration::ZERO, Duration::from_secs(3600)).await;
    assert!(tasks.expect("claiming works").iter().any(|task| task.room == room("c")));
}

#[actix::test]
async fn what_is_under_way_when_the_node_stops_ends_and_is_given_back() {
    tokio::time::pause();
    let rig = Rig::with(Settings { concurrency: 1, ..Settings::default() });
    rig.docs.hang();
    append(&rig, "doc").await;
    rig.until("it is under way", |rig| rig.log.calls("read") > 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.registry.send(Shutdown::AT_ONCE).await.expect("the registry lives");
    assert_eq!((rig.docs.cut_off(), rig.log.calls("give back")), (1, 1));
    let tasks = rig.log.claim(&yhub_store::WorkerId("next".into()), 9, Duration::from_secs(99), Duration::from_secs(99)).await;
    assert_eq!(tasks.expect("claiming works").len(), 1, "at once");
}

/// A lease is counted from when it was asked for: a claim that is answered after its lease is nobody's any more.
#[actix::test]
async fn a_claim_that_is_answered_too_late_is_not_worked_on() {
    tokio::time::pause();
    let lease = Duration::from_secs(3);
    let rig = Rig::with(Settings { concurrency: 1, lease, ..Settings::default() });
    rig.docs.hang();
    rig.log.answer_claim_late(lease + Duration::from_millis(10));
    append(&rig, "doc").await;
    rig.until("it is claimed", |rig| rig.log.calls("claim") > 0).await;
    tokio::time::sleep(lease).await;
    rig.until("the work began", |rig| rig.log.calls("read") > 0).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.log.calls("renew"), 0);
    assert_eq!(rig.docs.row_count(&room("doc")), 0);
    assert!(raised()[Alarm::LeaseLost as usize].1 >= 1);
}
