//! The names under which a room's things lie in Redis, and the texts of the same alphabet.
//!
//! Two percent-encodings of the UTF-8 of a part are in use: that of `encodeURIComponent`, for asset ids, and a stricter
//! one for keys, which leaves no character that a key pattern gives a meaning to.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::RoomId;

/// What a key part keeps beside letters and digits is `- _ . ~`.
const KEY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// `encodeURIComponent` keeps more.
const URI_COMPONENT: AsciiSet = KEY.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');

/// Percent-encodes as `encodeURIComponent` does: all but `A–Z a–z 0–9 - _ . ~ ! * ' ( )`.
pub fn encode_uri_component(raw: &str) -> Cow<'_, str> {
    utf8_percent_encode(raw, &URI_COMPONENT).into()
}

/// Percent-encodes for a key: all but `A–Z a–z 0–9 - _ . ~`.
pub fn encode_key_part(raw: &str) -> Cow<'_, str> {
    utf8_percent_encode(raw, &KEY).into()
}

/// Undoes either encoding. `None` if a `%` is not followed by two hexadecimal digits or the bytes are not UTF-8.
pub fn decode_component(encoded: &str) -> Option<Cow<'_, str>> {
    let mut escapes = encoded.split('%');
    // What stands before the first `%` is no escape.
    escapes.next();
    let well_formed = |rest: &str| matches!(rest.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    if !escapes.all(well_formed) {
        return None;
    }
    percent_decode_str(encoded).decode_utf8().ok()
}

/// The custom attributions of a query parameter, `k:v,k:w`, in their order; a part without colon has an empty value.
/// Nothing is unescaped: that is the query's affair. No parameter and an empty one give none.
pub fn parse_custom_attributions(parameter: Option<&str>) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (key, value) = part.split_once(':').unwrap_or((part, ""));
        (key.to_owned(), value.to_owned())
    };
    parameter.filter(|text| !text.is_empty()).map(|text| text.split(',').map(pair).collect()).unwrap_or_default()
}

/// Milliseconds since 1970 of what Redis answers to TIME: what "now" is for everything stored.
pub const fn redis_time_ms(seconds: u64, microseconds: u32) -> u64 {
    seconds.saturating_mul(1000).saturating_add(microseconds as u64 / 1000)
}

/// The keys of one hub: all begin with its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpace {
    prefix: String,
}

impl KeySpace {
    /// The prefix of a hub that was not given another.
    pub const DEFAULT_PREFIX: &str = "yhub";

    /// Keys that begin with `prefix`, which may hold colons.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The stream of a room.
    pub fn stream(&self, room: &RoomId) -> String {
        self.of_room("room", room)
    }

    /// Matches the streams of all rooms.
    pub fn stream_pattern(&self) -> String {
        format!("{}:room:*", self.glob_prefix())
    }

    /// The room whose stream `key` is; `None` if it is no stream of this hub.
    pub fn room_of_stream(&self, key: &str) -> Option<RoomId> {
        // The parts of a room hold no colon, so these are the last three.
        let mut parts = key.rsplitn(4, ':');
        let (branch, docid, org) = (parts.next()?, parts.next()?, parts.next()?);
        let prefix = parts.next()?.strip_suffix(":room")?;
        if prefix != self.prefix {
            return None;
        }
        Some(RoomId::new(&decode_component(org)?, &decode_component(docid)?, &decode_component(branch)?))
    }

    /// The stream into which a room's stream is moved to be set aside; `qid` is a UUID.
    pub fn quarantine(&self, room: &RoomId, qid: &str) -> String {
        format!("{}:{qid}", self.of_room("quarantine_room", room))
    }

    /// Matches everything of a room that was set aside.
    pub fn quarantine_pattern(&self, room: &RoomId) -> String {
        format!("{}:*", self.of_room_with(&self.glob_prefix(), "quarantine_room", room))
    }

    /// Matches everything that was set aside.
    pub fn all_quarantine_pattern(&self) -> String {
        format!("{}:quarantine_room:*", self.glob_prefix())
    }

    /// The queue of rooms to compact, and the name of its consumer group.
    pub fn worker(&self) -> String {
        format!("{}:worker", self.prefix)
    }

    /// The set of the streams that are not compacted.
    pub fn compaction_disabled(&self) -> String {
        format!("{}:compaction_disabled", self.prefix)
    }

    /// What the keys of all cached responses about a room begin with.
    pub fn cache_prefix(&self, room: &RoomId) -> String {
        format!("{}:", self.of_room("cache", room))
    }

    /// Matches the cached responses about a room.
    pub fn cache_pattern(&self, room: &RoomId) -> String {
        format!("{}:*", self.of_room_with(&self.glob_prefix(), "cache", room))
    }

    /// The cached response of `endpoint` with these arguments.
    pub fn cached<'a>(&self, room: &RoomId, endpoint: &str, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let mut key = self.cache_prefix(room);
        key.push_str(&encode_key_part(endpoint));
        for argument in arguments {
            key.push(':');
            key.push_str(&encode_key_part(argument));
        }
        key
    }

    fn of_room(&self, what: &str, room: &RoomId) -> String {
        self.of_room_with(&self.prefix, what, room)
    }

    fn of_room_with(&self, prefix: &str, what: &str, room: &RoomId) -> String {
        let [org, docid, branch] = [room.org(), room.docid(), room.branch()].map(encode_key_part);
        format!("{prefix}:{what}:{org}:{docid}:{branch}")
    }

    /// The prefix for a pattern: what has a meaning in patterns is escaped. The parts of a room hold nothing of the kind.
    fn glob_prefix(&self) -> String {
        let mut escaped = String::with_capacity(self.prefix.len());
        for c in self.prefix.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_of_others_are_not_ours() {
        let keys = KeySpace::new("a:b");
        let room = RoomId::new("o", "d", "main");
        assert_eq!(keys.room_of_stream("a:b:room:o:d:main"), Some(room.clone()));
        for key in ["b:room:o:d:main", "a:b:rooms:o:d:main", "a:b:room:o:d", "a:b:room:o:d:%", "x:a:b:room:o:d:main", ""] {
            assert_eq!(keys.room_of_stream(key), None, "{key}");
        }
        assert_eq!(KeySpace::new("a:b:room:o").room_of_stream(&keys.stream(&room)), None);
        assert_eq!(KeySpace::new("a*").stream_pattern(), "a\\*:room:*");
    }

    #[test]
    fn escapes_must_be_whole() {
        for bad in ["%", "%a", "a%2", "%zz", "%f", "%c3", "%c3%28", "%20%"] {
            assert_eq!(decode_component(bad), None, "{bad}");
        }
        assert_eq!(decode_component("a%20b%C3%bc").as_deref(), Some("a bü"));
    }

    proptest! {
        #[test]
        fn parts_are_read_back(raw: String) {
            for encoded in [encode_uri_component(&raw), encode_key_part(&raw)] {
                let decoded = decode_component(&encoded);
                prop_assert_eq!(decoded.as_deref(), Some(&raw[..]));
            }
            prop_assert!(encode_key_part(&raw).bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~%".contains(&b)));
            let _ = decode_component(&raw);
        }

        #[test]
        fn rooms_are_read_back(prefix: String, org: String, docid: String, branch: String) {
            let keys = KeySpace::new(prefix);
            let room = RoomId::new(&org, &docid, &branch);
            prop_assert_eq!(keys.room_of_stream(&keys.stream(&room)), Some(room));
        }
    }
}
