//! Rooms that cannot be compacted: tried again after growing pauses, set aside, or the hub's own fault.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{Rig, Settings, room};
use yhub_content::{ContentMap, content_ids};
use yhub_core::{PoisonPolicy, RoomId, StreamClock, StreamMessage, Variant};
use yhub_store::{Append, StreamLog};
use yhub_testkit::TextWriter;

/// Longer than the longest pause.
const LONG: Duration = Duration::from_secs(330);

fn rig(settings: Settings) -> Rig {
    tokio::time::pause();
    Rig::with(Settings { concurrency: 2, ..settings })
}

fn update() -> (Vec<u8>, Bytes) {
    let update = TextWriter::new(7).append("x");
    let map = ContentMap::attribution(&content_ids(&update).expect("an update"), Some("ann"), 1_000, &[]);
    (update.clone(), StreamMessage::encode_update(&update, &map.to_bytes()).0)
}

async fn append(rig: &Rig, room: &RoomId, message: Bytes) {
    let append = Append { room: room.clone(), messages: vec![message], floor: StreamClock::ZERO };
    rig.log.append(append).await.expect("appending works");
}

/// Time passes, in steps in which the actors do what is due.
async fn pass(time: Duration) {
    for _ in 0..time.as_millis() / 20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix::test]
async fn a_room_that_fails_again_and_again_is_set_aside_and_still_shown() {
    let rig = rig(Settings::default());
    let (poisoned, fine) = (room("poisoned"), room("fine"));
    let (update, message) = update();
    append(&rig, &poisoned, message.clone()).await;
    rig.log.poison(&poisoned).await;
    append(&rig, &fine, message.clone()).await;
    rig.until("the other room is compacted", |rig| rig.docs.row_count(&fine) == 1).await;
    pass(Duration::from_secs(30)).await;
    assert!((2..5).contains(&rig.docs.record_calls("record failure")), "with growing pauses");
    let [(report, _)] = &rig.docs.failing()[..] else { panic!("one room fails") };
    assert_eq!((&report.class[..], &report.room), ("entry", &poisoned));
    assert!(report.from < report.upto && report.signature.starts_with("entry: "), "{report:?}");
    pass(Duration::from_secs(60)).await;
    assert_eq!((rig.log.set_aside(&poisoned), rig.docs.record_calls("record failure")), (vec![2], 5));
    assert!(rig.docs.failing().is_empty(), "forgotten with what was set aside");
    // The room goes on …
    append(&rig, &poisoned, message).await;
    rig.until("what came later is compacted", |rig| rig.docs.row_count(&poisoned) == 1).await;
    rig.until("the stream is empty", |rig| rig.log.entry_count(&poisoned) == 0).await;
    assert_eq!((rig.node.compaction_health().fault(), rig.docs.row_count(&fine)), (None, 1));
    // … and shows all that could be read.
    let loaded = rig.node.documents.load(&poisoned, Variant::Gc).await.expect("it can be loaded");
    assert_eq!(loaded.ids, content_ids(&update).expect("an update"));
}

#[actix::test]
async fn when_many_rooms_fail_alike_nobody_is_set_aside_and_the_node_is_not_ready_for_a_while() {
    let rig = rig(Settings::default());
    let rooms: Vec<RoomId> = (0..7).map(|n| room(&format!("doc-{n}"))).collect();
    for room in &rooms {
        rig.log.poison(room).await;
    }
    rig.until("the breaker opens", |rig| rig.node.compaction_health().fault().is_some()).await;
    assert!(rig.node.compaction_health().withholds_readiness());
    pass(Duration::from_secs(660)).await;
    let health = rig.node.compaction_health();
    assert!(health.fault().is_some() && !health.withholds_readiness(), "at fault, and ready again");
    assert!(rig.docs.record_calls("record failure") > 7 * 5, "tried again and again");
    assert_eq!((rig.log.calls("quarantine"), rig.docs.record_calls("put quarantine")), (0, 0));
    for room in &rooms {
        rig.log.heal(room, update().1);
    }
    for room in &rooms {
        rig.within(LONG, "it is compacted", |rig| rig.docs.row_count(room) == 1).await;
    }
    assert_eq!((rig.node.compaction_health().fault(), rig.docs.failing().len()), (None, 0));
}

#[actix::test]
async fn what_cannot_be_recorded_is_never_set_aside() {
    let rig = rig(Settings { poison: PoisonPolicy { quarantine_after: 1, ..PoisonPolicy::default() }, ..Settings::default() });
    rig.docs.fail_records(true);
    rig.log.poison(&room("doc")).await;
    pass(Duration::from_secs(120)).await;
    let tried = rig.docs.record_calls("record failure");
    assert!((4..12).contains(&tried), "{tried} attempts, with growing pauses");
    assert_eq!(rig.log.calls("quarantine"), 0);
    rig.docs.fail_records(false);
    rig.within(LONG, "it is set aside", |rig| rig.log.set_aside(&room("doc")) == [1]).await;
}

#[actix::test]
async fn stores_that_are_away_are_nobodys_fault() {
    let rig = rig(Settings { poison: PoisonPolicy { quarantine_after: 1, ..PoisonPolicy::default() }, ..Settings::default() });
    rig.docs.fail_reads(true);
    append(&rig, &room("doc"), update().1).await;
    pass(Duration::from_secs(120)).await;
    assert_eq!((rig.log.calls("quarantine"), rig.docs.record_calls("record failure")), (0, 0));
    let tried = rig.log.reads(&room("doc"));
    assert!((4..12).contains(&tried), "{tried} attempts, with growing pauses");
    rig.docs.fail_reads(false);
    rig.within(LONG, "it is compacted", |rig| rig.docs.row_count(&room("doc")) == 1).await;
}

/// A worker that lost its task on the way, as one does that was stopped for longer than its lease.
#[actix::test]
async fn nothing_is_set_aside_by_who_does_not_hold_the_task_any_more() {
    let rig = rig(Settings { poison: PoisonPolicy { quarantine_after: 1, ..PoisonPolicy::default() }, ..Settings::default() });
    rig.log.deny_renewals();
    rig.log.poison(&room("doc")).await;
    rig.until("it has failed", |rig| rig.docs.record_calls("record failure") >= 1).await;
    pass(Duration::from_secs(1)).await;
    assert_eq!((rig.log.calls("quarantine"), rig.docs.record_calls("put quarantine")), (0, 0));
}

#[actix::test]
async fn a_compaction_that_panics_counts_as_a_failure_of_its_room() {
    let rig = rig(Settings::default());
    append(&rig, &room("doc"), update().1).await;
    rig.log.panic_at("complete");
    rig.until("it is recorded", |rig| rig.docs.failing().iter().any(|(report, _)| report.class == "panic")).await;
    rig.until("it is compacted", |rig| rig.log.entry_count(&room("doc")) == 0).await;
    rig.until("and forgotten", |rig| rig.docs.failing().is_empty()).await;
}

/// Most compactions write nothing but their row.
#[actix::test]
async fn only_what_failed_is_forgotten() {
    let rig = rig(Settings::default());
    append(&rig, &room("doc"), update().1).await;
    rig.until("it is compacted", |rig| rig.log.entry_count(&room("doc")) == 0).await;
    pass(Duration::from_secs(1)).await;
    assert_eq!(rig.docs.record_calls("forget failures"), 0);
}

/// A log that was restored without its epochs hands out low ones, and what it claims would be refused for ever.
#[actix::test]
async fn a_log_that_lost_its_epochs_is_told() {
    let rig = rig(Settings::default());
    for round in 0..5 {
        append(&rig, &room("doc"), update().1).await;
        rig.until("it is compacted", |rig| rig.log.entry_count(&room("doc")) == 0).await;
        assert_eq!(rig.log.calls("raise epoch"), 0, "{round}");
    }
    rig.log.lose_epochs();
    append(&rig, &room("doc"), update().1).await;
    rig.until("it is compacted", |rig| rig.log.entry_count(&room("doc")) == 0).await;
    assert_eq!(rig.log.calls("raise epoch"), 1);
}
