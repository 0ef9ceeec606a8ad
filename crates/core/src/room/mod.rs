//! What one room decides: who gets which bytes, what is appended, when the document is loaded and folded.
//!
//! The actor around it carries out the [`Effect`]s in the order in which they come and reports back what happened.

mod awareness;
mod awareness_update;
mod checks;
mod effect;
mod ending;
#[cfg(test)]
mod laws;
mod outgoing;
mod presence;
mod recent;
mod recovery;
mod salvage;
mod size;
mod snapshot;
#[cfg(test)]
mod tests;
mod verdict;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use yhub_content::{ContentIds, StateVector};

pub use awareness::{AWARENESS_TIMEOUT, AwarenessBoard, AwarenessBounds, Presence};
use awareness_update::encode_presence;
pub use awareness_update::{decode_presence, heard_presence, presence_of};
use checks::Checks;
pub use checks::{AuthCheck, CHECKS_REMEMBERED};
pub use effect::{Effect, FoldJob, Folded, Heard, Loaded, Recipients, ServerMessage, Submission, Variant};
use ending::Ending;
pub use outgoing::MAX_APPEND_ATTEMPTS;
use outgoing::{Appended, Failed, Kind, Outgoing};
use recent::Recent;
pub use recovery::MAX_RECOVERY_ATTEMPTS;
use recovery::Recovery;
pub use salvage::{SalvageJob, Salvaged, salvage};
use size::DocumentSize;
use snapshot::Snapshots;
pub use verdict::{Survivors, Verdict, compare, first_to_look_at};

use crate::{
    AnswerMemory, Close, RoomLimits, StreamClock, StreamMessage,
    access::{Identity, Via},
    invariants::{Invariant, check},
};

/// One client's connection, unique within its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One line of the stream as the room sees it: a position and, unless it is a filler, an any-encoded message.
#[derive(Clone, Debug)]
pub struct StreamLine {
    /// Its position.
    pub clock: StreamClock,
    /// The message; `None` is a filler.
    pub message: Option<Bytes>,
}

struct Member {
    variant: Variant,
    who: Arc<Identity>,
    /// Live entries after this clock are sent; `None` until its first sync was answered.
    since: Option<StreamClock>,
}

impl Member {
    /// Who is behind it, if they have shown it.
    fn user(&self) -> Option<Arc<str>> {
        (self.who.via != Via::Open).then(|| self.who.user.as_str().into())
    }
}

/// Updates longer than this are not looked into when they come from the stream, so that no room stands still for one;
/// the next fold learns what they hold.
const INSPECT_MAX_BYTES: usize = 256 << 10;

/// An answer to a sync goes through the whole document, and one about who is there through all that is said: that costs as much as
/// messages of a 16th of its length. So a client that asks again and again for what is long is read more and more slowly.
const WORK_OF_AN_ANSWER: usize = 16;

/// The decisions of one room.
pub struct RoomCore {
    limits: RoomLimits,
    members: HashMap<SessionId, Member>,
    /// Members that do not get every broadcast: not yet synced, or synced ahead of the tail.
    partial: usize,
    /// Who came in since all were asked for what we lack.
    unasked: Vec<SessionId>,
    /// The highest clock that the tail has brought, or that it starts from; `None` before the first load.
    position: Option<StreamClock>,
    /// Where the tail began.
    followed_from: StreamClock,
    /// The highest clock that this room has heard of in any way.
    floor: StreamClock,
    outgoing: Outgoing,
    snapshots: Snapshots,
    size: DocumentSize,
    recent: Recent,
    recovery: Recovery,
    checks: Checks,
    awareness: AwarenessBoard,
    /// The encoded presence, until it changes.
    presence: Option<Bytes>,
    memory: AnswerMemory,
    awareness_flushed_ms: u64,
    awareness_armed: bool,
    corked: bool,
    ending: Ending,
}

impl RoomCore {
    /// An empty room that knows nothing yet.
    pub fn new(limits: RoomLimits) -> Self {
        Self {
            checks: Checks::default(),
            awareness: AwarenessBoard::new(limits.awareness),
            presence: None,
            limits,
            members: HashMap::new(),
            partial: 0,
            unasked: Vec::new(),
            position: None,
            followed_from: StreamClock::ZERO,
            floor: StreamClock::ZERO,
            outgoing: Outgoing::default(),
            snapshots: Snapshots::default(),
            size: DocumentSize::default(),
            recent: Recent::default(),
            recovery: Recovery::default(),
            memory: AnswerMemory::default(),
            awareness_flushed_ms: 0,
            awareness_armed: false,
            corked: false,
            ending: Ending::None,
        }
    }

    /// What it makes for clients is counted in `memory`.
    pub fn counting_in(self, memory: AnswerMemory) -> Self {
        Self { memory, ..self }
    }

    /// The session of `who` comes in at `now_ms`. It gets nothing live before its first sync is answered.
    pub fn on_join(&mut self, session: SessionId, variant: Variant, who: Arc<Identity>, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.checks.concern(&who, now_ms) {
            effects.push(Effect::Check { sessions: vec![session] });
        }
        self.members.insert(session, Member { variant, who, since: None });
        self.partial += 1;
        self.unasked.push(session);
        self.load(variant, &mut effects);
        self.ask(&mut effects);
        effects
    }

    /// A session is gone: who it spoke for leaves. What it submitted is still appended.
    pub fn on_leave(&mut self, session: SessionId, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(member) = self.members.remove(&session) else { return effects };
        if self.is_partial(&member) {
            self.partial -= 1;
        }
        self.snapshots.forget_waiting(session);
        self.outgoing.forget_session(session);
        self.awareness.on_leave(session);
        if self.is_over() {
            // Not said to the stream: that would bring a deleted room to life.
            return effects;
        }
        let speaks = self.members.is_empty() && !self.awareness.speakers().is_empty();
        check(Invariant::AwarenessDies, !speaks, || "everybody has left, and somebody still speaks".into());
        self.flush_awareness(now_ms, &mut effects);
        effects
    }

    /// A session wants what its document lacks. `state_vector` has passed the guard.
    pub fn on_sync(&mut self, session: SessionId, state_vector: Bytes) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(member) = self.members.get(&session) else { return effects };
        let variant = member.variant;
        self.snapshots.want(variant, session, state_vector);
        self.load(variant, &mut effects);
        self.answer(variant, &mut effects);
        effects
    }

    /// A session may write from now on: what it wrote before was not taken, so it is asked for that.
    pub fn on_raised(&mut self, session: SessionId) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.members.contains_key(&session) && !self.unasked.contains(&session) {
            self.unasked.push(session);
            self.ask(&mut effects);
        }
        effects
    }

    /// A session submits updates that passed the guard. Those that the room already holds are echoed, the others appended.
    pub fn on_submit(&mut self, session: SessionId, submissions: Vec<Submission>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut spared = 0;
        for submission in submissions {
            let Some(submission) = self.recovery.pass(session, submission, self.snapshots.known()) else { continue };
            if self.snapshots.holds(&submission.ids) {
                spared += submission.cost_bytes;
                let echo = vec![ServerMessage::Update(submission.update)];
                effects.push(Effect::Broadcast { messages: echo, to: Recipients::These(vec![session]) });
            } else if self.size.refuses(&submission, self.limits.max_document_bytes) {
                // What came before it is appended. What comes behind it builds on it.
                effects.push(Effect::Close { session, close: Close::DOCUMENT_TOO_LARGE });
                break;
            } else {
                self.outgoing.push(Some(session), submission.message, submission.cost_bytes, Kind::Change);
            }
        }
        if spared > 0 {
            effects.push(Effect::Credit { session, size_bytes: spared });
        }
        self.append(&mut effects);
        effects
    }

    /// The stream took what [`Effect::Append`] asked for; its messages have these clocks, ascending.
    pub fn on_appended(&mut self, clocks: &[StreamClock]) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.floor = clocks.iter().copied().fold(self.floor, StreamClock::max);
        let Appended { credit, changes } = self.outgoing.on_appended(clocks);
        for (session, size_bytes) in credit {
            effects.push(Effect::Credit { session, size_bytes });
        }
        for (clock, message) in changes {
            self.recovery.on_acked(clock, self.position);
            self.recent.remember(clock, message);
        }
        if self.recovery.take_old_append() {
            self.suspect(&mut effects);
        }
        self.append(&mut effects);
        effects
    }

    /// The stream did not take it. Tried again [`MAX_APPEND_ATTEMPTS`] times; then the sessions whose updates wait are
    /// closed, and come back with them.
    pub fn on_append_failed(&mut self) -> Vec<Effect> {
        // What the next attempt brings is heard of after the suspicion.
        self.recovery.take_old_append();
        let (sessions, again, lost) = match self.outgoing.on_failed() {
            Failed::Again(after) => return vec![Effect::RetryAppend { after }],
            Failed::GivenUp { sessions, again, lost } => (sessions, again, lost),
        };
        let mut effects: Vec<_> =
            sessions.into_iter().map(|session| Effect::Close { session, close: Close::TRY_AGAIN }).collect();
        effects.extend(again.map(|after| Effect::RetryAppend { after }));
        if lost {
            self.on_salvage_dropped(&mut effects);
        }
        self.cork(&mut effects);
        effects
    }

    /// The time asked for by [`Effect::RetryAppend`] has passed.
    pub fn on_retry_append(&mut self) -> Vec<Effect> {
        self.outgoing.again(self.floor).into_iter().collect()
    }

    /// The tail brings new lines, in log order. `now_ms` is when.
    pub fn on_entries(&mut self, lines: &[StreamLine], now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        // Lines before the first load can only be of a tail that was followed by somebody before us.
        let Some(position) = self.position else { return effects };
        if self.recovery.is_deaf() {
            return effects;
        }
        let mut messages: Vec<(StreamClock, ServerMessage)> = Vec::new();
        let mut presence: HashMap<u64, Presence> = HashMap::new();
        let mut reached = position;
        for line in lines.iter().filter(|line| line.clock > position) {
            check(Invariant::InOrder, line.clock > reached, || format!("the tail brings {} after {reached}", line.clock));
            reached = reached.max(line.clock);
            let Some(message) = &line.message else { continue };
            match StreamMessage::decode(message) {
                Ok(StreamMessage::Update { update, .. }) => match self.learn(line.clock, &update) {
                    Ok(()) => {
                        self.recent.remember(line.clock, message.clone());
                        messages.push((line.clock, ServerMessage::Update(update)));
                    }
                    Err(what) => effects.push(Effect::BadLine { clock: line.clock, what }),
                },
                Ok(StreamMessage::Awareness { update, users }) => {
                    if let Err(what) = self.learn_presence(&update, &users, now_ms, &mut presence) {
                        effects.push(Effect::BadLine { clock: line.clock, what });
                    }
                }
                Ok(StreamMessage::Prune { .. }) => self.recent.remember(line.clock, message.clone()),
                Ok(StreamMessage::Tombstone) => self.ask_for_deletion(&mut effects),
                Ok(StreamMessage::AuthCheck { users, force_disconnect }) => {
                    let check = AuthCheck { at_ms: line.clock.ms, users: users.map(Into::into) };
                    self.check_access(check, force_disconnect, now_ms, &mut effects);
                }
                Ok(_) => {}
                Err(error) => effects.push(Effect::BadLine { clock: line.clock, what: error.to_string() }),
            }
        }
        self.position = Some(reached);
        self.floor = self.floor.max(reached);
        if !presence.is_empty() {
            let mut entries: Vec<_> = presence.into_iter().collect();
            entries.sort_unstable_by_key(|(client, _)| *client);
            messages.push((reached, ServerMessage::Awareness(encode_presence(&entries))));
        }
        self.broadcast(position, reached, messages, &mut effects);
        for variant in self.snapshots.due_for_fold() {
            self.fold(variant, &mut effects);
        }
        self.measure(&mut effects);
        effects
    }

    /// Has the document folded, or loaded, if it may have become larger than it may be.
    fn measure(&mut self, effects: &mut Vec<Effect>) {
        if self.size.is_in_doubt(self.limits.max_document_bytes)
            && let Some(variant) = self.members.values().map(|member| member.variant).next()
        {
            self.load(variant, effects);
            self.fold(variant, effects);
        }
    }

    /// A load is done. The first one says where the tail starts.
    pub fn on_loaded(&mut self, variant: Variant, mut loaded: Loaded, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        loaded.base = self.memory.count(loaded.base);
        self.floor = self.floor.max(loaded.clock);
        if self.recovery.is_loading() {
            self.recover(variant, loaded, now_ms, &mut effects);
            return effects;
        }
        self.recent.load(&loaded);
        if self.position.is_none() {
            self.position = Some(loaded.clock);
            self.followed_from = loaded.clock;
            self.recovery.on_first_load(&loaded);
            effects.push(Effect::Follow(loaded.clock));
            self.hear(&loaded.awareness, now_ms);
            for check in &loaded.checks {
                // Whoever came in since has shown who they are; they may have done so before it.
                self.check_access(check.clone(), false, now_ms, &mut effects);
            }
        }
        if !self.snapshots.on_loaded(variant, loaded, self.followed_from) {
            // The other document's load read the stream later and was done first; this one does not reach the tail.
            self.load(variant, &mut effects);
        }
        if self.recovery.take_old_load(variant) {
            self.suspect(&mut effects);
        }
        self.settle(&mut effects);
        self.ask(&mut effects);
        self.answer(variant, &mut effects);
        effects.push(self.size());
        effects
    }

    /// A load failed: whoever needs it is refused, and nothing is served in its place.
    pub fn on_load_failed(&mut self, variant: Variant, close: Close) -> Vec<Effect> {
        if close.is_permanent() {
            // The room is deleted, whichever document was asked for: nothing of it goes on or comes back (I-5).
            let mut effects = Vec::new();
            self.end(close, &mut effects);
            return effects;
        }
        let mut refused = self.snapshots.on_load_failed(variant);
        let unsynced = self.members.iter().filter(|(_, m)| m.variant == variant && m.since.is_none());
        refused.extend(unsynced.map(|(session, _)| *session));
        refused.sort_unstable();
        refused.dedup();
        let mut effects: Vec<_> = refused.into_iter().map(|session| Effect::Close { session, close: close.clone() }).collect();
        self.recovery.take_old_load(variant);
        self.recovery_load_failed(variant, close, &mut effects);
        self.settle(&mut effects);
        effects
    }

    /// A fold is done: those who waited get their difference, and from there on what is new.
    pub fn on_folded(&mut self, folded: Folded) -> Vec<Effect> {
        let mut effects = Vec::new();
        let variant = folded.variant;
        let answers = self.snapshots.on_folded(folded);
        for (session, answer) in answers {
            self.deliver_answer(session, answer, &mut effects);
        }
        self.settle(&mut effects);
        self.answer(variant, &mut effects);
        effects.push(self.size());
        effects
    }

    /// Bytes of the document, of the longer one if both are in memory.
    pub fn document_bytes(&self) -> usize {
        self.snapshots.document_bytes().unwrap_or(0)
    }

    /// A fold failed: those who waited for it are refused, and the next one loads anew.
    pub fn on_fold_failed(&mut self, variant: Variant, close: Close) -> Vec<Effect> {
        let waiting = self.snapshots.on_fold_failed(variant);
        let mut effects: Vec<_> = waiting.into_iter().map(|session| Effect::Close { session, close: close.clone() }).collect();
        self.settle(&mut effects);
        effects
    }

    /// The node is short of memory: the document leaves it, unless somebody is waiting for it. Where nothing can leave now,
    /// nothing is reported either: the report would be answered by asking again.
    pub fn on_evict(&mut self) -> Vec<Effect> {
        if !self.recovery.is_calm() {
            // What is here may be all that is left of it.
            return Vec::new();
        }
        let held_lines = self.recent.size_bytes() > 0;
        self.recent.let_go();
        if self.snapshots.evict() || held_lines { vec![self.size()] } else { Vec::new() }
    }

    /// Has nobody joined, and is nothing under way?
    pub fn is_idle(&self) -> bool {
        let is_appended = self.outgoing.is_empty() && !self.awareness.has_pending();
        self.members.is_empty() && is_appended && !self.snapshots.is_busy() && self.recovery.is_calm()
    }

    /// Where the tail stands; `None` before the first load.
    pub fn position(&self) -> Option<StreamClock> {
        self.position
    }

    /// Are sockets not to be read for now? Who joins is told by this, the others by [`Effect::Cork`].
    pub fn is_corked(&self) -> bool {
        self.corked
    }

    /// How many sessions are here.
    pub fn session_count(&self) -> usize {
        self.members.len()
    }

    fn size(&mut self) -> Effect {
        if let Some(measured_bytes) = self.snapshots.document_bytes() {
            self.size.on_measured(measured_bytes, self.snapshots.tail_bytes());
        }
        Effect::SnapshotSize(self.snapshots.size_bytes() + self.recent.size_bytes())
    }

    /// Has a document loaded that is neither there nor under way.
    fn load(&mut self, variant: Variant, effects: &mut Vec<Effect>) {
        if self.recovery.is_settling() {
            return;
        }
        let since = if self.recovery.is_loading() { None } else { self.position };
        if self.snapshots.begin_load(variant, since.unwrap_or(StreamClock::ZERO)) {
            effects.push(Effect::Load(variant));
        }
    }

    /// Puts one update into the tail and among what is known. `Err` says what is wrong with it.
    fn learn(&mut self, clock: StreamClock, update: &Bytes) -> Result<(), String> {
        let ids: Option<ContentIds> = if update.len() <= INSPECT_MAX_BYTES {
            Some(yhub_content::content_ids(update).map_err(|error| error.to_string())?)
        } else {
            None
        };
        self.size.on_update(update.len());
        self.snapshots.on_update(clock, update.clone(), ids);
        Ok(())
    }

    /// Asks every member that was not asked yet for what we lack, once we know what we have.
    fn ask(&mut self, effects: &mut Vec<Effect>) {
        let Some(ids) = self.snapshots.known() else { return };
        let mut unasked = std::mem::take(&mut self.unasked);
        unasked.retain(|session| self.members.contains_key(session));
        if !unasked.is_empty() {
            let state_vector = Bytes::from(StateVector::from_inserts(&ids.inserts).to_bytes());
            effects
                .push(Effect::Broadcast { messages: vec![ServerMessage::Step1(state_vector)], to: Recipients::These(unasked) });
        }
    }

    /// Answers the syncs that wait for `variant`, or has their answer computed.
    fn answer(&mut self, variant: Variant, effects: &mut Vec<Effect>) {
        for (session, answer) in self.snapshots.answer_at_once(variant) {
            self.deliver_answer(session, answer, effects);
        }
        if self.snapshots.is_waiting(variant) {
            self.fold(variant, effects);
        }
    }

    fn fold(&mut self, variant: Variant, effects: &mut Vec<Effect>) {
        if self.recovery.is_settling() {
            return;
        }
        if let Some(job) = self.snapshots.begin_fold(variant, &self.memory) {
            effects.push(Effect::Fold(job));
        }
    }

    /// Sends the answer to a sync, who is there, and what came in after the answer's clock.
    fn deliver_answer(&mut self, session: SessionId, answer: Bytes, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get(&session) else { return };
        let was_partial = self.is_partial(member);
        let (variant, first) = (member.variant, member.since.is_none());
        let upto = self.snapshots.upto(variant).expect("a snapshot that answered is there");
        let mut messages = vec![ServerMessage::Step2(answer)];
        let mut presence_bytes = 0;
        if first {
            if self.awareness.knows_anybody() {
                let presence = self.presence();
                presence_bytes = presence.len();
                messages.push(ServerMessage::Awareness(presence));
            }
            messages.extend(self.snapshots.tail_after(upto).map(ServerMessage::Update));
            // What the tail has not brought yet although the snapshot holds it is not sent again.
            let since = upto.max(self.position.expect("a snapshot was loaded, and the load set the position"));
            let member = self.members.get_mut(&session).expect("found above");
            member.since = Some(since);
            let now_partial = since > self.position.expect("as above");
            self.partial = self.partial + usize::from(now_partial) - usize::from(was_partial);
        }
        let work_bytes = self.document_bytes().max(presence_bytes) / WORK_OF_AN_ANSWER;
        effects.push(Effect::Broadcast { messages, to: Recipients::These(vec![session]) });
        effects.push(Effect::Charge { session, work_bytes });
    }

    fn is_partial(&self, member: &Member) -> bool {
        member.since.is_none_or(|since| Some(since) > self.position)
    }

    /// Sends what lies after `from` up to `reached` to every synced member, to each only the updates after its own start.
    fn broadcast(
        &mut self,
        from: StreamClock,
        reached: StreamClock,
        messages: Vec<(StreamClock, ServerMessage)>,
        effects: &mut Vec<Effect>,
    ) {
        if self.partial == 0 {
            if !messages.is_empty() {
                let messages = messages.into_iter().map(|(_, message)| message).collect();
                effects.push(Effect::Broadcast { messages, to: Recipients::Everyone });
            }
            return;
        }
        let (mut whole, mut partial) = (Vec::new(), 0);
        for (session, member) in &self.members {
            match member.since {
                Some(since) if since <= from => whole.push(*session),
                Some(since) => {
                    // A snapshot holds updates up to its clock, but no presence.
                    let is_new = |(clock, m): &&(StreamClock, _)| *clock > since || matches!(m, ServerMessage::Awareness(_));
                    let rest: Vec<_> = messages.iter().filter(is_new).map(|(_, m)| m.clone()).collect();
                    if !rest.is_empty() {
                        effects.push(Effect::Broadcast { messages: rest, to: Recipients::These(vec![*session]) });
                    }
                    partial += usize::from(since > reached);
                }
                None => partial += 1,
            }
        }
        self.partial = partial;
        if !whole.is_empty() && !messages.is_empty() {
            let messages = messages.into_iter().map(|(_, message)| message).collect();
            effects.push(Effect::Broadcast { messages, to: Recipients::These(whole) });
        }
    }

    /// Appends what waits, one append at a time, so that order is kept.
    fn append(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(self.outgoing.begin(self.floor));
        self.cork(effects);
    }

    /// Stops the reading of all sockets of the room while too much waits for the stream.
    fn cork(&mut self, effects: &mut Vec<Effect>) {
        let full = self.outgoing.size_bytes() >= self.limits.pending_bytes;
        if full != self.corked {
            self.corked = full;
            effects.push(Effect::Cork(full));
        }
    }
}
