//! The golden vectors of integrated documents, with garbage collection and without.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use serde_json::Value;
use yhub_content::{ContentIds, IdSet, forget, gc_merge, integrate_merge, merge, undo};
use yhub_testkit::vectors::{hex, items, list, load, text, to_hex, uint};

fn scenarios() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for file in ["updates-yjs13", "updates-yjs14"] {
        for scenario in list(&load(file)["scenarios"]) {
            all.push((format!("{file} {}", text(&scenario["name"])), scenario.clone()));
        }
    }
    assert!(all.len() >= 25, "only {} scenarios", all.len());
    all
}

/// Compares all before it fails, so that one run tells which differ.
fn compare(what: &str, made: impl Fn(&Value) -> Option<(Vec<u8>, Value)>) {
    let mut different = Vec::new();
    let mut compared = 0;
    for (name, scenario) in scenarios() {
        let Some((found, expected)) = made(&scenario) else { continue };
        compared += 1;
        if to_hex(&found) != text(&expected) {
            different.push(format!("{name}\n  found    {}\n  expected {}", to_hex(&found), text(&expected)));
        }
    }
    assert!(different.is_empty(), "{what}: {} of {compared} differ:\n{}", different.len(), different.join("\n"));
    assert!(compared > 10, "{what}: only {compared} compared");
}

fn updates(scenario: &Value) -> Vec<Vec<u8>> {
    list(&scenario["updates"]).iter().map(|update| hex(&update["hex"])).collect()
}

#[test]
fn vectors_documents_without_gc() {
    compare("nongcDoc", |scenario| Some((integrate_merge(&updates(scenario)).unwrap(), scenario["nongcDoc"]["hex"].clone())));
}

#[test]
fn vectors_documents_with_gc() {
    compare("gcDoc", |scenario| Some((gc_merge(&updates(scenario)).unwrap(), scenario["gcDoc"]["hex"].clone())));
}

#[test]
fn vectors_documents_with_gc_do_not_depend_on_order() {
    compare("gcDoc, shuffled", |scenario| {
        let updates = updates(scenario);
        let order = list(&scenario["mergedShuffled"]["order"]);
        let shuffled: Vec<_> = order.iter().map(|at| &updates[uint(at) as usize]).collect();
        let expected = scenario.get("gcDocFromShuffled").filter(|hex| hex.is_string()).unwrap_or(&scenario["gcDoc"]["hex"]);
        Some((gc_merge(&shuffled).unwrap(), expected.clone()))
    });
    compare("gcDoc of the merged update", |scenario| {
        let merged = merge(&updates(scenario)).unwrap();
        Some((gc_merge(&[merged]).unwrap(), scenario["gcDoc"]["hex"].clone()))
    });
}

#[test]
fn vectors_documents_with_a_hole_keep_what_waits() {
    compare("docState", |scenario| {
        let hole = scenario.get("hole")?;
        let mut updates = updates(scenario);
        updates.remove(uint(&hole["missing"]) as usize);
        Some((gc_merge(&updates).unwrap(), hole["docState"].clone()))
    });
}

#[test]
fn vectors_documents_that_forget() {
    for (name, scenario) in scenarios() {
        for case in list(&scenario["gcIdSet"]) {
            let set = IdSet::from_bytes(&hex(&case["idset"])).unwrap();
            let nongc = hex(&scenario["nongcDoc"]["hex"]);
            let found = forget(&nongc, &set).unwrap();
            assert_eq!(to_hex(&found), text(&case["hex"]), "{name}, {}", text(&case["note"]));
        }
    }
}

#[test]
fn vectors_documents_that_are_taken_back() {
    let mut different = Vec::new();
    for (name, scenario) in scenarios() {
        for case in items(&scenario["undo"]) {
            let ids = ContentIds::from_bytes(&hex(&case["revert"])).unwrap();
            let nongc = hex(&scenario["nongcDoc"]["hex"]);
            let found = undo(&nongc, &ids, uint(&case["clientId"])).unwrap();
            let expected = case["update"].as_str();
            if found.as_deref().map(to_hex).as_deref() != expected {
                different.push(format!("{name}, {}\n  found    {found:02x?}\n  expected {expected:?}", text(&case["note"])));
            }
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}
