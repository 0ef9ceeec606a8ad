//! How maps of attributes are united.
//!
//! Where ranges overlap, their ids get the attributes of all of them. Stored maps do not overlap (the first writer of
//! content keeps its attribution), so that order matters only for bytes from elsewhere; it is the one of the JavaScript
//! implementation: ranges are taken by clock and, at the same clock, what is left of an earlier one first.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
};

use crate::{
    ContentAttribute, IdMap,
    id_map::{ListId, MapRange, Tables, lacking},
    ranges::IdRange,
};

impl IdMap {
    /// What any of `maps` says, of the ids of all of them. Equal attributes become one.
    pub fn union<'a>(maps: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut unifier = Unifier::default();
        let mut clients: BTreeMap<u64, Vec<MapRange>> = BTreeMap::new();
        for map in maps {
            let mut lists = vec![None; map.tables.ends.len()];
            for (&client, ranges) in &map.clients {
                let united = clients.entry(client).or_default();
                united.reserve(ranges.len());
                for &MapRange { range, list } in ranges {
                    let list = *lists[list.0 as usize].get_or_insert_with(|| unifier.list(&map.tables, list));
                    united.push(MapRange { range, list });
                }
            }
        }
        let Unifier { mut tables, .. } = unifier;
        let mut joined = HashMap::new();
        for ranges in clients.values_mut() {
            normalise(&mut tables, &mut joined, ranges);
        }
        Self { tables: Arc::new(tables), clients }
    }

    /// The map that gives each of the ranges its attributes, united as [`IdMap::union`] does.
    pub fn from_ranges<'a>(ranges: impl IntoIterator<Item = (u64, IdRange, &'a [ContentAttribute])>) -> Self {
        let mut unifier = Unifier::default();
        let mut clients: BTreeMap<u64, Vec<MapRange>> = BTreeMap::new();
        for (client, range, attributes) in ranges {
            for attribute in attributes {
                unifier.push(attribute);
            }
            let list = unifier.tables.close_list();
            clients.entry(client).or_default().push(MapRange { range, list });
        }
        let Unifier { mut tables, .. } = unifier;
        let mut joined = HashMap::new();
        for ranges in clients.values_mut() {
            normalise(&mut tables, &mut joined, ranges);
        }
        Self { tables: Arc::new(tables), clients }
    }
}

/// Tables in which equal attributes stand once.
#[derive(Default)]
struct Unifier<'a> {
    tables: Tables,
    places: HashMap<&'a ContentAttribute, u32>,
}

impl<'a> Unifier<'a> {
    /// The list that `list` of `from` is here.
    fn list(&mut self, from: &'a Tables, list: ListId) -> ListId {
        for &at in from.list(list) {
            self.push(&from.attributes[at as usize]);
        }
        self.tables.close_list()
    }

    /// Adds `attribute` to the list that is being written.
    fn push(&mut self, attribute: &'a ContentAttribute) {
        let attributes = &mut self.tables.attributes;
        let place = *self.places.entry(attribute).or_insert_with(|| {
            attributes.push(attribute.clone());
            attributes.len() as u32 - 1
        });
        self.tables.items.push(place);
    }
}

/// Lists that were made of two.
type Joined = HashMap<(ListId, ListId), ListId>;

/// Brings ranges, several runs one after the other, into normal form.
fn normalise(tables: &mut Tables, joined: &mut Joined, ranges: &mut Vec<MapRange>) {
    ranges.sort_by_key(|span| span.range.clock());
    if ranges.windows(2).any(|pair| pair[1].range.clock() < pair[0].range.end()) {
        *ranges = without_overlaps(tables, joined, ranges);
    }
    ranges.dedup_by(|next, kept| joins(tables, kept, next));
}

/// Extends `kept` by `next`, which does not begin before it ends, if they touch and say the same.
pub(crate) fn joins(tables: &Tables, kept: &mut MapRange, next: &MapRange) -> bool {
    let touches = kept.range.end() == next.range.clock() && tables.same_members(kept.list, next.list);
    if touches && let Some(both) = IdRange::between(kept.range.clock(), next.range.end()) {
        kept.range = both;
    }
    touches
}

/// A range that is not yet cut: clock, precedence at that clock, end, list.
type Waiting = Reverse<(u32, i64, u32, ListId)>;

/// Cuts ranges, sorted by clock, where they overlap and joins the lists of parts that coincide.
fn without_overlaps(tables: &mut Tables, joined: &mut Joined, ranges: &[MapRange]) -> Vec<MapRange> {
    let mut waiting: BinaryHeap<Waiting> =
        (0i64..).zip(ranges).map(|(order, span)| Reverse((span.range.clock(), order, span.range.end(), span.list))).collect();
    // What is left of a range comes before all others that begin where it now begins.
    let mut first = 0;
    let mut put_first = |waiting: &mut BinaryHeap<Waiting>, clock: u32, end: u32, list: ListId| {
        first -= 1;
        waiting.push(Reverse((clock, first, end, list)));
    };
    let mut out = Vec::with_capacity(ranges.len());
    while let Some(Reverse((start, _, mut end, mut list))) = waiting.pop() {
        while let Some(&Reverse((next_start, _, next_end, next_list))) = waiting.peek() {
            if next_start > start {
                if end > next_start {
                    put_first(&mut waiting, next_start, end, list);
                    end = next_start;
                }
                break;
            }
            waiting.pop();
            let shorter = end.min(next_end);
            if end > shorter {
                put_first(&mut waiting, shorter, end, list);
            } else if next_end > shorter {
                put_first(&mut waiting, shorter, next_end, next_list);
            }
            end = shorter;
            list = join(tables, joined, list, next_list);
        }
        out.extend(IdRange::between(start, end).map(|range| MapRange { range, list }));
    }
    out
}

/// The list of `a` followed by what it lacks of `b`.
fn join(tables: &mut Tables, joined: &mut Joined, a: ListId, b: ListId) -> ListId {
    *joined.entry((a, b)).or_insert_with(|| {
        let both: Vec<u32> = tables.list(a).iter().copied().chain(lacking(tables.list(a), tables.list(b))).collect();
        tables.items.extend(both);
        tables.close_list()
    })
}
