//! `yhub quarantine`: streams that were set aside because their rooms cannot be compacted.

mod entries;
mod show;

use std::io::{self, Write};

use clap::Subcommand;
use serde_json::{Value, json};
use yhub::{Config, Stores};
use yhub_core::RoomId;
use yhub_documents::{Documents, QuarantineReason, SetAside};
use yhub_store::{AuditRecord, QuarantineId, QuarantineRecord};

use super::{
    audit,
    output::{Form, Listing, Table, utc},
    room_name::{self, RoomName, written},
    stores::{Quarantined, quarantined},
};

/// What `--help` says.
pub(super) const HELP: &str = "\
A room that cannot be compacted, again and again, is set aside: its stream is renamed, whole, and the room goes on with an empty \
one, which can be compacted. Nothing is lost by it: the edits in what was set aside still belong to the document and are shown \
to everyone. They are only not folded into stored versions, until somebody has seen to the reason, mostly by running a version \
of the hub that can read them, and releases them: then they are appended to the room's stream again.

A stream without a record was set aside by another program, such as y/hub; its edits are not part of the document until it is \
released. A record without a stream says that the stream was released by another program, or is lost.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what is set aside
    #[command(after_help = room_name::HELP)]
    List {
        /// Only of this room
        #[arg(long, value_name = "ROOM")]
        room: Option<RoomName>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show why a stream was set aside, and its entries
    ///
    /// Of each entry its clock, type and size, and what is wrong with it if it cannot be read. Never its content.
    #[command(after_help = room_name::HELP)]
    Show {
        /// The room
        room: RoomName,
        /// The name of the stream, as `list` shows it
        id: String,
        #[command(flatten)]
        form: Form,
    },
    /// Append a stream that was set aside to its room again
    ///
    /// Its entries are appended unchanged and in order, and compaction tries them anew. If the reason still holds the room
    /// will be set aside again. May be repeated if it was interrupted.
    #[command(after_help = room_name::HELP)]
    Release {
        /// The room
        room: RoomName,
        /// The name of the stream, as `list` shows it
        id: String,
    },
    /// Set the stream of a room aside now
    #[command(after_help = room_name::HELP)]
    Add {
        /// The room
        room: RoomName,
        /// Why, for whoever lists it
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

pub(super) async fn run(command: Command, stores: Stores, config: &Config) -> anyhow::Result<()> {
    match command {
        Command::List { room, listing } => list(&stores, room, listing).await,
        Command::Show { room: RoomName(room), id, form } => show::run(&stores, &room, &QuarantineId(id), form).await,
        Command::Release { room: RoomName(room), id } => release(&stores, config, &room, &QuarantineId(id)).await,
        Command::Add { room: RoomName(room), reason } => add(&stores, &stores.documents(config)?, &room, reason).await,
    }
}

async fn list(stores: &Stores, room: Option<RoomName>, listing: Listing) -> anyhow::Result<()> {
    let mut found = quarantined(stores, room.as_ref().map(|room| &room.0)).await?;
    let rest = listing.limit < found.len();
    while found.len() > listing.limit {
        found.pop_last();
    }
    listing.form.print(
        || {
            let all = found.iter().map(|((room, id), quarantined)| in_json(room, id, quarantined));
            json!({ "quarantined": all.collect::<Vec<_>>(), "more": rest })
        },
        || {
            let mut table = Table::new(&["ROOM", "ID", "SINCE", "CLASS", "ENTRIES", "STATE", "REASON"]);
            for ((room, id), quarantined) in &found {
                let record = quarantined.record.as_ref();
                let of_record = |text: fn(&QuarantineRecord) -> String| record.map(text).unwrap_or_default();
                table.row([
                    written(room),
                    id.0.clone(),
                    of_record(|record| utc(record.at_ms)),
                    of_record(|record| record.class.clone()),
                    quarantined.stream.as_ref().map(|stream| stream.entries.to_string()).unwrap_or_default(),
                    state(quarantined).to_owned(),
                    of_record(|record| record.reason.clone()),
                ]);
            }
            let mut text = table.or("nothing is set aside");
            if rest {
                text.push_str("there are more; see --limit\n");
            }
            text
        },
    )
}

/// What is there of a quarantine, in words.
fn state(quarantined: &Quarantined) -> &'static str {
    match (&quarantined.record, &quarantined.stream) {
        (Some(_), Some(_)) => "set aside",
        (None, Some(_)) => "no record",
        (_, None) => "no stream",
    }
}

fn in_json(room: &RoomId, id: &QuarantineId, quarantined: &Quarantined) -> Value {
    let record = quarantined.record.as_ref().map(|record| {
        json!({
            "class": record.class,
            "signature": record.signature,
            "reason": record.reason,
            "from": record.from.to_string(),
            "upto": record.upto.to_string(),
            "at_ms": record.at_ms,
        })
    });
    let entries = quarantined.stream.as_ref().map(|stream| stream.entries);
    json!({ "room": room_name::in_json(room), "id": id.0, "state": state(quarantined), "record": record, "entries": entries })
}

async fn release(stores: &Stores, config: &Config, room: &RoomId, id: &QuarantineId) -> anyhow::Result<()> {
    let name = written(room);
    let Some(found) = quarantined(stores, Some(room)).await?.remove(&(room.clone(), id.clone())) else {
        anyhow::bail!("nothing of {name} is set aside under the name {:?}; see `yhub quarantine list`", id.0);
    };
    let audit = AuditRecord { detail: id.0.clone(), ..audit::record(stores, "quarantine.release", Some(room)).await? };
    let released = stores.documents(config)?.release(room, id, Some(&audit)).await?;
    if found.record.is_none() {
        // Nothing was changed in the document store with which the record could have been written.
        stores.audit.append(&[audit]).await?;
    }
    // What failed before says nothing about the attempts that follow.
    stores.failures.forget_failures(room).await?;
    let said = match released {
        Some(entries) => format!("released {entries} entries to the stream of {name}"),
        None => format!("there was no stream any more; the record of {name} is gone now"),
    };
    Ok(writeln!(io::stdout().lock(), "{said}")?)
}

async fn add(stores: &Stores, documents: &Documents, room: &RoomId, reason: String) -> anyhow::Result<()> {
    let name = written(room);
    let operator = || "operator".to_owned();
    let mut audit = audit::record(stores, "quarantine.add", Some(room)).await?;
    let why = QuarantineReason { class: operator(), signature: operator(), reason: reason.clone(), from: None };
    let said = match documents.quarantine(room, why).await? {
        SetAside::Done { id } => {
            // The stream was moved in the log, which is no part of any transaction of the document store.
            audit.detail = format!("{}: {reason}", id.0);
            stores.audit.append(&[audit]).await?;
            format!("set the stream of {name} aside as {}", id.0)
        }
        SetAside::Nothing => anyhow::bail!("there is nothing to set aside: the stream of {name} holds no entries"),
        SetAside::TooMany { count } => {
            anyhow::bail!("{count} streams of {name} are set aside already, and every load reads them all; release one first")
        }
    };
    Ok(writeln!(io::stdout().lock(), "{said}")?)
}
