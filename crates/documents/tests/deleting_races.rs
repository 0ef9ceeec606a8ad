//! Deletion for good while others read, compact, write, set aside and release: in every order that a seed gives.

#![expect(clippy::unwrap_used, reason = "in a test")]

mod support;
#[path = "support/turns.rs"]
mod turns;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use support::{Rig, write};
use turns::{Comes, Gate, Gated, interleave};
use yhub_content::{ContentIds, content_ids};
use yhub_core::{AssetId, RoomId, Variant};
use yhub_documents::{DeleteKind, Deleted, Documents, DocumentsError, DocumentsParts, Purged, QuarantineReason, SetAside};
use yhub_store::{
    Allowance, AssetPlugins, AssetSelection, AssetStore, AssetStoreError, Branches, Brought, DeletionStore, DocStore,
    FailureStore, Hold, QuarantineId, ScanPage, Stored, StoredObject, StreamAdmin, StreamLog, WorkerId, testsuite::MemoryAssets,
};

fn why() -> QuarantineReason {
    QuarantineReason { class: "entry".into(), signature: "s".into(), reason: "r".into(), from: None }
}

/// A place for assets of which each call is a turn, one after the other: who asks for several at once is one person all the same.
struct GatedAssets {
    inner: Arc<MemoryAssets>,
    gate: Gate,
    one: tokio::sync::Mutex<()>,
}

#[async_trait]
impl AssetStore for GatedAssets {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn init(&self) -> Result<(), AssetStoreError> {
        Ok(())
    }

    async fn store(&self, id: &AssetId, asset: &Bytes) -> Result<Stored, AssetStoreError> {
        let _one = self.one.lock().await;
        self.gate.turn().await;
        self.inner.store(id, asset).await
    }

    async fn retrieve_within(&self, id: &AssetId, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, AssetStoreError> {
        let _one = self.one.lock().await;
        self.gate.turn().await;
        self.inner.retrieve_within(id, allowance).await
    }

    /// No turn: what is discarded is deleted by nobody in particular.
    async fn delete(&self, id: &AssetId) -> Result<(), AssetStoreError> {
        self.inner.delete(id).await
    }

    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<StoredObject>, AssetStoreError> {
        let _one = self.one.lock().await;
        self.gate.turn().await;
        self.inner.list(of, cursor, max).await
    }

    async fn check(&self) -> Result<(), AssetStoreError> {
        Ok(())
    }
}

fn plugins(place: Arc<dyn AssetStore>) -> Arc<AssetPlugins> {
    Arc::new(AssetPlugins::new(vec![place], Duration::ZERO))
}

/// A room with a row, a stream that was set aside, and entries, and everything that people do to it at once.
struct World {
    rig: Rig,
    place: Arc<MemoryAssets>,
    set_aside: QuarantineId,
    /// What the room held before.
    held: Vec<Vec<u8>>,
    /// How the loads ended: whole, or deleted.
    loads: Mutex<(u32, u32)>,
    deletions: Mutex<Vec<Result<Deleted, DocumentsError>>>,
}

impl World {
    async fn new() -> Arc<Self> {
        let mut rig = Rig::new();
        let place = Arc::new(MemoryAssets::new("memory:v1", Branches::All));
        rig.assets = plugins(place.clone());
        let held: Vec<_> = (7..10).map(|client| write(client, 0, "held")).collect();
        rig.write(&held[0], "ann").await;
        rig.compact().await.unwrap();
        rig.write(&held[1], "bob").await;
        let SetAside::Done { id: set_aside } = rig.documents().quarantine(&rig.room, why()).await.unwrap() else { panic!() };
        rig.write(&held[2], "cy").await;
        rig.pass();
        Arc::new(Self { rig, place, set_aside, held, loads: Mutex::default(), deletions: Mutex::default() })
    }

    /// Over the stores, each call a turn.
    fn documents(&self, gate: &Gate) -> Documents {
        let parts = self.rig.parts();
        let gate = || gate.clone();
        Documents::new(DocumentsParts {
            log: Arc::new(Gated::<dyn StreamLog> { inner: parts.log, gate: gate() }),
            admin: Arc::new(Gated::<dyn StreamAdmin> { inner: parts.admin, gate: gate() }),
            store: Arc::new(Gated::<dyn DocStore> { inner: parts.store, gate: gate() }),
            failures: Arc::new(Gated::<dyn FailureStore> { inner: parts.failures, gate: gate() }),
            deletions: Arc::new(Gated::<dyn DeletionStore> { inner: parts.deletions, gate: gate() }),
            assets: plugins(Arc::new(GatedAssets { inner: self.place.clone(), gate: gate(), one: Default::default() })),
            ..parts
        })
    }

    async fn delete(self: Arc<Self>, gate: Gate) {
        let deleted = self.documents(&gate).delete(&self.rig.room, DeleteKind::Hard, Some("ann"), None).await;
        self.deletions.lock().unwrap().push(deleted);
    }

    /// After a while.
    async fn hold(self: Arc<Self>, gate: Gate, turns: u64) {
        for _ in 0..turns {
            gate.turn().await;
        }
        let hold = Hold { room: self.rig.room.clone(), by: "law".into(), reason: "case 7".into(), at_ms: 1 };
        self.documents(&gate).deletions().hold(&hold, None).await.unwrap();
    }

    /// The whole document, or none.
    async fn load(self: Arc<Self>, gate: Gate, seed: u64) {
        let documents = self.documents(&gate);
        for round in 0..6 {
            match documents.load(&self.rig.room, Variant::Nongc).await {
                Ok(loaded) => {
                    let lacks = self.held.iter().filter(|update| !loaded.ids.contains_all(&ids(update))).count();
                    assert_eq!(lacks, 0, "seed {seed}, load {round} shows a part");
                    self.loads.lock().unwrap().0 += 1;
                }
                Err(DocumentsError::Deleted { .. }) => self.loads.lock().unwrap().1 += 1,
                Err(error) => panic!("seed {seed}, load {round}: {error:?}"),
            }
        }
    }

    /// Takes whatever task there is, also another's: as if that one had been stopped for longer than its lease.
    async fn compact(self: Arc<Self>, gate: Gate, name: &'static str) {
        let (documents, worker) = (self.documents(&gate), WorkerId(name.into()));
        for _ in 0..3 {
            let tasks = documents.log().claim(&worker, 1, Duration::ZERO, Duration::ZERO).await.unwrap();
            for task in &tasks {
                documents.compact(&worker, task, Duration::ZERO).await.unwrap();
            }
        }
    }

    /// Sessions of a node that has not heard of the deletion.
    async fn write(self: Arc<Self>, gate: Gate) {
        for n in 0..4 {
            gate.turn().await;
            self.rig.write(&write(100 + n, 0, "late"), "dan").await;
        }
    }

    /// Somebody who sets aside and releases, and has looked at the tombstone long ago.
    async fn meddle(self: Arc<Self>, gate: Gate) {
        gate.turn().await;
        self.rig.log.quarantine(&self.rig.room, &QuarantineId("00000000-0000-4000-8000-000000000001".into())).await.unwrap();
        gate.turn().await;
        self.rig.log.release(&self.rig.room, &self.set_aside).await.unwrap();
    }

    /// Everything is gone, whoever comes and whatever they do; what came too late goes, too.
    async fn assert_erased(&self, seed: u64) {
        let rig = &self.rig;
        for n in 0..5 {
            rig.pass();
            let worker = WorkerId(format!("last-{n}"));
            for task in rig.log.claim(&worker, 9, Duration::ZERO, support::LEASE).await.unwrap() {
                // Entries of such a room have no lifetime.
                rig.documents().compact(&worker, &task, Duration::from_secs(3_600)).await.unwrap();
            }
        }
        let stored = rig.docs.read(&rig.room, AssetSelection::NONE).await.unwrap();
        assert_eq!(stored.rows.len(), 0, "seed {seed}");
        assert_eq!(rig.entries().await, [], "seed {seed}: the stream drains");
        assert_eq!(self.place.ids(), [], "seed {seed}: no object is left");
        assert!(matches!(rig.load(Variant::Gc).await, Err(DocumentsError::Deleted { .. })), "seed {seed}");
        let first = rig.deletions.receipt(&rig.room).await.unwrap().expect("a receipt");
        assert_eq!(rig.documents().purge(&rig.room, None, None).await.unwrap(), Purged::Done(first), "seed {seed}");
        assert_eq!(rig.admin.quarantined(Some(&rig.room), None, 9).await.unwrap().items, [], "seed {seed}");
        assert_eq!(rig.docs.read(&rig.room, AssetSelection::NONE).await.unwrap().quarantined, [], "seed {seed}");
    }
}

fn ids(update: &[u8]) -> ContentIds {
    content_ids(update).unwrap()
}

#[tokio::test]
async fn a_load_shows_the_whole_document_or_none() {
    let (mut whole, mut deleted) = (0, 0);
    for seed in 0..150 {
        let world = World::new().await;
        let [a, b, c, d] = [(); 4].map(|()| world.clone());
        let people: Vec<Comes> = vec![
            Box::new(move |gate| Box::pin(a.delete(gate))),
            Box::new(move |gate| Box::pin(b.load(gate, seed))),
            Box::new(move |gate| Box::pin(c.load(gate, seed))),
            Box::new(move |gate| Box::pin(d.compact(gate, "one"))),
        ];
        interleave(seed, people).await;
        let ended = world.deletions.lock().unwrap().pop();
        assert!(matches!(ended, Some(Ok(Deleted::Erased(_)))), "seed {seed}: {ended:?}");
        let loads = *world.loads.lock().unwrap();
        (whole, deleted) = (whole + loads.0, deleted + loads.1);
        world.assert_erased(seed).await;
    }
    assert!(whole > 50 && deleted > 50, "{whole} whole, {deleted} deleted");
}

/// Two that delete, two that compact, one that writes, one that moves streams to and fro.
#[tokio::test]
async fn whatever_happens_at_once_nothing_is_left() {
    for seed in 1_000..1_150 {
        let world = World::new().await;
        let [a, b, c, d, e, f] = [(); 6].map(|()| world.clone());
        let people: Vec<Comes> = vec![
            Box::new(move |gate| Box::pin(a.delete(gate))),
            Box::new(move |gate| Box::pin(b.delete(gate))),
            Box::new(move |gate| Box::pin(c.compact(gate, "one"))),
            Box::new(move |gate| Box::pin(d.compact(gate, "other"))),
            Box::new(move |gate| Box::pin(e.write(gate))),
            Box::new(move |gate| Box::pin(f.meddle(gate))),
        ];
        interleave(seed, people).await;
        let ended = std::mem::take(&mut *world.deletions.lock().unwrap());
        for ended in ended {
            assert!(matches!(ended, Ok(Deleted::Erased(_)) | Err(DocumentsError::NotErased { .. })), "seed {seed}: {ended:?}");
        }
        world.assert_erased(seed).await;
    }
}

/// Without anybody who is late, nothing is left at the moment at which the receipt is given.
#[tokio::test]
async fn what_a_receipt_says_is_so_when_it_is_given() {
    for seed in 2_000..2_100 {
        let world = World::new().await;
        let [a, b, c] = [(); 3].map(|()| world.clone());
        let people: Vec<Comes> = vec![
            Box::new(move |gate| Box::pin(a.delete(gate))),
            Box::new(move |gate| Box::pin(b.compact(gate, "one"))),
            Box::new(move |gate| Box::pin(c.meddle(gate))),
        ];
        interleave(seed, people).await;
        // The two of them may have been last.
        let again = world.rig.documents().delete(&world.rig.room, DeleteKind::Hard, None, None).await.unwrap();
        assert!(matches!(again, Deleted::Erased(_)));
        assert_eq!(world.rig.content().await, [], "seed {seed}");
        assert_eq!(world.rig.admin.quarantined(Some(&world.rig.room), None, 9).await.unwrap().items, [], "seed {seed}");
        assert!(world.rig.rows().await.is_empty(), "seed {seed}");
    }
}

/// A hold that is put on at any moment: before the deletion is on record, everything stays; later, no receipt is written that
/// is not true.
#[tokio::test]
async fn a_hold_at_any_moment_stops_what_is_not_done() {
    let (mut kept, mut erased, mut stopped) = (0, 0, 0);
    for seed in 3_000..3_200 {
        let world = World::new().await;
        let [a, b] = [(); 2].map(|()| world.clone());
        let people: Vec<Comes> =
            vec![Box::new(move |gate| Box::pin(a.delete(gate))), Box::new(move |gate| Box::pin(b.hold(gate, seed % 40)))];
        interleave(seed, people).await;
        let rig = &world.rig;
        let stored = rig.docs.read(&rig.room, AssetSelection::NONE).await.unwrap();
        let receipt = rig.deletions.receipt(&rig.room).await.unwrap();
        let ended = world.deletions.lock().unwrap().pop().expect("it ended").unwrap();
        match (&ended, &stored.tombstone) {
            (Deleted::Held(Some(_)), None) => {
                kept += 1;
                assert_eq!((stored.rows.len(), stored.quarantined.len(), rig.content().await.len()), (1, 1, 1), "seed {seed}");
            }
            (Deleted::Held(Some(_)), Some(_)) => stopped += 1,
            (Deleted::Erased(_), Some(_)) => {
                erased += 1;
                assert!(stored.rows.is_empty() && rig.content().await.is_empty(), "seed {seed}");
            }
            other => panic!("seed {seed}: {other:?}"),
        }
        assert_eq!(receipt.is_some(), matches!(ended, Deleted::Erased(_)), "seed {seed}");
    }
    assert!(kept > 3 && erased > 3 && stopped > 3, "{kept} kept, {erased} erased, {stopped} stopped");
}
