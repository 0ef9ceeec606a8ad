//! Records of what was done and refused. What changes the document store takes its record along in the same transaction; all else
//! is written here, behind what it is about.
//!
//! Refusals come as often as somebody likes to be refused, so they are gathered: alike ones become one record with a count, and of
//! different ones only so many are written in a while; the others are counted together.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use yhub_core::{
    RoomId, TimeSource,
    access::{Identity, Target},
    chain,
};
use yhub_store::{AuditRecord, AuditStore};

/// Refusals that wait to be gathered; further ones are dropped, and counted.
const QUEUE: usize = 4_096;
/// Refusals are gathered for so long.
const GATHER: Duration = Duration::from_secs(2);
/// So many different ones are written each time.
const DIFFERENT: usize = 100;
/// A store that does not take records is asked so often, with so much between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// Where records go. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audit {
    store: Arc<dyn AuditStore>,
    time: Arc<dyn TimeSource>,
    refusals: mpsc::Sender<Queued>,
}

enum Queued {
    Refusal(Box<AuditRecord>),
    /// Write what was gathered, and say so.
    Flush(oneshot::Sender<()>),
}

/// Who does something, and from where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// The id of the request.
    pub(crate) request_id: String,
    /// The address of the client.
    pub(crate) address: Option<String>,
}

impl Audit {
    /// Records in `store`. The future gathers refusals; it ends when nobody can refuse any more and all is written.
    pub(crate) fn new(
        store: Arc<dyn AuditStore>,
        time: Arc<dyn TimeSource>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (refusals, queue) = mpsc::channel(QUEUE);
        let gather = gather(store.clone(), queue);
        (Self { store, time, refusals }, gather)
    }

    /// A record of what `who` does at `place`.
    pub(crate) fn record(
        &self,
        who: Option<&Identity>,
        action: &str,
        place: Target<'_>,
        result: &str,
        origin: &Origin,
    ) -> AuditRecord {
        let (org, room): (Option<&str>, Option<&RoomId>) = match place {
            Target::Hub => (None, None),
            Target::Org(org) => (Some(org), None),
            Target::Room(room) => (Some(room.org()), Some(room)),
        };
        AuditRecord {
            at_ms: self.time.now_ms(),
            actor: who.map_or_else(|| "unknown".to_owned(), |who| who.user.clone()),
            via: who.map_or("none", |who| who.via.name()).to_owned(),
            action: action.to_owned(),
            org: org.map(str::to_owned),
            docid: room.map(|room| room.docid().to_owned()),
            branch: room.map(|room| room.branch().to_owned()),
            result: result.to_owned(),
            request_id: origin.request_id.clone(),
            address: origin.address.clone(),
            detail: String::new(),
            count: 1,
        }
    }

    /// Writes a record of what was done outside the document store. It is tried a few times; then it is in the log alone.
    pub(crate) async fn write(&self, record: AuditRecord) {
        write(&*self.store, &[record]).await;
    }

    /// Somebody was refused.
    pub(crate) fn refused(&self, record: AuditRecord) {
        if self.refusals.try_send(Queued::Refusal(Box::new(record))).is_err() {
            log::debug!("a refusal is not recorded: too many wait to be");
        }
    }
}

impl Audit {
    /// Waits until what was refused so far is written, for a hub that stops.
    pub(crate) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.refusals.send(Queued::Flush(done)).await.is_ok() {
            // Whoever was to write is gone, or has written.
            let _ = written.await;
        }
    }
}

async fn write(store: &dyn AuditStore, records: &[AuditRecord]) {
    for attempt in 1..=ATTEMPTS {
        match store.append(records).await {
            Ok(()) => return,
            Err(error) if attempt == ATTEMPTS || !error.is_transient() => {
                log::error!("{} audit records are lost, from {:?} on: {}", records.len(), records.first(), chain(&error));
                return;
            }
            Err(_) => tokio::time::sleep(PAUSE * attempt).await,
        }
    }
}

async fn gather(store: Arc<dyn AuditStore>, mut queue: mpsc::Receiver<Queued>) {
    while let Some(first) = queue.recv().await {
        let (mut gathered, mut next, mut waiting) = (Gathered::default(), Some(first), None);
        let until = tokio::time::Instant::now() + GATHER;
        loop {
            match next {
                Some(Queued::Refusal(record)) => gathered.add(*record),
                Some(Queued::Flush(done)) => break waiting = Some(done),
                None => break,
            }
            next = tokio::time::timeout_at(until, queue.recv()).await.unwrap_or(None);
        }
        let records = gathered.done();
        if !records.is_empty() {
            write(&*store, &records).await;
        }
        if let Some(done) = waiting {
            // Nobody waits for it any more.
            let _ = done.send(());
        }
    }
}

/// Refusals of a while.
#[derive(Default)]
struct Gathered {
    records: Vec<AuditRecord>,
    known: HashMap<Alike, usize>,
    others: u32,
}

/// By what refusals are told apart.
#[derive(PartialEq, Eq, Hash)]
struct Alike {
    actor: String,
    action: String,
    place: (Option<String>, Option<String>, Option<String>),
    address: Option<String>,
    detail: String,
}

impl Gathered {
    fn add(&mut self, record: AuditRecord) {
        let alike = Alike {
            actor: record.actor.clone(),
            action: record.action.clone(),
            place: (record.org.clone(), record.docid.clone(), record.branch.clone()),
            address: record.address.clone(),
            detail: record.detail.clone(),
        };
        match self.known.get(&alike) {
            Some(at) => self.records[*at].count = self.records[*at].count.saturating_add(1),
            None if self.records.len() < DIFFERENT => {
                self.known.insert(alike, self.records.len());
                self.records.push(record);
            }
            None => self.others = self.others.saturating_add(1),
        }
    }

    fn done(mut self) -> Vec<AuditRecord> {
        if let (Some(first), true) = (self.records.first(), self.others > 0) {
            self.records.push(AuditRecord {
                actor: "others".into(),
                via: "none".into(),
                org: None,
                docid: None,
                branch: None,
                request_id: String::new(),
                address: None,
                detail: "too many different ones to be recorded each".into(),
                count: self.others,
                ..first.clone()
            });
        }
        self.records
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use async_trait::async_trait;
    use yhub_store::{AuditCursor, AuditFilter, AuditPage, DocStoreError};

    use super::*;

    fn refusal(actor: &str) -> AuditRecord {
        AuditRecord {
            at_ms: 1,
            actor: actor.into(),
            via: "jwt".into(),
            action: "denied".into(),
            org: Some("org".into()),
            docid: None,
            branch: None,
            result: "denied".into(),
            request_id: "r".into(),
            address: None,
            detail: String::new(),
            count: 1,
        }
    }

    /// Takes records when it feels like it.
    #[derive(Default)]
    struct Moody {
        taken: Mutex<Vec<AuditRecord>>,
        asked: AtomicUsize,
        /// How often it says no, and whether that may be otherwise another time.
        fails: AtomicUsize,
        is_broken: bool,
    }

    #[async_trait]
    impl AuditStore for Moody {
        async fn append(&self, records: &[AuditRecord]) -> Result<(), DocStoreError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.fails.load(Ordering::Relaxed) > 0 {
                self.fails.fetch_sub(1, Ordering::Relaxed);
                let what = "not now";
                return Err(match self.is_broken {
                    true => DocStoreError::Corrupt { at: "here".into(), what: what.into() },
                    false => DocStoreError::Unavailable { at: "here".into(), source: what.into() },
                });
            }
            self.taken.lock().unwrap().extend_from_slice(records);
            Ok(())
        }

        async fn page(&self, _: &AuditFilter, _: Option<&AuditCursor>, _: usize) -> Result<AuditPage, DocStoreError> {
            unreachable!("nobody looks them up")
        }

        async fn delete_before(&self, _: u64, _: usize) -> Result<u64, DocStoreError> {
            unreachable!("nobody forgets them")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_is_tried_a_few_times_where_that_may_help() {
        for (fails, is_broken, asked, taken) in [(0, false, 1, 1), (4, false, 5, 1), (5, false, 5, 0), (1, true, 1, 0)] {
            let store = Moody { fails: fails.into(), is_broken, ..Moody::default() };
            write(&store, &[refusal("ann")]).await;
            assert_eq!((store.asked.into_inner(), store.taken.into_inner().unwrap().len()), (asked, taken), "{fails}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_wait_a_while_for_others_unless_the_hub_stops() {
        let store = Arc::new(Moody::default());
        let (audit, gather) = Audit::new(store.clone(), Arc::new(yhub_core::ManualTime::new(1)));
        tokio::spawn(gather);
        let begun = tokio::time::Instant::now();
        for actor in ["ann", "bob", "ann"] {
            audit.refused(refusal(actor));
        }
        tokio::time::sleep(GATHER / 2).await;
        assert_eq!(store.taken.lock().unwrap().len(), 0);
        tokio::time::sleep(GATHER).await;
        assert_eq!(store.taken.lock().unwrap().len(), 2);
        audit.refused(refusal("eve"));
        let before = begun.elapsed();
        audit.flush().await;
        assert_eq!((store.taken.lock().unwrap().len(), begun.elapsed()), (3, before));
    }

    /// Nobody is kept waiting by them, and they take no more room than was said.
    #[tokio::test]
    async fn refusals_that_nobody_writes_are_dropped() {
        let store = Arc::new(Moody::default());
        let (audit, gather) = Audit::new(store.clone(), Arc::new(yhub_core::ManualTime::new(1)));
        for n in 0..2 * QUEUE {
            audit.refused(refusal(if n < QUEUE { "first" } else { "late" }));
        }
        drop(audit);
        gather.await;
        let taken = store.taken.lock().unwrap();
        let counts: Vec<_> = taken.iter().map(|record| (record.actor.as_str(), record.count)).collect();
        assert_eq!(counts, [("first", QUEUE as u32)]);
    }

    #[test]
    fn refusals_alike_are_one_record() {
        let mut gathered = Gathered::default();
        for actor in ["ann", "bob", "ann"] {
            gathered.add(refusal(actor));
        }
        let counts: Vec<_> = gathered.done().into_iter().map(|record| (record.actor, record.count)).collect();
        assert_eq!(counts, [("ann".into(), 2), ("bob".into(), 1)]);
    }

    #[test]
    fn whoever_makes_up_names_fills_no_table() {
        let mut gathered = Gathered::default();
        for n in 0..10_000 {
            gathered.add(refusal(&format!("user{n}")));
        }
        let records = gathered.done();
        assert_eq!(records.len(), DIFFERENT + 1);
        assert_eq!(records.iter().map(|record| record.count).sum::<u32>(), 10_000);
    }
}
