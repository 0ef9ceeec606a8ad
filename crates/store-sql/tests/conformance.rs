//! Both engines run every case of the suites.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use yhub_core::{ManualTime, RoomId, StreamClock};
use yhub_store::testsuite::{DocStoreRig, LogControl, StreamLogRig};
use yhub_store_sql::{EmbeddedLog, EmbeddedLogOptions, SqliteDocs, SqliteDocsOptions};

/// The engine's time, and the fillers that only it can make.
struct Control {
    time: Arc<ManualTime>,
    log: Arc<EmbeddedLog>,
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
}

fn stream_log(change: impl FnOnce(&mut EmbeddedLogOptions)) -> StreamLogRig {
    let dir = tempfile::tempdir().expect("a directory");
    let time = Arc::new(ManualTime::new(1_700_000_000_000));
    let mut options = EmbeddedLogOptions::new(dir.path());
    change(&mut options);
    let log = Arc::new(EmbeddedLog::open(options, time.clone()).expect("open the log"));
    StreamLogRig { log: log.clone(), control: Arc::new(Control { time, log }), keep: Box::new(dir) }
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
        DocStoreRig { docs, keep: Box::new(dir) }
    });
}
