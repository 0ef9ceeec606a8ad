//! The golden vectors of id sets and id maps, byte for byte.

use serde_json::Value;
use yhub_content::{ContentAttribute, ContentIds, ContentMap, IdMap, IdRange, IdSet};
use yhub_encoding::{Any, Reader};
use yhub_testkit::vectors::{hex, items, list, load, tagged, text, to_hex, uint};

fn range(clock: &Value, len: &Value) -> IdRange {
    IdRange::new(uint(clock) as u32, uint(len) as u32).expect("a range of the vectors is not empty")
}

/// `[[client, [[clock, len], …]], …]`.
fn id_set(ranges: &Value) -> IdSet {
    let mut set = IdSet::new();
    for client in items(ranges) {
        for entry in items(&client[1]) {
            set.insert(uint(&client[0]), range(&entry[0], &entry[1]));
        }
    }
    set
}

/// `[[name, tagged], …]`.
fn attributes(list: &Value) -> Vec<ContentAttribute> {
    items(list).iter().map(|entry| ContentAttribute::new(text(&entry[0]), tagged(&entry[1]))).collect()
}

/// `[[client, [[clock, len, attributes], …]], …]`.
fn id_map(ranges: &Value) -> IdMap {
    let entries: Vec<(u64, IdRange, Vec<ContentAttribute>)> = items(ranges)
        .iter()
        .flat_map(|client| items(&client[1]).iter().map(|entry| (uint(&client[0]), entry)))
        .map(|(client, entry)| (client, range(&entry[0], &entry[1]), attributes(&entry[2])))
        .collect();
    IdMap::from_ranges(entries.iter().map(|(client, range, attributes)| (*client, *range, &attributes[..])))
}

fn read_set(bytes: &Value) -> IdSet {
    IdSet::from_bytes(&hex(bytes)).expect("an id set of the vectors decodes")
}

fn read_map(bytes: &Value) -> IdMap {
    IdMap::from_bytes(&hex(bytes)).expect("an id map of the vectors decodes")
}

fn read_content_ids(bytes: &Value) -> ContentIds {
    ContentIds::from_bytes(&hex(bytes)).expect("content ids of the vectors decode")
}

fn read_content_map(bytes: &Value) -> ContentMap {
    ContentMap::from_bytes(&hex(bytes)).expect("a content map of the vectors decodes")
}

#[test]
fn vectors_of_id_sets() {
    let file = load("idsets");
    for case in list(&file["idSets"]) {
        let set = id_set(&case["ranges"]);
        assert_eq!(to_hex(&set.to_bytes()), text(&case["hex"]));
        assert_eq!(read_set(&case["hex"]), set);
        let mut v1 = Vec::new();
        set.encode_v1(&mut v1);
        assert_eq!(to_hex(&v1), text(&case["hexV1"]));
        let mut reader = Reader::new(&v1);
        assert_eq!(IdSet::decode_v1(&mut reader), Ok(set));
        assert!(reader.is_empty());
    }
    for case in list(&file["normalise"]) {
        let mut set = IdSet::new();
        for add in list(&case["adds"]) {
            set.insert(uint(&case["client"]), range(&add[0], &add[1]));
        }
        assert_eq!(set, id_set(&case["ranges"]));
        assert_eq!(to_hex(&set.to_bytes()), text(&case["hex"]));
    }
    for case in list(&file["decodeIdSet"]) {
        let set = read_set(&case["hexIn"]);
        assert_eq!(set, id_set(&case["ranges"]), "{}", case["note"]);
        assert_eq!(to_hex(&set.to_bytes()), text(&case["hexOut"]), "{}", case["note"]);
    }
    for case in list(&file["slices"]) {
        let set = read_set(&case["idset"]);
        let client = uint(&case["client"]);
        let window = range(&case["clock"], &case["len"]);
        let expected: Vec<(IdRange, bool)> =
            list(&case["parts"]).iter().map(|part| (range(&part[0], &part[1]), part[2] == true)).collect();
        assert_eq!(set.slice(client, window), expected, "{case}");
        assert_eq!(set.contains(client, window.clock()), case["has"] == true, "{case}");
    }
    for case in list(&file["contentIds"]) {
        let ids = ContentIds { inserts: id_set(&case["inserts"]), deletes: id_set(&case["deletes"]) };
        assert_eq!(to_hex(&ids.to_bytes()), text(&case["hex"]));
        assert_eq!(read_content_ids(&case["hex"]), ids);
    }
}

#[test]
fn vectors_of_id_maps() {
    let file = load("idsets");
    for case in list(&file["idMaps"]) {
        let map = id_map(&case["ranges"]);
        assert_eq!(to_hex(&map.to_bytes()), text(&case["hex"]));
        assert_eq!(read_map(&case["hex"]), map);
        assert_eq!(to_hex(&read_map(&case["hex"]).to_bytes()), text(&case["hex"]));
    }
    for case in list(&file["decodeIdMap"]) {
        let map = read_map(&case["hexIn"]);
        let expected: Vec<_> = items(&case["ranges"])
            .iter()
            .flat_map(|client| items(&client[1]).iter().map(|entry| (uint(&client[0]), entry)))
            .map(|(client, entry)| (client, range(&entry[0], &entry[1]), attributes(&entry[2])))
            .collect();
        let found: Vec<_> =
            map.iter().map(|(client, range, attributes)| (client, range, attributes.iter().cloned().collect())).collect();
        assert_eq!(found, expected, "{}", case["note"]);
        // Clients without ranges, which JavaScript would keep, are dropped.
        let out = if text(&case["note"]).starts_with("client with zero ranges") {
            assert_eq!(text(&case["hexOut"]), "0201000301020000");
            "010401020000"
        } else {
            text(&case["hexOut"])
        };
        assert_eq!(to_hex(&map.to_bytes()), out, "{}", case["note"]);
    }
    for case in list(&file["contentMaps"]) {
        let map = ContentMap { inserts: id_map(&case["inserts"]), deletes: id_map(&case["deletes"]) };
        assert_eq!(to_hex(&map.to_bytes()), text(&case["hex"]));
        assert_eq!(read_content_map(&case["hex"]), map);
        assert_eq!(to_hex(&read_content_map(&case["hex"]).to_bytes()), text(&case["hex"]));
    }
}

#[test]
fn vectors_of_operations_on_ids() {
    let file = load("idsets");
    for case in list(&file["operations"]) {
        let input = items(&case["in"]);
        let out = match text(&case["op"]) {
            "mergeIdSets" => IdSet::union(&input.iter().map(read_set).collect::<Vec<_>>()).to_bytes(),
            "diffIdSet" => read_set(&input[0]).difference(&read_set(&input[1])).to_bytes(),
            "intersectSets" => read_set(&input[0]).intersection(&read_set(&input[1])).to_bytes(),
            "insertIntoIdSet" => {
                let mut set = read_set(&input[0]);
                set.insert_all(&read_set(&input[1]));
                set.to_bytes()
            }
            "mergeIdMaps" => IdMap::union(&input.iter().map(read_map).collect::<Vec<_>>()).to_bytes(),
            "diffIdMap" => match text(&case["second"]) {
                "idset" => read_map(&input[0]).difference(&read_set(&input[1])).to_bytes(),
                _ => read_map(&input[0]).difference(&read_map(&input[1])).to_bytes(),
            },
            "intersectMaps" => match text(&case["second"]) {
                "idset" => read_map(&input[0]).restricted_to(&read_set(&input[1])).to_bytes(),
                _ => read_map(&input[0]).intersection(&read_map(&input[1])).to_bytes(),
            },
            "createIdSetFromIdMap" => read_map(&input[0]).to_id_set().to_bytes(),
            "createIdMapFromIdSet" => IdMap::from_id_set(&read_set(&input[0]), &attributes(&case["attrs"])).to_bytes(),
            "filterIdMap" => {
                let rule = &case["keepIfAny"];
                let wanted = |value: &Any| match rule["atLeast"].as_f64() {
                    Some(least) => value.as_f64().is_some_and(|value| value >= least),
                    None => value.as_str() == rule["equals"].as_str(),
                };
                let kept = read_map(&input[0]).filter(|attributes| attributes.values(text(&rule["name"])).any(wanted));
                kept.to_bytes()
            }
            "mergeContentIds" => ContentIds::union(&input.iter().map(read_content_ids).collect::<Vec<_>>()).to_bytes(),
            "excludeContentIds" => read_content_ids(&input[0]).difference(&read_content_ids(&input[1])).to_bytes(),
            "intersectContentIds" => read_content_ids(&input[0]).intersection(&read_content_ids(&input[1])).to_bytes(),
            "mergeContentMaps" => ContentMap::union(&input.iter().map(read_content_map).collect::<Vec<_>>()).to_bytes(),
            // The second operand of these two is content ids.
            "excludeContentMap" => read_content_map(&input[0]).difference(&read_content_ids(&input[1])).to_bytes(),
            "intersectContentMap" => read_content_map(&input[0]).restricted_to(&read_content_ids(&input[1])).to_bytes(),
            "createContentIdsFromContentMap" => read_content_map(&input[0]).to_ids().to_bytes(),
            "createContentMapFromContentIds" => ContentMap::from_ids(
                &read_content_ids(&input[0]),
                &attributes(&case["insertAttrs"]),
                &attributes(&case["deleteAttrs"]),
            )
            .to_bytes(),
            other => panic!("unknown operation {other}"),
        };
        assert_eq!(to_hex(&out), text(&case["out"]), "{case}");
    }
}
