//! Both clients against a server that speaks S3: the suite, each other's objects, and what goes wrong.

mod conformance;
mod faults;
mod keys;
mod options;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use yhub_core::{Asset, AssetId, AssetIdKind, RoomId};
use yhub_store::AssetStore;
use yhub_store_s3::{S3Assets, S3ClientKind, S3Options};
use yhub_testkit::servers::S3;

const BUCKET: &str = "assets";
const CLIENTS: [S3ClientKind; 2] = [S3ClientKind::ObjectStore, S3ClientKind::Rusoto];

async fn server() -> Arc<S3> {
    Arc::new(tokio::task::spawn_blocking(S3::start).await.expect("the server starts"))
}

/// Options for this server, impatient ones.
fn options(client: S3ClientKind, endpoint: &str) -> S3Options {
    S3Options {
        client,
        create_bucket: true,
        first_backoff: Duration::from_millis(5),
        ..S3Options::new(endpoint, BUCKET, S3::ACCESS_KEY, S3::SECRET_KEY.into())
    }
}

async fn open(options: S3Options) -> S3Assets {
    let assets = S3Assets::new(options).expect("the options can be used");
    assets.init().await.expect("the bucket can be made");
    assets
}

async fn connect(client: S3ClientKind, server: &S3) -> S3Assets {
    open(options(client, &server.endpoint())).await
}

fn id(docid: &str) -> AssetId {
    AssetId { kind: AssetIdKind::ContentIds, room: RoomId::new("o", docid, RoomId::MAIN), t: "1-0".into() }
}

fn asset(len: usize) -> Bytes {
    Asset::ContentIds { contentids: (0..len).map(|n| (n % 251) as u8).collect() }.encode()
}
