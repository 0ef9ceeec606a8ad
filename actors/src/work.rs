//! One claimed task, from its claim to its end: compacted, tried again later, or its stream set aside.
//!
//! All of it is dropped when the lease is lost, at whatever point it waits. Nothing here counts on being awake: a process that
//! was stopped for longer than its lease and goes on at any line does no harm, because
//! - a row is stored under the epoch of the claim, which the store refuses if a later claim has stored;
//! - ending a task and giving it back do nothing unless the task is still ours;
//! - a record of a failure too many brings a quarantine forward by one attempt, no more;
//! - before a stream is set aside the log is asked whether the task is still ours; the stream must begin with the entry that
//!   failed, and its new name is made of that, so that who comes second changes nothing.

use std::{sync::Arc, time::Duration};

use yhub_core::{
    Failed, RoomId, StreamClock, Verdict,
    alarms::{Alarm, raise},
    chain, signature,
};
use yhub_documents::{Compacted, CompactionFailed, QuarantineReason, SetAside};
use yhub_store::{FailureReport, Task, WorkerId};

use crate::node::Node;

/// A recorded message is at most so long, in bytes.
const MAX_MESSAGE_BYTES: usize = 1000;

/// What a task needs.
pub(crate) struct Work {
    pub(crate) node: Arc<Node>,
    pub(crate) worker: WorkerId,
    pub(crate) task: Task,
    /// Between 0 and 1.
    pub(crate) jitter: f64,
}

/// A failure in words.
struct Told {
    class: &'static str,
    signature: String,
    message: String,
}

impl Work {
    /// Does it all. What goes wrong is logged here.
    pub(crate) async fn run(self) {
        let Self { node, worker, task, .. } = &self;
        let (room, started_ms) = (&task.room, node.uptime_ms());
        match node.documents.compact(worker, task, node.worker.min_message_lifetime).await {
            Ok(Compacted::Stored { upto, trimmed }) => {
                let duration_ms = node.uptime_ms() - started_ms;
                log::info!(room:% = room, clock:% = upto, duration_ms = duration_ms, trimmed = trimmed; "compacted room {room}");
                node.compaction_health().on_stored(room);
                self.forget_failures().await;
            }
            Ok(Compacted::Trimmed { trimmed }) => {
                log::debug!(room:% = room, trimmed = trimmed; "trimmed room {room}");
                self.forget_failures().await;
            }
            Ok(Compacted::GivenBack { above }) => log::warn!(
                room:% = room, epoch = task.epoch.0;
                "the stream log had lost the epochs of room {room}: its task was claimed under {}, but {} has stored; it is claimed anew",
                task.epoch.0, above.0
            ),
            Ok(Compacted::Postponed) => {
                log::debug!(room:% = room; "the long document of room {room} is folded later: as many as may are being folded");
            }
            Ok(Compacted::Lost) => {}
            Err(failed) if failed.is_transient() => {
                let after = node.compaction_health().policy().backoff(u64::from(task.attempt), self.jitter);
                log::warn!(
                    room:% = room, attempt = task.attempt;
                    "room {room} could not be compacted now, attempt {}; it is tried again after {after:?}: {}",
                    task.attempt, chain(&failed)
                );
                self.give_back(after).await;
            }
            Err(failed) => self.on_failed(failed).await,
        }
    }

    async fn on_failed(&self, failed: CompactionFailed) {
        let (room, policy) = (&self.task.room, self.node.compaction_health().policy().clone());
        let class = failed.error.class();
        let told = Told {
            class: class.name(),
            signature: signature(class.name(), &failed.error.cause()),
            message: cut(chain(&failed), MAX_MESSAGE_BYTES),
        };
        let Some((in_a_row, rooms_alike)) = self.record(&failed, &told).await else {
            // What cannot be counted proves nothing.
            let after = policy.backoff(u64::from(self.task.attempt), self.jitter);
            self.log_failure(&told, after);
            return self.give_back(after).await;
        };
        fail::fail_point!("work::recorded", |_| ());
        let seen = Failed {
            room,
            signature: &told.signature,
            in_a_row,
            rooms_alike,
            attempt: self.task.attempt,
            may_be_set_aside: class.is_of_stream(),
        };
        match self.node.compaction_health().on_failed(seen, self.jitter) {
            Verdict::Retry { after } | Verdict::HubAtFault { after } => {
                self.log_failure(&told, after);
                self.give_back(after).await;
            }
            Verdict::Quarantine => self.set_aside(failed.from, told).await,
        }
    }

    /// How often in a row, and in how many rooms alike; `None` if that could not be recorded.
    async fn record(&self, failed: &CompactionFailed, told: &Told) -> Option<(u64, u64)> {
        let (room, documents) = (&self.task.room, &self.node.documents);
        let at_ms = match documents.log().now_ms().await {
            Ok(at_ms) => at_ms,
            Err(error) => {
                log::warn!(room:% = room; "the failure of room {room} was not recorded: {}", chain(&error));
                return None;
            }
        };
        let report = FailureReport {
            room: room.clone(),
            class: told.class.into(),
            signature: told.signature.clone(),
            attempt: self.task.attempt,
            from: failed.from,
            upto: failed.upto,
            message: told.message.clone(),
            at_ms,
        };
        let window_ms = self.node.worker.poison.window.as_millis() as u64;
        match documents.failures().record_failure(&report, at_ms.saturating_sub(window_ms)).await {
            Ok(tally) => Some((tally.in_a_row, tally.rooms_alike)),
            Err(error) => {
                log::warn!(room:% = room; "the failure of room {room} was not recorded: {}", chain(&error));
                None
            }
        }
    }

    fn log_failure(&self, told: &Told, after: Duration) {
        let (room, attempt) = (&self.task.room, self.task.attempt);
        log::error!(
            room:% = room, attempt = attempt, class = told.class, signature:% = told.signature;
            "compacting room {room} failed, attempt {attempt}; it is tried again after {after:?}: {}",
            told.message
        );
    }

    async fn set_aside(&self, from: StreamClock, told: Told) {
        let Self { node, worker, task, .. } = self;
        let room = &task.room;
        // Where that does not work, either, there is no hurry.
        let otherwise = node.compaction_health().policy().longest_backoff;
        // Setting aside is the one step that the log does not fence by itself.
        match node.documents.log().renew(worker, std::slice::from_ref(task)).await {
            Ok(ours) if ours.contains(&task.id) => {}
            Ok(_) => return log::warn!(room:% = room; "the task of room {room} is not ours any more; nothing is set aside"),
            Err(error) => {
                log::warn!(room:% = room; "the stream of room {room} was not set aside: {}", chain(&error));
                return self.give_back(otherwise).await;
            }
        }
        let Told { class, signature, message } = told;
        let from = Some(from).filter(|from| *from != StreamClock::ZERO);
        let why = QuarantineReason { class: class.into(), signature: signature.clone(), reason: message.clone(), from };
        match node.documents.quarantine(room, why).await {
            Ok(SetAside::Done { id }) => {
                let count = raise(Alarm::Quarantined, 1);
                log::error!(
                    room:% = room, class = class, signature:% = signature, quarantine:% = id.0,
                    alarm = Alarm::Quarantined.name(), count = count;
                    "the stream of room {room} was set aside as {}: it could not be compacted again and again; what it holds is \
                     still shown, and is compacted once it is released; alarm {count}: {message}",
                    id.0
                );
                // Whatever the attempt: the record that led to this is of what is set aside now.
                self.forget(room).await;
                self.end_task().await;
            }
            Ok(SetAside::Nothing) => {
                log::warn!(room:% = room; "the stream of room {room} is not the one any more that failed; nothing is set aside");
                self.give_back(node.compaction_health().policy().backoff(u64::from(task.attempt), self.jitter)).await;
            }
            Ok(SetAside::TooMany { count }) => {
                log::error!(
                    room:% = room, class = class, signature:% = signature;
                    "room {room} cannot be compacted, and {count} streams of it are set aside already, which is the bound; it is \
                     tried again after {otherwise:?}: {message}"
                );
                self.give_back(otherwise).await;
            }
            Err(error) => {
                log::error!(room:% = room; "the stream of room {room} was not set aside: {}", chain(&error));
                self.give_back(otherwise).await;
            }
        }
    }

    /// Ends the task without trimming anything: what the room holds now is looked at by the next.
    async fn end_task(&self) {
        let room = &self.task.room;
        let log = self.node.documents.log();
        let ended = log.complete(&self.worker, &self.task, StreamClock::ZERO, self.node.worker.min_message_lifetime).await;
        if let Err(error) = ended {
            log::warn!(room:% = room; "the task of room {room} was not ended; its lease lapses: {}", chain(&error));
        }
    }

    async fn give_back(&self, after: Duration) {
        let room = &self.task.room;
        if let Err(error) = self.node.documents.log().give_back(&self.worker, &self.task, after).await {
            log::warn!(room:% = room; "the task of room {room} was not given back; its lease lapses: {}", chain(&error));
        }
    }

    /// Only where there may be something to forget: most compactions write nothing but their row.
    async fn forget_failures(&self) {
        let room = &self.task.room;
        let is_remembered = self.node.compaction_health().take_on_record(room);
        if is_remembered || self.task.attempt > 1 {
            self.forget(room).await;
        }
    }

    async fn forget(&self, room: &RoomId) {
        self.node.compaction_health().take_on_record(room);
        if let Err(error) = self.node.documents.failures().forget_failures(room).await {
            log::warn!(room:% = room; "the failures of room {room} stay on record although it was compacted: {}", chain(&error));
        }
    }
}

/// At most so many bytes, whole characters.
fn cut(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        let mut end = max_bytes;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}
