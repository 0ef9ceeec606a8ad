//! The golden vectors of stored messages, assets, keys and clocks, byte for byte.

use bytes::Bytes;
use serde_json::Value;
use yhub_content::{ContentIds, ContentMap};
use yhub_core::{
    Asset, AssetId, AssetIdKind, KeySpace, RoomId, StoredClock, StreamMessage, UserMatcher, decode_component, encode_key_part,
    encode_uri_component, parse_custom_attributions, redis_time_ms,
};
use yhub_encoding::{Any, Object};
use yhub_testkit::vectors::{hex, items, list, load, tagged, text, to_hex, uint};

fn bytes(value: &Value) -> Bytes {
    hex(value).into()
}

fn room(value: &Value) -> RoomId {
    RoomId::new(text(&value["org"]), text(&value["docid"]), text(&value["branch"]))
}

/// The bytes under `key` of a tagged object.
fn field(object: &Any, key: &str) -> Bytes {
    match object {
        Any::Object(object) => match object.get(key) {
            Some(Any::Bytes(bytes)) => Bytes::copy_from_slice(bytes),
            other => panic!("expected bytes in {key}, found {other:?}"),
        },
        other => panic!("expected an object, found {other:?}"),
    }
}

fn from_json(value: &Value) -> Any {
    match value {
        Value::Null => Any::Null,
        Value::Bool(value) => Any::Bool(*value),
        Value::Number(number) => Any::Number(number.as_f64().expect("a json number is a float")),
        Value::String(text) => Any::from(&text[..]),
        Value::Array(items) => Any::Array(items.iter().map(from_json).collect()),
        Value::Object(members) => Any::Object(members.iter().map(|(key, value)| (&key[..], from_json(value))).collect()),
    }
}

#[test]
fn vectors_of_stream_messages() {
    let mut seen = 0;
    for case in list(&load("hub-messages")["messages"]) {
        let note = text(&case["note"]);
        let value = tagged(&case["value"]);
        let input = bytes(&case["hex"]);
        assert_eq!(to_hex(&value.to_bytes()), text(&case["hex"]), "{note}");
        let is_message = case["isMessage"] == true;
        let encoded = match StreamMessage::decode(&input) {
            Ok(StreamMessage::Update { update, contentmap }) => {
                assert_eq!((&update, &contentmap), (&field(&value, "update"), &field(&value, "contentmap")), "{note}");
                let (message, shared) = StreamMessage::encode_update(&update, &contentmap);
                assert_eq!(shared, update);
                assert!(is_message, "{note}");
                // A rollback writes its keys in another order.
                if note.contains("other key order") { input.clone() } else { message }
            }
            Ok(StreamMessage::Awareness { update, .. }) => {
                assert_eq!(update, field(&value, "update"));
                StreamMessage::encode_awareness(&update)
            }
            Ok(StreamMessage::Prune { prune }) => {
                assert_eq!(prune, field(&value, "prune"));
                StreamMessage::encode_prune(&prune)
            }
            Ok(StreamMessage::AuthCheck { users, force_disconnect }) => {
                StreamMessage::encode_auth_check(users.as_deref(), force_disconnect)
            }
            Ok(StreamMessage::Tombstone) if note.contains("extra keys") => input.clone(),
            Ok(StreamMessage::Tombstone) => StreamMessage::encode_tombstone(),
            Ok(StreamMessage::Unknown { .. }) | Err(_) => {
                assert!(!is_message, "{note}");
                continue;
            }
            other => panic!("{note}: {other:?}"),
        };
        assert!(is_message, "{note}");
        assert_eq!(to_hex(&encoded), text(&case["hex"]), "{note}");
        seen += 1;
    }
    assert_eq!(seen, 9, "one of each kind");
}

#[test]
fn vectors_of_assets() {
    let file = load("hub-messages");
    for case in list(&file["assets"]) {
        assert_eq!(tagged(&case["value"]).to_bytes(), hex(&case["hex"]));
        let asset = Asset::decode(&bytes(&case["hex"])).unwrap();
        match (asset.type_name(), &asset) {
            ("asset:ydoc:v1", Asset::YDoc { update }) => assert_eq!(*update, field(&tagged(&case["value"]), "update")),
            ("asset:contentmap:v1", Asset::ContentMap { contentmap }) => {
                assert_eq!(*contentmap, field(&tagged(&case["value"]), "contentmap"));
            }
            ("asset:contentids:v1", Asset::ContentIds { contentids }) => {
                assert_eq!(*contentids, field(&tagged(&case["value"]), "contentids"));
            }
            ("asset:retrievable:v1", Asset::Retrievable { plugin }) => assert_eq!(plugin, "S3Persistence:v1"),
            other => panic!("{case} was read as {other:?}"),
        }
        assert_eq!(to_hex(&asset.encode()), text(&case["hex"]));
    }
}

#[test]
fn vectors_of_keys_and_asset_ids() {
    let file = load("hub-keys");
    for case in list(&file["components"]) {
        let raw = text(&case["raw"]);
        assert_eq!(encode_uri_component(raw), text(&case["encodeURIComponent"]));
        assert_eq!(encode_key_part(raw), text(&case["redis"]));
        assert_eq!(case["decodesBack"], true);
        assert_eq!(decode_component(text(&case["redis"])).as_deref(), Some(raw));
        assert_eq!(decode_component(text(&case["encodeURIComponent"])).as_deref(), Some(raw));
    }
    for case in list(&file["rooms"]) {
        let keys = KeySpace::new(text(&case["prefix"]));
        let room_id = room(&case["room"]);
        assert_eq!(keys.stream(&room_id), text(&case["stream"]));
        assert_eq!(keys.room_of_stream(text(&case["stream"])), Some(room(&case["decoded"])));
        assert_eq!(keys.quarantine(&room_id, text(&case["qid"])), text(&case["quarantine"]));
        assert_eq!(keys.quarantine_pattern(&room_id), text(&case["quarantinePattern"]));
        assert_eq!(keys.cache_prefix(&room_id), text(&case["cachePrefix"]));
    }
    for case in list(&file["cacheKeys"]) {
        let keys = KeySpace::new(text(&case["prefix"]));
        let arguments = list(&case["args"]).iter().map(text);
        assert_eq!(keys.cached(&room(&case["room"]), text(&case["endpoint"]), arguments), text(&case["key"]));
    }
    for case in list(&file["assetIds"]) {
        let read = |id: &Value| AssetId {
            kind: match text(&id["type"]) {
                "id:ydoc:v1" => AssetIdKind::YDoc { gc: id["gc"] == true },
                "id:contentmap:v1" => AssetIdKind::ContentMap,
                "id:contentids:v1" => AssetIdKind::ContentIds,
                other => panic!("unknown type {other}"),
            },
            room: room(id),
            t: text(&id["t"]).to_owned(),
        };
        assert_eq!(read(&case["id"]).to_string(), text(&case["string"]));
        assert_eq!(text(&case["string"]).parse(), Ok(read(&case["parsed"])));
    }
}

#[test]
fn vectors_of_clocks_and_times() {
    let file = load("hub-keys");
    for case in list(&file["clockOrder"]) {
        let (a, b) = (text(&case[0]), text(&case[1]));
        let (clock_a, clock_b): (StoredClock, StoredClock) = (a.parse().unwrap(), b.parse().unwrap());
        let before = clock_a.is_before(clock_b);
        assert_eq!(before, case[2] == true, "{case}");
        assert_eq!(if before { b } else { a }, text(&case[3]), "{case}");
        assert_eq!(if before { a } else { b }, text(&case[4]), "{case}");
        // Where both have a sequence, the order of positions is the same.
        if !a.ends_with('I') && !b.ends_with('I') {
            assert_eq!(clock_a.position() < clock_b.position(), before, "{case}");
        }
    }
    for case in list(&file["redisTime"]) {
        let (seconds, microseconds) = (text(&case["seconds"]).parse().unwrap(), text(&case["microseconds"]).parse().unwrap());
        assert_eq!(redis_time_ms(seconds, microseconds), uint(&case["ms"]));
    }
}

#[test]
fn vectors_of_custom_attributions_and_matchers() {
    let file = load("hub-keys");
    for case in list(&file["customAttributionsParam"]) {
        let expected: Vec<(String, String)> =
            items(&case["parsed"]).iter().map(|pair| (text(&pair["k"]).into(), text(&pair["v"]).into())).collect();
        assert_eq!(parse_custom_attributions(case["param"].as_str()), expected, "{case}");
    }
    for case in list(&file["authMatchers"]) {
        let object = |value: &Value| match from_json(value) {
            Any::Object(object) => object,
            other => panic!("expected an object, found {other:?}"),
        };
        let identity: Object = object(&case["authInfo"]);
        let matcher = match &case["matcher"] {
            Value::String(user) => UserMatcher::User(user.clone()),
            value => UserMatcher::Identity(object(value)),
        };
        let user = text(&case["authInfo"]["userid"]);
        assert_eq!(matcher.matches(user, &identity), case["matches"] == true, "{case}");
    }
}

/// What a running y/hub had stored is read, and written again to the same bytes.
#[test]
fn vectors_of_a_live_deployment() {
    let file = load("live-deployment");
    let (mut updates, mut assets) = (0, 0);
    for case in list(&file["rooms"]) {
        let keys = KeySpace::new(KeySpace::DEFAULT_PREFIX);
        assert_eq!(keys.stream(&room(&case["room"])), text(&case["redisKey"]));
        for entry in list(&case["stream"]) {
            let Some(message) = entry["fields"].get("m") else { continue };
            assert_eq!(Any::from_bytes(&hex(message)).unwrap().to_bytes(), hex(message));
            match StreamMessage::decode(&bytes(message)).unwrap() {
                StreamMessage::Update { update, contentmap } => {
                    assert_eq!(ContentMap::from_bytes(&contentmap).unwrap().to_bytes(), contentmap);
                    assert_eq!(StreamMessage::encode_update(&update, &contentmap).0, bytes(message));
                    updates += 1;
                }
                StreamMessage::Awareness { update, .. } => {
                    assert_eq!(StreamMessage::encode_awareness(&update), bytes(message));
                }
                other => panic!("{other:?}"),
            }
        }
        let columns = list(&case["rows"]).iter().flat_map(|row| row.as_object().unwrap().values());
        let objects = case["objects"].as_object().into_iter().flat_map(|objects| {
            for id in objects.keys() {
                assert_eq!(&id.parse::<AssetId>().unwrap().to_string(), id);
            }
            objects.values()
        });
        for stored in columns.chain(objects).filter_map(Value::as_str).filter(|digits| digits.starts_with("7602")) {
            let stored = bytes(&stored.into());
            let asset = Asset::decode(&stored).unwrap();
            assert_eq!(asset.encode(), stored);
            match asset {
                Asset::ContentMap { contentmap } => {
                    assert_eq!(ContentMap::from_bytes(&contentmap).unwrap().to_bytes(), contentmap);
                }
                Asset::ContentIds { contentids } => {
                    assert_eq!(ContentIds::from_bytes(&contentids).unwrap().to_bytes(), contentids);
                }
                Asset::YDoc { .. } | Asset::Retrievable { .. } => {}
            }
            assets += 1;
        }
    }
    assert!(updates > 10 && assets >= 8, "{updates} updates, {assets} assets");
}
