//! A log that may have lost something: what the room's core wants to know and do then. Policy is in `yhub_core::room`.

use actix::prelude::*;
use tokio::time::Instant;
use yhub_core::{SalvageJob, StreamClock, chain, salvage};
use yhub_documents::ComputeError;

use super::{FOLD_INLINE_BYTES, Room};
use crate::stream_reader::Follow;

/// The log may have lost lines that were brought already. From the stream reader.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Suspect;

impl Room {
    pub(super) fn follow(&mut self, after: StreamClock, ctx: &mut Context<Self>) {
        self.following += 1;
        self.reader.do_send(Follow {
            room: self.id.clone(),
            after,
            to: ctx.address(),
            generation: self.generation,
            following: self.following,
            read_since: self.read_since.unwrap_or_else(Instant::now),
        });
        // What is heard of from now on comes from the tail, which tells of suspicions itself.
        self.read_since = Some(Instant::now());
    }

    pub(super) fn verify(&mut self, changes: Vec<StreamClock>, upto: StreamClock, ctx: &mut Context<Self>) {
        // Suspicions before this need no other look.
        self.read_since = Some(Instant::now());
        let (node, id) = (self.node.clone(), self.id.clone());
        let compare = async move {
            match tokio::time::timeout(node.load_timeout, node.documents.compare(&id, &changes, upto)).await {
                Ok(Ok(verdict)) => Some(verdict),
                Ok(Err(error)) => {
                    log::warn!(room:% = id; "whether the stream of {id} has lost anything is not known yet: {}", chain(&error));
                    None
                }
                Err(_) => {
                    log::warn!(room:% = id; "looking for losses in the stream of {id} took longer than {:?}", node.load_timeout);
                    None
                }
            }
        };
        ctx.spawn(compare.into_actor(self).map(|verdict, room, ctx| {
            let effects = match verdict {
                Some(verdict) => room.core.on_verified(verdict, room.node.time.now_ms()),
                None => room.core.on_verify_failed(),
            };
            room.carry_out(effects, ctx);
        }));
    }

    pub(super) fn salvage(&self, job: SalvageJob, ctx: &mut Context<Self>) {
        let node = self.node.clone();
        let inline = job.size_bytes() <= FOLD_INLINE_BYTES;
        let found =
            async move { if inline { Ok(salvage(&job)) } else { node.documents.compute().run(move || salvage(&job)).await } };
        ctx.spawn(found.into_actor(self).map(|found: Result<_, ComputeError>, room, ctx| {
            let effects = match found {
                Ok(salvaged) => room.core.on_salvaged(salvaged, room.node.time.now_ms()),
                Err(error) => {
                    log::warn!(room:% = room.id; "what room {} holds is not compared yet with what is left: {error}", room.id);
                    room.core.on_salvage_failed()
                }
            };
            room.carry_out(effects, ctx);
        }));
    }

    /// Said once for each loss, by every room that has lost something.
    pub(super) fn report_loss(&self, remembered: usize, cut_ids: u64, asked: usize) {
        log::error!(
            room:% = self.id, remembered = remembered, cut_ids = cut_ids, sessions = asked;
            "the stream log had lost entries of room {}: {remembered} messages and {cut_ids} ids without their author are \
             appended again, {asked} sessions are asked for what they hold",
            self.id
        );
    }

    pub(super) fn report_not_recovered(&self) {
        log::error!(
            room:% = self.id;
            "the stream log had lost entries of room {}, and they could not be appended again; its sessions are closed and \
             come back with what they hold",
            self.id
        );
    }
}

impl Handler<Suspect> for Room {
    type Result = ();

    fn handle(&mut self, _: Suspect, ctx: &mut Self::Context) {
        let effects = self.core.on_suspect();
        self.carry_out(effects, ctx);
    }
}
