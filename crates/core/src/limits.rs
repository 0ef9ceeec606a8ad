//! Bounds that rooms and sessions keep.

use std::time::Duration;

use crate::AwarenessBounds;

/// Bounds of one session. Every one says what happens when it is reached.
#[derive(Clone, Debug)]
pub struct SessionLimits {
    /// A message of more bytes closes the session with 4413.
    pub max_message_bytes: usize,
    /// An awareness message of more bytes closes the session with 4413.
    pub max_awareness_bytes: usize,
    /// Bytes of updates that wait for the stream; at the bound the socket is not read.
    pub inbound_bytes: usize,
    /// Bytes of live frames that wait for the client; at the bound the session is closed with 1013.
    pub outbox_bytes: usize,
    /// Whoever sends no sync step 1 for so long gets the whole document.
    pub first_sync: Duration,
    /// An open link is never silent for longer.
    pub keepalive: Duration,
    /// A client that takes no byte for so long although some wait is closed with 1013.
    pub stall_timeout: Duration,
    /// A client from which nothing came for so long, not even the answer to a ping, is taken for dead.
    pub idle_timeout: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            max_message_bytes: 64 << 20,
            max_awareness_bytes: 1 << 20,
            inbound_bytes: 1 << 20,
            outbox_bytes: 4 << 20,
            first_sync: Duration::from_secs(5),
            keepalive: Duration::from_secs(12),
            stall_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(45),
        }
    }
}

/// Bounds of one room.
#[derive(Clone, Debug)]
pub struct RoomLimits {
    /// A room without sessions leaves memory after so long.
    pub idle: Duration,
    /// Awareness is appended at most once in so long.
    pub awareness_coalesce: Duration,
    /// Bytes that wait for the stream; at the bound no session of the room is read.
    pub pending_bytes: usize,
    /// Presence; what is beyond is ignored.
    pub awareness: AwarenessBounds,
    /// Bytes of a document; 0 is no bound. An update that would make it larger closes its session with 4413.
    pub max_document_bytes: usize,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30),
            awareness_coalesce: Duration::from_millis(20),
            pending_bytes: 16 << 20,
            awareness: AwarenessBounds { clients_per_session: 64, bytes_per_session: 1 << 20, bytes: 16 << 20 },
            max_document_bytes: 0,
        }
    }
}
