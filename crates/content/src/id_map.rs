//! Maps from ids to attributes: what is said of which content.
//!
//! A document has far more ranges than there are different things to say of them. So a range holds the number of a
//! *list*, a list the numbers of its attributes, and attributes and lists lie in tables that maps made from one another
//! share. How maps are united is in `id_map_merge.rs`, their bytes in `id_map_codec.rs`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    ContentAttribute, IdSet,
    ranges::{self, IdRange, Ids, Span},
};

/// Attributes of ids.
///
/// In normal form: the ranges of a client ascend without overlap, and touching ones have different attributes. Equal
/// iff the same ids have equal attributes in the same order.
#[derive(Clone, Debug, Default)]
pub struct IdMap {
    pub(crate) tables: Arc<Tables>,
    /// No client is without ranges.
    pub(crate) clients: BTreeMap<u64, Vec<MapRange>>,
}

/// A range of ids that share their attributes. Which these are, only its [`IdMap`] can say.
#[derive(Clone, Copy, Debug)]
pub struct MapRange {
    pub(crate) range: IdRange,
    pub(crate) list: ListId,
}

impl Span for MapRange {
    fn range(&self) -> IdRange {
        self.range
    }
}

/// A list in [`Tables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListId(pub(crate) u32);

/// The attributes of a map, and the lists of them that its ranges have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    /// Equal attributes may stand here twice: then they are written twice, as in JavaScript.
    pub(crate) attributes: Vec<ContentAttribute>,
    /// All lists, one after the other: places in `attributes`.
    pub(crate) items: Vec<u32>,
    /// Where each list ends in `items`.
    pub(crate) ends: Vec<u32>,
}

impl Tables {
    /// The places of the attributes of a list.
    pub(crate) fn list(&self, ListId(id): ListId) -> &[u32] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.items[start as usize..self.ends[id] as usize]
    }

    /// Ends the list of which the last items were pushed. The same list as the one before is not kept twice.
    pub(crate) fn close_list(&mut self) -> ListId {
        let ends = &self.ends;
        let start = ends.last().map_or(0, |&end| end as usize);
        if let Some(last) = ends.len().checked_sub(1) {
            let before = if last == 0 { 0 } else { ends[last - 1] as usize };
            if self.items[before..start] == self.items[start..] {
                self.items.truncate(start);
                return ListId(last as u32);
            }
        }
        self.ends.push(self.items.len() as u32);
        ListId(self.ends.len() as u32 - 1)
    }

    /// Are two lists equal as sets: as long, and with the same members?
    pub(crate) fn same_members(&self, a: ListId, b: ListId) -> bool {
        if a == b {
            return true;
        }
        let (a, b) = (self.list(a), self.list(b));
        a == b || (a.len() == b.len() && lacking(b, a).next().is_none())
    }
}

/// Those of `wanted` that `list` lacks.
pub(crate) fn lacking<'a>(list: &'a [u32], wanted: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
    // Lists are short. Should one not be, looking through it for each member would take quadratic time.
    const SHORT: usize = 32;
    let members: Option<std::collections::HashSet<u32>> = (list.len() > SHORT).then(|| list.iter().copied().collect());
    let has = move |item: u32| members.as_ref().map_or_else(|| list.contains(&item), |members| members.contains(&item));
    wanted.iter().copied().filter(move |&item| !has(item))
}

/// The attributes of a range, in order.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    tables: &'a Tables,
    list: ListId,
}

impl<'a> Attributes<'a> {
    /// Each of them.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a ContentAttribute> {
        self.tables.list(self.list).iter().map(|&at| &self.tables.attributes[at as usize])
    }

    /// The values of the attributes of this name.
    pub fn values(self, name: &str) -> impl Iterator<Item = &'a yhub_encoding::Any> {
        self.iter().filter(move |attribute| *attribute.name == *name).map(|attribute| &attribute.value)
    }
}

impl IdMap {
    /// The empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the ids of `set` the same attributes. Of equal ones the first counts.
    pub fn from_id_set(set: &IdSet, attributes: &[ContentAttribute]) -> Self {
        let mut tables = Tables::default();
        for attribute in attributes {
            if !tables.attributes.contains(attribute) {
                tables.attributes.push(attribute.clone());
            }
        }
        tables.items = (0..tables.attributes.len() as u32).collect();
        let list = tables.close_list();
        let ranges = |ranges: &[IdRange]| ranges.iter().map(|&range| MapRange { range, list }).collect();
        Self { tables: Arc::new(tables), clients: set.iter().map(|(client, theirs)| (client, ranges(theirs))).collect() }
    }

    /// The ids that have attributes, or an empty list of them.
    pub fn to_id_set(&self) -> IdSet {
        self.clients.iter().flat_map(|(&client, ranges)| ranges.iter().map(move |span| (client, span.range))).collect()
    }

    /// What it says of one id, if it says anything.
    pub fn at(&self, client: u64, clock: u32) -> Option<Attributes<'_>> {
        let ranges = self.clients.get(&client)?;
        let found = ranges.get(ranges.partition_point(|found| found.range.end() <= clock))?;
        found.range.contains(clock).then_some(Attributes { tables: &self.tables, list: found.list })
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many ranges it has.
    pub fn range_count(&self) -> usize {
        self.clients.values().map(Vec::len).sum()
    }

    /// What it takes in memory, about, in bytes; tables that it shares with other maps included.
    pub fn size_bytes(&self) -> usize {
        /// Client, vector, and the share of a tree node.
        const PER_CLIENT: usize = size_of::<(u64, Vec<MapRange>)>() + 16;
        /// What a user id or a custom value takes, about.
        const PER_VALUE: usize = 16;
        let Tables { attributes, items, ends } = &*self.tables;
        size_of::<Self>()
            + attributes.len() * (size_of::<ContentAttribute>() + PER_VALUE)
            + (items.capacity() + ends.capacity()) * size_of::<u32>()
            + self.clients.values().map(|ranges| PER_CLIENT + ranges.capacity() * size_of::<MapRange>()).sum::<usize>()
    }

    /// All ranges by client and clock, with their attributes.
    pub fn iter(&self) -> impl Iterator<Item = (u64, IdRange, Attributes<'_>)> {
        self.clients
            .iter()
            .flat_map(move |(&client, ranges)| ranges.iter().map(move |span| (client, span.range, self.attributes(*span))))
    }

    /// The attributes of a range of this map.
    fn attributes(&self, span: MapRange) -> Attributes<'_> {
        Attributes { tables: &self.tables, list: span.list }
    }

    /// Cuts `window` into pieces with their attributes, or none where the map says nothing, from left to right and
    /// without gaps.
    pub fn slice(&self, client: u64, window: IdRange) -> Vec<(IdRange, Option<Attributes<'_>>)> {
        let mut parts = Vec::new();
        ranges::slice(self.ranges(client), window, |part, span| {
            parts.push((part, span.map(|span| self.attributes(*span))));
        });
        parts
    }

    /// What it says of ids that are not in `other`.
    pub fn difference<B: Ids>(&self, other: &B) -> Self {
        self.combined(|client, ours, kept| {
            ranges::outside(ours, other.ranges(client), |span, range| kept.push(MapRange { range, ..*span }));
        })
    }

    /// What it says of ids that are also in `set`.
    pub fn restricted_to(&self, set: &IdSet) -> Self {
        self.combined(|client, ours, kept| {
            ranges::overlaps(ours, set.ranges(client), |span, _, range| kept.push(MapRange { range, ..*span }));
        })
    }

    /// What both say of ids that are in both: its own attributes, then those of `other`. An attribute that both have
    /// stands twice.
    pub fn intersection(&self, other: &Self) -> Self {
        let offset = self.tables.attributes.len() as u32;
        let mut tables = Tables::default();
        tables.attributes.extend_from_slice(&self.tables.attributes);
        tables.attributes.extend_from_slice(&other.tables.attributes);
        let mut joined: HashMap<(ListId, ListId), ListId> = HashMap::new();
        let mut clients = BTreeMap::new();
        for (&client, ours) in &self.clients {
            let mut kept = Vec::new();
            ranges::overlaps(ours, other.ranges(client), |a, b, range| {
                let list = *joined.entry((a.list, b.list)).or_insert_with(|| {
                    tables.items.extend_from_slice(self.tables.list(a.list));
                    tables.items.extend(other.tables.list(b.list).iter().map(|at| at + offset));
                    tables.close_list()
                });
                kept.push(MapRange { range, list });
            });
            if !kept.is_empty() {
                clients.insert(client, kept);
            }
        }
        Self { tables: Arc::new(tables), clients }
    }

    /// The ranges whose attributes satisfy `wanted`, as wholes. It is asked once for each list of attributes.
    pub fn filter(&self, wanted: impl Fn(Attributes<'_>) -> bool) -> Self {
        let verdicts: Vec<bool> = (0..self.tables.ends.len() as u32)
            .map(|list| wanted(Attributes { tables: &self.tables, list: ListId(list) }))
            .collect();
        self.combined(|_, ours, kept| kept.extend(ours.iter().filter(|span| verdicts[span.list.0 as usize])))
    }

    /// A map of the same lists, of the ranges that `keep` pushes for each client.
    fn combined(&self, mut keep: impl FnMut(u64, &[MapRange], &mut Vec<MapRange>)) -> Self {
        let mut clients = BTreeMap::new();
        for (&client, ours) in &self.clients {
            let mut kept = Vec::new();
            keep(client, ours, &mut kept);
            if !kept.is_empty() {
                clients.insert(client, kept);
            }
        }
        Self { tables: Arc::clone(&self.tables), clients }
    }
}

impl Ids for IdMap {
    type Range = MapRange;

    fn ranges(&self, client: u64) -> &[MapRange] {
        self.clients.get(&client).map_or(&[], Vec::as_slice)
    }
}

impl PartialEq for IdMap {
    fn eq(&self, other: &Self) -> bool {
        let key = |(client, range, attributes): (u64, IdRange, Attributes<'_>)| (client, range, attributes.iter().len());
        self.iter().map(key).eq(other.iter().map(key))
            && self.iter().flat_map(|(.., attributes)| attributes.iter()).eq(other.iter().flat_map(|(.., a)| a.iter()))
    }
}

impl Eq for IdMap {}
