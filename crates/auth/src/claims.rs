//! What a token says, once it is known to be genuine.

use std::{collections::HashSet, fmt, time::Duration};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use yhub_core::access::{Grants, MAX_USER_BYTES};
use yhub_encoding::{Any, Object};

use crate::AuthError;

/// The latest time that is one: the year 275760, where JavaScript ends.
const LAST_MS: f64 = 8_640_000_000_000_000.0;

/// The object of a JSON text in which no key stands twice, at any depth: of two values others might see the other one.
pub(crate) fn object(json: &[u8]) -> Option<Object> {
    let text = str::from_utf8(json).ok()?;
    Unique.deserialize(&mut serde_json::Deserializer::from_str(text)).ok()?;
    match Any::from_json(text).ok()? {
        Any::Object(object) => Some(object),
        _ => None,
    }
}

/// Reads a JSON value and keeps nothing of it; an error if a key stands twice.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without a key that stands twice")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Unique)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !keys.insert(key) {
                return Err(A::Error::custom("a key stands twice"));
            }
            map.next_value_seed(Unique)?;
        }
        Ok(())
    }
}

/// What is demanded of when a token was made and until when it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) leeway: Duration,
    pub(crate) max_lifetime: Option<Duration>,
}

impl Times {
    /// Checks `exp`, `nbf` and `iat` at `now_ms`. Returns when the token ends for us, the leeway included: else one that is let in by
    /// the leeway would be sent away at once.
    pub(crate) fn check(self, claims: &Object, now_ms: u64) -> Result<u64, AuthError> {
        let leeway_ms = millis(self.leeway);
        let exp_ms = time_ms(claims, "exp")?.ok_or_else(|| AuthError::refused("it has no `exp`: it would hold for ever"))?;
        let end_ms = exp_ms.saturating_add(leeway_ms);
        if end_ms <= now_ms {
            return Err(AuthError::Expired);
        }
        let iat_ms = time_ms(claims, "iat")?;
        let is_ahead = |time_ms: u64| time_ms > now_ms.saturating_add(leeway_ms);
        if time_ms(claims, "nbf")?.is_some_and(is_ahead) {
            return Err(AuthError::refused("it is not valid yet"));
        }
        if iat_ms.is_some_and(is_ahead) {
            return Err(AuthError::refused("it was made in the future; look at the clocks"));
        }
        if let Some(most) = self.max_lifetime {
            let iat_ms =
                iat_ms.ok_or_else(|| AuthError::refused("it has no `iat`, which is needed to know for how long it holds"))?;
            if exp_ms.saturating_sub(iat_ms) > millis(most) {
                return Err(AuthError::refused("it holds for longer than tokens may"));
            }
        }
        Ok(end_ms)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A claim in seconds since 1970, with or without a fraction, in milliseconds.
fn time_ms(claims: &Object, name: &'static str) -> Result<Option<u64>, AuthError> {
    match claims.get(name) {
        None => Ok(None),
        // Exact enough, and within 53 bits.
        Some(Any::Number(seconds)) if (0.0..=LAST_MS / 1000.0).contains(seconds) => Ok(Some((seconds * 1000.0) as u64)),
        Some(_) => Err(AuthError::refused(format!("its `{name}` is no time in seconds since 1970"))),
    }
}

/// Is one of `wanted` in the claim `name`, a text or a list of texts? If nothing is wanted, everything will do.
pub(crate) fn names_one(claims: &Object, name: &'static str, wanted: &[String]) -> Result<(), AuthError> {
    let fits = |value: &Any| value.as_str().is_some_and(|text| wanted.iter().any(|wanted| wanted == text));
    let found = match claims.get(name) {
        _ if wanted.is_empty() => true,
        // There can be several audiences, and only one who issues.
        Some(Any::Array(list)) => name == "aud" && list.iter().any(fits),
        Some(value) => fits(value),
        None => return Err(AuthError::refused(format!("it has no `{name}`"))),
    };
    if found { Ok(()) } else { Err(AuthError::refused(format!("its `{name}` is another one"))) }
}

/// The user id in the claim of this name, or, if none is named, in `yuserid` or `sub`.
pub(crate) fn user(claims: &Object, name: Option<&str>) -> Result<String, AuthError> {
    let names: &[&str] = match &name {
        Some(name) => std::slice::from_ref(name),
        None => &["yuserid", "sub"],
    };
    let found = names.iter().find_map(|name| claims.get(name).map(|value| (name, value)));
    let (name, value) = found.ok_or_else(|| AuthError::refused(format!("it names no user in {}", in_words(names))))?;
    value
        .as_str()
        .filter(|user| is_user(user))
        .map(str::to_owned)
        .ok_or_else(|| AuthError::refused(format!("its `{name}` is no text of 1 to {MAX_USER_BYTES} bytes")))
}

fn in_words(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

/// Can this be a user id?
pub(crate) fn is_user(text: &str) -> bool {
    (1..=MAX_USER_BYTES).contains(&text.len())
}

/// The grants in the claim of this name, if it is there.
pub(crate) fn grants(claims: &Object, name: &str) -> Result<Option<Grants>, AuthError> {
    let read =
        |value| Grants::from_any(value).map_err(|error| AuthError::refused(format!("its `{name}` cannot be read: {error}")));
    claims.get(name).map(read).transpose()
}
