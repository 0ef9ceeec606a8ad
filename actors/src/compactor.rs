//! The pool that drains the worker queue into the document store.
//!
//! What becomes of one task is in `work.rs`. This claims, keeps the leases, and ends the work on what was lost.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::sync::oneshot;
use yhub_core::chain;
use yhub_store::{StreamLogError, Task, TaskId, WorkerId};

use crate::{
    lease_keeper::{Keep, LeaseKeeper, Release},
    node::Node,
    work::Work,
};

/// The lease keeper that lives. From the registry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct KeeperIs(pub Addr<LeaseKeeper>);

/// Take no more tasks, end or give back those under way. Answered when done. From the registry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

struct Running {
    task: Task,
    work: SpawnHandle,
}

/// The actor.
pub struct Compactor {
    node: Arc<Node>,
    worker: WorkerId,
    keeper: Addr<LeaseKeeper>,
    running: HashMap<TaskId, Running>,
    random: fastrand::Rng,
    claiming: bool,
    /// Did the last claim bring all that it asked for? Then there may be more.
    was_full: bool,
    stopping: bool,
}

impl Compactor {
    /// A pool under a name of its own.
    pub fn new(node: Arc<Node>, keeper: Addr<LeaseKeeper>) -> Self {
        let name = uuid::Uuid::new_v4();
        let random = fastrand::Rng::with_seed(name.as_u64_pair().0);
        let worker = WorkerId(name.to_string());
        Self { node, worker, keeper, running: HashMap::new(), random, claiming: false, was_full: false, stopping: false }
    }

    fn claim(&mut self, ctx: &mut Context<Self>) {
        self.node.compaction_health().look();
        let settings = &self.node.worker;
        let free = settings.concurrency.saturating_sub(self.running.len());
        if self.stopping || self.claiming || free == 0 {
            return;
        }
        fail::fail_point!("compactor::claim", |_| ());
        self.claiming = true;
        let (log, worker) = (self.node.documents.log().clone(), self.worker.clone());
        let (debounce, lease) = (settings.task_debounce, settings.lease);
        let asked_ms = self.node.uptime_ms();
        let claim = async move { log.claim(&worker, free, debounce, lease).await };
        ctx.spawn(claim.into_actor(self).map(move |claimed: Result<Vec<Task>, StreamLogError>, pool, ctx| {
            pool.claiming = false;
            match claimed {
                Ok(tasks) if pool.stopping => {
                    ctx.spawn(pool.give_back(tasks).into_actor(pool));
                }
                Ok(tasks) => {
                    pool.was_full = tasks.len() >= free;
                    tasks.into_iter().for_each(|task| pool.work(task, asked_ms, ctx));
                }
                Err(error) => log::warn!("no tasks could be claimed: {}", chain(&error)),
            }
        }));
    }

    /// Claims again before it is time to, once half of the places are free: one claim for several tasks.
    fn claim_more(&mut self, ctx: &mut Context<Self>) {
        if self.was_full && self.running.len() <= self.node.worker.concurrency / 2 {
            self.claim(ctx);
        }
    }

    fn work(&mut self, task: Task, since_ms: u64, ctx: &mut Context<Self>) {
        let (lost, on_lost) = oneshot::channel();
        self.keeper.do_send(Keep { worker: self.worker.clone(), task: task.clone(), since_ms, lost });
        let (node, worker, jitter) = (self.node.clone(), self.worker.clone(), self.random.f64());
        let (id, epoch) = (task.id.clone(), task.epoch);
        let work = Work { node, worker, task: task.clone(), jitter };
        let work = async move {
            tokio::select! {
                // Looked at first, so that who slept for longer than the lease and was told does not go on. Also where nothing is
                // sent: a keeper that died renews nothing, so another worker takes the task sooner or later. Work that went on
                // would hold its place in the pool for as long as a store does not answer.
                biased;
                _ = on_lost => {}
                () = work.run() => {}
            }
        };
        let work = ctx.spawn(work.into_actor(self).map(move |(), pool, ctx| {
            // The same task may have been claimed again meanwhile, when its lease had lapsed.
            if pool.running.get(&id).is_some_and(|running| running.task.epoch == epoch) {
                pool.running.remove(&id);
            }
            pool.keeper.do_send(Release(id, epoch));
            pool.claim_more(ctx);
        }));
        self.running.insert(task.id.clone(), Running { task, work });
    }

    fn give_back(&self, tasks: Vec<Task>) -> impl Future<Output = ()> + use<> {
        let (log, worker) = (self.node.documents.log().clone(), self.worker.clone());
        async move {
            for task in tasks {
                let room = &task.room;
                if let Err(error) = log.give_back(&worker, &task, Duration::ZERO).await {
                    log::warn!(room:% = room; "the task of room {room} was not given back; its lease lapses: {}", chain(&error));
                }
            }
        }
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
        let (me, within) = (ctx.address(), self.node.worker.stop_within);
        let wait = async move {
            let ended = async {
                while me.send(Count).await.is_ok_and(|running| running > 0) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            // What is not done by then is given back below.
            let _ = tokio::time::timeout(within, ended).await;
        };
        Box::pin(wait.into_actor(self).then(|(), pool, ctx| {
            let running: Vec<Running> = pool.running.drain().map(|(_, running)| running).collect();
            let mut tasks = Vec::with_capacity(running.len());
            for Running { task, work } in running {
                // Before the task is given back: nobody works on what is not theirs.
                ctx.cancel_future(work);
                pool.keeper.do_send(Release(task.id.clone(), task.epoch));
                tasks.push(task);
            }
            pool.give_back(tasks).into_actor(pool)
        }))
    }
}

/// How many tasks are under way?
#[derive(Message)]
#[rtype(result = "usize")]
struct Count;

impl Handler<Count> for Compactor {
    type Result = usize;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> usize {
        self.running.len()
    }
}
