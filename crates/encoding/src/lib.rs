//! lib0 primitives, sync and awareness frames: bytes in, values out.
