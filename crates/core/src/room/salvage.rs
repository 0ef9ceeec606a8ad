//! What a room holds and the stores have lost, as messages to append again.

use bytes::Bytes;
use yhub_content::{self as content, ContentIds, ContentMap, EMPTY_UPDATE};

use crate::StreamMessage;

/// A computation after a log has lost something: compares what a room holds with what was loaded anew.
#[derive(Clone, Debug)]
pub struct SalvageJob {
    /// What the stores hold.
    pub stored: ContentIds,
    /// The stream messages that the room remembers, in the order in which it heard of them.
    pub recent: Vec<Bytes>,
    /// Whatever else it holds of the document, as updates; those with deleted content first.
    pub parts: Vec<Bytes>,
    /// "Now", in milliseconds since 1970.
    pub now_ms: u64,
}

impl SalvageJob {
    /// How many bytes the computation goes through.
    pub fn size_bytes(&self) -> usize {
        self.recent.iter().chain(&self.parts).map(Bytes::len).sum()
    }
}

/// What a [`SalvageJob`] brings.
#[derive(Clone, Debug)]
pub struct Salvaged {
    /// What is to be appended, in this order.
    pub messages: Vec<Bytes>,
    /// How many of these, from the start, are as they were once written, with their author.
    pub remembered: usize,
    /// How many ids the others hold.
    pub cut_ids: u64,
    /// What the stores hold when that is appended.
    pub holds: ContentIds,
}

/// Finds what is lost. Remembered messages are given back whole, so that the author stays with what he wrote (I-6); of the
/// rest exactly what is missing is cut out, and of that only "when" can be said, as of an import: now.
///
/// What cannot be read is left out: it was shown to nobody.
pub fn salvage(job: &SalvageJob) -> Salvaged {
    let mut holds = job.stored.clone();
    let mut messages = Vec::new();
    for message in &job.recent {
        match StreamMessage::decode(message) {
            Ok(StreamMessage::Update { update, .. }) => {
                let Ok(ids) = content::content_ids(&update) else { continue };
                if !holds.contains_all(&ids) {
                    holds.insert_all(&ids);
                    messages.push(message.clone());
                }
            }
            // Whether the stores have it does not show. To prune twice changes nothing (I-7).
            Ok(StreamMessage::Prune { .. }) => messages.push(message.clone()),
            _ => {}
        }
    }
    let remembered = messages.len();
    let mut cut_ids = 0;
    for part in &job.parts {
        let Ok(ids) = content::content_ids(part) else { continue };
        let missing = ids.difference(&holds);
        if missing.is_empty() {
            continue;
        }
        let Ok(cut) = content::intersect(part, &missing) else { continue };
        if cut == EMPTY_UPDATE {
            continue;
        }
        let contentmap = ContentMap::attribution(&missing, None, job.now_ms, &[]).to_bytes();
        messages.push(StreamMessage::encode_update(&cut, &contentmap).0);
        cut_ids += missing.inserts.id_count() + missing.deletes.id_count();
        holds.insert_all(&missing);
    }
    Salvaged { messages, remembered, cut_ids, holds }
}
