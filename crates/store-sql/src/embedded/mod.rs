//! The stream log in one SQLite file, without any other service.
//!
//! One thread writes and commits in groups, a few threads read, and new entries go to the tails in memory, straight
//! from the commit. Nothing here depends on which runtime the caller uses, but for its timer.

mod admin;
mod aside;
mod call;
mod heads;
mod options;
mod queue;
mod readers;
mod rows;
mod tasks;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    sync::{Arc, Mutex},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use diesel::SqliteConnection;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use yhub_core::{RoomId, StreamClock, TimeSource};
use yhub_store::{
    Append, Completed, QuarantineId, ReadLimit, ReadPage, StreamLog, StreamLogError, Tail, TailControl, Task, TaskEpoch, TaskId,
    WorkerId, tail::Tails,
};

pub use self::options::{Durability, EmbeddedLogOptions};
use self::{
    call::Call,
    queue::{Bounds, Queue},
    readers::{ReadQueue, Readers, TailPages},
    rows::Tx,
    writer::{Job, Writer},
};
use crate::{
    error::{OpError, Shared, log_error},
    open::{FileKind, OpenError, OpenedFile, open_file},
};

const FILE: FileKind = FileKind { name: "stream.sqlite3", application_id: 0x7968_5354, migrations: MIGRATIONS };
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite/stream");

/// The stream log in a data directory of its own.
///
/// At the bounds of its queue a call waits for [`EmbeddedLogOptions::queue_wait`] and is then `Busy`. A call that has
/// room takes as long as the disk takes. Dropping the log waits until what is in the queue is done, and ends its tails.
///
/// Rooms may have any names, also with U+0000 in them. A task that is given back waits for at most an hour, however long
/// it is to wait: what waits for longer shows that time has gone back.
pub struct EmbeddedLog {
    writes: Queue<Box<dyn Job>>,
    reads: Arc<ReadQueue>,
    tails: Arc<Tails>,
    time: Arc<dyn TimeSource>,
    at: Arc<str>,
    tail_bytes: usize,
    threads: Vec<JoinHandle<()>>,
    /// After the threads: nobody else may open the file before they are done with it.
    _file: OpenedFile,
}

impl EmbeddedLog {
    /// Opens the log in the data directory `options.path`, which it makes if it is not there. Blocks: reads and writes
    /// files.
    pub fn open(options: EmbeddedLogOptions, time: Arc<dyn TimeSource>) -> Result<Self, OpenError> {
        let file = open_file(&options.path, FILE)?;
        let at: Arc<str> = file.url.as_str().into();
        let bounds = Bounds { operations: options.queue_operations, size_bytes: options.queue_bytes, wait: options.queue_wait };
        let (writes, write_jobs) = Queue::new(bounds, at.clone());
        let (reads, read_jobs) = Queue::new(bounds, at.clone());
        let tails = Arc::new(Tails::new());
        let mut log = Self {
            writes,
            reads: Arc::new(reads),
            tails: tails.clone(),
            time: time.clone(),
            at: at.clone(),
            tail_bytes: options.tail_bytes,
            threads: Vec::new(),
            _file: file,
        };
        let readers = Arc::new(Readers { url: at.clone(), jobs: Mutex::new(read_jobs) });
        for _ in 0..options.readers.max(1) {
            let readers = readers.clone();
            log.spawn("yhub-log-read", &options, move || readers.run())?;
        }
        let writer = Writer::new(at, options.clone(), time, tails);
        log.spawn("yhub-log-write", &options, move || writer.run(&write_jobs))?;
        Ok(log)
    }

    fn spawn(&mut self, name: &str, options: &EmbeddedLogOptions, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let io_error = |source| OpenError::Io { path: options.path.clone(), source };
        self.threads.push(Builder::new().name(name.to_owned()).spawn(run).map_err(io_error)?);
        Ok(())
    }

    /// Appends a filler to `room`: an entry that has a clock and says nothing. Otherwise like [`StreamLog::append`].
    pub async fn append_filler(&self, room: &RoomId, floor: StreamClock) -> Result<StreamClock, StreamLogError> {
        let room = room.clone();
        let clocks = self.write(0, move |tx| rows::append(tx, &room, &[None], floor)).await?;
        clocks.into_iter().next().ok_or_else(|| StreamLogError::Corrupt {
            at: self.at.to_string(),
            what: "an entry was appended and got no clock".to_owned(),
        })
    }

    /// Has the writer do `op`, which weighs `size_bytes`, and waits until that is committed.
    async fn write<T: Send + 'static>(
        &self,
        size_bytes: usize,
        op: impl FnMut(&mut Tx<'_>) -> Result<T, OpError> + Send + 'static,
    ) -> Result<T, StreamLogError> {
        let (call, answer) = Call::new(op);
        self.writes.send(call, size_bytes).await?;
        answer.await.unwrap_or_else(|_| Err(self.writes.closed()))
    }

    /// Has a reader do `op`, and waits for what it saw.
    async fn look<T: Send + 'static>(
        &self,
        op: impl FnMut(&mut SqliteConnection) -> Result<T, OpError> + Send + 'static,
    ) -> Result<T, StreamLogError> {
        let (call, answer) = Call::new(op);
        self.reads.send(call, 0).await?;
        answer.await.unwrap_or_else(|_| Err(self.reads.closed()))
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.writes.close();
        self.reads.close();
        let at = self.at.clone();
        self.tails.end_all(move || log_error(&at, Shared::new("the log was closed")));
        for thread in self.threads.drain(..) {
            // They catch their panics; one that got through all the same has no more to lose here.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl StreamLog for EmbeddedLog {
    async fn append(&self, append: Append) -> Result<Vec<StreamClock>, StreamLogError> {
        let Append { room, messages, floor } = append;
        let size_bytes = messages.iter().map(Bytes::len).sum();
        let messages: Vec<Option<Bytes>> = messages.into_iter().map(Some).collect();
        self.write(size_bytes, move |tx| rows::append(tx, &room, &messages, floor)).await
    }

    async fn append_unless_changed(&self, append: Append) -> Result<Option<Vec<StreamClock>>, StreamLogError> {
        let Append { room, messages, floor } = append;
        let size_bytes = messages.iter().map(Bytes::len).sum();
        let messages: Vec<_> = messages.into_iter().map(Some).collect();
        let append = move |tx: &mut Tx<'_>| {
            if rows::has_changed(tx, &room, floor)? { Ok(None) } else { rows::append(tx, &room, &messages, floor).map(Some) }
        };
        self.write(size_bytes, append).await
    }

    async fn read(&self, room: &RoomId, after: StreamClock, limit: ReadLimit) -> Result<ReadPage, StreamLogError> {
        let room = room.clone();
        self.look(move |conn| rows::read(conn, &room, after, limit)).await
    }

    async fn tail(&self) -> Result<(Box<dyn TailControl>, Tail), StreamLogError> {
        let (control, tail) = self.tails.open(self.tail_bytes, Arc::new(TailPages(self.reads.clone())));
        Ok((Box::new(control), Box::pin(tail)))
    }

    async fn now_ms(&self) -> Result<u64, StreamLogError> {
        Ok(self.time.now_ms())
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        max: usize,
        debounce: Duration,
        lease: Duration,
    ) -> Result<Vec<Task>, StreamLogError> {
        let worker = worker.clone();
        self.write(0, move |tx| tasks::claim(tx, &worker, max, debounce, lease)).await
    }

    async fn renew(&self, worker: &WorkerId, tasks: &[Task]) -> Result<Vec<TaskId>, StreamLogError> {
        let (worker, tasks) = (worker.clone(), tasks.to_vec());
        self.write(0, move |tx| tasks::renew(tx, &worker, &tasks)).await
    }

    async fn complete(
        &self,
        worker: &WorkerId,
        task: &Task,
        upto: StreamClock,
        min_lifetime: Duration,
    ) -> Result<Completed, StreamLogError> {
        let (worker, task) = (worker.clone(), task.clone());
        self.write(0, move |tx| tasks::complete(tx, &worker, &task, upto, min_lifetime)).await
    }

    async fn give_back(&self, worker: &WorkerId, task: &Task, after: Duration) -> Result<(), StreamLogError> {
        let (worker, task) = (worker.clone(), task.clone());
        self.write(0, move |tx| tasks::give_back(tx, &worker, &task, after)).await
    }

    async fn raise_epoch(&self, room: &RoomId, known: TaskEpoch) -> Result<(), StreamLogError> {
        let room = room.clone();
        self.write(0, move |tx| tasks::raise_epoch(tx, &room, known)).await
    }

    async fn holds(&self, room: &RoomId, clock: StreamClock) -> Result<bool, StreamLogError> {
        let room = room.clone();
        self.look(move |conn| rows::holds(conn, &room, clock)).await
    }

    async fn quarantine(&self, room: &RoomId, id: &QuarantineId) -> Result<bool, StreamLogError> {
        let (room, id) = (room.clone(), id.clone());
        self.write(0, move |tx| aside::quarantine(tx, &room, &id)).await
    }

    async fn read_quarantined(
        &self,
        room: &RoomId,
        id: &QuarantineId,
        after: StreamClock,
        limit: ReadLimit,
    ) -> Result<ReadPage, StreamLogError> {
        let (room, id) = (room.clone(), id.clone());
        self.look(move |conn| aside::read_quarantined(conn, &room, &id, after, limit)).await
    }

    async fn release(&self, room: &RoomId, id: &QuarantineId) -> Result<Option<u64>, StreamLogError> {
        let (room, id) = (room.clone(), id.clone());
        self.write(0, move |tx| aside::release(tx, &room, &id)).await
    }

    async fn check(&self) -> Result<(), StreamLogError> {
        self.write(0, rows::probe).await
    }
}
