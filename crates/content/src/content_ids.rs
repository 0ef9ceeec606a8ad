//! Which content an update, a row or a document holds: what it inserts and what it deletes.

use yhub_encoding::{DecodeError, Reader};

use crate::{Content, IdSet};

/// The ids of content that was inserted and of content that was deleted.
///
/// Layout: both sets one after the other, as [`IdSet::encode`] writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentIds {
    /// Every id that is there, deleted or not.
    pub inserts: IdSet,
    /// The ids that were deleted.
    pub deletes: IdSet,
}

impl ContentIds {
    /// No ids.
    pub const fn new() -> Self {
        Self { inserts: IdSet::new(), deletes: IdSet::new() }
    }

    /// Is there nothing?
    pub fn is_empty(&self) -> bool {
        self.inserts.is_empty() && self.deletes.is_empty()
    }

    /// What they take in memory, about, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.inserts.size_bytes() + self.deletes.size_bytes()
    }

    /// Is everything that `other` holds here too?
    pub fn contains_all(&self, other: &Self) -> bool {
        self.inserts.contains_all(&other.inserts) && self.deletes.contains_all(&other.deletes)
    }

    /// Adds what `other` holds.
    pub fn insert_all(&mut self, other: &Self) {
        self.inserts.insert_all(&other.inserts);
        self.deletes.insert_all(&other.deletes);
    }

    /// What any of `all` holds.
    pub fn union<'a>(all: impl IntoIterator<Item = &'a Self, IntoIter: Clone>) -> Self {
        let all = all.into_iter();
        Self { inserts: IdSet::union(all.clone().map(|ids| &ids.inserts)), deletes: IdSet::union(all.map(|ids| &ids.deletes)) }
    }

    /// What it holds and `other` does not.
    pub fn difference<B: Content>(&self, other: &B) -> Self {
        Self { inserts: self.inserts.difference(other.inserts()), deletes: self.deletes.difference(other.deletes()) }
    }

    /// What both hold.
    pub fn intersection<B: Content>(&self, other: &B) -> Self {
        Self { inserts: self.inserts.intersection(other.inserts()), deletes: self.deletes.intersection(other.deletes()) }
    }

    /// Appends inserts, then deletes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.inserts.encode(out);
        self.deletes.encode(out);
    }

    /// What [`ContentIds::encode`] appends.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads inserts, then deletes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { inserts: IdSet::decode(reader)?, deletes: IdSet::decode(reader)? })
    }

    /// Reads the content ids that `bytes` begin with; what follows them is ignored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes))
    }
}
