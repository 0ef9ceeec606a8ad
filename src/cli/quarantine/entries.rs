//! The entries of a stream, page by page, and what is wrong with those that cannot be read. Nothing here shows content.

use bytes::Bytes;
use serde_json::{Value, json};
use yhub::Stores;
use yhub_content::{ContentMap, IdSet, Limits, check_update};
use yhub_core::{RoomId, StreamClock, StreamMessage};
use yhub_store::{LogEntry, QuarantineId, ReadLimit};

/// One read brings at most so much.
const PAGE: ReadLimit = ReadLimit { entries: 1_000, size_bytes: 4 << 20 };
/// Characters of a type that is not known: it may have been written by anybody.
const MOST_CHARS: usize = 40;

/// An entry as operators see it.
pub(super) struct Described {
    pub(super) clock: StreamClock,
    /// The type of its message; empty if that cannot be read.
    pub(super) kind: String,
    pub(super) size_bytes: usize,
    /// What is wrong with it.
    pub(super) problem: Option<String>,
}

impl Described {
    pub(super) fn in_json(&self) -> Value {
        json!({
            "clock": self.clock.to_string(), "type": self.kind, "size_bytes": self.size_bytes, "problem": self.problem,
        })
    }
}

/// The entries of a stream that was set aside, oldest first.
pub(super) async fn described(stores: &Stores, room: &RoomId, id: &QuarantineId) -> anyhow::Result<Vec<Described>> {
    let (mut entries, mut after) = (Vec::new(), StreamClock::ZERO);
    loop {
        let page = stores.log.read_quarantined(room, id, after, PAGE).await?;
        let Some(last) = page.entries.last() else { return Ok(entries) };
        after = last.clock;
        entries.extend(page.entries.iter().map(describe));
        if !page.more {
            return Ok(entries);
        }
    }
}

fn describe(entry: &LogEntry) -> Described {
    let size_bytes = entry.message.as_ref().map_or(0, Bytes::len);
    let (kind, problem) = match &entry.message {
        None => ("filler".to_owned(), None),
        Some(message) => match StreamMessage::decode(message) {
            Err(error) => (String::new(), Some(error.to_string())),
            Ok(message) => read(message),
        },
    };
    Described { clock: entry.clock, kind, size_bytes, problem }
}

/// The kind of a message, and what is wrong inside.
fn read(message: StreamMessage) -> (String, Option<String>) {
    let (kind, problem) = match message {
        StreamMessage::Update { update, contentmap } => {
            // Only its form counts: the bounds for clients were checked when it came in.
            let of_update = check_update(&update, &form()).err().map(|error| format!("its update: {error}"));
            let of_map = || ContentMap::from_bytes(&contentmap).err().map(|error| format!("its contentmap: {error}"));
            ("update", of_update.or_else(of_map))
        }
        StreamMessage::Prune { prune } => ("prune", IdSet::from_bytes(&prune).err().map(|error| format!("its ids: {error}"))),
        StreamMessage::Awareness { .. } => ("awareness", None),
        StreamMessage::AuthCheck { .. } => ("auth check", None),
        StreamMessage::Tombstone => ("tombstone", None),
        StreamMessage::Unknown { kind } => {
            let kind: String = kind.chars().take(MOST_CHARS).collect();
            return (format!("unknown: {}", kind.escape_debug()), None);
        }
        _ => ("unknown", None),
    };
    (kind.to_owned(), problem)
}

fn form() -> Limits {
    Limits {
        max_size_bytes: usize::MAX,
        max_clients: usize::MAX,
        max_structs: usize::MAX,
        max_delete_ranges: usize::MAX,
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use yhub_testkit::TextWriter;

    use super::*;

    fn described(message: Option<Bytes>) -> (String, Option<String>) {
        let described = describe(&LogEntry { clock: StreamClock::new(1, 0), message });
        (described.kind, described.problem)
    }

    #[test]
    fn good_entries_have_a_type_and_no_problem() {
        let update = TextWriter::new(7).append("a secret text");
        let (message, _) = StreamMessage::encode_update(&update, &ContentMap::default().to_bytes());
        assert_eq!(described(Some(message)), ("update".into(), None));
        assert_eq!(described(None), ("filler".into(), None));
        assert_eq!(described(Some(StreamMessage::encode_tombstone())), ("tombstone".into(), None));
        assert_eq!(described(Some(StreamMessage::encode_awareness(b"x"))), ("awareness".into(), None));
    }

    #[test]
    fn what_cannot_be_read_is_told_without_what_it_holds() {
        let update = TextWriter::new(7).append("a secret text");
        let (message, _) = StreamMessage::encode_update(&update[..update.len() - 3], &[]);
        let (kind, problem) = described(Some(message));
        assert_eq!(kind, "update");
        let problem = problem.expect("the update is cut off");
        assert!(problem.starts_with("its update: ") && !problem.contains("secret"), "{problem}");
        let (message, _) = StreamMessage::encode_update(&update, &[1, 2, 3]);
        assert!(described(Some(message)).1.expect("the map is nonsense").starts_with("its contentmap: "));
        let (kind, problem) = described(Some(Bytes::from_static(b"a secret text")));
        assert_eq!(kind, "");
        assert!(!problem.expect("it is no message").contains("secret"));
    }
}
