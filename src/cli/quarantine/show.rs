//! `yhub quarantine show`: one stream that was set aside, entry by entry.

use std::fmt::Write;

use serde_json::json;
use yhub::Stores;
use yhub_core::RoomId;
use yhub_store::QuarantineId;

use super::{
    entries::{self, Described},
    in_json, quarantined, state, written,
};
use crate::cli::output::{Form, Table, one_line, utc};

pub(super) async fn run(stores: &Stores, room: &RoomId, id: &QuarantineId, form: Form) -> anyhow::Result<()> {
    let mut found = quarantined(stores, Some(room)).await?;
    let Some(quarantined) = found.remove(&(room.clone(), id.clone())) else {
        anyhow::bail!("nothing of {} is set aside under the name {:?}; see `yhub quarantine list`", written(room), id.0);
    };
    let entries = entries::described(stores, room, id).await?;
    form.print(
        || {
            let mut json = in_json(room, id, &quarantined);
            json["entries"] = json!(entries.iter().map(Described::in_json).collect::<Vec<_>>());
            json
        },
        || {
            let mut lines = vec![("room", written(room)), ("id", one_line(&id.0)), ("state", state(&quarantined).to_owned())];
            if let Some(record) = &quarantined.record {
                lines.push(("since", utc(record.at_ms)));
                lines.push(("class", record.class.clone()));
                lines.push(("signature", record.signature.clone()));
                lines.push(("reason", record.reason.clone()));
                lines.push(("range", format!("{} to {}", record.from, record.upto)));
            }
            let unreadable = entries.iter().filter(|entry| entry.problem.is_some()).count();
            lines.push(("entries", format!("{}, of which {unreadable} cannot be read", entries.len())));
            let mut text = String::new();
            for (name, value) in lines {
                writeln!(text, "{name:<10} {}", one_line(&value)).expect("a String takes everything");
            }
            if entries.is_empty() {
                return text;
            }
            let mut table = Table::new(&["CLOCK", "TYPE", "BYTES", "PROBLEM"]);
            for Described { clock, kind, size_bytes, problem } in &entries {
                table.row([clock.to_string(), kind.clone(), size_bytes.to_string(), problem.clone().unwrap_or_default()]);
            }
            text.push('\n');
            text.push_str(&table.text());
            text
        },
    )
}
