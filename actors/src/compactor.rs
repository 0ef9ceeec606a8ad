//! The pool that drains the worker queue into the document store.
//!
//! A failed task is not given back: its lease lapses, which is the pause before the next attempt.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::sync::oneshot;
use yhub_documents::{Compacted, DocumentsError};
use yhub_store::{StreamLogError, Task, TaskId, WorkerId};

use crate::{
    lease_keeper::{Keep, LeaseKeeper, Release},
    node::Node,
    room::chain,
};

/// How long a worker that stops waits for its tasks before it gives them back.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The lease keeper that lives. From the registry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct KeeperIs(pub Addr<LeaseKeeper>);

/// Take no more tasks, end or give back those under way. Answered when done. From the registry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

enum Ended {
    Done(Result<Compacted, DocumentsError>),
    LeaseLost,
}

/// The actor.
pub struct Compactor {
    node: Arc<Node>,
    worker: WorkerId,
    keeper: Addr<LeaseKeeper>,
    running: HashMap<TaskId, Task>,
    claiming: bool,
    stopping: bool,
}

impl Compactor {
    /// A pool under a name of its own.
    pub fn new(node: Arc<Node>, keeper: Addr<LeaseKeeper>) -> Self {
        let worker = WorkerId(uuid::Uuid::new_v4().to_string());
        Self { node, worker, keeper, running: HashMap::new(), claiming: false, stopping: false }
    }

    fn claim(&mut self, ctx: &mut Context<Self>) {
        let settings = &self.node.worker;
        let free = settings.concurrency.saturating_sub(self.running.len());
        if self.stopping || self.claiming || free == 0 {
            return;
        }
        fail::fail_point!("compactor::claim", |_| ());
        self.claiming = true;
        let (log, worker) = (self.node.documents.log().clone(), self.worker.clone());
        let (debounce, lease) = (settings.task_debounce, settings.lease);
        let claim = async move { log.claim(&worker, free, debounce, lease).await };
        ctx.spawn(claim.into_actor(self).map(|claimed: Result<Vec<Task>, StreamLogError>, pool, ctx| {
            pool.claiming = false;
            match claimed {
                Ok(tasks) => tasks.into_iter().for_each(|task| pool.work(task, ctx)),
                Err(error) => log::warn!("no tasks could be claimed: {}", chain(&error)),
            }
        }));
    }

    fn work(&mut self, task: Task, ctx: &mut Context<Self>) {
        let (lost, on_lost) = oneshot::channel();
        self.keeper.do_send(Keep { worker: self.worker.clone(), task: task.clone(), lost });
        self.running.insert(task.id.clone(), task.clone());
        let (node, worker) = (self.node.clone(), self.worker.clone());
        let work = async move {
            let started_ms = node.uptime_ms();
            let compaction = node.documents.compact(&worker, &task, node.worker.min_message_lifetime);
            let ended = tokio::select! {
                // Also where nothing is sent: a keeper that died renews nothing, so another worker takes the task sooner or
                // later. Work that went on would hold its place in the pool for as long as a store does not answer.
                _ = on_lost => Ended::LeaseLost,
                done = compaction => Ended::Done(done),
            };
            (task, ended, node.uptime_ms() - started_ms)
        };
        ctx.spawn(work.into_actor(self).map(|(task, ended, duration_ms), pool, ctx| {
            // The same task may have been claimed again meanwhile, when its lease had lapsed.
            if pool.running.get(&task.id).is_some_and(|running| running.epoch == task.epoch) {
                pool.running.remove(&task.id);
            }
            pool.keeper.do_send(Release(task.id, task.epoch));
            let room = &task.room;
            match ended {
                Ended::Done(Ok(Compacted::Stored { upto, trimmed })) => {
                    log::info!(room:% = room, clock:% = upto, duration_ms = duration_ms, trimmed = trimmed; "compacted room {room}");
                }
                Ended::Done(Ok(Compacted::Trimmed { trimmed })) => {
                    log::debug!(room:% = room, trimmed = trimmed; "trimmed room {room}");
                }
                Ended::Done(Ok(Compacted::Lost)) | Ended::LeaseLost => {}
                Ended::Done(Err(error)) => log::error!(
                    room:% = room, attempt = task.attempt;
                    "compacting room {room} failed, attempt {}; it is tried again after {:?}: {}",
                    task.attempt, pool.node.worker.lease, chain(&error)
                ),
            }
            pool.claim(ctx);
        }));
    }
}

impl Actor for Compactor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.node.worker.poll, Self::claim);
    }
}

impl Handler<KeeperIs> for Compactor {
    type Result = ();

    fn handle(&mut self, KeeperIs(keeper): KeeperIs, _: &mut Self::Context) {
        self.keeper = keeper;
    }
}

impl Handler<Stop> for Compactor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        let me = ctx.address();
        let wait = async move {
            let ended = async {
                while me.send(Running).await.is_ok_and(|running| running > 0) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            // What is not done by then is given back below.
            let _ = tokio::time::timeout(STOP_WITHIN, ended).await;
        };
        Box::pin(wait.into_actor(self).then(|(), pool, _| {
            let (log, worker) = (pool.node.documents.log().clone(), pool.worker.clone());
            let tasks: Vec<Task> = pool.running.drain().map(|(_, task)| task).collect();
            let give_back = async move {
                for task in tasks {
                    if let Err(error) = log.give_back(&worker, &task).await {
                        log::warn!(room:% = task.room; "the task of room {} was not given back; its lease lapses: {}", task.room, chain(&error));
                    }
                }
            };
            give_back.into_actor(pool)
        }))
    }
}

/// How many tasks are under way?
#[derive(Message)]
#[rtype(result = "usize")]
struct Running;

impl Handler<Running> for Compactor {
    type Result = usize;

    fn handle(&mut self, _: Running, _: &mut Self::Context) -> usize {
        self.running.len()
    }
}
