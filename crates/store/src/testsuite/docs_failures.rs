//! Cases of records of failures and of quarantines.

use futures_util::future::join_all;
use yhub_core::RoomId;

use super::{
    DocStoreRig,
    docs_rows::{at, read, store, version},
    support::{odd_rooms, room},
};
use crate::{
    DocStoreError, FailureReport, FailureStore, FailureTally, Page, QuarantineId, QuarantineRecord, RoomFailure, StoreOutcome,
};

/// All there is, in one page.
const ALL: Page<'static> = Page { after: None, max: 1_000_000 };

/// A failure of `room` with a signature, at a time that also says which attempt it was.
fn report(room: &RoomId, signature: &str, at_ms: u64) -> FailureReport {
    FailureReport {
        room: room.clone(),
        class: "row".to_owned(),
        signature: signature.to_owned(),
        attempt: at_ms as u32,
        from: at(5, 9),
        upto: at(5, 10),
        message: format!("{signature} at {at_ms}"),
        at_ms,
    }
}

async fn record(failures: &dyn FailureStore, report: &FailureReport) -> FailureTally {
    failures.record_failure(report, 0).await.expect("record")
}

fn tally(in_a_row: u64, rooms_alike: u64) -> FailureTally {
    FailureTally { in_a_row, rooms_alike }
}

pub(super) fn quarantine(room: &RoomId, id: &str, at_ms: u64) -> QuarantineRecord {
    QuarantineRecord {
        room: room.clone(),
        id: QuarantineId(id.to_owned()),
        class: "entry".to_owned(),
        signature: format!("signature of {id}"),
        reason: format!("reason of {id}"),
        from: at(at_ms, 9),
        upto: at(at_ms, 10),
        at_ms,
    }
}

async fn put(failures: &dyn FailureStore, record: &QuarantineRecord) {
    failures.put_quarantine(record).await.expect("put a quarantine");
}

fn ids(records: &[QuarantineRecord]) -> Vec<&str> {
    records.iter().map(|record| record.id.0.as_str()).collect()
}

/// The same signature again counts on from the first; the latest report stands.
pub async fn failures_alike_are_counted(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    assert_eq!(failures.failures(ALL).await.expect("list"), []);
    for time in 1..=4 {
        assert_eq!(record(failures, &report(&room(1), "a", time * 10)).await, tally(time, 1));
    }
    let expected = RoomFailure { report: report(&room(1), "a", 40), in_a_row: 4, first_ms: 10 };
    assert_eq!(failures.failures(ALL).await.expect("list"), [expected]);
}

/// What differs is no repetition: count and time of the first start over.
pub async fn another_signature_starts_over(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    record(failures, &report(&room(1), "a", 1)).await;
    assert_eq!(record(failures, &report(&room(1), "a", 2)).await, tally(2, 1));
    assert_eq!(record(failures, &report(&room(1), "b", 3)).await, tally(1, 1));
    let expected = RoomFailure { report: report(&room(1), "b", 3), in_a_row: 1, first_ms: 3 };
    assert_eq!(failures.failures(ALL).await.expect("list"), [expected]);
    assert_eq!(record(failures, &report(&room(1), "a", 4)).await, tally(1, 1), "it was not in a row");
}

/// Whoever did not hear the answer says the same again: the same attempt at the same time is one failure.
pub async fn a_repeated_report_counts_once(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    for (told, in_a_row) in [(report(&room(1), "a", 1), 1), (report(&room(1), "a", 2), 2)] {
        for _ in 0..3 {
            assert_eq!(record(failures, &told).await, tally(in_a_row, 1));
        }
    }
    // Another attempt in the same millisecond is another failure.
    assert_eq!(record(failures, &FailureReport { attempt: 3, ..report(&room(1), "a", 2) }).await, tally(3, 1));
}

/// Rooms count that failed with this signature, lastly, since the time asked for; the one that is told of always.
pub async fn rooms_that_fail_alike_are_counted(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    for n in 1..=5 {
        assert_eq!(record(failures, &report(&room(n), "a", n as u64 * 100)).await, tally(1, n as u64));
    }
    record(failures, &report(&room(6), "b", 600)).await;
    let again = report(&room(5), "a", 700);
    for (since, alike) in [(0, 5), (100, 5), (101, 4), (400, 2), (401, 1), (u64::MAX, 1)] {
        let told = failures.record_failure(&again, since).await.expect("record");
        assert_eq!(told, tally(2, alike), "since {since}");
    }
    // A room counts for what it failed with last.
    record(failures, &report(&room(4), "b", 800)).await;
    assert_eq!(record(failures, &again).await, tally(2, 4));
}

/// A room that was compacted fails no more, counts for nobody, and starts at one if it fails again.
pub async fn a_compacted_room_is_forgotten(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    for n in 1..=2 {
        record(failures, &report(&room(n), "a", 1)).await;
        record(failures, &report(&room(n), "a", 2)).await;
    }
    for _ in 0..2 {
        failures.forget_failures(&room(1)).await.expect("forget");
        let left: Vec<_> = failures.failures(ALL).await.expect("list").into_iter().map(|failure| failure.report.room).collect();
        assert_eq!(left, [room(2)]);
    }
    assert_eq!(record(failures, &report(&room(2), "a", 3)).await, tally(3, 1));
    assert_eq!(record(failures, &report(&room(1), "a", 4)).await, tally(1, 2));
}

/// Failures of one room that are told of at the same time count each, and once.
pub async fn concurrent_failures_are_all_counted(rig: DocStoreRig) {
    let told = (1..=12u64).map(|n| {
        let failures = rig.failures.clone();
        tokio::spawn(async move { record(failures.as_ref(), &report(&room(1), "a", n)).await.in_a_row })
    });
    let mut counts: Vec<_> = join_all(told).await.into_iter().map(|count| count.expect("record")).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=12).collect::<Vec<_>>());
}

/// Page after page in the order of the rooms' names, by their bytes, each room once.
pub async fn failures_come_in_pages(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    let mut rooms = odd_rooms();
    for room in rooms.iter().rev() {
        record(failures, &report(room, "a", 1)).await;
    }
    rooms.sort();
    for max in [1, 7, rooms.len(), rooms.len() + 1] {
        let (mut found, mut after): (Vec<RoomId>, Option<RoomId>) = (Vec::new(), None);
        loop {
            let page = failures.failures(Page { after: after.as_ref(), max }).await.expect("list");
            assert!(page.len() <= max);
            found.extend(page.into_iter().map(|failure| failure.report.room));
            if found.last() == after.as_ref() {
                break;
            }
            after = found.last().cloned();
        }
        assert_eq!(found, rooms, "in pages of {max}");
    }
    assert_eq!(failures.failures(Page { after: None, max: 0 }).await.expect("list"), []);
}

/// Whatever the text of an error, it can be recorded, and alike stays alike; long ones may be cut.
pub async fn texts_for_operators_are_kept_or_cut(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    let long = "é🦀".repeat(100_000);
    for (n, text) in ["", "'\"\\;--", "文档\n\t\u{1}", "nul \0 in it", long.as_str()].into_iter().enumerate() {
        let told = FailureReport { class: text.to_owned(), message: text.to_owned(), ..report(&room(n), text, 1) };
        assert_eq!(record(failures, &told).await, tally(1, 1), "{n}");
        assert_eq!(record(failures, &FailureReport { attempt: 2, ..told }).await, tally(2, 1), "{n}");
        let [kept] = <[RoomFailure; 1]>::try_from(failures.failures(ALL).await.expect("list")).expect("one");
        for kept in [&kept.report.class, &kept.report.signature, &kept.report.message] {
            assert!(text.contains('\0') || text.starts_with(kept.as_str()), "{kept:?}");
            assert!(kept.chars().count() == text.chars().count() || text.len() > 100, "{kept:?}");
        }
        let set_aside = QuarantineRecord { reason: text.to_owned(), signature: text.to_owned(), ..quarantine(&room(n), "q", 1) };
        put(failures, &QuarantineRecord { class: text.to_owned(), ..set_aside }).await;
        failures.forget_failures(&room(n)).await.expect("forget");
    }
    assert_eq!(failures.quarantines(ALL).await.expect("list").len(), 5);
}

/// The highest attempt, clock and time that stores have to hold.
pub async fn numbers_at_their_ends_are_kept(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    let end = i64::MAX as u64;
    let told = FailureReport { attempt: u32::MAX, from: at(0, 0), upto: at(u64::MAX, u64::MAX), ..report(&room(1), "a", end) };
    assert_eq!(failures.record_failure(&told, end).await.expect("record"), tally(1, 1));
    assert_eq!(failures.failures(ALL).await.expect("list"), [RoomFailure { report: told, in_a_row: 1, first_ms: end }]);
    let record = QuarantineRecord { from: at(0, 0), upto: at(u64::MAX, u64::MAX), ..quarantine(&room(1), "q", end) };
    put(failures, &record).await;
    assert_eq!(failures.quarantines(ALL).await.expect("list"), [record]);
}

/// What was set aside is named with the rows of its room, and only of its room, until that ends.
pub async fn a_quarantine_is_named_when_its_room_is_read(rig: DocStoreRig) {
    let (docs, failures) = (rig.docs.as_ref(), rig.failures.as_ref());
    put(failures, &quarantine(&room(1), "q1", 10)).await;
    put(failures, &quarantine(&room(1), "q2", 20)).await;
    assert_eq!(read(docs, &room(1)).await.quarantined, ["q1", "q2"].map(|id| QuarantineId(id.to_owned())), "without rows too");
    store(docs, version(&room(1), at(1, 0))).await;
    store(docs, version(&room(2), at(1, 0))).await;
    assert_eq!(read(docs, &room(1)).await.quarantined.len(), 2);
    assert_eq!(read(docs, &room(2)).await.quarantined, []);
    assert!(failures.end_quarantine(&room(1), &QuarantineId("q1".to_owned()), None).await.expect("end"));
    let found = read(docs, &room(1)).await;
    assert_eq!((found.rows.len(), found.quarantined), (1, vec![QuarantineId("q2".to_owned())]));
}

/// Recorded again, also with other words: the first stands.
pub async fn a_recorded_quarantine_stays_as_it_is(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    let first = quarantine(&room(1), "q", 10);
    put(failures, &first).await;
    put(failures, &first).await;
    put(failures, &QuarantineRecord { reason: "another".to_owned(), at_ms: 20, ..first.clone() }).await;
    assert_eq!(failures.quarantines(ALL).await.expect("list"), [first]);
    // The same name in another room is another stream.
    put(failures, &quarantine(&room(2), "q", 30)).await;
    assert_eq!(failures.quarantines(ALL).await.expect("list").len(), 2);
}

/// Ending says whether there was one, of this room and this name.
pub async fn a_quarantine_ends_once(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    put(failures, &quarantine(&room(1), "q", 10)).await;
    let end = async |n, id: &str| failures.end_quarantine(&room(n), &QuarantineId(id.to_owned()), None).await.expect("end");
    assert!(!end(2, "q").await);
    assert!(!end(1, "Q").await);
    assert!(end(1, "q").await);
    assert!(!end(1, "q").await);
    assert_eq!(failures.quarantines(ALL).await.expect("list"), []);
}

/// Of one room the oldest first; of those at the same time the one with the earlier edits, by number and not by text.
pub async fn quarantines_come_oldest_first(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    let of = |id: &str, at_ms, from| QuarantineRecord { from, ..quarantine(&room(1), id, at_ms) };
    let wanted =
        [of("d", 9, at(50, 0)), of("b", 10, at(9, 10)), of("c", 10, at(10, 9)), of("e", 10, at(10, 10)), of("a", 100, at(1, 0))];
    for n in [2, 4, 0, 3, 1] {
        put(failures, &wanted[n]).await;
    }
    assert_eq!(failures.quarantines(ALL).await.expect("list"), wanted);
    let named = read(rig.docs.as_ref(), &room(1)).await.quarantined;
    assert_eq!(named, wanted.map(|record| record.id));
}

/// A page has whole rooms, at most as many as asked for.
pub async fn quarantines_come_in_pages(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    let mut rooms = odd_rooms();
    rooms.sort();
    for room in &rooms {
        for (id, at_ms) in [("z", 1), ("y", 2), ("x", 3)] {
            put(failures, &quarantine(room, id, at_ms)).await;
        }
    }
    for max in [1, 4, rooms.len()] {
        let (mut found, mut after): (Vec<RoomId>, Option<RoomId>) = (Vec::new(), None);
        loop {
            let page = failures.quarantines(Page { after: after.as_ref(), max }).await.expect("list");
            if page.is_empty() {
                break;
            }
            for of_one in page.chunks(3) {
                assert_eq!(ids(of_one), ["z", "y", "x"]);
                assert!(of_one.iter().all(|record| record.room == of_one[0].room));
                found.push(of_one[0].room.clone());
            }
            assert!(page.len() <= 3 * max);
            after = found.last().cloned();
        }
        assert_eq!(found, rooms, "in pages of {max}");
    }
    assert_eq!(failures.quarantines(Page { after: None, max: 0 }).await.expect("list"), []);
}

/// Rooms are told apart by exactly their three parts.
pub async fn odd_rooms_fail_apart(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    let rooms = odd_rooms();
    for (n, room) in rooms.iter().enumerate() {
        assert_eq!(record(failures, &report(room, "a", 1)).await, tally(1, n as u64 + 1), "in {room}");
        put(failures, &quarantine(room, "q", n as u64)).await;
    }
    for (n, room) in rooms.iter().enumerate() {
        failures.forget_failures(room).await.expect("forget");
        assert!(failures.end_quarantine(room, &QuarantineId("q".to_owned()), None).await.expect("end"), "in {room}");
        assert_eq!(failures.failures(ALL).await.expect("list").len(), rooms.len() - n - 1);
        assert_eq!(failures.quarantines(ALL).await.expect("list").len(), rooms.len() - n - 1);
    }
}

/// A room with U+0000 in its name is kept like any other, or refused as a name everywhere; what is not kept is not found.
pub async fn names_that_cannot_be_kept_are_refused_as_names(rig: DocStoreRig) {
    let failures = rig.failures.as_ref();
    let nul = RoomId::new("o", "a\0b", "main");
    let stored = rig.docs.store(version(&nul, at(1, 0))).await;
    let recorded = failures.record_failure(&report(&nul, "a", 1), 0).await;
    let set_aside = failures.put_quarantine(&quarantine(&nul, "q", 1)).await;
    match stored {
        Ok(outcome) => {
            assert_eq!((outcome, recorded.expect("record")), (StoreOutcome::Stored, tally(1, 1)));
            set_aside.expect("put");
            assert_eq!(failures.quarantines(ALL).await.expect("list").len(), 1);
        }
        Err(DocStoreError::Room { .. }) => {
            assert!(matches!(recorded, Err(DocStoreError::Room { room, .. }) if room == nul));
            assert!(matches!(set_aside, Err(DocStoreError::Room { room, .. }) if room == nul));
            assert_eq!(failures.failures(ALL).await.expect("list"), []);
        }
        Err(error) => panic!("{error}"),
    }
    let nameless = failures.put_quarantine(&quarantine(&room(1), "q\0", 1)).await;
    assert!(matches!(nameless, Ok(()) | Err(DocStoreError::Room { .. })));
    let found = failures.end_quarantine(&room(1), &QuarantineId("q\0".to_owned()), None).await.expect("end");
    assert_eq!(found, nameless.is_ok());
}
