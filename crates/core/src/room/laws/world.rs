//! A world around one [`RoomCore`]: a log, a tail, loads and folds, each of which takes its time or fails. It carries out
//! effects as the actor does.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use yhub_content::{self as content, ContentIds, IdRange, StateVector};
use yhub_encoding::write_var_uint;

use super::{super::*, client::Client};

/// How many clients write into the document.
pub(super) const WRITERS: usize = 3;
/// Presence of clients that speak through another node has ids from here on; nobody here leaves for them.
const ELSEWHERE: u64 = 1_000;

/// An update by `client` of `len` characters from `clock` on, which deletes `deletes` (a client, clock and length).
pub(super) fn update(client: u64, clock: u32, len: usize, deletes: Option<(u64, u32, u32)>) -> Bytes {
    let mut out = Vec::new();
    let uint = |out: &mut Vec<u8>, value: u64| write_var_uint(out, value);
    if len == 0 {
        uint(&mut out, 0);
    } else {
        // One struct: a string in the root `t`, without neighbours.
        for value in [1, 1, client, u64::from(clock), 4, 1, 1, u64::from(b't'), len as u64] {
            uint(&mut out, value);
        }
        out.extend(std::iter::repeat_n(b'x', len));
    }
    match deletes {
        None => uint(&mut out, 0),
        Some((client, clock, len)) => {
            for value in [1, client, 1, u64::from(clock), u64::from(len)] {
                uint(&mut out, value);
            }
        }
    }
    out.into()
}

pub(super) fn ids_of(update: &[u8]) -> ContentIds {
    content::content_ids(update).expect("made above or merged of such")
}

/// What the log accepted.
pub(super) struct Accepted {
    pub(super) clock: StreamClock,
    /// In memory of its own, so that every frame made of it can be told from all others by its address.
    message: Option<Bytes>,
    pub(super) update: Option<Bytes>,
    pub(super) presence: Option<Bytes>,
    /// The address of the message that was submitted.
    pub(super) submitted: usize,
}

struct Append {
    messages: Vec<Bytes>,
    floor: StreamClock,
    accepted: Option<Vec<StreamClock>>,
}

/// See the head of this file.
pub(super) struct World {
    pub(super) core: RoomCore,
    pub(super) now_ms: u64,
    inline_folds: bool,
    pub(super) log: Vec<Accepted>,
    /// The line that the tail brings next.
    tail: Option<usize>,
    loads: [Option<usize>; 2],
    folds: [Option<FoldJob>; 2],
    /// Up to where each document in memory reaches.
    pub(super) reached: [StreamClock; 2],
    append: Option<Append>,
    retry: bool,
    flush: bool,
    pub(super) clients: BTreeMap<SessionId, Client>,
    sessions: u64,
    /// What each writer wrote so far.
    written: [u32; WRITERS],
    /// Submissions were dropped after too many attempts, presence perhaps with them.
    pub(super) gave_up: bool,
    pub(super) corked: bool,
    pub(super) spoken_for: BTreeSet<u64>,
    /// All that was ever submitted or appended: so no two share an address.
    kept: Vec<Bytes>,
    pub(super) counts: Counts,
}

/// What happened at all, so that a law that was never put to the test is seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) answers: usize,
    pub(super) live: usize,
    pub(super) echoes: usize,
    pub(super) refusals: usize,
    pub(super) given_up: usize,
    pub(super) reloads: usize,
    pub(super) folds: usize,
    pub(super) goodbyes: usize,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            answers: self.answers + other.answers,
            live: self.live + other.live,
            echoes: self.echoes + other.echoes,
            refusals: self.refusals + other.refusals,
            given_up: self.given_up + other.given_up,
            reloads: self.reloads + other.reloads,
            folds: self.folds + other.folds,
            goodbyes: self.goodbyes + other.goodbyes,
        }
    }
}

impl World {
    pub(super) fn new(inline_folds: bool) -> Self {
        let awareness = AwarenessBounds { clients_per_session: 2, ..RoomLimits::default().awareness };
        let limits = RoomLimits { pending_bytes: 400, awareness, ..RoomLimits::default() };
        Self {
            core: RoomCore::new(limits),
            now_ms: 1_000_000,
            inline_folds,
            log: Vec::new(),
            tail: None,
            loads: [None; 2],
            folds: [None, None],
            reached: [StreamClock::ZERO; 2],
            append: None,
            retry: false,
            flush: false,
            clients: BTreeMap::new(),
            sessions: 0,
            written: [0; WRITERS],
            gave_up: false,
            corked: false,
            spoken_for: BTreeSet::new(),
            kept: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// The session that `n` stands for, if there is any.
    pub(super) fn pick(&self, n: u8) -> Option<SessionId> {
        let sessions: Vec<_> = self.clients.keys().copied().collect();
        sessions.get(usize::from(n) % sessions.len().max(1)).copied()
    }

    pub(super) fn join(&mut self, variant: Variant) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.clients.insert(session, Client::new(variant));
        let effects = self.core.on_join(session, variant, Arc::new(Identity::anonymous("ann")), self.now_ms);
        self.carry_out(effects);
        session
    }

    pub(super) fn leave(&mut self, session: SessionId) {
        self.clients.remove(&session);
        let effects = self.core.on_leave(session, self.now_ms);
        self.carry_out(effects);
    }

    /// Asks for what the client lacks. At first it holds the start of what each writer wrote, or is about to.
    pub(super) fn sync(&mut self, session: SessionId, holds: [u8; WRITERS]) {
        let covers = self.core.position().map_or(0, |at| self.log.iter().filter(|line| line.clock <= at).count());
        let Some(client) = self.clients.get_mut(&session).filter(|client| client.syncing.is_none()) else { return };
        if !client.answered {
            for (writer, claim) in holds.into_iter().enumerate() {
                let upto = u32::from(claim) % (self.written[writer] + 2);
                if let Some(range) = IdRange::between(0, upto) {
                    client.holds.inserts.insert(writer as u64 + 1, range);
                }
            }
        }
        client.syncing = Some(covers);
        let state_vector = StateVector::from_inserts(&client.holds.inserts).to_bytes().into();
        let effects = self.core.on_sync(session, state_vector);
        self.carry_out(effects);
    }

    /// An update of `writer` through a session: the next one, an earlier one again, or one that leaves a hole.
    pub(super) fn submit(&mut self, session: SessionId, writes: &[(u8, u8)]) {
        let mut submissions = Vec::new();
        for (writer, kind) in writes {
            let writer = usize::from(*writer) % WRITERS;
            let (client, end) = (writer as u64 + 1, self.written[writer]);
            let deletes = (kind % 5 == 0 && end > 0).then(|| (client, u32::from(*kind) % end, 1));
            let (clock, len) = match kind % 8 {
                0 | 1 if end > 0 => (u32::from(kind / 8) % end, 1 + usize::from(kind % 3)),
                2 => (end + 1, 1),
                // Longer than what is looked into, and long enough to be folded without anybody asking.
                3 if kind / 8 == 31 => (end, INSPECT_MAX_BYTES + 1),
                4 if deletes.is_some() => (0, 0),
                _ => (end, 1 + usize::from(kind % 3)),
            };
            self.written[writer] = end.max(clock + len as u32);
            let bytes = update(client, clock, len, deletes);
            // As `prepare_update` does; what is said of the author plays no part here.
            let (message, update) = StreamMessage::encode_update(&bytes, &[0, 0]);
            self.kept.push(message.clone());
            submissions.push(Submission { ids: ids_of(&bytes), cost_bytes: message.len(), message, update });
        }
        if let Some(client) = self.clients.get_mut(&session) {
            client.cost_bytes += submissions.iter().map(|submission| submission.cost_bytes).sum::<usize>();
            client.submitted.extend(submissions.iter().map(|submission| submission.message.as_ptr() as usize));
        }
        let effects = self.core.on_submit(session, submissions);
        self.carry_out(effects);
    }

    pub(super) fn speak(&mut self, session: SessionId, client: u64, clock: u64, present: bool) {
        let state = present.then(|| format!("{{\"c\":{clock}}}").into());
        self.spoken_for.insert(client);
        let effects = self.core.on_awareness(session, vec![(client, Presence { clock, state, user: None })], self.now_ms);
        self.carry_out(effects);
    }

    pub(super) fn query(&mut self, session: SessionId) {
        let effects = self.core.on_query_awareness(session);
        self.carry_out(effects);
    }

    /// Another node appends.
    pub(super) fn elsewhere(&mut self, kind: u8) {
        let message = match kind % 6 {
            0 => None,
            1 => Some(Bytes::from_static(b"no message")),
            2 => Some(StreamMessage::encode_update(b"no update", &[0, 0]).0),
            3 | 4 => {
                let state = if kind > 63 { Some("{}".into()) } else { None };
                let presence = Presence { clock: u64::from(kind), state, user: None };
                Some(StreamMessage::encode_awareness(&encode_presence(&[(ELSEWHERE + u64::from(kind % 2), presence)])))
            }
            _ => {
                let writer = usize::from(kind) % WRITERS;
                let bytes = update(writer as u64 + 1, self.written[writer], 1, None);
                self.written[writer] += 1;
                Some(StreamMessage::encode_update(&bytes, &[0, 0]).0)
            }
        };
        self.accept(message.as_ref(), StreamClock::ZERO, 0);
    }

    fn accept(&mut self, message: Option<&Bytes>, floor: StreamClock, submitted: usize) -> StreamClock {
        let last = self.log.last().map_or(StreamClock::ZERO, |line| line.clock);
        let clock = last.max(floor).next().max(StreamClock::new(self.now_ms, 0));
        self.kept.extend(message.cloned());
        let message = message.map(|message| Bytes::copy_from_slice(message));
        let (mut update, mut presence) = (None, None);
        match message.as_ref().map(StreamMessage::decode) {
            Some(Ok(StreamMessage::Update { update: read, .. })) if content::content_ids(&read).is_ok() => update = Some(read),
            Some(Ok(StreamMessage::Awareness { update: read, .. })) => presence = Some(read),
            _ => {}
        }
        self.log.push(Accepted { clock, message, update, presence, submitted });
        clock
    }

    /// The log accepts the append under way, which it has not said yet.
    pub(super) fn append_accepted(&mut self) {
        let Some(mut append) = self.append.take() else { return };
        if append.accepted.is_none() {
            let accept = |message: &Bytes| self.accept(Some(message), append.floor, message.as_ptr() as usize);
            append.accepted = Some(append.messages.iter().map(accept).collect());
        }
        self.append = Some(append);
    }

    pub(super) fn append_reported(&mut self) {
        self.append_accepted();
        let Some(Append { accepted: Some(clocks), .. }) = self.append.take() else { return };
        let effects = self.core.on_appended(&clocks);
        self.carry_out(effects);
    }

    /// The append fails; whether or not it was accepted.
    pub(super) fn append_failed(&mut self) {
        if self.append.take().is_some() {
            let effects = self.core.on_append_failed();
            if !matches!(effects[..], [Effect::RetryAppend { .. }]) {
                self.gave_up = true;
                self.counts.given_up += 1;
            }
            self.carry_out(effects);
        }
    }

    pub(super) fn retry(&mut self) {
        if std::mem::take(&mut self.retry) {
            let effects = self.core.on_retry_append();
            self.carry_out(effects);
        }
    }

    /// The tail brings up to `count` lines, and `again` that it brought already, as it does after it was opened anew.
    pub(super) fn tail(&mut self, count: usize, again: usize) {
        let Some(at) = self.tail else { return };
        let end = self.log.len().min(at + count);
        let lines: Vec<StreamLine> = self.log[at.saturating_sub(again)..end]
            .iter()
            .map(|line| StreamLine { clock: line.clock, message: line.message.clone() })
            .collect();
        self.tail = Some(end);
        let effects = self.core.on_entries(&lines, self.now_ms);
        self.carry_out(effects);
    }

    /// The load read the log `late` lines after it began to.
    pub(super) fn loaded(&mut self, variant: Variant, late: usize) {
        let Some(began) = self.loads[variant as usize].take() else { return };
        let lines = &self.log[..self.log.len().min(began + late)];
        let base = merged(lines.iter().filter_map(|line| line.update.clone()));
        let awareness = lines
            .iter()
            .filter_map(|line| Some(Heard { at_ms: line.clock.ms, update: line.presence.clone()?, users: Vec::new() }))
            .collect();
        let clock = lines.last().map_or(StreamClock::ZERO, |line| line.clock);
        let changed = lines.iter().rfind(|line| line.update.is_some()).map_or(StreamClock::ZERO, |line| line.clock);
        self.reached[variant as usize] = clock;
        let effects = self.core.on_loaded(
            variant,
            Loaded { ids: ids_of(&base), base, clock, changed, recent: Vec::new(), awareness, checks: Vec::new() },
            self.now_ms,
        );
        self.counts.reloads += effects.iter().filter(|effect| matches!(effect, Effect::Load(_))).count();
        self.carry_out(effects);
    }

    pub(super) fn load_failed(&mut self, variant: Variant) {
        if self.loads[variant as usize].take().is_some() {
            let effects = self.core.on_load_failed(variant, Close::TRY_AGAIN);
            self.refused(variant, effects);
        }
    }

    pub(super) fn folded(&mut self, variant: Variant) {
        let Some(job) = self.folds[variant as usize].take() else { return };
        let effects = self.fold(job);
        self.carry_out(effects);
    }

    fn fold(&mut self, job: FoldJob) -> Vec<Effect> {
        self.counts.folds += 1;
        self.reached[job.variant as usize] = job.upto;
        let base = merged(std::iter::once(job.base).chain(job.tail.into_iter().map(|(_, update)| update)));
        let answer = |state_vector: &Bytes| {
            let state_vector = StateVector::from_bytes(state_vector).expect("made by `sync`");
            Bytes::from(content::diff(&base, &state_vector).expect("a document"))
        };
        let answers = job.state_vectors.iter().map(answer).collect();
        let ids = job.wants_ids.then(|| ids_of(&base));
        self.core.on_folded(Folded { variant: job.variant, base, upto: job.upto, ids, answers, bad: Vec::new() })
    }

    pub(super) fn fold_failed(&mut self, variant: Variant) {
        if self.folds[variant as usize].take().is_some() {
            let effects = self.core.on_fold_failed(variant, Close::TRY_AGAIN);
            self.refused(variant, effects);
        }
    }

    /// Law: what failed leads to no answer, and leaves nobody behind who waits for one.
    fn refused(&mut self, variant: Variant, effects: Vec<Effect>) {
        self.counts.refusals += 1;
        let answers = effects.iter().any(|effect| matches!(effect, Effect::Broadcast { .. }));
        assert!(!answers, "a failure is not answered: {effects:?}");
        self.carry_out(effects);
        let waiting = self.clients.iter().find(|(_, client)| client.variant() == variant && client.syncing.is_some());
        assert!(waiting.is_none(), "{:?} waits for what has failed", waiting.map(|(session, _)| session));
    }

    /// Law: what is reported is that something left; a report of the same size would be answered by asking again.
    pub(super) fn evict(&mut self) {
        let size_bytes = |core: &RoomCore| core.snapshots.size_bytes() + core.recent.size_bytes();
        let before = size_bytes(&self.core);
        let effects = self.core.on_evict();
        assert!(effects.is_empty() || size_bytes(&self.core) < before, "nothing left, and it is reported");
        self.carry_out(effects);
    }

    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.flush) {
            let effects = self.core.on_flush_awareness(self.now_ms);
            self.carry_out(effects);
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now_ms += time.as_millis() as u64;
        let effects = self.core.on_tick(self.now_ms);
        self.carry_out(effects);
    }

    /// Everything under way ends well, until nothing is.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let under_way = self.append.is_some()
                || self.retry
                || self.flush
                || self.loads.iter().any(Option::is_some)
                || self.folds.iter().any(Option::is_some)
                || self.tail.is_some_and(|at| at < self.log.len());
            if !under_way {
                return;
            }
            self.append_reported();
            self.retry();
            self.now_ms += 1;
            self.flush();
            for variant in Variant::ALL {
                self.loaded(variant, usize::MAX / 2);
                self.folded(variant);
            }
            self.tail(7, 0);
        }
        panic!("it does not come to rest");
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut todo = VecDeque::from(effects);
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::Load(variant) => {
                    let load = self.loads[variant as usize].replace(self.log.len());
                    assert!(load.is_none(), "a second load of {variant:?} at the same time");
                }
                Effect::Follow(after) => {
                    assert!(self.tail.is_none(), "followed twice");
                    self.tail = Some(self.log.iter().filter(|line| line.clock <= after).count());
                }
                Effect::Append { messages, floor } => {
                    assert!(!messages.is_empty() && !self.retry, "nothing to append, or not yet");
                    let append = self.append.replace(Append { messages, floor, accepted: None });
                    assert!(append.is_none(), "a second append at the same time");
                }
                Effect::RetryAppend { .. } => assert!(!std::mem::replace(&mut self.retry, true), "retried twice"),
                Effect::Fold(job) => {
                    if self.inline_folds && job.size_bytes() < 200 {
                        todo.extend(self.fold(job));
                    } else {
                        let fold = self.folds[job.variant as usize].replace(job);
                        assert!(fold.is_none(), "a second fold at the same time");
                    }
                }
                Effect::Broadcast { messages, to } => {
                    let to = match to {
                        Recipients::Everyone => self.clients.keys().copied().collect(),
                        Recipients::These(sessions) => sessions,
                    };
                    for session in to {
                        self.deliver(session, &messages);
                    }
                }
                Effect::Credit { session, size_bytes } => {
                    if let Some(client) = self.clients.get_mut(&session) {
                        client.credit_bytes += size_bytes;
                        assert!(client.credit_bytes <= client.cost_bytes, "{session:?} gets back more than it gave");
                    }
                }
                Effect::Charge { .. } => {}
                Effect::Cork(corked) => {
                    assert_ne!(self.corked, corked, "said twice");
                    self.corked = corked;
                }
                Effect::Close { session, .. } => {
                    if self.clients.remove(&session).is_some() {
                        todo.extend(self.core.on_leave(session, self.now_ms));
                    }
                }
                Effect::FlushAwareness { .. } => assert!(!std::mem::replace(&mut self.flush, true), "armed twice"),
                Effect::SnapshotSize(_) | Effect::BadLine { .. } | Effect::Limited(_) => {}
                lossy => panic!("this log loses nothing: {lossy:?}"),
            }
        }
    }
}

pub(super) fn merged(updates: impl Iterator<Item = Bytes>) -> Bytes {
    let updates: Vec<Bytes> = updates.collect();
    match &updates[..] {
        [one] => one.clone(),
        many => content::merge(many).expect("made above or merged of such").into(),
    }
}
