//! Cases of [`crate::StreamLog::tail`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::join_all};
use tokio::task::JoinHandle;
use yhub_core::{RoomId, StreamClock};

use super::{
    StreamLogRig,
    support::{append, clocks, entries, next, room, take, texts, worker},
};
use crate::{Append, LogEntry, StreamLog, TailEvent};

/// Follows from the start: first what is there, then what comes, in order, each once, under the clocks of the log.
pub async fn brings_the_old_then_the_new(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a", "b"]).await;
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    control.follow(room(1), StreamClock::ZERO);
    let mut found = take(&mut tail, &room(1), 2, &mut Vec::new()).await;
    for text in ["c", "d", "e"] {
        append(rig.log(), &room(1), &[text]).await;
    }
    found.extend(take(&mut tail, &room(1), 3, &mut Vec::new()).await);
    assert_eq!(found, entries(rig.log(), &room(1)).await);
    assert_eq!(texts(&found), ["a", "b", "c", "d", "e"]);
    // And no more.
    append(rig.log(), &room(2), &["x"]).await;
    control.follow(room(2), StreamClock::ZERO);
    let mut other = Vec::new();
    take(&mut tail, &room(2), 1, &mut other).await;
    assert_eq!(other, []);
}

/// Brings what is after the clock, and nothing of what is not followed.
pub async fn follows_from_the_clock_asked_for(rig: StreamLogRig) {
    let first = append(rig.log(), &room(1), &["a", "b", "c"]).await;
    append(rig.log(), &room(2), &["x"]).await;
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    control.follow(room(1), first[1]);
    append(rig.log(), &room(2), &["y"]).await;
    append(rig.log(), &room(1), &["d"]).await;
    let mut other = Vec::new();
    assert_eq!(texts(&take(&mut tail, &room(1), 2, &mut other).await), ["c", "d"]);
    assert_eq!(other, []);
}

/// After unfollowing, nothing that is appended arrives any more.
pub async fn unfollowed_means_silent(rig: StreamLogRig) {
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    control.follow(room(1), StreamClock::ZERO);
    append(rig.log(), &room(1), &["a"]).await;
    take(&mut tail, &room(1), 1, &mut Vec::new()).await;
    control.unfollow(&room(1));
    control.unfollow(&room(3));
    // What was under way is through once this has arrived.
    control.follow(room(2), StreamClock::ZERO);
    append(rig.log(), &room(2), &["x"]).await;
    take(&mut tail, &room(2), 1, &mut Vec::new()).await;
    append(rig.log(), &room(1), &["b"]).await;
    append(rig.log(), &room(2), &["y"]).await;
    let mut other = Vec::new();
    take(&mut tail, &room(2), 1, &mut other).await;
    assert_eq!(other, []);
    // From where it was left, nothing is missing.
    control.follow(room(1), clocks(rig.log(), &room(1)).await[0]);
    assert_eq!(texts(&take(&mut tail, &room(1), 1, &mut Vec::new()).await), ["b"]);
}

/// Following what is followed already starts over from the given clock, earlier or later.
pub async fn following_again_starts_over(rig: StreamLogRig) {
    let appended = append(rig.log(), &room(1), &["a", "b", "c"]).await;
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    control.follow(room(1), StreamClock::ZERO);
    assert_eq!(texts(&take(&mut tail, &room(1), 3, &mut Vec::new()).await), ["a", "b", "c"]);
    control.follow(room(1), appended[0]);
    assert_eq!(texts(&take(&mut tail, &room(1), 2, &mut Vec::new()).await), ["b", "c"]);
    control.follow(room(1), appended[2]);
    append(rig.log(), &room(1), &["d"]).await;
    assert_eq!(texts(&take(&mut tail, &room(1), 1, &mut Vec::new()).await), ["d"]);
}

/// What was under way when a room was unfollowed does not come before, or among, what a later follow brings.
pub async fn following_after_unfollowing_starts_over(rig: StreamLogRig) {
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    for round in 0..20 {
        control.follow(room(1), StreamClock::ZERO);
        append(rig.log(), &room(1), &["a", "b"]).await;
        control.unfollow(&room(1));
        control.follow(room(1), StreamClock::ZERO);
        let arrived = texts(&take(&mut tail, &room(1), 2 * (round + 1), &mut Vec::new()).await);
        assert_eq!(arrived, ["a", "b"].repeat(round + 1), "round {round}");
        control.unfollow(&room(1));
    }
}

/// Entries that were trimmed before they could be brought are a gap, and the room is not followed any more.
pub async fn trimmed_entries_are_a_gap(rig: StreamLogRig) {
    let appended = append(rig.log(), &room(1), &["a", "b", "c"]).await;
    rig.trim(&room(1), appended[1]).await;
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    for after in [StreamClock::ZERO, appended[0]] {
        control.follow(room(1), after);
        assert_eq!(next(&mut tail).await, TailEvent::Gap { room: room(1) });
    }
    append(rig.log(), &room(1), &["d"]).await;
    control.follow(room(2), StreamClock::ZERO);
    append(rig.log(), &room(2), &["x"]).await;
    let mut other = Vec::new();
    take(&mut tail, &room(2), 1, &mut other).await;
    assert_eq!(other, [], "the room is not followed");
    control.follow(room(1), appended[1]);
    assert_eq!(texts(&take(&mut tail, &room(1), 2, &mut Vec::new()).await), ["c", "d"]);
}

/// Who has seen all that was trimmed misses nothing; also when the stream is empty.
pub async fn following_from_the_trimmed_clock_is_no_gap(rig: StreamLogRig) {
    let appended = append(rig.log(), &room(1), &["a", "b"]).await;
    rig.trim(&room(1), appended[1]).await;
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    control.follow(room(1), appended[1]);
    append(rig.log(), &room(1), &["c"]).await;
    assert_eq!(texts(&take(&mut tail, &room(1), 1, &mut Vec::new()).await), ["c"]);
    // Trimming what a tail has brought is no gap for it.
    let last = clocks(rig.log(), &room(1)).await[0];
    rig.trim(&room(1), last).await;
    append(rig.log(), &room(1), &["d"]).await;
    assert_eq!(texts(&take(&mut tail, &room(1), 1, &mut Vec::new()).await), ["d"]);
}

/// Appends `each` numbered entries to each of `rooms`, from many tasks.
fn write_to(rig: &StreamLogRig, rooms: usize, each: usize) -> Vec<JoinHandle<()>> {
    (0..rooms)
        .map(|n| {
            let log = rig.log.clone();
            tokio::spawn(async move {
                let mut chance = fastrand::Rng::with_seed(n as u64);
                for at in 0..each {
                    append(log.as_ref(), &room(n), &[&at.to_string()]).await;
                    if chance.u64(..4) == 0 {
                        tokio::time::sleep(Duration::from_micros(chance.u64(..500))).await;
                    }
                }
            })
        })
        .collect()
}

/// Several tails that begin at different moments of a load: each sees every room whole and in order.
pub async fn nothing_lost_or_twice_under_load(rig: StreamLogRig) {
    const ROOMS: usize = 12;
    const EACH: usize = 60;
    let writers = write_to(&rig, ROOMS, EACH);
    let tails = (0..4u64).map(|at| {
        let log = rig.log.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(at * 7)).await;
            let (control, mut tail) = log.tail().await.expect("tail");
            for n in 0..ROOMS {
                control.follow(room(n), StreamClock::ZERO);
            }
            let mut seen: HashMap<RoomId, Vec<LogEntry>> = HashMap::new();
            while seen.values().map(Vec::len).sum::<usize>() < ROOMS * EACH {
                let TailEvent::Entries { room, entries } = next(&mut tail).await else { panic!("a gap") };
                assert!(!entries.is_empty());
                seen.entry(room).or_default().extend(entries.iter().cloned());
            }
            seen
        })
    });
    let tails: Vec<_> = tails.collect();
    join_all(writers).await.into_iter().for_each(|writer| writer.expect("a writer panicked"));
    for seen in join_all(tails).await {
        let seen = seen.expect("a tail failed");
        for n in 0..ROOMS {
            assert_eq!(seen[&room(n)], entries(rig.log(), &room(n)).await);
        }
    }
}

/// A tail that unfollows and follows again from its last entry, again and again while others write, sees the same.
pub async fn nothing_lost_or_twice_while_refollowing(rig: StreamLogRig) {
    const ROOMS: usize = 6;
    const EACH: usize = 150;
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    let mut seen: Vec<Vec<LogEntry>> = vec![Vec::new(); ROOMS];
    (0..ROOMS).for_each(|n| control.follow(room(n), StreamClock::ZERO));
    let writers = write_to(&rig, ROOMS, EACH);
    let mut chance = fastrand::Rng::with_seed(17);
    while seen.iter().map(Vec::len).sum::<usize>() < ROOMS * EACH {
        let TailEvent::Entries { room: of, entries } = next(&mut tail).await else { panic!("a gap") };
        let n = (0..ROOMS).find(|n| room(*n) == of).expect("a followed room");
        seen[n].extend(entries.iter().cloned());
        if chance.u64(..3) == 0 {
            let n = chance.u64(..ROOMS as u64) as usize;
            let after = seen[n].last().map_or(StreamClock::ZERO, |entry| entry.clock);
            if chance.u64(..2) == 0 {
                control.unfollow(&room(n));
            }
            control.follow(room(n), after);
        }
    }
    join_all(writers).await.into_iter().for_each(|writer| writer.expect("a writer panicked"));
    for (n, seen) in seen.iter().enumerate() {
        assert_eq!(*seen, entries(rig.log(), &room(n)).await, "in room {n}");
    }
    assert!(tail.next().now_or_never().is_none(), "something came twice");
}

/// A tail that nobody takes from holds up neither appends nor other tails, and has missed nothing in the end.
pub async fn an_undrained_tail_loses_nothing(rig: StreamLogRig) {
    const ROUNDS: usize = 40;
    let (idle_control, mut idle) = rig.log.tail().await.expect("tail");
    let (busy_control, mut busy) = rig.log.tail().await.expect("tail");
    for n in 0..2 {
        idle_control.follow(room(n), StreamClock::ZERO);
        busy_control.follow(room(n), StreamClock::ZERO);
    }
    append(rig.log(), &room(0), &["first"]).await;
    take(&mut idle, &room(0), 1, &mut Vec::new()).await;
    take(&mut busy, &room(0), 1, &mut Vec::new()).await;
    let filler = Bytes::from(vec![7u8; 1 << 20]);
    for at in 0..ROUNDS {
        let messages = vec![filler.clone(), Bytes::from(at.to_string())];
        rig.log.append(Append { room: room(at % 2), messages, floor: StreamClock::ZERO }).await.expect("append");
        take(&mut busy, &room(at % 2), 2, &mut Vec::new()).await;
    }
    let mut other = Vec::new();
    let mut zero = take(&mut idle, &room(0), ROUNDS, &mut other).await;
    let mut one: Vec<_> = other.into_iter().map(|(_, entry)| entry).collect();
    while one.len() < ROUNDS {
        let TailEvent::Entries { entries, .. } = next(&mut idle).await else { panic!("a gap") };
        one.extend(entries.iter().cloned());
    }
    zero.insert(0, entries(rig.log(), &room(0)).await[0].clone());
    assert!(zero == entries(rig.log(), &room(0)).await, "room 0 differs");
    assert!(one == entries(rig.log(), &room(1)).await, "room 1 differs");
    // It is live again.
    append(rig.log(), &room(0), &["after"]).await;
    assert_eq!(texts(&take(&mut idle, &room(0), 1, &mut Vec::new()).await), ["after"]);
}

/// Hundreds of rooms, each with something old and something new.
pub async fn many_rooms_in_one_tail(rig: StreamLogRig) {
    const ROOMS: usize = 400;
    let write = async |text: &str| {
        join_all((0..ROOMS).map(|n| append_owned(rig.log.clone(), n, text.to_owned()))).await;
    };
    write("old").await;
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    (0..ROOMS).for_each(|n| control.follow(room(n), StreamClock::ZERO));
    write("new").await;
    let mut seen: HashMap<RoomId, Vec<String>> = HashMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < 2 * ROOMS {
        let TailEvent::Entries { room, entries } = next(&mut tail).await else { panic!("a gap") };
        seen.entry(room).or_default().extend(texts(&entries));
    }
    assert_eq!(seen.len(), ROOMS);
    assert!(seen.values().all(|texts| *texts == ["old", "new"]));
}

async fn append_owned(log: Arc<dyn StreamLog>, n: usize, text: String) {
    append(log.as_ref(), &room(n), &[&text]).await;
}

/// What a tail brings is in the log already: whoever reads then finds it.
pub async fn what_arrives_can_be_read(rig: StreamLogRig) {
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    control.follow(room(0), StreamClock::ZERO);
    let writers = write_to(&rig, 1, 100);
    let mut count = 0;
    while count < 100 {
        let TailEvent::Entries { entries: brought, .. } = next(&mut tail).await else { panic!("a gap") };
        count += brought.len();
        let found = entries(rig.log(), &room(0)).await;
        assert!(found.len() >= count && brought.iter().all(|entry| found.contains(entry)));
    }
    join_all(writers).await.into_iter().for_each(|writer| writer.expect("a writer panicked"));
}

/// A tail that is dropped while it follows leaves the log, its control and other tails as they are.
pub async fn a_dropped_tail_disturbs_nobody(rig: StreamLogRig) {
    let (gone_control, gone) = rig.log.tail().await.expect("tail");
    gone_control.follow(room(1), StreamClock::ZERO);
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    control.follow(room(1), StreamClock::ZERO);
    append(rig.log(), &room(1), &["a"]).await;
    drop(gone);
    append(rig.log(), &room(1), &["b"]).await;
    gone_control.follow(room(2), StreamClock::ZERO);
    gone_control.unfollow(&room(1));
    drop(gone_control);
    append(rig.log(), &room(1), &["c"]).await;
    assert_eq!(texts(&take(&mut tail, &room(1), 3, &mut Vec::new()).await), ["a", "b", "c"]);
    assert_eq!(rig.claim_all(&worker("w")).await.len(), 1);
}

/// A filler arrives like any entry: its position counts.
pub async fn fillers_arrive(rig: StreamLogRig) {
    let (control, mut tail) = rig.log.tail().await.expect("tail");
    control.follow(room(1), StreamClock::ZERO);
    append(rig.log(), &room(1), &["a"]).await;
    if rig.control.append_filler(&room(1), StreamClock::ZERO).await.is_none() {
        return;
    }
    append(rig.log(), &room(1), &["b"]).await;
    assert_eq!(texts(&take(&mut tail, &room(1), 3, &mut Vec::new()).await), ["a", "-", "b"]);
}
