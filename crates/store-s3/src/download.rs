//! Bringing an asset in ranges: each has the time limit and the attempts of a request of its own, so that how long an asset may be
//! does not depend on how fast the network is. What has arrived is not brought again.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use yhub_store::{Allowance, Brought};

use crate::{
    client::{Client, Failure, Opened, Range},
    retry::Patience,
};

/// So often an object may be replaced while it is brought; then it is another one that is brought, from its beginning.
const OBJECTS: usize = 3;

/// How much may be brought.
pub(crate) struct Bounds<'a> {
    /// Of any object.
    pub(crate) max_bytes: u64,
    /// Of this and others together.
    pub(crate) allowance: &'a Allowance,
    /// So many bytes a range has.
    pub(crate) part_bytes: usize,
}

/// Brings an object. How long it is the first answer says, before its body is read.
pub(crate) async fn in_ranges(
    client: &dyn Client,
    patience: Patience,
    key: &str,
    bounds: &Bounds<'_>,
) -> Result<Brought<Bytes>, Failure> {
    let share = Share { allowance: bounds.allowance, taken: AtomicU64::new(0) };
    for _ in 0..OBJECTS {
        match once(client, patience, key, bounds, &share).await {
            Err(Failure::Changed) => {}
            done => return done,
        }
    }
    Err(Failure::Transient("an object that is replaced again and again while it is read".into()))
}

async fn once(
    client: &dyn Client,
    patience: Patience,
    key: &str,
    bounds: &Bounds<'_>,
    share: &Share<'_>,
) -> Result<Brought<Bytes>, Failure> {
    let part_bytes = bounds.part_bytes.max(1) as u64;
    let range = |from: u64, e_tag| Range { from, upto: from.saturating_add(part_bytes), e_tag };
    let first = || {
        async {
            let opened = match client.get(key, range(0, None)).await {
                // There is no range in nothing.
                Err(Failure::OutOfRange) => return Ok(First::Whole(Bytes::new())),
                opened => opened?,
            };
            let size_bytes = opened.size_bytes;
            if size_bytes > bounds.max_bytes {
                return Err(Failure::TooLarge(size_bytes));
            }
            if !share.suffices_for(size_bytes) {
                return Ok(First::TooLong(size_bytes));
            }
            let e_tag = opened.e_tag.clone();
            let content = body(opened).await?;
            Ok(if content.len() as u64 == size_bytes {
                First::Whole(content)
            } else {
                First::Part { content, size_bytes, e_tag }
            })
        }
        .boxed()
    };
    let (beginning, size_bytes, e_tag) = match patience.ask("bringing an asset", first).await? {
        First::Whole(content) => return Ok(Brought::Whole(content)),
        First::TooLong(size_bytes) => return Ok(Brought::TooLong { size_bytes }),
        First::Part { content, size_bytes, e_tag } => (content, size_bytes, e_tag),
    };
    let mut content = BytesMut::with_capacity(usize::try_from(size_bytes).map_err(|_| Failure::TooLarge(size_bytes))?);
    content.extend_from_slice(&beginning);
    drop(beginning);
    while (content.len() as u64) < size_bytes {
        let from = content.len() as u64;
        let part = || {
            async {
                match client.get(key, range(from, e_tag.as_deref())).await {
                    Ok(opened) if opened.size_bytes == size_bytes && opened.following_bytes <= size_bytes - from => {
                        body(opened).await
                    }
                    Ok(_) | Err(Failure::OutOfRange) => Err(Failure::Changed),
                    Err(failure) => Err(failure),
                }
            }
            .boxed()
        };
        let part = patience.ask("bringing a part of an asset", part).await?;
        if part.is_empty() {
            return Err(Failure::Rejected("a range of an object that has nothing in it".to_owned()));
        }
        content.extend_from_slice(&part);
    }
    Ok(Brought::Whole(content.freeze()))
}

/// What the first answer brings.
enum First {
    Whole(Bytes),
    TooLong(u64),
    Part { content: Bytes, size_bytes: u64, e_tag: Option<String> },
}

/// What one object takes from an allowance: its bytes once, however often it is asked for.
struct Share<'a> {
    allowance: &'a Allowance,
    taken: AtomicU64,
}

impl Share<'_> {
    fn suffices_for(&self, size_bytes: u64) -> bool {
        let missing = size_bytes.saturating_sub(self.taken.load(Ordering::Relaxed));
        let suffices = self.allowance.take(missing);
        if suffices {
            self.taken.fetch_add(missing, Ordering::Relaxed);
        }
        suffices
    }
}

async fn body(opened: Opened) -> Result<Bytes, Failure> {
    let Opened { following_bytes, mut body, .. } = opened;
    let cut = || Failure::Transient(format!("{following_bytes} bytes of an object came in another length").into());
    let mut content = BytesMut::with_capacity(usize::try_from(following_bytes).map_err(|_| Failure::TooLarge(following_bytes))?);
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if (content.len() + piece.len()) as u64 > following_bytes {
            return Err(cut());
        }
        content.extend_from_slice(&piece);
    }
    if content.len() as u64 == following_bytes { Ok(content.freeze()) } else { Err(cut()) }
}
