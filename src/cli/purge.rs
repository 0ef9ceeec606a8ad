//! `yhub purge`: erases what is left of a room that was deleted for good, and shows the receipt.

use std::io::{self, Write};

use anyhow::Context;
use clap::Args;
use serde_json::Value;
use yhub::{Config, Stores};
use yhub_documents::Purged;

use super::{
    audit,
    room_name::{RoomName, written},
};

/// What `--help` says.
pub(super) const HELP: &str = "\
Erases what is left of a room that was deleted for good, reads everything back as gone, and prints the receipt as JSON: what was \
erased, by names and sizes. A hub does that by itself when a room is deleted, and finishes what was interrupted every \
`deletion.janitor_ms`; this command does it now. Of a room that was erased before it prints the receipt of then.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The room
    room: RoomName,
}

pub(super) async fn run(Arguments { room: RoomName(room) }: Arguments, stores: Stores, config: &Config) -> anyhow::Result<()> {
    let name = written(&room);
    let record = audit::record(&stores, "purge", Some(&room)).await?;
    match stores.documents(config)?.purge(&room, Some("operator"), Some(&record)).await? {
        Purged::Done(receipt) => {
            let receipt: Value = serde_json::from_str(&receipt.json).context("the receipt is no JSON")?;
            Ok(writeln!(io::stdout().lock(), "{receipt:#}")?)
        }
        Purged::Held => anyhow::bail!("a hold is on {name}; see `yhub hold list`"),
        Purged::NotForGood => anyhow::bail!("{name} was not deleted for good, so nothing of it is erased"),
    }
}
