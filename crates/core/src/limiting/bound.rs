//! Every bound that a client can reach, how it is answered, and how often that was.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// What who reaches a bound is told, or what happens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A request or an upgrade is refused with this status; 429 and 503 come with `Retry-After`.
    Status(u16),
    /// The session is closed with this code.
    Close(u16),
    /// The session is closed with the code, a request is refused with the status.
    Both {
        /// The code.
        close: u16,
        /// The status.
        status: u16,
    },
    /// Nothing is read from the client for a while; nothing is lost.
    NotRead,
    /// Of what waits only the newest is kept.
    NewestWins,
    /// What is beyond is not taken.
    Ignored,
    /// The connection is cut.
    Cut,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Close(code) => write!(f, "close {code}"),
            Self::Both { close, status } => write!(f, "close {close}; {status}"),
            Self::NotRead => f.write_str("not read until there is room; nothing is lost"),
            Self::NewestWins => f.write_str("waits; of each client the newest is kept"),
            Self::Ignored => f.write_str("what is beyond is ignored"),
            Self::Cut => f.write_str("the connection is cut"),
        }
    }
}

/// Makes [`Bound`] of one list: variant, name, key of the configuration, answer.
macro_rules! bounds {
    ($( $(#[doc = $about:literal])+ $variant:ident = $name:literal, $key:literal, $answer:expr; )+) => {
        /// A bound that a client can reach.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bound {
            $( $(#[doc = $about])+ $variant, )+
        }

        impl Bound {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name among the metrics.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }

            /// The key of the configuration that sets it.
            pub const fn key(self) -> &'static str {
                match self { $( Self::$variant => $key, )+ }
            }

            /// What happens at it.
            pub const fn answer(self) -> Answer {
                match self { $( Self::$variant => $answer, )+ }
            }

            /// What is bounded, for people.
            pub const fn about(self) -> &'static str {
                match self { $( Self::$variant => concat!($($about),+).trim_ascii(), )+ }
            }
        }
    };
}

bounds! {
    /// Open sessions of a node.
    NodeConnections = "node_connections", "server.max_connections", Answer::Status(503);
    /// Open sessions from one address.
    AddressConnections = "address_connections", "limits.connections_per_address", Answer::Status(429);
    /// Open sessions of one org.
    OrgConnections = "org_connections", "limits.connections_per_org", Answer::Status(503);
    /// Open sessions of one user.
    UserConnections = "user_connections", "limits.connections_per_user", Answer::Status(429);
    /// Open sessions of one room.
    RoomConnections = "room_connections", "limits.connections_per_room", Answer::Status(503);
    /// Connections from one address that are no sessions (yet).
    HttpConnections = "http_connections", "limits.http_connections_per_address", Answer::Status(429);
    /// Connections that one address opens, before anything is read from them.
    HttpConnectionRate = "http_connection_rate", "limits.http_connections_per_second", Answer::Status(429);
    /// Time for the head of a request.
    HeadTime = "head_time", "server.head_timeout_ms", Answer::Status(408);
    /// Size of the head of a request.
    HeadSize = "head_size", "server.max_head_bytes", Answer::Status(431);
    /// Time in which a client takes nothing of an answer.
    AnswerTime = "answer_time", "server.write_timeout_ms", Answer::Cut;
    /// Upgrades from one address.
    AddressUpgrades = "address_upgrades", "limits.upgrades_per_second", Answer::Status(429);
    /// Requests from one address.
    AddressRequests = "address_requests", "limits.rest_per_second", Answer::Status(429);
    /// Requests of one user.
    UserRequests = "user_requests", "limits.rest_per_second_of_user", Answer::Status(429);
    /// Checks of all sessions of an org that are demanded over HTTP.
    OrgRechecks = "org_rechecks", "limits.org_rechecks_per_second", Answer::Status(429);
    /// Bytes of those whom they name.
    OrgRecheckBytes = "org_recheck_bytes", "limits.org_recheck_bytes_per_second", Answer::Status(429);
    /// Failed attempts from one address to say who one is.
    FailedAuth = "failed_auth", "limits.failed_auth_per_minute", Answer::Status(429);
    /// Bodies of requests that are being taken in.
    Bodies = "bodies", "limits.body_bytes", Answer::Status(503);
    /// Documents, views and other long answers that are being sent over HTTP.
    Answers = "answers", "limits.answer_bytes", Answer::Status(503);
    /// Records of requests with an `Idempotency-Key`, of one user.
    UserRecords = "user_records", "limits.idempotency_bytes_of_user", Answer::Status(429);
    /// Records of requests with an `Idempotency-Key`, of all users.
    Records = "records", "limits.idempotency_bytes", Answer::Status(503);
    /// Documents that are being loaded, and that wait for it.
    Loads = "loads", "limits.waiting_loads", Answer::Both { close: 1013, status: 503 };
    /// Questions about histories and views of documents that are being computed, and that wait for it.
    Histories = "histories", "limits.waiting_histories", Answer::Status(429);
    /// Computations that run, and that wait for it.
    Computations = "computations", "compute.queue", Answer::Both { close: 1013, status: 503 };
    /// One message.
    MessageSize = "message_size", "server.max_message_bytes", Answer::Both { close: 4413, status: 413 };
    /// Messages whose end has not come.
    Unfinished = "unfinished", "limits.unfinished_bytes", Answer::Close(1013);
    /// One presence message.
    PresenceSize = "presence_size", "limits.max_awareness_bytes", Answer::Both { close: 4413, status: 413 };
    /// Client ids for which a session speaks, and bytes of what it says of them (`limits.max_awareness_bytes`).
    PresenceClients = "presence_clients", "limits.max_awareness_clients", Answer::Ignored;
    /// Presence of a room.
    RoomPresence = "room_presence", "limits.room_awareness_bytes", Answer::Ignored;
    /// One document.
    DocumentSize = "document_size", "limits.max_document_bytes", Answer::Both { close: 4413, status: 413 };
    /// Messages of a session.
    SessionMessages = "session_messages", "limits.messages_per_second", Answer::NotRead;
    /// Bytes of a session's messages.
    SessionBytes = "session_bytes", "limits.message_bytes_per_second", Answer::NotRead;
    /// Messages of all sessions of a user.
    UserMessages = "user_messages", "limits.user_messages_per_second", Answer::NotRead;
    /// Bytes of the messages of all sessions of a user.
    UserBytes = "user_bytes", "limits.user_bytes_per_second", Answer::NotRead;
    /// Messages of all sessions from one address.
    AddressMessages = "address_messages", "limits.address_messages_per_second", Answer::NotRead;
    /// Bytes of the messages of all sessions from one address.
    AddressBytes = "address_bytes", "limits.address_bytes_per_second", Answer::NotRead;
    /// Messages of all sessions of a room.
    RoomMessages = "room_messages", "limits.room_messages_per_second", Answer::NotRead;
    /// Bytes of the messages of all sessions of a room.
    RoomBytes = "room_bytes", "limits.room_bytes_per_second", Answer::NotRead;
    /// Presence of a session, in messages or in bytes.
    Presence = "presence", "limits.awareness_per_second", Answer::NewestWins;
    /// Documents, differences and presence that clients are slow to take.
    SyncAnswers = "sync_answers", "limits.sync_bytes", Answer::Close(1013);
    /// Live frames that wait for a client.
    Outbox = "outbox", "server.outbox_bytes", Answer::Close(1013);
    /// Time in which a client takes nothing of what waits.
    Stall = "stall", "server.stall_timeout_ms", Answer::Close(1013);
}

/// How often each bound was reached since the start.
#[derive(Debug)]
pub struct Tally([AtomicU64; Bound::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Bound::ALL.len()])
    }
}

impl Tally {
    /// `bound` was reached once more.
    pub fn count(&self, bound: Bound) {
        self.0[bound as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often `bound` was reached.
    pub fn of(&self, bound: Bound) -> u64 {
        self.0[bound as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_counted_by_itself_under_a_name_of_its_own() {
        let tally = Tally::default();
        for (at, bound) in Bound::ALL.iter().enumerate() {
            assert_eq!(*bound as usize, at);
            for _ in 0..=at {
                tally.count(*bound);
            }
        }
        for (at, bound) in Bound::ALL.iter().enumerate() {
            assert_eq!(tally.of(*bound), at as u64 + 1, "{}", bound.name());
            assert!(bound.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", bound.name());
            assert_eq!(Bound::ALL.iter().filter(|other| other.name() == bound.name()).count(), 1, "{}", bound.name());
        }
    }
}
