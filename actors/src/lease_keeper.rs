//! Renews the leases of the tasks that this node works on, and stops the work on those it has lost. Which these are is
//! decided in `yhub_core::Leases`.

use std::{collections::HashMap, sync::Arc};

use actix::prelude::*;
use tokio::sync::oneshot;
use yhub_core::{
    Leases,
    alarms::{Alarm, raise},
    chain,
};
use yhub_store::{StreamLogError, Task, TaskEpoch, TaskId, WorkerId};

use crate::node::Node;

/// Keep this lease until it is released. From a compactor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Keep {
    /// Whose.
    pub worker: WorkerId,
    /// Which.
    pub task: Task,
    /// When it was claimed, in milliseconds of [`Node::uptime_ms`]: when the log was asked, not when it answered.
    pub since_ms: u64,
    /// Told when the lease is lost.
    pub lost: oneshot::Sender<()>,
}

/// The work of this claim is done. From a compactor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Release(pub TaskId, pub TaskEpoch);

/// The actor.
pub struct LeaseKeeper {
    node: Arc<Node>,
    leases: Leases<TaskId>,
    kept: HashMap<TaskId, Keep>,
}

impl LeaseKeeper {
    /// A keeper without leases.
    pub fn new(node: Arc<Node>) -> Self {
        let leases = Leases::new(node.worker.lease.as_millis() as u64);
        Self { node, leases, kept: HashMap::new() }
    }

    fn renew(&mut self, ctx: &mut Context<Self>) {
        let asked_ms = self.node.uptime_ms();
        self.let_go_of_the_dead();
        let lapsed = self.leases.lapse(asked_ms);
        self.end_work(lapsed);
        let mut by_worker: HashMap<String, Vec<Task>> = HashMap::new();
        for name in self.leases.names() {
            if let Some(keep) = self.kept.get(&name) {
                by_worker.entry(keep.worker.0.clone()).or_default().push(keep.task.clone());
            }
        }
        for (worker, tasks) in by_worker {
            let log = self.node.documents.log().clone();
            let renew = async move {
                let renewed = log.renew(&WorkerId(worker), &tasks).await;
                (tasks, renewed)
            };
            ctx.spawn(renew.into_actor(self).map(move |(tasks, renewed), keeper, _| {
                let asked: Vec<TaskId> = tasks.into_iter().map(|task| task.id).collect();
                keeper.on_renewed(&asked, renewed, asked_ms);
            }));
        }
    }

    fn on_renewed(&mut self, asked: &[TaskId], renewed: Result<Vec<TaskId>, StreamLogError>, asked_ms: u64) {
        match renewed {
            Ok(ours) => {
                let lost = self.leases.on_renewed(asked, &ours, asked_ms);
                self.end_work(lost);
            }
            Err(error) => log::warn!("leases could not be renewed: {}", chain(&error)),
        }
    }

    /// Work that died with its compactor, in a panic, says nothing. Its lease must lapse: renewed, it would keep its room from being
    /// compacted for as long as this node lives.
    fn let_go_of_the_dead(&mut self) {
        let leases = &mut self.leases;
        self.kept.retain(|name, keep| {
            let is_dead = keep.lost.is_closed();
            if is_dead {
                leases.release(name);
            }
            !is_dead
        });
    }

    fn end_work(&mut self, lost: Vec<TaskId>) {
        for keep in lost.into_iter().filter_map(|name| self.kept.remove(&name)) {
            let room = &keep.task.room;
            let count = raise(Alarm::LeaseLost, 1);
            log::warn!(
                room:% = room, alarm = Alarm::LeaseLost.name(), count = count;
                "the lease on the task of room {room} is lost; its work ends, another worker takes it; alarm {count}"
            );
            // The work may have ended by itself just now.
            let _ = keep.lost.send(());
        }
    }
}

impl Actor for LeaseKeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.node.worker.lease / 3, Self::renew);
    }
}

impl Handler<Keep> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, keep: Keep, _: &mut Self::Context) {
        self.leases.keep(keep.task.id.clone(), keep.since_ms);
        self.kept.insert(keep.task.id.clone(), keep);
        // The claim may have been answered late, or we were not awake since.
        let lapsed = self.leases.lapse(self.node.uptime_ms());
        self.end_work(lapsed);
    }
}

impl Handler<Release> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, Release(task, epoch): Release, _: &mut Self::Context) {
        // A later claim of the same task is another work's.
        if self.kept.get(&task).is_some_and(|keep| keep.task.epoch == epoch) {
            self.leases.release(&task);
            self.kept.remove(&task);
        }
    }
}
