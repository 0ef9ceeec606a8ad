//! `[limits]`: what clients may send, and how much of the hub one of them may take.

use super::{error::Problem, orgs::org_limits, section::section};

section! {
    /// What clients may send, and how much of the hub one of them may take. Of what is bounded by a rate or by how much is open, 0 is
    /// no bound.
    Limits = "limits" {
        /// Structs (runs of content) in one update.
        max_update_structs: usize = 10_000_000, 1_000..=1_000_000_000;
        /// Depth to which values may be nested in one another.
        max_nesting: usize = 128, 8..=256;
        /// Bytes of an org, a docid or a branch, each.
        max_room_name_bytes: usize = 512, 1..=4_096;
        /// Bytes of one presence message.
        max_awareness_bytes: usize = 1 << 20, 64..=64 << 20;
        /// Bytes of what is being sent over HTTP, all together: documents, views of them, answers about histories, and whatever else
        /// is longer than 64 KiB. At the bound whoever asks for one more is told to come again; what is longer by itself goes out
        /// alone.
        answer_bytes: usize = 512 << 20, 1 << 20..=1 << 40;
        /// Bytes of the bodies of requests over HTTP that are being taken in, all together. At the bound further ones are told to
        /// come again.
        body_bytes: usize = 256 << 20, 1 << 20..=1 << 40;
        /// Bytes of the records of requests over HTTP with an `Idempotency-Key`, about 512 for each, that one node has kept at a time. They
        /// are kept for a day, with Redis in the memory that also holds the edits that are in no version yet. Half of it may come
        /// at once, the other half comes in evenly within a day; beyond it requests with a key are told to come again.
        idempotency_bytes: usize = 256 << 20, 0..=1 << 40;
        /// The same of one user; of who is anonymous, of one address.
        idempotency_bytes_of_user: usize = 64 << 20, 0..=1 << 40;
        /// Bytes of the presence of a room, with 256 for each client. What would be more is ignored.
        room_awareness_bytes: usize = 16 << 20, 1 << 10..=1 << 30;
        /// Bytes of documents, differences and presence that are made for WebSocket connections and held by anybody, beside
        /// `room.snapshot_budget_bytes`. At the bound no further long ones are made before some are gone, and a connection that takes
        /// less than 256 KiB a second of what waits for it, and twice as much every 2 s, is closed with 1013.
        sync_bytes: usize = 256 << 20, 1 << 20..=1 << 40;
        /// Client ids that one connection may speak for, with at most `max_awareness_bytes` of presence together. What is beyond is
        /// ignored.
        max_awareness_clients: usize = 64, 1..=100_000;
        /// Bytes of a document; 0 is no bound. Who would make it larger is closed with 4413, a request is refused with 413; what only
        /// deletes is taken. May be exceeded by what is on its way at that moment, and by a 64th.
        max_document_bytes: usize = 100 << 20, 0..=1 << 40;
        /// WebSocket connections from one address, of IPv6 from one network /64. Behind a proxy that `server.trusted_proxies` does not
        /// name, that is everybody together.
        connections_per_address: usize = 10_000, 0..=1_000_000;
        /// WebSocket connections of one user. Who is anonymous is not told apart, and not counted.
        connections_per_user: usize = 1_000, 0..=1_000_000;
        /// WebSocket connections of one room, on this node.
        connections_per_room: usize = 5_000, 0..=1_000_000;
        /// WebSocket connections of one org, on this node.
        connections_per_org: usize = 0, 0..=1_000_000;
        /// Connections from one address that are no WebSocket, or none yet. Not for proxies that are trusted.
        http_connections_per_address: usize = 2_000, 0..=1_000_000;
        /// Connections that one address opens, of whatever kind. Not for proxies that are trusted.
        http_connections_per_second: usize = 500, 0..=1_000_000;
        /// What was not used of a rate is kept for so many seconds.
        burst_seconds: usize = 10, 1..=3_600;
        /// Messages of one WebSocket connection, pings and presence too. Beyond it the connection is not read for a while; nothing is
        /// lost.
        messages_per_second: usize = 500, 0..=10_000_000;
        /// Bytes of them.
        message_bytes_per_second: usize = 2 << 20, 0..=1 << 40;
        /// Messages of all connections of one user on this node together. Who is anonymous is not told apart, and not counted.
        user_messages_per_second: usize = 1_000, 0..=10_000_000;
        /// Bytes of them.
        user_bytes_per_second: usize = 4 << 20, 0..=1 << 40;
        /// Messages of all WebSocket connections from one address together, of IPv6 from one network /64. Behind a proxy that
        /// `server.trusted_proxies` does not name, that is everybody.
        address_messages_per_second: usize = 5_000, 0..=10_000_000;
        /// Bytes of them.
        address_bytes_per_second: usize = 8 << 20, 0..=1 << 40;
        /// Messages of all connections of one room on this node together, without presence.
        room_messages_per_second: usize = 5_000, 0..=10_000_000;
        /// Bytes of them.
        room_bytes_per_second: usize = 16 << 20, 0..=1 << 40;
        /// Bytes of WebSocket messages whose end has not come, of all connections together; those of one address hold a quarter, or one
        /// message of `server.max_message_bytes`. Messages of up to 64 KiB are not counted. A connection that would hold more is closed
        /// with 1013; so is one whose message is a minute old and comes more slowly than 16 KiB a second.
        unfinished_bytes: usize = 128 << 20, 1 << 20..=1 << 40;
        /// Presence messages of one WebSocket connection that are passed on. Beyond it the newest waits and takes the place of older
        /// ones.
        awareness_per_second: usize = 50, 0..=1_000_000;
        /// Bytes of them.
        awareness_bytes_per_second: usize = 1 << 20, 0..=1 << 40;
        /// WebSocket connections from one address that are asked for.
        upgrades_per_second: usize = 200, 0..=1_000_000;
        /// Requests over HTTP from one address.
        rest_per_second: usize = 500, 0..=1_000_000;
        /// Requests over HTTP of one user. Who is anonymous is not told apart, and not counted; who says a name where nobody has to show
        /// it is another one than who has shown it.
        rest_per_second_of_user: usize = 200, 0..=1_000_000;
        /// Checks of all sessions of one org that are demanded over HTTP (`recheck-auth`): every node reads them.
        org_rechecks_per_second: usize = 50, 0..=1_000_000;
        /// Bytes of those whom they name.
        org_recheck_bytes_per_second: usize = 256 << 10, 0..=1 << 40;
        /// How often somebody at one address may fail to prove who they are. What the application's back end answers to with something
        /// that says nothing, such as 500, is a quarter of that.
        failed_auth_per_minute: usize = 30, 0..=1_000_000;
        /// Documents that are loaded at once, and streams that are looked at.
        concurrent_loads: usize = 64, 1..=10_000;
        /// How many wait for that, each at most `room.load_timeout_ms`; apart from them, as many for a turn at a long document. Further
        /// ones are closed with 1013.
        waiting_loads: usize = 4_096, 0..=1_000_000;
        /// Histories that are computed with at once: activities, changesets, rollbacks and prunes; and views of documents.
        concurrent_histories: usize = 4, 1..=10_000;
        /// How many wait for that, each at most `room.load_timeout_ms`; apart from them, as many for a turn at a long document. Further
        /// ones are told to come again.
        waiting_histories: usize = 64, 0..=1_000_000;
        /// What differs for single orgs: `acme?connections_per_org=100&max_document_bytes=1000000`, the org as it stands in paths. May
        /// differ: the connections per org, user and room, the rates of connections, users and rooms, and the size of documents.
        orgs: Vec<String> = Vec::new();
    }
    rules: rules
}

fn rules(limits: &Limits, problems: &mut Vec<Problem>) {
    problems.extend(org_limits(limits).into_iter().filter_map(Result::err));
}
