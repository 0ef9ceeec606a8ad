//! `yhub compaction`: pause, resume or hasten the compaction of one room.

use std::io::{self, Write};

use clap::Subcommand;
use yhub::Stores;

use super::room_name::{self, RoomName};

/// What `--help` says.
pub(super) const HELP: &str = "\
Compaction folds the stream of a room into stored versions, and then trims the stream. Paused, the room can be used as before, \
but its stream grows until compaction is resumed. The pause is kept with the stream, so it outlives every process, and y/hub \
honours it too.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take the room's task off the queue, and enqueue no other
    #[command(after_help = room_name::HELP)]
    Pause {
        /// The room
        room: RoomName,
    },
    /// End the pause; a live room gets its task
    #[command(after_help = room_name::HELP)]
    Resume {
        /// The room
        room: RoomName,
    },
    /// Let the room be compacted at once, whatever its task waits for
    ///
    /// Ends with 1 if the room is not live, so that there is nothing to compact, or is paused.
    #[command(after_help = room_name::HELP)]
    Now {
        /// The room
        room: RoomName,
    },
}

pub(super) async fn run(command: Command, stores: Stores) -> anyhow::Result<()> {
    let admin = &stores.admin;
    let said = match command {
        Command::Pause { room: RoomName(room) } => {
            let changed = admin.disable_compaction(&room).await?;
            format!("compaction of {} {}", room_name::written(&room), if changed { "is paused" } else { "was paused already" })
        }
        Command::Resume { room: RoomName(room) } => {
            let changed = admin.enable_compaction(&room).await?;
            format!("compaction of {} {}", room_name::written(&room), if changed { "goes on" } else { "was not paused" })
        }
        Command::Now { room: RoomName(room) } => {
            let name = room_name::written(&room);
            anyhow::ensure!(
                admin.hasten(&room).await?,
                "there is nothing to hasten: the stream of {name} holds no entries, or its compaction is paused; see `yhub rooms`"
            );
            format!("{name} is the next to be compacted")
        }
    };
    Ok(writeln!(io::stdout().lock(), "{said}")?)
}
