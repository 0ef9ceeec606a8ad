//! Where assets lie that do not lie in their version row. The row then holds a reference (`asset:retrievable:v1`), which
//! says by name who has the asset; under which id, the row's own key says.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use yhub_core::{AssetId, RoomId};

use crate::{Allowance, AssetStoreError, Brought, ScanPage};

/// How [`AssetStore::store`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The asset is there, and whoever asks for it gets it.
    Here,
    /// This store does not take this asset; nothing was done. Another may, or it stays in its row.
    PassedOn,
}

/// What a stored object is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoredName {
    /// An asset of ours.
    Asset(AssetId),
    /// Something else, or an asset whose name is lost: what the store calls it. Not to be deleted without a person looking.
    Other(String),
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Which.
    pub name: StoredName,
    /// How many bytes the asset has.
    pub size_bytes: u64,
    /// When it was stored, in milliseconds since 1970, by the clock of the store.
    pub modified_ms: u64,
}

/// One place for assets. An asset is its any-encoded bytes, as they would lie in the row.
///
/// Every method may be repeated. One that is cancelled did what it was about to do wholly or not at all.
#[async_trait]
pub trait AssetStore: Send + Sync + 'static {
    /// The name that references carry, such as `S3Persistence:v1`. Never changes: rows are found by it for ever.
    fn name(&self) -> &str;

    /// Makes what must be there before anything is stored, and clears away what an interruption left behind.
    async fn init(&self) -> Result<(), AssetStoreError>;

    /// Stores an asset under its id, in place of one that has it. When this returns [`Stored::Here`], it survives whatever
    /// the place survives, and can be read.
    async fn store(&self, id: &AssetId, asset: &Bytes) -> Result<Stored, AssetStoreError>;

    /// Brings an asset that `allowance` allows, and takes its bytes from there; `None` if there is none of that id. How long it is
    /// is learned first: of one that is too long no more is read than that.
    async fn retrieve_within(&self, id: &AssetId, allowance: &Allowance) -> Result<Option<Brought<Bytes>>, AssetStoreError>;

    /// Brings an asset, however long it is.
    async fn retrieve(&self, id: &AssetId) -> Result<Option<Bytes>, AssetStoreError> {
        Ok(match self.retrieve_within(id, &Allowance::unlimited()).await? {
            Some(Brought::Whole(asset)) => Some(asset),
            None => None,
            Some(Brought::TooLong { size_bytes }) => {
                let (at, id) = (self.name().to_owned(), id.clone());
                return Err(AssetStoreError::TooLarge { at, id, size_bytes, bound_bytes: u64::MAX });
            }
        })
    }

    /// Deletes an asset. One that is not there is deleted.
    async fn delete(&self, id: &AssetId) -> Result<(), AssetStoreError>;

    /// Lists what is stored, of one room or of all, at most `max` at a time; from the start without a `cursor`. What is
    /// there throughout a listing is in it.
    async fn list(
        &self,
        of: Option<&RoomId>,
        cursor: Option<&str>,
        max: usize,
    ) -> Result<ScanPage<StoredObject>, AssetStoreError>;

    /// Answers iff the store can be used now.
    async fn check(&self) -> Result<(), AssetStoreError>;
}

/// A choice of rooms by their branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Branches {
    /// Every room.
    All,
    /// Rooms of these branches.
    Only(BTreeSet<String>),
}

impl Branches {
    /// Rooms of the branch `main`, and no other.
    pub fn main() -> Self {
        Self::Only(BTreeSet::from([RoomId::MAIN.to_owned()]))
    }

    /// Is `room` among them?
    pub fn have(&self, room: &RoomId) -> bool {
        match self {
            Self::All => true,
            Self::Only(branches) => branches.contains(room.branch()),
        }
    }
}
