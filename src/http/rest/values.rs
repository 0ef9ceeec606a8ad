//! Queries and bodies, read by what an endpoint says that it takes. What does not fit is refused with its name.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer as _,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use yhub_core::parse_custom_attributions;
use yhub_encoding::{Any, AnyRef, DecodeError, MAX_ANY_DEPTH, Object, Reader, read_object_header};

use super::endpoint::{Kind, Param};
use crate::http::HttpError;

/// At most so many bytes of a value stand in an error.
const QUOTED_BYTES: usize = 64;

/// The values of a query or a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values(Vec<(&'static str, Value)>);

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Bool(bool),
    Text(String),
    Bytes(Bytes),
    Pairs(Vec<(String, String)>),
    Any(Any),
}

impl Values {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// A number, if it was given.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// A number of things, if it was given.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        // Not negative and an integer: read so.
        self.number(name).map(|number| number as u64)
    }

    /// Yes or no, if it was given.
    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// Was it said to be so?
    pub(crate) fn is(&self, name: &str) -> bool {
        self.bool(name) == Some(true)
    }

    /// A text, if it was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Bytes, if they were given.
    pub(crate) fn bytes(&self, name: &str) -> Option<&Bytes> {
        match self.get(name) {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Keys with values; none if none were given.
    pub(crate) fn pairs(&self, name: &str) -> Vec<(String, String)> {
        match self.get(name) {
            Some(Value::Pairs(pairs)) => pairs.clone(),
            _ => Vec::new(),
        }
    }

    /// Something with a form of its own, if it was given.
    pub(crate) fn any(&self, name: &str) -> Option<&Any> {
        match self.get(name) {
            Some(Value::Any(value)) => Some(value),
            _ => None,
        }
    }

    /// These, and of `others` what is not among these.
    pub(crate) fn or(mut self, others: Self) -> Self {
        for (name, value) in others.0 {
            if self.get(name).is_none() {
                self.0.push((name, value));
            }
        }
        self
    }

    /// Reads the decoded pairs of a query.
    ///
    /// # Errors
    /// If one is no parameter of the endpoint, or not of its kind.
    pub(crate) fn of_query(pairs: Vec<(String, String)>, params: &'static [Param]) -> Result<Self, HttpError> {
        let mut values = Self::default();
        for (name, text) in pairs {
            let invalid = |what: String| HttpError::InvalidQuery { what: format!("invalid query: [{name}] {what}") };
            let Some(param) = params.iter().find(|param| param.name == name) else {
                return Err(invalid("is no parameter of this endpoint".into()));
            };
            if values.get(param.name).is_some() {
                return Err(invalid("is given twice".into()));
            }
            let wrong = || invalid(format!("{} doesn't match {}", quoted(&text), param.kind.name()));
            values.0.push((param.name, of_text(&text, param.kind).ok_or_else(wrong)?));
        }
        Ok(values)
    }

    /// Reads a body: an object, as JSON or any-encoded. An empty one has no fields. Nothing is built of it before it is known to be
    /// wanted.
    ///
    /// # Errors
    /// If it is no object, or one of its fields is none of the endpoint, or not of its kind.
    pub(crate) fn of_body(body: &Bytes, is_json: bool, fields: &'static [Param]) -> Result<Self, HttpError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let read = if is_json { Self::of_json(body, fields) } else { Self::of_lib0(body, fields) };
        read.map_err(|what| HttpError::InvalidBody { what: format!("invalid body: {what}") })
    }

    fn of_lib0(body: &Bytes, fields: &'static [Param]) -> Result<Self, String> {
        let damaged = |error: DecodeError| format!("it is no lib0-any object: {error}");
        let mut reader = Reader::new(body);
        let mut values = Self::default();
        for _ in 0..read_object_header(&mut reader).map_err(damaged)? {
            let field = values.field(reader.var_string().map_err(damaged)?, fields)?;
            let from = reader.position();
            let value = AnyRef::decode(&mut reader, MAX_ANY_DEPTH).map_err(damaged)?;
            let value = match (field.kind, value) {
                (_, AnyRef::Undefined) => continue,
                // The same memory as the body.
                (Kind::Bytes, AnyRef::Bytes(bytes)) => Some(Value::Bytes(body.slice_ref(bytes))),
                (Kind::Bytes, _) => None,
                (kind, _) => {
                    let whole = &body[from..reader.position()];
                    let value = if whole.len() > MAX_VALUE_BYTES { None } else { Any::from_bytes(whole).ok() };
                    value.and_then(|value| of_any(&value, kind))
                }
            };
            values.0.push((field.name, value.ok_or_else(|| mismatch(field))?));
        }
        if reader.position() != body.len() {
            return Err("something stands behind its lib0-any value".into());
        }
        Ok(values)
    }

    fn of_json(body: &Bytes, fields: &'static [Param]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "it is no UTF-8")?;
        let mut json = serde_json::Deserializer::from_str(text);
        let read = json.deserialize_map(InJson(fields)).and_then(|values| json.end().map(|()| values));
        read.map_err(|error| format!("{error}"))
    }

    /// The field of this name, which must not have been there yet.
    fn field(&self, name: &str, fields: &'static [Param]) -> Result<&'static Param, String> {
        let field = fields.iter().find(|field| field.name == name);
        let field = field.ok_or_else(|| format!("[{}] is no field of this endpoint", quoted(name)))?;
        if self.get(name).is_some() { Err(format!("[{name}] is given twice")) } else { Ok(field) }
    }
}

/// At most so many bytes of a body are a value that holds no bytes.
const MAX_VALUE_BYTES: usize = 64 << 10;

fn mismatch(field: &Param) -> String {
    format!("[{}] doesn't match {}", field.name, field.kind.name())
}

/// Reads an object of JSON, each field when its name is known.
struct InJson(&'static [Param]);

impl<'de> Visitor<'de> for InJson {
    type Value = Values;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
        let mut values = Values::default();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let field = values.field(&name, self.0).map_err(A::Error::custom)?;
            let raw = map.next_value::<&'de RawValue>()?.get();
            let value = match field.kind {
                Kind::Bytes => {
                    let text = serde_json::from_str::<Text<'_>>(raw).ok();
                    text.and_then(|Text(text)| BASE64_STANDARD.decode(&*text).ok()).map(|bytes| Value::Bytes(bytes.into()))
                }
                _ if raw.len() > MAX_VALUE_BYTES => None,
                kind => Any::from_json(raw).ok().and_then(|value| of_any(&value, kind)),
            };
            values.0.push((field.name, value.ok_or_else(|| A::Error::custom(mismatch(field)))?));
        }
        Ok(values)
    }
}

/// A text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value of a query.
fn of_text(text: &str, kind: Kind) -> Option<Value> {
    Some(match kind {
        Kind::Number | Kind::Count => {
            // Digits, with a fraction where one may be: not all that Rust takes for a number is one to others.
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            number(text.parse().ok().filter(|_| plain)?, kind)?
        }
        Kind::Bool => Value::Bool(text.parse().ok()?),
        Kind::Text => Value::Text(text.to_owned()),
        Kind::Choice(words) => Value::Text(words.contains(&text).then(|| text.to_owned())?),
        Kind::Bytes => Value::Bytes(BASE64_STANDARD.decode(text).ok()?.into()),
        Kind::Pairs => Value::Pairs(parse_custom_attributions(Some(text))),
        Kind::Value(_) => return None,
    })
}

/// A value of a body that holds no bytes.
fn of_any(value: &Any, kind: Kind) -> Option<Value> {
    Some(match (kind, value) {
        (Kind::Number | Kind::Count, Any::Number(value)) => number(*value, kind)?,
        (Kind::Bool, Any::Bool(value)) => Value::Bool(*value),
        (Kind::Text, Any::String(text)) => Value::Text(text.to_string()),
        (Kind::Choice(words), Any::String(text)) => Value::Text(words.contains(&&**text).then(|| text.to_string())?),
        (Kind::Value(_), value) => Value::Any(value.clone()),
        (Kind::Pairs, Any::Array(items)) => Value::Pairs(items.iter().map(pair).collect::<Option<_>>()?),
        _ => return None,
    })
}

fn number(value: f64, kind: Kind) -> Option<Value> {
    let fits =
        value.is_finite() && value >= 0.0 && (kind != Kind::Count || value.fract() == 0.0 && value < 9_007_199_254_740_992.0);
    fits.then_some(Value::Number(value))
}

fn pair(item: &Any) -> Option<(String, String)> {
    let Any::Object(object) = item else { return None };
    let text = |object: &Object, key| object.get(key).and_then(Any::as_str).map(str::to_owned);
    (object.len() == 2).then_some(())?;
    Some((text(object, "k")?, text(object, "v")?))
}

/// The start of a value as it may stand in an error.
pub(super) fn quoted(text: &str) -> String {
    Any::from(&text[..text.floor_char_boundary(QUOTED_BYTES)]).to_json()
}

#[cfg(test)]
mod tests {
    use super::{super::endpoint::param, *};

    const PARAMS: &[Param] = &[
        param("limit", Kind::Count, ""),
        param("from", Kind::Number, ""),
        param("gc", Kind::Bool, ""),
        param("by", Kind::Text, ""),
        param("order", Kind::Choice(&["asc", "desc"]), ""),
        param("ids", Kind::Bytes, ""),
        param("with", Kind::Pairs, ""),
    ];

    fn query(name: &str, text: &str) -> Result<Values, HttpError> {
        Values::of_query(vec![(name.into(), text.into())], PARAMS)
    }

    #[test]
    fn queries_are_of_their_kinds() {
        assert_eq!(query("limit", "12").unwrap().count("limit"), Some(12));
        assert_eq!(query("from", "12.5").unwrap().number("from"), Some(12.5));
        assert!(query("gc", "true").unwrap().is("gc"));
        assert_eq!(query("gc", "false").unwrap().bool("gc"), Some(false));
        assert_eq!(query("by", "").unwrap().text("by"), Some(""));
        assert_eq!(query("order", "desc").unwrap().text("order"), Some("desc"));
        assert_eq!(query("ids", "AAA=").unwrap().bytes("ids"), Some(&Bytes::from_static(&[0, 0])));
        assert_eq!(query("with", "a:b").unwrap().pairs("with"), [("a".into(), "b".into())]);
        for (name, wrong) in [
            ("limit", "abc"),
            ("limit", ""),
            ("limit", "-1"),
            ("limit", "1.5"),
            ("limit", "1e3"),
            ("limit", "inf"),
            ("limit", "9007199254740992"),
            ("from", "-1"),
            ("from", "NaN"),
            ("from", "+1"),
            ("gc", "1"),
            ("order", "up"),
            ("ids", "AAA"),
            ("ids", "%"),
            ("nothing", "1"),
        ] {
            let error = query(name, wrong).unwrap_err();
            assert!(error.to_string().starts_with(&format!("invalid query: [{name}] ")), "{error}");
        }
        // Word for word what y/hub says.
        assert_eq!(query("limit", "abc").unwrap_err().to_string(), "invalid query: [limit] \"abc\" doesn't match number");
        let twice = Values::of_query(vec![("by".into(), "a".into()), ("by".into(), "b".into())], PARAMS);
        assert_eq!(twice.unwrap_err().to_string(), "invalid query: [by] is given twice");
    }

    #[test]
    fn bodies_are_of_their_kinds() {
        let json = |text: &str| Values::of_body(&Bytes::copy_from_slice(text.as_bytes()), true, PARAMS);
        let values = json(r#"{"limit":3,"gc":true,"by":"a","ids":"AAA=","with":[{"k":"a","v":"b"}],"order":"asc"}"#).unwrap();
        assert_eq!((values.count("limit"), values.is("gc"), values.text("by")), (Some(3), true, Some("a")));
        assert_eq!(values.bytes("ids"), Some(&Bytes::from_static(&[0, 0])));
        assert_eq!(values.pairs("with"), [("a".into(), "b".into())]);
        for wrong in [
            "",
            "{",
            "[]",
            "null",
            "1",
            r#"{"limit":"3"}"#,
            r#"{"limit":null}"#,
            r#"{"gc":1}"#,
            r#"{"with":{}}"#,
            r#"{"with":[{"k":"a"}]}"#,
            r#"{"with":[{"k":"a","v":1}]}"#,
            r#"{"with":[{"k":"a","v":"b","w":"c"}]}"#,
            r#"{"ids":"x"}"#,
            r#"{"ids":[0]}"#,
            r#"{"form":1}"#,
            r#"{"order":"up"}"#,
            r#"{"from":-1}"#,
        ] {
            assert!(json(wrong).is_err() || wrong.is_empty(), "{wrong}");
        }
        let any = |value: Any| Values::of_body(&value.to_bytes().into(), false, PARAMS);
        let object = |key: &str, value: Any| Any::Object(Object::from_entries(vec![(key.into(), value)]));
        assert_eq!(any(object("ids", Any::Bytes([7].into()))).unwrap().bytes("ids"), Some(&Bytes::from_static(&[7])));
        assert_eq!(any(object("ids", Any::Undefined)).unwrap(), Values::default());
        assert!(any(object("ids", Any::from("AAA="))).is_err(), "base64 is for JSON");
        assert!(any(object("ids", Any::Null)).is_err());
        assert!(any(Any::Null).is_err());
        let mut more = object("gc", Any::Bool(true)).to_bytes();
        more.push(0);
        assert!(Values::of_body(&more.into(), false, PARAMS).is_err());
    }
}
