//! Sets of ids (client and clock): which content there is, or which of it was deleted.
//!
//! Two byte forms exist. Both write clients descending, each with its number of ranges:
//! - [`IdSet::encode`]: a clock is written as the distance from the end of the range before, a length less one;
//! - [`IdSet::encode_v1`]: plain clocks and lengths, the delete set at the end of a V1 update.

use std::collections::{BTreeMap, btree_map::Entry};

use yhub_encoding::{DecodeError, MAX_UINT, Reader, write_var_uint};

use crate::ranges::{self, IdRange, Ids, Ranges};

/// A set of ids. Clients are below 2^53; a client that is listed has at least one id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdSet {
    clients: BTreeMap<u64, Ranges>,
}

impl IdSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { clients: BTreeMap::new() }
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many clients have ids in it.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// How many ranges it has.
    pub fn range_count(&self) -> usize {
        self.clients.values().map(|ranges| ranges.as_slice().len()).sum()
    }

    /// How many ids it has.
    pub fn id_count(&self) -> u64 {
        self.iter().flat_map(|(_, ranges)| ranges).map(|range| u64::from(range.len())).sum()
    }

    /// What it takes in memory, about, in bytes.
    pub fn size_bytes(&self) -> usize {
        /// Client, ranges, and the share of a tree node.
        const PER_CLIENT: usize = size_of::<(u64, Ranges)>() + 16;
        size_of::<Self>() + self.clients.values().map(|ranges| PER_CLIENT + ranges.heap_bytes()).sum::<usize>()
    }

    /// Clients ascending, each with its ranges in normal form.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &[IdRange])> + ExactSizeIterator {
        self.clients.iter().map(|(&client, ranges)| (client, ranges.as_slice()))
    }

    /// Is this id in it?
    pub fn contains(&self, client: u64, clock: u32) -> bool {
        let ranges = self.ranges(client);
        let at = ranges.partition_point(|range| range.end() <= clock);
        ranges.get(at).is_some_and(|range| range.contains(clock))
    }

    /// Are all ids of `other` in it?
    pub fn contains_all(&self, other: &Self) -> bool {
        other.iter().all(|(client, theirs)| ranges::covers(self.ranges(client), theirs))
    }

    /// Adds a range. Quick at the end of a client's ranges; elsewhere the client's later ranges move, so many ranges in
    /// random order are better collected ([`FromIterator`]).
    pub fn insert(&mut self, client: u64, range: IdRange) {
        debug_assert!(client <= MAX_UINT, "client {client} is above 2^53-1");
        match self.clients.entry(client) {
            Entry::Occupied(entry) => entry.into_mut().insert(range),
            Entry::Vacant(entry) => {
                entry.insert(Ranges::One(range));
            }
        }
    }

    /// Adds all ids of `other`.
    pub fn insert_all(&mut self, other: &Self) {
        for (&client, theirs) in &other.clients {
            match self.clients.entry(client) {
                Entry::Occupied(entry) => entry.into_mut().insert_all(theirs.as_slice()),
                Entry::Vacant(entry) => {
                    entry.insert(theirs.clone());
                }
            }
        }
    }

    /// The ids that are in any of `sets`.
    pub fn union<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sets = sets.into_iter();
        let Some(first) = sets.next() else {
            return Self::new();
        };
        let Some(second) = sets.next() else {
            return first.clone();
        };
        let mut clients: BTreeMap<u64, Vec<IdRange>> = BTreeMap::new();
        for (client, ranges) in [first, second].into_iter().chain(sets).flat_map(Self::iter) {
            clients.entry(client).or_default().extend_from_slice(ranges);
        }
        Self::normalised(clients)
    }

    /// The ids that are in it and not in `other`.
    pub fn difference<B: Ids>(&self, other: &B) -> Self {
        self.combined(|client, ours| {
            let mut kept = Vec::new();
            ranges::outside(ours, other.ranges(client), |_, part| kept.push(part));
            kept
        })
    }

    /// The ids that are in both.
    pub fn intersection<B: Ids>(&self, other: &B) -> Self {
        self.combined(|client, ours| {
            let mut kept = Vec::new();
            ranges::overlaps(ours, other.ranges(client), |_, _, part| kept.push(part));
            kept
        })
    }

    /// What `combine` makes of each client's ranges. Parts of ranges in normal form that are cut from one another need
    /// not be: ranges of a map on the other side may touch.
    fn combined(&self, combine: impl Fn(u64, &[IdRange]) -> Vec<IdRange>) -> Self {
        let clients = self.iter().filter_map(|(client, ours)| Some((client, Ranges::normalised(combine(client, ours))?)));
        Self { clients: clients.collect() }
    }

    /// Cuts `window` into pieces that are in the set (true) or not, from left to right and without gaps.
    pub fn slice(&self, client: u64, window: IdRange) -> Vec<(IdRange, bool)> {
        let mut parts = Vec::new();
        ranges::slice(self.ranges(client), window, |part, inside| parts.push((part, inside.is_some())));
        parts
    }

    /// Appends it in the form of ids that stand alone. Layout: `IdSet`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_with(out, |out, end_before, range| {
            write_var_uint(out, u64::from(range.clock() - end_before));
            write_var_uint(out, u64::from(range.len() - 1));
        });
    }

    /// Appends it in the form of the delete set of a V1 update.
    pub fn encode_v1(&self, out: &mut Vec<u8>) {
        self.encode_with(out, |out, _, range| {
            write_var_uint(out, u64::from(range.clock()));
            write_var_uint(out, u64::from(range.len()));
        });
    }

    fn encode_with(&self, out: &mut Vec<u8>, write: impl Fn(&mut Vec<u8>, u32, IdRange)) {
        write_var_uint(out, self.clients.len() as u64);
        for (client, ranges) in self.iter().rev() {
            write_var_uint(out, client);
            write_var_uint(out, ranges.len() as u64);
            let mut end_before = 0;
            for &range in ranges {
                write(out, end_before, range);
                end_before = range.end();
            }
        }
    }

    /// What [`IdSet::encode`] appends.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads what [`IdSet::encode`] wrote, in any order of clients. Of a client that stands twice the later entry
    /// counts, as in JavaScript.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut clients = BTreeMap::new();
        for _ in 0..reader.count(2)? {
            let client = reader.var_uint()?;
            let mut end_before = 0;
            let ranges = read_ranges(reader, |reader| {
                let range = read_range(reader, end_before)?;
                end_before = range.end();
                Ok(Some(range))
            })?;
            if let Some(ranges) = ranges {
                clients.insert(client, ranges);
            }
        }
        Ok(Self { clients })
    }

    /// Reads what [`IdSet::encode_v1`] wrote, in any order of clients and ranges; overlapping ranges and repeated
    /// clients are united, empty ranges say nothing.
    pub fn decode_v1(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut clients = BTreeMap::new();
        // Entries of clients that stand more than once. Uniting them one by one could take quadratic time.
        let mut repeated = Vec::new();
        for _ in 0..reader.count(2)? {
            let client = reader.var_uint()?;
            let ranges = read_ranges(reader, |reader| {
                let at = reader.position();
                let clock = reader.var_uint()?;
                // Neither term is above 2^53: nothing wraps.
                let end = clock + reader.var_uint()?;
                match (u32::try_from(clock), u32::try_from(end)) {
                    (Ok(clock), Ok(end)) => Ok(IdRange::between(clock, end)),
                    _ => Err(DecodeError::Invalid { at, what: BEYOND }),
                }
            })?;
            if let Some(ranges) = ranges
                && let Some(earlier) = clients.insert(client, ranges)
            {
                repeated.push((client, earlier));
            }
        }
        if repeated.is_empty() {
            return Ok(Self { clients });
        }
        let entries = clients.iter().map(|(&client, ranges)| (client, ranges));
        let entries = entries.chain(repeated.iter().map(|(client, ranges)| (*client, ranges)));
        Ok(entries.flat_map(|(client, ranges)| ranges.as_slice().iter().map(move |&range| (client, range))).collect())
    }

    /// Reads the set that `bytes` begin with, as [`IdSet::decode`] does; what follows it is ignored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes))
    }

    fn normalised(clients: BTreeMap<u64, Vec<IdRange>>) -> Self {
        let clients = clients.into_iter().filter_map(|(client, ranges)| Some((client, Ranges::normalised(ranges)?)));
        Self { clients: clients.collect() }
    }
}

impl Ids for IdSet {
    type Range = IdRange;

    fn ranges(&self, client: u64) -> &[IdRange] {
        self.clients.get(&client).map_or(&[], Ranges::as_slice)
    }
}

impl FromIterator<(u64, IdRange)> for IdSet {
    /// In any order, overlapping or not.
    fn from_iter<I: IntoIterator<Item = (u64, IdRange)>>(ranges: I) -> Self {
        let mut clients: BTreeMap<u64, Vec<IdRange>> = BTreeMap::new();
        for (client, range) in ranges {
            clients.entry(client).or_default().push(range);
        }
        Self::normalised(clients)
    }
}

const BEYOND: &str = "a range of clocks goes beyond 2^32-1";

/// Reads the number of ranges that follow and then each with `read`, where `None` stands for an empty range.
fn read_ranges<'a>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<Option<IdRange>, DecodeError>,
) -> Result<Option<Ranges>, DecodeError> {
    // Each takes two bytes at least: the memory set aside is at most four times what is left of the input.
    let count = reader.count(2)?;
    if count == 1 {
        return Ok(read(reader)?.map(Ranges::One));
    }
    let mut ranges = Vec::with_capacity(count);
    for _ in 0..count {
        ranges.extend(read(reader)?);
    }
    Ok(Ranges::normalised(ranges))
}

/// Reads a range whose clock is written as the distance from `end_before` and whose length less one.
pub(crate) fn read_range(reader: &mut Reader<'_>, end_before: u32) -> Result<IdRange, DecodeError> {
    let at = reader.position();
    // No term is above 2^53: nothing wraps.
    let clock = u64::from(end_before) + reader.var_uint()?;
    let end = clock + reader.var_uint()? + 1;
    match (u32::try_from(clock), u32::try_from(end)) {
        (Ok(clock), Ok(end)) => IdRange::between(clock, end),
        _ => None,
    }
    .ok_or(DecodeError::Invalid { at, what: BEYOND })
}
