//! Finds blocks by clock, nearly without searching.
//!
//! The clocks of a client are divided into about as many equal parts as it has blocks; for each part it is noted where
//! its blocks begin. What is left to search is one block, or a few. Bytes that are made to crowd one part cost a binary
//! search in it, as all would without this.

/// The blocks of one client.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientIndex {
    /// Its blocks: from, to.
    pub(super) from: u32,
    pub(super) to: u32,
    /// Clock of its first block.
    first_clock: u32,
    /// A part is 2 to the power of this long.
    shift: u32,
    /// How many blocks begin before each part, and all of them.
    before: Vec<u32>,
}

impl ClientIndex {
    /// Of the blocks `from..to`, which begin at these clocks (ascending).
    pub(super) fn new(from: u32, to: u32, clocks: &[u32]) -> Self {
        let (Some(&first_clock), Some(&last_clock)) = (clocks.first(), clocks.last()) else {
            return Self { from, to, ..Self::default() };
        };
        let span = last_clock - first_clock;
        let mut shift = 0;
        while (span >> shift) as usize > clocks.len() {
            shift += 1;
        }
        let parts = (span >> shift) as usize + 1;
        let mut before = Vec::with_capacity(parts + 1);
        for (index, &clock) in clocks.iter().enumerate() {
            let part = ((clock - first_clock) >> shift) as usize;
            // Parts that end before this block, and its own if it is the first in it.
            while before.len() <= part {
                before.push(index as u32);
            }
        }
        before.push(clocks.len() as u32);
        Self { from, to, first_clock, shift, before }
    }

    /// Of a client that has no blocks yet; each that is added stands behind all others, from `from` on.
    pub(super) fn growing(from: u32) -> Self {
        Self { from, to: from, first_clock: 0, shift: 31, before: vec![0, 0] }
    }

    /// One block more, behind all others; of a client that [`Self::growing`] made.
    pub(super) fn grow(&mut self) {
        self.to += 1;
        self.before[1] += 1;
    }

    /// Frees what only searches need.
    pub(super) fn forget_places(&mut self) {
        self.before = Vec::new();
    }

    /// The last block that begins at `clock` or before, if there is one; `clocks` are those of all blocks.
    #[inline]
    pub(super) fn last_from(&self, clocks: &[u32], clock: u32) -> Option<u32> {
        let part = (clock.checked_sub(self.first_clock)? >> self.shift) as usize;
        // Behind the last part all blocks begin before.
        let (low, high) = match self.before.get(part..part + 2) {
            Some(&[low, high]) => (low, high),
            _ => return self.to.checked_sub(1).filter(|&last| last >= self.from),
        };
        let inside = clocks.get((self.from + low) as usize..(self.from + high) as usize)?;
        let count = inside.partition_point(|&begins| begins <= clock) as u32;
        (low + count).checked_sub(1).map(|last| self.from + last)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn it_finds_what_a_search_finds() {
        let mut rng = StdRng::seed_from_u64(3);
        for round in 0..300 {
            let widest = [2, 10, 1000, 50_000_000][round % 4];
            let mut clock = rng.random_range(0..100u32);
            let mut clocks = vec![7, 7, 7];
            for _ in 0..rng.random_range(0..60) {
                clocks.push(clock);
                clock += rng.random_range(1..=widest);
            }
            let (from, to) = (3, clocks.len() as u32);
            let index = ClientIndex::new(from, to, &clocks[3..]);
            let asked = clocks[3..].iter().flat_map(|&clock| [clock.saturating_sub(1), clock, clock + 1]).chain([0, 1, u32::MAX]);
            for asked in asked.collect::<Vec<_>>() {
                let expected = clocks[3..].partition_point(|&clock| clock <= asked) as u32;
                assert_eq!(
                    index.last_from(&clocks, asked),
                    expected.checked_sub(1).map(|last| last + from),
                    "{clocks:?} {asked}"
                );
            }
        }
    }
}
