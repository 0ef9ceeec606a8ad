//! The frames of the y-websocket protocol: one message each.
//!
//! Layout: a `varUint` names the kind; sync messages have a second one and a payload with its length, awareness has a
//! payload with its length. Bytes after a message are ignored.
//!
//! Payloads are borrowed and not looked into here. For big payloads there are functions that write only what stands
//! before the payload, so that the payload itself can be sent as bytes that many connections share.

use crate::{DecodeError, Reader, var_uint_len, write_var_string, write_var_uint};

const SYNC: u8 = 0;
const AWARENESS: u8 = 1;
const AUTH: u8 = 2;
const QUERY_AWARENESS: u8 = 3;

const STEP_1: u8 = 0;
const STEP_2: u8 = 1;
const UPDATE: u8 = 2;

const PERMISSION_DENIED: u8 = 0;
/// Ours, which the usual clients and servers ignore: a token from the client, its acceptance to the client.
const TOKEN: u8 = 1;
/// Ours: a token could not be checked.
const TOKEN_UNCHECKED: u8 = 2;

/// An awareness message without entries: says nothing, keeps a client from believing that the connection is dead.
pub const EMPTY_AWARENESS_FRAME: [u8; 3] = [AWARENESS, 1, 0];

/// A message, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// "This is what I have": a state vector.
    SyncStep1(&'a [u8]),
    /// The answer to step 1: an update, perhaps an empty one.
    SyncStep2(&'a [u8]),
    /// An update.
    Update(&'a [u8]),
    /// A sync message of an unknown second kind.
    UnknownSync(u64),
    /// An awareness update.
    Awareness(&'a [u8]),
    /// What follows the kind of an authentication message; see [`denied_reason`].
    Auth(&'a [u8]),
    /// "Tell me all awareness states that you know."
    QueryAwareness,
    /// A message of an unknown kind.
    Unknown(u64),
}

impl<'a> Message<'a> {
    /// Reads the message of `frame`.
    ///
    /// Kinds that are not known are values, not errors; a frame that ends too early is one.
    pub fn decode(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        let kind = reader.var_uint()?;
        Ok(match u8::try_from(kind) {
            Ok(SYNC) => {
                let sub_kind = reader.var_uint()?;
                match u8::try_from(sub_kind) {
                    Ok(STEP_1) => Self::SyncStep1(reader.var_bytes()?),
                    Ok(STEP_2) => Self::SyncStep2(reader.var_bytes()?),
                    Ok(UPDATE) => Self::Update(reader.var_bytes()?),
                    _ => Self::UnknownSync(sub_kind),
                }
            }
            Ok(AWARENESS) => Self::Awareness(reader.var_bytes()?),
            Ok(AUTH) => Self::Auth(reader.rest()),
            Ok(QUERY_AWARENESS) => Self::QueryAwareness,
            _ => Self::Unknown(kind),
        })
    }
}

/// The reason in the payload of [`Message::Auth`], if it says that permission was denied.
pub fn denied_reason(payload: &[u8]) -> Result<Option<&str>, DecodeError> {
    let mut reader = Reader::new(payload);
    match reader.var_uint()? == u64::from(PERMISSION_DENIED) {
        true => reader.var_string().map(Some),
        false => Ok(None),
    }
}

/// The token in the payload of [`Message::Auth`], if a client sends one for its open connection.
pub fn token_of(payload: &[u8]) -> Result<Option<&str>, DecodeError> {
    let mut reader = Reader::new(payload);
    match reader.var_uint()? == u64::from(TOKEN) {
        true => reader.var_string().map(Some),
        false => Ok(None),
    }
}

/// The frame by which a client shows a new token.
pub fn token(token: &str) -> Vec<u8> {
    let mut out = vec![AUTH, TOKEN];
    write_var_string(&mut out, token);
    out
}

/// The frame that says that the token was taken, and what the client may do now: `r` or `rw`.
pub fn token_taken(access: &str) -> Vec<u8> {
    token(access)
}

/// The frame that says that the token could not be checked now: the client shows it again later.
pub fn token_unchecked() -> Vec<u8> {
    vec![AUTH, TOKEN_UNCHECKED]
}

/// The frame of sync step 1 with a state vector.
pub fn step1(state_vector: &[u8]) -> Vec<u8> {
    frame(&[SYNC, STEP_1], state_vector)
}

/// The frame of sync step 2 with an update.
pub fn step2(update: &[u8]) -> Vec<u8> {
    frame(&[SYNC, STEP_2], update)
}

/// The frame of an update.
pub fn update(update: &[u8]) -> Vec<u8> {
    frame(&[SYNC, UPDATE], update)
}

/// The frame of an awareness update.
pub fn awareness(update: &[u8]) -> Vec<u8> {
    frame(&[AWARENESS], update)
}

/// What stands before an update of `len` bytes in the frame of sync step 2.
pub fn step2_header(len: usize) -> Vec<u8> {
    header(&[SYNC, STEP_2], len, 0)
}

/// What stands before an update of `len` bytes in its frame.
pub fn update_header(len: usize) -> Vec<u8> {
    header(&[SYNC, UPDATE], len, 0)
}

/// What stands before an awareness update of `len` bytes in its frame.
pub fn awareness_header(len: usize) -> Vec<u8> {
    header(&[AWARENESS], len, 0)
}

/// The frame that says that permission was denied.
pub fn permission_denied(reason: &str) -> Vec<u8> {
    let mut out = vec![AUTH, PERMISSION_DENIED];
    write_var_string(&mut out, reason);
    out
}

/// The frame that asks for all awareness states.
pub fn query_awareness() -> Vec<u8> {
    vec![QUERY_AWARENESS]
}

fn header(kind: &[u8], len: usize, capacity_for_payload: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(kind.len() + var_uint_len(len as u64) + capacity_for_payload);
    out.extend_from_slice(kind);
    write_var_uint(&mut out, len as u64);
    out
}

fn frame(kind: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = header(kind, payload.len(), payload.len());
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Encode = fn(&[u8]) -> Vec<u8>;
    type Expected = fn(&[u8]) -> Message<'_>;

    #[test]
    fn a_token_is_read_from_its_frame_alone() {
        let read = |frame: &[u8]| match Message::decode(frame).unwrap() {
            Message::Auth(payload) => token_of(payload).map(|token| token.map(str::to_owned)),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(&token("a.b.c")), Ok(Some("a.b.c".to_owned())));
        assert_eq!(token("ab"), [2, 1, 2, b'a', b'b']);
        assert_eq!(read(&permission_denied("no")), Ok(None));
        assert_eq!(read(&token_unchecked()), Ok(None));
        assert!(read(&[2]).is_err());
        assert!(read(&[2, 1, 5, b'a']).is_err());
    }

    proptest! {
        #[test]
        fn frames_are_read_back_whatever_follows(payload: Vec<u8>, after: Vec<u8>) {
            let kinds: [(Encode, Expected); 4] = [
                (step1, |p| Message::SyncStep1(p)),
                (step2, |p| Message::SyncStep2(p)),
                (update, |p| Message::Update(p)),
                (awareness, |p| Message::Awareness(p)),
            ];
            for (encode, expected) in kinds {
                let mut bytes = encode(&payload);
                let whole = bytes.len();
                bytes.extend_from_slice(&after);
                prop_assert_eq!(Message::decode(&bytes), Ok(expected(&payload)));
                for end in 0..whole {
                    prop_assert!(Message::decode(&bytes[..end]).is_err());
                }
            }
            for (header, encode) in [
                (step2_header(payload.len()), step2 as Encode),
                (update_header(payload.len()), update),
                (awareness_header(payload.len()), awareness),
            ] {
                prop_assert_eq!([&header[..], &payload].concat(), encode(&payload));
            }
        }

        #[test]
        fn random_frames_never_panic(frame: Vec<u8>) {
            if let Ok(Message::Auth(payload)) = Message::decode(&frame) {
                let _ = denied_reason(payload);
            }
        }
    }
}
