//! The golden vectors: where they lie, and the forms in which they write values.
//!
//! What the files hold and how strictly to compare is in the README beside them. Everything here panics on a missing
//! file or an unexpected form: for a test that is the failure it should be.

use std::{env, fs, path::PathBuf};

use serde_json::Value;
use yhub_encoding::{Any, Object};

/// The folder of the vectors: `YHUB_VECTORS`, or the copy in the repository.
pub fn folder() -> PathBuf {
    env::var_os("YHUB_VECTORS").map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors").into(), PathBuf::from)
}

/// The content of `{name}.json`.
///
/// # Panics
/// If the file is missing or is not JSON.
pub fn load(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read the vectors in {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{} is not json: {error}", path.display()))
}

/// The elements of a list, which must not be empty: an empty one would prove nothing.
///
/// # Panics
/// If `value` is no list or an empty one.
pub fn list(value: &Value) -> &[Value] {
    let list = value.as_array().unwrap_or_else(|| panic!("expected a list, found {value}"));
    assert!(!list.is_empty(), "expected vectors, found an empty list");
    list
}

/// The elements of a list, which may be empty.
///
/// # Panics
/// If `value` is no list.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("expected a list, found {value}"))
}

/// A string.
///
/// # Panics
/// If `value` is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("expected a string, found {value}"))
}

/// An integer from 0.
///
/// # Panics
/// If `value` is none.
pub fn uint(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("expected an unsigned integer, found {value}"))
}

/// The bytes that a string of lower-case hexadecimal digits stands for.
///
/// # Panics
/// If `value` is no such string.
pub fn hex(value: &Value) -> Vec<u8> {
    let digits = text(value);
    assert!(digits.len().is_multiple_of(2) && digits.is_ascii(), "expected pairs of hexadecimal digits, found {digits}");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_else(|_| panic!("expected hexadecimal, found {digits}")))
        .collect()
}

/// `bytes` as lower-case hexadecimal digits, as the vectors write them.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A float from its 64 bits in hexadecimal, of a tagged number.
///
/// # Panics
/// If `value` is no tagged number.
pub fn number(value: &Value) -> f64 {
    assert_eq!(value["t"], "number", "expected a tagged number, found {value}");
    let bits = text(&value["bits"]);
    f64::from_bits(u64::from_str_radix(bits, 16).unwrap_or_else(|_| panic!("expected 64 bits, found {bits}")))
}

/// A tagged value.
///
/// # Panics
/// If `value` is none.
pub fn tagged(value: &Value) -> Any {
    let v = &value["v"];
    match text(&value["t"]) {
        "undefined" => Any::Undefined,
        "null" => Any::Null,
        "bool" => Any::Bool(v.as_bool().unwrap_or_else(|| panic!("expected a bool, found {v}"))),
        "string" => Any::from(text(v)),
        "bytes" => Any::Bytes(hex(v).into()),
        "bigint" => Any::BigInt(text(v).parse().unwrap_or_else(|_| panic!("expected 64 bits, found {v}"))),
        "number" => Any::Number(number(value)),
        "array" => Any::Array(items(v).iter().map(tagged).collect()),
        "object" => Any::Object(items(v).iter().map(|entry| (text(&entry[0]), tagged(&entry[1]))).collect::<Object>()),
        other => panic!("unknown tag {other}"),
    }
}
