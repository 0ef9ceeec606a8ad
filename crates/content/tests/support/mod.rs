//! Random documents, written by several yrs clients that sync at random times.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use rand::{Rng, SeedableRng, rngs::StdRng};
use yrs::types::ToJson;
use yrs::updates::{decoder::Decode, encoder::Encode};
use yrs::{
    Any, Array, ArrayPrelim, ArrayRef, Doc, GetString, Map, MapPrelim, MapRef, OffsetKind, Options, ReadTxn, StateVector, Text,
    TextRef, Transact, Update, XmlElementPrelim, XmlFragment, XmlFragmentRef, XmlTextPrelim,
};

/// Generator for `seed`; print the seed, so that a failure can be repeated.
pub(crate) fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// One client.
struct Client {
    doc: Doc,
    text: TextRef,
    map: MapRef,
    array: ArrayRef,
    xml: XmlFragmentRef,
}

fn new_doc(client: u64, skip_gc: bool) -> Doc {
    Doc::with_options(Options {
        client_id: yrs::block::ClientID::new(client),
        skip_gc,
        offset_kind: OffsetKind::Utf16,
        ..Options::default()
    })
}

/// All updates of a document that `clients` clients wrote in `steps` edits, in the order in which they were made.
pub(crate) fn random_updates(rng: &mut StdRng, clients: usize, steps: usize) -> Vec<Vec<u8>> {
    let clients: Vec<Client> = (0..clients)
        .map(|_| {
            let doc = new_doc(rng.random_range(1..1u64 << 32), rng.random_bool(0.5));
            let (text, map) = (doc.get_or_insert_text("text"), doc.get_or_insert_map("map"));
            let (array, xml) = (doc.get_or_insert_array("array"), doc.get_or_insert_xml_fragment("xml"));
            Client { doc, text, map, array, xml }
        })
        .collect();
    let mut updates = Vec::new();
    for _ in 0..steps {
        let client = &clients[rng.random_range(0..clients.len())];
        let update = edit(client, rng);
        if update.len() > 2 {
            updates.push(update);
        }
        if rng.random_bool(0.2) {
            let other = &clients[rng.random_range(0..clients.len())];
            let known = other.doc.transact().state_vector();
            let news = client.doc.transact().encode_diff_v1(&known);
            other.doc.transact_mut().apply_update(Update::decode_v1(&news).unwrap()).unwrap();
        }
    }
    updates
}

const TEXTS: &[&str] = &["a", "bc", "hello", "ä€", "😀", "x😀y", "the quick brown fox ", "\n"];

fn value(rng: &mut StdRng) -> Any {
    match rng.random_range(0..6) {
        0 => Any::Null,
        1 => Any::from(rng.random_range(-1000..1000i32)),
        2 => Any::from(rng.random_range(0.0..1.0)),
        3 => Any::from(TEXTS[rng.random_range(0..TEXTS.len())]),
        4 => Any::from(vec![Any::from(1), Any::from(true)]),
        _ => Any::from(std::collections::HashMap::from([("key".to_string(), Any::from(2))])),
    }
}

fn edit(client: &Client, rng: &mut StdRng) -> Vec<u8> {
    let mut txn = client.doc.transact_mut();
    for _ in 0..rng.random_range(1..4) {
        match rng.random_range(0..14) {
            0..=4 => {
                let len = client.text.len(&txn);
                client.text.insert(&mut txn, rng.random_range(0..=len), TEXTS[rng.random_range(0..TEXTS.len())]);
            }
            5 | 6 => {
                let len = client.text.len(&txn);
                if len > 0 {
                    let from = rng.random_range(0..len);
                    let count = rng.random_range(1..=(len - from).min(6));
                    client.text.remove_range(&mut txn, from, count);
                }
            }
            7 => {
                let len = client.text.len(&txn);
                if len > 0 {
                    let from = rng.random_range(0..len);
                    let count = rng.random_range(1..=(len - from).min(6));
                    let value = if rng.random_bool(0.7) { Any::from(true) } else { Any::Null };
                    client.text.format(&mut txn, from, count, yrs::types::Attrs::from([("bold".into(), value)]));
                }
            }
            8 | 9 => {
                let key = ["k1", "k2", "k3"][rng.random_range(0..3)];
                if rng.random_bool(0.2) {
                    client.map.remove(&mut txn, key);
                } else if rng.random_bool(0.2) {
                    client.map.insert(&mut txn, key, MapPrelim::from([("in", 1), ("out", 2)]));
                } else {
                    client.map.insert(&mut txn, key, value(rng));
                }
            }
            10 | 11 => {
                let len = client.array.len(&txn);
                let at = rng.random_range(0..=len);
                match rng.random_range(0..4) {
                    0 => drop(client.array.insert(&mut txn, at, ArrayPrelim::from([1, 2, 3]))),
                    1 => client.array.insert_range(&mut txn, at, [value(rng), value(rng), value(rng)]),
                    _ => drop(client.array.insert(&mut txn, at, value(rng))),
                }
            }
            12 => {
                let len = client.array.len(&txn);
                if len > 0 {
                    let from = rng.random_range(0..len);
                    client.array.remove_range(&mut txn, from, rng.random_range(1..=(len - from).min(4)));
                }
            }
            _ => {
                let len = client.xml.len(&txn);
                if len > 0 && rng.random_bool(0.4) {
                    client.xml.remove_range(&mut txn, rng.random_range(0..len), 1);
                } else {
                    let node = client.xml.insert(&mut txn, rng.random_range(0..=len), XmlElementPrelim::empty("p"));
                    node.insert(&mut txn, 0, XmlTextPrelim::new("in a node"));
                    let inner = node.insert(&mut txn, 1, XmlElementPrelim::empty("q"));
                    inner.insert(&mut txn, 0, XmlTextPrelim::new("deeper"));
                }
            }
        }
    }
    txn.encode_update_v1()
}

/// What a plain yrs document holds after these updates, each in a transaction of its own: state vector and all roots.
pub(crate) fn document(updates: &[impl AsRef<[u8]>]) -> (Vec<(u64, u32)>, String) {
    let doc = new_doc(1, true);
    for update in updates {
        doc.transact_mut().apply_update(Update::decode_v1(update.as_ref()).unwrap()).unwrap();
    }
    view(&doc)
}

fn view(doc: &Doc) -> (Vec<(u64, u32)>, String) {
    let (text, map) = (doc.get_or_insert_text("text"), doc.get_or_insert_map("map"));
    let (array, xml) = (doc.get_or_insert_array("array"), doc.get_or_insert_xml_fragment("xml"));
    let txn = doc.transact();
    let vector = yhub_content::StateVector::from_bytes(&txn.state_vector().encode_v1()).unwrap();
    let mut values = Vec::new();
    for (key, value) in sorted(map.to_json(&txn)) {
        values.push(format!("{key}={value}"));
    }
    let array = json(&array.to_json(&txn));
    let diff: Vec<_> = text
        .diff(&txn, yrs::types::text::YChange::identity)
        .iter()
        .map(|part| format!("{:?}/{:?}", part.insert, part.attributes))
        .collect();
    (vector.iter().collect(), format!("{}|{diff:?}|{values:?}|{array}|{}", text.get_string(&txn), xml.get_string(&txn)))
}

/// JSON with sorted keys.
fn json(value: &Any) -> String {
    match value {
        Any::Map(_) => format!("{:?}", sorted(value.clone())),
        Any::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        other => format!("{other:?}"),
    }
}

fn sorted(value: Any) -> Vec<(String, String)> {
    let Any::Map(map) = value else { return Vec::new() };
    let mut entries: Vec<_> = map.iter().map(|(key, value)| (key.clone(), json(value))).collect();
    entries.sort();
    entries
}

/// What yrs makes of all updates in one transaction of a document with gc: encoded.
pub(crate) fn yrs_gc(updates: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let doc = new_doc(1, false);
    {
        let mut txn = doc.transact_mut();
        for update in updates {
            txn.apply_update(Update::decode_v1(update.as_ref()).unwrap()).unwrap();
        }
    }
    let txn = doc.transact();
    txn.encode_state_as_update_v1(&StateVector::default())
}

/// Highest memory use of this process so far, in bytes.
pub(crate) fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}
