//! The stream log in one SQLite file, without any other service.
//!
//! One thread writes and commits in groups, a few threads read, and new entries go to the tails in memory, straight
//! from the commit. Nothing here depends on which runtime the caller uses, but for its timer.

mod heads;
mod options;
mod queue;
mod readers;
mod rows;
mod tail_state;
mod tails;
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
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use tokio::sync::oneshot;
use yhub_core::{RoomId, StreamClock, TimeSource};
use yhub_store::{Append, Completed, ReadLimit, ReadPage, StreamLog, StreamLogError, Tail, TailControl, Task, TaskId, WorkerId};

pub use self::options::{Durability, EmbeddedLogOptions};
use self::{
    queue::{Bounds, Queue},
    readers::{ReadJob, ReadQueue, Readers},
    rows::Tx,
    tails::Tails,
    writer::{Call, Job, Writer},
};
use crate::{
    error::{OpError, Shared},
    open::{FileKind, OpenError, OpenedFile, open_file},
};

const FILE: FileKind = FileKind { name: "stream.sqlite3", application_id: 0x7968_5354, migrations: MIGRATIONS };
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite/stream");

/// The stream log in a data directory of its own.
///
/// At the bounds of its queue a call waits for [`EmbeddedLogOptions::queue_wait`] and is then `Busy`. A call that has
/// room takes as long as the disk takes. Dropping the log waits until what is in the queue is done, and ends its tails.
///
/// Rooms may have any names, also with U+0000 in them.
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
        let (reply, answer) = oneshot::channel();
        self.writes.send(Box::new(Call { op, kept: None, reply }), size_bytes).await?;
        answer.await.unwrap_or_else(|_| Err(self.writes.closed()))
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.writes.close();
        self.reads.close();
        self.tails.end_all(&Shared::new("the log was closed"));
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

    async fn read(&self, room: &RoomId, after: StreamClock, limit: ReadLimit) -> Result<ReadPage, StreamLogError> {
        let (job, answer) = ReadJob::new(room.clone(), after, limit);
        self.reads.send(job, 0).await?;
        answer.await.unwrap_or_else(|_| Err(self.reads.closed()))
    }

    async fn tail(&self) -> Result<(Box<dyn TailControl>, Tail), StreamLogError> {
        let (control, tail) = self.tails.open(self.tail_bytes, self.reads.clone(), self.at.clone());
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
        self.write(0, move |tx| rows::claim(tx, &worker, max, debounce, lease)).await
    }

    async fn renew(&self, worker: &WorkerId, tasks: &[Task]) -> Result<Vec<TaskId>, StreamLogError> {
        let (worker, tasks) = (worker.clone(), tasks.to_vec());
        self.write(0, move |tx| rows::renew(tx, &worker, &tasks)).await
    }

    async fn complete(
        &self,
        worker: &WorkerId,
        task: &Task,
        upto: StreamClock,
        min_lifetime: Duration,
    ) -> Result<Completed, StreamLogError> {
        let (worker, task) = (worker.clone(), task.clone());
        self.write(0, move |tx| rows::complete(tx, &worker, &task, upto, min_lifetime)).await
    }

    async fn give_back(&self, worker: &WorkerId, task: &Task) -> Result<(), StreamLogError> {
        let (worker, task) = (worker.clone(), task.clone());
        self.write(0, move |tx| rows::give_back(tx, &worker, &task)).await
    }

    async fn check(&self) -> Result<(), StreamLogError> {
        self.write(0, rows::probe).await
    }
}
