//! A log that loses what a test says, and the version row beside it.

use bytes::Bytes;
use yhub_content::ContentMap;

use super::{super::*, world::ids_of};

pub(super) struct Line {
    pub(super) clock: StreamClock,
    pub(super) message: Bytes,
}

impl Line {
    pub(super) fn change(&self) -> Option<(Bytes, ContentMap)> {
        match StreamMessage::decode(&self.message) {
            Ok(StreamMessage::Update { update, contentmap }) => Some((update, ContentMap::from_bytes(&contentmap).unwrap())),
            _ => None,
        }
    }
}

/// The log and the version row, shared by all nodes.
#[derive(Default)]
pub(super) struct Stores {
    pub(super) lines: Vec<Line>,
    trimmed_upto: StreamClock,
    row: Option<(StreamClock, Bytes)>,
    row_map: ContentMap,
    pub(super) losses: usize,
    /// Goes back with a loss: new lines come to stand among the clocks of lost ones, but no two have the same.
    now_ms: u64,
    appended: u64,
}

impl Stores {
    pub(super) fn append(&mut self, floor: StreamClock, message: &Bytes) -> StreamClock {
        let last = self.lines.last().map_or(self.trimmed_upto, |line| line.clock).max(floor);
        self.now_ms += 1;
        self.appended += 1;
        let clock = StreamClock::new(self.now_ms.max(last.ms), self.appended);
        self.lines.push(Line { clock, message: message.clone() });
        clock
    }

    pub(super) fn load(&self) -> Loaded {
        let changes: Vec<_> = self.lines.iter().filter_map(|line| Some((line.clock, line.change()?.0))).collect();
        let row = self.row.iter().map(|(_, update)| update.clone());
        let base = super::world::merged(row.chain(changes.iter().map(|(_, update)| update.clone())));
        let stored = self.row.as_ref().map_or(StreamClock::ZERO, |(clock, _)| *clock);
        let last = self.lines.last().map_or(StreamClock::ZERO, |line| line.clock);
        let changed = changes.last().map_or(stored, |(clock, _)| stored.max(*clock));
        let awareness = self.lines.iter().filter_map(|line| match StreamMessage::decode(&line.message) {
            Ok(StreamMessage::Awareness { update, users }) => Some(Heard { at_ms: 0, update, users }),
            _ => None,
        });
        let clock = last.max(stored).max(self.trimmed_upto);
        let recent = self.lines.iter().filter(|line| line.change().is_some());
        let recent = recent.map(|line| (line.clock, line.message.clone())).collect();
        Loaded { ids: ids_of(&base), base, clock, changed, recent, awareness: awareness.collect(), checks: Vec::new() }
    }

    pub(super) fn compare(&self, changes: &[StreamClock], upto: StreamClock) -> Verdict {
        let after = first_to_look_at(changes);
        let lines = self.lines.iter().filter(|line| line.clock > after).map(|line| (line.clock, line.change().is_some()));
        let rows = self.row.iter().map(|(clock, _)| *clock).collect();
        compare(changes, upto, &Survivors { lines: lines.collect(), trimmed_upto: self.trimmed_upto, rows })
    }

    /// What is said of everything, the first who says it being right.
    pub(super) fn attributions(&self) -> ContentMap {
        let mut all = self.row_map.clone();
        for (_, said) in self.lines.iter().filter_map(Line::change) {
            let new = said.difference(&all.to_ids());
            all = ContentMap::union([&all, &new]);
        }
        all
    }

    pub(super) fn compact(&mut self, count: usize) {
        let count = count.min(self.lines.len());
        let Some(upto) = self.lines[..count].last().map(|line| line.clock) else { return };
        let rest = self.lines.split_off(count);
        if self.lines.iter().any(|line| line.change().is_some()) {
            self.row_map = self.attributions();
            let base = self.load().base;
            self.row = Some((upto, base));
        }
        self.lines = rest;
        self.trimmed_upto = upto;
    }

    pub(super) fn lose(&mut self, everything: bool, count: usize) {
        self.losses += 1;
        if everything {
            // Also what was trimmed is forgotten.
            (self.lines, self.trimmed_upto) = (Vec::new(), StreamClock::ZERO);
        } else {
            self.lines.truncate(self.lines.len().saturating_sub(count));
        }
        self.now_ms = self.now_ms.saturating_sub(count as u64);
    }
}
