//! JSON texts, as formats, embedded objects and old list elements are written, as values.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use yhub_encoding::{Any, Object};

/// The value of a JSON text; of `undefined`, which JavaScript writes where JSON has nothing, that.
///
/// # Errors
/// If it is no JSON. Depth is bounded by the parser.
pub(crate) fn any_of_json(text: &str) -> Result<Any, serde_json::Error> {
    if text == "undefined" {
        return Ok(Any::Undefined);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Value.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// Keeps the order of keys, which maps of serde_json do not.
struct Value;

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Any;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Any, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Any, E> {
        Ok(Any::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Any, E> {
        Ok(Any::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Any, E> {
        Ok(Any::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Any, E> {
        Ok(Any::Number(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Any, E> {
        Ok(Any::String(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Any, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Value)? {
            values.push(value);
        }
        Ok(Any::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
        let mut entries: Vec<(Box<str>, Any)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.push((key.into(), map.next_value_seed(Value)?));
        }
        if entries.len() > u32::MAX as usize {
            return Err(A::Error::custom("too many keys"));
        }
        Ok(Any::Object(Object::from_entries(entries)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order_and_numbers_are_those_of_javascript() {
        let value = any_of_json(r#"{"z":[1,-2.5,true,null],"a":{"2":"x","1":""}}"#).unwrap();
        let Any::Object(object) = &value else { panic!("{value:?}") };
        assert_eq!(object.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["z", "a"]);
        let list = vec![Any::Number(1.0), Any::Number(-2.5), Any::Bool(true), Any::Null];
        assert_eq!(object.get("z"), Some(&Any::Array(list)));
        assert_eq!(any_of_json("undefined").unwrap(), Any::Undefined);
        for wrong in ["", "{", "1 2", "undefine", "'x'"] {
            assert!(any_of_json(wrong).is_err(), "{wrong}");
        }
        assert!(any_of_json(&"[".repeat(100_000)).is_err(), "the parser's own bound");
    }
}
