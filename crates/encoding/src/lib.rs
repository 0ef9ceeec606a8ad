//! lib0 primitives, sync and awareness frames: bytes in, values out.
//!
//! Decoders never panic and never allocate by a count that they have read, whatever the bytes.

mod any;
pub mod awareness;
mod error;
mod json;
mod object;
mod reader;
pub mod sync;
mod write;

pub use any::{
    Any, AnyRef, MAX_ANY_DEPTH, read_object_header, skip_any, write_any_bytes, write_any_number, write_any_object_header,
    write_any_string,
};
pub use error::DecodeError;
pub use object::Object;
pub use reader::{MAX_UINT, Reader};
pub use write::{
    var_uint_len, write_bigint64, write_f32, write_f64, write_sign_magnitude, write_var_bytes, write_var_int, write_var_string,
    write_var_uint,
};
