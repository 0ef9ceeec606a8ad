//! Content ids, attribution and the algebra of Yjs updates, straight on bytes.
