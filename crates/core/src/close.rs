//! Why a session is closed, as its client sees it.

use std::borrow::Cow;

/// A WebSocket close code with its reason.
///
/// 4400–4499 are permanent: the client must not try again as it is. 1011 and 1013 are transient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code.
    pub code: u16,
    /// At most 123 bytes of UTF-8; says nothing about our insides.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// The peer ended the connection itself.
    pub const NORMAL: Self = Self { code: 1000, reason: Cow::Borrowed("") };
    /// Something of ours failed; reconnecting is right.
    pub const INTERNAL: Self = Self { code: 1011, reason: Cow::Borrowed("internal error") };
    /// The client did not take what it was sent.
    pub const TOO_SLOW: Self = Self { code: 1013, reason: Cow::Borrowed("too slow: reconnect to sync again") };
    /// Nothing came from the client for too long.
    pub const SILENT: Self = Self { code: 1013, reason: Cow::Borrowed("no answer to pings") };
    /// The end of a message did not come in time.
    pub const UNFINISHED: Self = Self { code: 1013, reason: Cow::Borrowed("a message took too long") };
    /// What the join or the write needs is not there now.
    pub const TRY_AGAIN: Self = Self { code: 1013, reason: Cow::Borrowed("try again later") };
    /// The hub stops.
    pub const SHUTDOWN: Self = Self { code: 1013, reason: Cow::Borrowed("the hub is shutting down") };
    /// What the client may do could not be found out for too long.
    pub const UNCHECKED: Self = Self { code: 1013, reason: Cow::Borrowed("access could not be checked; try again later") };
    /// Whoever the client speaks for may not be here any more.
    pub const REVOKED: Self = Self { code: 4401, reason: Cow::Borrowed("permission revoked") };
    /// The client may do less than before: it comes back with what it may.
    pub const ACCESS_CHANGED: Self = Self { code: 4401, reason: Cow::Borrowed("access changed: connect again") };
    /// The client's token is over.
    pub const EXPIRED: Self = Self { code: 4401, reason: Cow::Borrowed("token expired: connect again with a new one") };
    /// The document was deleted.
    pub const DELETED: Self = Self { code: 4404, reason: Cow::Borrowed("document deleted") };
    /// A message over the limit.
    pub const TOO_LARGE: Self = Self { code: 4413, reason: Cow::Borrowed("message too large") };

    /// A presence message over the limit.
    pub const PRESENCE_TOO_LARGE: Self = Self { code: 4413, reason: Cow::Borrowed("presence too large") };
    /// The document would be larger than documents may be.
    pub const DOCUMENT_TOO_LARGE: Self = Self { code: 4413, reason: Cow::Borrowed("document too large") };

    /// A message that cannot be read.
    pub fn malformed(what: impl std::fmt::Display) -> Self {
        let mut reason = format!("malformed message: {what}");
        if reason.len() > Self::MAX_REASON_BYTES {
            let mut end = Self::MAX_REASON_BYTES;
            while !reason.is_char_boundary(end) {
                end -= 1;
            }
            reason.truncate(end);
        }
        Self { code: 4400, reason: reason.into() }
    }

    /// What fits into a close frame beside the code.
    pub const MAX_REASON_BYTES: usize = 123;

    /// Must the client not try again as it is?
    pub fn is_permanent(&self) -> bool {
        (4400..4500).contains(&self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_into_a_close_frame() {
        let close = Close::malformed("ä".repeat(200));
        assert!(close.reason.len() <= Close::MAX_REASON_BYTES);
        assert!(close.is_permanent());
        assert!(!Close::TOO_SLOW.is_permanent());
    }
}
