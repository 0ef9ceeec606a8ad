//! Long documents: few are in hand at a time, none is read before its turn, and short ones do not wait for them.

#![expect(clippy::unwrap_used, reason = "in a test")]

#[path = "support/mod.rs"]
mod support;

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{sync::Semaphore, task::JoinHandle};
use yhub_content::{ContentMap, content_ids, history::ActivityQuery};
use yhub_core::{
    Asset, AssetId, AssetIdKind, RoomId, StreamClock, StreamMessage, Variant,
    limiting::{Bound, Tally},
};
use yhub_documents::{
    Compacted, ComputeError, ComputePool, Documents, DocumentsBounds, DocumentsError, DocumentsParts, TurnLimits,
};
use yhub_store::{
    Allowance, Append, Asset4, AssetKind, AssetPlugins, AssetSelection, AssetStore, AssetStoreError, AuditRecord, Branches,
    Brought, DocStore, DocStoreError, ScanPage, StoreOutcome, StoreVersion, Stored, StoredObject, StoredRoom, Task, TaskEpoch,
    Tombstone, TombstoneOutcome, WorkerId, testsuite::MemoryAssets,
};
use yhub_testkit::{until, within};

use support::{LEASE, Rig, write};

/// From so many bytes on a document is long.
const LONG_BYTES: u64 = 8 << 20;
/// So many long ones may be in hand.
const AT_ONCE: usize = 2;

/// What was brought, and who waits for more than a short document has.
struct Watch {
    /// How many bytes each read was allowed, and how many it brought.
    reads: Mutex<Vec<(u64, u64)>>,
    arrived: Semaphore,
    open: Semaphore,
}

impl Watch {
    /// Lets everybody through.
    fn open() -> Arc<Self> {
        let closed = Self::closed();
        closed.open.add_permits(1_000);
        closed
    }

    fn closed() -> Arc<Self> {
        Arc::new(Self { reads: Mutex::default(), arrived: Semaphore::new(0), open: Semaphore::new(0) })
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }

    fn note(&self, allowed: u64, brought: u64) {
        self.reads.lock().unwrap().push((allowed, brought));
    }

    /// The reads that brought more than a short document has, and the most that those together brought that might bring no more.
    fn long_and_short(&self) -> (usize, u64) {
        let reads = self.reads.lock().unwrap();
        let of_long = reads.iter().filter(|(_, brought)| *brought >= LONG_BYTES).count();
        (of_long, reads.iter().filter(|(allowed, _)| *allowed < LONG_BYTES).map(|(_, brought)| brought).sum())
    }

    async fn wait_for(&self, count: usize) {
        until("somebody to read a long document", async || (self.arrived.available_permits() >= count).then_some(())).await;
    }
}

/// A document store of which long reads are watched.
struct WatchedDocs(Arc<dyn DocStore>, Arc<Watch>);

#[async_trait]
impl DocStore for WatchedDocs {
    async fn read_upto(&self, room: &RoomId, assets: AssetSelection, upto_ms: u64) -> Result<StoredRoom, DocStoreError> {
        self.0.read_upto(room, assets, upto_ms).await
    }

    async fn read_within(
        &self,
        room: &RoomId,
        assets: AssetSelection,
        upto_ms: u64,
        max_bytes: u64,
    ) -> Result<Brought<StoredRoom>, DocStoreError> {
        if max_bytes >= LONG_BYTES {
            self.1.pass().await;
        }
        let found = self.0.read_within(room, assets, upto_ms, max_bytes).await?;
        self.1.note(max_bytes, if let Brought::Whole(room) = &found { room.size_bytes() } else { 0 });
        Ok(found)
    }

    async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError> {
        self.0.store(version).await
    }

    async fn put_tombstone(
        &self,
        room: &RoomId,
        tombstone: Tombstone,
        audit: Option<&AuditRecord>,
    ) -> Result<TombstoneOutcome, DocStoreError> {
        self.0.put_tombstone(room, tombstone, audit).await
    }

    async fn check(&self) -> Result<(), DocStoreError> {
        self.0.check().await
    }
}

/// Assets of which what is brought is watched. Those that are long wait before they are stored.
struct WatchedAssets {
    inner: MemoryAssets,
    reads: Arc<Watch>,
    stores: Arc<Watch>,
}

#[async_trait]
impl AssetStore for WatchedAssets {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn init(&self) -> Result<(), AssetStoreError> {
        Ok(())
    }

    async fn store(&self, id: &AssetId, asset: &Bytes) -> Result<Stored, AssetStoreError> {
        if asset.len() as u64 >= LONG_BYTES {
            self.stores.pass().await;
        }
        self.inner.store(id, asset).await
    }

    async fn retrieve_within(&self, id: &AssetId, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, AssetStoreError> {
        let allowed = allowance.left();
        let found = self.inner.retrieve_within(id, allowance).await?;
        self.reads.note(allowed, if let Some(Brought::Whole(asset)) = &found { asset.len() as u64 } else { 0 });
        Ok(found)
    }

    async fn delete(&self, id: &AssetId) -> Result<(), AssetStoreError> {
        self.inner.delete(id).await
    }

    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<StoredObject>, AssetStoreError> {
        self.inner.list(of, cursor, max).await
    }

    async fn check(&self) -> Result<(), AssetStoreError> {
        Ok(())
    }
}

fn room(docid: &str) -> RoomId {
    RoomId::new("org", docid, RoomId::MAIN)
}

/// The four assets of a document of one text of `len` characters.
fn assets(len: usize) -> Asset4<Bytes> {
    let update = Bytes::from(write(1, 0, &"x".repeat(len)));
    let ids = content_ids(&update).unwrap();
    let contentmap = ContentMap::attribution(&ids, Some("user"), 1_000, &[]).to_bytes().into();
    [
        Asset::YDoc { update: update.clone() },
        Asset::YDoc { update },
        Asset::ContentMap { contentmap },
        Asset::ContentIds { contentids: ids.to_bytes().into() },
    ]
    .map(|asset| asset.encode())
}

/// Stores a document as a version row; its assets where `places` says.
async fn store(rig: &Rig, places: &AssetPlugins, room: &RoomId, len: usize) {
    let (mut columns, mut is_reference) = (assets(len), [false; 4]);
    for kind in AssetKind::ALL {
        let at = kind as usize;
        let id = AssetId { kind: id_kind(kind), room: room.clone(), t: "1-0".into() };
        let column = places.store(&id, columns[at].clone()).await.unwrap();
        (columns[at], is_reference[at]) = (column.bytes, column.is_reference);
    }
    let version = StoreVersion {
        room: room.clone(),
        clock: StreamClock::new(1, 0),
        assets: columns,
        is_reference,
        replaces: Vec::new(),
        epoch: TaskEpoch(0),
    };
    assert_eq!(rig.docs.store(version).await.unwrap(), StoreOutcome::Stored);
}

fn id_kind(kind: AssetKind) -> AssetIdKind {
    match kind {
        AssetKind::GcDoc => AssetIdKind::YDoc { gc: true },
        AssetKind::NongcDoc => AssetIdKind::YDoc { gc: false },
        AssetKind::ContentMap => AssetIdKind::ContentMap,
        AssetKind::ContentIds => AssetIdKind::ContentIds,
    }
}

/// Appends a line, so that the room has a task.
async fn line(rig: &Rig, room: &RoomId) {
    let update = write(2, 0, "a line");
    let map = ContentMap::attribution(&content_ids(&update).unwrap(), Some("user"), 1_000, &[]);
    let message = StreamMessage::encode_update(&update, &map.to_bytes()).0;
    rig.log.append(Append { room: room.clone(), messages: vec![message], floor: StreamClock::new(1, 0) }).await.unwrap();
}

fn bounds(at_once: usize, waiting: usize) -> DocumentsBounds {
    let turns = TurnLimits { at_once, waiting, within: Duration::from_secs(600) };
    DocumentsBounds { loads: turns, histories: turns, ..DocumentsBounds::default() }
}

fn over(rig: &Rig, watch: &Arc<Watch>, assets: Arc<AssetPlugins>, bounds: DocumentsBounds) -> Documents {
    let store = Arc::new(WatchedDocs(rig.docs.clone(), watch.clone()));
    Documents::new(DocumentsParts { store, assets, ..rig.parts() }).bounded(bounds)
}

fn load(documents: &Documents, room: &RoomId) -> JoinHandle<Result<usize, DocumentsError>> {
    let (documents, room) = (documents.clone(), room.clone());
    tokio::spawn(async move { documents.load(&room, Variant::Gc).await.map(|loaded| loaded.base.len()) })
}

fn activity(documents: &Documents, room: &RoomId) -> JoinHandle<Result<usize, DocumentsError>> {
    let (documents, room) = (documents.clone(), room.clone());
    let query = ActivityQuery { delta: true, ..ActivityQuery::default() };
    tokio::spawn(async move { documents.activity(&room, query).await.map(|activity| activity.value.len()) })
}

fn worker() -> WorkerId {
    WorkerId("worker".into())
}

async fn claim(rig: &Rig) -> Vec<Task> {
    rig.pass();
    let mut tasks = rig.log.claim(&worker(), 100, Duration::ZERO, LEASE * 1_000).await.unwrap();
    tasks.sort_by_key(|task| task.room.clone());
    tasks
}

fn compact(documents: &Documents, task: &Task) -> JoinHandle<Compacted> {
    let (documents, task) = (documents.clone(), task.clone());
    tokio::spawn(async move { documents.compact(&worker(), &task, Duration::ZERO).await.unwrap() })
}

#[tokio::test]
async fn what_nobody_has_read_yet_is_not_read_before_its_turn() {
    let (rig, watch) = (Rig::new(), Watch::closed());
    let rooms: Vec<RoomId> = (0..6).map(|n| room(&format!("long{n}"))).collect();
    for room in &rooms {
        store(&rig, &AssetPlugins::default(), room, 9 << 20).await;
        line(&rig, room).await;
    }
    let documents = over(&rig, &watch, Arc::default(), bounds(64, 64));
    // Loads, histories and compactions alike.
    let mut tasks = claim(&rig).await;
    tasks.truncate(2);
    let reading: Vec<_> = rooms.iter().map(|room| load(&documents, room)).collect();
    let asking: Vec<_> = rooms.iter().take(2).map(|room| activity(&documents, room)).collect();
    let folding: Vec<_> = tasks.iter().map(|task| compact(&documents, task)).collect();
    let all = reading.len() + asking.len() + folding.len();
    until("all to learn how long it is", async || (watch.reads.lock().unwrap().len() == all).then_some(())).await;
    watch.wait_for(AT_ONCE).await;
    assert_eq!((watch.arrived.available_permits(), watch.long_and_short()), (AT_ONCE, (0, 0)), "what waits holds nothing");
    for done in 1..=all {
        watch.open.add_permits(1);
        until("one to be read", async || (watch.long_and_short().0 == done).then_some(())).await;
    }
    for read in reading.into_iter().chain(asking) {
        assert!(within("a long document", read).await.unwrap().unwrap() > 0);
    }
    for folded in folding {
        assert!(matches!(within("a long document", folded).await.unwrap(), Compacted::Stored { .. }));
    }
    assert_eq!((watch.arrived.available_permits(), watch.long_and_short()), (all, (all, 0)), "each was read once");
}

#[tokio::test]
async fn assets_outside_their_rows_are_not_brought_before_the_turn_of_their_document() {
    let (rig, docs, reads) = (Rig::new(), Watch::closed(), Watch::open());
    let places =
        WatchedAssets { inner: MemoryAssets::new("Memory:v1", Branches::All), reads: reads.clone(), stores: Watch::open() };
    let places = Arc::new(AssetPlugins::new(vec![Arc::new(places)], Duration::ZERO));
    // Each of the two is short, but not both.
    let (long, both, short) = (room("long"), room("both"), room("short"));
    for (room, len) in [(&long, 9 << 20), (&both, 5 << 20), (&short, 100)] {
        store(&rig, &places, room, len).await;
        line(&rig, room).await;
    }
    let documents = over(&rig, &docs, places, bounds(64, 64));
    let tasks = claim(&rig).await;
    let reading = load(&documents, &long);
    let folding = compact(&documents, &tasks[0]);
    assert_eq!((&tasks[0].room, &tasks[1].room), (&both, &long));
    docs.wait_for(2).await;
    let (of_long, of_short) = reads.long_and_short();
    assert!(of_long == 0 && of_short < LONG_BYTES, "{of_short} bytes were brought before their turn");
    assert!(load(&documents, &short).await.unwrap().unwrap() > 0);
    docs.open.add_permits(2);
    assert!(within("a long document", reading).await.unwrap().unwrap() > 9 << 20);
    assert!(matches!(within("a long document", folding).await.unwrap(), Compacted::Stored { .. }));
}

#[tokio::test]
async fn a_long_stream_is_not_read_before_its_turn() {
    let (rig, watch) = (Rig::new(), Watch::closed());
    for n in 0..5 {
        rig.write(&write(1 + n, 0, &"x".repeat(2 << 20)), "user").await;
    }
    let documents = over(&rig, &watch, Arc::default(), bounds(1, 8));
    let reading = load(&documents, &rig.room);
    watch.wait_for(1).await;
    assert!(watch.reads.lock().unwrap().is_empty(), "nobody asks for rows to a stream that is long already");
    assert!(within("a look at the stream", documents.changed(&rig.room)).await.unwrap() > StreamClock::ZERO);
    watch.open.add_permits(1);
    assert!(within("a long document", reading).await.unwrap().unwrap() > 10 << 20);
}

#[tokio::test]
async fn short_ones_never_wait_behind_long_ones() {
    let (rig, watch) = (Rig::new(), Watch::closed());
    let (long, short) = (room("long"), room("short"));
    store(&rig, &AssetPlugins::default(), &long, 9 << 20).await;
    store(&rig, &AssetPlugins::default(), &short, 20_000).await;
    // One ordinary turn of each kind, and nobody may wait for it; for long ones four may.
    let tally = Arc::<Tally>::default();
    let documents = over(&rig, &watch, Arc::default(), DocumentsBounds { tally: tally.clone(), ..bounds(1, 4) });
    let mut waiting = Vec::new();
    for n in 1..=AT_ONCE + 4 {
        waiting.push(load(&documents, &long));
        until("it to learn how long it is", async || (watch.reads.lock().unwrap().len() == n).then_some(())).await;
    }
    let too_many = within("an answer", documents.load(&long, Variant::Gc)).await.unwrap_err();
    assert!(matches!(too_many, DocumentsError::Busy { bound: Bound::Loads, .. }), "{too_many}");
    assert_eq!(tally.of(Bound::Loads), 1);
    // Histories wait apart from loads.
    let mut asking = Vec::new();
    for n in 1..=4 {
        let before = AT_ONCE + 5;
        asking.push(activity(&documents, &long));
        until("it to learn how long it is", async || (watch.reads.lock().unwrap().len() == before + n).then_some(())).await;
    }
    let too_many = within("an answer", activity(&documents, &long)).await.unwrap().unwrap_err();
    assert!(matches!(too_many, DocumentsError::Busy { bound: Bound::Histories, .. }), "{too_many}");
    for _ in 0..3 {
        assert!(within("a short document", load(&documents, &short)).await.unwrap().unwrap() > 20_000);
        assert!(within("a short history", activity(&documents, &short)).await.unwrap().unwrap() > 0);
        assert!(within("a look", documents.changed(&short)).await.unwrap() > StreamClock::ZERO);
        assert!(within("a look", documents.changed(&long)).await.unwrap() > StreamClock::ZERO);
    }
    watch.open.add_permits(100);
    for read in waiting.into_iter().chain(asking) {
        within("a long document", read).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn who_waits_for_a_long_one_is_answered_in_time() {
    let (rig, watch) = (Rig::new(), Watch::closed());
    let (long, short) = (room("long"), room("short"));
    store(&rig, &AssetPlugins::default(), &long, 9 << 20).await;
    store(&rig, &AssetPlugins::default(), &short, 100).await;
    let turns = TurnLimits { at_once: 64, waiting: 64, within: Duration::from_millis(20) };
    let documents = over(&rig, &watch, Arc::default(), DocumentsBounds { loads: turns, ..DocumentsBounds::default() });
    let held = [load(&documents, &long), load(&documents, &long)];
    watch.wait_for(AT_ONCE).await;
    let busy = within("an answer", documents.load(&long, Variant::Gc)).await.unwrap_err();
    assert!(matches!(busy, DocumentsError::Busy { bound: Bound::Loads, .. }), "{busy}");
    watch.open.add_permits(2);
    for held in held {
        held.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_holds_no_turn_at_long_documents() {
    let (rig, stores) = (Rig::new(), Watch::closed());
    let places =
        WatchedAssets { inner: MemoryAssets::new("Memory:v1", Branches::All), reads: Watch::open(), stores: stores.clone() };
    let places = Arc::new(AssetPlugins::new(vec![Arc::new(places)], Duration::ZERO));
    let rooms: Vec<RoomId> = (0..6).map(|n| room(&format!("long{n}"))).collect();
    let short = room("short");
    for room in rooms.iter().chain([&short]) {
        store(&rig, &AssetPlugins::default(), room, if *room == short { 100 } else { 9 << 20 }).await;
        line(&rig, room).await;
    }
    let docs = Watch::open();
    let documents = over(&rig, &docs, places, bounds(64, 64));
    let tasks = claim(&rig).await;
    assert_eq!((tasks.len(), &tasks[6].room), (7, &short));
    let mut folding = vec![compact(&documents, &tasks[0]), compact(&documents, &tasks[1])];
    // Two assets each: with and without what was deleted.
    stores.wait_for(4).await;
    folding.extend([compact(&documents, &tasks[2]), compact(&documents, &tasks[3])]);
    // Each of the first two has read twice.
    until("two to wait", async || (docs.reads.lock().unwrap().len() == 6).then_some(())).await;
    for room in &rooms {
        assert!(within("a long document", load(&documents, room)).await.unwrap().unwrap() > 9 << 20);
    }
    assert_eq!(within("a compaction that is not to wait", compact(&documents, &tasks[4])).await.unwrap(), Compacted::Postponed);
    assert_eq!(within("another", compact(&documents, &tasks[5])).await.unwrap(), Compacted::Postponed);
    let folded = within("a short compaction", compact(&documents, &tasks[6])).await.unwrap();
    assert!(matches!(folded, Compacted::Stored { .. }), "{folded:?}");
    stores.open.add_permits(100);
    for folded in folding {
        let folded = within("a long compaction", folded).await.unwrap();
        assert!(matches!(folded, Compacted::Stored { .. }), "{folded:?}");
    }
    // What was postponed comes again.
    let again = claim(&rig).await;
    assert_eq!(again.iter().map(|task| &task.room).collect::<Vec<_>>(), [&rooms[4], &rooms[5]]);
    for task in &again {
        assert!(matches!(within("a long compaction", compact(&documents, task)).await.unwrap(), Compacted::Stored { .. }));
    }
}

/// A pool of one thread, which is taken until what is returned is dropped.
fn taken_pool(deadline: Duration) -> (ComputePool, mpsc::Sender<()>, JoinHandle<()>) {
    let pool = ComputePool::new(1, 64, deadline).unwrap();
    let (release, wait) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel::<()>();
    let taking = tokio::spawn({
        let pool = pool.clone();
        async move {
            let job = move || {
                started.send(()).unwrap();
                let _ = wait.recv();
            };
            let _ = pool.run(job).await;
        }
    });
    let waiting = tokio::task::spawn_blocking(move || has_started.recv().unwrap());
    (pool, release, tokio::spawn(async move { (waiting.await.unwrap(), drop(taking)).0 }))
}

#[tokio::test]
async fn a_turn_is_given_back_when_the_work_ends_and_not_when_nobody_waits_for_it() {
    let rig = Rig::new();
    let (long, short) = (room("long"), room("short"));
    store(&rig, &AssetPlugins::default(), &long, 9 << 20).await;
    store(&rig, &AssetPlugins::default(), &short, 20_000).await;
    let (compute, release, taken) = taken_pool(Duration::from_millis(20));
    taken.await.unwrap();
    let documents = Documents::new(DocumentsParts { compute, ..rig.parts() }).bounded(bounds(1, 0));
    let is_late = |error: &DocumentsError| matches!(error, DocumentsError::Compute { source: ComputeError::Deadline { .. }, .. });
    let is_busy = |error: &DocumentsError, bound: Bound| matches!(error, DocumentsError::Busy { bound: of, .. } if *of == bound);
    let late = documents.load(&short, Variant::Gc).await.unwrap_err();
    assert!(is_late(&late), "{late}");
    let late = activity(&documents, &short).await.unwrap().unwrap_err();
    assert!(is_late(&late), "{late}");
    // None of them runs, but both are still to.
    let busy = documents.load(&short, Variant::Gc).await.unwrap_err();
    assert!(is_busy(&busy, Bound::Loads), "{busy}");
    let busy = activity(&documents, &short).await.unwrap().unwrap_err();
    assert!(is_busy(&busy, Bound::Histories), "{busy}");
    let busy = documents.in_turn(&short, 20_000, || ()).await.unwrap_err();
    assert!(is_busy(&busy, Bound::Histories), "{busy}");
    drop(release);
    until("the turns to be given back", async || documents.load(&short, Variant::Gc).await.ok()).await;
    until("the turns to be given back", async || activity(&documents, &short).await.unwrap().ok()).await;
}

#[tokio::test]
async fn a_turn_at_a_long_document_is_given_back_when_the_work_ends() {
    let rig = Rig::new();
    let long = room("long");
    store(&rig, &AssetPlugins::default(), &long, 9 << 20).await;
    line(&rig, &long).await;
    let (compute, release, taken) = taken_pool(Duration::from_millis(20));
    taken.await.unwrap();
    let documents = Documents::new(DocumentsParts { compute, ..rig.parts() }).bounded(bounds(64, 0));
    let is_late = |error: &DocumentsError| matches!(error, DocumentsError::Compute { source: ComputeError::Deadline { .. }, .. });
    let [task] = <[Task; 1]>::try_from(claim(&rig).await).unwrap();
    let failed = documents.compact(&worker(), &task, Duration::ZERO).await.unwrap_err();
    assert!(is_late(&failed.error), "{failed:?}");
    // Of a view, which has its document at hand.
    let late = documents.in_turn(&long, 9 << 20, || ()).await.unwrap_err();
    assert!(is_late(&late), "{late}");
    for busy in [
        documents.load(&long, Variant::Gc).await.unwrap_err(),
        activity(&documents, &long).await.unwrap().unwrap_err(),
        documents.in_turn(&long, 9 << 20, || ()).await.unwrap_err(),
    ] {
        assert!(matches!(busy, DocumentsError::Busy { .. }), "{busy}");
    }
    drop(release);
    until("the turns to be given back", async || documents.in_turn(&long, 9 << 20, || ()).await.ok()).await;
}
