//! `yhub failures`: which rooms cannot be compacted now.

use clap::Args;
use serde_json::{Value, json};
use yhub::Stores;
use yhub_store::RoomFailure;

use super::{
    output::{Listing, Table, utc},
    room_name, stores,
};

/// What `--help` says.
pub(super) const HELP: &str = "\
Lists the rooms whose last compaction failed, with what went wrong. Such a room can be used as before: its edits are in its \
stream. It is tried again after longer and longer pauses, and set aside after `worker.quarantine_after` failures of the same \
kind in a row: see `yhub quarantine --help`. When `worker.breaker_rooms` rooms fail in the same way, none is set aside: then what \
they have in common is at fault, most likely a store or this version of the hub.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    listing: Listing,
}

pub(super) async fn run(Arguments { listing }: Arguments, stores: Stores) -> anyhow::Result<()> {
    let (failures, more) = stores::failures(&stores, listing.limit).await?;
    listing.form.print(
        || json!({ "failures": failures.iter().map(in_json).collect::<Vec<_>>(), "more": more }),
        || {
            let mut table = Table::new(&["ROOM", "CLASS", "IN A ROW", "SINCE", "LAST", "MESSAGE"]);
            for RoomFailure { report, in_a_row, first_ms } in &failures {
                table.row([
                    room_name::written(&report.room),
                    report.class.clone(),
                    in_a_row.to_string(),
                    utc(*first_ms),
                    utc(report.at_ms),
                    report.message.clone(),
                ]);
            }
            let mut text = table.or("no room fails");
            if more {
                text.push_str("there are more; see --limit\n");
            }
            text
        },
    )
}

fn in_json(RoomFailure { report, in_a_row, first_ms }: &RoomFailure) -> Value {
    json!({
        "room": room_name::in_json(&report.room),
        "class": report.class,
        "signature": report.signature,
        "in_a_row": in_a_row,
        "first_ms": first_ms,
        "last_ms": report.at_ms,
        "attempt": report.attempt,
        "from": report.from.to_string(),
        "upto": report.upto.to_string(),
        "message": report.message,
    })
}
