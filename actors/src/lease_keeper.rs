//! Renews the leases of the tasks that this node works on, and stops the work on those it has lost.

use std::{collections::HashMap, sync::Arc};

use actix::prelude::*;
use tokio::sync::oneshot;
use yhub_store::{Task, TaskId, WorkerId};

use crate::{node::Node, room::chain};

/// Keep this lease until it is released. From a compactor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Keep {
    /// Whose.
    pub worker: WorkerId,
    /// Which.
    pub task: Task,
    /// Told when the lease is lost.
    pub lost: oneshot::Sender<()>,
}

/// The work is done. From a compactor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Release(pub TaskId);

/// The actor.
pub struct LeaseKeeper {
    node: Arc<Node>,
    leases: HashMap<TaskId, Keep>,
}

impl LeaseKeeper {
    /// A keeper without leases.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node, leases: HashMap::new() }
    }

    fn renew(&mut self, ctx: &mut Context<Self>) {
        self.leases.retain(|_, keep| !keep.lost.is_closed());
        let mut by_worker: HashMap<String, Vec<Task>> = HashMap::new();
        for keep in self.leases.values() {
            by_worker.entry(keep.worker.0.clone()).or_default().push(keep.task.clone());
        }
        for (worker, tasks) in by_worker {
            let log = self.node.documents.log().clone();
            let renew = async move {
                let renewed = log.renew(&WorkerId(worker), &tasks).await;
                (tasks, renewed)
            };
            ctx.spawn(renew.into_actor(self).map(|(tasks, renewed), keeper, _| match renewed {
                Ok(ours) => {
                    for task in tasks.into_iter().filter(|task| !ours.contains(&task.id)) {
                        if let Some(keep) = keeper.leases.remove(&task.id) {
                            log::warn!(room:% = task.room; "the task of room {} is another worker's now; its work ends", task.room);
                            let _ = keep.lost.send(());
                        }
                    }
                }
                // The leases may lapse meanwhile; then the next renewal says so.
                Err(error) => log::warn!("leases could not be renewed: {}", chain(&error)),
            }));
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
        self.leases.insert(keep.task.id.clone(), keep);
    }
}

impl Handler<Release> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, Release(task): Release, _: &mut Self::Context) {
        self.leases.remove(&task);
    }
}
