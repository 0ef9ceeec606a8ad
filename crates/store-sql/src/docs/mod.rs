//! The document store in one SQLite file, without any other service.
//!
//! Always written for power loss (`synchronous=FULL`): what a version row holds is trimmed from the stream. Operations
//! run on a small runtime of their own. They go on to their end there when a caller stops waiting or its thread ends, so
//! that no transaction is left open; and the runtimes that callers use need not allow blocking.

mod queries;

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use diesel_async::{
    AsyncConnection, SimpleAsyncConnection,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool::Pool},
};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use futures_util::FutureExt;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};
use yhub_core::{RoomId, StreamClock};
use yhub_store::{AssetSelection, DocStore, DocStoreError, StoreOutcome, StoreVersion, StoredRoom, Tombstone, VersionRow};

use self::queries::{Conn, NewVersion, StoredVersion};
use crate::{
    error::{Shared, docs_error},
    open::{FileKind, OpenError, OpenedFile, open_file},
};

const FILE: FileKind = FileKind { name: "documents.sqlite3", application_id: 0x7968_444f, migrations: MIGRATIONS };
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite/documents");

/// Options of the embedded document store.
#[derive(Clone, Debug)]
pub struct SqliteDocsOptions {
    /// The data directory; made if it is not there. The store keeps `documents.sqlite3` in it, and SQLite's files beside
    /// that.
    pub path: PathBuf,
    /// So many reads run at the same time, each on a connection of its own. Writes go one after the other on another.
    pub readers: usize,
    /// At most so many operations wait or run; beyond, a call waits for its turn.
    pub operations: usize,
    /// How long a call waits for its turn before it is [`DocStoreError::Unavailable`].
    pub wait: Duration,
}

impl SqliteDocsOptions {
    /// The defaults, in the data directory `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: 2, operations: 256, wait: Duration::from_secs(30) }
    }
}

/// Version rows and tombstones in a data directory of its own.
///
/// Rooms may have any names, also with U+0000 in them: SQLite keeps such text whole. (Other databases do not; a room of
/// that name cannot move there.) Dropping the store waits for the operations that are under way.
pub struct SqliteDocs {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    reads: Pool<Conn>,
    /// One connection: two writers of one SQLite file would only wait for one another, and less fairly.
    writes: Pool<Conn>,
    turns: Arc<Semaphore>,
    options: SqliteDocsOptions,
    at: Arc<str>,
    /// After the runtime: nobody else may open the file before it is done.
    _file: OpenedFile,
}

impl SqliteDocs {
    /// Opens the store in the data directory `options.path`, which it makes if it is not there. Blocks: reads and writes
    /// files.
    pub fn open(mut options: SqliteDocsOptions) -> Result<Self, OpenError> {
        options.readers = options.readers.max(1);
        options.operations = options.operations.clamp(1, u32::MAX as usize >> 4);
        let file = open_file(&options.path, FILE)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            // A thread for each connection, and one to open another.
            .max_blocking_threads(options.readers + 2)
            .thread_name("yhub-docs")
            .enable_time()
            .build()
            .map_err(|source| OpenError::Io { path: options.path.clone(), source })?;
        let (reads, writes) = (pool(&file.url, options.readers), pool(&file.url, 1));
        let turns = Arc::new(Semaphore::new(options.operations));
        let at = file.url.as_str().into();
        Ok(Self { runtime: Some(runtime), reads, writes, turns, options, at, _file: file })
    }

    /// Runs `operation` on our own runtime, to its end, whether or not anybody waits for it.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, DocStoreError>> + Send + 'static,
    ) -> Result<T, DocStoreError> {
        let turn = match self.turns.clone().try_acquire_owned() {
            Ok(turn) => Ok(turn),
            Err(_) => match tokio::time::timeout(self.options.wait, self.turns.clone().acquire_owned()).await {
                Ok(turn) => turn.map_err(|_| Shared::new("the document store was closed")),
                Err(_) => Err(Shared::new(format!("{} operations are waiting, which is the bound", self.options.operations))),
            },
        };
        let turn = turn.map_err(|what| docs_error(&self.at, what))?;
        let runtime = self.runtime.as_ref().expect("it is only taken when the store is dropped");
        let task = runtime.spawn(async move {
            let result = operation.await;
            drop(turn);
            result
        });
        task.await.unwrap_or_else(|panic| Err(docs_error(&self.at, Shared::new(panic))))
    }
}

impl Drop for SqliteDocs {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let (turns, all) = (self.turns.clone(), u32::try_from(self.options.operations).unwrap_or(u32::MAX));
        // On a plain thread: a runtime may not be waited for inside another one.
        let close = std::thread::Builder::new().name("yhub-docs-close".to_owned()).spawn(move || {
            // Only closing the semaphore could fail this, and nobody does.
            let _ = runtime.block_on(turns.acquire_many(all));
            drop(runtime);
        });
        if let Ok(close) = close {
            let _ = close.join();
        }
    }
}

fn pool(url: &str, size: usize) -> Pool<Conn> {
    let mut config = ManagerConfig::<Conn>::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(|url| {
        async move {
            let mut conn = Conn::establish(url).await?;
            for pragma in ["PRAGMA busy_timeout = 5000", "PRAGMA synchronous = FULL", "PRAGMA journal_size_limit = 67108864"] {
                conn.batch_execute(pragma).await.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            }
            Ok(conn)
        }
        .boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config(url, config);
    Pool::builder(manager).max_size(size).build().expect("a pool without timeouts needs no runtime")
}

/// Why a transaction ended without a result.
enum Stop {
    /// It must be taken back: nothing is to change.
    Outcome(StoreOutcome),
    Sql(diesel::result::Error),
}

impl From<diesel::result::Error> for Stop {
    fn from(error: diesel::result::Error) -> Self {
        Self::Sql(error)
    }
}

async fn store(conn: &mut Conn, version: &StoreVersion) -> Result<StoreOutcome, Stop> {
    let room = &version.room;
    let t = version.clock.to_string();
    // Epochs are times or counters; one that does not fit is as high as can be.
    let epoch = i64::try_from(version.epoch.0).unwrap_or(i64::MAX);
    let superseded = !queries::raise_fence(conn, room, epoch).await?;
    let new = NewVersion {
        room,
        t: &t,
        created_ms: i64::try_from(version.clock.ms).unwrap_or(i64::MAX),
        assets: version.assets.each_ref().map(|asset| &asset[..]),
        is_reference: version.is_reference,
    };
    let inserted = !superseded && queries::insert_version(conn, new).await?;
    if !inserted {
        // What is for good is said first.
        if queries::tombstone(conn, room).await?.is_some_and(|tombstone| tombstone.hard) {
            return Err(Stop::Outcome(StoreOutcome::HardDeleted));
        }
        if superseded {
            return Err(Stop::Outcome(StoreOutcome::Superseded));
        }
    }
    let replaced: Vec<&str> = version.replaces.iter().map(String::as_str).filter(|old| *old != t).collect();
    queries::delete_versions(conn, room, &replaced).await?;
    Ok(if inserted { StoreOutcome::Stored } else { StoreOutcome::AlreadyThere })
}

fn version_row(room: &RoomId, stored: StoredVersion) -> Result<(StreamClock, VersionRow), DocStoreError> {
    let (t, created, (gcdoc, nongcdoc, contentmap, contentids), (gc_ref, nongc_ref, map_ref, ids_ref)) = stored;
    let clock: StreamClock = t.parse().map_err(|error: yhub_core::ClockError| DocStoreError::Corrupt {
        at: format!("yhub_ydoc_v1, column t, of room {room}"),
        what: error.to_string(),
    })?;
    let row = VersionRow {
        t,
        created_ms: created.unwrap_or_else(|| i64::try_from(clock.ms).unwrap_or(i64::MAX)),
        assets: [gcdoc, nongcdoc, contentmap, contentids].map(|asset| asset.map(Bytes::from)),
        is_reference: [gc_ref, nongc_ref, map_ref, ids_ref],
    };
    Ok((clock, row))
}

#[async_trait]
impl DocStore for SqliteDocs {
    async fn read(&self, room: &RoomId, assets: AssetSelection) -> Result<StoredRoom, DocStoreError> {
        let (pool, room, at) = (self.reads.clone(), room.clone(), self.at.clone());
        self.run(async move {
            let fail = |what| docs_error(&at, what);
            let mut conn = pool.get().await.map_err(|error| fail(Shared::new(error)))?;
            // One transaction, which in WAL mode is one moment: a row and the tombstone that erased it never meet.
            let (rows, tombstone) = conn
                .transaction(async |tx| {
                    Ok::<_, diesel::result::Error>((
                        queries::versions(tx, &room, assets).await?,
                        queries::tombstone(tx, &room).await?,
                    ))
                })
                .await
                .map_err(|error| fail(Shared::new(error)))?;
            drop(conn);
            let mut rows = rows.into_iter().map(|row| version_row(&room, row)).collect::<Result<Vec<_>, _>>()?;
            rows.sort_by(|(clock, row), (other_clock, other)| (clock, &row.t).cmp(&(other_clock, &other.t)));
            Ok(StoredRoom { rows: rows.into_iter().map(|(_, row)| row).collect(), tombstone })
        })
        .await
    }

    async fn store(&self, version: StoreVersion) -> Result<StoreOutcome, DocStoreError> {
        let (pool, at) = (self.writes.clone(), self.at.clone());
        self.run(async move {
            let fail = |what| docs_error(&at, what);
            let mut conn = pool.get().await.map_err(|error| fail(Shared::new(error)))?;
            match conn.immediate_transaction(async |tx| store(tx, &version).await).await {
                Ok(outcome) | Err(Stop::Outcome(outcome)) => Ok(outcome),
                Err(Stop::Sql(error)) => Err(fail(Shared::new(error))),
            }
        })
        .await
    }

    async fn put_tombstone(&self, room: &RoomId, tombstone: Tombstone) -> Result<(), DocStoreError> {
        let (pool, room, at) = (self.writes.clone(), room.clone(), self.at.clone());
        self.run(async move {
            let fail = |what| docs_error(&at, what);
            let mut conn = pool.get().await.map_err(|error| fail(Shared::new(error)))?;
            queries::put_tombstone(&mut conn, &room, &tombstone).await.map_err(|error| fail(Shared::new(error)))
        })
        .await
    }

    async fn check(&self) -> Result<(), DocStoreError> {
        let (pool, at) = (self.reads.clone(), self.at.clone());
        self.run(async move {
            let fail = |what| docs_error(&at, what);
            let mut conn = pool.get().await.map_err(|error| fail(Shared::new(error)))?;
            queries::check(&mut conn).await.map_err(|error| fail(Shared::new(error)))
        })
        .await
    }
}
