//! Puts the queue of tasks right every now and then: a live room has one task, others have none.
//!
//! The log keeps that itself. What breaks it comes from outside: keys that were deleted or restored by hand, other programs that
//! share the log, a log that came back from an old copy.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use yhub_core::{
    alarms::{Alarm, raise},
    chain,
};
use yhub_store::{Reconciled, StreamAdmin, StreamLogError};

use crate::node::Node;

/// About so many rooms and tasks are looked at in one step.
const PAGE: usize = 500;
/// So many steps are one pass; what is left is looked at by the next.
const MAX_PAGES: usize = 20_000;
/// The longest pause after a pass that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// So many rooms are named in one line of the log.
const NAMED: usize = 8;

/// The actor.
pub struct Reconciler {
    node: Arc<Node>,
    admin: Arc<dyn StreamAdmin>,
    random: fastrand::Rng,
    failed_in_a_row: u32,
}

impl Reconciler {
    /// A reconciler that looks for the first time within [`crate::WorkerSettings::reconcile_every`].
    pub fn new(node: Arc<Node>, admin: Arc<dyn StreamAdmin>) -> Self {
        let random = fastrand::Rng::with_seed(uuid::Uuid::new_v4().as_u64_pair().0);
        Self { node, admin, random, failed_in_a_row: 0 }
    }

    fn pass(&mut self, ctx: &mut Context<Self>) {
        let admin = self.admin.clone();
        ctx.spawn(look_at_all(admin).into_actor(self).map(|looked, reconciler, ctx| {
            match looked {
                Ok(()) => reconciler.failed_in_a_row = 0,
                Err(error) => {
                    reconciler.failed_in_a_row = reconciler.failed_in_a_row.saturating_add(1);
                    log::warn!("the queue of tasks could not be looked at: {}", chain(&error));
                }
            }
            let pause = reconciler.pause();
            ctx.run_later(pause, Self::pass);
        }));
    }

    /// Several nodes do not look at the same time for long.
    fn pause(&mut self) -> Duration {
        let whole = self.node.worker.reconcile_every;
        let backoff = whole.saturating_mul(1 << self.failed_in_a_row.min(10)).min(LONGEST_PAUSE.max(whole));
        backoff.mul_f64(0.75 + self.random.f64() / 2.0)
    }
}

async fn look_at_all(admin: Arc<dyn StreamAdmin>) -> Result<(), StreamLogError> {
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        fail::fail_point!("reconciler::page", |_| Ok(()));
        let page = admin.reconcile(cursor.as_deref(), PAGE).await?;
        tell(&page);
        match page.next {
            None => return Ok(()),
            next => cursor = next,
        }
    }
    Ok(())
}

fn tell(page: &Reconciled) {
    let repaired = page.enqueued.len() as u64 + page.dropped;
    if repaired == 0 {
        return;
    }
    let count = raise(Alarm::TaskReconciled, repaired);
    let named: Vec<String> = page.enqueued.iter().take(NAMED).map(ToString::to_string).collect();
    let named = if named.is_empty() { String::new() } else { format!(", among them {}", named.join(", ")) };
    log::warn!(
        enqueued = page.enqueued.len(), dropped = page.dropped, alarm = Alarm::TaskReconciled.name(), count = count;
        "{} live rooms had no task and now have one{named}; {} tasks too many were taken off; alarm {count}",
        page.enqueued.len(), page.dropped
    );
}

impl Actor for Reconciler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let first = self.node.worker.reconcile_every.mul_f64(self.random.f64());
        ctx.run_later(first, Self::pass);
    }
}
