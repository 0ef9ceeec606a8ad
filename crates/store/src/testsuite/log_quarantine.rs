//! Cases of streams that are set aside: quarantine, what is read of them, release.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use yhub_core::{RoomId, StreamClock, StreamMessage};

use super::{
    StreamLogRig,
    support::{
        NO_LIMIT, all_quarantined, append, append_above, assert_ascending, clocks, entries, next, odd_rooms, qid, renew, room,
        set_aside, take, texts, worker,
    },
};
use crate::{Append, Completed, LogEntry, QuarantineId, ReadLimit, StreamLog, TailEvent};

async fn quarantine(rig: &StreamLogRig, room: &RoomId, id: &QuarantineId) -> bool {
    rig.log.quarantine(room, id).await.expect("quarantine")
}

async fn release(rig: &StreamLogRig, room: &RoomId, id: &QuarantineId) -> Option<u64> {
    rig.log.release(room, id).await.expect("release")
}

async fn append_messages(rig: &StreamLogRig, room: &RoomId, messages: &[Bytes]) -> Vec<StreamClock> {
    let append = Append { room: room.clone(), messages: messages.to_vec(), floor: StreamClock::ZERO };
    rig.log.append(append).await.expect("append")
}

/// The stream goes on with one filler above the last clock, and the room is live: it has a task, and gets no second one.
pub async fn leaves_a_filler_and_one_task(rig: StreamLogRig) {
    let before = append(rig.log(), &room(1), &["a", "b", "c"]).await;
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    let left = entries(rig.log(), &room(1)).await;
    assert_eq!(texts(&left), ["-"]);
    assert_ascending(&[before, vec![left[0].clock]].concat());
    append(rig.log(), &room(1), &["d"]).await;
    assert_eq!(texts(&entries(rig.log(), &room(1)).await), ["-", "d"]);
    assert_eq!(rig.claim_one(&worker("w")).await.room, room(1));
    assert_eq!(rig.claim_all(&worker("v")).await, [], "one is enough");
}

/// However often a stream is set aside, its room has one task; a claimed one stays its owner's, who trims nothing of what
/// was set aside, and nothing that came later.
pub async fn a_claimed_task_stays_the_only_one(rig: StreamLogRig) {
    let before = append(rig.log(), &room(1), &["a", "b"]).await;
    let task = rig.claim_one(&worker("w")).await;
    for n in 0..5 {
        assert!(quarantine(&rig, &room(1), &qid(n)).await, "a filler is an entry");
        assert_eq!(rig.claim_all(&worker("v")).await, []);
    }
    let left = clocks(rig.log(), &room(1)).await;
    rig.wait(2).await;
    assert!(renew(&rig, &worker("w"), &task).await);
    let done = rig.log.complete(&worker("w"), &task, before[1], Duration::ZERO).await.expect("complete");
    assert_eq!(done, Completed::Done { trimmed: 0, left: true });
    assert_eq!(clocks(rig.log(), &room(1)).await, left);
    assert_eq!(texts(&set_aside(&rig, &room(1), &qid(0)).await), ["a", "b"]);
    assert_eq!(rig.claim_all(&worker("v")).await.len(), 1);
}

/// What was set aside can be read page by page, clocks and bytes unchanged, and only under its name.
pub async fn what_is_set_aside_can_be_read(rig: StreamLogRig) {
    let every_byte: Bytes = (0..=255u8).collect();
    let messages: Vec<Bytes> = (0..7).map(|n| Bytes::from(n.to_string())).chain([every_byte, Bytes::new()]).collect();
    append_messages(&rig, &room(1), &messages).await;
    rig.control.append_filler(&room(1), StreamClock::ZERO).await;
    let before = entries(rig.log(), &room(1)).await;
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    append(rig.log(), &room(1), &["later"]).await;
    for limit in [1, 2, 3, 100] {
        let (mut found, mut after): (Vec<LogEntry>, _) = (Vec::new(), StreamClock::ZERO);
        loop {
            let limit = ReadLimit { entries: limit, size_bytes: usize::MAX };
            let page = rig.log.read_quarantined(&room(1), &qid(1), after, limit).await.expect("read");
            assert!(page.entries.len() <= limit.entries);
            found.extend(page.entries);
            assert_eq!(page.more, found.len() < before.len());
            if !page.more {
                break;
            }
            after = found.last().expect("more, so there is one").clock;
        }
        assert_eq!(found, before);
    }
    let limit = ReadLimit { entries: 100, size_bytes: 3 };
    let page = rig.log.read_quarantined(&room(1), &qid(1), StreamClock::ZERO, limit).await.expect("read");
    assert_eq!((page.entries.len(), page.more), (3, true), "the entry that reaches the bytes is the last");
    for (of, id) in [(room(1), qid(2)), (room(2), qid(1)), (room(3), qid(3))] {
        let page = rig.log.read_quarantined(&of, &id, StreamClock::ZERO, NO_LIMIT).await.expect("read");
        assert_eq!((page.entries, page.more), (Vec::new(), false), "{of} {id:?}");
    }
    assert_eq!(texts(&entries(rig.log(), &room(1)).await), ["-", "later"]);
}

/// What is appended later stands above all that was set aside, also when time goes back.
pub async fn later_entries_stand_above(rig: StreamLogRig) {
    let now = rig.log.now_ms().await.expect("now");
    let mut all = append_above(rig.log(), &room(1), &["a"], StreamClock::new(now + 3_600_000, 7)).await;
    for n in 0..3 {
        assert!(quarantine(&rig, &room(1), &qid(n)).await);
        all.extend(clocks(rig.log(), &room(1)).await);
        rig.control.set_back(Duration::from_secs(86_400)).await;
        all.extend(append(rig.log(), &room(1), &["b"]).await);
    }
    assert_ascending(&all);
}

/// Who follows from a clock before what was set aside ended is told of a gap; who follows from the filler misses nothing.
pub async fn following_from_before_is_a_gap(rig: StreamLogRig) {
    let before = append(rig.log(), &room(1), &["a", "b", "c"]).await;
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    for after in [StreamClock::ZERO, before[0], before[1]] {
        control.follow(room(1), after);
        assert_eq!(next(&mut tail).await, TailEvent::Gap { room: room(1) }, "after {after}");
    }
    let filler = clocks(rig.log(), &room(1)).await[0];
    control.follow(room(1), filler);
    append(rig.log(), &room(1), &["d"]).await;
    assert_eq!(texts(&take(&mut tail, &room(1), 1, &mut Vec::new()).await), ["d"]);
}

/// A tail that has brought everything is told as well: what its room holds in memory is no longer what the stream holds.
pub async fn a_follower_that_is_up_to_date_is_told_of_a_gap(rig: StreamLogRig) {
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    for round in 0..10 {
        let from = clocks(rig.log(), &room(1)).await.last().copied().unwrap_or(StreamClock::ZERO);
        control.follow(room(1), from);
        append(rig.log(), &room(1), &["a"]).await;
        append(rig.log(), &room(1), &["b"]).await;
        assert_eq!(texts(&take(&mut tail, &room(1), 2, &mut Vec::new()).await), ["a", "b"]);
        assert!(quarantine(&rig, &room(1), &qid(round)).await);
        append(rig.log(), &room(1), &["unheard of"]).await;
        assert_eq!(next(&mut tail).await, TailEvent::Gap { room: room(1) }, "in round {round}");
    }
    control.follow(room(2), StreamClock::ZERO);
    append(rig.log(), &room(1), &["not followed"]).await;
    append(rig.log(), &room(2), &["x"]).await;
    let mut other = Vec::new();
    take(&mut tail, &room(2), 1, &mut other).await;
    assert_eq!(other, []);
}

/// Messages of every kind, with what a release leaves out, and what it restores.
async fn of_every_kind(rig: &StreamLogRig, room: &RoomId) -> (Vec<LogEntry>, Vec<Bytes>) {
    let kept = [
        Bytes::from_static(b"no message at all"),
        StreamMessage::encode_update(b"update", b"map").0,
        Bytes::new(),
        StreamMessage::encode_awareness(b"awareness"),
        (0..=255u8).collect(),
        StreamMessage::encode_prune(b"ids"),
        StreamMessage::encode_tombstone(),
        Bytes::from_static(b"same"),
        Bytes::from_static(b"same"),
    ];
    for (n, message) in kept.iter().enumerate() {
        if n % 3 == 1 {
            append_messages(rig, room, &[StreamMessage::encode_auth_check(None, n > 4)]).await;
            rig.control.append_filler(room, StreamClock::ZERO).await;
        }
        append_messages(rig, room, std::slice::from_ref(message)).await;
    }
    (entries(rig.log(), room).await, kept.to_vec())
}

/// A release appends what was set aside above what is there, bytes unchanged and in order, without fillers and auth checks.
/// It says how many entries there were, and forgets them.
pub async fn releasing_restores_and_forgets(rig: StreamLogRig) {
    let (before, kept) = of_every_kind(&rig, &room(1)).await;
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    append(rig.log(), &room(1), &["later"]).await;
    let between = clocks(rig.log(), &room(1)).await;
    assert_eq!(release(&rig, &room(1), &qid(1)).await, Some(before.len() as u64));
    let after = entries(rig.log(), &room(1)).await;
    assert_eq!(after[..2].iter().map(|entry| entry.clock).collect::<Vec<_>>(), between);
    let restored: Vec<_> = after[2..].iter().map(|entry| entry.message.clone().expect("no filler")).collect();
    assert_eq!(restored, kept);
    assert_ascending(&clocks(rig.log(), &room(1)).await);
    assert!(after[0].clock > before.last().expect("some").clock);
    assert_eq!(set_aside(&rig, &room(1), &qid(1)).await, []);
    assert_eq!(all_quarantined(&rig, None).await.len(), 0);
    assert_eq!(release(&rig, &room(1), &qid(1)).await, None, "it is forgotten");
    assert_eq!(entries(rig.log(), &room(1)).await, after);
    assert_eq!(rig.claim_all(&worker("w")).await.len(), 1, "one task, as ever");
}

/// Followers are brought what is released, each entry once; nothing is a gap for them.
pub async fn what_is_released_arrives(rig: StreamLogRig) {
    let (_, kept) = of_every_kind(&rig, &room(1)).await;
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    control.follow(room(1), clocks(rig.log(), &room(1)).await[0]);
    append(rig.log(), &room(1), &["before"]).await;
    assert_eq!(texts(&take(&mut tail, &room(1), 1, &mut Vec::new()).await), ["before"]);
    release(&rig, &room(1), &qid(1)).await;
    append(rig.log(), &room(1), &["after"]).await;
    let arrived = take(&mut tail, &room(1), kept.len() + 1, &mut Vec::new()).await;
    assert_eq!(arrived, entries(rig.log(), &room(1)).await[2..]);
}

/// A release makes the room live, with one task.
pub async fn releasing_enqueues_once(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a", "b"]).await;
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    let filler = clocks(rig.log(), &room(1)).await[0];
    assert_eq!(rig.trim(&room(1), filler).await, Completed::Done { trimmed: 1, left: false });
    assert_eq!(rig.claim_all(&worker("w")).await, []);
    assert_eq!(texts(&set_aside(&rig, &room(1), &qid(1)).await), ["a", "b"], "what was set aside stays");
    assert_eq!(release(&rig, &room(1), &qid(1)).await, Some(2));
    assert_eq!(rig.claim_one(&worker("w")).await.room, room(1));
    assert!(clocks(rig.log(), &room(1)).await[0] > filler, "clocks go on");
    // Nothing but what is left out: then nothing is appended, and there is nothing to compact.
    append_messages(&rig, &room(2), &[StreamMessage::encode_auth_check(None, true)]).await;
    assert!(quarantine(&rig, &room(2), &qid(1)).await);
    let filler = clocks(rig.log(), &room(2)).await[0];
    assert_eq!(rig.trim(&room(2), filler).await, Completed::Done { trimmed: 1, left: false });
    assert_eq!(release(&rig, &room(2), &qid(1)).await, Some(1));
    assert_eq!(entries(rig.log(), &room(2)).await, []);
    assert_eq!(rig.claim_all(&worker("w")).await, []);
}

/// Releasing what there is not is none, and changes nothing.
pub async fn releasing_the_unknown_is_none(rig: StreamLogRig) {
    assert_eq!(release(&rig, &room(1), &qid(1)).await, None);
    append(rig.log(), &room(1), &["a"]).await;
    append(rig.log(), &room(2), &["b"]).await;
    assert!(quarantine(&rig, &room(2), &qid(2)).await);
    for (of, id) in [(room(1), qid(1)), (room(1), qid(2)), (room(2), qid(1))] {
        assert_eq!(release(&rig, &of, &id).await, None, "{of} {id:?}");
    }
    assert_eq!(texts(&entries(rig.log(), &room(1)).await), ["a"]);
    assert_eq!(texts(&set_aside(&rig, &room(2), &qid(2)).await), ["b"]);
}

/// A room without entries has nothing to set aside, and does not become live by it.
pub async fn a_room_without_entries_is_left_alone(rig: StreamLogRig) {
    assert!(!quarantine(&rig, &room(1), &qid(1)).await);
    let appended = append(rig.log(), &room(2), &["a"]).await;
    assert_eq!(rig.trim(&room(2), appended[0]).await, Completed::Done { trimmed: 1, left: false });
    assert!(!quarantine(&rig, &room(2), &qid(1)).await);
    for n in [1, 2] {
        assert_eq!(entries(rig.log(), &room(n)).await, []);
        assert_eq!(release(&rig, &room(n), &qid(1)).await, None);
    }
    assert_eq!(rig.claim_all(&worker("w")).await, []);
    assert_eq!(all_quarantined(&rig, None).await.len(), 0);
    let later = append(rig.log(), &room(2), &["b"]).await;
    assert_ascending(&[appended, later].concat());
    assert_eq!(rig.claim_one(&worker("w")).await.room, room(2));
}

/// Setting aside under a name that is taken is done already: what came later stays where it is.
pub async fn a_second_time_under_one_name_does_nothing(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    append(rig.log(), &room(1), &["b"]).await;
    let left = entries(rig.log(), &room(1)).await;
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    assert_eq!(entries(rig.log(), &room(1)).await, left);
    assert_eq!(texts(&set_aside(&rig, &room(1), &qid(1)).await), ["a"]);
    // Also if nothing is left to set aside.
    rig.trim(&room(1), left[1].clock).await;
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    assert_eq!(entries(rig.log(), &room(1)).await, []);
    // And the name is free once it is released.
    assert_eq!(release(&rig, &room(1), &qid(1)).await, Some(1));
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    assert_eq!(texts(&set_aside(&rig, &room(1), &qid(1)).await), ["a"]);
}

/// Several streams of one room are set aside side by side, and one name in two rooms means two streams.
pub async fn streams_set_aside_do_not_mix(rig: StreamLogRig) {
    for n in 1..=3 {
        append(rig.log(), &room(1), &[&format!("one-{n}")]).await;
        append(rig.log(), &room(2), &[&format!("two-{n}")]).await;
        assert!(quarantine(&rig, &room(1), &qid(n)).await);
        assert!(quarantine(&rig, &room(2), &qid(n)).await);
    }
    assert_eq!(release(&rig, &room(1), &qid(2)).await, Some(2), "a filler and a message");
    assert_eq!(texts(&entries(rig.log(), &room(1)).await), ["-", "one-2"]);
    assert_eq!(texts(&entries(rig.log(), &room(2)).await), ["-"]);
    for (of, id, expected) in [
        (room(1), qid(1), &["one-1"][..]),
        (room(1), qid(2), &[]),
        (room(1), qid(3), &["-", "one-3"]),
        (room(2), qid(1), &["two-1"]),
        (room(2), qid(2), &["-", "two-2"]),
        (room(2), qid(3), &["-", "two-3"]),
    ] {
        assert_eq!(texts(&set_aside(&rig, &of, &id).await), expected, "{of} {id:?}");
    }
}

/// What was set aside is listed with its room, name and number of entries: of one room, or of all.
pub async fn listings_show_what_is_set_aside(rig: StreamLogRig) {
    assert_eq!(all_quarantined(&rig, None).await.len(), 0);
    assert_eq!(all_quarantined(&rig, Some(&room(1))).await.len(), 0);
    let mut expected = Vec::new();
    for n in 1..=9 {
        let of = room(1 + n % 2);
        append(rig.log(), &of, &["x"].repeat(n)).await;
        assert!(quarantine(&rig, &of, &qid(n)).await);
        // The filler that the former one left is set aside too.
        expected.push((of, qid(n), n as u64 + u64::from(n > 2)));
    }
    append(rig.log(), &room(3), &["live, and not set aside"]).await;
    let sorted = |mut all: Vec<_>| {
        all.sort();
        all
    };
    assert_eq!(all_quarantined(&rig, None).await, sorted(expected.clone()));
    for n in 1..=3 {
        let own = expected.iter().filter(|(of, ..)| *of == room(n)).cloned().collect();
        assert_eq!(all_quarantined(&rig, Some(&room(n))).await, sorted(own), "room {n}");
    }
    assert!(release(&rig, &room(1), &qid(4)).await.is_some());
    expected.retain(|(_, id, _)| *id != qid(4));
    assert_eq!(all_quarantined(&rig, None).await, sorted(expected));
}

/// Rooms of any names set their streams aside and get them back, each its own.
pub async fn odd_room_names_are_kept_apart(rig: StreamLogRig) {
    let rooms = odd_rooms();
    for (n, room) in rooms.iter().enumerate() {
        append(rig.log(), room, &[&n.to_string()]).await;
    }
    for room in &rooms {
        assert!(quarantine(&rig, room, &qid(1)).await);
    }
    for (n, room) in rooms.iter().enumerate() {
        assert_eq!(texts(&set_aside(&rig, room, &qid(1)).await), [n.to_string()], "{room:?}");
        assert_eq!(all_quarantined(&rig, Some(room)).await, [(room.clone(), qid(1), 1)], "{room:?}");
    }
    let listed = all_quarantined(&rig, None).await;
    assert_eq!(listed.iter().map(|(room, ..)| room.clone()).collect::<Vec<_>>(), rooms);
    for (n, room) in rooms.iter().enumerate() {
        assert_eq!(release(&rig, room, &qid(1)).await, Some(1), "{room:?}");
        assert_eq!(texts(&entries(rig.log(), room).await), ["-".to_owned(), n.to_string()], "{room:?}");
    }
}

/// While others write, everything is in the stream or set aside, once and in order.
pub async fn nothing_is_lost_or_doubled_under_load(rig: StreamLogRig) {
    const EACH: usize = 100;
    let writers = (0..3).map(|writer| {
        let log = rig.log.clone();
        tokio::spawn(async move {
            for at in 0..EACH {
                append(log.as_ref(), &room(1), &[&format!("{writer} {at}")]).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut names = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) && names < 200 {
        quarantine(&rig, &room(1), &qid(names)).await;
        names += 1;
    }
    join_all(writers).await.into_iter().for_each(|writer| writer.expect("a writer panicked"));
    let mut all = Vec::new();
    for name in 0..names {
        all.extend(set_aside(&rig, &room(1), &qid(name)).await);
    }
    all.extend(entries(rig.log(), &room(1)).await);
    assert_ascending(&all.iter().map(|entry| entry.clock).collect::<Vec<_>>());
    let messages: Vec<String> = texts(&all).into_iter().filter(|text| text != "-").collect();
    for writer in 0..3 {
        let own: Vec<_> = messages.iter().filter(|text| text.starts_with(&format!("{writer} "))).cloned().collect();
        assert_eq!(own, (0..EACH).map(|at| format!("{writer} {at}")).collect::<Vec<_>>());
    }
    assert_eq!(rig.claim_all(&worker("w")).await.len(), 1);
}

/// Runs `call` until some moment, then drops it.
async fn drop_half_way<T>(call: impl Future<Output = T>, chance: &mut fastrand::Rng) {
    let mut call = Box::pin(call);
    for _ in 0..chance.u64(..3) {
        if call.as_mut().now_or_never().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_micros(chance.u64(..300))).await;
    }
}

/// A quarantine or a release that is dropped half way has happened, or not: every message is in one place.
pub async fn a_cancelled_one_is_whole_or_absent(rig: StreamLogRig) {
    let mut chance = fastrand::Rng::with_seed(5);
    let log: Arc<dyn StreamLog> = rig.log.clone();
    for n in 0..30 {
        let of = room(n);
        append(rig.log(), &of, &["a", "b", "c"]).await;
        drop_half_way(log.quarantine(&of, &qid(1)), &mut chance).await;
        // Whatever is still under way comes before this one.
        rig.log.check().await.expect("check");
        let aside = texts(&set_aside(&rig, &of, &qid(1)).await);
        let here = texts(&entries(rig.log(), &of).await);
        match aside.is_empty() {
            true => assert_eq!(here, ["a", "b", "c"]),
            false => assert_eq!((aside, here), (vec!["a".into(), "b".into(), "c".into()], vec!["-".into()])),
        }
        assert!(quarantine(&rig, &of, &qid(1)).await);
        drop_half_way(log.release(&of, &qid(1)), &mut chance).await;
        rig.log.check().await.expect("check");
        let aside = texts(&set_aside(&rig, &of, &qid(1)).await);
        let here = texts(&entries(rig.log(), &of).await);
        match aside.is_empty() {
            true => assert_eq!(here, ["-", "a", "b", "c"]),
            false => assert_eq!((aside, here), (vec!["a".into(), "b".into(), "c".into()], vec!["-".into()])),
        }
    }
    let rooms: HashSet<_> = rig.claim_all(&worker("w")).await.into_iter().map(|task| task.room).collect();
    assert_eq!(rooms.len(), 30);
}

/// What is discarded is gone, with its name, and nothing else: neither others of the room nor the room's stream.
pub async fn discarding_erases_one_and_forgets_it(rig: StreamLogRig) {
    let discard = async |room: RoomId, id| rig.admin.discard(&room, &id).await.expect("discard");
    assert_eq!(discard(room(1), qid(1)).await, None, "an unknown room");
    append(rig.log(), &room(1), &["a", "b", "c"]).await;
    append(rig.log(), &room(2), &["d"]).await;
    assert_eq!(discard(room(1), qid(1)).await, None, "an unknown name");
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    append(rig.log(), &room(1), &["later"]).await;
    assert!(quarantine(&rig, &room(1), &qid(2)).await);
    assert!(quarantine(&rig, &room(2), &qid(1)).await);
    append(rig.log(), &room(1), &["last"]).await;
    let before = entries(rig.log(), &room(1)).await;
    assert_eq!(discard(room(1), qid(1)).await, Some(3));
    assert_eq!(discard(room(1), qid(1)).await, None, "it is forgotten");
    assert_eq!(set_aside(&rig, &room(1), &qid(1)).await, []);
    assert_eq!(release(&rig, &room(1), &qid(1)).await, None);
    assert_eq!(texts(&set_aside(&rig, &room(1), &qid(2)).await), ["-", "later"]);
    assert_eq!(texts(&set_aside(&rig, &room(2), &qid(1)).await), ["d"]);
    assert_eq!(all_quarantined(&rig, None).await.len(), 2);
    assert_eq!(entries(rig.log(), &room(1)).await, before);
    assert_eq!(rig.claim_all(&worker("w")).await.len(), 2, "one task a room, as ever");
    // Under the same name another stream may be set aside.
    assert!(quarantine(&rig, &room(1), &qid(1)).await);
    assert_eq!(texts(&set_aside(&rig, &room(1), &qid(1)).await), ["-", "last"]);
}
