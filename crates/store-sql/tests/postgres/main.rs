//! The document store in PostgreSQL beside what every engine must do: its migrations, its faults, its neighbours.

mod faults;
mod migrating;
mod refusals;
mod rows;
#[path = "../support/mod.rs"]
mod support;
mod tls;

use bytes::Bytes;
use yhub_core::{RoomId, StreamClock};
use yhub_store::{AssetSelection, DocStore, StoreVersion, TaskEpoch};
use yhub_store_sql::{PostgresDocs, PostgresDocsOptions};

fn room() -> RoomId {
    RoomId::new("o", "d", RoomId::MAIN)
}

/// A version of the room, in place of others.
fn version(ms: u64, replaces: &[&str]) -> StoreVersion {
    StoreVersion {
        room: room(),
        clock: StreamClock::new(ms, 0),
        assets: [const { Bytes::from_static(b"x") }; 4],
        is_reference: [false; 4],
        replaces: replaces.iter().map(|t| (*t).to_owned()).collect(),
        epoch: TaskEpoch(1),
    }
}

async fn keys(docs: &PostgresDocs) -> Vec<String> {
    docs.read(&room(), AssetSelection::NONE).await.expect("read").rows.into_iter().map(|row| row.t).collect()
}

async fn connect(options: PostgresDocsOptions) -> PostgresDocs {
    PostgresDocs::connect(options).await.expect("connect")
}
