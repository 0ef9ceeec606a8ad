//! `yhub tombstones`: which rooms are deleted, and which of them are about to be erased.

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use yhub::{Config, Stores};
use yhub_documents::DueRoom;
use yhub_store::{DeletedRoom, Page, TombstoneFilter, TombstoneState};

use super::{
    output::{Listing, Table, utc},
    room_name,
};

/// What `--help` says.
pub(super) const HELP: &str = "\
Lists the rooms that were deleted. The content of a room that was deleted softly is kept, and the room can be restored, until \
`deletion.retention_ms` is over; that of a room that was deleted for good is erased. A room with a hold on it is not erased: see \
`yhub hold --help`. Looking changes nothing.";

/// Rooms that the store is asked for at a time.
const ROOMS: usize = 200;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only those of this organisation
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    /// Only those whose content was kept for long enough, and will be erased
    #[arg(long, conflicts_with = "pending")]
    due: bool,
    /// Only those that were deleted for good and are not erased yet
    #[arg(long)]
    pending: bool,
    #[command(flatten)]
    listing: Listing,
}

pub(super) async fn run(arguments: Arguments, stores: Stores, config: &Config) -> anyhow::Result<()> {
    let Arguments { org, due, pending, listing } = arguments;
    let state = match (due, pending) {
        (true, _) => {
            let retention_ms = config.deletion.retention_ms.duration().as_millis() as u64;
            anyhow::ensure!(
                retention_ms > 0,
                "`deletion.retention_ms` is 0, so nothing is ever due; set it to see what would be"
            );
            let now_ms = stores.log.now_ms().await?.saturating_sub(retention_ms);
            TombstoneState::KeptSinceBefore(i64::try_from(now_ms).context("the time of the log is out of range")?)
        }
        (false, true) => TombstoneState::PurgePending,
        (false, false) => TombstoneState::Any,
    };
    let (deleted, more) = find(&stores, TombstoneFilter { org: org.as_deref(), state }, listing.limit).await?;
    listing.form.print(
        || json!({ "deleted": deleted.iter().map(in_json).collect::<Vec<_>>(), "more": more }),
        || {
            let mut table = Table::new(&["ROOM", "DELETED", "STATE", "BY", "HOLD"]);
            for DueRoom { deleted: DeletedRoom { room, tombstone }, hold } in &deleted {
                table.row([
                    room_name::written(room),
                    time(tombstone.deleted_at_ms),
                    match (tombstone.hard, tombstone.purged_at_ms) {
                        (_, Some(at_ms)) => format!("erased {}", time(at_ms)),
                        (true, None) => "to be erased".to_owned(),
                        (false, None) => "kept".to_owned(),
                    },
                    tombstone.by.clone().unwrap_or_default(),
                    hold.as_ref().map(|hold| format!("{}: {}", hold.by, hold.reason)).unwrap_or_default(),
                ]);
            }
            let mut text = table.or("no such room is deleted");
            if more {
                text.push_str("there are more; see --limit\n");
            }
            text
        },
    )
}

/// At most `limit` of them with their holds, and whether there are more.
async fn find(stores: &Stores, filter: TombstoneFilter<'_>, limit: usize) -> anyhow::Result<(Vec<DueRoom>, bool)> {
    let mut found: Vec<DueRoom> = Vec::new();
    loop {
        let after = found.last().map(|found| &found.deleted.room);
        let page = stores.deletions.tombstones(filter, Page { after, max: ROOMS }).await?;
        if page.is_empty() {
            return Ok((found, false));
        }
        for deleted in page {
            if found.len() == limit {
                return Ok((found, true));
            }
            let hold = stores.deletions.hold_of(&deleted.room).await?;
            found.push(DueRoom { deleted, hold });
        }
    }
}

/// Times of other programs may lie before 1970.
fn time(ms: i64) -> String {
    u64::try_from(ms).map_or_else(|_| ms.to_string(), utc)
}

fn in_json(DueRoom { deleted: DeletedRoom { room, tombstone }, hold }: &DueRoom) -> Value {
    json!({
        "room": room_name::in_json(room),
        "deleted_at_ms": tombstone.deleted_at_ms,
        "hard": tombstone.hard,
        "purged_at_ms": tombstone.purged_at_ms,
        "by": tombstone.by,
        "hold": hold.as_ref().map(|hold| json!({ "by": hold.by, "reason": hold.reason, "at_ms": hold.at_ms })),
    })
}
