//! Every engine runs every case of the suites.

mod support;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use diesel::{Connection, RunQueryDsl, SqliteConnection, connection::SimpleConnection, sql_query, sql_types::Text};
use yhub_core::{ManualTime, RoomId, StreamClock};
use yhub_store::testsuite::{DocStoreRig, LogControl, QueueDamage, StreamLogRig};
use yhub_store_sql::{EmbeddedLog, EmbeddedLogOptions, PostgresDocs, PostgresDocsOptions, SqliteDocs, SqliteDocsOptions};

/// The engine's time, the fillers that only it can make, and its file for who would damage it.
struct Control {
    time: Arc<ManualTime>,
    log: Arc<EmbeddedLog>,
    file: PathBuf,
}

#[async_trait]
impl LogControl for Control {
    fn tick(&self) -> Duration {
        self.time.tick()
    }

    async fn advance(&self, by: Duration) {
        self.time.advance(by);
    }

    async fn set_back(&self, by: Duration) -> bool {
        self.time.set_back(by);
        true
    }

    async fn append_filler(&self, room: &RoomId, floor: StreamClock) -> Option<StreamClock> {
        Some(self.log.append_filler(room, floor).await.expect("append a filler"))
    }

    async fn damage_queue(&self, room: &RoomId, damage: QueueDamage) -> bool {
        let statement = match damage {
            QueueDamage::LostTask => "DELETE FROM stream_tasks WHERE owner IS NULL AND room =",
            QueueDamage::GhostTask => "INSERT INTO stream_tasks (since_ms, room) SELECT 5,",
            // The table cannot hold a second one, nor one that cannot be read.
            _ => return false,
        };
        let mut conn = SqliteConnection::establish(self.file.to_str().expect("UTF-8")).expect("connect");
        conn.batch_execute("PRAGMA busy_timeout = 5000").expect("set");
        let of_room = "(SELECT id FROM stream_rooms WHERE org = ? AND docid = ? AND branch = ?)";
        let done = sql_query(format!("{statement} {of_room}"))
            .bind::<Text, _>(room.org())
            .bind::<Text, _>(room.docid())
            .bind::<Text, _>(room.branch())
            .execute(&mut conn)
            .expect("damage");
        done == 1
    }
}

fn stream_log(change: impl FnOnce(&mut EmbeddedLogOptions)) -> StreamLogRig {
    let dir = tempfile::tempdir().expect("a directory");
    let time = Arc::new(ManualTime::new(1_700_000_000_000));
    let mut options = EmbeddedLogOptions::new(dir.path());
    change(&mut options);
    let log = Arc::new(EmbeddedLog::open(options, time.clone()).expect("open the log"));
    let file = dir.path().join("stream.sqlite3");
    let control = Arc::new(Control { time, log: log.clone(), file });
    StreamLogRig { log: log.clone(), admin: log, control, keep: Box::new(dir) }
}

mod embedded_log {
    use super::*;

    yhub_store::stream_log_conformance!(async { stream_log(|_| {}) });
}

/// With every bound as low as it goes: all that is done at a bound is done all the time.
mod embedded_log_at_its_bounds {
    use super::*;

    yhub_store::stream_log_conformance!(async {
        stream_log(|options| {
            options.queue_operations = 1;
            options.queue_bytes = 1;
            options.group_operations = 1;
            options.group_bytes = 1;
            options.readers = 1;
            options.tail_bytes = 1;
            options.cached_rooms = 1;
            options.queue_wait = Duration::from_secs(60);
        })
    });
}

mod sqlite_docs {
    use super::*;

    yhub_store::doc_store_conformance!(async {
        let dir = tempfile::tempdir().expect("a directory");
        let docs = Arc::new(SqliteDocs::open(SqliteDocsOptions::new(dir.path())).expect("open the store"));
        let control = Arc::new(support::SqliteControl::of(dir.path()));
        support::rig(docs, control, Box::new(dir))
    });
}

async fn postgres_docs(change: impl FnOnce(&mut PostgresDocsOptions)) -> DocStoreRig {
    let database = support::Database::migrated();
    let mut options = database.options();
    change(&mut options);
    let docs = Arc::new(PostgresDocs::connect(options).await.expect("connect"));
    let control = Arc::new(support::PostgresControl { url: database.url.clone() });
    support::rig(docs, control, Box::new(database))
}

mod postgres_docs {
    use super::*;

    yhub_store::doc_store_conformance!(postgres_docs(|_| {}));
}

/// One connection for everybody, and each waits for its turn.
mod postgres_docs_at_its_bounds {
    use super::*;

    yhub_store::doc_store_conformance!(postgres_docs(|options| {
        options.connections = 1;
        options.operations = 1;
        options.wait = Duration::from_secs(100);
    }));
}
