//! What the writer knows of each room by heart, so that an append need not ask the file.
//!
//! Only committed or about to be committed: whoever rolls back forgets everything.

use std::collections::HashMap;

use yhub_core::{RoomId, StreamClock};

/// Of one room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Its row in `stream_rooms`.
    pub(crate) id: i64,
    /// The last clock given.
    pub(crate) last: StreamClock,
    /// Is its task in the queue, pending or claimed?
    pub(crate) has_task: bool,
    /// Is its compaction paused, so that it gets none?
    pub(crate) paused: bool,
}

/// Of all rooms written to lately.
#[derive(Debug)]
pub(crate) struct Heads {
    rooms: HashMap<RoomId, Head>,
    bound: usize,
}

impl Heads {
    pub(crate) fn new(bound: usize) -> Self {
        Self { rooms: HashMap::new(), bound: bound.max(1) }
    }

    pub(crate) fn get(&self, room: &RoomId) -> Option<Head> {
        self.rooms.get(room).copied()
    }

    pub(crate) fn set(&mut self, room: &RoomId, head: Head) {
        if self.rooms.len() >= self.bound && !self.rooms.contains_key(room) {
            // Cheaper than to keep an order of use at every append: a look-up costs some microseconds, once a room.
            self.rooms.clear();
        }
        self.rooms.insert(room.clone(), head);
    }

    pub(crate) fn forget(&mut self, room: &RoomId) {
        self.rooms.remove(room);
    }

    pub(crate) fn forget_all(&mut self) {
        self.rooms.clear();
    }
}
