//! JSON, as back ends speak it that read no lib0, to values and back.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Serialize,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq, Serializer},
};

use crate::{Any, Object};

impl Any {
    /// The value of a JSON text. Keys keep their order, numbers are those of JavaScript.
    ///
    /// # Errors
    /// If it is no JSON. Depth is bounded by the parser.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let value = Value.deserialize(&mut json)?;
        json.end()?;
        Ok(value)
    }

    /// The JSON of the value. What JSON lacks is written as y/hub writes it: bytes as base64 with padding, `undefined` and numbers
    /// that are none as `null`, a big integer as a string of digits.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Json(self)).expect("every value has a JSON form, and memory takes it")
    }
}

/// A value as JSON.
struct Json<'a>(&'a Any);

/// Integers up to here are written without a fraction, as JavaScript does.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Any::Undefined | Any::Null => out.serialize_unit(),
            Any::Bool(value) => out.serialize_bool(*value),
            // Exact: it is an integer of at most 53 bits.
            Any::Number(number) if number.fract() == 0.0 && number.abs() <= MAX_SAFE => out.serialize_i64(*number as i64),
            Any::Number(number) if number.is_finite() => out.serialize_f64(*number),
            Any::Number(_) => out.serialize_unit(),
            Any::BigInt(value) => out.collect_str(value),
            Any::String(text) => out.serialize_str(text),
            Any::Bytes(bytes) => out.serialize_str(&BASE64_STANDARD.encode(bytes)),
            Any::Array(items) => {
                let mut list = out.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(&Json(item)))?;
                list.end()
            }
            Any::Object(object) => {
                let mut map = out.serialize_map(Some(object.len()))?;
                object.iter().try_for_each(|(key, value)| map.serialize_entry(key, &Json(value)))?;
                map.end()
            }
        }
    }
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
        let value = Any::from_json(r#"{"z":[1,-2.5,true,null],"a":{"2":"x","1":""}}"#).unwrap();
        let Any::Object(object) = &value else { panic!("{value:?}") };
        assert_eq!(object.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["z", "a"]);
        let list = vec![Any::Number(1.0), Any::Number(-2.5), Any::Bool(true), Any::Null];
        assert_eq!(object.get("z"), Some(&Any::Array(list)));
        for wrong in ["", "{", "1 2", "undefined", "'x'"] {
            assert!(Any::from_json(wrong).is_err(), "{wrong}");
        }
        assert!(Any::from_json(&"[".repeat(100_000)).is_err(), "the parser's own bound");
    }

    #[test]
    fn what_json_lacks_is_written_as_back_ends_expect_it() {
        let numbers = [1_795_325_577_244.0, -0.5, f64::NAN, f64::INFINITY, 0.0].map(Any::Number);
        let value = Any::Object(Object::from_entries(vec![
            ("bytes".into(), Any::Bytes([1, 2, 255, 0].into())),
            ("gone".into(), Any::Undefined),
            ("big".into(), Any::BigInt(i64::MIN)),
            ("list".into(), Any::Array(numbers.into())),
            ("text".into(), Any::from("a\"\n")),
            ("2".into(), Any::Bool(true)),
        ]));
        let json = r#"{"2":true,"bytes":"AQL/AA==","gone":null,"big":"-9223372036854775808","list":[1795325577244,-0.5,null,null,0],"text":"a\"\n"}"#;
        assert_eq!(value.to_json(), json);
    }
}
