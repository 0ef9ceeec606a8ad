//! Sending an asset in parts. The object is there when all parts are, as a whole; until then whoever reads sees what was.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use log::warn;

use crate::{
    client::{Client, Failure, Part},
    retry::Patience,
};

/// So many parts are on their way at once.
const AT_ONCE: usize = 4;
/// No service takes more.
const MOST_PARTS: usize = 10_000;
/// A service may forget an upload, or have completed it without our hearing of it; then it is sent once more.
const UPLOADS: usize = 3;

/// Sends `content` in parts of `part_bytes`, or of as many as it takes to need no more than a service allows.
pub(crate) async fn in_parts(
    client: &dyn Client,
    patience: Patience,
    key: &str,
    content: &Bytes,
    part_bytes: usize,
) -> Result<(), Failure> {
    let part_bytes = part_bytes.max(content.len().div_ceil(MOST_PARTS));
    for _ in 1..UPLOADS {
        match once(client, patience, key, content, part_bytes).await {
            Err(Failure::NoUpload) => {}
            done => return done,
        }
    }
    match once(client, patience, key, content, part_bytes).await {
        Err(Failure::NoUpload) => Err(Failure::Transient("the service forgets uploads while they are under way".into())),
        done => done,
    }
}

async fn once(client: &dyn Client, patience: Patience, key: &str, content: &Bytes, part_bytes: usize) -> Result<(), Failure> {
    let upload = patience.ask("beginning an upload", || client.begin_upload(key)).await?;
    let sent = send(client, patience, key, &upload, content, part_bytes).await;
    if sent.is_err() {
        // What is left there costs, and nobody sees it.
        match patience.once().ask("giving an upload up", || client.abort_upload(key, &upload)).await {
            Ok(()) | Err(Failure::NoUpload | Failure::NotFound) => {}
            Err(error) => warn!("S3: parts of {key} stay behind, as upload {upload}, which cannot be given up: {error:?}"),
        }
    }
    sent
}

async fn send(
    client: &dyn Client,
    patience: Patience,
    key: &str,
    upload: &str,
    content: &Bytes,
    part_bytes: usize,
) -> Result<(), Failure> {
    let count = content.len().div_ceil(part_bytes);
    let parts: Vec<Part> = stream::iter(0..count)
        .map(async |part| {
            let piece = content.slice(part * part_bytes..content.len().min((part + 1) * part_bytes));
            patience.ask("sending a part", || client.put_part(key, upload, part, piece.clone())).await
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let names: Vec<String> = parts.into_iter().map(|Part(name)| name).collect();
    let complete = || client.complete_upload(key, upload, names.iter().cloned().map(Part).collect());
    patience.ask("completing an upload", complete).await
}
