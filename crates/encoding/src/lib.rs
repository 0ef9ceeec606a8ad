//! lib0 primitives, sync and awareness frames: bytes in, values out.
//!
//! Decoders never panic and never allocate by a count that they have read, whatever the bytes.

mod error;
mod reader;
mod write;

pub use error::DecodeError;
pub use reader::{MAX_UINT, Reader};
pub use write::{
    var_uint_len, write_bigint64, write_f32, write_f64, write_sign_magnitude, write_var_bytes, write_var_int, write_var_string,
    write_var_uint,
};
