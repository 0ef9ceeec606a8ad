//! How much the guard lets through.

/// Upper limits, each inclusive. The default is far above what editors write, and far below what hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of what is checked.
    pub max_size_bytes: usize,
    /// Clients in an update or in a state vector.
    pub max_clients: usize,
    /// Structs in an update. One takes as little as two bytes, and some hundred in the memory of a client.
    pub max_structs: usize,
    /// Ranges in a delete set or another set of ids.
    pub max_delete_ranges: usize,
    /// How deep values and JSON texts are nested; never more than [`yhub_encoding::MAX_ANY_DEPTH`].
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_size_bytes: 256 << 20,
            max_clients: 1 << 20,
            max_structs: 16 << 20,
            max_delete_ranges: 16 << 20,
            max_depth: 128,
        }
    }
}
