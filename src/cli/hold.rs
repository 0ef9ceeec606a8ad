//! `yhub hold`: rooms that must not be erased.

use std::io::{self, Write};

use clap::Subcommand;
use serde_json::{Value, json};
use yhub::Stores;
use yhub_store::{Hold, Page};

use super::{
    audit,
    output::{Listing, Table, utc},
    room_name::{self, RoomName, written},
};

/// What `--help` says.
pub(super) const HELP: &str = "\
A room with a hold on it is not erased: it cannot be deleted for good, content of it that is kept is kept for as long as the hold \
is on it, and if it was deleted for good before and is not erased wholly, what is left stays. It can be used as before, and \
deleted with its content kept. A hold stays until it is released.";

/// Rooms that the store is asked for at a time.
const ROOMS: usize = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put a hold on a room; one that is there stays as it is
    #[command(after_help = room_name::HELP)]
    Add {
        /// The room
        room: RoomName,
        /// Who puts it on
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Take the hold off a room
    #[command(after_help = room_name::HELP)]
    Release {
        /// The room
        room: RoomName,
    },
    /// List the rooms with a hold on them
    List {
        #[command(flatten)]
        listing: Listing,
    },
}

pub(super) async fn run(command: Command, stores: Stores) -> anyhow::Result<()> {
    match command {
        Command::Add { room: RoomName(room), by, reason } => {
            let name = written(&room);
            let mut record = audit::record(&stores, "hold", Some(&room)).await?;
            record.detail = format!("by {by}: {reason}");
            let hold = Hold { room: room.clone(), by, reason, at_ms: record.at_ms };
            let is_new = stores.deletions.hold(&hold, Some(&record)).await?;
            say(&format!("a hold {} on {name}", if is_new { "is" } else { "was already, and stays as it was," }))?;
            let stored = stores.docs.read(&room, yhub_store::AssetSelection::NONE).await?;
            if stored.tombstone.is_some_and(|tombstone| tombstone.hard) {
                say(&format!("{name} had been deleted for good before; what was erased by then is gone"))?;
            }
            Ok(())
        }
        Command::Release { room: RoomName(room) } => {
            let name = written(&room);
            let record = audit::record(&stores, "hold.release", Some(&room)).await?;
            let was_held = stores.deletions.release_hold(&room, Some(&record)).await?;
            anyhow::ensure!(was_held, "no hold is on {name}; see `yhub hold list`");
            say(&format!("the hold on {name} is released"))
        }
        Command::List { listing } => list(&stores, listing).await,
    }
}

fn say(what: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{what}")?)
}

async fn list(stores: &Stores, listing: Listing) -> anyhow::Result<()> {
    let mut holds: Vec<Hold> = Vec::new();
    while holds.len() <= listing.limit {
        let page = stores.deletions.holds(Page { after: holds.last().map(|hold| &hold.room), max: ROOMS }).await?;
        if page.is_empty() {
            break;
        }
        holds.extend(page);
    }
    let more = holds.len() > listing.limit;
    holds.truncate(listing.limit);
    listing.form.print(
        || json!({ "holds": holds.iter().map(in_json).collect::<Vec<_>>(), "more": more }),
        || {
            let mut table = Table::new(&["ROOM", "SINCE", "BY", "REASON"]);
            for hold in &holds {
                table.row([written(&hold.room), utc(hold.at_ms), hold.by.clone(), hold.reason.clone()]);
            }
            let mut text = table.or("no room is held");
            if more {
                text.push_str("there are more; see --limit\n");
            }
            text
        },
    )
}

fn in_json(hold: &Hold) -> Value {
    json!({ "room": room_name::in_json(&hold.room), "by": hold.by, "reason": hold.reason, "at_ms": hold.at_ms })
}
