//! The documents of a room as far as they are in memory: a base each, and the updates since.
//!
//! One computation serves everybody who waits: syncs that come while one is under way are answered together by the
//! next. Nothing here looks into a document; that is done by whoever carries out [`FoldJob`].

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use yhub_content::ContentIds;

use super::{FoldJob, Folded, Loaded, Variant};
use crate::{AnswerMemory, SessionId, StreamClock};

/// The encoded empty update and the encoded empty state vector.
const EMPTY_UPDATE: &[u8] = &[0, 0];
const EMPTY_STATE_VECTOR: &[u8] = &[0];

/// The tail is folded without anybody asking when it holds so many updates …
const FOLD_UPDATES: usize = 4096;
/// … or so many bytes and as much as the base.
const FOLD_BYTES: usize = 256 << 10;
/// So many different state vectors are answered by one fold, which has a deadline; the others by the next.
const ANSWERS_PER_FOLD: usize = 64;

#[derive(Default)]
enum Slot {
    #[default]
    Absent,
    Loading {
        /// Where the tail stood when the load began: whatever it brings holds everything up to here.
        since: StreamClock,
    },
    Ready {
        base: Bytes,
        upto: StreamClock,
    },
}

#[derive(Default)]
struct Document {
    slot: Slot,
    /// Who wants what; a session stands here once, with its latest state vector.
    waiting: Vec<(SessionId, Bytes)>,
    /// Who waits for which answer of the fold under way.
    folding: Option<Vec<(SessionId, usize)>>,
    /// The room went back to here while that fold was under way: it reaches no further.
    ceiling: Option<StreamClock>,
}

/// What a room held before its log lost something.
pub(super) struct SetAside {
    /// Updates, those with deleted content first.
    pub(super) parts: Vec<Bytes>,
    /// Was the document with deleted content among them?
    pub(super) has_nongc: bool,
    /// What the room took for stored.
    pub(super) known: Option<ContentIds>,
}

#[derive(Default)]
pub(super) struct Snapshots {
    documents: [Document; 2],
    /// Every update since the oldest base or the oldest load under way.
    tail: VecDeque<(StreamClock, Bytes)>,
    tail_bytes: usize,
    /// What the documents hold; a part of it is enough for every use.
    known: Option<ContentIds>,
    /// Does the tail hold something that `known` lacks?
    known_is_behind: bool,
}

impl Snapshots {
    fn document(&mut self, variant: Variant) -> &mut Document {
        &mut self.documents[variant as usize]
    }

    /// Marks a document as loading, while the tail stands at `position`. False if it is there or under way already.
    pub(super) fn begin_load(&mut self, variant: Variant, position: StreamClock) -> bool {
        let slot = &mut self.document(variant).slot;
        let absent = matches!(slot, Slot::Absent);
        if absent {
            *slot = Slot::Loading { since: position };
        }
        absent
    }

    /// Takes a loaded document. The tail holds what came after `followed_from`, where the room began to follow the stream.
    /// Where the load ends before that, what lies between is in neither: false, and the document is still absent.
    pub(super) fn on_loaded(&mut self, variant: Variant, loaded: Loaded, followed_from: StreamClock) -> bool {
        match &mut self.known {
            Some(known) => known.insert_all(&loaded.ids),
            None => self.known = Some(loaded.ids),
        }
        let slot = &mut self.document(variant).slot;
        let since = if let Slot::Loading { since } = slot { *since } else { StreamClock::ZERO };
        // The clock may be lower than what the load holds: a line that is no update may have left the stream for good.
        let upto = loaded.clock.max(since);
        let is_bridged = upto >= followed_from;
        *slot = if is_bridged { Slot::Ready { base: loaded.base, upto } } else { Slot::Absent };
        if is_bridged {
            self.trim();
        }
        is_bridged
    }

    /// Returns those who waited.
    pub(super) fn on_load_failed(&mut self, variant: Variant) -> Vec<SessionId> {
        let document = self.document(variant);
        document.slot = Slot::Absent;
        let waiting = std::mem::take(&mut document.waiting);
        self.trim();
        waiting.into_iter().map(|(session, _)| session).collect()
    }

    /// A new update of the stream, with what it holds unless it is too long to be looked into here.
    pub(super) fn on_update(&mut self, clock: StreamClock, update: Bytes, ids: Option<ContentIds>) {
        if self.documents.iter().all(|document| matches!(document.slot, Slot::Absent)) {
            return;
        }
        match (&mut self.known, ids) {
            (Some(known), Some(ids)) => known.insert_all(&ids),
            _ => self.known_is_behind = true,
        }
        self.tail_bytes += update.len();
        self.tail.push_back((clock, update));
    }

    /// Is all of this known to be in the stream or in the stored document?
    pub(super) fn holds(&self, ids: &ContentIds) -> bool {
        self.known.as_ref().is_some_and(|known| known.contains_all(ids))
    }

    pub(super) fn known(&self) -> Option<&ContentIds> {
        self.known.as_ref()
    }

    /// A session waits for the difference to its state vector.
    pub(super) fn want(&mut self, variant: Variant, session: SessionId, state_vector: Bytes) {
        let waiting = &mut self.document(variant).waiting;
        waiting.retain(|(other, _)| *other != session);
        waiting.push((session, state_vector));
    }

    pub(super) fn forget_waiting(&mut self, session: SessionId) {
        for document in &mut self.documents {
            document.waiting.retain(|(other, _)| *other != session);
        }
    }

    pub(super) fn is_waiting(&self, variant: Variant) -> bool {
        !self.documents[variant as usize].waiting.is_empty()
    }

    /// Answers that need no computation: the whole document, or nothing of an empty one.
    pub(super) fn answer_at_once(&mut self, variant: Variant) -> Vec<(SessionId, Bytes)> {
        let last = self.tail.back().map(|(clock, _)| *clock);
        let document = self.document(variant);
        let Slot::Ready { base, upto } = &document.slot else { return Vec::new() };
        if document.folding.is_some() || last.is_some_and(|last| last > *upto) {
            return Vec::new();
        }
        let (base, is_empty) = (base.clone(), &base[..] == EMPTY_UPDATE);
        let at_once = |state_vector: &Bytes| is_empty || &state_vector[..] == EMPTY_STATE_VECTOR;
        let (now, later) = std::mem::take(&mut document.waiting).into_iter().partition(|(_, sv)| at_once(sv));
        document.waiting = later;
        let now: Vec<_> = now;
        now.into_iter().map(|(session, _)| (session, base.clone())).collect()
    }

    /// Starts the computation for those who wait, or of a long tail. `None` if the document is not there or a
    /// computation is under way.
    pub(super) fn begin_fold(&mut self, variant: Variant, memory: &AnswerMemory) -> Option<FoldJob> {
        let wants_ids = std::mem::take(&mut self.known_is_behind);
        let document = &mut self.documents[variant as usize];
        let (Slot::Ready { base, upto }, None) = (&document.slot, &document.folding) else {
            self.known_is_behind = wants_ids;
            return None;
        };
        let mut places: HashMap<Bytes, usize> = HashMap::new();
        let (mut state_vectors, mut folding) = (Vec::new(), Vec::new());
        for (session, state_vector) in std::mem::take(&mut document.waiting) {
            if let Some(at) = places.get(&state_vector) {
                folding.push((session, *at));
            } else if state_vectors.len() < ANSWERS_PER_FOLD {
                folding.push((session, state_vectors.len()));
                places.insert(state_vector.clone(), state_vectors.len());
                state_vectors.push(state_vector);
            } else {
                document.waiting.push((session, state_vector));
            }
        }
        document.folding = Some(folding);
        let tail: Vec<_> = self.tail.iter().filter(|(clock, _)| clock > upto).cloned().collect();
        let upto = tail.last().map_or(*upto, |(clock, _)| *clock);
        Some(FoldJob { variant, base: base.clone(), tail, upto, state_vectors, wants_ids, memory: memory.clone() })
    }

    /// Takes the new base. Returns the answers of those who waited.
    pub(super) fn on_folded(&mut self, folded: Folded) -> Vec<(SessionId, Bytes)> {
        if let (Some(known), Some(ids)) = (&mut self.known, &folded.ids) {
            known.insert_all(ids);
        }
        let document = self.document(folded.variant);
        let upto = document.ceiling.take().map_or(folded.upto, |ceiling| ceiling.min(folded.upto));
        document.slot = Slot::Ready { base: folded.base, upto };
        let folding = document.folding.take().unwrap_or_default();
        self.trim();
        folding.into_iter().filter_map(|(session, at)| Some((session, folded.answers.get(at)?.clone()))).collect()
    }

    /// Forgets the document. Returns those who waited.
    pub(super) fn on_fold_failed(&mut self, variant: Variant) -> Vec<SessionId> {
        let document = self.document(variant);
        document.slot = Slot::Absent;
        document.ceiling = None;
        let folding = document.folding.take().unwrap_or_default();
        let waiting = std::mem::take(&mut document.waiting);
        self.trim();
        folding.into_iter().map(|(session, _)| session).chain(waiting.into_iter().map(|(session, _)| session)).collect()
    }

    /// The documents whose tail has become long.
    pub(super) fn due_for_fold(&self) -> Vec<Variant> {
        if self.tail.len() < FOLD_UPDATES && self.tail_bytes < FOLD_BYTES {
            return Vec::new();
        }
        let is_due = |variant: &Variant| {
            let document = &self.documents[*variant as usize];
            let Slot::Ready { base, upto } = &document.slot else { return false };
            document.folding.is_none()
                && self.tail.back().is_some_and(|(clock, _)| clock > upto)
                && (self.tail.len() >= FOLD_UPDATES || self.tail_bytes >= base.len())
        };
        Variant::ALL.into_iter().filter(is_due).collect()
    }

    /// The clock that the base of `variant` reaches; `None` if it is not there.
    pub(super) fn upto(&self, variant: Variant) -> Option<StreamClock> {
        match self.documents[variant as usize].slot {
            Slot::Ready { upto, .. } => Some(upto),
            Slot::Absent | Slot::Loading { .. } => None,
        }
    }

    /// The updates after `clock`, in log order.
    pub(super) fn tail_after(&self, clock: StreamClock) -> impl Iterator<Item = Bytes> {
        self.tail.iter().filter(move |(at, _)| *at > clock).map(|(_, update)| update.clone())
    }

    /// Is a load or a fold under way?
    pub(super) fn is_busy(&self) -> bool {
        self.documents.iter().any(|document| matches!(document.slot, Slot::Loading { .. }) || document.folding.is_some())
    }

    /// Is a load of this document under way?
    pub(super) fn is_loading(&self, variant: Variant) -> bool {
        matches!(self.documents[variant as usize].slot, Slot::Loading { .. })
    }

    /// The stream is followed from `to` again: lines after it come that were not there before, or come once more.
    pub(super) fn rewind(&mut self, to: StreamClock) {
        for document in &mut self.documents {
            match &mut document.slot {
                Slot::Absent => {}
                Slot::Loading { since } => *since = to.min(*since),
                // It holds more; that costs nothing but to be folded again.
                Slot::Ready { upto, .. } => *upto = to.min(*upto),
            }
            if document.folding.is_some() {
                document.ceiling = Some(to);
            }
        }
        // In the tail clocks ascend.
        while let Some((_, update)) = self.tail.pop_back_if(|(clock, _)| *clock > to) {
            self.tail_bytes -= update.len();
        }
    }

    /// What more is known to be in the stream or on its way there.
    pub(super) fn add_known(&mut self, ids: &ContentIds) {
        if let Some(known) = &mut self.known {
            known.insert_all(ids);
        }
    }

    /// Hands out all that is here and holds nothing from then on. Who waits goes on waiting. No load or fold is under way.
    pub(super) fn set_aside(&mut self) -> SetAside {
        let mut parts = Vec::new();
        let mut has_nongc = false;
        for variant in [Variant::Nongc, Variant::Gc] {
            if let Slot::Ready { base, .. } = std::mem::take(&mut self.document(variant).slot) {
                has_nongc |= variant == Variant::Nongc;
                parts.push(base);
            }
        }
        parts.extend(std::mem::take(&mut self.tail).into_iter().map(|(_, update)| update));
        self.tail_bytes = 0;
        self.known_is_behind = false;
        SetAside { parts, has_nongc, known: self.known.take() }
    }

    /// Lets go of everything that nobody waits for. False if there was nothing to let go of.
    pub(super) fn evict(&mut self) -> bool {
        let before = self.size_bytes();
        for document in &mut self.documents {
            if document.folding.is_none() && document.waiting.is_empty() && matches!(document.slot, Slot::Ready { .. }) {
                document.slot = Slot::Absent;
            }
        }
        self.trim();
        self.size_bytes() != before
    }

    /// Bytes of the larger of the documents that are there.
    pub(super) fn document_bytes(&self) -> Option<usize> {
        let bases = self.documents.iter().filter_map(|document| match &document.slot {
            Slot::Ready { base, .. } => Some(base.len()),
            Slot::Absent | Slot::Loading { .. } => None,
        });
        bases.max()
    }

    /// Bytes of the updates since the oldest of them.
    pub(super) fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Bytes of document in memory.
    pub(super) fn size_bytes(&self) -> usize {
        let bases = self.documents.iter().map(|document| match &document.slot {
            Slot::Ready { base, .. } => base.len(),
            Slot::Absent | Slot::Loading { .. } => 0,
        });
        bases.sum::<usize>() + self.tail_bytes + self.known.as_ref().map_or(0, ContentIds::size_bytes)
    }

    /// Drops the part of the tail that every base holds, and all of it when no document is there.
    fn trim(&mut self) {
        let loading = self.documents.iter().any(|document| matches!(document.slot, Slot::Loading { .. }));
        let bases = Variant::ALL.into_iter().filter_map(|variant| self.upto(variant)).min();
        match bases {
            // A load under way may end before any line that has come since it began.
            _ if loading => {}
            Some(upto) => {
                while self.tail.front().is_some_and(|(clock, _)| *clock <= upto) {
                    let (_, update) = self.tail.pop_front().expect("there is a front: checked above");
                    self.tail_bytes -= update.len();
                }
            }
            None => {
                self.tail = VecDeque::new();
                self.tail_bytes = 0;
                self.known = None;
                self.known_is_behind = false;
            }
        }
    }
}
