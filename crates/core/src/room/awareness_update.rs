//! Presence as clients and the stream write it: awareness updates, and, on the stream, who speaks for whom.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use yhub_encoding::awareness as wire;

use super::{AwarenessBoard, AwarenessBounds, Heard, Presence};

/// Far above what editors say of themselves; the bytes of a client's message are bounded by the session.
const PRESENCE_LIMITS: wire::AwarenessLimits = wire::AwarenessLimits { max_entries: 100_000, max_state_bytes: 1 << 20 };

/// Presence as an awareness update.
pub(super) fn encode_presence(entries: &[(u64, Presence)]) -> Bytes {
    let entries: Vec<wire::Entry<'_>> = entries
        .iter()
        .map(|(client, p)| wire::Entry { client: *client, clock: p.clock, state: p.state.as_deref().unwrap_or("null") })
        .collect();
    Bytes::from(wire::encode(&entries))
}

/// Who speaks for which client, as the stream is told.
pub(super) fn speakers(entries: &[(u64, Presence)]) -> Vec<(u64, Arc<str>)> {
    entries.iter().filter_map(|(client, presence)| Some((*client, presence.user.clone()?))).collect()
}

/// Presence as the stream says it: an awareness update, and who speaks for which client. `Err` says what is wrong with it.
pub fn heard_presence(update: &[u8], users: &[(u64, Arc<str>)]) -> Result<Vec<(u64, Presence)>, String> {
    let mut entries = decode_presence(update)?;
    if !users.is_empty() {
        let users: HashMap<u64, &Arc<str>> = users.iter().map(|(client, user)| (*client, user)).collect();
        for (client, presence) in &mut entries {
            presence.user = users.get(client).map(|user| (*user).clone());
        }
    }
    Ok(entries)
}

/// Who is there, and who has left, after all that the stream tells of, as one awareness update; `None` if that is nobody.
pub fn presence_of(heard: &[Heard]) -> Option<Bytes> {
    // Of one message each, as a request brought it, or of what a room has taken.
    let mut board = AwarenessBoard::new(AwarenessBounds { clients_per_session: 0, bytes_per_session: 0, bytes: usize::MAX });
    for Heard { at_ms, update, users } in heard {
        if let Ok(entries) = heard_presence(update, users) {
            board.on_stream(entries, *at_ms);
        }
    }
    let all = board.snapshot();
    (!all.is_empty()).then(|| encode_presence(&all))
}

/// Presence from an awareness update, said by nobody in particular. `Err` says what is wrong with it.
pub fn decode_presence(update: &[u8]) -> Result<Vec<(u64, Presence)>, String> {
    let entries = wire::decode(update, PRESENCE_LIMITS).map_err(|error| error.to_string())?;
    let presence = entries.into_iter().map(|entry| {
        let state = (!entry.is_null()).then(|| entry.state.into());
        (entry.client, Presence { clock: entry.clock, state, user: None })
    });
    Ok(presence.collect())
}
