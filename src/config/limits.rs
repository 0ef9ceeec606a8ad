//! `[limits]`: what clients may send.

use super::section::section;

section! {
    /// What clients may send. Whoever goes beyond is refused for good, and nobody else notices.
    Limits = "limits" {
        /// Structs (runs of content) in one update.
        max_update_structs: usize = 10_000_000, 1_000..=1_000_000_000;
        /// Depth to which values may be nested in one another.
        max_nesting: usize = 128, 8..=256;
        /// Bytes of an org, a docid or a branch, each.
        max_room_name_bytes: usize = 512, 1..=4_096;
        /// Bytes of one presence message.
        max_awareness_bytes: usize = 1 << 20, 64..=64 << 20;
        /// Bytes of documents that are being sent over HTTP, all together. At the bound whoever asks for one more is told to come
        /// again; a document that is longer by itself goes out alone.
        answer_bytes: usize = 1 << 30, 1 << 20..=1 << 40;
        /// Bytes of the bodies of requests over HTTP that are being taken in, all together. At the bound further ones are told to
        /// come again.
        body_bytes: usize = 1 << 30, 1 << 20..=1 << 40;
        /// Client ids that one connection may speak for. Presence of further ones is ignored.
        max_awareness_clients: usize = 64, 1..=100_000;
    }
}
