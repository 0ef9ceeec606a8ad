//! What the hub decides, without I/O.
//!
//! Values come in, effects go out. Time and randomness are arguments. Nothing here knows actix, tokio or an engine.

mod asset;
mod clock;
mod fields;
mod keys;
mod message;
mod room_id;
mod time;

pub use asset::{Asset, AssetError, AssetId, AssetIdError, AssetIdKind};
pub use clock::{ClockError, StoredClock, StreamClock};
pub use keys::{KeySpace, decode_component, encode_key_part, encode_uri_component, parse_custom_attributions, redis_time_ms};
pub use message::{MessageError, StreamMessage, UserMatcher};
pub use room_id::RoomId;
pub use time::{ManualTime, SystemClock, TimeSource};
