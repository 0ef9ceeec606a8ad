//! Awareness updates: who is here, and what each says of itself, as JSON.
//!
//! Layout: `varUint` number of entries, then per entry `varUint` client, `varUint` clock, `varString` JSON state, where
//! `null` says that the client is gone. `clock` counts the changes of that client's own state.

use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{DecodeError, MAX_UINT, Reader, object::array_index, write_var_string, write_var_uint};

/// The state of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The client, below 2^53.
    pub client: u64,
    /// How often it changed its state, below 2^53.
    pub clock: u64,
    /// Well-formed JSON; `null` if the client is gone.
    pub state: &'a str,
}

impl Entry<'_> {
    /// Does it say that the client is gone?
    pub fn is_null(&self) -> bool {
        self.state.trim_matches(JSON_WHITE_SPACE) == "null"
    }
}

const JSON_WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// How much one awareness update may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwarenessLimits {
    /// At most so many entries.
    pub max_entries: usize,
    /// At most so many bytes of JSON in one entry.
    pub max_state_bytes: usize,
}

impl AwarenessLimits {
    /// No limit but the length of the input.
    pub const NONE: Self = Self { max_entries: usize::MAX, max_state_bytes: usize::MAX };
}

/// Why bytes are no awareness update that this hub takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AwarenessError {
    /// The bytes do not have the layout.
    #[error("the awareness update does not decode")]
    Layout(#[from] DecodeError),
    /// More entries than allowed.
    #[error("the awareness update has {found} entries, {max} are allowed; send the states of fewer clients at once")]
    TooManyEntries {
        /// Entries announced.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A state longer than allowed.
    #[error("the awareness state of client {client} has {found} bytes, {max} are allowed; keep large values in the document")]
    StateTooLong {
        /// Whose state.
        client: u64,
        /// Its length in bytes.
        found: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A state that no JSON parser takes: it would break every other client.
    #[error("the awareness state of client {client} is not json")]
    NotJson {
        /// Whose state.
        client: u64,
    },
}

/// Reads an awareness update and checks every state; bytes after it are ignored.
///
/// States borrow from `bytes`. JSON is what `JSON.parse` takes: lone surrogates in escapes and any nesting included.
pub fn decode(bytes: &[u8], limits: AwarenessLimits) -> Result<Vec<Entry<'_>>, AwarenessError> {
    let mut reader = Reader::new(bytes);
    // Client, clock and length take a byte each; JSON is never empty.
    let count = reader.count(4)?;
    if count > limits.max_entries {
        return Err(AwarenessError::TooManyEntries { found: count, max: limits.max_entries });
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let client = reader.var_uint()?;
        let clock = reader.var_uint()?;
        let state = reader.var_string()?;
        if state.len() > limits.max_state_bytes {
            return Err(AwarenessError::StateTooLong { client, found: state.len(), max: limits.max_state_bytes });
        }
        // Walks over the text without recursion and without building anything.
        serde_json::from_str::<IgnoredAny>(state).map_err(|_| AwarenessError::NotJson { client })?;
        entries.push(Entry { client, clock, state });
    }
    Ok(entries)
}

/// Writes an awareness update.
pub fn encode(entries: &[Entry<'_>]) -> Vec<u8> {
    // 17 bytes hold the longest client, clock and a length below 128.
    let mut out = Vec::with_capacity(8 + entries.iter().map(|entry| 17 + entry.state.len()).sum::<usize>());
    write_var_uint(&mut out, entries.len() as u64);
    for entry in entries {
        write_var_uint(&mut out, entry.client);
        write_var_uint(&mut out, entry.clock);
        write_var_string(&mut out, entry.state);
    }
    out
}

/// The awareness update that tells others that `client`, last heard of with `last_clock`, is gone.
pub fn disconnect(client: u64, last_clock: u64) -> Vec<u8> {
    // A client at the very last clock goes by an entry with that clock: null takes over at equal clocks.
    encode(&[Entry { client, clock: last_clock.saturating_add(1).min(MAX_UINT), state: "null" }])
}

/// What a table of states knows of one client; the default is a client never heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last clock taken over.
    pub clock: u64,
    /// Is a state present, other than null?
    pub present: bool,
}

/// Does an entry with `clock`, which is null or not, replace what is known of its client?
///
/// A state of clock 0 never replaces "never heard of": that is how every client of the protocol sees it.
pub const fn takes_over(known: Known, clock: u64, is_null: bool) -> bool {
    clock > known.clock || (clock == known.clock && is_null && known.present)
}

/// Folds awareness updates, in order, into one, as y/hub does.
///
/// One entry per client that was ever taken over, in order of the first time, gone ones included. States are written
/// anew as `JSON.stringify` would write what `JSON.parse` reads; `false`, `0` and `""` become `null`. A state that
/// cannot be written anew the same way (lone surrogates, numbers beyond 64-bit floats, nesting beyond 127) stays as it is.
pub fn merge<'a>(updates: impl IntoIterator<Item = &'a [u8]>, limits: AwarenessLimits) -> Result<Vec<u8>, AwarenessError> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut table: Vec<Entry<'a>> = Vec::new();
    for update in updates {
        for entry in decode(update, limits)? {
            match places.get(&entry.client) {
                Some(&place) => {
                    let old = &mut table[place];
                    if takes_over(Known { clock: old.clock, present: !old.is_null() }, entry.clock, entry.is_null()) {
                        *old = entry;
                    }
                }
                None if takes_over(Known::default(), entry.clock, entry.is_null()) => {
                    places.insert(entry.client, table.len());
                    table.push(entry);
                }
                None => {}
            }
        }
    }
    let states: Vec<String> = table.iter().map(|entry| rewritten(entry.state)).collect();
    let entries: Vec<Entry<'_>> = table.iter().zip(&states).map(|(entry, state)| Entry { state, ..*entry }).collect();
    Ok(encode(&entries))
}

/// The state as `JSON.stringify(JSON.parse(state) || null)` gives it.
fn rewritten(state: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(state) else {
        return state.to_owned();
    };
    let falsy = match &value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    if falsy {
        return "null".to_owned();
    }
    let mut out = String::with_capacity(state.len());
    write_json(&mut out, &value);
    out
}

fn write_json(out: &mut String, value: &Value) {
    match value {
        Value::Number(number) => {
            // JavaScript has 64-bit floats only: integers beyond 2^53 are rounded.
            let number = number.as_f64().unwrap_or(f64::NAN);
            out.push_str(ryu_js::Buffer::new().format(number));
        }
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::String(text) => write_json_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_json(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            if members.iter().any(|(key, _)| array_index(key).is_some()) {
                members.sort_by_key(|(key, _)| array_index(key).map_or(u64::MAX, u64::from));
            }
            out.push('{');
            for (i, (key, member)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_json_string(out, key);
                out.push(':');
                write_json(out, member);
            }
            out.push('}');
        }
    }
}

fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(state: &str) -> Vec<u8> {
        encode(&[Entry { client: 7, clock: 3, state }])
    }

    #[test]
    fn states_must_be_json_as_javascript_reads_it() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        for good in ["null", " {\"a\" : [1e999, -0.5E+3]} ", r#""\ud800""#, &deep] {
            assert!(decode(&one(good), AwarenessLimits::NONE).is_ok(), "{good:.40}");
        }
        for bad in ["", "{", "nul", "01", "{'a':1}", "[1,]", "\"\n\"", "\u{feff}null", "NaN", "null null", r#""\x""#] {
            assert!(decode(&one(bad), AwarenessLimits::NONE).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn limits_hold() {
        let limits = AwarenessLimits { max_entries: 2, max_state_bytes: 4 };
        let entry = Entry { client: 1, clock: 1, state: "null" };
        assert!(decode(&encode(&[entry; 2]), limits).is_ok());
        assert_eq!(decode(&encode(&[entry; 3]), limits), Err(AwarenessError::TooManyEntries { found: 3, max: 2 }));
        let long = encode(&[Entry { state: "12345", ..entry }]);
        assert_eq!(decode(&long, limits), Err(AwarenessError::StateTooLong { client: 1, found: 5, max: 4 }));
        let claims_much = [0xff, 0xff, 0xff, 0x7f, 1, 1, 0];
        assert!(matches!(decode(&claims_much, AwarenessLimits::NONE), Err(AwarenessError::Layout(DecodeError::TooLong { .. }))));
        assert!(matches!(
            decode(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 1, 1, b'1'], AwarenessLimits::NONE),
            Err(AwarenessError::Layout(DecodeError::IntegerRange { at: 1 }))
        ));
    }

    #[test]
    fn what_cannot_be_written_anew_stays() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for state in [r#"{"a": "\ud800"}"#, "[1e999 ]", &deep] {
            let merged = merge([&one(state)[..]], AwarenessLimits::NONE).unwrap();
            assert_eq!(decode(&merged, AwarenessLimits::NONE).unwrap()[0].state, state);
        }
    }

    #[test]
    fn numbers_and_strings_are_written_as_javascript_does() {
        for (state, expected) in [
            ("[1e21,1e-7,123456789012345678901,-0,5e-324,0.1]", "[1e+21,1e-7,123456789012345680000,0,5e-324,0.1]"),
            ("[9007199254740993,2.2250738585072011e-308]", "[9007199254740992,2.225073858507201e-308]"),
            (r#""\u0000\b\f\u001f\u007f\/\"\\""#, "\"\\u0000\\b\\f\\u001f\u{7f}/\\\"\\\\\""),
            ("0.0", "null"),
            ("\"\"", "null"),
            ("[]", "[]"),
        ] {
            assert_eq!(rewritten(state), expected);
        }
    }

    #[test]
    fn a_client_at_the_last_clock_can_still_go() {
        let bytes = disconnect(5, MAX_UINT);
        let gone = decode(&bytes, AwarenessLimits::NONE).unwrap()[0];
        assert!(takes_over(Known { clock: MAX_UINT, present: true }, gone.clock, gone.is_null()));
    }

    proptest! {
        #[test]
        fn entries_are_read_back(entries in prop::collection::vec((0..=MAX_UINT, 0..=MAX_UINT, "[a-z]{0,8}"), 0..6)) {
            let states: Vec<String> = entries.iter().map(|(_, _, text)| format!("{{\"name\":\"{text}\"}}")).collect();
            let entries: Vec<Entry<'_>> = entries.iter().zip(&states)
                .map(|(&(client, clock, _), state)| Entry { client, clock, state }).collect();
            let bytes = encode(&entries);
            prop_assert_eq!(decode(&bytes, AwarenessLimits::NONE), Ok(entries));
            for end in 0..bytes.len() {
                prop_assert!(decode(&bytes[..end], AwarenessLimits::NONE).is_err());
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes, AwarenessLimits::NONE);
            let _ = merge([&bytes[..]], AwarenessLimits::NONE);
        }

        #[test]
        fn random_text_is_never_rewritten_to_something_else(text in "[\\[\\]{}:,\"\\\\a-f0-9eE+. -]{0,24}") {
            // Whatever is json before is the same json afterwards.
            if let Ok(before) = serde_json::from_str::<Value>(&text) {
                let after = rewritten(&text);
                if after != "null" {
                    let floats = |value: Value| value.to_string().parse::<f64>().map_or(value, Value::from);
                    prop_assert_eq!(floats(serde_json::from_str(&after).unwrap()), floats(before));
                }
            }
        }
    }
}
