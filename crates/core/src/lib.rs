//! What the hub decides, without I/O.
//!
//! Values come in, effects go out. Time and randomness are arguments. Nothing here knows actix, tokio or an engine.

mod clock;
mod room_id;
mod time;

pub use clock::{ClockError, StreamClock};
pub use room_id::RoomId;
pub use time::{ManualTime, SystemClock, TimeSource};
