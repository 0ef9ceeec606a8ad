//! One room: carries out what [`RoomCore`] decides. Policy is in `yhub_core::room`.
//!
//! Lives from the first join until it was empty for a while. A panic in a handler closes its sessions with 1011 and takes
//! nothing else along; the next join starts a fresh room.

mod drain;
mod recovery;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::prelude::*;
use bytes::Bytes;
use tokio::time::Instant;
use yhub_core::{
    Close, Effect, FoldJob, Folded, Loaded, Presence, Recipients, RoomCore, RoomId, RoomLimits, ServerMessage, SessionId,
    StreamClock, StreamLine, Submission, Variant, access::Identity, chain,
};
use yhub_documents::{DocumentsError, fold};
use yhub_store::{Append, StreamLogError};

use crate::{
    frames::Frames,
    node::Node,
    notices::Demand,
    outbox::{Outbox, PushError},
    registry::{Registry, RoomStopped, SnapshotSize},
    stream_reader::{StreamReader, Unfollow},
};
pub(crate) use drain::Drain;
pub(crate) use recovery::Suspect;

/// A fold over fewer bytes is done in place: handing it to the pool costs more.
const FOLD_INLINE_BYTES: usize = 16 << 10;

/// What a fold over so many bytes makes is worth waiting for room.
const LONG_FOLD_BYTES: usize = 1 << 20;

/// An append without an answer for so long is tried again: it may have been done, and doing it twice changes nothing.
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How often presence that nobody renews is looked for.
const PRESENCE_TICK: Duration = Duration::from_secs(5);

/// A session comes in. From its session.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Join {
    /// Its id.
    pub session: SessionId,
    /// Which document it wants.
    pub variant: Variant,
    /// Who is behind it.
    pub who: Arc<Identity>,
    /// Where to put what it gets.
    pub outbox: Arc<Outbox>,
}

/// A session is gone. From its session.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave(pub SessionId);

/// What a session's client did, in order. From its session, within its budget.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FromClient {
    /// Who.
    pub session: SessionId,
    /// What, in order.
    pub acts: Vec<Act>,
}

/// One thing that a client did.
pub enum Act {
    /// Updates.
    Submit(Vec<Submission>),
    /// What is its state vector, and what does it lack?
    Sync(Bytes),
    /// Who is there, with what that counts against the session's budget.
    Awareness(Vec<(u64, Presence)>, usize),
    /// It may write from now on.
    Raised,
    /// Who is behind it has other claims from now on.
    Identified(Arc<Identity>),
    /// Asks who is there, with what that counts against the session's budget.
    QueryAwareness(usize),
}

/// New lines of the stream, in order. From the stream reader.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Entries {
    /// At least one.
    pub lines: Arc<[StreamLine]>,
    /// The number of the [`Follow`] that they belong to: of an earlier one nothing is taken any more.
    pub following: u64,
}

/// Lines of the stream that were to come are gone. From the stream reader.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Gap;

/// Sessions are to be checked or cut, as far as it concerns this room. From the registry.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Demanded(pub(crate) Arc<[Demand]>);

/// Another stream reader is responsible from now on. From the registry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReaderIs(pub Addr<StreamReader>);

/// The node is short of memory. From the registry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Evict;

/// The actor.
pub struct Room {
    id: RoomId,
    generation: u64,
    core: RoomCore,
    outboxes: HashMap<SessionId, Arc<Outbox>>,
    node: Arc<Node>,
    registry: Addr<Registry>,
    reader: Addr<StreamReader>,
    /// How often the stream was followed.
    following: u64,
    /// When what this room knows of the stream was begun to be read.
    read_since: Option<Instant>,
    /// Set when it ends: what who still comes is told.
    retiring: Option<Close>,
    /// Who is still to be closed, and when; last first.
    drain: Vec<(Instant, SessionId)>,
    idle_timer: Option<SpawnHandle>,
    /// Runs while somebody's presence may have to die.
    tick: Option<SpawnHandle>,
}

impl Room {
    pub(crate) fn new(
        id: RoomId,
        generation: u64,
        node: Arc<Node>,
        registry: Addr<Registry>,
        reader: Addr<StreamReader>,
    ) -> Self {
        let max_document_bytes = node.limiting.quotas.of(id.org()).max_document_bytes;
        let core = RoomCore::new(RoomLimits { max_document_bytes, ..node.room_limits.clone() });
        let core = core.counting_in(node.limiting.answers.clone());
        let outboxes = HashMap::new();
        Self {
            id,
            generation,
            core,
            outboxes,
            node,
            registry,
            reader,
            following: 0,
            read_since: None,
            retiring: None,
            drain: Vec::new(),
            idle_timer: None,
            tick: None,
        }
    }

    /// Does what the core wants, in its order; the only place with I/O.
    fn carry_out(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        let mut todo = VecDeque::from(effects);
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::Load(variant) => self.load(variant, ctx),
                Effect::Follow(after) => {
                    self.follow(after, ctx);
                }
                Effect::Append { messages, floor } => self.append(messages, floor, ctx),
                Effect::RetryAppend { after } => {
                    ctx.run_later(after, |room, ctx| {
                        let effects = room.core.on_retry_append();
                        room.carry_out(effects, ctx);
                    });
                }
                Effect::Fold(job) if job.size_bytes() <= FOLD_INLINE_BYTES => todo.extend(self.fold_here(job)),
                Effect::Fold(job) => self.fold_in_pool(job, ctx),
                Effect::Broadcast { messages, to } => todo.extend(self.broadcast(&messages, to)),
                Effect::Credit { session, size_bytes } => {
                    if let Some(outbox) = self.outboxes.get(&session) {
                        outbox.credit(size_bytes);
                    }
                }
                Effect::Charge { session, work_bytes } => {
                    if let Some(outbox) = self.outboxes.get(&session) {
                        outbox.charge(work_bytes);
                    }
                }
                Effect::Cork(corked) => self.outboxes.values().for_each(|outbox| outbox.cork(corked)),
                Effect::Check { sessions } => {
                    let outboxes = sessions.iter().filter_map(|session| self.outboxes.get(session));
                    outboxes.for_each(|outbox| outbox.check(self.node.place_of_check_ms()));
                }
                Effect::Close { session, close } => todo.extend(self.close(session, close)),
                Effect::LookForDeletion => self.look_for_deletion(ctx),
                Effect::End { close } => return self.end(close, ctx),
                Effect::FlushAwareness { after } => {
                    ctx.run_later(after, |room, ctx| {
                        let effects = room.core.on_flush_awareness(room.node.time.now_ms());
                        room.carry_out(effects, ctx);
                    });
                }
                Effect::SnapshotSize(size_bytes) => {
                    self.registry.do_send(SnapshotSize { room: self.id.clone(), generation: self.generation, size_bytes });
                }
                Effect::Verify { changes, upto } => self.verify(changes, upto, ctx),
                Effect::Salvage(job) => self.salvage(job, ctx),
                Effect::RetryRecovery { after } => {
                    ctx.run_later(after, |room, ctx| {
                        let effects = room.core.on_retry_recovery(room.node.time.now_ms());
                        room.carry_out(effects, ctx);
                    });
                }
                Effect::Recovered { remembered, cut_ids, asked } => self.report_loss(remembered, cut_ids, asked),
                Effect::NotRecovered => self.report_not_recovered(),
                Effect::Limited(bound) => self.node.limiting.tally.count(bound),
                Effect::BadLine { clock, what } => {
                    log::warn!(room:% = self.id; "stream of {}, entry {clock}: {what}; the room goes on without it", self.id);
                }
            }
        }
        if self.core.has_presence() && self.tick.is_none() {
            self.tick = Some(ctx.run_later(PRESENCE_TICK, |room, ctx| {
                room.tick = None;
                let effects = room.core.on_tick(room.node.time.now_ms());
                room.carry_out(effects, ctx);
            }));
        }
        self.rest_if_empty(ctx);
    }

    fn load(&mut self, variant: Variant, ctx: &mut Context<Self>) {
        self.read_since.get_or_insert_with(Instant::now);
        let (node, id) = (self.node.clone(), self.id.clone());
        let load = async move {
            node.room_for_answers().await?;
            match tokio::time::timeout(node.load_timeout, node.documents.load(&id, variant)).await {
                Ok(Ok(loaded)) => Ok(loaded),
                Ok(Err(error)) => Err(refusal(&id, &error)),
                Err(_) => {
                    log::error!(room:% = id; "loading room {id} took longer than {:?}; its joins are refused", node.load_timeout);
                    Err(Close::TRY_AGAIN)
                }
            }
        };
        ctx.spawn(load.into_actor(self).map(move |loaded: Result<Loaded, Close>, room, ctx| {
            let effects = match loaded {
                Ok(loaded) => room.core.on_loaded(variant, loaded, room.node.time.now_ms()),
                Err(close) => room.core.on_load_failed(variant, close),
            };
            room.carry_out(effects, ctx);
        }));
    }

    fn append(&self, messages: Vec<Bytes>, floor: StreamClock, ctx: &mut Context<Self>) {
        let log = self.node.documents.log().clone();
        let append = Append { room: self.id.clone(), messages, floor };
        let append = async move { tokio::time::timeout(APPEND_TIMEOUT, log.append(append)).await };
        ctx.spawn(append.into_actor(self).map(|appended: Result<Result<Vec<StreamClock>, StreamLogError>, _>, room, ctx| {
            let effects = match appended {
                Err(_) => {
                    log::warn!(room:% = room.id; "appending to the stream of {} took longer than {APPEND_TIMEOUT:?}", room.id);
                    room.core.on_append_failed()
                }
                Ok(Ok(clocks)) => room.core.on_appended(&clocks),
                Ok(Err(error)) => {
                    let error = chain(&error);
                    log::warn!(room:% = room.id; "appending to the stream of {} failed: {error}", room.id);
                    room.core.on_append_failed()
                }
            };
            room.carry_out(effects, ctx);
        }));
    }

    fn fold_here(&mut self, job: FoldJob) -> Vec<Effect> {
        let variant = job.variant;
        match fold(job, &self.node.documents.stored_limits()) {
            Ok(folded) => self.folded(folded),
            Err(error) => {
                log::error!(room:% = self.id; "folding room {}: {error}; it is loaded anew", self.id);
                self.core.on_fold_failed(variant, Close::INTERNAL)
            }
        }
    }

    fn fold_in_pool(&self, job: FoldJob, ctx: &mut Context<Self>) {
        let (node, variant) = (self.node.clone(), job.variant);
        let limits = node.documents.stored_limits();
        let fold = async move {
            if job.size_bytes() >= LONG_FOLD_BYTES {
                node.room_for_answers().await?;
            }
            Ok(node.documents.compute().run(move || fold(job, &limits)).await)
        };
        ctx.spawn(fold.into_actor(self).map(move |folded: Result<_, Close>, room, ctx| {
            let folded = match folded {
                Ok(folded) => folded,
                Err(close) => {
                    let effects = room.core.on_fold_failed(variant, close);
                    return room.carry_out(effects, ctx);
                }
            };
            let effects = match folded {
                Ok(Ok(folded)) => room.folded(folded),
                Ok(Err(error)) => {
                    log::error!(room:% = room.id; "folding room {}: {error}; it is loaded anew", room.id);
                    room.core.on_fold_failed(variant, Close::INTERNAL)
                }
                Err(error) => {
                    log::warn!(room:% = room.id; "folding room {}: {error}; its joins are refused", room.id);
                    room.core.on_fold_failed(variant, Close::TRY_AGAIN)
                }
            };
            room.carry_out(effects, ctx);
        }));
    }

    fn folded(&mut self, folded: Folded) -> Vec<Effect> {
        for (clock, what) in &folded.bad {
            log::error!(room:% = self.id; "left out of the document: stream of {}, entry {clock}: {what}", self.id);
        }
        self.core.on_folded(folded)
    }

    /// Encodes once and gives the same bytes to everyone. Who has no room for them is closed, never skipped.
    fn broadcast(&mut self, messages: &[ServerMessage], to: Recipients) -> Vec<Effect> {
        let frames = Frames::encode(messages);
        let is_answer = messages.iter().any(|message| matches!(message, ServerMessage::Step2(_)));
        let push = |outbox: &Outbox| if is_answer { outbox.push_answer(&frames) } else { outbox.push(&frames) };
        let mut lost: Vec<(SessionId, PushError)> = Vec::new();
        match to {
            Recipients::Everyone => {
                lost.extend(self.outboxes.iter().filter_map(|(session, outbox)| Some((*session, push(outbox).err()?))));
            }
            Recipients::These(sessions) => lost.extend(sessions.iter().filter_map(|session| {
                let outbox = self.outboxes.get(session)?;
                Some((*session, push(outbox).err()?))
            })),
        }
        let mut effects = Vec::new();
        for (session, error) in lost {
            effects.extend(match error {
                PushError::Full => self.close(session, Close::TOO_SLOW),
                PushError::Closed => self.forget(session),
            });
        }
        effects
    }

    fn close(&mut self, session: SessionId, close: Close) -> Vec<Effect> {
        if let Some(outbox) = self.outboxes.get(&session) {
            outbox.close(close);
        }
        self.forget(session)
    }

    fn forget(&mut self, session: SessionId) -> Vec<Effect> {
        self.outboxes.remove(&session);
        self.core.on_leave(session, self.node.time.now_ms())
    }

    fn look_for_deletion(&self, ctx: &mut Context<Self>) {
        let (node, id) = (self.node.clone(), self.id.clone());
        let look = async move {
            match tokio::time::timeout(node.load_timeout, node.documents.tombstone(&id)).await {
                Ok(Ok(tombstone)) => Some(tombstone.is_some()),
                Ok(Err(error)) => {
                    let error = chain(&error);
                    log::warn!(room:% = id; "whether room {id} was deleted is not known, its sessions come again: {error}");
                    None
                }
                Err(_) => {
                    log::warn!(room:% = id; "looking whether room {id} was deleted took longer than {:?}", node.load_timeout);
                    None
                }
            }
        };
        ctx.spawn(look.into_actor(self).map(|is_deleted, room, ctx| {
            let effects = room.core.on_deletion(is_deleted);
            room.carry_out(effects, ctx);
        }));
    }

    /// Closes everybody and stops, whatever is under way: appends that have not begun never do. Who comes next, or is about to,
    /// gets a fresh room.
    fn end(&mut self, close: Close, ctx: &mut Context<Self>) {
        for (session, outbox) in std::mem::take(&mut self.outboxes) {
            outbox.close(close.clone());
            // Over, so it says nothing of that.
            self.core.on_leave(session, self.node.time.now_ms());
        }
        self.retiring.get_or_insert(close);
        ctx.stop();
    }

    /// Closes everybody, takes nobody in any more, and stops when nothing is under way.
    fn retire(&mut self, close: Close, ctx: &mut Context<Self>) {
        let everyone: Vec<_> = self.outboxes.keys().copied().collect();
        let effects = everyone.into_iter().map(|session| Effect::Close { session, close: close.clone() }).collect();
        // The first reason stays, as it does for those who are closed now.
        self.retiring.get_or_insert(close);
        self.carry_out(effects, ctx);
    }

    /// Stops after a while without sessions, at once when retiring; not while something is under way.
    fn rest_if_empty(&mut self, ctx: &mut Context<Self>) {
        if self.core.session_count() > 0 {
            if let Some(timer) = self.idle_timer.take() {
                ctx.cancel_future(timer);
            }
        } else if self.retiring.is_some() && self.core.is_idle() {
            ctx.stop();
        } else if self.idle_timer.is_none() {
            self.idle_timer = Some(ctx.run_later(self.node.room_limits.idle, |room, ctx| {
                room.idle_timer = None;
                if room.core.is_idle() {
                    ctx.stop();
                } else {
                    room.rest_if_empty(ctx);
                }
            }));
        }
    }
}

impl Actor for Room {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Nobody may ever come: the one that asked may be gone.
        self.rest_if_empty(ctx);
    }
}

impl Drop for Room {
    /// Runs after a panic too: sessions never stay behind in a room that is gone.
    fn drop(&mut self) {
        for outbox in self.outboxes.values() {
            outbox.close(Close::INTERNAL);
        }
        self.reader.do_send(Unfollow { room: self.id.clone(), generation: self.generation });
        self.registry.do_send(RoomStopped { room: self.id.clone(), generation: self.generation });
    }
}

impl Handler<Join> for Room {
    type Result = ();

    fn handle(&mut self, join: Join, ctx: &mut Self::Context) {
        if let Some(close) = &self.retiring {
            join.outbox.close(close.clone());
            return;
        }
        join.outbox.cork(self.core.is_corked());
        self.outboxes.insert(join.session, join.outbox);
        let effects = self.core.on_join(join.session, join.variant, join.who, self.node.time.now_ms());
        self.carry_out(effects, ctx);
    }
}

impl Handler<Leave> for Room {
    type Result = ();

    fn handle(&mut self, Leave(session): Leave, ctx: &mut Self::Context) {
        let effects = self.forget(session);
        self.carry_out(effects, ctx);
    }
}

impl Handler<FromClient> for Room {
    type Result = ();

    fn handle(&mut self, FromClient { session, acts }: FromClient, ctx: &mut Self::Context) {
        fail::fail_point!("room::from_client", self.id.docid() == "poison", |_| ());
        for act in acts {
            let effects = match act {
                Act::Submit(submissions) => self.core.on_submit(session, submissions),
                Act::Raised => self.core.on_raised(session),
                Act::Identified(who) => self.core.on_identified(session, who, self.node.time.now_ms()),
                Act::Sync(state_vector) => self.core.on_sync(session, state_vector),
                Act::Awareness(entries, cost_bytes) => {
                    let mut effects = self.core.on_awareness(session, entries, self.node.time.now_ms());
                    effects.push(Effect::Credit { session, size_bytes: cost_bytes });
                    effects
                }
                Act::QueryAwareness(cost_bytes) => {
                    let mut effects = self.core.on_query_awareness(session);
                    effects.push(Effect::Credit { session, size_bytes: cost_bytes });
                    effects
                }
            };
            self.carry_out(effects, ctx);
        }
    }
}

impl Handler<Entries> for Room {
    type Result = ();

    fn handle(&mut self, Entries { lines, following }: Entries, ctx: &mut Self::Context) {
        if following != self.following {
            // On its way when the stream was followed anew: it comes again, or is gone.
            return;
        }
        fail::fail_point!("room::entries", self.id.docid() == "poison", |_| ());
        let effects = self.core.on_entries(&lines, self.node.time.now_ms());
        self.carry_out(effects, ctx);
    }
}

impl Handler<Gap> for Room {
    type Result = ();

    fn handle(&mut self, _: Gap, ctx: &mut Self::Context) {
        log::warn!(room:% = self.id; "the stream of {} was trimmed before it was read; its sessions sync again", self.id);
        self.retire(Close::TRY_AGAIN, ctx);
    }
}

impl Handler<Demanded> for Room {
    type Result = ();

    fn handle(&mut self, Demanded(demands): Demanded, ctx: &mut Self::Context) {
        for demand in &*demands {
            if demand.concerns(&self.id) {
                let effects = self.core.on_notice(demand.check.clone(), demand.cut, self.node.time.now_ms());
                self.carry_out(effects, ctx);
            }
        }
    }
}

impl Handler<ReaderIs> for Room {
    type Result = ();

    fn handle(&mut self, ReaderIs(reader): ReaderIs, ctx: &mut Self::Context) {
        self.reader = reader;
        if let Some(after) = self.core.position() {
            self.carry_out(vec![Effect::Follow(after)], ctx);
            // The tail is new, and knows nothing of what went before.
            let effects = self.core.on_suspect();
            self.carry_out(effects, ctx);
        }
    }
}

impl Handler<Evict> for Room {
    type Result = ();

    fn handle(&mut self, _: Evict, ctx: &mut Self::Context) {
        let effects = self.core.on_evict();
        self.carry_out(effects, ctx);
    }
}

/// What the clients of a room that cannot be loaded are told.
fn refusal(room: &RoomId, error: &DocumentsError) -> Close {
    if let DocumentsError::Deleted { .. } = error {
        return Close::DELETED;
    }
    log::error!(room:% = room; "room {room} cannot be loaded, its joins are refused: {}", chain(error));
    if error.is_transient() { Close::TRY_AGAIN } else { Close::INTERNAL }
}
