//! Who wrote and who deleted which content, and when.

use yhub_encoding::{DecodeError, Reader};

use crate::{AttributeName, Attributes, ContentAttribute, ContentIds, IdMap, IdSet, Ids};

/// Attributes of content that was inserted and of content that was deleted.
///
/// Layout: both maps one after the other, as [`IdMap::encode`] writes them; nothing is shared between the two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentMap {
    /// What is said of insertions.
    pub inserts: IdMap,
    /// What is said of deletions.
    pub deletes: IdMap,
}

/// What has two halves, insertions and deletions: [`ContentIds`] or [`ContentMap`].
pub trait Content {
    /// One half.
    type Half: Ids;

    /// The insertions.
    fn inserts(&self) -> &Self::Half;
    /// The deletions.
    fn deletes(&self) -> &Self::Half;
}

impl Content for ContentIds {
    type Half = IdSet;

    fn inserts(&self) -> &IdSet {
        &self.inserts
    }

    fn deletes(&self) -> &IdSet {
        &self.deletes
    }
}

impl Content for ContentMap {
    type Half = IdMap;

    fn inserts(&self) -> &IdMap {
        &self.inserts
    }

    fn deletes(&self) -> &IdMap {
        &self.deletes
    }
}

impl ContentMap {
    /// The empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives all insertions of `ids` one list of attributes and all deletions another.
    pub fn from_ids(ids: &ContentIds, of_inserts: &[ContentAttribute], of_deletes: &[ContentAttribute]) -> Self {
        Self { inserts: IdMap::from_id_set(&ids.inserts, of_inserts), deletes: IdMap::from_id_set(&ids.deletes, of_deletes) }
    }

    /// What is stored with an update of `ids`: who made it (`None`: a writer that is nobody), when, in milliseconds since
    /// 1970, and the custom attributions (key and value) that the client gives.
    ///
    /// Order: `insert` or `delete`, `insertAt` or `deleteAt`, then `insert:{key}` or `delete:{key}` in the order given.
    pub fn attribution(ids: &ContentIds, user: Option<&str>, at_ms: u64, custom: &[(String, String)]) -> Self {
        let of = |set: &IdSet, who: AttributeName, when: AttributeName| {
            // Most updates delete nothing: no attributes need be made for that.
            if set.is_empty() {
                return IdMap::new();
            }
            let mut attributes = Vec::with_capacity(2 + custom.len());
            attributes.extend(user.map(|user| ContentAttribute::new(who.clone(), user)));
            // Exact for as long as milliseconds stay below 2^53.
            attributes.push(ContentAttribute::new(when, at_ms as f64));
            attributes
                .extend(custom.iter().map(|(key, value)| ContentAttribute::new(&format!("{}:{key}", &*who)[..], &value[..])));
            IdMap::from_id_set(set, &attributes)
        };
        Self {
            inserts: of(&ids.inserts, AttributeName::INSERT, AttributeName::INSERT_AT),
            deletes: of(&ids.deletes, AttributeName::DELETE, AttributeName::DELETE_AT),
        }
    }

    /// The content that it speaks of.
    pub fn to_ids(&self) -> ContentIds {
        ContentIds { inserts: self.inserts.to_id_set(), deletes: self.deletes.to_id_set() }
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.inserts.is_empty() && self.deletes.is_empty()
    }

    /// What it takes in memory, about, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.inserts.size_bytes() + self.deletes.size_bytes()
    }

    /// What any of `maps` says. Content of which several speak gets the attributes of all: take from each what is known
    /// already ([`ContentMap::difference`]) where the first is to be right.
    pub fn union<'a>(maps: impl IntoIterator<Item = &'a Self, IntoIter: Clone>) -> Self {
        let maps = maps.into_iter();
        Self { inserts: IdMap::union(maps.clone().map(|map| &map.inserts)), deletes: IdMap::union(maps.map(|map| &map.deletes)) }
    }

    /// What it says of content that is not in `other`.
    pub fn difference<B: Content>(&self, other: &B) -> Self {
        Self { inserts: self.inserts.difference(other.inserts()), deletes: self.deletes.difference(other.deletes()) }
    }

    /// What it says of content that is also in `ids`.
    pub fn restricted_to(&self, ids: &ContentIds) -> Self {
        Self { inserts: self.inserts.restricted_to(&ids.inserts), deletes: self.deletes.restricted_to(&ids.deletes) }
    }

    /// What both say of content that is in both; see [`IdMap::intersection`].
    pub fn intersection(&self, other: &Self) -> Self {
        Self { inserts: self.inserts.intersection(&other.inserts), deletes: self.deletes.intersection(&other.deletes) }
    }

    /// The ranges whose attributes satisfy `of_inserts` or `of_deletes`.
    pub fn filter(&self, of_inserts: impl Fn(Attributes<'_>) -> bool, of_deletes: impl Fn(Attributes<'_>) -> bool) -> Self {
        Self { inserts: self.inserts.filter(of_inserts), deletes: self.deletes.filter(of_deletes) }
    }

    /// Appends inserts, then deletes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.inserts.encode(out);
        self.deletes.encode(out);
    }

    /// What [`ContentMap::encode`] appends.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads inserts, then deletes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { inserts: IdMap::decode(reader)?, deletes: IdMap::decode(reader)? })
    }

    /// Reads the map that `bytes` begin with; what follows it is ignored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes))
    }
}
