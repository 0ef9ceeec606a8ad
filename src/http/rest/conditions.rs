//! Conditions of requests: on the clock of the last change of a room, which is what its `ETag` says.

use actix_web::http::header::{self, HeaderMap, HeaderName};
use yhub_core::StreamClock;

use super::answer::JSON_TAG;
use crate::http::{HttpError, error::wants_json};

/// The conditions of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// `If-Match`: do it only if this is still the last change.
    pub(crate) unchanged_since: Option<StreamClock>,
    /// `If-None-Match`: answer only if none of these is still the last change. With the form that the answer at hand has: is it JSON?
    known: Vec<(StreamClock, bool)>,
    /// Is the answer to be JSON?
    json: bool,
}

impl Conditions {
    /// Reads them. Tags that are none of ours match nothing.
    ///
    /// # Errors
    /// If `If-Match` is not one tag of ours: a condition that is not understood must not be taken for none.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, HttpError> {
        let mut conditions = Self { json: wants_json(headers), ..Self::default() };
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if let Some(tag) = text(header::IF_MATCH) {
            let what = || HttpError::BadRequest {
                what: "the header If-Match is not the ETag of an answer of this room; several are not taken".into(),
            };
            // Whatever form it was read in.
            conditions.unchanged_since = Some(clock(tag).ok_or_else(what)?.0);
        }
        let known = headers.get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
        conditions.known = known.flat_map(|tags| tags.split(',')).filter_map(clock).collect();
        Ok(conditions)
    }

    /// Is an answer about a room whose last change was `changed` what the caller has already?
    pub(crate) fn has(&self, changed: StreamClock) -> bool {
        self.known.contains(&(changed, self.json))
    }

    /// Does the caller want to know first whether anything has changed?
    pub(crate) fn asks(&self) -> bool {
        !self.known.is_empty()
    }
}

/// The clock in a tag, and whether it is of an answer in JSON. Caches may have made it a weak one.
fn clock(tag: &str) -> Option<(StreamClock, bool)> {
    let tag = tag.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
    let (clock, json) = tag.strip_suffix(JSON_TAG).map_or((tag, false), |clock| (clock, true));
    Some((clock.parse().ok()?, json))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn of(name: HeaderName, value: &str) -> Result<Conditions, HttpError> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        Conditions::of(&headers)
    }

    #[test]
    fn a_condition_is_one_clock() {
        let clock = StreamClock::new(5, 2);
        assert_eq!(of(header::IF_MATCH, "\"5-2\"").unwrap().unchanged_since, Some(clock));
        assert_eq!(of(header::IF_MATCH, "W/\"5-2\"").unwrap().unchanged_since, Some(clock));
        assert_eq!(of(header::IF_MATCH, "\"5-2/json\"").unwrap().unchanged_since, Some(clock));
        for wrong in ["", "*", "5-2", "\"5-2\", \"6-0\"", "\"other\"", "\"5-2"] {
            assert!(of(header::IF_MATCH, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_known_may_be_several() {
        let conditions = of(header::IF_NONE_MATCH, "\"other\", W/\"5-2\" , \"7-0\"").unwrap();
        assert!(conditions.asks() && conditions.has(StreamClock::new(7, 0)) && conditions.has(StreamClock::new(5, 2)));
        assert!(!conditions.has(StreamClock::new(6, 0)));
        assert!(!of(header::IF_NONE_MATCH, "*").unwrap().asks());
        assert!(!of(header::IF_NONE_MATCH, "\"5-2/json\"").unwrap().has(StreamClock::new(5, 2)), "another form");
    }
}
