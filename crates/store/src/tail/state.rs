//! What one tail follows and where it stands: decisions only, no I/O and no waiting.
//!
//! Each followed room is in one of three modes. *Live*: everything up to `position` is delivered or queued here, and what
//! comes after is handed over. *Behind*: there may be more in the log; it is read when the consumer has time. *Reading*:
//! such a read is under way; what is appended meanwhile is remembered by its clock only, because the page may hold it or
//! not. So a tail that nobody drains holds at most its bound, and the log holds the rest.
//!
//! What is handed over says which clock it follows on. Where that is beyond the position, something in between was not
//! handed over, and the room is behind: the log is the truth, and what is handed over only saves the reading.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{LogEntry, ReadPage, TailEvent};
use yhub_core::{RoomId, StreamClock};

/// What an entry costs beside its message.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Where one followed room stands.
#[derive(Debug)]
struct Followed {
    /// Tells this following from an earlier one of the same room.
    generation: u64,
    /// Everything up to here was delivered or is in `queued`.
    position: StreamClock,
    queued: Vec<LogEntry>,
    mode: Mode,
    /// What its consumer is yet to be told.
    trouble: Option<Trouble>,
}

/// What else than entries there is to tell of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Suspect,
    Gap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Live,
    Behind,
    Reading { committed_upto: StreamClock },
}

/// What the consumer is to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Deliver this.
    Deliver(TailEvent),
    /// Read a page and bring it to [`TailState::page`].
    Read(ReadTicket),
    /// Nothing; wait for a push or a page.
    Wait,
}

/// A read that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadTicket {
    pub(super) room: RoomId,
    pub(super) after: StreamClock,
    generation: u64,
}

/// All rooms of one tail.
#[derive(Debug)]
pub(super) struct TailState {
    rooms: HashMap<RoomId, Followed>,
    /// Rooms with something queued, each once per time it became so.
    ready: VecDeque<RoomId>,
    /// Rooms to read, with their generation; stale ones are skipped.
    behind: VecDeque<(RoomId, u64)>,
    /// Rooms whose consumer is to be told of trouble.
    troubled: VecDeque<RoomId>,
    queued_bytes: usize,
    bound_bytes: usize,
    generations: u64,
}

impl TailState {
    /// A tail that follows nothing and queues about `bound_bytes`.
    pub(super) fn new(bound_bytes: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            ready: VecDeque::new(),
            behind: VecDeque::new(),
            troubled: VecDeque::new(),
            queued_bytes: 0,
            bound_bytes,
            generations: 0,
        }
    }

    pub(super) fn follow(&mut self, room: RoomId, after: StreamClock) {
        // What there is to tell is true of the new following as well: whoever asked for it has heard of what came before.
        let trouble = self.rooms.get(&room).and_then(|followed| followed.trouble);
        self.unfollow(&room);
        self.generations += 1;
        let generation = self.generations;
        self.behind.push_back((room.clone(), generation));
        if trouble.is_some() {
            self.troubled.push_back(room.clone());
        }
        let followed = Followed { generation, position: after, queued: Vec::new(), mode: Mode::Behind, trouble };
        self.rooms.insert(room, followed);
    }

    pub(super) fn unfollow(&mut self, room: &RoomId) {
        if let Some(gone) = self.rooms.remove(room) {
            self.queued_bytes -= gone.queued.iter().map(cost_bytes).sum::<usize>();
        }
        // Its places in the queues go stale; but they must not pile up if it is followed again and again.
        if self.ready.len() + self.behind.len() + self.troubled.len() > 3 * self.rooms.len() + 64 {
            self.drop_stale();
        }
    }

    /// New entries of `room`, durable by now, which stand right after `prev`; or after anything, if that is zero. Says
    /// whether there is now something to do.
    pub(super) fn push(&mut self, room: &RoomId, prev: StreamClock, entries: &[LogEntry]) -> bool {
        let Some(followed) = self.rooms.get_mut(room) else { return false };
        let Some(newest) = entries.last().map(|entry| entry.clock) else { return false };
        match &mut followed.mode {
            Mode::Behind => return false,
            Mode::Reading { committed_upto } => {
                *committed_upto = newest.max(*committed_upto);
                return false;
            }
            Mode::Live => {}
        }
        if prev > followed.position {
            return self.dirty(room);
        }
        // A page may have brought some of them already.
        let new = entries.iter().filter(|entry| entry.clock > followed.position);
        let new_bytes: usize = new.clone().map(cost_bytes).sum();
        if new_bytes == 0 {
            return false;
        }
        if self.queued_bytes + new_bytes > self.bound_bytes {
            followed.mode = Mode::Behind;
            // What is queued goes first; see `next`.
            if followed.queued.is_empty() {
                self.behind.push_back((room.clone(), followed.generation));
            }
            return true;
        }
        if followed.queued.is_empty() {
            self.ready.push_back(room.clone());
        }
        followed.queued.extend(new.cloned());
        followed.position = newest;
        self.queued_bytes += new_bytes;
        true
    }

    /// The log has an entry of `room` at `clock`. Says whether there is now something to do.
    pub(super) fn seen(&mut self, room: &RoomId, clock: StreamClock) -> bool {
        match self.rooms.get_mut(room) {
            Some(Followed { mode: Mode::Live, position, .. }) if *position < clock => self.dirty(room),
            Some(Followed { mode: Mode::Reading { committed_upto }, .. }) => {
                *committed_upto = clock.max(*committed_upto);
                false
            }
            _ => false,
        }
    }

    /// There may be more of `room` in the log than was handed over. Says whether there is now something to do.
    pub(super) fn dirty(&mut self, room: &RoomId) -> bool {
        let Some(followed) = self.rooms.get_mut(room) else { return false };
        match &mut followed.mode {
            Mode::Behind => false,
            // The page may have been read before what there may be.
            Mode::Reading { committed_upto } => {
                *committed_upto = StreamClock::new(u64::MAX, u64::MAX);
                false
            }
            mode @ Mode::Live => {
                *mode = Mode::Behind;
                // What is queued goes first; see `next`.
                if followed.queued.is_empty() {
                    self.behind.push_back((room.clone(), followed.generation));
                }
                true
            }
        }
    }

    /// The log may have lost entries of `room`: whoever follows it is told, in its turn.
    pub(super) fn suspect(&mut self, room: &RoomId) -> bool {
        self.dirty(room);
        self.trouble(room, Trouble::Suspect)
    }

    /// Entries of `room` may be gone unseen: whoever follows it is told of a gap.
    pub(super) fn gap(&mut self, room: &RoomId) -> bool {
        self.trouble(room, Trouble::Gap)
    }

    fn trouble(&mut self, room: &RoomId, trouble: Trouble) -> bool {
        let Some(followed) = self.rooms.get_mut(room) else { return false };
        if followed.trouble.is_none() {
            self.troubled.push_back(room.clone());
        }
        // A gap is the greater trouble.
        if followed.trouble != Some(Trouble::Gap) {
            followed.trouble = Some(trouble);
        }
        true
    }

    /// The followed rooms that `which` names.
    pub(super) fn all(&self, which: &dyn Fn(&RoomId) -> bool) -> Vec<RoomId> {
        self.rooms.keys().filter(|room| which(room)).cloned().collect()
    }

    /// Every followed room, with the clock up to which it was handed over.
    pub(super) fn positions(&self) -> impl Iterator<Item = (&RoomId, StreamClock)> {
        self.rooms.iter().map(|(room, followed)| (room, followed.position))
    }

    pub(super) fn is_followed(&self, room: &RoomId) -> bool {
        self.rooms.contains_key(room)
    }

    /// Up to where `room` was handed over, if nothing of it is being read or waiting to be read.
    pub(super) fn live_position(&self, room: &RoomId) -> Option<StreamClock> {
        self.rooms.get(room).filter(|followed| followed.mode == Mode::Live).map(|followed| followed.position)
    }

    /// What to do now. `may_read`: is there capacity for another read?
    pub(super) fn next(&mut self, may_read: bool) -> Step {
        while let Some(room) = self.troubled.pop_front() {
            match self.rooms.get_mut(&room).and_then(|followed| followed.trouble.take()) {
                Some(Trouble::Suspect) => return Step::Deliver(TailEvent::Suspect { room }),
                Some(Trouble::Gap) => {
                    self.unfollow(&room);
                    return Step::Deliver(TailEvent::Gap { room });
                }
                // Followed anew meanwhile.
                None => {}
            }
        }
        while let Some(room) = self.ready.pop_front() {
            let Some(followed) = self.rooms.get_mut(&room) else { continue };
            if followed.queued.is_empty() {
                continue;
            }
            let entries: Arc<[LogEntry]> = std::mem::take(&mut followed.queued).into();
            self.queued_bytes -= entries.iter().map(cost_bytes).sum::<usize>();
            if followed.mode == Mode::Behind {
                self.behind.push_back((room.clone(), followed.generation));
            }
            return Step::Deliver(TailEvent::Entries { room, entries });
        }
        while may_read && let Some((room, generation)) = self.behind.pop_front() {
            let Some(followed) = self.rooms.get_mut(&room) else { continue };
            if followed.generation != generation || followed.mode != Mode::Behind {
                continue;
            }
            followed.mode = Mode::Reading { committed_upto: StreamClock::ZERO };
            return Step::Read(ReadTicket { room, after: followed.position, generation });
        }
        Step::Wait
    }

    /// A page that was read for `ticket`, and what to deliver of it.
    pub(super) fn page(&mut self, ticket: ReadTicket, page: ReadPage) -> Option<TailEvent> {
        let ReadTicket { room, after, generation } = ticket;
        let followed = self.rooms.get_mut(&room).filter(|followed| followed.generation == generation)?;
        let Mode::Reading { committed_upto } = followed.mode else { return None };
        if page.trimmed_upto > after {
            self.rooms.remove(&room);
            return Some(TailEvent::Gap { room });
        }
        if let Some(last) = page.entries.last() {
            followed.position = last.clock;
        }
        if page.more || committed_upto > followed.position {
            followed.mode = Mode::Behind;
            self.behind.push_back((room.clone(), generation));
        } else {
            followed.mode = Mode::Live;
        }
        if page.entries.is_empty() {
            return None;
        }
        Some(TailEvent::Entries { room, entries: page.entries.into() })
    }

    fn drop_stale(&mut self) {
        let rooms = &self.rooms;
        self.behind.retain(|(room, generation)| rooms.get(room).is_some_and(|followed| followed.generation == *generation));
        let mut seen = std::collections::HashSet::new();
        self.ready
            .retain(|room| rooms.get(room).is_some_and(|followed| !followed.queued.is_empty()) && seen.insert(room.clone()));
        let mut seen = std::collections::HashSet::new();
        self.troubled
            .retain(|room| rooms.get(room).is_some_and(|followed| followed.trouble.is_some()) && seen.insert(room.clone()));
    }
}

fn cost_bytes(entry: &LogEntry) -> usize {
    ENTRY_OVERHEAD_BYTES + entry.message.as_ref().map_or(0, bytes::Bytes::len)
}

#[cfg(test)]
mod tests;
