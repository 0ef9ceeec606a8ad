//! How far somebody has followed each client.
//!
//! Layout: `varUint n, n × (varUint client, varUint clock)`; we write clients descending and read them in any order.

use std::collections::BTreeMap;

use yhub_encoding::{DecodeError, Reader, write_var_uint};

use crate::{IdSet, Ids};

/// Per client the clock that is expected next. A client that is not in it is expected to begin at 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateVector {
    clients: BTreeMap<u64, u32>,
}

impl StateVector {
    /// Knows nothing.
    pub const fn new() -> Self {
        Self { clients: BTreeMap::new() }
    }

    /// Does it know nothing?
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many clients it knows something of.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// The clock expected next from `client`.
    pub fn get(&self, client: u64) -> u32 {
        self.clients.get(&client).copied().unwrap_or(0)
    }

    /// Expects `clock` next from `client`.
    pub fn set(&mut self, client: u64, clock: u32) {
        if clock == 0 {
            self.clients.remove(&client);
        } else {
            self.clients.insert(client, clock);
        }
    }

    /// Clients ascending, each with the clock expected next (not 0).
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u32)> + ExactSizeIterator {
        self.clients.iter().map(|(&client, &clock)| (client, clock))
    }

    /// Has it followed every client at least as far as `other` has?
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(client, clock)| self.get(client) >= clock)
    }

    /// Follows every client as far as it or `other` does.
    pub fn advance_to(&mut self, other: &Self) {
        for (client, clock) in other.iter() {
            let known = self.clients.entry(client).or_insert(0);
            *known = (*known).max(clock);
        }
    }

    /// Of content that is there: per client the end of the range that begins at 0, if there is one. What lies behind a
    /// gap does not count.
    pub fn from_inserts(inserts: &IdSet) -> Self {
        let from_start = |(client, _)| {
            let first = inserts.ranges(client).first().filter(|range| range.clock() == 0)?;
            Some((client, first.end()))
        };
        Self { clients: inserts.iter().filter_map(from_start).collect() }
    }

    /// Reads what [`StateVector::encode`] wrote. Of a client that stands twice the later entry counts, as in
    /// JavaScript.
    ///
    /// # Errors
    /// Also if a clock is above 2^32-1, or if more entries are announced than there are bytes for.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut vector = Self::new();
        read_entries(reader, |client, clock| vector.set(client, clock))?;
        Ok(vector)
    }

    /// Reads the state vector that `bytes` begin with; what follows it is ignored.
    ///
    /// # Errors
    /// As [`StateVector::decode`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes))
    }

    /// Appends it, clients descending.
    pub fn encode(&self, out: &mut Vec<u8>) {
        write_var_uint(out, self.clients.len() as u64);
        for (client, clock) in self.iter().rev() {
            write_var_uint(out, client);
            write_var_uint(out, u64::from(clock));
        }
    }

    /// What [`StateVector::encode`] appends.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

impl FromIterator<(u64, u32)> for StateVector {
    /// Of a client that comes twice the later entry counts.
    fn from_iter<I: IntoIterator<Item = (u64, u32)>>(entries: I) -> Self {
        let mut vector = Self::new();
        for (client, clock) in entries {
            vector.set(client, clock);
        }
        vector
    }
}

/// Reads the entries of a state vector and gives their number.
pub(crate) fn read_entries(reader: &mut Reader<'_>, mut each: impl FnMut(u64, u32)) -> Result<usize, DecodeError> {
    let count = reader.count(2)?;
    for _ in 0..count {
        let client = reader.var_uint()?;
        let at = reader.position();
        let clock = u32::try_from(reader.var_uint()?).map_err(|_| DecodeError::Invalid { at, what: "a clock passes 2^32-1" })?;
        each(client, clock);
    }
    Ok(count)
}
