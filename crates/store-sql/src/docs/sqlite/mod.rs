//! The document store in one SQLite file, without any other service.
//!
//! Always written for power loss (`synchronous=FULL`): what a version row holds is trimmed from the stream.

#[expect(clippy::duplicate_mod, reason = "one set of bodies, compiled once for each kind of connection")]
#[path = "../bodies/mod.rs"]
mod bodies;

use std::{path::PathBuf, time::Duration};

use diesel::SqliteConnection;
use diesel_async::{
    AsyncConnection, SimpleAsyncConnection,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool::Pool},
    sync_connection_wrapper::SyncConnectionWrapper,
};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::runtime::Builder;
use yhub_core::RoomId;
use yhub_store::DocStoreError;

use super::{Access, Stop, desk::Desk};
use crate::{
    error::{Shared, docs_error},
    open::{FileKind, OpenError, OpenedFile, open_file},
};

/// The connection that the bodies are compiled for.
type Conn<'c> = Connection;
type Connection = SyncConnectionWrapper<SqliteConnection>;
/// The database that the bodies are compiled for.
type Db = diesel::sqlite::Sqlite;
/// The store that the bodies are compiled for.
type Engine = SqliteDocs;

/// One after the other: between a file and us lies no way that could be saved.
macro_rules! together {
    ($tx:ident, $($($statement:ident)::+($($given:tt)*)),+) => {
        ($($($statement)::+($tx, $($given)*).await?),+)
    };
}
use together;

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

/// Version rows, tombstones, failures and quarantines in a data directory of its own.
///
/// Rooms may have any names, also with U+0000 in them: SQLite keeps such text whole. (Other databases do not; a room of
/// that name cannot move there.) Dropping the store waits for the operations that are under way.
pub struct SqliteDocs {
    desk: Desk,
    reads: Pool<Connection>,
    /// One connection: two writers of one SQLite file would only wait for one another, and less fairly.
    writes: Pool<Connection>,
    /// After the desk: nobody else may open the file before its operations are done.
    _file: OpenedFile,
}

impl SqliteDocs {
    /// Opens the store in the data directory `options.path`, which it makes if it is not there. Blocks: reads and writes
    /// files.
    pub fn open(mut options: SqliteDocsOptions) -> Result<Self, OpenError> {
        options.readers = options.readers.max(1);
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
        let desk = Desk::new(runtime, options.operations, options.wait, file.url.as_str().into());
        Ok(Self { desk, reads, writes, _file: file })
    }

    /// Does `work` in one transaction. `about` is the room that it concerns.
    async fn within<T: Send + 'static>(
        &self,
        about: Option<&RoomId>,
        access: Access,
        work: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, Stop<T>>> + Send + 'static,
    ) -> Result<T, DocStoreError> {
        // SQLite holds every name.
        let _ = about;
        let pool = match access {
            Access::Read => self.reads.clone(),
            Access::Write => self.writes.clone(),
        };
        let at = self.desk.at().clone();
        self.desk
            .run(async move {
                let fail = |what| docs_error(&at, what);
                let mut conn = pool.get().await.map_err(|error| fail(Shared::new(error)))?;
                let result = match access {
                    // In WAL mode a transaction sees one moment.
                    Access::Read => conn.transaction(async move |tx| work(tx).await).await,
                    // Nobody else writes between its first statement and its end.
                    Access::Write => conn.immediate_transaction(async move |tx| work(tx).await).await,
                };
                match result {
                    Ok(done) | Err(Stop::Outcome(done)) => Ok(done),
                    Err(Stop::Refused(error)) => Err(error),
                    Err(Stop::Sql(error)) => Err(fail(Shared::new(error))),
                }
            })
            .await
    }
}

fn pool(url: &str, size: usize) -> Pool<Connection> {
    let mut config = ManagerConfig::<Connection>::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(|url| {
        async move {
            let mut conn = Connection::establish(url).await?;
            // `secure_delete`: what is erased is overwritten, not only left out.
            let pragmas = [
                "PRAGMA busy_timeout = 5000",
                "PRAGMA synchronous = FULL",
                "PRAGMA journal_size_limit = 67108864",
                "PRAGMA secure_delete = ON",
            ];
            for pragma in pragmas {
                conn.batch_execute(pragma).await.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            }
            Ok(conn)
        }
        .boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config(url, config);
    Pool::builder(manager).max_size(size).build().expect("a pool without timeouts needs no runtime")
}
