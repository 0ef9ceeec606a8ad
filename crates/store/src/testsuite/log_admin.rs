//! Cases of [`crate::StreamAdmin`]: listing live rooms, pausing and hastening compaction, clearing, putting the queue right.

use std::{collections::BTreeSet, time::Duration};

use yhub_core::{RoomId, StreamClock};

use super::{
    QueueDamage, StreamLogRig,
    support::{
        all_live, append, assert_ascending, claim, clocks, entries, next, odd_rooms, qid, reconcile_all, renew, room, take,
        texts, worker,
    },
};
use crate::{Completed, TailEvent};

async fn pause(rig: &StreamLogRig, room: &RoomId) -> bool {
    rig.admin.disable_compaction(room).await.expect("disable")
}

async fn resume(rig: &StreamLogRig, room: &RoomId) -> bool {
    rig.admin.enable_compaction(room).await.expect("enable")
}

async fn hasten(rig: &StreamLogRig, room: &RoomId) -> bool {
    rig.admin.hasten(room).await.expect("hasten")
}

/// Every live room is listed with its number of entries, its first and last clock, its pause and its tasks; no other is.
pub async fn live_rooms_are_listed(rig: StreamLogRig) {
    assert_eq!(all_live(&rig).await.len(), 0);
    let mut expected = Vec::new();
    for n in 1..=7 {
        expected.push((room(n), append(rig.log(), &room(n), &["x"].repeat(n)).await));
    }
    let gone = append(rig.log(), &room(8), &["gone"]).await;
    rig.trim(&room(8), gone[0]).await;
    let trimmed = expected[4].1.remove(0);
    assert_eq!(rig.trim(&room(5), trimmed).await, Completed::Done { trimmed: 1, left: true });
    append(rig.log(), &room(9), &["set aside"]).await;
    assert!(rig.log.quarantine(&room(9), &qid(1)).await.expect("quarantine"));
    expected.push((room(9), clocks(rig.log(), &room(9)).await));
    assert!(pause(&rig, &room(2)).await);
    rig.wait(3).await;
    let claimed = rig.claim_all(&worker("somebody")).await;
    let claimed = claimed.into_iter().find(|task| task.room == room(3)).expect("it is live");
    let live = all_live(&rig).await;
    assert_eq!(live.keys().cloned().collect::<Vec<_>>(), expected.iter().map(|(room, _)| room.clone()).collect::<Vec<_>>());
    for (of, clocks) in expected {
        let found = &live[&of];
        assert_eq!(found.room, of);
        assert_eq!((found.entries, found.first, found.last), (clocks.len() as u64, clocks[0], clocks[clocks.len() - 1]), "{of}");
        assert_eq!(found.is_paused, of == room(2), "{of}");
        assert_eq!(found.tasks.len(), usize::from(of != room(2)), "{of}");
    }
    let [task] = &live[&room(3)].tasks[..] else { panic!("one task") };
    assert_eq!((task.owner.as_deref(), task.attempt), (Some("somebody"), claimed.attempt));
}

/// A task is listed as nobody's until it is claimed, and again once it is given back; how long it waits counts from when it
/// was enqueued, claimed or renewed.
pub async fn tasks_are_listed_as_they_stand(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    let listed = async || {
        let mut live = all_live(&rig).await.remove(&room(1)).expect("it is live");
        assert_eq!(live.tasks.len(), 1);
        live.tasks.remove(0)
    };
    let tick_ms = u64::try_from(rig.ticks(1).as_millis()).expect("short");
    rig.wait(5).await;
    let task = listed().await;
    assert_eq!((task.owner, task.attempt), (None, 0));
    assert!(task.idle_ms >= 4 * tick_ms, "{} ms after 5 ticks", task.idle_ms);
    let claimed = rig.log.claim(&worker("w"), 1, Duration::ZERO, rig.ticks(1_000)).await.expect("claim").remove(0);
    rig.wait(5).await;
    let task = listed().await;
    assert_eq!((task.owner.as_deref(), task.attempt), (Some("w"), 1));
    assert!(task.idle_ms >= 4 * tick_ms, "{} ms after 5 ticks", task.idle_ms);
    rig.log.give_back(&worker("w"), &claimed, Duration::ZERO).await.expect("give back");
    let task = listed().await;
    assert_eq!((task.owner, task.attempt), (None, 1));
}

/// A listing in many parts shows every room that is live from its beginning to its end, whatever others do meanwhile.
pub async fn a_listing_misses_nothing_that_stays(rig: StreamLogRig) {
    let stay: BTreeSet<_> = (0..40).map(room).collect();
    for room in &stay {
        append(rig.log(), room, &["x"]).await;
    }
    let (mut listed, mut cursor, mut n) = (BTreeSet::new(), None::<String>, 40);
    loop {
        let page = rig.admin.live_rooms(cursor.as_deref(), 3).await.expect("list");
        listed.extend(page.items.into_iter().map(|live| live.room));
        // One comes, and an entry more in one that was there.
        append(rig.log(), &room(n), &["x"]).await;
        append(rig.log(), &room(n % 40), &["x"]).await;
        n += 1;
        assert!(n < 2_000, "a listing that does not end");
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert!(stay.is_subset(&listed), "missing: {:?}", stay.difference(&listed));
}

/// A pause takes the task off, also a claimed one: its owner owns it no more and changes nothing. None is enqueued until the
/// pause ends; then one.
pub async fn a_pause_takes_tasks_off(rig: StreamLogRig) {
    let appended = append(rig.log(), &room(1), &["a"]).await;
    append(rig.log(), &room(2), &["a"]).await;
    append(rig.log(), &room(3), &["not paused"]).await;
    let task = rig.claim_all(&worker("w")).await.into_iter().find(|task| task.room == room(1)).expect("live");
    assert!(pause(&rig, &room(1)).await);
    assert!(pause(&rig, &room(2)).await);
    assert!(!pause(&rig, &room(1)).await, "it was paused");
    assert!(!renew(&rig, &worker("w"), &task).await);
    rig.wait(2).await;
    let done = rig.log.complete(&worker("w"), &task, appended[0], Duration::ZERO).await.expect("complete");
    assert_eq!(done, Completed::NotOwner);
    rig.log.give_back(&worker("w"), &task, Duration::ZERO).await.expect("give back");
    append(rig.log(), &room(1), &["b"]).await;
    append(rig.log(), &room(2), &["b"]).await;
    assert_eq!(texts(&entries(rig.log(), &room(1)).await), ["a", "b"]);
    assert_eq!(reconcile_all(&rig).await, (vec![], 0), "a pause is no damage");
    rig.wait(11).await;
    let claimed = rig.claim_all(&worker("v")).await;
    assert_eq!(claimed.iter().map(|task| &task.room).collect::<Vec<_>>(), [&room(3)]);
    assert!(resume(&rig, &room(1)).await);
    assert!(!resume(&rig, &room(1)).await, "it was not paused");
    let again = rig.claim_one(&worker("v")).await;
    assert_eq!(again.room, room(1));
    assert_ne!(again.id, task.id);
    assert!(again.epoch > task.epoch);
    let done = rig.log.complete(&worker("w"), &task, appended[0], Duration::ZERO).await.expect("complete");
    assert_eq!(done, Completed::NotOwner, "still not");
}

/// A room can be paused before anything is written to it, and a pause outlasts an empty stream, a quarantine and a release.
pub async fn a_pause_outlasts_everything(rig: StreamLogRig) {
    assert!(!resume(&rig, &room(1)).await);
    assert!(pause(&rig, &room(1)).await);
    assert_eq!(entries(rig.log(), &room(1)).await, []);
    append(rig.log(), &room(1), &["a"]).await;
    assert_eq!(rig.claim_all(&worker("w")).await, []);
    assert!(rig.log.quarantine(&room(1), &qid(1)).await.expect("quarantine"));
    assert_eq!(rig.claim_all(&worker("w")).await, []);
    assert_eq!(rig.log.release(&room(1), &qid(1)).await.expect("release"), Some(1));
    assert_eq!(rig.claim_all(&worker("w")).await, []);
    rig.admin.clear(&room(1)).await.expect("clear");
    append(rig.log(), &room(1), &["b"]).await;
    assert_eq!(rig.claim_all(&worker("w")).await, []);
    assert!(resume(&rig, &room(1)).await);
    assert_eq!(rig.claim_one(&worker("w")).await.room, room(1));
    // Nothing to compact, nothing to enqueue.
    assert!(pause(&rig, &room(2)).await);
    assert!(resume(&rig, &room(2)).await);
    assert_eq!(rig.claim_all(&worker("w")).await, []);
    append(rig.log(), &room(2), &["a"]).await;
    assert_eq!(rig.claim_one(&worker("w")).await.room, room(2));
}

/// A hastened task waits neither for the debounce nor for the time it was given back for; a claimed one stays its owner's.
pub async fn hastening_ends_the_waiting(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    append(rig.log(), &room(2), &["a"]).await;
    assert_eq!(claim(&rig, &worker("w"), 1_000, 1_000).await, []);
    assert!(hasten(&rig, &room(1)).await);
    let [task] = &claim(&rig, &worker("w"), 1_000, 1_000).await[..] else { panic!("one may be claimed") };
    assert_eq!((&task.room, task.attempt), (&room(1), 1));
    assert!(hasten(&rig, &room(1)).await, "it is live");
    assert_eq!(claim(&rig, &worker("v"), 1_000, 1_000).await, [], "and somebody's");
    assert!(renew(&rig, &worker("w"), task).await);
    rig.log.give_back(&worker("w"), task, rig.ticks(1_000)).await.expect("give back");
    assert_eq!(claim(&rig, &worker("v"), 1_000, 1_000).await, []);
    assert!(hasten(&rig, &room(1)).await);
    let [again] = &claim(&rig, &worker("v"), 1_000, 1_000).await[..] else { panic!("one may be claimed") };
    assert_eq!((&again.id, again.attempt), (&task.id, 2));
    assert!(again.epoch > task.epoch);
}

/// Only the task of a live room that is not paused can be hastened.
pub async fn hastening_needs_a_live_room(rig: StreamLogRig) {
    assert!(!hasten(&rig, &room(1)).await);
    let appended = append(rig.log(), &room(1), &["a"]).await;
    rig.trim(&room(1), appended[0]).await;
    assert!(!hasten(&rig, &room(1)).await);
    append(rig.log(), &room(2), &["a"]).await;
    assert!(pause(&rig, &room(2)).await);
    assert!(!hasten(&rig, &room(2)).await);
    assert_eq!(rig.claim_all(&worker("w")).await, [], "nothing was enqueued");
    assert!(resume(&rig, &room(2)).await);
    if rig.control.damage_queue(&room(2), QueueDamage::LostTask).await {
        assert!(hasten(&rig, &room(2)).await, "it gets one");
        assert_eq!(claim(&rig, &worker("w"), 1_000, 1_000).await.len(), 1);
    }
}

/// Clearing empties the stream and says how much it held. Clocks go on above, and there is one task throughout.
pub async fn clearing_empties_and_goes_on(rig: StreamLogRig) {
    assert_eq!(rig.admin.clear(&room(1)).await.expect("clear"), 0);
    let mut all = append(rig.log(), &room(1), &["a", "b", "c"]).await;
    append(rig.log(), &room(2), &["other"]).await;
    for round in 0..3 {
        let held = clocks(rig.log(), &room(1)).await.len() as u64;
        assert_eq!(rig.admin.clear(&room(1)).await.expect("clear"), held, "in round {round}");
        assert_eq!(entries(rig.log(), &room(1)).await, []);
        assert!(rig.log.holds(&room(1), *all.last().expect("some")).await.expect("holds"), "it was trimmed");
        rig.control.set_back(Duration::from_secs(3_600)).await;
        all.extend(append(rig.log(), &room(1), &["d", "e"]).await);
        assert_eq!(clocks(rig.log(), &room(1)).await, all[all.len() - 2..]);
    }
    assert_ascending(&all);
    assert_eq!(texts(&entries(rig.log(), &room(2)).await), ["other"]);
    let mut rooms: Vec<_> = rig.claim_all(&worker("w")).await.into_iter().map(|task| task.room).collect();
    rooms.sort();
    assert_eq!(rooms, [room(1), room(2)]);
    assert_eq!(rig.claim_all(&worker("v")).await, []);
}

/// The task of a room that was cleared ends as ever, and only then a new one can come; putting the queue right in between
/// changes nothing of it.
pub async fn a_cleared_room_has_one_task(rig: StreamLogRig) {
    let appended = append(rig.log(), &room(1), &["a"]).await;
    let task = rig.claim_one(&worker("w")).await;
    rig.admin.clear(&room(1)).await.expect("clear");
    reconcile_all(&rig).await;
    assert!(renew(&rig, &worker("w"), &task).await, "it is the owner's still");
    rig.wait(2).await;
    let done = rig.log.complete(&worker("w"), &task, appended[0], Duration::ZERO).await.expect("complete");
    assert_eq!(done, Completed::Done { trimmed: 0, left: false });
    assert_eq!(rig.claim_all(&worker("w")).await, []);
    for n in [1, 2] {
        append(rig.log(), &room(n), &["b"]).await;
        rig.admin.clear(&room(n)).await.expect("clear");
        reconcile_all(&rig).await;
        append(rig.log(), &room(n), &["c"]).await;
        assert_eq!(rig.claim_one(&worker("w")).await.room, room(n));
    }
}

/// Who has heard all that was cleared follows on; who has not is told of a gap.
pub async fn clearing_is_a_gap_for_those_behind(rig: StreamLogRig) {
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    control.follow(room(1), StreamClock::ZERO);
    let appended = append(rig.log(), &room(1), &["a", "b"]).await;
    take(&mut tail, &room(1), 2, &mut Vec::new()).await;
    rig.admin.clear(&room(1)).await.expect("clear");
    append(rig.log(), &room(1), &["c"]).await;
    assert_eq!(texts(&take(&mut tail, &room(1), 1, &mut Vec::new()).await), ["c"]);
    rig.admin.clear(&room(1)).await.expect("clear");
    for after in [StreamClock::ZERO, appended[0], appended[1]] {
        control.follow(room(1), after);
        assert_eq!(next(&mut tail).await, TailEvent::Gap { room: room(1) }, "after {after}");
    }
}

/// Where all is right, nothing changes: waiting, claimed, given back, paused, cleared, set aside, compacted away.
pub async fn reconciling_leaves_alone_what_is_right(rig: StreamLogRig) {
    assert_eq!(reconcile_all(&rig).await, (vec![], 0));
    for n in 1..=20 {
        append(rig.log(), &room(n), &["x"]).await;
    }
    let last = clocks(rig.log(), &room(1)).await[0];
    assert_eq!(rig.trim(&room(1), last).await, Completed::Done { trimmed: 1, left: false });
    assert!(pause(&rig, &room(2)).await);
    assert!(rig.log.quarantine(&room(3), &qid(1)).await.expect("quarantine"));
    let lease = rig.ticks(1_000);
    let tasks = rig.log.claim(&worker("w"), 8, Duration::ZERO, lease).await.expect("claim");
    let (back, tasks) = tasks.split_first().expect("eight");
    rig.log.give_back(&worker("w"), back, lease).await.expect("give back");
    let before = all_live(&rig).await;
    for _ in 0..2 {
        assert_eq!(reconcile_all(&rig).await, (vec![], 0));
    }
    let after = all_live(&rig).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (room, live) in &after {
        let owners = |live: &crate::LiveRoom| live.tasks.iter().map(|task| task.owner.clone()).collect::<Vec<_>>();
        assert_eq!(owners(live), owners(&before[room]), "{room}");
    }
    for task in tasks {
        assert!(renew(&rig, &worker("w"), task).await);
    }
    // 18 live rooms with a task; seven of these are claimed and one waits.
    assert_eq!(rig.log.claim(&worker("v"), 100, Duration::ZERO, lease).await.expect("claim").len(), 10);
}

/// Whatever happened to the queue, afterwards a live room has one task and no other room has any.
pub async fn reconciling_puts_the_queue_right(rig: StreamLogRig) {
    for n in 1..=4 {
        append(rig.log(), &room(n), &["x"]).await;
    }
    let last = clocks(rig.log(), &room(4)).await[0];
    rig.trim(&room(4), last).await;
    let (mut enqueued, mut dropped) = (vec![], 0);
    if rig.control.damage_queue(&room(1), QueueDamage::LostTask).await {
        enqueued.push(room(1));
    }
    for (n, damage) in [(2, QueueDamage::SecondTask), (4, QueueDamage::GhostTask), (3, QueueDamage::UnreadableTask)] {
        let counts = damage != QueueDamage::UnreadableTask;
        if rig.control.damage_queue(&room(n), damage).await && counts {
            dropped += 1;
        }
    }
    let (found, taken_off) = reconcile_all(&rig).await;
    assert_eq!(found, enqueued);
    assert!(taken_off >= dropped, "{taken_off} of {dropped}");
    assert_eq!(reconcile_all(&rig).await, (vec![], 0), "all is right now");
    let mut rooms: Vec<_> = rig.claim_all(&worker("w")).await.into_iter().map(|task| task.room).collect();
    rooms.sort();
    assert_eq!(rooms, [room(1), room(2), room(3)]);
    assert_eq!(rig.claim_all(&worker("v")).await, []);
    append(rig.log(), &room(4), &["y"]).await;
    assert_eq!(rig.claim_one(&worker("v")).await.room, room(4));
}

/// A lost task is found again though somebody else's is claimed, and a room that writes on meanwhile gets no second one.
pub async fn reconciling_beside_writers_enqueues_once(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["x"]).await;
    if !rig.control.damage_queue(&room(1), QueueDamage::LostTask).await {
        return;
    }
    let writer = {
        let log = rig.log.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                append(log.as_ref(), &room(n % 5), &["y"]).await;
            }
        })
    };
    while !writer.is_finished() {
        reconcile_all(&rig).await;
    }
    writer.await.expect("the writer panicked");
    reconcile_all(&rig).await;
    let mut rooms: Vec<_> = rig.claim_all(&worker("w")).await.into_iter().map(|task| task.room).collect();
    rooms.sort();
    assert_eq!(rooms, (0..5).map(room).collect::<Vec<_>>());
}

/// Rooms of any names are listed, paused, hastened and cleared, each by itself.
pub async fn odd_room_names_are_kept_apart(rig: StreamLogRig) {
    let rooms = odd_rooms();
    for room in &rooms {
        append(rig.log(), room, &["x"]).await;
    }
    assert_eq!(all_live(&rig).await.into_keys().collect::<Vec<_>>(), rooms);
    for (n, room) in rooms.iter().enumerate() {
        match n % 3 {
            0 => assert!(pause(&rig, room).await, "{room:?}"),
            1 => assert!(hasten(&rig, room).await, "{room:?}"),
            _ => assert_eq!(rig.admin.clear(room).await.expect("clear"), 1, "{room:?}"),
        }
    }
    for (n, room) in rooms.iter().enumerate() {
        assert_eq!(entries(rig.log(), room).await.len(), usize::from(n % 3 != 2), "{room:?}");
    }
    assert_eq!(reconcile_all(&rig).await.0, vec![]);
    let live = all_live(&rig).await;
    for (n, room) in rooms.iter().enumerate().filter(|(n, _)| n % 3 != 2) {
        assert_eq!(live[room].is_paused, n % 3 == 0, "{room:?}");
    }
    let hastened: BTreeSet<_> = claim(&rig, &worker("w"), 1_000, 1_000).await.into_iter().map(|task| task.room).collect();
    let expected: BTreeSet<_> = rooms.iter().enumerate().filter(|(n, _)| n % 3 == 1).map(|(_, room)| room.clone()).collect();
    assert_eq!(hastened, expected);
}
