//! What is wrong with bytes that do not decode.

/// Why bytes do not decode, and where: `at` is an offset in bytes into the slice that the [`crate::Reader`] was made of.
///
/// Whoever sent the bytes has to send others; nothing on this side helps. Small and `Copy`: refusing hostile input
/// costs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("the input ends at byte {at}, where a value goes on")]
    Truncated {
        /// Where the bytes were wanted.
        at: usize,
    },
    /// A length or a count announces more than the rest of the input can hold.
    #[error("a length of {announced} at byte {at} passes the end of the input, {remaining} bytes further")]
    TooLong {
        /// Where the content would begin.
        at: usize,
        /// The announced length or count.
        announced: u64,
        /// What is left there, in bytes.
        remaining: usize,
    },
    /// An integer above 2^53-1, or one of more than eight bytes.
    #[error("the integer at byte {at} is above 2^53-1 or longer than 8 bytes")]
    IntegerRange {
        /// Where it begins.
        at: usize,
    },
    /// A string that is no UTF-8.
    #[error("the string at byte {at} is not valid utf-8")]
    Utf8 {
        /// Where its content begins.
        at: usize,
    },
    /// A tag that names no kind of value.
    #[error("tag {tag} at byte {at} names no kind of value")]
    UnknownTag {
        /// Where it stands.
        at: usize,
        /// The tag.
        tag: u64,
    },
    /// Arrays and objects nested deeper than the caller allows.
    #[error("values are nested too deeply at byte {at}")]
    TooDeep {
        /// Where the first value beyond the limit begins.
        at: usize,
    },
    /// A well-formed value that the format does not allow here; `what` says which rule it breaks.
    #[error("{what} at byte {at}")]
    Invalid {
        /// Where it ends or stands.
        at: usize,
        /// The rule, as a sentence without position.
        what: &'static str,
    },
}
