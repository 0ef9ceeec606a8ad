//! PostgreSQL for these tests: a database of its own for each, with the tables of the document store or without. And what
//! makes records impossible in either database.

#![allow(dead_code, reason = "not every test program uses all of it")]

use std::{any::Any, path::Path, sync::Arc, thread, time::Duration};

use async_trait::async_trait;
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use tokio_postgres::{Client, NoTls};
use yhub_store::{
    AccessTokenStore, AuditStore, DeletionStore, DocStore, FailureStore, NoticeStore,
    testsuite::{DocControl, DocStoreRig},
};
use yhub_store_sql::{PostgresDocsOptions, migrate_postgres};
use yhub_testkit::servers::{self, Postgres};

/// Waits for a future on a thread of its own: callers may be on a runtime.
pub(crate) fn on_runtime<T: Send>(future: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| {
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
        scope.spawn(run).join().expect("the future panicked")
    })
}

/// A connection of the test's own. Its driver ends with it.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connect");
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// Runs statements on a connection of their own.
pub(crate) fn execute(url: &str, statements: &str) {
    on_runtime(async { connect(url).await.batch_execute(statements).await }).expect("execute");
}

/// A database of its own. Dropped with this.
pub(crate) struct Database {
    pub(crate) url: String,
    database: servers::Database,
}

impl Database {
    /// Without any table.
    pub(crate) fn empty() -> Self {
        Self::of(Postgres::database())
    }

    /// With the tables of the document store.
    pub(crate) fn migrated() -> Self {
        Self::empty().migrate()
    }

    /// The same on a server of the test's own.
    pub(crate) fn migrated_on(server: &Postgres) -> Self {
        Self::of(server.create_database()).migrate()
    }

    fn of(database: servers::Database) -> Self {
        Self { url: database.url().to_owned(), database }
    }

    fn migrate(self) -> Self {
        migrate_postgres(&self.options()).expect("migrate");
        self
    }

    /// For the store, with bounds that no test comes near without wanting to.
    pub(crate) fn options(&self) -> PostgresDocsOptions {
        let mut options = PostgresDocsOptions::new(&self.url);
        options.connect_timeout = Duration::from_secs(60);
        options.lock_timeout = Duration::from_secs(60);
        options.statement_timeout = Duration::from_secs(100);
        options.operation_timeout = Duration::from_secs(100);
        options
    }

    pub(crate) fn name(&self) -> &str {
        self.database.name()
    }
}

/// A document store for a case.
pub(crate) fn rig(
    docs: Arc<impl DocStore + FailureStore + DeletionStore + AuditStore + AccessTokenStore + NoticeStore>,
    control: Arc<dyn DocControl>,
    keep: Box<dyn Any + Send>,
) -> DocStoreRig {
    DocStoreRig {
        failures: docs.clone(),
        deletions: docs.clone(),
        audit: docs.clone(),
        tokens: docs.clone(),
        notices: docs.clone(),
        docs,
        control,
        keep,
    }
}

/// The file of a document store in SQLite, for who would have its inserts fail.
pub(crate) struct SqliteControl {
    file: String,
}

impl SqliteControl {
    /// In this data directory.
    pub(crate) fn of(dir: &Path) -> Self {
        Self { file: dir.join("documents.sqlite3").to_str().expect("UTF-8").to_owned() }
    }
}

#[async_trait]
impl DocControl for SqliteControl {
    async fn refuse_records(&self, refuse: bool) {
        let mut conn = SqliteConnection::establish(&self.file).expect("connect");
        conn.batch_execute("PRAGMA busy_timeout = 5000").expect("set");
        let statement = if refuse {
            "CREATE TRIGGER refused BEFORE INSERT ON yhub_audit_v1 BEGIN SELECT RAISE(ABORT, 'refused on purpose'); END"
        } else {
            "DROP TRIGGER refused"
        };
        conn.batch_execute(statement).expect("change");
    }
}

/// The same of PostgreSQL.
pub(crate) struct PostgresControl {
    pub(crate) url: String,
}

#[async_trait]
impl DocControl for PostgresControl {
    async fn refuse_records(&self, refuse: bool) {
        let statements = if refuse {
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'refused on purpose'; END $$; \
             CREATE TRIGGER refused BEFORE INSERT ON yhub_audit_v1 FOR EACH ROW EXECUTE FUNCTION refuse()"
        } else {
            "DROP TRIGGER refused ON yhub_audit_v1"
        };
        execute(&self.url, statements);
    }
}
