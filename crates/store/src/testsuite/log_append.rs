//! Cases of [`crate::StreamLog::append`], `now_ms` and `check`.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use yhub_core::{StreamClock, StreamMessage};

use super::{
    StreamLogRig,
    support::{NO_LIMIT, append, append_above, assert_ascending, clocks, entries, odd_rooms, room, texts, worker},
};
use crate::Append;

/// Entries stand in the order of the messages, byte for byte, under the clocks that were returned.
pub async fn comes_back_in_order_and_whole(rig: StreamLogRig) {
    let every_byte: Bytes = (0..=255u8).collect();
    let messages =
        vec![every_byte, Bytes::new(), Bytes::from_static(b"\0"), Bytes::from_static(b"same"), Bytes::from_static(b"same")];
    let append = Append { room: room(1), messages: messages.clone(), floor: StreamClock::ZERO };
    let clocks = rig.log.append(append).await.expect("append");
    let found = entries(rig.log(), &room(1)).await;
    assert_eq!(found.iter().map(|entry| entry.clock).collect::<Vec<_>>(), clocks);
    assert_eq!(found.into_iter().map(|entry| entry.message.expect("no filler")).collect::<Vec<_>>(), messages);
}

/// Clocks ascend within an append and from one to the next, whether time goes on or stands still.
pub async fn clocks_ascend(rig: StreamLogRig) {
    let mut all = Vec::new();
    for at in 0..20 {
        all.extend(append(rig.log(), &room(1), &["a", "b", "c"]).await);
        if at % 5 == 4 {
            rig.wait(1).await;
        }
    }
    assert_ascending(&all);
    assert_eq!(all.len(), 60);
    assert_eq!(clocks(rig.log(), &room(1)).await, all);
}

/// Every new entry is above the floor, also in a new room, and what comes later is above that without any floor.
pub async fn clocks_stay_above_the_floor(rig: StreamLogRig) {
    let now = rig.log.now_ms().await.expect("now");
    let floor = StreamClock::new(now + 3_600_000, 41);
    let first = append_above(rig.log(), &room(1), &["a", "b"], floor).await;
    assert!(first[0] > floor, "{} is not above {floor}", first[0]);
    let later = append(rig.log(), &room(1), &["c"]).await;
    assert_ascending(&[first, later].concat());
    // A floor below what is there changes nothing.
    let low = append_above(rig.log(), &room(1), &["d"], StreamClock::new(1, 1)).await;
    assert_ascending(&clocks(rig.log(), &room(1)).await);
    assert_eq!(entries(rig.log(), &room(1)).await.last().expect("four").clock, low[0]);
}

/// Time that goes back hides nothing: what is appended later stands later.
pub async fn time_that_goes_back_changes_no_order(rig: StreamLogRig) {
    let before = append(rig.log(), &room(1), &["before"]).await;
    rig.control.set_back(Duration::from_secs(100_000)).await;
    let after = append(rig.log(), &room(1), &["after"]).await;
    assert!(after[0] > before[0]);
    assert_eq!(texts(&entries(rig.log(), &room(1)).await), ["before", "after"]);
}

/// What is appended unless the room has changed is appended iff no update and no prune stands after the floor.
pub async fn a_condition_is_part_of_the_append(rig: StreamLogRig) {
    let update = StreamMessage::encode_update(b"an update", b"a map").0;
    let prune = StreamMessage::encode_prune(b"ids");
    let presence = StreamMessage::encode_awareness(b"here");
    let log = rig.log();
    let try_after = async |floor, message: &Bytes| {
        let append = Append { room: room(1), messages: vec![message.clone(), presence.clone()], floor };
        log.append_unless_changed(append).await.expect("append")
    };
    let first = try_after(StreamClock::ZERO, &update).await.expect("nobody has changed the room");
    assert_eq!(first.len(), 2);
    assert_eq!(try_after(StreamClock::ZERO, &update).await, None, "the first update came between");
    // Presence is no change, and neither is what stands at the floor itself.
    let second = try_after(first[0], &prune).await.expect("only presence is new");
    assert_eq!(try_after(first[1], &update).await, None, "a prune came between");
    let third = try_after(second[0], &update).await.expect("only presence is new");
    assert_eq!(clocks(log, &room(1)).await, [first, second, third].concat());
    // Of two who know the same, one comes through.
    let last = *clocks(log, &room(1)).await.last().expect("six");
    let both = join_all([try_after(last, &update), try_after(last, &update)]).await;
    assert_eq!(both.iter().flatten().count(), 1, "{both:?}");
}

/// Above the last possible clock there is none: the append fails and changes nothing.
pub async fn no_clock_after_the_last_is_an_error(rig: StreamLogRig) {
    let first = append(rig.log(), &room(1), &["a"]).await;
    let floor = StreamClock::new(u64::MAX, u64::MAX);
    let refused = rig.log.append(Append { room: room(1), messages: vec![Bytes::from_static(b"b")], floor }).await;
    assert!(refused.is_err(), "got {refused:?}");
    let next = append(rig.log(), &room(1), &["c"]).await;
    assert_ascending(&[first, next].concat());
    assert_eq!(texts(&entries(rig.log(), &room(1)).await), ["a", "c"]);
}

/// Writers of one room at the same time: every append stands in one piece, and each writer's own in its order.
pub async fn an_append_is_not_torn(rig: StreamLogRig) {
    const WRITERS: usize = 16;
    const APPENDS: usize = 20;
    let writers = (0..WRITERS).map(|writer| {
        let log = rig.log.clone();
        tokio::spawn(async move {
            let mut own = Vec::new();
            for at in 0..APPENDS {
                let message = |part| format!("{writer} {at} {part}");
                let [a, b, c] = ["a", "b", "c"].map(message);
                own.extend(append(log.as_ref(), &room(1), &[&a, &b, &c]).await);
            }
            own
        })
    });
    let mut returned = HashSet::new();
    for own in join_all(writers).await {
        let own = own.expect("a writer panicked");
        assert_ascending(&own);
        returned.extend(own);
    }
    let found = entries(rig.log(), &room(1)).await;
    assert_eq!(found.len(), WRITERS * APPENDS * 3);
    assert_ascending(&found.iter().map(|entry| entry.clock).collect::<Vec<_>>());
    assert_eq!(found.iter().map(|entry| entry.clock).collect::<HashSet<_>>(), returned);
    for piece in texts(&found).chunks(3) {
        let stem = piece[0].strip_suffix(" a").expect("an append begins here");
        assert_eq!(piece[1], format!("{stem} b"));
        assert_eq!(piece[2], format!("{stem} c"));
    }
}

/// A room's entries are found in that room only.
pub async fn rooms_do_not_mix(rig: StreamLogRig) {
    const ROOMS: usize = 200;
    for round in 0..3 {
        let all = (0..ROOMS).map(|n| {
            let log = rig.log.clone();
            async move { append(log.as_ref(), &room(n), &[&format!("{n} {round}")]).await }
        });
        join_all(all).await;
    }
    for n in 0..ROOMS {
        let expected: Vec<_> = (0..3).map(|round| format!("{n} {round}")).collect();
        assert_eq!(texts(&entries(rig.log(), &room(n)).await), expected);
    }
    assert!(entries(rig.log(), &room(ROOMS)).await.is_empty());
}

/// Rooms are told apart by exactly their three parts, and tasks bring the name back as it was.
pub async fn odd_room_names_are_kept_apart(rig: StreamLogRig) {
    let rooms = odd_rooms();
    for (n, room) in rooms.iter().enumerate() {
        append(rig.log(), room, &[&n.to_string()]).await;
    }
    for (n, room) in rooms.iter().enumerate() {
        assert_eq!(texts(&entries(rig.log(), room).await), [n.to_string()], "in {room}");
    }
    let mut claimed: Vec<_> = rig.claim_all(&worker("w")).await.into_iter().map(|task| task.room).collect();
    claimed.sort();
    assert_eq!(claimed, rooms);
}

/// 10 MB in one message, and in many of one append.
pub async fn big_messages_are_whole(rig: StreamLogRig) {
    let mut chance = fastrand::Rng::with_seed(7);
    let big: Bytes = (0..10_000_000 / 8).flat_map(|_| chance.u64(..).to_le_bytes()).collect();
    let pieces: Vec<Bytes> = (0..10_000).map(|at| big.slice(at * 1000..(at + 1) * 1000)).collect();
    for messages in [vec![big.clone()], pieces] {
        let floor = StreamClock::ZERO;
        let clocks = rig.log.append(Append { room: room(1), messages: messages.clone(), floor }).await.expect("append");
        let page = rig.log.read(&room(1), StreamClock::ZERO, NO_LIMIT).await.expect("read");
        let found: Vec<_> = page.entries.into_iter().filter(|entry| entry.clock >= clocks[0]).collect();
        assert_eq!(found.iter().map(|entry| entry.clock).collect::<Vec<_>>(), clocks);
        assert!(found.iter().zip(&messages).all(|(entry, message)| entry.message.as_ref() == Some(message)), "changed");
    }
}

/// A filler has a clock between its neighbours and no message.
pub async fn fillers_have_a_position_only(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    let Some(filler) = rig.control.append_filler(&room(1), StreamClock::ZERO).await else { return };
    append(rig.log(), &room(1), &["b"]).await;
    let found = entries(rig.log(), &room(1)).await;
    assert_eq!(texts(&found), ["a", "-", "b"]);
    assert_eq!(found[1].clock, filler);
    assert_ascending(&clocks(rig.log(), &room(1)).await);
    // Alone it keeps a room live, like any entry.
    rig.control.append_filler(&room(2), StreamClock::ZERO).await.expect("it was done before");
    assert_eq!(rig.claim_all(&worker("w")).await.len(), 2);
}

/// A room whose stream was emptied goes on above its last clock, even if time went back.
pub async fn clocks_go_on_after_the_stream_was_empty(rig: StreamLogRig) {
    let first = append(rig.log(), &room(1), &["a", "b"]).await;
    rig.trim(&room(1), first[1]).await;
    assert!(entries(rig.log(), &room(1)).await.is_empty());
    rig.control.set_back(rig.ticks(5)).await;
    let second = append(rig.log(), &room(1), &["c"]).await;
    assert_ascending(&[first, second.clone()].concat());
    assert_eq!(clocks(rig.log(), &room(1)).await, second);
}

/// An append that is dropped half way stands wholly or not at all, and does not disturb the next one.
pub async fn a_cancelled_append_is_whole_or_absent(rig: StreamLogRig) {
    let mut chance = fastrand::Rng::with_seed(11);
    for n in 0..60 {
        let messages = ["a", "b", "c"].map(|text| Bytes::from(format!("{n} {text}"))).to_vec();
        let mut append = Box::pin(rig.log.append(Append { room: room(1), messages, floor: StreamClock::ZERO }));
        for _ in 0..chance.u64(..4) {
            if append.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_micros(chance.u64(..400))).await;
        }
        drop(append);
    }
    let last = append(rig.log(), &room(1), &["last"]).await;
    let found = entries(rig.log(), &room(1)).await;
    assert_eq!(found.last().expect("one at least").clock, last[0]);
    let found = texts(&found);
    let (_, pieces) = found.split_last().expect("one at least");
    assert_eq!(pieces.len() % 3, 0, "{pieces:?}");
    for piece in pieces.chunks(3) {
        let stem = piece[0].strip_suffix(" a").expect("an append begins here");
        assert_eq!(piece[1..], [format!("{stem} b"), format!("{stem} c")]);
    }
}

/// A log that takes appends says so.
pub async fn check_answers(rig: StreamLogRig) {
    rig.log.check().await.expect("check");
    append(rig.log(), &room(1), &["a"]).await;
    rig.log.check().await.expect("check again");
    assert_eq!(texts(&entries(rig.log(), &room(1)).await), ["a"]);
}

/// The log's time is the time of its clocks.
pub async fn now_goes_on(rig: StreamLogRig) {
    let before = rig.log.now_ms().await.expect("now");
    rig.wait(3).await;
    let after = rig.log.now_ms().await.expect("now");
    assert!(u128::from(after) >= u128::from(before) + rig.ticks(3).as_millis(), "{after} after {before}");
    let clock = append(rig.log(), &room(1), &["a"]).await[0];
    assert!(clock.ms >= after, "{clock} at {after}");
}
