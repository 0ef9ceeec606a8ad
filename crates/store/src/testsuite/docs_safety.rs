//! Cases of what must never happen to documents: deletion, fences, one moment, all or nothing.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::join_all};
use yhub_core::RoomId;

use super::{
    DocStoreRig,
    docs_rows::{at, in_place_of, keys, read, store, version},
    support::room,
};
use crate::{AssetSelection, DocStore, StoreOutcome, StoreVersion, TaskEpoch, Tombstone};

fn tombstone(deleted_at_ms: i64, hard: bool, by: &str) -> Tombstone {
    Tombstone { deleted_at_ms, hard, purged_at_ms: None, by: Some(by.to_owned()) }
}

async fn put(docs: &dyn DocStore, room: &RoomId, tombstone: Tombstone) {
    docs.put_tombstone(room, tombstone, None).await.expect("put tombstone");
}

async fn tombstone_of(docs: &dyn DocStore, room: &RoomId) -> Tombstone {
    read(docs, room).await.tombstone.expect("the room was deleted")
}

/// Once a room is deleted for good, no row is stored, whatever its clock and epoch; and none is deleted by trying.
pub async fn nothing_is_stored_after_a_hard_deletion(rig: DocStoreRig) {
    let docs = rig.docs.as_ref();
    store(docs, version(&room(1), at(5, 0))).await;
    put(docs, &room(1), tombstone(100, true, "a")).await;
    let before = read(docs, &room(1)).await;
    for (clock, epoch) in [(at(6, 0), 1), (at(4, 0), 1), (at(5, 0), 1), (at(7, 0), 99), (at(8, 0), 0)] {
        let late = StoreVersion { epoch: TaskEpoch(epoch), ..in_place_of(version(&room(1), clock), &[at(5, 0)]) };
        assert_eq!(store(docs, late).await, StoreOutcome::HardDeleted, "at {clock}, epoch {epoch}");
    }
    assert_eq!(read(docs, &room(1)).await, before);
    // Other rooms, also other branches of the document, are not deleted.
    for other in [room(2), RoomId::new("org", "doc-1", "branch"), RoomId::new("org2", "doc-1", "main")] {
        assert_eq!(store(docs, version(&other, at(6, 0))).await, StoreOutcome::Stored, "in {other}");
    }
}

/// A room whose content is kept takes rows as before.
pub async fn a_soft_deletion_bars_nothing(rig: DocStoreRig) {
    let docs = rig.docs.as_ref();
    store(docs, version(&room(1), at(5, 0))).await;
    put(docs, &room(1), tombstone(100, false, "a")).await;
    let new = in_place_of(version(&room(1), at(6, 0)), &[at(5, 0)]);
    assert_eq!(store(docs, new).await, StoreOutcome::Stored);
    assert_eq!(keys(docs, &room(1)).await, ["6-0"]);
    assert_eq!(tombstone_of(docs, &room(1)).await, tombstone(100, false, "a"));
}

/// Deleting again keeps when and by whom it was deleted first.
pub async fn the_first_deletion_keeps_time_and_author(rig: DocStoreRig) {
    let docs = rig.docs.as_ref();
    put(docs, &room(1), tombstone(100, false, "first")).await;
    put(docs, &room(1), tombstone(50, false, "second")).await;
    assert_eq!(tombstone_of(docs, &room(1)).await, tombstone(100, false, "first"));
    put(docs, &room(1), tombstone(200, true, "third")).await;
    assert_eq!(tombstone_of(docs, &room(1)).await, tombstone(100, true, "first"));
    // Nobody is an author too.
    put(docs, &room(2), Tombstone { by: None, ..tombstone(i64::MIN, true, "") }).await;
    put(docs, &room(2), tombstone(7, true, "late")).await;
    assert_eq!(tombstone_of(docs, &room(2)).await, Tombstone { by: None, ..tombstone(i64::MIN, true, "") });
}

/// A hard deletion cannot be made soft.
pub async fn hard_stays_hard(rig: DocStoreRig) {
    let docs = rig.docs.as_ref();
    put(docs, &room(1), tombstone(100, true, "a")).await;
    put(docs, &room(1), tombstone(200, false, "b")).await;
    assert_eq!(tombstone_of(docs, &room(1)).await, tombstone(100, true, "a"));
    assert_eq!(store(docs, version(&room(1), at(5, 0))).await, StoreOutcome::HardDeleted);
}

/// When a room was purged can be added to its tombstone, once.
pub async fn purged_stays_purged(rig: DocStoreRig) {
    let docs = rig.docs.as_ref();
    put(docs, &room(1), tombstone(100, true, "a")).await;
    let purged = Tombstone { purged_at_ms: Some(300), ..tombstone(100, true, "a") };
    put(docs, &room(1), Tombstone { purged_at_ms: Some(300), ..tombstone(200, true, "b") }).await;
    assert_eq!(tombstone_of(docs, &room(1)).await, purged);
    put(docs, &room(1), Tombstone { purged_at_ms: Some(400), ..tombstone(200, true, "b") }).await;
    put(docs, &room(1), tombstone(200, true, "b")).await;
    assert_eq!(tombstone_of(docs, &room(1)).await, purged);
}

/// A deleted room without rows still shows its tombstone.
pub async fn a_tombstone_without_rows_is_seen(rig: DocStoreRig) {
    let docs = rig.docs.as_ref();
    put(docs, &room(1), tombstone(100, false, "a")).await;
    for wanted in [AssetSelection::ALL, AssetSelection::NONE] {
        let found = docs.read(&room(1), wanted).await.expect("read");
        assert_eq!((found.rows, found.tombstone), (Vec::new(), Some(tombstone(100, false, "a"))));
    }
    assert_eq!(read(docs, &room(2)).await.tombstone, None);
}

/// Once a claim has stored, an earlier one stores and deletes nothing; the same one may go on.
pub async fn a_later_claim_supersedes(rig: DocStoreRig) {
    let docs = rig.docs.as_ref();
    let under = |epoch, version| StoreVersion { epoch: TaskEpoch(epoch), ..version };
    let superseded = |by| StoreOutcome::Superseded { by: TaskEpoch(by) };
    assert_eq!(store(docs, under(5, version(&room(1), at(1, 0)))).await, StoreOutcome::Stored);
    assert_eq!(store(docs, under(5, version(&room(1), at(2, 0)))).await, StoreOutcome::Stored);
    let late = under(4, in_place_of(version(&room(1), at(3, 0)), &[at(1, 0), at(2, 0)]));
    assert_eq!(store(docs, late.clone()).await, superseded(5));
    assert_eq!(keys(docs, &room(1)).await, ["1-0", "2-0"]);
    assert_eq!(store(docs, under(4, version(&room(1), at(2, 0)))).await, superseded(5), "also if it is there");
    assert_eq!(store(docs, under(6, late)).await, StoreOutcome::Stored);
    assert_eq!(store(docs, under(5, version(&room(1), at(9, 0)))).await, superseded(6));
    // Finding its row there counts as having stored.
    assert_eq!(store(docs, under(8, version(&room(1), at(3, 0)))).await, StoreOutcome::AlreadyThere);
    assert_eq!(store(docs, under(7, version(&room(1), at(9, 0)))).await, superseded(8));
    assert_eq!(keys(docs, &room(1)).await, ["3-0"]);
}

/// The epochs of one room say nothing of another.
pub async fn the_fence_is_of_one_room(rig: DocStoreRig) {
    let docs = rig.docs.as_ref();
    store(docs, StoreVersion { epoch: TaskEpoch(1_000), ..version(&room(1), at(1, 0)) }).await;
    for other in [room(2), RoomId::new("org", "doc-1", "branch")] {
        assert_eq!(store(docs, version(&other, at(1, 0))).await, StoreOutcome::Stored, "in {other}");
    }
}

/// Readers see a room before or after a replacement, never in between: a chain of rows always has exactly one.
pub async fn readers_see_one_moment(rig: DocStoreRig) {
    const STEPS: u64 = 150;
    store(rig.docs.as_ref(), version(&room(1), at(0, 0))).await;
    let writer = {
        let docs = rig.docs.clone();
        tokio::spawn(async move {
            for step in 1..=STEPS {
                store(docs.as_ref(), in_place_of(version(&room(1), at(step, 0)), &[at(step - 1, 0)])).await;
            }
        })
    };
    let readers = (0..3).map(|_| {
        let docs = rig.docs.clone();
        tokio::spawn(async move {
            let mut last = at(0, 0);
            while last < at(STEPS, 0) {
                let found = read(docs.as_ref(), &room(1)).await.rows;
                assert_eq!(found.len(), 1, "{found:?}");
                let clock = found[0].t.parse().expect("a clock");
                assert!(clock >= last, "{clock} after {last}");
                assert_eq!(found[0].assets, version(&room(1), clock).assets.map(Some));
                last = clock;
            }
        })
    });
    join_all(readers).await.into_iter().for_each(|reader| reader.expect("a reader failed"));
    writer.await.expect("the writer failed");
}

/// A store that is dropped half way has replaced wholly or not at all, and does not disturb the next one.
pub async fn a_cancelled_store_is_whole_or_absent(rig: DocStoreRig) {
    const STEPS: usize = 60;
    let docs = rig.docs.as_ref();
    let mut chance = fastrand::Rng::with_seed(23);
    // A room for each: one that is under way may go on after it was dropped, and end when it will.
    for step in 1..=STEPS {
        store(docs, version(&room(step), at(0, 0))).await;
        let mut storing = docs.store(in_place_of(version(&room(step), at(1, 0)), &[at(0, 0)]));
        for _ in 0..chance.u64(..5) {
            if storing.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_micros(chance.u64(..500))).await;
        }
        drop(storing);
        let mut done = false;
        for _ in 0..3 {
            let now = keys(docs, &room(step)).await;
            assert!(now == ["1-0"] || (now == ["0-0"] && !done), "{now:?}");
            done = now == ["1-0"];
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        assert_eq!(store(docs, version(&room(0), at(step as u64, 0))).await, StoreOutcome::Stored);
    }
    for step in 1..=STEPS {
        // A later claim: what is still under way comes before it or not at all.
        let settling = in_place_of(version(&room(step), at(2, 0)), &[at(0, 0), at(1, 0)]);
        assert_eq!(store(docs, StoreVersion { epoch: TaskEpoch(2), ..settling }).await, StoreOutcome::Stored);
    }
    for step in 1..=STEPS {
        assert_eq!(keys(docs, &room(step)).await, ["2-0"]);
    }
}

/// However a deletion falls among stores: what is answered after it is `HardDeleted`, and no row comes after it.
pub async fn a_deletion_wins_every_race(rig: DocStoreRig) {
    for n in 0..20 {
        let writers: Vec<_> = (0..4u64)
            .map(|writer| {
                let docs: Arc<dyn DocStore> = rig.docs.clone();
                tokio::spawn(async move {
                    let mut step = 0;
                    loop {
                        step += 1;
                        match store(docs.as_ref(), version(&room(n), at(step, writer))).await {
                            StoreOutcome::Stored => {}
                            StoreOutcome::HardDeleted => return,
                            other => panic!("{other:?}"),
                        }
                    }
                })
            })
            .collect();
        put(rig.docs.as_ref(), &room(n), tombstone(1, true, "a")).await;
        let at_deletion = keys(rig.docs.as_ref(), &room(n)).await;
        join_all(writers).await.into_iter().for_each(|writer| writer.expect("a writer failed"));
        assert_eq!(keys(rig.docs.as_ref(), &room(n)).await, at_deletion);
    }
}

/// Claims of one room that store at the same time: once a later one was accepted, an earlier one is not.
pub async fn concurrent_claims_end_in_order(rig: DocStoreRig) {
    for n in 0..10 {
        let claims = (1..=8u64).map(|epoch| {
            let docs = rig.docs.clone();
            tokio::spawn(async move {
                let new = StoreVersion { epoch: TaskEpoch(epoch), ..version(&room(n), at(epoch, 0)) };
                (epoch, store(docs.as_ref(), new).await)
            })
        });
        let mut stored = Vec::new();
        for claim in join_all(claims).await {
            match claim.expect("a claim failed") {
                (epoch, StoreOutcome::Stored) => stored.push(at(epoch, 0).to_string()),
                (epoch, StoreOutcome::Superseded { by }) => assert!(by.0 > epoch, "{epoch} was superseded by {by:?}"),
                (_, outcome) => panic!("{outcome:?}"),
            }
        }
        assert_eq!(keys(rig.docs.as_ref(), &room(n)).await, stored);
        assert!(stored.contains(&at(8, 0).to_string()), "nobody supersedes the last");
        assert_eq!(
            store(rig.docs.as_ref(), StoreVersion { epoch: TaskEpoch(7), ..version(&room(n), at(99, 0)) }).await,
            StoreOutcome::Superseded { by: TaskEpoch(8) }
        );
    }
}
