//! Whether a log and the version rows hold what a room has heard of.

use std::collections::HashSet;

use crate::StreamClock;

/// What was found where a log and the rows were looked at.
#[derive(Clone, Debug, Default)]
pub struct Survivors {
    /// The lines of the stream from the first of the changes on, in log order: the clock of each, and whether it is a change.
    pub lines: Vec<(StreamClock, bool)>,
    /// Lines up to and including this clock were trimmed.
    pub trimmed_upto: StreamClock,
    /// The clocks of the version rows, read after the stream.
    pub rows: Vec<StreamClock>,
}

/// How a log compares with what a room has heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Is every change that it has heard of in the log, or stored?
    pub held: bool,
    /// Where it has to follow the stream from, so that it misses no change that others appended among the clocks of what is
    /// lost: it has heard of every change up to here, and nothing is appended below any more.
    pub resume: StreamClock,
}

/// Where to read the log from to fill [`Survivors::lines`]: after this clock.
pub fn first_to_look_at(changes: &[StreamClock]) -> StreamClock {
    let Some(first) = changes.first() else { return StreamClock::ZERO };
    match first.seq.checked_sub(1) {
        Some(seq) => StreamClock::new(first.ms, seq),
        None => first.ms.checked_sub(1).map_or(StreamClock::ZERO, |ms| StreamClock::new(ms, u64::MAX)),
    }
}

/// Compares. `changes` are the clocks of the last changes heard of, ascending; `upto` is where the room stands in the stream.
///
/// A row vouches for a change below its clock, but not if a change stands between the two in the stream: then the row may
/// have been made of what was left after the loss. (What was written since then is in the stream still: lines stay there
/// for a minimum lifetime.)
pub fn compare(changes: &[StreamClock], upto: StreamClock, found: &Survivors) -> Verdict {
    let there: HashSet<StreamClock> = found.lines.iter().filter(|(_, is_change)| *is_change).map(|(at, _)| *at).collect();
    let is_held = |change: &StreamClock| {
        let is_stored = |row: &StreamClock| row >= change && !there.iter().any(|other| other > change && other <= row);
        *change <= found.trimmed_upto || there.contains(change) || found.rows.iter().any(is_stored)
    };
    let held = changes.iter().all(is_held);
    // Where even the first change is gone, lines of others may stand below it, which were not read.
    let is_gone = changes.first().is_some_and(|first| *first > found.trimmed_upto && !there.contains(first));
    if is_gone {
        return Verdict { held, resume: found.trimmed_upto.min(upto) };
    }
    let is_new = |at: &StreamClock| *at > found.trimmed_upto && changes.binary_search(at).is_err();
    let heard = found.lines.iter().take_while(|(at, is_change)| !is_change || !is_new(at));
    let start = first_to_look_at(changes).max(found.trimmed_upto);
    let resume = heard.map(|(at, _)| *at).fold(start, StreamClock::max).min(upto);
    Verdict { held, resume }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> StreamClock {
        StreamClock::new(n, 0)
    }

    fn found(changes: &[u64], trimmed_upto: u64, rows: &[u64]) -> Survivors {
        let lines = changes.iter().map(|n| (at(*n), true)).collect();
        Survivors { lines, trimmed_upto: at(trimmed_upto), rows: rows.iter().copied().map(at).collect() }
    }

    fn held(changes: &[u64], found: &Survivors) -> bool {
        let changes: Vec<_> = changes.iter().copied().map(at).collect();
        compare(&changes, at(100), found).held
    }

    #[test]
    fn what_is_there_trimmed_or_stored_is_held() {
        assert!(held(&[], &found(&[], 0, &[])));
        assert!(held(&[5, 7], &found(&[5, 7], 0, &[])));
        assert!(held(&[5, 7], &found(&[7], 5, &[])));
        assert!(held(&[5, 7], &found(&[], 0, &[7])));
        assert!(held(&[5, 9], &found(&[9], 0, &[5])));
        assert!(!held(&[5, 7], &found(&[5], 0, &[])));
        assert!(!held(&[5, 7], &found(&[], 0, &[5])));
    }

    #[test]
    fn what_was_appended_after_a_loss_does_not_vouch_for_what_was_lost() {
        assert!(!held(&[5, 7], &found(&[7], 0, &[])));
        // Nor does a row that was made of it.
        assert!(!held(&[5, 7], &found(&[7], 0, &[7])));
        assert!(held(&[5, 7], &found(&[7], 0, &[6])));
    }

    #[test]
    fn lines_of_others_below_where_the_room_stands_are_found() {
        let resume = |changes: &[u64], upto, found: &Survivors| {
            let changes: Vec<_> = changes.iter().copied().map(at).collect();
            compare(&changes, at(upto), found).resume
        };
        let lost_presence = found(&[5, 7, 9], 0, &[]);
        assert_eq!(resume(&[5, 9], 9, &lost_presence), at(5));
        assert_eq!(resume(&[5, 7, 9], 9, &lost_presence), at(9));
        assert_eq!(resume(&[5, 7, 9], 12, &lost_presence), at(9), "others may append below where the room stands");
        assert_eq!(resume(&[5], 5, &lost_presence), at(5), "they are still to come");
        assert_eq!(resume(&[5], 8, &lost_presence), at(5));
        assert_eq!(resume(&[], 8, &lost_presence), StreamClock::ZERO);
        assert_eq!(resume(&[5], 8, &found(&[], 7, &[])), at(7));
        assert_eq!(resume(&[5, 9], 9, &found(&[9], 3, &[])), at(3), "and below the first that it has heard of");
        assert_eq!(first_to_look_at(&[StreamClock::new(5, 3)]), StreamClock::new(5, 2));
        assert_eq!(first_to_look_at(&[at(5)]), StreamClock::new(4, u64::MAX));
    }
}
