//! The golden vectors of updates: guard, content ids, state vectors, merging, differences, parts.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use serde_json::Value;
use yhub_content::{
    ContentIds, Limits, StateVector, check_update, content_ids, diff, inspect_update, intersect, merge, state_vector_of,
};
use yhub_testkit::vectors::{hex, items, list, load, text, to_hex, uint};
use yrs::{GetString, ReadTxn, Transact, Update, updates::decoder::Decode, updates::encoder::Encode};

/// Every scenario of both writers, with its name.
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

fn updates(scenario: &Value) -> Vec<Vec<u8>> {
    list(&scenario["updates"]).iter().map(|update| hex(&update["hex"])).collect()
}

#[track_caller]
fn same(found: &[u8], expected: &Value, what: &str) {
    assert_eq!(to_hex(found), text(expected), "{what}");
}

#[test]
fn vectors_every_update_passes_the_guard_and_tells_its_ids() {
    for (name, scenario) in scenarios() {
        for (index, update) in list(&scenario["updates"]).iter().enumerate() {
            let what = format!("{name}, update {index}");
            let bytes = hex(&update["hex"]);
            let inspected = inspect_update(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(check_update(&bytes, &Limits::default()).as_ref(), Ok(&inspected.summary), "{what}");
            same(&inspected.ids.to_bytes(), &update["contentIdsHex"], &what);
            assert_eq!(content_ids(&bytes).unwrap(), inspected.ids, "{what}");
            same(&state_vector_of(&bytes).unwrap().to_bytes(), &update["stateVector"], &what);
        }
        for document in [&scenario["merged"], &scenario["gcDoc"]["hex"], &scenario["nongcDoc"]["hex"]] {
            check_update(&hex(document), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn vectors_merge() {
    for (name, scenario) in scenarios() {
        let updates = updates(&scenario);
        let merged = merge(&updates).unwrap();
        same(&merged, &scenario["merged"], &name);
        same(&content_ids(&merged).unwrap().to_bytes(), &scenario["contentIds"], &name);
        let vector = state_vector_of(&merged).unwrap();
        same(&vector.to_bytes(), &scenario["stateVector"], &name);
        assert_eq!(StateVector::from_inserts(&content_ids(&merged).unwrap().inserts), vector, "{name}");

        let order = list(&scenario["mergedShuffled"]["order"]);
        let shuffled: Vec<_> = order.iter().map(|at| &updates[uint(at) as usize]).collect();
        let expected = &scenario["mergedShuffled"]["hex"];
        let expected = if expected == "same" { &scenario["merged"] } else { expected };
        same(&merge(&shuffled).unwrap(), expected, &format!("{name}, shuffled"));
    }
}

#[test]
fn vectors_diff() {
    let mut cases = 0;
    for (name, scenario) in scenarios() {
        let merged = hex(&scenario["merged"]);
        for case in list(&scenario["diffs"]) {
            let known = StateVector::from_bytes(&hex(&case["stateVector"])).unwrap();
            same(&known.to_bytes(), &case["stateVector"], &name);
            same(&diff(&merged, &known).unwrap(), &case["diffUpdate"], &format!("{name} after {}", case["afterUpdates"]));
            cases += 1;
        }
    }
    assert!(cases > 80, "only {cases} cases");
}

#[test]
fn vectors_intersect_and_patch() {
    let mut cases = 0;
    for (name, scenario) in scenarios() {
        let merged = hex(&scenario["merged"]);
        for case in list(&scenario["intersect"]) {
            let what = format!("{name}: {}", case["note"]);
            let ids = ContentIds::from_bytes(&hex(&case["contentIds"])).unwrap();
            let part = intersect(&merged, &ids).unwrap();
            same(&part, &case["hex"], &what);
            same(&content_ids(&part).unwrap().to_bytes(), &case["resultContentIds"], &what);
            cases += 1;
        }
        let patch = &scenario["patch"];
        let known = ContentIds::from_bytes(&hex(&patch["known"])).unwrap();
        let fresh = content_ids(&merged).unwrap().difference(&known);
        same(&fresh.to_bytes(), &patch["fresh"], &name);
        same(&intersect(&merged, &fresh).unwrap(), &patch["hex"], &name);
    }
    assert!(cases > 120, "only {cases} cases");
}

#[test]
fn vectors_a_missing_update_leaves_a_hole() {
    let mut holes = 0;
    for (name, scenario) in scenarios() {
        let Some(hole) = scenario.get("hole") else { continue };
        let mut updates = updates(&scenario);
        updates.remove(uint(&hole["missing"]) as usize);
        let merged = merge(&updates).unwrap();
        same(&merged, &hole["merged"], &name);
        same(&state_vector_of(&merged).unwrap().to_bytes(), &hole["stateVectorOfMerged"], &name);
        same(&content_ids(&merged).unwrap().to_bytes(), &hole["contentIdsOfMerged"], &name);
        holes += 1;
    }
    assert!(holes > 20, "only {holes} holes");
}

#[test]
fn vectors_overlapping_merges_lose_nothing() {
    let file = load("overlapping-merges");
    let cases = list(&file["cases"]);
    for (index, case) in cases.iter().enumerate() {
        let inputs: Vec<_> = items(&case["in"]).iter().map(hex).collect();
        let merged = merge(&inputs).unwrap();
        check_update(&merged, &Limits::default()).unwrap();
        let ids: Vec<_> = inputs.iter().map(|input| content_ids(input).unwrap()).collect();
        let union = ContentIds::union(&ids);
        same(&union.to_bytes(), &case["contentIds"], &format!("case {index}, union"));
        same(&content_ids(&merged).unwrap().to_bytes(), &case["contentIds"], &format!("case {index}"));
        same(&state_vector_of(&merged).unwrap().to_bytes(), &case["stateVector"], &format!("case {index}"));

        // Items may be cut differently than yjs 13 cuts them; the document they make must be the same. (With holes it need
        // not be that of the inputs one by one: what waits for a hole differs.)
        let document = integrated(std::slice::from_ref(&merged));
        let expected = &case["integrated"];
        assert_eq!(document.0, StateVector::from_bytes(&hex(&expected["stateVector"])).unwrap(), "case {index}");
        let text: String = expected["t"]["children"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(document.1, text, "case {index}");
    }
}

/// State vector and text of root `t`, by yrs.
fn integrated(updates: &[Vec<u8>]) -> (StateVector, String) {
    let doc = yrs::Doc::new();
    let root = doc.get_or_insert_text("t");
    let mut txn = doc.transact_mut();
    for update in updates {
        txn.apply_update(Update::decode_v1(update).unwrap()).unwrap();
    }
    let vector = StateVector::from_bytes(&txn.state_vector().encode_v1()).unwrap();
    (vector, root.get_string(&txn))
}
