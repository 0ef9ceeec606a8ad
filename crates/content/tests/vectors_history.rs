//! The golden vectors of history: every query on three histories, answered byte for byte.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use serde_json::Value;
use yhub_content::{
    ContentIds, ContentMap, UpdateError, content_ids, forget, gc_merge,
    history::{ActivityQuery, ChangeFilter, ChangesetQuery, activity, changeset, forgettable, missing_from, rollback, state_at},
};
use yhub_encoding::Any;
use yhub_testkit::vectors::{hex, items, list, load, text, to_hex, uint};

/// A query on a document.
struct Case {
    name: String,
    history: Vec<u8>,
    map: ContentMap,
    query: Value,
}

fn cases(kind: &str) -> Vec<Case> {
    let file = load("history");
    let mut cases = Vec::new();
    for history in list(&file["histories"]) {
        let doc = &history["doc"];
        for query in list(&history["queries"]).iter().filter(|query| query["query"] == kind) {
            cases.push(Case {
                name: format!("{}, {kind}: {}", text(&history["name"]), text(&query["note"])),
                history: hex(&doc["nongcDoc"]),
                map: ContentMap::from_bytes(&hex(&doc["contentmap"])).unwrap(),
                query: query.clone(),
            });
        }
    }
    assert!(cases.len() >= 6, "only {} of {kind}", cases.len());
    cases
}

fn filter(params: &Value) -> ChangeFilter {
    let pair = |pair: &Value| (text(&pair["k"]).to_owned(), text(&pair["v"]).to_owned());
    ChangeFilter {
        from: params["from"].as_f64(),
        to: params["to"].as_f64(),
        by: params["by"].as_str().map(str::to_owned),
        ids: params["contentIds"].as_str().map(|_| ContentIds::from_bytes(&hex(&params["contentIds"])).unwrap()),
        custom: params.get("withCustomAttributions").map_or_else(Vec::new, |pairs| items(pairs).iter().map(pair).collect()),
    }
}

fn is(params: &Value, name: &str) -> bool {
    params[name].as_bool().unwrap_or(false)
}

fn assert_answers(name: &str, found: &Any, expected: &Value) {
    let (found, expected) = (found.to_bytes(), hex(expected));
    if found != expected {
        let (found, expected) = (Any::from_bytes(&found).unwrap(), Any::from_bytes(&expected).unwrap());
        panic!("{name}\n  found    {found:?}\n  expected {expected:?}");
    }
}

#[test]
fn activities() {
    for Case { name, history, map, query } in cases("activity") {
        let params = &query["params"];
        let defaults = ActivityQuery::default();
        let asked = ActivityQuery {
            filter: filter(params),
            limit: params["limit"].as_u64().unwrap_or(0),
            newest_first: is(params, "reverse"),
            group: params["group"].as_bool().unwrap_or(true),
            max_gap_ms: params["groupMaxGap"].as_f64().unwrap_or(defaults.max_gap_ms),
            max_duration_ms: params["groupMaxDuration"].as_f64().unwrap_or(defaults.max_duration_ms),
            custom: is(params, "includeCustomAttributions"),
            delta: is(params, "includeDelta"),
            ydoc: is(params, "includeYdoc"),
            attributions: is(params, "includeAttributions"),
            ..defaults
        };
        let found = activity(&history, &map, &asked).unwrap();
        assert_answers(&name, &found.to_any(), &query["responseHex"]);
    }
}

#[test]
fn changesets() {
    for Case { name, history, map, query } in cases("changeset") {
        let params = &query["params"];
        let asked = ChangesetQuery {
            filter: filter(params),
            attributions: is(params, "includeAttributions"),
            delta: is(params, "includeDelta"),
            ydoc: is(params, "includeYdoc"),
        };
        let found = changeset(&history, &map, &asked).unwrap();
        assert_answers(&name, &found.to_any(), &query["responseHex"]);
    }
}

#[test]
fn rollbacks() {
    for Case { name, history, map, query } in cases("rollback") {
        // Where nothing is inserted anew, the number of the client is not to be seen.
        let client = query["newClientId"].as_u64().unwrap_or(1);
        let found = rollback(&history, &map, &filter(&query["params"]), client).unwrap();
        assert_eq!(found.as_deref().map(to_hex).as_deref(), query["update"].as_str(), "{name}");
        let Some(found) = found else { continue };
        let custom: Vec<_> =
            filter(&serde_json::json!({ "withCustomAttributions": query["params"]["customAttributions"] })).custom;
        let ids = content_ids(&found).unwrap();
        let map = ContentMap::attribution(&ids, query["params"]["userid"].as_str(), uint(&query["now"]), &custom);
        assert_eq!(to_hex(&map.to_bytes()), text(&query["contentmap"]), "{name}");
    }
}

#[test]
fn prunes() {
    for Case { name, history, map, query } in cases("prune") {
        let set = forgettable(&map, &filter(&query["params"]));
        let Some(expected) = query["pruneSet"].as_str() else {
            assert!(set.is_empty(), "{name}: {set:?}");
            continue;
        };
        assert_eq!(to_hex(&set.to_bytes()), expected, "{name}");
        assert_eq!(to_hex(&forget(&history, &set).unwrap()), text(&query["after"]["nongcDoc"]), "{name}");
    }
}

#[test]
fn patches() {
    for Case { name, query, .. } in cases("patch") {
        let known = content_ids(&hex(&query["currentDoc"])).unwrap();
        let found = missing_from(&known, &hex(&query["update"])).unwrap();
        assert_eq!(found.as_deref().map(to_hex).as_deref(), query["result"]["update"].as_str(), "{name}");
    }
}

/// At each time of a history the document is what had been written by then.
#[test]
fn states_of_earlier_times() {
    let file = load("history");
    let mut states = 0;
    for history in list(&file["histories"]) {
        let (document, steps) = (hex(&history["doc"]["nongcDoc"]), list(&history["steps"]));
        let map = ContentMap::from_bytes(&hex(&history["doc"]["contentmap"])).unwrap();
        for (n, step) in steps.iter().enumerate() {
            let at_ms = uint(&step["at"]);
            // Of one millisecond all or nothing.
            if steps.get(n + 1).is_some_and(|next| uint(&next["at"]) == at_ms) {
                continue;
            }
            let before: Vec<_> = steps[..=n].iter().map(|step| hex(&step["update"])).collect();
            let then = state_at(&document, &map, at_ms as f64).unwrap();
            assert_eq!(
                to_hex(&gc_merge(&[then]).unwrap()),
                to_hex(&gc_merge(&before).unwrap()),
                "{} at {at_ms}",
                text(&history["name"])
            );
            states += 1;
        }
    }
    assert!(states > 20, "only {states}");
}

/// What is shown of a history takes no more than it may, whether that is counted in entries, bytes or steps.
#[test]
fn what_is_shown_is_bounded() {
    let all = |case: &Case, max_shown, max_shown_bytes, delta| {
        let query = ActivityQuery { delta, attributions: true, max_shown, max_shown_bytes, ..ActivityQuery::default() };
        activity(&case.history, &case.map, &query)
    };
    for case in cases("activity") {
        let entries = all(&case, usize::MAX, usize::MAX, true).unwrap().entries.len();
        assert!(all(&case, entries, 1 << 20, true).is_ok(), "{}", case.name);
        assert!(matches!(all(&case, entries - 1, 1 << 20, true), Err(UpdateError::TooManyEntries { .. })), "{}", case.name);
        for delta in [true, false] {
            assert!(
                matches!(all(&case, entries, 100, delta), Err(UpdateError::TooMuchToShow { max_bytes: 100 })),
                "{}",
                case.name
            );
        }
    }
}
