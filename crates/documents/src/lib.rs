//! What one does with a room: load and compact, async over the storage traits.
