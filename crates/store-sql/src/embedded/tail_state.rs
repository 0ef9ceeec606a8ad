//! What one tail follows and where it stands: decisions only, no file and no waiting.
//!
//! Each followed room is in one of three modes. *Live*: everything up to `position` is delivered or queued here, and
//! the writer hands over what comes after. *Behind*: there may be more in the file; it is read when the consumer has
//! time. *Reading*: such a read is under way; what is committed meanwhile is remembered by its clock only, because
//! the page may hold it or not. So a tail that nobody drains holds at most its bound, and the file holds the rest.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use yhub_core::{RoomId, StreamClock};
use yhub_store::{LogEntry, ReadPage, TailEvent};

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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Live,
    Behind,
    Reading { committed_upto: StreamClock },
}

/// What the consumer is to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Deliver this.
    Deliver(TailEvent),
    /// Read a page and bring it to [`TailState::page`].
    Read(ReadTicket),
    /// Nothing; wait for a push or a page.
    Wait,
}

/// A read that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadTicket {
    pub(crate) room: RoomId,
    pub(crate) after: StreamClock,
    generation: u64,
}

/// All rooms of one tail.
#[derive(Debug)]
pub(crate) struct TailState {
    rooms: HashMap<RoomId, Followed>,
    /// Rooms with something queued, each once per time it became so.
    ready: VecDeque<RoomId>,
    /// Rooms to read, with their generation; stale ones are skipped.
    behind: VecDeque<(RoomId, u64)>,
    queued_bytes: usize,
    bound_bytes: usize,
    generations: u64,
}

impl TailState {
    /// A tail that follows nothing and queues about `bound_bytes`.
    pub(crate) fn new(bound_bytes: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            ready: VecDeque::new(),
            behind: VecDeque::new(),
            queued_bytes: 0,
            bound_bytes,
            generations: 0,
        }
    }

    pub(crate) fn follow(&mut self, room: RoomId, after: StreamClock) {
        self.unfollow(&room);
        self.generations += 1;
        let generation = self.generations;
        self.behind.push_back((room.clone(), generation));
        let followed = Followed { generation, position: after, queued: Vec::new(), mode: Mode::Behind };
        self.rooms.insert(room, followed);
    }

    pub(crate) fn unfollow(&mut self, room: &RoomId) {
        if let Some(gone) = self.rooms.remove(room) {
            self.queued_bytes -= gone.queued.iter().map(cost_bytes).sum::<usize>();
        }
        // Its places in `ready` and `behind` go stale; but they must not pile up if it is followed again and again.
        if self.ready.len() + self.behind.len() > 2 * self.rooms.len() + 64 {
            self.drop_stale();
        }
    }

    /// New entries of `room`, just committed. Says whether there is now something to do.
    pub(crate) fn push(&mut self, room: &RoomId, entries: &[LogEntry]) -> bool {
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

    /// What to do now. `may_read`: is there capacity for another read?
    pub(crate) fn next(&mut self, may_read: bool) -> Step {
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
    pub(crate) fn page(&mut self, ticket: ReadTicket, page: ReadPage) -> Option<TailEvent> {
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
    }
}

fn cost_bytes(entry: &LogEntry) -> usize {
    ENTRY_OVERHEAD_BYTES + entry.message.as_ref().map_or(0, bytes::Bytes::len)
}
