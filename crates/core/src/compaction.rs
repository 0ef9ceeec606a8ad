//! What a compaction does, decided from clocks alone.
//!
//! Today every compaction folds what is stored and what is new into one row. Where rows are to merge in size tiers, it is
//! [`Plan::Fold`] that would name fewer rows to replace.

use crate::{
    StreamClock,
    invariants::{Invariant, check},
};

/// What is known of a room before its documents are read.
#[derive(Clone, Debug)]
pub struct RoomState {
    /// The highest clock of its version rows.
    pub stored: Option<StreamClock>,
    /// Was it deleted for good?
    pub hard_deleted: bool,
    /// The clock of the last update or prune among the stream's entries that were read.
    pub last_change: Option<StreamClock>,
    /// The clock of the last entry that was read, of any kind.
    pub last_entry: Option<StreamClock>,
}

/// What to do about a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Everything up to here is stored, or is not to be: trim only.
    TrimOnly {
        /// Up to and including this clock.
        upto: StreamClock,
    },
    /// Store a row that reaches `upto` and replaces the rows that were read, then trim up to it.
    Fold {
        /// The new row's clock.
        upto: StreamClock,
    },
}

impl RoomState {
    /// Decides. I-2: nothing is trimmed that no committed row holds.
    pub fn plan(&self) -> Plan {
        let stored = self.stored.unwrap_or(StreamClock::ZERO);
        let last = stored.max(self.last_entry.unwrap_or(StreamClock::ZERO));
        let plan = if self.hard_deleted || self.last_change.is_none_or(|change| change <= stored) {
            Plan::TrimOnly { upto: last }
        } else {
            Plan::Fold { upto: last }
        };
        check(Invariant::NothingTrimmedUnpersisted, self.is_safe(plan), || format!("{plan:?} for {self:?}"));
        plan
    }

    /// Does a plan keep I-2 and I-5? Said apart from how it is made.
    fn is_safe(&self, plan: Plan) -> bool {
        match plan {
            Plan::TrimOnly { upto } => self.hard_deleted || self.last_change.is_none_or(|c| c > upto || Some(c) <= self.stored),
            Plan::Fold { upto } => !self.hard_deleted && self.last_change <= Some(upto) && self.stored <= Some(upto),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(ms: u64) -> StreamClock {
        StreamClock::new(ms, 0)
    }

    #[test]
    fn what_is_new_is_folded() {
        let room = RoomState { stored: None, hard_deleted: false, last_change: Some(clock(5)), last_entry: Some(clock(7)) };
        assert_eq!(room.plan(), Plan::Fold { upto: clock(7) });
    }

    #[test]
    fn presence_alone_is_only_trimmed() {
        let room = RoomState { stored: None, hard_deleted: false, last_change: None, last_entry: Some(clock(7)) };
        assert_eq!(room.plan(), Plan::TrimOnly { upto: clock(7) });
    }

    #[test]
    fn what_is_stored_is_only_trimmed() {
        let room =
            RoomState { stored: Some(clock(9)), hard_deleted: false, last_change: Some(clock(9)), last_entry: Some(clock(9)) };
        assert_eq!(room.plan(), Plan::TrimOnly { upto: clock(9) });
    }

    #[test]
    fn a_room_deleted_for_good_is_never_stored() {
        let room = RoomState { stored: None, hard_deleted: true, last_change: Some(clock(5)), last_entry: Some(clock(7)) };
        assert_eq!(room.plan(), Plan::TrimOnly { upto: clock(7) });
    }
}
