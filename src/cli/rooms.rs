//! `yhub rooms`: what lies in the streams.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};
use yhub::Stores;
use yhub_core::StreamClock;
use yhub_store::{LiveRoom, PendingTask};

use super::{
    output::{Listing, Table, span},
    room_name, stores,
};

/// What `--help` says.
pub(super) const HELP: &str = "\
Lists the live rooms: those whose stream holds entries, because somebody edits them or because they were not compacted yet. \
Documents that rest are not listed.

A live room has one task, which waits for its debounce or is worked on; `no task` lasts until the queue is next put right \
(`worker.reconcile_ms`). A first entry that is much older than the debounce says that compaction does not keep up, is paused, or \
fails: see `yhub failures`. SET ASIDE counts the streams of the room that are in quarantine.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only rooms of this org
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

pub(super) async fn run(Arguments { org, listing }: Arguments, stores: Stores) -> anyhow::Result<()> {
    let (rooms, more) =
        stores::live_rooms(&stores, |room| org.as_deref().is_none_or(|org| org == room.org()), listing.limit).await?;
    let mut aside: BTreeMap<_, u64> = BTreeMap::new();
    for (room, _) in stores::quarantined(&stores, None).await?.into_keys() {
        *aside.entry(room).or_default() += 1;
    }
    let aside_of = |live: &LiveRoom| aside.get(&live.room).copied().unwrap_or(0);
    let now_ms = stores.log.now_ms().await?;
    listing.form.print(
        || {
            let rooms: Vec<Value> = rooms.iter().map(|live| in_json(live, aside_of(live), now_ms)).collect();
            json!({ "rooms": rooms, "more": more })
        },
        || {
            let mut table = Table::new(&["ROOM", "ENTRIES", "FIRST", "AGE", "LAST", "AGE", "COMPACTION", "SET ASIDE"]);
            for live in &rooms {
                let age = |clock: StreamClock| span(now_ms.saturating_sub(clock.ms));
                table.row([
                    room_name::written(&live.room),
                    live.entries.to_string(),
                    live.first.to_string(),
                    age(live.first),
                    live.last.to_string(),
                    age(live.last),
                    compaction(live),
                    aside_of(live).to_string(),
                ]);
            }
            let mut text = table.or("no live rooms");
            if more {
                text.push_str("there are more; see --limit\n");
            }
            text
        },
    )
}

/// Where the compaction of a room stands.
fn compaction(live: &LiveRoom) -> String {
    let paused = if live.is_paused { "paused" } else { "" };
    match (live.tasks.as_slice(), live.is_paused) {
        ([], true) => paused.to_owned(),
        ([], false) => "no task".to_owned(),
        ([PendingTask { owner: None, idle_ms, attempt: 0 }], false) => format!("waits for {}", span(*idle_ms)),
        ([PendingTask { owner: None, idle_ms, attempt }], false) => {
            format!("waits for {} after attempt {attempt}", span(*idle_ms))
        }
        ([PendingTask { owner: Some(owner), idle_ms, attempt }], false) => {
            format!("attempt {attempt} by {}, renewed {} ago", owner.chars().take(8).collect::<String>(), span(*idle_ms))
        }
        (tasks, false) => format!("{} tasks", tasks.len()),
        (tasks, true) => format!("paused, {} in the queue", tasks.len()),
    }
}

fn in_json(live: &LiveRoom, aside: u64, now_ms: u64) -> Value {
    let clock = |clock: StreamClock| json!({ "clock": clock.to_string(), "age_ms": now_ms.saturating_sub(clock.ms) });
    let task = |task: &PendingTask| json!({ "owner": task.owner, "attempt": task.attempt, "idle_ms": task.idle_ms });
    json!({
        "room": room_name::in_json(&live.room),
        "entries": live.entries,
        "first": clock(live.first),
        "last": clock(live.last),
        "paused": live.is_paused,
        "tasks": live.tasks.iter().map(task).collect::<Vec<_>>(),
        "set_aside": aside,
    })
}

#[cfg(test)]
mod tests {
    use yhub_core::RoomId;

    use super::*;

    #[test]
    fn the_state_of_compaction_is_told_in_words() {
        let task = |owner: Option<&str>, attempt| PendingTask { owner: owner.map(Into::into), attempt, idle_ms: 3_000 };
        for (is_paused, tasks, words) in [
            (false, vec![], "no task"),
            (true, vec![], "paused"),
            (false, vec![task(None, 0)], "waits for 3 s"),
            (false, vec![task(None, 2)], "waits for 3 s after attempt 2"),
            (false, vec![task(Some("0123456789"), 1)], "attempt 1 by 01234567, renewed 3 s ago"),
            (false, vec![task(None, 0), task(None, 0)], "2 tasks"),
            (true, vec![task(None, 0)], "paused, 1 in the queue"),
        ] {
            let (room, first) = (RoomId::new("a", "b", "c"), StreamClock::new(1, 0));
            assert_eq!(compaction(&LiveRoom { room, entries: 1, first, last: first, is_paused, tasks }), words);
        }
    }
}
