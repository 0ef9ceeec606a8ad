//! Presence that comes too fast: of each client the newest is kept until it may go on.

use std::collections::BTreeMap;

use crate::Presence;

/// What of a session's presence waits. An older state of a client is dropped when a newer one comes: presence is a state, and nobody
/// misses what was true in between.
#[derive(Debug, Default)]
pub struct HeldPresence {
    entries: BTreeMap<u64, Presence>,
    size_bytes: usize,
}

impl HeldPresence {
    /// Adds what a message says.
    pub fn hold(&mut self, entries: Vec<(u64, Presence)>) {
        for (client, entry) in entries {
            let held = self.entries.get(&client);
            if held.is_none() || Presence::yields_to(held, &entry) {
                let size = |entry: &Presence| entry.state.as_ref().map_or(0, |state| state.len()) + ENTRY_BYTES;
                self.size_bytes += size(&entry);
                let dropped = self.entries.insert(client, entry);
                self.size_bytes -= dropped.as_ref().map_or(0, size);
            }
        }
    }

    /// Everything, and what it counts against a budget.
    pub fn take(&mut self) -> (Vec<(u64, Presence)>, usize) {
        (std::mem::take(&mut self.entries).into_iter().collect(), std::mem::take(&mut self.size_bytes))
    }

    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// About how many bytes wait.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

/// A client id and a clock.
const ENTRY_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(client: u64, clock: u64, state: Option<&str>) -> (u64, Presence) {
        (client, Presence { clock, state: state.map(Into::into), user: None })
    }

    #[test]
    fn the_newest_of_each_client_is_kept() {
        let mut held = HeldPresence::default();
        for clock in 1..=1_000 {
            held.hold(vec![entry(1, clock, Some("{}"))]);
        }
        held.hold(vec![entry(1, 3, Some("old")), entry(2, 5, Some("[1]"))]);
        held.hold(vec![entry(2, 5, None)]);
        assert!(held.size_bytes() < 100, "{} for two clients", held.size_bytes());
        let (entries, size_bytes) = held.take();
        assert_eq!(entries, [entry(1, 1_000, Some("{}")), entry(2, 5, None)]);
        assert!(size_bytes > 0 && held.is_empty() && held.size_bytes() == 0);
    }
}
