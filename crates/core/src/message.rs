//! The messages of a room's stream.
//!
//! Layout: any-encoded objects with a `type`. Writers differ in the order of keys and may add some: reading depends on
//! neither. Payloads are shared with the bytes they came in, which is how one update reaches a thousand sessions as one
//! piece of memory.

use std::sync::Arc;

use bytes::Bytes;
use yhub_encoding::{
    Any, AnyRef, DecodeError, Object, write_any_bytes, write_any_object_header, write_any_string, write_var_string,
};

use crate::fields::Fields;

const UPDATE: &str = "ydoc:update:v1";
const AWARENESS: &str = "awareness:v1";
const PRUNE: &str = "prune:v1";
const AUTH_CHECK: &str = "auth:check:v1";
const TOMBSTONE: &str = "ydoc:tombstone:v1";

/// One message of a room's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamMessage {
    /// A change of the document.
    Update {
        /// The update, V1.
        update: Bytes,
        /// Who made it, and when: an encoded [`yhub_content::ContentMap`].
        contentmap: Bytes,
    },
    /// Who is there.
    Awareness {
        /// An awareness update.
        update: Bytes,
        /// Who speaks for which client, of those who have shown who they are. Written by this hub alone.
        users: Vec<(u64, Arc<str>)>,
    },
    /// Content to be forgotten.
    Prune {
        /// An encoded [`yhub_content::IdSet`].
        prune: Bytes,
    },
    /// Sessions are to be checked again, or cut.
    AuthCheck {
        /// Which: those that one of these matches; `None` for all.
        users: Option<Vec<UserMatcher>>,
        /// Cut them (true), or ask again what they may do.
        force_disconnect: bool,
    },
    /// The document was deleted.
    Tombstone,
    /// Something that this version does not know.
    Unknown {
        /// Its `type`.
        kind: String,
    },
}

/// Why bytes are no message of a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// They are not an any-encoded object.
    #[error("the message does not decode: {0}")]
    Layout(#[from] DecodeError),
    /// A field is missing or holds something else.
    #[error("the message of type {kind:?} lacks {expected} in `{field}`")]
    Field {
        /// Its `type`; empty if that is what is missing.
        kind: &'static str,
        /// The field.
        field: &'static str,
        /// What should be there.
        expected: &'static str,
    },
}

/// Whom an auth check concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserMatcher {
    /// The user of this id.
    User(String),
    /// Everybody whose identity has all these entries, each deeply equal.
    Identity(Object),
}

impl UserMatcher {
    /// Does it match the user `user_id`, of whom the authentication said `identity`?
    pub fn matches(&self, user_id: &str, identity: &Object) -> bool {
        match self {
            Self::User(user) => user == user_id,
            Self::Identity(wanted) => {
                wanted.iter().all(|(key, value)| identity.get(key).is_some_and(|found| value.deep_equals(found)))
            }
        }
    }

    /// A list of them. Layout, which is stored: an array of strings and objects.
    pub fn list_to_any(list: &[Self]) -> Any {
        let any = |matcher: &Self| match matcher {
            Self::User(user) => Any::from(&user[..]),
            Self::Identity(identity) => Any::Object(identity.clone()),
        };
        Any::Array(list.iter().map(any).collect())
    }

    /// Reads what [`Self::list_to_any`] wrote; `None` if it is something else.
    pub fn list_from_any(list: Any) -> Option<Vec<Self>> {
        let Any::Array(items) = list else { return None };
        let matcher = |item| match item {
            Any::String(user) => Some(Self::User(user.into())),
            Any::Object(identity) => Some(Self::Identity(identity)),
            _ => None,
        };
        items.into_iter().map(matcher).collect()
    }
}

impl StreamMessage {
    /// Reads a message; payloads are slices of `input`. What follows the message is ignored.
    pub fn decode(input: &Bytes) -> Result<Self, MessageError> {
        let fields = Fields::read(input, ["type", "update", "contentmap", "prune", "users", "forceDisconnect"])?;
        let lacks = |kind, field, expected| MessageError::Field { kind, field, expected };
        let bytes = |kind, field| fields.bytes(field).ok_or(lacks(kind, field, "bytes"));
        Ok(match fields.text("type").ok_or(lacks("", "type", "a string"))? {
            UPDATE => Self::Update { update: bytes(UPDATE, "update")?, contentmap: bytes(UPDATE, "contentmap")? },
            AWARENESS => Self::Awareness {
                update: bytes(AWARENESS, "update")?,
                users: match fields.value("users") {
                    Some(AnyRef::Object(object)) => speakers(object)?,
                    _ => Vec::new(),
                },
            },
            PRUNE => Self::Prune { prune: bytes(PRUNE, "prune")? },
            AUTH_CHECK => Self::AuthCheck {
                users: match fields.value("users") {
                    Some(AnyRef::Null) => None,
                    Some(AnyRef::Array(list)) => Some(matchers(list)?),
                    _ => return Err(lacks(AUTH_CHECK, "users", "null or a list")),
                },
                force_disconnect: match fields.value("forceDisconnect") {
                    Some(AnyRef::Bool(value)) => value,
                    _ => return Err(lacks(AUTH_CHECK, "forceDisconnect", "a bool")),
                },
            },
            TOMBSTONE => Self::Tombstone,
            kind => Self::Unknown { kind: kind.to_owned() },
        })
    }

    /// The message of an update with its content map, and the update again as a slice of it: so that what is stored and
    /// what is sent to clients is one piece of memory.
    pub fn encode_update(update: &[u8], contentmap: &[u8]) -> (Bytes, Bytes) {
        let mut out = start(UPDATE, 3, update.len() + contentmap.len());
        write_var_string(&mut out, "contentmap");
        write_any_bytes(&mut out, contentmap);
        write_var_string(&mut out, "update");
        write_any_bytes(&mut out, update);
        let message = Bytes::from(out);
        // The update is what was written last.
        let update = message.slice(message.len() - update.len()..);
        (message, update)
    }

    /// The message of an awareness update.
    pub fn encode_awareness(update: &[u8]) -> Bytes {
        Self::encode_awareness_of(update, &[])
    }

    /// The same, with who speaks for which client.
    pub fn encode_awareness_of(update: &[u8], users: &[(u64, Arc<str>)]) -> Bytes {
        let mut out = start(AWARENESS, 2 + usize::from(!users.is_empty()), update.len());
        write_var_string(&mut out, "update");
        write_any_bytes(&mut out, update);
        if !users.is_empty() {
            write_var_string(&mut out, "users");
            write_any_object_header(&mut out, users.len());
            for (client, user) in users {
                write_var_string(&mut out, &client.to_string());
                write_any_string(&mut out, user);
            }
        }
        out.into()
    }

    /// The message that has content forgotten; `prune` is an encoded [`yhub_content::IdSet`].
    pub fn encode_prune(prune: &[u8]) -> Bytes {
        let mut out = start(PRUNE, 2, prune.len());
        write_var_string(&mut out, "prune");
        write_any_bytes(&mut out, prune);
        out.into()
    }

    /// The message that has sessions checked or cut: those that one of `users` matches, or all.
    pub fn encode_auth_check(users: Option<&[UserMatcher]>, force_disconnect: bool) -> Bytes {
        let users = users.map_or(Any::Null, UserMatcher::list_to_any);
        let mut out = start(AUTH_CHECK, 3, 0);
        write_var_string(&mut out, "users");
        users.encode(&mut out);
        write_var_string(&mut out, "forceDisconnect");
        Any::Bool(force_disconnect).encode(&mut out);
        out.into()
    }

    /// The message that the document was deleted.
    pub fn encode_tombstone() -> Bytes {
        start(TOMBSTONE, 1, 0).into()
    }
}

/// The start of a message of `kind` with `keys` keys, `type` included, and room for payloads of `payload_bytes`.
fn start(kind: &str, keys: usize, payload_bytes: usize) -> Vec<u8> {
    /// Tags, keys and lengths of every kind.
    const FRAME_BYTES: usize = 72;
    let mut out = Vec::with_capacity(FRAME_BYTES + payload_bytes);
    write_any_object_header(&mut out, keys);
    write_var_string(&mut out, "type");
    write_any_string(&mut out, kind);
    out
}

/// The users by client of an awareness message. What is none of ours is left out.
fn speakers(object: &[u8]) -> Result<Vec<(u64, Arc<str>)>, DecodeError> {
    let Any::Object(object) = Any::from_bytes(object)? else { return Ok(Vec::new()) };
    let speaker = |(client, user): (&str, &Any)| Some((client.parse().ok()?, user.as_str()?.into()));
    Ok(object.iter().filter_map(speaker).collect())
}

fn matchers(list: &[u8]) -> Result<Vec<UserMatcher>, MessageError> {
    let expected = "a list of strings and objects";
    UserMatcher::list_from_any(Any::from_bytes(list)?).ok_or(MessageError::Field { kind: AUTH_CHECK, field: "users", expected })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn payloads_are_not_copied() {
        let (message, update) = StreamMessage::encode_update(b"an update", b"a map");
        assert!(message.as_ptr_range().contains(&update.as_ptr()));
        let Ok(StreamMessage::Update { update: read, contentmap }) = StreamMessage::decode(&message) else { panic!() };
        assert_eq!((&read[..], read.as_ptr()), (&b"an update"[..], update.as_ptr()));
        assert!(message.as_ptr_range().contains(&contentmap.as_ptr()));
        // Nothing can be borrowed of an empty payload; it is read all the same.
        let (message, update) = StreamMessage::encode_update(b"", b"");
        assert_eq!(StreamMessage::decode(&message), Ok(StreamMessage::Update { update, contentmap: Bytes::new() }));
    }

    #[test]
    fn fields_must_hold_what_they_are_for() {
        let message = |entries: &[(&str, Any)]| {
            Bytes::from(Any::Object(entries.iter().map(|(key, value)| (*key, value.clone())).collect()).to_bytes())
        };
        let kind = ("type", Any::from(AUTH_CHECK));
        let force = ("forceDisconnect", Any::Bool(true));
        for users in [Any::Undefined, Any::from("alice"), Any::Array(vec![Any::Number(1.0)])] {
            assert!(StreamMessage::decode(&message(&[kind.clone(), ("users", users), force.clone()])).is_err());
        }
        assert!(StreamMessage::decode(&message(&[kind.clone(), ("users", Any::Null)])).is_err());
        // No users is not all users.
        assert!(StreamMessage::decode(&message(&[kind.clone(), force.clone()])).is_err());
        assert!(StreamMessage::decode(&message(&[force, ("users", Any::Array(Vec::new())), kind])).is_ok());
        assert!(StreamMessage::decode(&message(&[("type", Any::Null)])).is_err());
        assert!(StreamMessage::decode(&message(&[("type", Any::from(UPDATE)), ("update", Any::from("text"))])).is_err());
        assert!(StreamMessage::decode(&Bytes::from(Any::Null.to_bytes())).is_err());
    }

    #[test]
    fn of_a_repeated_key_the_last_counts() {
        let mut bytes = Vec::new();
        write_any_object_header(&mut bytes, 3);
        for (key, value) in [("update", Any::Null), ("type", Any::from(AWARENESS)), ("update", Any::Bytes([1, 2].into()))] {
            write_var_string(&mut bytes, key);
            value.encode(&mut bytes);
        }
        let update = Bytes::from_static(&[1, 2]);
        assert_eq!(StreamMessage::decode(&bytes.into()), Ok(StreamMessage::Awareness { update, users: Vec::new() }));
    }

    proptest! {
        #[test]
        fn messages_are_read_back(update: Vec<u8>, map: Vec<u8>, users: Option<Vec<String>>, force: bool) {
            let (message, shared) = StreamMessage::encode_update(&update, &map);
            prop_assert_eq!(&shared, &update);
            prop_assert_eq!(
                StreamMessage::decode(&message),
                Ok(StreamMessage::Update { update: update.clone().into(), contentmap: map.clone().into() })
            );
            for end in 0..message.len() {
                prop_assert!(StreamMessage::decode(&message.slice(..end)).is_err());
            }
            let speakers: Vec<(u64, Arc<str>)> =
                users.iter().flatten().enumerate().map(|(n, user)| (n as u64, user.as_str().into())).collect();
            let message = StreamMessage::encode_awareness_of(&update, &speakers);
            let read = StreamMessage::Awareness { update: update.clone().into(), users: speakers };
            prop_assert_eq!(StreamMessage::decode(&message), Ok(read));
            let message = StreamMessage::encode_prune(&update);
            prop_assert_eq!(StreamMessage::decode(&message), Ok(StreamMessage::Prune { prune: update.into() }));
            let users = users.map(|users| users.into_iter().map(UserMatcher::User).collect::<Vec<_>>());
            let message = StreamMessage::encode_auth_check(users.as_deref(), force);
            prop_assert_eq!(StreamMessage::decode(&message), Ok(StreamMessage::AuthCheck { users, force_disconnect: force }));
        }

        #[test]
        fn damaged_messages_never_panic(at: prop::sample::Index, byte: u8) {
            let (message, _) = StreamMessage::encode_update(b"an update", b"a map");
            let mut bytes = message.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = StreamMessage::decode(&bytes.into());
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = StreamMessage::decode(&bytes.into());
        }
    }
}
