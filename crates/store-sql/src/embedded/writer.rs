//! The one thread that writes to the log: takes what waits, commits it in one transaction, then answers.
//!
//! While one group is being committed the next one gathers, so groups grow with the load and nobody waits for a timer. What is short
//! goes before what is long: an edit does not wait for the documents that somebody else brings in.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
};

use diesel::{
    SqliteConnection,
    connection::{AnsiTransactionManager, Connection, SimpleConnection, TransactionManager},
};
use yhub_core::TimeSource;
use yhub_store::{StreamLogError, tail::Tails};

use super::{
    call::{Call, Waiting},
    heads::Heads,
    options::{Durability, EmbeddedLogOptions},
    queue::Place,
    rows::{News, Tx},
};
use crate::error::{OpError, Shared, log_error, panic_text};

/// One operation on the log. It may run more than once: each time the former one was rolled back.
pub(crate) trait Job: Waiting {
    /// Does it inside an open transaction and keeps the answer.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), diesel::result::Error>;
}

impl<F, T> Job for Call<F, T>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, OpError> + Send,
    T: Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), diesel::result::Error> {
        self.keep(|op| op(tx))
    }
}

/// A job with its place in the queue, which it keeps until it is answered.
type Queued = (Box<dyn Job>, Place);

/// What weighs more is long.
const SHORT_BYTES: usize = 64 << 10;

/// What waits, taken from the queue; bounded by the places that it keeps. Whoever wants two things done in order waits for the first
/// before they ask for the second, so nothing here depends on the order.
#[derive(Default)]
struct Gathered {
    short: VecDeque<Queued>,
    long: VecDeque<Queued>,
}

impl Gathered {
    fn add(&mut self, job: Queued) {
        let lane = if job.1.size_bytes <= SHORT_BYTES { &mut self.short } else { &mut self.long };
        lane.push_back(job);
    }

    fn is_empty(&self) -> bool {
        self.short.is_empty() && self.long.is_empty()
    }

    /// The next group: what is short, as long as there is room, then what is long. One long one goes always with them, so that it does
    /// not wait for ever.
    fn group(&mut self, operations: usize, size_bytes: usize) -> Vec<Queued> {
        let (mut group, mut weight) = (Vec::new(), 0_usize);
        while group.len() < operations && weight < size_bytes {
            let Some(job) = self.short.pop_front() else { break };
            weight = weight.saturating_add(job.1.size_bytes);
            group.push(job);
        }
        let mut is_first = true;
        while is_first || (group.len() < operations && weight < size_bytes) {
            let Some(job) = self.long.pop_front() else { break };
            is_first = false;
            weight = weight.saturating_add(job.1.size_bytes);
            group.push(job);
        }
        group
    }
}

/// Why a group was not committed.
enum Failure {
    /// An operation of it failed or panicked; by themselves the others may succeed.
    InOne(Shared),
    /// The file did; nobody would succeed.
    OfAll(Shared),
}

pub(crate) struct Writer {
    /// `None` until the first group, and after a failure that leaves it in doubt.
    conn: Option<SqliteConnection>,
    url: Arc<str>,
    heads: Heads,
    time: Arc<dyn TimeSource>,
    tails: Arc<Tails>,
    options: EmbeddedLogOptions,
}

impl Writer {
    pub(crate) fn new(url: Arc<str>, options: EmbeddedLogOptions, time: Arc<dyn TimeSource>, tails: Arc<Tails>) -> Self {
        Self { conn: None, url, heads: Heads::new(options.cached_rooms), time, tails, options }
    }

    /// Serves until the queue is closed and empty.
    pub(crate) fn run(mut self, jobs: &mpsc::Receiver<Queued>) {
        let mut gathered = Gathered::default();
        loop {
            if gathered.is_empty() {
                match jobs.recv() {
                    Ok(job) => gathered.add(job),
                    Err(_) => return,
                }
            }
            jobs.try_iter().for_each(|job| gathered.add(job));
            self.serve(gathered.group(self.options.group_operations, self.options.group_bytes));
        }
    }

    /// Commits a group and answers it. If one operation spoils it, each goes by itself.
    fn serve(&mut self, mut group: Vec<Queued>) {
        match self.commit(&mut group) {
            Ok(()) => answer(group, || Ok(())),
            Err(Failure::OfAll(what)) => answer(group, || Err(log_error(&self.url, what.clone()))),
            Err(Failure::InOne(what)) if group.len() == 1 => answer(group, || Err(log_error(&self.url, what.clone()))),
            Err(Failure::InOne(_)) => group.into_iter().for_each(|job| self.serve(vec![job])),
        }
    }

    fn commit(&mut self, group: &mut [Queued]) -> Result<(), Failure> {
        let mut news = News::default();
        let attempt = catch_unwind(AssertUnwindSafe(|| self.attempt(group, &mut news)));
        let outcome = attempt.unwrap_or_else(|panic| {
            // Wherever it was thrown, the connection may be in the middle of something.
            self.conn = None;
            Err(Failure::InOne(Shared::new(panic_text(panic.as_ref()))))
        });
        match &outcome {
            Ok(()) => {
                // A tail that panics must not make an append that is durable look failed.
                if catch_unwind(AssertUnwindSafe(|| self.tell(&news))).is_err() {
                    let at = self.url.clone();
                    self.tails.end_all(move || log_error(&at, Shared::new("a panic while new entries were handed out")));
                }
            }
            // What was known by heart may be of the transaction that was taken back.
            Err(_) => self.heads.forget_all(),
        }
        outcome
    }

    /// Tells the tails what was committed.
    fn tell(&self, news: &News) {
        // Before the entries: a tail that took those as what comes next would neither read nor see that others are gone.
        news.to_read.iter().for_each(|room| self.tails.dirty(room));
        self.tails.push(&news.appended);
    }

    fn attempt(&mut self, group: &mut [Queued], news: &mut News) -> Result<(), Failure> {
        let now_ms = self.time.now_ms();
        let conn = match &mut self.conn {
            Some(conn) => conn,
            none => none.insert(connect(&self.url, self.options.durability).map_err(Failure::OfAll)?),
        };
        let of_all = |error: diesel::result::Error| Failure::OfAll(Shared::new(error));
        if let Err(error) = AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE") {
            self.conn = None;
            return Err(of_all(error));
        }
        let mut tx = Tx { conn, heads: &mut self.heads, now_ms, news };
        for (job, _) in group.iter_mut() {
            if job.is_cancelled() {
                continue;
            }
            if let Err(error) = job.run(&mut tx) {
                if AnsiTransactionManager::rollback_transaction(conn).is_err() {
                    self.conn = None;
                }
                return Err(Failure::InOne(Shared::new(error)));
            }
        }
        if let Err(error) = AnsiTransactionManager::commit_transaction(conn) {
            self.conn = None;
            return Err(of_all(error));
        }
        Ok(())
    }
}

/// Answers all of a group. The places are given back only now: a job is in the queue until it is answered.
fn answer(group: Vec<Queued>, committed: impl Fn() -> Result<(), StreamLogError>) {
    for (job, _place) in group {
        job.answer(committed());
    }
}

/// The connection that writes.
pub(crate) fn connect(url: &str, durability: Durability) -> Result<SqliteConnection, Shared> {
    let mut conn = SqliteConnection::establish(url).map_err(Shared::new)?;
    let synchronous = match durability {
        Durability::PowerLoss => "PRAGMA synchronous = FULL",
        Durability::ProcessCrash => "PRAGMA synchronous = NORMAL",
    };
    // `busy_timeout`: nobody else writes, but a backup or an operator may hold the file for a moment.
    // `journal_size_limit`: a burst must not leave a large file for ever.
    // `secure_delete`: what is trimmed, or cleared for good, is overwritten, not only left out.
    let pragmas = [
        "PRAGMA busy_timeout = 5000",
        synchronous,
        "PRAGMA wal_autocheckpoint = 4000",
        "PRAGMA journal_size_limit = 67108864",
        "PRAGMA secure_delete = ON",
    ];
    for pragma in pragmas {
        conn.batch_execute(pragma).map_err(Shared::new)?;
    }
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;
    use yhub_core::{ManualTime, RoomId, StreamClock};

    use super::*;
    use crate::{
        EmbeddedLog,
        embedded::{call::Answer, rows},
    };

    /// A writer on a log that nobody else has open, and a place for a job.
    fn writer(dir: &tempfile::TempDir) -> Writer {
        let options = EmbeddedLogOptions::new(dir.path());
        let time = Arc::new(ManualTime::new(1_000));
        drop(EmbeddedLog::open(options.clone(), time.clone()).expect("make the tables"));
        let url = dir.path().join("stream.sqlite3").to_str().expect("UTF-8").into();
        Writer::new(url, options, time, Arc::new(Tails::new()))
    }

    fn job<T: Send + 'static>(op: impl FnMut(&mut Tx<'_>) -> Result<T, OpError> + Send + 'static) -> (Queued, Answer<T>) {
        let (call, answer) = Call::new(op);
        let (queue, jobs) = super::super::queue::Queue::new(
            super::super::queue::Bounds { operations: Semaphore::MAX_PERMITS, size_bytes: 1, wait: Duration::ZERO },
            "".into(),
        );
        queue.send_past_the_bounds(call as Box<dyn Job>).expect("open");
        (jobs.recv().expect("just sent"), answer)
    }

    #[tokio::test]
    async fn what_is_short_goes_first_and_what_is_long_does_not_wait_for_ever() {
        let bounds = super::super::queue::Bounds { operations: 100, size_bytes: 100 << 20, wait: Duration::ZERO };
        let (queue, jobs) = super::super::queue::Queue::<Box<dyn Job>>::new(bounds, "".into());
        for size_bytes in [3 << 20, 1 << 20, SHORT_BYTES, SHORT_BYTES + 1, 10, 20] {
            let (call, _) = Call::new(|_: &mut Tx<'_>| Ok::<(), OpError>(()));
            queue.send(call as Box<dyn Job>, size_bytes).await.expect("there is room");
        }
        let mut gathered = Gathered::default();
        jobs.try_iter().for_each(|job| gathered.add(job));
        let mut next = |operations, size_bytes| {
            gathered.group(operations, size_bytes).iter().map(|(_, place)| place.size_bytes).collect::<Vec<_>>()
        };
        assert_eq!(next(2, 2 << 20), [SHORT_BYTES, 10, 3 << 20]);
        assert_eq!(next(9, 1), [20, 1 << 20]);
        assert_eq!(next(9, 1), [SHORT_BYTES + 1]);
        assert!(next(9, 1).is_empty());
    }

    fn append(name: &'static str) -> (Queued, Answer<Vec<StreamClock>>) {
        job(move |tx| rows::append(tx, &RoomId::new("o", name, "main"), &[None], StreamClock::ZERO))
    }

    #[test]
    fn a_failed_commit_fails_the_whole_group() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut writer = writer(&dir);
        let mut conn = connect(&writer.url, Durability::PowerLoss).expect("connect");
        // A reference to nothing that is only looked at when the transaction is committed.
        conn.batch_execute(
            "PRAGMA foreign_keys = ON; CREATE TEMP TABLE p (id INTEGER PRIMARY KEY);
             CREATE TEMP TABLE c (p REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED);",
        )
        .expect("set up");
        writer.conn = Some(conn);
        let (before, mut before_answer) = append("a");
        let (spoiler, mut spoiler_answer) = job(|tx| Ok(tx.conn.batch_execute("INSERT INTO c VALUES (1)")?));
        let (after, mut after_answer) = append("b");
        writer.serve(vec![before, spoiler, after]);
        assert!(matches!(before_answer.try_recv(), Ok(Err(StreamLogError::Unavailable { .. }))));
        assert!(matches!(spoiler_answer.try_recv(), Ok(Err(StreamLogError::Unavailable { .. }))));
        assert!(matches!(after_answer.try_recv(), Ok(Err(StreamLogError::Unavailable { .. }))));
        // Nothing of it is there, neither in the file nor by heart: the first clock is still free.
        let (again, mut answer) = append("a");
        writer.serve(vec![again]);
        assert_eq!(answer.try_recv().expect("answered").expect("committed"), [StreamClock::new(1_000, 0)]);
    }
}
