//! What was erased of a room, as the receipt tells it. Layout: JSON, described in `docs/PROTOCOL.md`; names and numbers, never
//! content.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use yhub_core::{AssetId, RoomId};
use yhub_store::{AssetKind, ErasedRow, Tombstone};

use crate::read::column;

/// Of each kind of thing at most so many are listed; the others are counted.
pub(super) const MOST_LISTED: usize = 10_000;

/// What was found of a room beside its rows, and erased.
#[derive(Default)]
pub(super) struct Found {
    /// By plugin and name.
    objects: BTreeMap<(String, String), Option<u64>>,
    objects_not_listed: u64,
    /// Names of streams that were set aside, and how many entries they held.
    set_aside: BTreeMap<String, u64>,
    /// Entries of the stream.
    pub(super) stream_entries: u64,
}

impl Found {
    pub(super) fn object(&mut self, plugin: &str, id: &AssetId, size_bytes: Option<u64>) {
        let name = (plugin.to_owned(), id.to_string());
        if self.objects.len() < MOST_LISTED || self.objects.contains_key(&name) {
            let known = self.objects.entry(name).or_default();
            *known = known.or(size_bytes);
        } else if size_bytes.is_some() {
            // What a row refers to is listed by its place, too.
            self.objects_not_listed += 1;
        }
    }

    pub(super) fn set_aside(&mut self, id: &str, entries: u64) {
        *self.set_aside.entry(id.to_owned()).or_default() += entries;
    }
}

/// The rows that were erased.
#[derive(Default)]
pub(super) struct Rows {
    listed: Vec<Value>,
    count: u64,
    size_bytes: u64,
}

impl Rows {
    pub(super) fn add(&mut self, row: &ErasedRow) {
        self.count += 1;
        self.size_bytes += row.sizes_bytes.iter().flatten().sum::<u64>();
        if self.listed.len() < MOST_LISTED {
            let columns = AssetKind::ALL.map(|kind| (column(kind).to_owned(), json!(row.sizes_bytes[kind as usize])));
            let mut listed = serde_json::Map::from_iter(columns);
            listed.insert("t".to_owned(), json!(row.t));
            self.listed.push(Value::Object(listed));
        }
    }
}

/// Who erased what, when, on whose word.
pub(super) struct Facts<'a> {
    pub(super) room: &'a RoomId,
    pub(super) tombstone: &'a Tombstone,
    /// Who had it erased; nobody: the janitor.
    pub(super) by: Option<&'a str>,
    /// When everything was read back as gone.
    pub(super) at_ms: u64,
    pub(super) rows: &'a Rows,
    pub(super) found: &'a Found,
}

/// The receipt. To be made only when everything was read back as gone.
pub(super) fn receipt(facts: &Facts<'_>) -> String {
    let Facts { room, tombstone, by, at_ms, rows, found } = facts;
    let objects: Vec<_> = found
        .objects
        .iter()
        .map(|((plugin, id), size_bytes)| json!({ "plugin": plugin, "id": id, "bytes": size_bytes }))
        .collect();
    let set_aside: Vec<_> = found.set_aside.iter().map(|(id, entries)| json!({ "id": id, "entries": entries })).collect();
    json!({
        "type": "receipt:purge:v1",
        "org": room.org(),
        "docid": room.docid(),
        "branch": room.branch(),
        "deletedAt": tombstone.deleted_at_ms,
        "deletedBy": tombstone.by,
        "purgedAt": at_ms,
        "purgedBy": by,
        "erased": {
            "rows": { "count": rows.count, "bytes": rows.size_bytes, "listed": rows.listed },
            "objects": { "count": objects.len() as u64 + found.objects_not_listed, "listed": objects },
            "setAside": { "count": set_aside.len(), "listed": set_aside },
            "streamEntries": found.stream_entries,
        },
        "readBack": { "at": at_ms, "rows": 0, "objects": 0, "setAside": 0, "streamEntries": 0 },
    })
    .to_string()
}
