//! The golden vectors of lib0, of the frames and of awareness, byte for byte.
//!
//! `rle` and `stringEncoder` of `lib0.json` are left out: they are parts of the V2 update format, which the hub does
//! not read.

#![expect(clippy::unwrap_used, reason = "in a test")]

use serde_json::Value;
use yhub_encoding::awareness::{self, AwarenessLimits, Entry};
use yhub_encoding::sync::{self, Message};
use yhub_encoding::{
    Any, AnyRef, DecodeError, MAX_ANY_DEPTH, Object, Reader, skip_any, write_bigint64, write_f32, write_f64,
    write_sign_magnitude, write_var_bytes, write_var_string, write_var_uint,
};
use yhub_testkit::vectors::{hex, items, list, load, number, tagged, text, to_hex, uint};

/// Reads all of `bytes` with `read`.
fn whole<'a, T>(bytes: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    assert!(reader.is_empty(), "{} bytes of {} are left", reader.remaining(), to_hex(bytes));
    Ok(value)
}

/// What `write` writes, in hexadecimal.
fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    to_hex(&out)
}

fn integer<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    text(value).parse().unwrap()
}

#[test]
fn vectors_of_integers_strings_and_floats() {
    let file = load("lib0");
    for case in list(&file["varUint"]) {
        let value = integer(&case["value"]);
        assert_eq!(whole(&hex(&case["hex"]), Reader::var_uint), Ok(value));
        assert_eq!(written(|out| write_var_uint(out, value)), text(&case["hex"]));
    }
    for case in list(&file["varInt"]) {
        let magnitude: u64 = integer(&case["value"]);
        let negative = case["negative"].as_bool().unwrap();
        assert_eq!(whole(&hex(&case["hex"]), Reader::var_sign_magnitude), Ok((negative, magnitude)));
        let signed = if negative { -(magnitude as i64) } else { magnitude as i64 };
        assert_eq!(whole(&hex(&case["hex"]), Reader::var_int), Ok(signed));
        assert_eq!(written(|out| write_sign_magnitude(out, negative, magnitude)), text(&case["hex"]));
    }
    for case in list(&file["varString"]) {
        assert_eq!(whole(&hex(&case["hex"]), Reader::var_string), Ok(text(&case["value"])));
        assert_eq!(written(|out| write_var_string(out, text(&case["value"]))), text(&case["hex"]));
    }
    for case in list(&file["lossyStrings"]) {
        let units: Vec<u16> = list(&case["utf16"]).iter().map(|unit| uint(unit) as u16).collect();
        assert_eq!(written(|out| write_var_string(out, &String::from_utf16_lossy(&units))), text(&case["hex"]));
    }
    for case in list(&file["varUint8Array"]) {
        assert_eq!(whole(&hex(&case["hex"]), Reader::var_bytes), Ok(&hex(&case["value"])[..]));
        assert_eq!(written(|out| write_var_bytes(out, &hex(&case["value"]))), text(&case["hex"]));
    }
    for case in list(&file["float32"]) {
        let value = number(&case["value"]);
        assert_eq!(whole(&hex(&case["hex"]), Reader::f32).map(|read| f64::from(read).to_bits()), Ok(value.to_bits()));
        assert_eq!(written(|out| write_f32(out, value as f32)), text(&case["hex"]));
    }
    for case in list(&file["float64"]) {
        let value = number(&case["value"]);
        assert_eq!(whole(&hex(&case["hex"]), Reader::f64).map(f64::to_bits), Ok(value.to_bits()));
        assert_eq!(written(|out| write_f64(out, value)), text(&case["hex"]));
    }
    for case in list(&file["bigInt64"]) {
        let value = integer(&case["value"]);
        assert_eq!(whole(&hex(&case["hex"]), Reader::bigint64), Ok(value));
        assert_eq!(written(|out| write_bigint64(out, value)), text(&case["hex"]));
    }
}

/// Reads one value in all three ways.
fn read_any(bytes: &[u8]) -> Result<Any, DecodeError> {
    let value = whole(bytes, |reader| Any::decode(reader, MAX_ANY_DEPTH));
    let skipped = whole(bytes, |reader| skip_any(reader, MAX_ANY_DEPTH));
    assert_eq!(skipped, value.clone().map(drop), "{}", to_hex(bytes));
    let looked_at = whole(bytes, |reader| AnyRef::decode(reader, MAX_ANY_DEPTH)).map(|value| match value {
        AnyRef::Undefined => Any::Undefined,
        AnyRef::Null => Any::Null,
        AnyRef::Bool(value) => Any::Bool(value),
        AnyRef::Number(number) => Any::Number(number),
        AnyRef::BigInt(value) => Any::BigInt(value),
        AnyRef::String(text) => text.into(),
        AnyRef::Bytes(bytes) => Any::Bytes(bytes.into()),
        AnyRef::Array(bytes) | AnyRef::Object(bytes) => Any::from_bytes(bytes).unwrap(),
    });
    assert_eq!(looked_at, value, "{}", to_hex(bytes));
    value
}

#[test]
fn vectors_of_any() {
    let file = load("lib0");
    for case in list(&file["any"]) {
        let value = tagged(&case["value"]);
        assert_eq!(read_any(&hex(&case["hex"])), Ok(value.clone()));
        assert_eq!(to_hex(&value.to_bytes()), text(&case["hex"]));
    }
    for case in list(&file["objectKeyOrder"]) {
        let entries = list(&case["insertionOrder"]);
        let object: Object = entries.iter().map(|entry| (text(&entry[0]), Any::Number(entry[1].as_f64().unwrap()))).collect();
        assert_eq!(to_hex(&Any::Object(object).to_bytes()), text(&case["hex"]));
    }
    for case in list(&file["anyReencode"]) {
        let value = read_any(&hex(&case["hexIn"])).unwrap();
        assert_eq!(value, tagged(&case["value"]), "{}", case["note"]);
        assert_eq!(to_hex(&value.to_bytes()), text(&case["hexOut"]), "{}", case["note"]);
    }
    for case in list(&file["decodeErrors"]) {
        assert_eq!(case["recommend"], "reject");
        let bytes = hex(&case["hex"]);
        let refused = match text(&case["note"]) {
            "varUint" => Reader::new(&bytes).var_uint().is_err(),
            _ => read_any(&bytes).is_err(),
        };
        assert!(refused, "{case} was taken");
    }
}

#[test]
fn vectors_of_frames() {
    let file = load("ywebsocket");
    for case in list(&file["frames"]) {
        let frame = hex(&case["hex"]);
        let decoded = &case["decoded"];
        let (expected, encoded) = match (uint(&decoded["type"]), decoded["sync"].as_u64()) {
            (0, Some(0)) => (hex(&decoded["stateVector"]), sync::step1 as fn(&[u8]) -> Vec<u8>),
            (0, Some(1)) => (hex(&decoded["update"]), sync::step2 as _),
            (0, Some(2)) => (hex(&decoded["update"]), sync::update as _),
            (1, _) => (hex(&decoded["awareness"]), sync::awareness as _),
            (2, _) => {
                let reason = text(&decoded["reason"]);
                let Ok(Message::Auth(payload)) = Message::decode(&frame) else { panic!("{case}") };
                assert_eq!(sync::denied_reason(payload), Ok(Some(reason)));
                assert_eq!(sync::permission_denied(reason), frame);
                continue;
            }
            (3, _) => {
                assert_eq!(Message::decode(&frame), Ok(Message::QueryAwareness));
                assert_eq!(sync::query_awareness(), frame);
                continue;
            }
            _ => panic!("a frame of an unexpected kind: {case}"),
        };
        let found = match Message::decode(&frame).unwrap() {
            Message::SyncStep1(payload) if decoded["sync"] == 0 => payload,
            Message::SyncStep2(payload) if decoded["sync"] == 1 => payload,
            Message::Update(payload) if decoded["sync"] == 2 => payload,
            Message::Awareness(payload) if decoded["type"] == 1 => payload,
            other => panic!("{case} was read as {other:?}"),
        };
        assert_eq!(found, expected, "{case}");
        assert_eq!(to_hex(&encoded(&expected)), text(&case["hex"]));
        if decoded["type"] == 1 {
            check_entries(&expected, &decoded["entries"]);
        }
    }
    assert!(file["frames"].as_array().unwrap().iter().any(|case| hex(&case["hex"]) == sync::EMPTY_AWARENESS_FRAME));

    for case in list(&file["malformed"]) {
        let frame = hex(&case["hex"]);
        match (text(&case["note"]), Message::decode(&frame)) {
            ("unknown type", Ok(Message::Unknown(9))) | ("sync with an unknown sub type", Ok(Message::UnknownSync(7))) => {}
            (_, Ok(Message::Awareness(update))) => assert!(awareness::decode(update, AwarenessLimits::NONE).is_err(), "{case}"),
            (_, Err(_)) => {}
            (_, other) => panic!("{case} was read as {other:?}"),
        }
    }
    for case in list(&file["ignoredByHub"]) {
        assert!(matches!(Message::decode(&hex(&case["hex"])), Ok(Message::Update(_) | Message::SyncStep1(_))), "{case}");
    }
}

/// Is `update` an awareness update of exactly these `[client, clock, json]`?
fn check_entries(update: &[u8], expected: &Value) {
    let expected: Vec<Entry<'_>> = items(expected)
        .iter()
        .map(|entry| Entry { client: uint(&entry[0]), clock: uint(&entry[1]), state: text(&entry[2]) })
        .collect();
    assert_eq!(awareness::decode(update, AwarenessLimits::NONE).unwrap(), expected);
    assert_eq!(awareness::encode(&expected), update);
}

#[test]
fn vectors_of_awareness() {
    let file = load("awareness");
    for case in list(&file["merge"]) {
        let updates: Vec<Vec<u8>> = items(&case["in"]).iter().map(hex).collect();
        for (update, entries) in updates.iter().zip(items(&case["inEntries"])) {
            check_entries(update, entries);
        }
        let merged = awareness::merge(updates.iter().map(|update| &update[..]), AwarenessLimits::NONE).unwrap();
        assert_eq!(to_hex(&sync::awareness(&merged)), text(&case["frame"]), "{}", case["note"]);
        check_entries(&merged, &case["entries"]);
    }
    for case in list(&file["disconnect"]) {
        assert_eq!(to_hex(&awareness::disconnect(uint(&case["client"]), uint(&case["lastClock"]))), text(&case["update"]));
    }
}
