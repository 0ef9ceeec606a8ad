//! What is wrong with bytes that are no update.

use yhub_encoding::DecodeError;

/// Why bytes are no V1 update, and where: `at` is an offset in bytes into the update.
///
/// The bytes stay wrong however often they are tried: whoever sent them has to send others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// An integer, a string or a value is damaged or passes the end.
    #[error("the update is damaged: {0}")]
    Decode(#[from] DecodeError),
    /// A struct names a kind of content that does not exist.
    #[error("content kind {found} of the struct at byte {at} does not exist")]
    UnknownContent {
        /// Where the struct begins.
        at: usize,
        /// The kind.
        found: u8,
    },
    /// A type content names a type that does not exist.
    #[error("type {found} at byte {at} does not exist")]
    UnknownType {
        /// Where the type reference ends.
        at: usize,
        /// The reference.
        found: u64,
    },
    /// A GC or a Skip that covers no id: no writer makes one, and some readers refuse it.
    #[error("the struct at byte {at} is empty")]
    EmptyStruct {
        /// Where the struct begins.
        at: usize,
    },
    /// A clock, or the end of a struct or of a deleted range, above 2^32-1.
    #[error("the clock at byte {at} passes 2^32-1")]
    ClockRange {
        /// Where the clock, the struct or the range begins.
        at: usize,
    },
    /// A struct names itself, or something that its client inserted later, as neighbour or parent. Some readers fail
    /// on it.
    #[error("the struct before byte {at} refers to an id of its own client that does not precede it")]
    ForwardReference {
        /// Where the reference ends.
        at: usize,
    },
    /// A JSON text that `JSON.parse` would refuse: every JavaScript client would fail on it.
    #[error("the text before byte {at} is not json, or is nested too deeply")]
    Json {
        /// Where the text ends.
        at: usize,
    },
    /// Nodes are nested in one another too deeply to be shown.
    #[error("the node at byte {at} lies too deep in others to be shown")]
    NestedTooDeep {
        /// Where its struct begins.
        at: usize,
    },
    /// Integrating takes far more steps than the documents of people do: the update was made for that.
    #[error("integrating the update takes too many steps: too many insertions at one place")]
    TooManySteps,
    /// More entries of a history would be shown than may be.
    #[error("{found} entries would be shown, {max} may be; ask for a shorter time or set a limit")]
    TooManyEntries {
        /// How many entries there are.
        found: usize,
        /// How many may be shown.
        max: usize,
    },
    /// What would be shown of a history takes more than it may.
    #[error("what would be shown takes more than {max_bytes} bytes; ask for a shorter time or set a limit")]
    TooMuchToShow {
        /// The bound.
        max_bytes: usize,
    },
    /// What would be shown of a history nests values in one another more deeply than they can be read.
    #[error("what would be shown nests {depth} arrays and objects in one another, {max} may be; ask without [delta]")]
    TooDeepToShow {
        /// How many there are.
        depth: usize,
        /// How many may be.
        max: usize,
    },
    /// One of several updates is wrong.
    #[error("update {input} of those to merge (counted from 0): {source}")]
    Input {
        /// Its place in the list.
        input: usize,
        /// What is wrong with it.
        source: Box<UpdateError>,
    },
}
