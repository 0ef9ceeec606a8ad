//! Attribution as the golden vectors have it: what one update gets, and what a row holds of many.

#![expect(clippy::unwrap_used, reason = "in a test")]

use bytes::Bytes;
use yhub_content::{ContentIds, ContentMap};
use yhub_core::{Asset, StreamMessage};
use yhub_testkit::vectors::{hex, items, list, load, text, to_hex, uint};

#[test]
fn vectors_of_attribution() {
    for history in list(&load("history")["histories"]) {
        for step in list(&history["steps"]) {
            let update = hex(&step["update"]);
            let custom: Vec<(String, String)> = items(&step["customAttributions"])
                .iter()
                .map(|pair| (text(&pair["k"]).into(), text(&pair["v"]).into()))
                .collect();
            let ids = yhub_content::content_ids(&update).unwrap();
            let map = ContentMap::attribution(&ids, step["user"].as_str(), uint(&step["at"]), &custom);
            assert_eq!(to_hex(&map.to_bytes()), text(&step["contentmap"]));
            assert_eq!(map.to_ids(), ids);
            let (message, _) = StreamMessage::encode_update(&update, &map.to_bytes());
            assert_eq!(to_hex(&message), text(&step["streamMessage"]));
        }
    }
}

/// What a row holds of these stream entries: the first writer of content keeps the attribution.
fn folded(entries: &[Bytes]) -> (ContentMap, ContentIds) {
    let mut known = ContentIds::new();
    let mut maps = Vec::new();
    for entry in entries {
        if let StreamMessage::Update { contentmap, .. } = StreamMessage::decode(entry).unwrap() {
            let map = ContentMap::from_bytes(&contentmap).unwrap();
            let fresh = map.difference(&known);
            known.insert_all(&fresh.to_ids());
            maps.push(fresh);
        }
    }
    (ContentMap::union(&maps), known)
}

#[test]
fn vectors_of_rows_made_of_streams() {
    for history in list(&load("history")["histories"]) {
        let steps: Vec<Bytes> = list(&history["steps"]).iter().map(|step| hex(&step["streamMessage"]).into()).collect();
        for compaction in items(&history["compactions"]) {
            let (map, ids) = folded(&steps[..uint(&compaction["streamEntries"]) as usize]);
            assert_eq!(to_hex(&map.to_bytes()), text(&compaction["row"]["contentmap"]));
            assert_eq!(to_hex(&ids.to_bytes()), text(&compaction["row"]["contentids"]));
        }
    }
}

#[test]
fn vectors_of_live_rows_made_of_streams() {
    for room in list(&load("live-deployment")["rooms"]) {
        let messages = list(&room["stream"]).iter().filter_map(|entry| entry["fields"].get("m"));
        let (map, ids) = folded(&messages.map(|message| hex(message).into()).collect::<Vec<_>>());
        let row = &list(&room["rows"])[0];
        let asset = |column: &str| {
            let name = format!("id:{column}:v1/");
            // Of the main branch the column holds a reference, and the object has the id as its name.
            let object = room["objects"]
                .as_object()
                .and_then(|objects| objects.iter().find(|(id, _)| id.starts_with(&name)).map(|(_, object)| object));
            Asset::decode(&hex(object.unwrap_or(&row[column])).into()).unwrap()
        };
        assert_eq!(asset("contentmap"), Asset::ContentMap { contentmap: map.to_bytes().into() });
        assert_eq!(asset("contentids"), Asset::ContentIds { contentids: ids.to_bytes().into() });
    }
}
