//! One room on the embedded engines, in a directory of its own, with time that stands still until it is moved.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "in a test")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use yhub_content::{ContentIds, ContentMap, Limits, content_ids};
use yhub_core::{Asset, Loaded, ManualTime, RoomId, StreamClock, StreamMessage, Variant};
use yhub_documents::{Compacted, CompactionFailed, ComputePool, Documents, DocumentsError, DocumentsParts};
use yhub_encoding::{Any, write_var_uint};
use yhub_store::{
    Append, AssetPlugins, AssetSelection, DeletionStore, DocStore, FailureStore, LogEntry, MemoryCache, ReadLimit, ResponseCache,
    StreamAdmin, StreamLog, Task, VersionRow, WorkerId,
    faults::{DocMethod, FaultPlan, FaultyDocStore, FaultyStreamLog, LogMethod},
};
use yhub_store_sql::{EmbeddedLog, EmbeddedLogOptions, SqliteDocs, SqliteDocsOptions};

/// Long enough for every lease and every lifetime in these tests.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

pub(crate) struct Rig {
    pub(crate) log: Arc<dyn StreamLog>,
    pub(crate) docs: Arc<dyn DocStore>,
    pub(crate) failures: Arc<dyn FailureStore>,
    pub(crate) admin: Arc<dyn StreamAdmin>,
    pub(crate) deletions: Arc<dyn DeletionStore>,
    pub(crate) cache: Arc<dyn ResponseCache>,
    pub(crate) assets: Arc<AssetPlugins>,
    pub(crate) time: Arc<ManualTime>,
    pub(crate) room: RoomId,
    pub(crate) log_faults: Arc<FaultPlan<LogMethod>>,
    pub(crate) doc_faults: Arc<FaultPlan<DocMethod>>,
    compute: ComputePool,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let time = Arc::new(ManualTime::new(1_700_000_000_000));
        let log = Arc::new(EmbeddedLog::open(EmbeddedLogOptions::new(dir.path()), time.clone()).unwrap());
        let docs = Arc::new(SqliteDocs::open(SqliteDocsOptions::new(dir.path())).unwrap());
        Self {
            log: log.clone(),
            admin: log,
            docs: docs.clone(),
            failures: docs.clone(),
            deletions: docs,
            cache: Arc::new(MemoryCache::new(1 << 20, time.clone())),
            assets: Arc::default(),
            time,
            room: RoomId::new("org", "doc", RoomId::MAIN),
            log_faults: FaultPlan::new(),
            doc_faults: FaultPlan::new(),
            compute: ComputePool::new(2, 64, Duration::from_secs(60)).unwrap(),
            _dir: dir,
        }
    }

    /// Over the stores as they are.
    pub(crate) fn documents(&self) -> Documents {
        self.documents_over(self.log.clone(), self.docs.clone())
    }

    /// Over the stores with the faults of the plans.
    pub(crate) fn faulty(&self) -> Documents {
        let log = FaultyStreamLog::new(self.log.clone(), self.log_faults.clone());
        self.documents_over(Arc::new(log), Arc::new(FaultyDocStore::new(self.docs.clone(), self.doc_faults.clone())))
    }

    pub(crate) fn documents_over(&self, log: Arc<dyn StreamLog>, docs: Arc<dyn DocStore>) -> Documents {
        self.documents_of(log, docs, self.failures.clone())
    }

    pub(crate) fn documents_of(
        &self,
        log: Arc<dyn StreamLog>,
        docs: Arc<dyn DocStore>,
        failures: Arc<dyn FailureStore>,
    ) -> Documents {
        Documents::new(DocumentsParts { log, store: docs, failures, ..self.parts() })
    }

    pub(crate) fn parts(&self) -> DocumentsParts {
        DocumentsParts {
            log: self.log.clone(),
            admin: self.admin.clone(),
            store: self.docs.clone(),
            failures: self.failures.clone(),
            deletions: self.deletions.clone(),
            cache: self.cache.clone(),
            assets: self.assets.clone(),
            compute: self.compute.clone(),
            limits: Limits::default(),
        }
    }

    pub(crate) async fn append(&self, message: Bytes) -> StreamClock {
        let append = Append { room: self.room.clone(), messages: vec![message], floor: StreamClock::ZERO };
        self.log.append(append).await.unwrap()[0]
    }

    /// Appends an update of `user`, as a session would.
    pub(crate) async fn write(&self, update: &[u8], user: &str) -> StreamClock {
        let map = ContentMap::attribution(&content_ids(update).unwrap(), Some(user), 1_000, &[]);
        self.append(StreamMessage::encode_update(update, &map.to_bytes()).0).await
    }

    pub(crate) async fn load(&self, variant: Variant) -> Result<Loaded, DocumentsError> {
        self.documents().load(&self.room, variant).await
    }

    /// Time enough for every lease to lapse and every entry to be old.
    pub(crate) fn pass(&self) {
        self.time.advance(LEASE + Duration::from_secs(1));
    }

    /// The task of the room, which must be there to be claimed.
    pub(crate) async fn claim(&self, worker: &str) -> Task {
        let tasks = self.log.claim(&WorkerId(worker.into()), 10, Duration::ZERO, LEASE).await.unwrap();
        let [task] = <[Task; 1]>::try_from(tasks).expect("one task is pending");
        task
    }

    /// Claims and compacts; nothing is too young to be trimmed.
    pub(crate) async fn compact(&self) -> Result<Compacted, CompactionFailed> {
        self.pass();
        let task = self.claim("worker").await;
        self.documents().compact(&WorkerId("worker".into()), &task, Duration::ZERO).await
    }

    pub(crate) async fn rows(&self) -> Vec<VersionRow> {
        self.docs.read(&self.room, AssetSelection::ALL).await.unwrap().rows
    }

    pub(crate) async fn entries(&self) -> Vec<LogEntry> {
        let limit = ReadLimit { entries: 100_000, size_bytes: usize::MAX };
        self.log.read(&self.room, StreamClock::ZERO, limit).await.unwrap().entries
    }

    /// What of the stream says anything but that the room was deleted.
    pub(crate) async fn content(&self) -> Vec<LogEntry> {
        let tombstone = StreamMessage::encode_tombstone();
        let mut entries = self.entries().await;
        entries.retain(|entry| entry.message.as_ref().is_some_and(|message| *message != tombstone));
        entries
    }

    /// The one row that there must be.
    pub(crate) async fn row(&self) -> Row {
        let [row] = <[VersionRow; 1]>::try_from(self.rows().await).expect("one row");
        Row::open(row)
    }
}

/// A version row, opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) t: String,
    pub(crate) gc: Bytes,
    pub(crate) nongc: Bytes,
    pub(crate) map: ContentMap,
    pub(crate) ids: ContentIds,
}

impl Row {
    pub(crate) fn open(row: VersionRow) -> Self {
        let assets = row.assets.map(|asset| Asset::decode(&asset.expect("every column holds something")).unwrap());
        let [
            Asset::YDoc { update: gc },
            Asset::YDoc { update: nongc },
            Asset::ContentMap { contentmap },
            Asset::ContentIds { contentids },
        ] = assets
        else {
            panic!("other assets than should be: {assets:?}")
        };
        let (map, ids) = (ContentMap::from_bytes(&contentmap).unwrap(), ContentIds::from_bytes(&contentids).unwrap());
        Self { t: row.t, gc, nongc, map, ids }
    }
}

/// An update by `client` that writes `text` at `clock` into the root `t`, without neighbours.
pub(crate) fn write(client: u64, clock: u32, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for value in [1, 1, client, u64::from(clock), 4, 1, 1, u64::from(b't'), text.len() as u64] {
        write_var_uint(&mut out, value);
    }
    out.extend(text.bytes());
    out.push(0);
    out
}

/// An update that continues `client`'s text at `clock`: it refers to the character before.
pub(crate) fn go_on(client: u64, clock: u32, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for value in [1, 1, client, u64::from(clock)] {
        write_var_uint(&mut out, value);
    }
    // A string with a left neighbour.
    out.push(0x84);
    for value in [client, u64::from(clock - 1), text.len() as u64] {
        write_var_uint(&mut out, value);
    }
    out.extend(text.bytes());
    out.push(0);
    out
}

/// An update that deletes `len` characters of `client` from `clock` on.
pub(crate) fn delete(client: u64, clock: u32, len: u32) -> Vec<u8> {
    let mut out = vec![0];
    for value in [1, client, 1, u64::from(clock), u64::from(len)] {
        write_var_uint(&mut out, value);
    }
    out
}

/// What a document without garbage collection is that received these, in a form that is the same for the same content.
pub(crate) fn whole(updates: &[impl AsRef<[u8]>]) -> Vec<u8> {
    yhub_content::integrate_merge(updates).unwrap()
}

/// The same with garbage collection.
pub(crate) fn collected(updates: &[impl AsRef<[u8]>]) -> Vec<u8> {
    yhub_content::gc_merge(updates).unwrap()
}

/// The users to whom the insertions of `client` are attributed, character by character.
pub(crate) fn writers(map: &ContentMap, client: u64) -> Vec<String> {
    let mut writers = Vec::new();
    for (_, range, attributes) in map.inserts.iter().filter(|(of, ..)| *of == client) {
        let Some(Any::String(user)) = attributes.values("insert").next() else { panic!("{map:?}") };
        writers.extend((range.clock()..range.end()).map(|_| user.to_string()));
    }
    writers
}
