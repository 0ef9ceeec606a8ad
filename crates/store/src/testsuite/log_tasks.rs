//! Cases of the queue of rooms to compact: claim, renew, complete, give back.

use std::{collections::HashSet, time::Duration};

use futures_util::{FutureExt, future::join_all};
use yhub_core::StreamClock;

use super::{
    StreamLogRig,
    support::{append, append_above, assert_ascending, claim, clocks, entries, renew, room, texts, worker},
};
use crate::{Completed, Task, TaskEpoch, TaskId};

/// However many write at the same time, one task is pending for the room.
pub async fn one_task_a_live_room(rig: StreamLogRig) {
    let writers = (0..32).map(|writer| {
        let log = rig.log.clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                append(log.as_ref(), &room(writer % 2), &["x"]).await;
            }
        })
    });
    join_all(writers).await.into_iter().for_each(|writer| writer.expect("a writer panicked"));
    let mut rooms: Vec<_> = rig.claim_all(&worker("w")).await.into_iter().map(|task| task.room).collect();
    rooms.sort();
    assert_eq!(rooms, [room(0), room(1)]);
    assert_eq!(rig.claim_all(&worker("v")).await, [], "claimed is not pending");
}

/// A new task waits for the debounce, counted from the first append.
pub async fn debounce_is_waited_for(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    assert_eq!(claim(&rig, &worker("w"), 6, 10).await, []);
    rig.wait(3).await;
    append(rig.log(), &room(1), &["b"]).await;
    assert_eq!(claim(&rig, &worker("w"), 6, 10).await, []);
    rig.wait(4).await;
    let tasks = claim(&rig, &worker("w"), 6, 10).await;
    assert_eq!(tasks.len(), 1);
    assert_eq!((&tasks[0].room, tasks[0].attempt), (&room(1), 1));
}

/// Without a debounce a task may be claimed as soon as it is there.
pub async fn no_debounce_claims_at_once(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    assert_eq!(claim(&rig, &worker("w"), 0, 10).await.len(), 1);
}

/// The tasks that wait longest come first, and never more than asked for.
pub async fn oldest_first_and_no_more_than_asked(rig: StreamLogRig) {
    let order = [3, 1, 4, 0, 2];
    for n in order {
        append(rig.log(), &room(n), &["a"]).await;
        rig.wait(1).await;
    }
    let mut claimed = Vec::new();
    for max in [0, 2, 1, 9] {
        let tasks = rig.log.claim(&worker("w"), max, Duration::ZERO, rig.ticks(100)).await.expect("claim");
        assert!(tasks.len() <= max, "{} of {max}", tasks.len());
        claimed.extend(tasks.into_iter().map(|task| task.room));
    }
    if !rig.control.claims_in_order() {
        claimed.sort();
        assert_eq!(claimed, (0..5).map(room).collect::<Vec<_>>());
        return;
    }
    assert_eq!(claimed, order.map(room));
}

/// Nobody takes a claimed task before its lease lapses; then somebody else can, under a higher epoch.
pub async fn a_lease_lapses(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    let first = rig.claim_one(&worker("w")).await;
    rig.wait(4).await;
    assert_eq!(claim(&rig, &worker("v"), 0, 6).await, []);
    assert_eq!(claim(&rig, &worker("w"), 0, 6).await, [], "nor its owner");
    rig.wait(4).await;
    let [second] = <[Task; 1]>::try_from(claim(&rig, &worker("v"), 0, 6).await).expect("the lease has lapsed");
    assert_eq!(second.room, room(1));
    assert!(second.epoch > first.epoch);
    assert_eq!((first.attempt, second.attempt), (1, 2));
    assert_eq!(claim(&rig, &worker("u"), 0, 6).await, [], "the new lease counts from the new claim");
}

/// A renewed lease counts from the renewal.
pub async fn renewing_prolongs(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    let task = rig.claim_one(&worker("w")).await;
    for _ in 0..3 {
        rig.wait(4).await;
        assert!(renew(&rig, &worker("w"), &task).await);
        assert_eq!(claim(&rig, &worker("v"), 0, 6).await, []);
    }
    rig.wait(8).await;
    // It has lapsed, but nobody took it: it is still the owner's.
    assert!(renew(&rig, &worker("w"), &task).await);
    assert_eq!(claim(&rig, &worker("v"), 0, 6).await, []);
    rig.wait(8).await;
    assert_eq!(claim(&rig, &worker("v"), 0, 6).await.len(), 1);
}

/// Only the owner can renew, only under the epoch of its claim, and only what it names.
pub async fn renewing_needs_owner_and_epoch(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    append(rig.log(), &room(2), &["a"]).await;
    let mut tasks = rig.claim_all(&worker("w")).await;
    assert!(!renew(&rig, &worker("v"), &tasks[0]).await, "not its owner");
    let mixed = [tasks[0].clone(), Task { epoch: TaskEpoch(tasks[1].epoch.0 + 1), ..tasks[1].clone() }];
    assert_eq!(rig.log.renew(&worker("w"), &mixed).await.expect("renew"), [tasks[0].id.clone()]);
    assert_eq!(rig.log.renew(&worker("w"), &[]).await.expect("renew"), []);
    let strange = Task { id: TaskId("no such task".to_owned()), ..tasks[0].clone() };
    assert!(!renew(&rig, &worker("w"), &strange).await);
    // The same worker, after its own lease has lapsed: what it began under the old epoch is over.
    rig.wait(11).await;
    let again = rig.claim_all(&worker("w")).await;
    assert_eq!(again.len(), 2);
    tasks.sort_by(|a, b| a.room.cmp(&b.room));
    assert!(!renew(&rig, &worker("w"), &tasks[0]).await);
    let now = again.iter().find(|task| task.room == tasks[0].room).expect("claimed again");
    assert!(renew(&rig, &worker("w"), now).await);
}

/// While a room's task is claimed, writing to it enqueues no second one.
pub async fn appending_to_a_claimed_room_enqueues_nothing(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    rig.claim_one(&worker("w")).await;
    append(rig.log(), &room(1), &["b"]).await;
    assert_eq!(rig.claim_all(&worker("v")).await, []);
}

/// Completing removes the entries and the task; the room is then not live, and the next append enqueues it anew.
pub async fn completing_trims_and_ends(rig: StreamLogRig) {
    let appended = append(rig.log(), &room(1), &["a", "b"]).await;
    append(rig.log(), &room(2), &["other"]).await;
    let done = rig.trim(&room(1), appended[1]).await;
    assert_eq!(done, Completed::Done { trimmed: 2, left: false });
    assert!(entries(rig.log(), &room(1)).await.is_empty());
    assert_eq!(texts(&entries(rig.log(), &room(2)).await), ["other"]);
    let pending = rig.claim_all(&worker("w")).await;
    assert_eq!(pending.iter().map(|task| &task.room).collect::<Vec<_>>(), [&room(2)]);
    append(rig.log(), &room(1), &["c"]).await;
    assert_eq!(rig.claim_one(&worker("w")).await.room, room(1));
}

/// What stands after `upto` stays, however old; a new task is pending for it, which waits for the debounce again.
pub async fn completing_trims_only_upto(rig: StreamLogRig) {
    let appended = append(rig.log(), &room(1), &["a", "b", "c"]).await;
    rig.wait(5).await;
    let first = rig.claim_one(&worker("w")).await;
    let done = rig.log.complete(&worker("w"), &first, appended[1], rig.ticks(2)).await.expect("complete");
    assert_eq!(done, Completed::Done { trimmed: 2, left: true });
    assert_eq!(clocks(rig.log(), &room(1)).await, appended[2..]);
    assert_eq!(claim(&rig, &worker("w"), 3, 10).await, [], "the new task is young");
    rig.wait(4).await;
    let [second] = <[Task; 1]>::try_from(claim(&rig, &worker("w"), 3, 10).await).expect("a new task");
    assert_ne!(second.id, first.id);
    assert!(second.epoch > first.epoch);
    assert_eq!(second.attempt, 1);
}

/// Entries younger than the minimum lifetime stay, even below `upto`.
pub async fn completing_keeps_the_young(rig: StreamLogRig) {
    let old = append(rig.log(), &room(1), &["old"]).await;
    rig.wait(10).await;
    let young = append_above(rig.log(), &room(1), &["young"], old[0]).await;
    rig.wait(3).await;
    let task = rig.claim_one(&worker("w")).await;
    let done = rig.log.complete(&worker("w"), &task, young[0], rig.ticks(6)).await.expect("complete");
    assert_eq!(done, Completed::Done { trimmed: 1, left: true });
    assert_eq!(clocks(rig.log(), &room(1)).await, young);
    // A lifetime longer than time itself keeps all.
    let task = rig.claim_one(&worker("w")).await;
    let done = rig.log.complete(&worker("w"), &task, young[0], Duration::from_secs(u64::MAX / 2000)).await.expect("complete");
    assert_eq!(done, Completed::Done { trimmed: 0, left: true });
    assert_eq!(clocks(rig.log(), &room(1)).await, young);
}

/// Whoever does not own the task under its epoch changes nothing by completing it.
pub async fn completing_needs_owner_and_epoch(rig: StreamLogRig) {
    let appended = append(rig.log(), &room(1), &["a"]).await;
    append(rig.log(), &room(2), &["b"]).await;
    let first = rig.claim_all(&worker("w")).await.into_iter().find(|task| task.room == room(1)).expect("live");
    rig.wait(11).await;
    let owned = rig.claim_all(&worker("v")).await.into_iter().find(|task| task.room == room(1)).expect("lapsed");
    let strangers = [
        (worker("w"), first.clone()),
        (worker("v"), first.clone()),
        (worker("w"), owned.clone()),
        (worker("v"), Task { epoch: TaskEpoch(owned.epoch.0 + 1), ..owned.clone() }),
        (worker("v"), Task { epoch: TaskEpoch(u64::MAX), ..owned.clone() }),
        (worker("v"), Task { id: TaskId("no such task".to_owned()), ..owned.clone() }),
        (worker("v"), Task { id: TaskId(String::new()), ..owned.clone() }),
        (worker("v"), Task { room: room(2), ..owned.clone() }),
    ];
    for (who, task) in strangers {
        let done = rig.log.complete(&who, &task, appended[0], Duration::ZERO).await.expect("complete");
        assert_eq!(done, Completed::NotOwner, "{who:?} completed {task:?}");
    }
    assert_eq!(clocks(rig.log(), &room(1)).await, appended);
    assert_eq!(texts(&entries(rig.log(), &room(2)).await), ["b"]);
    assert!(renew(&rig, &worker("v"), &owned).await, "the owner still owns it");
    let done = rig.log.complete(&worker("v"), &owned, appended[0], Duration::ZERO).await.expect("complete");
    assert_eq!(done, Completed::Done { trimmed: 1, left: false });
}

/// Completing a second time is somebody else's task: none.
pub async fn completing_twice_does_it_once(rig: StreamLogRig) {
    let appended = append(rig.log(), &room(1), &["a", "b"]).await;
    rig.wait(2).await;
    let task = rig.claim_one(&worker("w")).await;
    let (w, zero) = (worker("w"), Duration::ZERO);
    let first = rig.log.complete(&w, &task, appended[0], zero).await.expect("complete");
    assert_eq!(first, Completed::Done { trimmed: 1, left: true });
    let second = rig.log.complete(&w, &task, appended[1], zero).await.expect("complete");
    assert_eq!(second, Completed::NotOwner);
    assert_eq!(clocks(rig.log(), &room(1)).await, appended[1..]);
    assert_eq!(rig.claim_all(&w).await.len(), 1, "one task, for what is left");
}

/// What is given back may be claimed at once, whatever the debounce, and by anybody.
pub async fn giving_back_frees_at_once(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    let first = rig.claim_one(&worker("w")).await;
    rig.log.give_back(&worker("w"), &first, Duration::ZERO).await.expect("give back");
    assert!(!renew(&rig, &worker("w"), &first).await, "it is nobody's");
    let [second] = <[Task; 1]>::try_from(claim(&rig, &worker("v"), 1_000, 1_000).await).expect("it is free");
    assert_eq!((&second.room, second.attempt), (&room(1), 2));
    assert!(second.epoch > first.epoch);
}

/// Whoever does not own the task under its epoch changes nothing by giving it back.
pub async fn giving_back_needs_owner_and_epoch(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    let task = rig.claim_one(&worker("w")).await;
    rig.log.give_back(&worker("v"), &task, Duration::ZERO).await.expect("give back");
    let stale = Task { epoch: TaskEpoch(task.epoch.0 - 1), ..task.clone() };
    rig.log.give_back(&worker("w"), &stale, Duration::ZERO).await.expect("give back");
    assert_eq!(claim(&rig, &worker("v"), 0, 10).await, []);
    assert!(renew(&rig, &worker("w"), &task).await);
}

/// What is given back for later waits for that time and no longer, whatever the debounce, and may then be claimed by anybody.
pub async fn giving_back_for_later_waits(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    append(rig.log(), &room(2), &["a"]).await;
    let tasks = rig.log.claim(&worker("w"), 2, Duration::ZERO, rig.ticks(1_000)).await.expect("claim");
    let first = tasks.iter().find(|task| task.room == room(1)).expect("both");
    rig.log.give_back(&worker("w"), first, rig.ticks(20)).await.expect("give back");
    assert!(!renew(&rig, &worker("w"), first).await, "it is nobody's");
    assert_eq!(claim(&rig, &worker("v"), 0, 1_000).await, []);
    rig.wait(4).await;
    assert_eq!(claim(&rig, &worker("v"), 0, 1_000).await, []);
    append(rig.log(), &room(1), &["b"]).await;
    assert_eq!(claim(&rig, &worker("v"), 0, 1_000).await, [], "writing does not shorten it");
    rig.wait(18).await;
    let [second] = <[Task; 1]>::try_from(claim(&rig, &worker("v"), 1_000, 1_000).await).expect("its time has come");
    assert_eq!((&second.id, &second.room, second.attempt), (&first.id, &room(1), 2));
    assert!(second.epoch > first.epoch);
    // The next claim is like any other: its lease counts from now.
    assert_eq!(claim(&rig, &worker("u"), 0, 1_000).await, []);
    assert!(renew(&rig, &worker("v"), &second).await);
}

/// Whoever does not own the task under its epoch cannot put it off either.
pub async fn giving_back_for_later_needs_owner_and_epoch(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    let task = rig.claim_one(&worker("w")).await;
    rig.log.give_back(&worker("w"), &task, Duration::ZERO).await.expect("give back");
    rig.log.give_back(&worker("w"), &task, rig.ticks(1_000)).await.expect("give back");
    let again = rig.claim_one(&worker("w")).await;
    rig.log.give_back(&worker("w"), &task, rig.ticks(1_000)).await.expect("give back");
    rig.log.give_back(&worker("v"), &again, rig.ticks(1_000)).await.expect("give back");
    assert!(renew(&rig, &worker("w"), &again).await);
}

/// A room whose task waits for later is completed and enqueued anew like any other once it is claimed.
pub async fn what_waited_is_like_any_other(rig: StreamLogRig) {
    let appended = append(rig.log(), &room(1), &["a", "b"]).await;
    let first = rig.claim_one(&worker("w")).await;
    rig.log.give_back(&worker("w"), &first, rig.ticks(2)).await.expect("give back");
    rig.wait(4).await;
    let task = rig.claim_one(&worker("w")).await;
    let done = rig.log.complete(&worker("w"), &task, appended[0], Duration::ZERO).await.expect("complete");
    assert_eq!(done, Completed::Done { trimmed: 1, left: true });
    assert_eq!(claim(&rig, &worker("w"), 6, 10).await, [], "the new task waits for the debounce");
    rig.wait(7).await;
    assert_eq!(claim(&rig, &worker("w"), 6, 10).await.len(), 1);
}

/// Once an epoch is known from elsewhere, every later claim of that room is above it; a lower one changes nothing.
pub async fn raised_epochs_are_exceeded(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    append(rig.log(), &room(2), &["a"]).await;
    let tasks = rig.claim_all(&worker("w")).await;
    let of = |tasks: &[Task], n: usize| tasks.iter().find(|task| task.room == room(n)).expect("both").clone();
    let known = TaskEpoch(of(&tasks, 1).epoch.0 + 1_000_000);
    rig.log.raise_epoch(&room(1), known).await.expect("raise");
    assert!(renew(&rig, &worker("w"), &of(&tasks, 1)).await, "who has claimed it owns it still");
    for task in &tasks {
        rig.log.give_back(&worker("w"), task, Duration::ZERO).await.expect("give back");
    }
    let tasks = rig.claim_all(&worker("w")).await;
    assert!(of(&tasks, 1).epoch > known);
    assert!(renew(&rig, &worker("w"), &of(&tasks, 1)).await);
    // A lower one, and the same one, lower nothing.
    let mut last = of(&tasks, 1);
    for known in [TaskEpoch(0), TaskEpoch(5), known, last.epoch] {
        rig.log.raise_epoch(&room(1), known).await.expect("raise");
        rig.log.give_back(&worker("w"), &last, Duration::ZERO).await.expect("give back");
        let task = rig.claim_one(&worker("w")).await;
        assert!(task.epoch > last.epoch, "{:?} after {:?}", task.epoch, last.epoch);
        last = task;
    }
    // Of a room that nobody wrote to yet, and beyond the task that it has.
    let known = TaskEpoch(last.epoch.0 + 1_000_000);
    rig.log.raise_epoch(&room(3), known).await.expect("raise");
    assert!(entries(rig.log(), &room(3)).await.is_empty());
    assert_eq!(rig.claim_all(&worker("w")).await, [], "it is not live");
    append(rig.log(), &room(3), &["a"]).await;
    assert!(rig.claim_one(&worker("w")).await.epoch > known);
}

/// Epochs of a room grow with every claim of any of its tasks; attempts count the claims of one task.
pub async fn epochs_and_attempts_grow(rig: StreamLogRig) {
    let (mut epochs, mut ids) = (Vec::new(), HashSet::new());
    for round in 0..4 {
        let appended = append(rig.log(), &room(1), &["a"]).await;
        rig.wait(2).await;
        for attempt in 1..=3 {
            let task = rig.claim_one(&worker(&format!("{round} {attempt}"))).await;
            assert_eq!(task.attempt, attempt);
            assert_eq!(ids.insert(task.id.clone()), attempt == 1, "a name in another task");
            epochs.push(StreamClock::new(task.epoch.0, 0));
            let owner = worker(&format!("{round} {attempt}"));
            if attempt < 3 {
                rig.log.give_back(&owner, &task, Duration::ZERO).await.expect("give back");
            } else {
                let done = rig.log.complete(&owner, &task, appended[0], Duration::ZERO).await.expect("complete");
                assert_eq!(done, Completed::Done { trimmed: 1, left: false });
            }
        }
    }
    assert_ascending(&epochs);
}

/// Workers that claim at the same time get different tasks, and together all.
pub async fn workers_share_no_task(rig: StreamLogRig) {
    const ROOMS: usize = 60;
    for n in 0..ROOMS {
        append(rig.log(), &room(n), &["a"]).await;
    }
    let lease = rig.ticks(1_000);
    let workers = (0..8).map(|n| {
        let log = rig.log.clone();
        tokio::spawn(async move {
            let (who, mut own) = (worker(&n.to_string()), Vec::new());
            loop {
                let tasks = log.claim(&who, 3, Duration::ZERO, lease).await.expect("claim");
                if tasks.is_empty() {
                    return own;
                }
                own.extend(tasks.into_iter().map(|task| task.room));
            }
        })
    });
    let mut claimed = Vec::new();
    for own in join_all(workers).await {
        claimed.extend(own.expect("a worker panicked"));
    }
    let rooms: HashSet<_> = claimed.iter().cloned().collect();
    assert_eq!((claimed.len(), rooms.len()), (ROOMS, ROOMS));
}

/// If time goes back far, neither a waiting task, nor a claimed one, nor one that was given back for later has to wait until
/// it has caught up.
pub async fn time_that_goes_back_strands_no_task(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a"]).await;
    append(rig.log(), &room(2), &["a"]).await;
    append(rig.log(), &room(3), &["a"]).await;
    let mut claimed = rig.log.claim(&worker("dead"), 2, Duration::ZERO, rig.ticks(6)).await.expect("claim");
    let put_off = claimed.pop().expect("two");
    assert_eq!(claimed.len(), 1);
    rig.log.give_back(&worker("dead"), &put_off, rig.ticks(6)).await.expect("give back");
    if !rig.control.set_back(Duration::from_secs(86_400)).await {
        return;
    }
    rig.wait(20).await;
    let tasks = claim(&rig, &worker("w"), 6, 6).await;
    assert_eq!(tasks.len(), 3, "all may be claimed");
    let again = tasks.iter().find(|task| task.room == claimed[0].room).expect("all");
    assert!(again.epoch > claimed[0].epoch);
}

/// If time goes back far, what is persisted is trimmed all the same: nothing stays until it has caught up.
pub async fn time_that_goes_back_keeps_nothing_for_long(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["before"]).await;
    if !rig.control.set_back(Duration::from_secs(86_400)).await {
        return;
    }
    let last = append(rig.log(), &room(1), &["after"]).await[0];
    rig.wait(10).await;
    let task = rig.claim_one(&worker("w")).await;
    let done = rig.log.complete(&worker("w"), &task, last, rig.ticks(3)).await.expect("complete");
    assert_eq!(done, Completed::Done { trimmed: 2, left: false });
}

/// A claim that is dropped half way loses no task: each is claimed sooner or later, by lease if not at once.
pub async fn a_cancelled_claim_loses_no_task(rig: StreamLogRig) {
    const ROOMS: usize = 40;
    for n in 0..ROOMS {
        append(rig.log(), &room(n), &["a"]).await;
    }
    let mut chance = fastrand::Rng::with_seed(13);
    for _ in 0..ROOMS {
        let who = worker("cancelled");
        let mut claim = rig.log.claim(&who, 1, Duration::ZERO, rig.ticks(10));
        for _ in 0..chance.u64(..3) {
            if claim.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_micros(chance.u64(..300))).await;
        }
        drop(claim);
    }
    // Whatever is still under way comes before this one.
    rig.log.check().await.expect("check");
    rig.wait(11).await;
    let rooms: HashSet<_> = rig.claim_all(&worker("w")).await.into_iter().map(|task| task.room).collect();
    assert_eq!(rooms.len(), ROOMS);
}
