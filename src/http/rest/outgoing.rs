//! What is on its way to those who asked for it, all of it within a budget; of each state of a document one copy.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use yhub_core::{
    Heard, RoomId, StreamClock, Variant,
    limiting::{self, Bound, Shares, Tally},
};
use yhub_documents::Documents;
use yhub_store::CacheKey;

use super::{flights::Flights, keeping::Sharer};
use crate::http::HttpError;

/// The budget is counted in pieces of so many bytes.
const PIECE_BYTES: usize = 1 << 10;

/// A document that somebody waits for or takes.
#[derive(Debug)]
pub(super) struct Held {
    /// The whole document as one update.
    pub(super) base: Bytes,
    /// The clock of its last change.
    pub(super) changed: StreamClock,
    /// Presence of the stream, each with the milliseconds at which it was appended.
    pub(super) awareness: Vec<Heard>,
    _share: Share,
}

/// A part of the budget, and of what one user may have of it; given back when dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "held, and not looked at")]
pub(super) struct Share(OwnedSemaphorePermit, limiting::Share<Sharer>);

/// What all of it may take. Cheap to clone.
#[derive(Clone)]
struct Budget {
    budget: Arc<Semaphore>,
    pieces: usize,
    /// What is sent to one user, or was brought for them, is at most half of it, so that nobody keeps all others waiting.
    of_one: Arc<Shares<Sharer>>,
    tally: Arc<Tally>,
}

impl Budget {
    fn new(budget_bytes: usize, tally: Arc<Tally>) -> Self {
        let pieces = (budget_bytes / PIECE_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let of_one = Arc::new(Shares::new(usize::MAX, (pieces / 2).max(1)));
        Self { budget: Arc::new(Semaphore::new(pieces)), pieces, of_one, tally }
    }

    fn held_bytes(&self) -> usize {
        (self.pieces - self.budget.available_permits()) * PIECE_BYTES
    }

    /// The share of so many bytes for `sharer`. What is larger than the budget goes out alone.
    fn share(&self, size_bytes: usize, sharer: &Sharer, of: impl FnOnce() -> String) -> Result<Share, HttpError> {
        let pieces = size_bytes.div_ceil(PIECE_BYTES).min(self.pieces);
        let mut of_one = self.of_one.share(sharer.clone());
        let is_theirs = of_one.set(pieces.min((self.pieces / 2).max(1)));
        let share = u32::try_from(pieces).unwrap_or(u32::MAX);
        let share = self.budget.clone().try_acquire_many_owned(share).ok().filter(|_| is_theirs);
        share.map(|share| Share(share, of_one)).ok_or_else(|| {
            self.tally.count(Bound::Answers);
            log::warn!("as much as may is being sent; {} is told to come again (`limits.answer_bytes`)", of());
            HttpError::Unavailable
        })
    }
}

/// All of them.
pub(super) struct Outgoing {
    documents: Documents,
    budget: Budget,
    state: Arc<Mutex<State>>,
    flights: Flights<Arc<Held>>,
}

#[derive(Default)]
struct State {
    /// By room, document and clock.
    held: HashMap<CacheKey, Weak<Held>>,
    /// How many loads of each document are under way.
    loading: HashMap<(RoomId, Variant), usize>,
}

impl Outgoing {
    /// Of `documents`, at most about `budget_bytes` at a time.
    pub(super) fn new(documents: Documents, budget_bytes: usize, tally: Arc<Tally>) -> Self {
        Self { documents, budget: Budget::new(budget_bytes, tally), state: Arc::default(), flights: Flights::default() }
    }

    /// How many bytes they hold now.
    pub(super) fn held_bytes(&self) -> usize {
        self.budget.held_bytes()
    }

    /// What an answer of so many bytes for `sharer` that is no document holds of the budget until it is sent.
    ///
    /// # Errors
    /// If that much is not left.
    pub(super) fn share(&self, size_bytes: usize, sharer: &Sharer) -> Result<Share, HttpError> {
        self.budget.share(size_bytes, sharer, || "who asks for an answer".into())
    }

    /// A document as it is now, or later: with everything that was written before this was called. It is brought for `sharer`, and goes
    /// to all who ask meanwhile.
    pub(super) async fn document(&self, room: &RoomId, variant: Variant, sharer: &Sharer) -> Result<Arc<Held>, HttpError> {
        let is_wanted = {
            let mut state = lock(&self.state);
            state.held.retain(|_, held| held.strong_count() > 0);
            state.loading.contains_key(&(room.clone(), variant)) || state.held.keys().any(|key| key.room == *room)
        };
        if !is_wanted {
            return self.load(room.clone(), variant, sharer.clone()).await;
        }
        // Others want it, too. One of theirs is as good only if nothing has changed since it was read.
        let changed = self.documents.changed(room).await.map_err(|error| HttpError::of_documents(&error))?;
        let key = key(room, variant, changed);
        let held = lock(&self.state).held.get(&key).and_then(Weak::upgrade);
        match held {
            Some(held) => Ok(held),
            None => self.flights.join(key, self.load(room.clone(), variant, sharer.clone()).boxed()).await,
        }
    }

    fn load(
        &self,
        room: RoomId,
        variant: Variant,
        sharer: Sharer,
    ) -> impl Future<Output = Result<Arc<Held>, HttpError>> + Send + use<> {
        let (documents, budget, state) = (self.documents.clone(), self.budget.clone(), self.state.clone());
        async move {
            let _loading = Loading::new(&state, &room, variant);
            let loaded = documents.load(&room, variant).await.map_err(|error| HttpError::of_documents(&error))?;
            let share = budget.share(loaded.base.len(), &sharer, || format!("who asks for room {room}"))?;
            let held = Arc::new(Held { base: loaded.base, changed: loaded.changed, awareness: loaded.awareness, _share: share });
            lock(&state).held.insert(key(&room, variant, held.changed), Arc::downgrade(&held));
            Ok(held)
        }
    }
}

fn key(room: &RoomId, variant: Variant, changed: StreamClock) -> CacheKey {
    let variant = if variant == Variant::Gc { "gc" } else { "nongc" };
    CacheKey { room: room.clone(), endpoint: variant.into(), arguments: vec![changed.to_string()] }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A load that is under way.
struct Loading {
    state: Arc<Mutex<State>>,
    of: (RoomId, Variant),
}

impl Loading {
    fn new(state: &Arc<Mutex<State>>, room: &RoomId, variant: Variant) -> Self {
        let of = (room.clone(), variant);
        *lock(state).loading.entry(of.clone()).or_default() += 1;
        Self { state: state.clone(), of }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let Some(count) = state.loading.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                state.loading.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use async_trait::async_trait;
    use futures_util::future::join_all;
    use yhub_core::Author;
    use yhub_documents::Writer;
    use yhub_store::{
        AssetSelection, AuditRecord, DocStore, DocStoreError, StoreOutcome, StoreVersion, StoredRoom, Tombstone, TombstoneOutcome,
    };
    use yhub_testkit::TextWriter;

    use super::*;
    use crate::{Config, Stores};

    /// Counts the reads that bring documents, which take a moment.
    struct Counting {
        inner: Arc<dyn DocStore>,
        documents: AtomicUsize,
    }

    #[async_trait]
    impl DocStore for Counting {
        async fn read_upto(&self, room: &RoomId, assets: AssetSelection, upto_ms: u64) -> Result<StoredRoom, DocStoreError> {
            if assets != AssetSelection::NONE {
                self.documents.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.inner.read_upto(room, assets, upto_ms).await
        }

        async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError> {
            self.inner.store(version).await
        }

        async fn put_tombstone(
            &self,
            room: &RoomId,
            tombstone: Tombstone,
            audit: Option<&AuditRecord>,
        ) -> Result<TombstoneOutcome, DocStoreError> {
            self.inner.put_tombstone(room, tombstone, audit).await
        }

        async fn check(&self) -> Result<(), DocStoreError> {
            self.inner.check().await
        }
    }

    struct Rig {
        documents: Documents,
        store: Arc<Counting>,
        _dir: tempfile::TempDir,
    }

    impl Rig {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let config = Config::for_testing(dir.path());
            let stores = Stores::open(&config).await.unwrap();
            let store = Arc::new(Counting { inner: stores.docs.clone(), documents: AtomicUsize::new(0) });
            let documents = Stores { docs: store.clone(), ..stores }.documents(&config).unwrap();
            Self { documents, store, _dir: dir }
        }

        async fn write(&self, room: &RoomId, update: &[u8]) {
            let author = Author { user: "ann".into(), custom: Vec::new() };
            let writer = Writer { author, at_ms: 1, unless_changed_since: None };
            self.documents.patch(room, Bytes::copy_from_slice(update), writer).await.unwrap();
        }
    }

    fn user(name: &str) -> Sharer {
        Sharer::User(name.into())
    }

    #[actix_web::test]
    async fn who_asks_for_the_same_shares_it_and_nobody_gets_an_older_one() {
        let (rig, room) = (Rig::new().await, RoomId::new("o", "d", "main"));
        let mut writer = TextWriter::new(7);
        let first = writer.append("first");
        rig.write(&room, &first).await;
        let outgoing = Outgoing::new(rig.documents.clone(), 1 << 20, Arc::default());
        let before = rig.store.documents.load(Ordering::Relaxed);
        let ann = user("ann");
        let all = join_all((0..20).map(|_| outgoing.document(&room, Variant::Gc, &ann))).await;
        let loads = rig.store.documents.load(Ordering::Relaxed) - before;
        assert!(loads <= 2, "{loads} loads for twenty");
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        assert!(all.iter().all(|held| held.base == first));
        // Still being sent, and still right: nobody reads it again.
        let again = outgoing.document(&room, Variant::Gc, &user("ann")).await.unwrap();
        assert!(all.iter().any(|held| Arc::ptr_eq(held, &again)));
        assert_eq!(rig.store.documents.load(Ordering::Relaxed) - before, loads);
        let second = writer.append("second");
        rig.write(&room, &second).await;
        let newer = outgoing.document(&room, Variant::Gc, &user("ann")).await.unwrap();
        assert_eq!(newer.base, yhub_content::merge(&[first, second]).unwrap());
        drop((all, again, newer));
        outgoing.document(&room, Variant::Gc, &user("ann")).await.unwrap();
        assert_eq!(lock(&outgoing.state).held.len(), 1, "what was sent is let go of");
    }

    #[actix_web::test]
    async fn what_is_being_sent_is_bounded() {
        let (rig, outgoing_of) = (Rig::new().await, |docid: &str| RoomId::new("o", docid, "main"));
        for docid in ["a", "b", "large"] {
            let size = if docid == "large" { 2_000_000 } else { 600_000 };
            rig.write(&outgoing_of(docid), &TextWriter::new(7).append(&"x".repeat(size))).await;
        }
        let outgoing = Outgoing::new(rig.documents.clone(), 1 << 20, Arc::default());
        let held = outgoing.document(&outgoing_of("a"), Variant::Gc, &user("ann")).await.unwrap();
        for docid in ["b", "large"] {
            assert_eq!(
                outgoing.document(&outgoing_of(docid), Variant::Gc, &user("ann")).await.unwrap_err(),
                HttpError::Unavailable,
                "{docid}"
            );
        }
        drop(held);
        for docid in ["b", "large"] {
            assert!(outgoing.document(&outgoing_of(docid), Variant::Gc, &user("ann")).await.is_ok(), "{docid} alone");
        }
    }

    #[actix_web::test]
    async fn one_user_is_sent_half_of_it_at_most() {
        let (rig, room) = (Rig::new().await, |docid: &str| RoomId::new("o", docid, "main"));
        for docid in ["a", "b", "c"] {
            rig.write(&room(docid), &TextWriter::new(7).append(&"x".repeat(600_000))).await;
        }
        let outgoing = Outgoing::new(rig.documents.clone(), 3 << 20, Arc::default());
        let ask = async |docid: &str, name: &str| outgoing.document(&room(docid), Variant::Gc, &user(name)).await;
        let held = (ask("a", "ann").await.unwrap(), ask("b", "ann").await.unwrap());
        assert_eq!(ask("c", "ann").await.unwrap_err(), HttpError::Unavailable);
        assert!(outgoing.share(600_000, &user("ann")).is_err());
        // What is on its way to somebody goes to all who ask.
        assert!(ask("a", "ann").await.is_ok());
        let others = (ask("c", "bob").await.unwrap(), outgoing.share(600_000, &user("bob")).unwrap());
        drop(held);
        assert!(outgoing.share(600_000, &user("ann")).is_ok());
        drop(others);
    }
}
