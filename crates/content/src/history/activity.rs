//! What happened, in the order of time: changes of one author that follow each other closely are one entry.

use yhub_encoding::{Any, Object};

use super::{ChangeFilter, check_depth, ids_upto, with_part};
use crate::{Attributes, ContentAttribute, ContentMap, Delta, IdMap, IdSet, UpdateError, doc::Look};

/// What to list, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityQuery {
    /// Which changes.
    pub filter: ChangeFilter,
    /// At most so many entries; 0 for all.
    pub limit: u64,
    /// The latest first.
    pub newest_first: bool,
    /// Are changes of one author that follow each other closely one entry? Otherwise only those of one millisecond are.
    pub group: bool,
    /// They do if less than so many milliseconds lie between them.
    pub max_gap_ms: f64,
    /// An entry spans less than so many milliseconds.
    pub max_duration_ms: f64,
    /// With what else is said of the changes.
    pub custom: bool,
    /// With what the document looked like, and what changed in it.
    pub delta: bool,
    /// With the document, as far as the entries show it.
    pub ydoc: bool,
    /// With who changed what.
    pub attributions: bool,
    /// At most so many entries may be shown with one of the last three, each of which goes through the document once an entry.
    pub max_shown: usize,
    /// So many bytes their deltas and attributions may take, all together; about so many blocks of the document are gone through for
    /// it, too.
    pub max_shown_bytes: usize,
}

impl Default for ActivityQuery {
    fn default() -> Self {
        Self {
            filter: ChangeFilter::default(),
            limit: 0,
            newest_first: false,
            group: true,
            max_gap_ms: 1_000.0,
            max_duration_ms: 9_007_199_254_740_991.0,
            custom: false,
            delta: false,
            ydoc: false,
            attributions: false,
            max_shown: usize::MAX,
            max_shown_bytes: usize::MAX,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// The document that the entries speak of, if asked for.
    pub ydoc: Option<Vec<u8>>,
    /// One after the other.
    pub entries: Vec<ActivityEntry>,
}

/// Changes of one author.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityEntry {
    /// When the first was made, in milliseconds since 1970.
    pub from: f64,
    /// When the last was.
    pub to: f64,
    /// Whose; `Null` if that is not known.
    pub by: Any,
    /// What else is said of them: keys and values; `None` if not asked for.
    pub custom: Option<Vec<(String, Any)>>,
    /// What the document looked like at [`Self::to`], and what had changed.
    pub delta: Option<Delta>,
    /// Who changed what, encoded ([`ContentMap::encode`]).
    pub attributions: Option<Vec<u8>>,
    /// What was there at [`Self::to`], encoded ([`IdSet::encode`]).
    pub rendered: Option<Vec<u8>>,
}

/// Lists what happened to the document whose whole history is `history`, and of whose content `map` says who made it.
///
/// # Errors
/// If `history` is damaged or takes too many steps to be integrated, or if more would be shown than may be, or nested more deeply.
pub fn activity(history: &[u8], map: &ContentMap, query: &ActivityQuery) -> Result<Activity, UpdateError> {
    // No author is every author here.
    let mut filter = query.filter.clone();
    filter.by = filter.by.filter(|by| !by.is_empty());
    let found = filter.apply(map);
    let mut entries = grouped(raw_entries(&found, query.custom), query);
    if query.newest_first {
        entries.reverse();
    }
    if query.limit > 0 {
        entries.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    }
    let shows = query.delta || query.ydoc || query.attributions;
    if shows && entries.len() > query.max_shown {
        return Err(UpdateError::TooManyEntries { found: entries.len(), max: query.max_shown });
    }
    let ydoc = if shows { show(history, map, &found, query, &mut entries)? } else { None };
    let activity = Activity { ydoc, entries };
    check_depth(activity.depth())?;
    Ok(activity)
}

/// One for each range that has a time, in the order of time.
fn raw_entries(found: &ContentMap, custom: bool) -> Vec<ActivityEntry> {
    let mut entries = Vec::with_capacity(found.inserts.range_count() + found.deletes.range_count());
    for (half, who, when) in [(&found.inserts, "insert", "insertAt"), (&found.deletes, "delete", "deleteAt")] {
        for (_, _, attributes) in half.iter() {
            let Some(at) = attributes.values(when).last().and_then(Any::as_f64) else { continue };
            let by = attributes.values(who).last().cloned().unwrap_or(Any::Null);
            let custom = custom.then(|| pairs(attributes, who));
            entries.push(ActivityEntry { from: at, to: at, by, custom, delta: None, attributions: None, rendered: None });
        }
    }
    // Equal times stay in this order.
    entries.sort_by(|one, other| one.from.total_cmp(&other.from));
    entries
}

/// What else is said, by name, without the part that all these names begin with.
fn pairs(attributes: Attributes<'_>, who: &str) -> Vec<(String, Any)> {
    let key = |attribute: &ContentAttribute| Some(attribute.name.strip_prefix(who)?.strip_prefix(':')?.to_owned());
    attributes.iter().filter_map(|attribute| Some((key(attribute)?, attribute.value.clone()))).collect()
}

fn grouped(raw: Vec<ActivityEntry>, query: &ActivityQuery) -> Vec<ActivityEntry> {
    let gap = if query.group { query.max_gap_ms } else { 1.0 };
    let mut kept: Vec<ActivityEntry> = Vec::new();
    for entry in raw {
        match kept.last_mut() {
            Some(last) if last.by == entry.by && entry.from - last.to < gap && entry.to - last.from < query.max_duration_ms => {
                last.to = entry.to;
                if let (Some(custom), Some(more)) = (&mut last.custom, entry.custom) {
                    custom.extend(more);
                }
            }
            _ => kept.push(entry),
        }
    }
    for custom in kept.iter_mut().filter_map(|entry| entry.custom.as_mut()) {
        let mut seen = std::collections::HashSet::new();
        custom.retain(|pair| seen.insert(pair.clone()));
    }
    kept
}

/// Fills in what the entries show. Gives the document, if that is asked for.
fn show(
    history: &[u8],
    map: &ContentMap,
    found: &ContentMap,
    query: &ActivityQuery,
    entries: &mut [ActivityEntry],
) -> Result<Option<Vec<u8>>, UpdateError> {
    let latest = entries.iter().map(|entry| entry.to).fold(f64::NEG_INFINITY, f64::max);
    let ids = ids_upto(map, Some(latest).filter(|latest| latest.is_finite()));
    // Made when it is needed, and not kept: there may be as many states as a history has ranges.
    let state = |entry: &ActivityEntry| {
        let then = ids_upto(map, Some(entry.to));
        then.inserts.difference(&then.deletes)
    };
    with_part(history, &ids, &[map, found], |mut document| {
        let root = document.first_root().unwrap_or_default().to_owned();
        if query.ydoc {
            let changed = found.to_ids();
            let mut keep = IdSet::union([&changed.inserts, &changed.deletes]);
            entries.iter().for_each(|entry| keep.insert_all(&state(entry)));
            document.collect_within(&ids.deletes.difference(&keep));
        }
        let too_much = || UpdateError::TooMuchToShow { max_bytes: query.max_shown_bytes };
        if query.delta && document.block_count().saturating_mul(entries.len()) > query.max_shown_bytes {
            return Err(too_much());
        }
        let mut shown_bytes = 0_usize;
        for entry in entries.iter_mut() {
            let rendered = state(entry);
            let attributed = attributed(found, entry);
            if query.delta {
                let both = IdMap::union([&attributed.inserts, &attributed.deletes]);
                let look = Look { attributed: &both, rendered: Some(&rendered), deep: true };
                entry.delta = Some(document.render_root(&root, &look)?);
            }
            entry.attributions = query.attributions.then(|| attributed.to_bytes());
            entry.rendered = query.ydoc.then(|| rendered.to_bytes());
            shown_bytes = shown_bytes.saturating_add(entry.delta.as_ref().map_or(0, Delta::size_bytes));
            shown_bytes += [&entry.attributions, &entry.rendered].into_iter().flatten().map(Vec::len).sum::<usize>();
            if shown_bytes > query.max_shown_bytes {
                return Err(too_much());
            }
        }
        query.ydoc.then(|| document.encode()).transpose()
    })
}

/// The changes of an entry, all of them said to be of its author and of its beginning.
fn attributed(found: &ContentMap, entry: &ActivityEntry) -> ContentMap {
    let filter = ChangeFilter { from: Some(entry.from), to: Some(entry.to), ..ChangeFilter::default() };
    let said = |who: &str, when: &str| [ContentAttribute::new(who, entry.by.clone()), ContentAttribute::new(when, entry.from)];
    let changed = filter.apply(found).to_ids();
    ContentMap::from_ids(&changed, &said("insert", "insertAt"), &said("delete", "deleteAt"))
}

impl Activity {
    /// How many arrays and objects of its value lie inside one another.
    fn depth(&self) -> usize {
        let entry = |entry: &ActivityEntry| {
            // Each in an object, in a list.
            let custom = entry.custom.iter().flatten().map(|(_, value)| 2 + value.depth()).max().unwrap_or(0);
            custom.max(entry.by.depth()).max(entry.delta.as_ref().map_or(0, Delta::depth))
        };
        3 + self.entries.iter().map(entry).max().unwrap_or(0)
    }

    /// The answer as a value, in the order of keys that y/hub gives it.
    pub fn to_any(&self) -> Any {
        let entries = Any::Array(self.entries.iter().map(ActivityEntry::to_any).collect());
        let mut object = Object::new();
        if let Some(ydoc) = &self.ydoc {
            object.insert("ydoc", Any::Bytes(ydoc.as_slice().into()));
        }
        object.insert("activity", entries);
        Any::Object(object)
    }
}

impl ActivityEntry {
    fn to_any(&self) -> Any {
        let mut object = Object::new();
        object.insert("from", Any::Number(self.from));
        object.insert("to", Any::Number(self.to));
        object.insert("by", self.by.clone());
        let pair = |(key, value): &(String, Any)| {
            Any::Object(Object::from_entries(vec![("k".into(), key.as_str().into()), ("v".into(), value.clone())]))
        };
        let custom = self.custom.as_ref().map_or(Any::Null, |pairs| Any::Array(pairs.iter().map(pair).collect()));
        object.insert("customAttributions", custom);
        if let Some(delta) = &self.delta {
            object.insert("delta", delta.to_any());
        }
        for (key, bytes) in [("attributions", &self.attributions), ("renderedContent", &self.rendered)] {
            if let Some(bytes) = bytes {
                object.insert(key, Any::Bytes(bytes.as_slice().into()));
            }
        }
        Any::Object(object)
    }
}
