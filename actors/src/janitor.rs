//! Brings deletions to their end that nobody ended, erases what was kept for long enough, removes objects without a row, and
//! forgets audit records, access tokens and notices whose time is over.
//!
//! A duty of one node at a time, by a lease in the document store. Two at once, where a lease has lapsed, do no harm: every
//! step may run twice.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use yhub_core::{RoomId, chain};
use yhub_documents::{OrphanCursor, OrphanError, Swept};
use yhub_store::{AccessTokenStore, AuditStore, DocStoreError, NoticeStore, StreamLogError};

use crate::node::Node;

/// The name of the duty.
const DUTY: &str = "janitor";
/// So many rooms are erased in one part of a pass, before it is looked whether the duty is still ours.
const ROOMS_AT_ONCE: usize = 10;
/// So many parts are one pass; what is left is for the next.
const MAX_PARTS: usize = 1_000;
/// So many objects are looked at in one pass, in parts of so many.
const OBJECTS_A_PASS: u64 = 20_000;
const OBJECTS_AT_ONCE: usize = 1_000;
/// So many records or tokens are forgotten in one transaction, in so many parts of each in one pass.
const FORGOTTEN_AT_ONCE: usize = 1_000;
const MAX_FORGOTTEN_PARTS: usize = 100;
/// So many objects that cannot be looked at or removed are named in the log in one pass; of others it is said how many they are.
const NAMED_A_PASS: usize = 10;
/// A part may take so long before the duty lapses, beside the pause between passes.
const PART: Duration = Duration::from_secs(120);
/// The longest pause after a pass that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(900);

/// What is cleared up, and when.
#[derive(Clone, Debug)]
pub struct JanitorSettings {
    /// How often, about. A deletion that is under way for longer is taken for one that nobody ends.
    pub every: Duration,
    /// Content of deleted rooms is kept for so long; `None`: for ever.
    pub retention: Option<Duration>,
    /// Objects that are younger are not looked at.
    pub orphan_grace: Duration,
}

/// What is forgotten when its time is over.
#[derive(Clone)]
pub struct Forgets {
    /// Where the records of what was done are.
    pub audit: Arc<dyn AuditStore>,
    /// They are kept for so long; `None`: for ever.
    pub keep_records: Option<Duration>,
    /// Where access tokens are.
    pub tokens: Arc<dyn AccessTokenStore>,
    /// They are kept for so long after they have ended.
    pub keep_ended_tokens: Duration,
    /// Where notices of changed access are.
    pub notices: Arc<dyn NoticeStore>,
    /// They are kept for so long: a node that was cut off for longer misses them.
    pub keep_notices: Duration,
}

/// The actor.
pub struct Janitor {
    node: Arc<Node>,
    settings: JanitorSettings,
    owner: String,
    random: fastrand::Rng,
    failed_in_a_row: u32,
    /// Where the search for objects goes on.
    orphans: OrphanCursor,
}

impl Janitor {
    /// A janitor that looks for the first time within [`JanitorSettings::every`].
    pub fn new(node: Arc<Node>, settings: JanitorSettings) -> Self {
        let owner = uuid::Uuid::new_v4();
        let random = fastrand::Rng::with_seed(owner.as_u64_pair().0);
        Self { node, settings, owner: owner.to_string(), random, failed_in_a_row: 0, orphans: OrphanCursor::default() }
    }

    fn pass(&mut self, ctx: &mut Context<Self>) {
        let pass = Pass {
            node: self.node.clone(),
            settings: self.settings.clone(),
            owner: self.owner.clone(),
            orphans: self.orphans.clone(),
        };
        ctx.spawn(pass.run().into_actor(self).map(|(passed, orphans), janitor, ctx| {
            janitor.orphans = orphans;
            match passed {
                Ok(()) => janitor.failed_in_a_row = 0,
                Err(Stopped::NotOurs) => {}
                Err(stopped) => {
                    janitor.failed_in_a_row = janitor.failed_in_a_row.saturating_add(1);
                    log::warn!("deleted rooms could not be cleared up: {}", chain(&stopped));
                }
            }
            let pause = janitor.pause();
            ctx.run_later(pause, Self::pass);
        }));
    }

    /// Several nodes do not look at the same time for long.
    fn pause(&mut self) -> Duration {
        let whole = self.settings.every;
        let backoff = whole.saturating_mul(1 << self.failed_in_a_row.min(10)).min(LONGEST_PAUSE.max(whole));
        backoff.mul_f64(0.75 + self.random.f64() / 2.0)
    }
}

impl Actor for Janitor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let first = self.settings.every.mul_f64(self.random.f64());
        ctx.run_later(first, Self::pass);
    }
}

/// Why a pass ended before its end.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    /// Another node has the duty.
    #[error("another node has the duty")]
    NotOurs,
    #[error("the stream log does not say what time it is")]
    Time(#[source] StreamLogError),
    #[error("the document store fails")]
    Store(#[source] DocStoreError),
    #[error("the assets fail")]
    Orphans(#[source] OrphanError),
    #[error("{0} rooms could not be erased now, and are tried again")]
    Rooms(usize),
}

/// One pass.
struct Pass {
    node: Arc<Node>,
    settings: JanitorSettings,
    owner: String,
    orphans: OrphanCursor,
}

impl Pass {
    async fn run(mut self) -> (Result<(), Stopped>, OrphanCursor) {
        let passed = self.all().await;
        (passed, self.orphans)
    }

    async fn all(&mut self) -> Result<(), Stopped> {
        let documents = self.node.documents.clone();
        let now_ms = self.on_duty().await?;
        let under_way_ms = before(now_ms, self.settings.every);
        let resume = async |after: Option<RoomId>| documents.resume_deletions(under_way_ms, after.as_ref(), ROOMS_AT_ONCE).await;
        let mut failures = self.sweep("its deletion", resume).await?;
        fail::fail_point!("janitor::resumed", |_| Ok(()));
        if let Some(retention) = self.settings.retention {
            let due_ms = before(now_ms, retention);
            let erase = async |after: Option<RoomId>| documents.carry_out_retention(due_ms, after.as_ref(), ROOMS_AT_ONCE).await;
            failures += self.sweep("its retention", erase).await?;
        }
        // Before what may wait for other services.
        self.forget(now_ms).await?;
        self.remove_orphans().await?;
        if failures > 0 { Err(Stopped::Rooms(failures)) } else { Ok(()) }
    }

    /// Takes the duty, or goes on having it. Returns the log's time.
    async fn on_duty(&self) -> Result<u64, Stopped> {
        let now_ms = self.node.documents.log().now_ms().await.map_err(Stopped::Time)?;
        let lease = PART + self.settings.every.saturating_mul(2);
        let ours = self.node.documents.deletions().take_duty(DUTY, &self.owner, now_ms, lease).await;
        if ours.map_err(Stopped::Store)? { Ok(now_ms) } else { Err(Stopped::NotOurs) }
    }

    /// Erases rooms, part by part. Returns how many could not be.
    async fn sweep(
        &self,
        why: &str,
        mut part: impl AsyncFnMut(Option<RoomId>) -> Result<Swept, DocStoreError>,
    ) -> Result<usize, Stopped> {
        let (mut after, mut failed) = (None, 0);
        for _ in 0..MAX_PARTS {
            let swept = part(after).await.map_err(Stopped::Store)?;
            for room in &swept.erased {
                log::info!(room:% = room; "erased the deleted room {room}: {why} was due");
            }
            for room in &swept.held {
                log::debug!(room:% = room; "the deleted room {room} is not erased: a hold is on it");
            }
            for (room, error) in &swept.failed {
                log::warn!(room:% = room; "the deleted room {room} is not erased yet: {}", chain(error));
            }
            failed += swept.failed.len();
            after = swept.next;
            if after.is_none() {
                break;
            }
            self.on_duty().await?;
        }
        Ok(failed)
    }

    /// Forgets what is older than it is to be, part by part; what is left is for the next pass.
    async fn forget(&self, now_ms: u64) -> Result<(), Stopped> {
        let Some(forgets) = &self.node.forgets else { return Ok(()) };
        let Forgets { audit, keep_records, tokens, keep_ended_tokens, notices, keep_notices } = forgets;
        let start_of = |kept: Duration| now_ms.saturating_sub(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
        if let Some(kept) = keep_records {
            let delete = async || audit.delete_before(start_of(*kept), FORGOTTEN_AT_ONCE).await;
            self.forget_parts("audit records", delete).await?;
        }
        let delete = async || tokens.delete_ended_before(start_of(*keep_ended_tokens), FORGOTTEN_AT_ONCE).await;
        self.forget_parts("access tokens that have ended", delete).await?;
        let delete = async || notices.delete_before(start_of(*keep_notices), FORGOTTEN_AT_ONCE).await;
        self.forget_parts("notices of changed access", delete).await
    }

    async fn forget_parts(&self, what: &str, part: impl AsyncFn() -> Result<u64, DocStoreError>) -> Result<(), Stopped> {
        let mut forgotten = 0;
        for _ in 0..MAX_FORGOTTEN_PARTS {
            let count = part().await.map_err(Stopped::Store)?;
            forgotten += count;
            if count < FORGOTTEN_AT_ONCE as u64 {
                break;
            }
            self.on_duty().await?;
        }
        if forgotten > 0 {
            log::info!(count = forgotten; "deleted {forgotten} {what}: they were kept for long enough");
        }
        Ok(())
    }

    /// Looks at a part of all objects; the next pass goes on there.
    async fn remove_orphans(&mut self) -> Result<(), Stopped> {
        let (mut looked_at, mut skipped) = (0, 0_usize);
        while looked_at < OBJECTS_A_PASS {
            let from = self.orphans.clone();
            let found = self.node.documents.remove_orphans(from, self.settings.orphan_grace, OBJECTS_AT_ONCE).await;
            let found = found.map_err(Stopped::Orphans)?;
            for (place, id) in &found.removed {
                log::info!(room:% = id.room; "removed {id} from {place}: no version refers to it");
            }
            for (what, error) in found.skipped.iter().take(NAMED_A_PASS.saturating_sub(skipped)) {
                log::warn!(
                    "{what} is left alone by the search for objects without a version, until somebody acts: {}",
                    chain(error)
                );
            }
            skipped += found.skipped.len();
            looked_at += found.looked_at;
            self.orphans = found.next.clone().unwrap_or_default();
            if found.next.is_none() {
                break;
            }
            self.on_duty().await?;
        }
        if skipped > 0 {
            log::warn!(count = skipped; "{skipped} rooms or objects were left alone by the search for objects without a version");
        }
        Ok(())
    }
}

/// So long before `now_ms`, as tombstones count.
fn before(now_ms: u64, by: Duration) -> i64 {
    let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    i64::try_from(now_ms.saturating_sub(by_ms)).unwrap_or(i64::MAX)
}
