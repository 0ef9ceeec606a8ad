//! Entries as Redis brings them: in answers, and in pushes.

use bytes::Bytes;
use redis::{FromRedisValue, ParsingError, Value};
use yhub_core::StreamClock;
use yhub_store::LogEntry;

/// An entry of a room's stream: its clock, and the value of the field `m` if there is one.
pub(crate) struct StoredEntry(pub(crate) LogEntry);

impl FromRedisValue for StoredEntry {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let [clock, fields]: [Value; 2] = array(value)?;
        let clock = clock_of(clock)?;
        let Value::Array(fields) = fields else { return Err("an entry without fields".into()) };
        let mut message = None;
        let mut fields = fields.into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            // Whatever else an entry holds is none of ours, and makes it a filler at most.
            if matches!(&name, Value::BulkString(name) if name == b"m")
                && let Value::BulkString(bytes) = value
            {
                message = Some(Bytes::from(bytes));
            }
        }
        Ok(Self(LogEntry { clock, message }))
    }
}

/// A clock in an answer.
pub(crate) struct StoredClock(pub(crate) StreamClock);

impl FromRedisValue for StoredClock {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        clock_of(value).map(Self)
    }
}

fn clock_of(value: Value) -> Result<StreamClock, ParsingError> {
    let text: String = String::from_redis_value(value)?;
    text.parse().map_err(|error: yhub_core::ClockError| ParsingError::from(error.to_string()))
}

fn array<const N: usize>(value: Value) -> Result<[Value; N], ParsingError> {
    let Value::Array(values) = value else { return Err("something else than an array".into()) };
    values.try_into().map_err(|values: Vec<Value>| ParsingError::from(format!("{} values in place of {N}", values.len())))
}

/// New entries of a room, as they are pushed to who follows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// These follow on `prev`.
    Entries {
        /// The last entry before them.
        prev: StreamClock,
        /// At least one.
        entries: Vec<LogEntry>,
    },
    /// There is something to read.
    Read,
}

/// Reads a push. Layout: `1 PREV CLOCK:LENGTH …\n` and then the messages, or `1 ?\n`. What another version pushes is read
/// from the stream.
pub(crate) fn decode_push(payload: Vec<u8>) -> Push {
    parse_push(Bytes::from(payload)).unwrap_or(Push::Read)
}

fn parse_push(payload: Bytes) -> Option<Push> {
    let end = payload.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(&payload[..end]).ok()?;
    let mut words = head.split(' ');
    if words.next()? != "1" {
        return None;
    }
    let prev: StreamClock = words.next()?.parse().ok()?;
    let (mut entries, mut at) = (Vec::new(), end + 1);
    for word in words {
        let (clock, length) = word.split_once(':')?;
        let length: usize = length.parse().ok()?;
        let next = at.checked_add(length).filter(|next| *next <= payload.len())?;
        // A slice: the messages of one push share its memory, as those of one append did.
        entries.push(LogEntry { clock: clock.parse().ok()?, message: Some(payload.slice(at..next)) });
        at = next;
    }
    let is_in_order = entries.windows(2).all(|pair| pair[0].clock < pair[1].clock) && entries.first()?.clock > prev;
    (at == payload.len() && is_in_order).then_some(Push::Entries { prev, entries })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ms: u64, message: &'static str) -> LogEntry {
        LogEntry { clock: StreamClock::new(ms, 0), message: Some(Bytes::from_static(message.as_bytes())) }
    }

    #[test]
    fn pushes_are_read() {
        let push = decode_push(b"1 4-0 5-0:3 6-0:0\nabc".to_vec());
        assert_eq!(push, Push::Entries { prev: StreamClock::new(4, 0), entries: vec![entry(5, "abc"), entry(6, "")] });
    }

    #[test]
    fn whatever_else_comes_is_read_from_the_stream() {
        for bad in [
            "",
            "1 ?\n",
            "1 4-0\n",
            "1 4-0 5-0:3\nab",
            "1 4-0 5-0:3\nabcd",
            "2 4-0 5-0:3\nabc",
            "1 4-0 5-0:99999999999999999999\nabc",
            "1 4-0 5-0:18446744073709551615\nabc",
            "1 5-0 5-0:3\nabc",
            "1 4-0 6-0:1 5-0:2\nabc",
            "1 x 5-0:3\nabc",
            "\u{fffd}\n",
        ] {
            assert_eq!(decode_push(bad.as_bytes().to_vec()), Push::Read, "{bad:?}");
        }
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let mut payload = b"1 4-0 5-0:3 6-0:4\nabcdefg".to_vec();
            let at = random.usize(..payload.len());
            payload[at] = random.u8(..);
            payload.truncate(random.usize(..=payload.len()));
            decode_push(payload);
        }
    }
}
