//! How large a room's document is, as far as that is known without looking into it.
//!
//! Known for certain is what the last load or fold has brought. Updates since then may hold what the document holds, or take less
//! in it than by themselves; so they count only once they are folded, and a fold is asked for when they might matter. A document
//! may therefore exceed its bound: by what is on its way to the stream, and by a 64th of the bound.

use super::Submission;

/// Updates since the last measure that are no more than this part of the bound are not worth another one: near the bound each would
/// go through the whole document.
const SLACK: usize = 64;

/// The size of a room's document.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DocumentSize {
    /// When it was measured last; the larger of the two documents.
    measured_bytes: usize,
    /// Of updates since then.
    since_bytes: usize,
}

impl DocumentSize {
    /// It was loaded or folded.
    pub(super) fn on_measured(&mut self, measured_bytes: usize, since_bytes: usize) {
        (self.measured_bytes, self.since_bytes) = (measured_bytes, since_bytes);
    }

    /// An update came from the stream.
    pub(super) fn on_update(&mut self, size_bytes: usize) {
        self.since_bytes += size_bytes;
    }

    /// Would the document be larger than `max_bytes` (0: no bound) with this? What only deletes is let through: it is how a document
    /// becomes smaller.
    pub(super) fn refuses(&self, submission: &Submission, max_bytes: usize) -> bool {
        max_bytes > 0 && self.measured_bytes + submission.update.len() > max_bytes && !submission.ids.inserts.is_empty()
    }

    /// Might it be larger than `max_bytes` by now, so that it is to be measured?
    pub(super) fn is_in_doubt(&self, max_bytes: usize) -> bool {
        max_bytes > 0 && self.measured_bytes + self.since_bytes > max_bytes && self.since_bytes > max_bytes / SLACK
    }
}
