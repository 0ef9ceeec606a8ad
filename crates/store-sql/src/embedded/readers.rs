//! The threads that read the log, each on a connection of its own. A slow reader never stands before an append.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use diesel::{
    SqliteConnection,
    connection::{Connection, SimpleConnection},
};
use futures_util::future::BoxFuture;
use yhub_core::{RoomId, StreamClock};
use yhub_store::{ReadLimit, ReadPage, StreamLogError, tail::ReadPages};

use super::{
    call::{Answer, Call, Waiting},
    queue::{Place, Queue},
    rows,
};
use crate::error::{OpError, Shared, log_error, panic_text};

/// One look at the log.
pub(crate) trait ReadJob: Waiting {
    /// Looks inside an open transaction, so at one moment, and keeps the answer.
    fn run(&mut self, conn: &mut SqliteConnection) -> Result<(), diesel::result::Error>;
}

impl<F, T> ReadJob for Call<F, T>
where
    F: FnMut(&mut SqliteConnection) -> Result<T, OpError> + Send,
    T: Send,
{
    fn run(&mut self, conn: &mut SqliteConnection) -> Result<(), diesel::result::Error> {
        self.keep(|op| op(conn))
    }
}

/// The way to the readers.
pub(crate) type ReadQueue = Queue<Box<dyn ReadJob>>;

/// Reads entries of `room` after `after`.
pub(crate) fn read_page(room: RoomId, after: StreamClock, limit: ReadLimit) -> (Box<dyn ReadJob>, Answer<ReadPage>) {
    let (call, answer) = Call::new(move |conn: &mut SqliteConnection| rows::read(conn, &room, after, limit));
    (call, answer)
}

/// How tails read: past the bounds of the queue, because a tail bounds its reads itself. Whoever waited for room and was
/// not polled meanwhile, as a tail that nobody takes from, would keep that room from everybody.
pub(crate) struct TailPages(pub(crate) Arc<ReadQueue>);

impl ReadPages for TailPages {
    fn read_page(
        &self,
        room: RoomId,
        after: StreamClock,
        limit: ReadLimit,
    ) -> BoxFuture<'static, Result<ReadPage, StreamLogError>> {
        let (job, answer) = read_page(room, after, limit);
        let (sent, reads) = (self.0.send_past_the_bounds(job), self.0.clone());
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or_else(|_| Err(reads.closed()))
        })
    }
}

/// What all readers of a log share.
pub(crate) struct Readers {
    pub(crate) url: Arc<str>,
    pub(crate) jobs: Mutex<mpsc::Receiver<(Box<dyn ReadJob>, Place)>>,
}

impl Readers {
    /// One reader: serves until the queue is closed and empty.
    pub(crate) fn run(&self) {
        let mut conn = None;
        loop {
            // Whoever waits holds the lock, the others wait for the lock; a job frees it for the next.
            let next = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((mut job, _place)) = next else { return };
            if job.is_cancelled() {
                continue;
            }
            let looked = catch_unwind(AssertUnwindSafe(|| self.look(&mut conn, job.as_mut()))).unwrap_or_else(|panic| {
                conn = None;
                Err(log_error(&self.url, Shared::new(panic_text(panic.as_ref()))))
            });
            job.answer(looked);
        }
    }

    fn look(&self, conn: &mut Option<SqliteConnection>, job: &mut dyn ReadJob) -> Result<(), StreamLogError> {
        let open = match conn {
            Some(open) => open,
            None => conn.insert(connect(&self.url).map_err(|what| log_error(&self.url, what))?),
        };
        open.transaction(|tx| job.run(tx)).map_err(|error| {
            // It may be the connection; a new one costs little.
            *conn = None;
            log_error(&self.url, Shared::new(error))
        })
    }
}

fn connect(url: &str) -> Result<SqliteConnection, Shared> {
    let mut conn = SqliteConnection::establish(url).map_err(Shared::new)?;
    for pragma in ["PRAGMA busy_timeout = 5000", "PRAGMA query_only = ON"] {
        conn.batch_execute(pragma).map_err(Shared::new)?;
    }
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use diesel::connection::InstrumentationEvent;
    use yhub_core::ManualTime;

    use super::*;
    use crate::{EmbeddedLog, EmbeddedLogOptions};

    #[test]
    fn a_page_is_of_one_moment() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(EmbeddedLog::open(EmbeddedLogOptions::new(dir.path()), Arc::new(ManualTime::new(1))).expect("make the tables"));
        let url: Arc<str> = dir.path().join("stream.sqlite3").to_str().expect("UTF-8").into();
        let mut other = SqliteConnection::establish(&url).expect("connect");
        other
            .batch_execute(
                "INSERT INTO stream_rooms (id, org, docid, branch) VALUES (1, 'o', 'd', 'main');
                 INSERT INTO stream_entries (room, ms, seq, message) VALUES (1, 5, 0, x'61'), (1, 6, 0, x'62');",
            )
            .expect("fill");
        // Between the look at the room and the look at its entries, somebody trims.
        let mut conn = connect(&url).expect("connect");
        let mut looks = 0;
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event
                && query.to_string().contains("FROM `stream_entries`")
            {
                looks += 1;
                if looks == 1 {
                    let trim = "DELETE FROM stream_entries; UPDATE stream_rooms SET trimmed_ms = 6;";
                    other.batch_execute(trim).expect("trim");
                }
            }
        });
        let (_, jobs) = mpsc::channel();
        let readers = Readers { url, jobs: Mutex::new(jobs) };
        let mut conn = Some(conn);
        let mut read = || {
            let limit = ReadLimit { entries: 10, size_bytes: 10 };
            let (mut job, mut answer) = read_page(RoomId::new("o", "d", "main"), StreamClock::ZERO, limit);
            readers.look(&mut conn, job.as_mut()).expect("look");
            job.answer(Ok(()));
            let page = answer.try_recv().expect("answered").expect("read");
            (page.entries.len(), page.trimmed_upto)
        };
        assert_eq!(read(), (2, StreamClock::ZERO), "as it was before");
        assert_eq!(read(), (0, StreamClock::new(6, 0)), "as it is now");
    }
}
