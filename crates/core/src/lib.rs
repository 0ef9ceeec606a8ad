//! What the hub decides, without I/O.
//!
//! Values come in, effects go out. Time and randomness are arguments. Nothing here knows actix, tokio or an engine.

pub mod access;
pub mod alarms;
mod answer_memory;
mod asset;
mod budget;
mod clock;
mod close;
mod compaction;
mod drain;
mod error_chain;
mod fields;
pub mod invariants;
mod keys;
mod leases;
pub mod limiting;
mod limits;
mod message;
mod notices;
mod pace;
mod poison;
pub mod room;
mod room_id;
mod session;
mod signature;
mod standing;
mod time;

pub use answer_memory::AnswerMemory;
pub use asset::{Asset, AssetError, AssetId, AssetIdError, AssetIdKind};
pub use budget::Budget;
pub use clock::{ClockError, StoredClock, StreamClock};
pub use close::Close;
pub use compaction::{Plan, RoomState};
pub use drain::spread_closes;
pub use error_chain::chain;
pub use keys::{KeySpace, decode_component, encode_key_part, encode_uri_component, parse_custom_attributions, redis_time_ms};
pub use leases::Leases;
pub use limits::{RoomLimits, SessionLimits};
pub use message::{MessageError, StreamMessage, UserMatcher};
pub use notices::{Listed, Lookback, NOTICE_WINDOW, News};
pub use pace::{CHECKS_AT_ONCE, CHECKS_PER_SECOND, CheckPace, LONGEST_CHECK_WAIT};
pub use poison::{BreakerChange, Failed, HubFault, PoisonGuard, PoisonPolicy, Verdict};
pub use room::{
    AuthCheck, AwarenessBounds, CHECKS_REMEMBERED, Effect, FoldJob, Folded, Heard, Loaded, Presence, Recipients, RoomCore,
    SalvageJob, Salvaged, ServerMessage, SessionId, StreamLine, Submission, Variant, salvage,
};
pub use room_id::RoomId;
pub use session::{Author, Due, Intent, MAX_TOKEN_BYTES, SessionCore, prepare_update};
pub use signature::{MAX_SIGNATURE_BYTES, signature};
pub use standing::{AccessPolicy, Change, Checked, Freshness, Lapse, Standing};
pub use time::{ManualTime, SystemClock, TimeSource};
