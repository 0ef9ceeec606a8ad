//! Assets, the binaries of a version row, and their names.
//!
//! Layout: any-encoded objects with a `type` and one other key. An asset may say that its bytes are elsewhere; then its
//! name is what the plugin that has them is asked for.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use yhub_encoding::{DecodeError, write_any_bytes, write_any_object_header, write_any_string, write_var_string};

use crate::{
    RoomId,
    fields::Fields,
    keys::{decode_component, encode_uri_component},
};

/// One binary of a version row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asset {
    /// A document.
    YDoc {
        /// Its state as one update, V1.
        update: Bytes,
    },
    /// Who wrote and deleted what, and when.
    ContentMap {
        /// An encoded [`yhub_content::ContentMap`].
        contentmap: Bytes,
    },
    /// Which ids the row holds.
    ContentIds {
        /// Encoded [`yhub_content::ContentIds`].
        contentids: Bytes,
    },
    /// The bytes are elsewhere.
    Retrievable {
        /// The plugin that has them under the asset's id.
        plugin: String,
    },
}

const YDOC: &str = "asset:ydoc:v1";
const CONTENT_MAP: &str = "asset:contentmap:v1";
const CONTENT_IDS: &str = "asset:contentids:v1";
const RETRIEVABLE: &str = "asset:retrievable:v1";

/// Why bytes are no asset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssetError {
    /// They are not an any-encoded object.
    #[error("the asset does not decode: {0}")]
    Layout(#[from] DecodeError),
    /// An asset of a type that this version does not know; perhaps a newer one wrote it.
    #[error("the asset has the unknown type {kind:?}")]
    UnknownType {
        /// The type.
        kind: String,
    },
    /// A field is missing or holds something else.
    #[error("the asset of type {kind:?} lacks {expected} in `{field}`")]
    Field {
        /// Its `type`; empty if that is what is missing.
        kind: &'static str,
        /// The field.
        field: &'static str,
        /// What should be there.
        expected: &'static str,
    },
}

impl Asset {
    /// Reads an asset; payloads are slices of `input`.
    pub fn decode(input: &Bytes) -> Result<Self, AssetError> {
        let fields = Fields::read(input, ["type", "update", "contentmap", "contentids", "plugin"])?;
        let lacks = |kind, field, expected| AssetError::Field { kind, field, expected };
        let bytes = |kind, field| fields.bytes(field).ok_or(lacks(kind, field, "bytes"));
        Ok(match fields.text("type").ok_or(lacks("", "type", "a string"))? {
            YDOC => Self::YDoc { update: bytes(YDOC, "update")? },
            CONTENT_MAP => Self::ContentMap { contentmap: bytes(CONTENT_MAP, "contentmap")? },
            CONTENT_IDS => Self::ContentIds { contentids: bytes(CONTENT_IDS, "contentids")? },
            RETRIEVABLE => {
                let plugin = fields.text("plugin").ok_or(lacks(RETRIEVABLE, "plugin", "a string"))?;
                Self::Retrievable { plugin: plugin.to_owned() }
            }
            kind => return Err(AssetError::UnknownType { kind: kind.chars().take(64).collect() }),
        })
    }

    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        /// Tags, keys and lengths of every type.
        const FRAME_BYTES: usize = 64;
        let payload = match self {
            Self::YDoc { update: bytes } | Self::ContentMap { contentmap: bytes } | Self::ContentIds { contentids: bytes } => {
                &bytes[..]
            }
            Self::Retrievable { plugin } => plugin.as_bytes(),
        };
        let mut out = Vec::with_capacity(FRAME_BYTES + payload.len());
        write_any_object_header(&mut out, 2);
        write_var_string(&mut out, "type");
        write_any_string(&mut out, self.type_name());
        let key = match self {
            Self::YDoc { .. } => "update",
            Self::ContentMap { .. } => "contentmap",
            Self::ContentIds { .. } => "contentids",
            Self::Retrievable { plugin } => {
                write_var_string(&mut out, "plugin");
                write_any_string(&mut out, plugin);
                return out.into();
            }
        };
        write_var_string(&mut out, key);
        write_any_bytes(&mut out, payload);
        out.into()
    }

    /// Its type as it is stored, such as `asset:ydoc:v1`.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::YDoc { .. } => YDOC,
            Self::ContentMap { .. } => CONTENT_MAP,
            Self::ContentIds { .. } => CONTENT_IDS,
            Self::Retrievable { .. } => RETRIEVABLE,
        }
    }
}

/// Which asset of a row an [`AssetId`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AssetIdKind {
    /// A document.
    YDoc {
        /// Without deleted content (true) or with it.
        gc: bool,
    },
    /// The content map.
    ContentMap,
    /// The content ids.
    ContentIds,
}

/// The name of an asset.
///
/// As text: `id:ydoc:v1/{org}/{docid}/{branch}/{1 or 0}/{t}`, without the number for the others; the parts
/// percent-encoded as `encodeURIComponent` does. Parts may be empty or `..`: the text is no path in a file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AssetId {
    /// Which asset.
    pub kind: AssetIdKind,
    /// The room of the row.
    pub room: RoomId,
    /// The key of the row as it is stored.
    pub t: String,
}

const YDOC_ID: &str = "id:ydoc:v1";
const CONTENT_MAP_ID: &str = "id:contentmap:v1";
const CONTENT_IDS_ID: &str = "id:contentids:v1";

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, gc) = match self.kind {
            AssetIdKind::YDoc { gc: true } => (YDOC_ID, "1/"),
            AssetIdKind::YDoc { gc: false } => (YDOC_ID, "0/"),
            AssetIdKind::ContentMap => (CONTENT_MAP_ID, ""),
            AssetIdKind::ContentIds => (CONTENT_IDS_ID, ""),
        };
        let [org, docid, branch, t] = [self.room.org(), self.room.docid(), self.room.branch(), &self.t].map(encode_uri_component);
        write!(f, "{kind}/{org}/{docid}/{branch}/{gc}{t}")
    }
}

/// A text that names no asset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no asset id; expected a known type and percent-encoded parts, separated by slashes")]
pub struct AssetIdError(pub String);

impl FromStr for AssetId {
    type Err = AssetIdError;

    fn from_str(text: &str) -> Result<Self, AssetIdError> {
        let wrong = || AssetIdError(text.chars().take(256).collect());
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, [org, docid, branch, t]) = match parts[..] {
            // Whatever is not 1 is the document with deleted content.
            [YDOC_ID, org, docid, branch, gc, t] => (AssetIdKind::YDoc { gc: gc == "1" }, [org, docid, branch, t]),
            [CONTENT_MAP_ID, org, docid, branch, t] => (AssetIdKind::ContentMap, [org, docid, branch, t]),
            [CONTENT_IDS_ID, org, docid, branch, t] => (AssetIdKind::ContentIds, [org, docid, branch, t]),
            _ => return Err(wrong()),
        };
        let part = |part| decode_component(part).ok_or_else(wrong);
        Ok(Self { kind, room: RoomId::new(&part(org)?, &part(docid)?, &part(branch)?), t: part(t)?.into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_name_no_asset() {
        for text in [
            "",
            "id:ydoc:v1",
            "id:ydoc:v1/o/d/b/1",
            "id:ydoc:v1/o/d/b/1/t/more",
            "id:contentmap:v1/o/d/b/1/t",
            "id:ydoc:v2/o/d/b/1/t",
            "id:contentids:v1/o/d/b/%",
            "id:contentids:v1/o/d/%zz/t",
            "id:contentids:v1/%ff/d/b/t",
        ] {
            assert!(text.parse::<AssetId>().is_err(), "{text}");
        }
    }

    #[test]
    fn fields_must_hold_what_they_are_for() {
        // Of the first asset, the type is cut or made another.
        let good = Asset::YDoc { update: Bytes::from_static(b"u") }.encode().to_vec();
        let at = good.windows(4).position(|window| window == b"ydoc").unwrap();
        let mut other = good.clone();
        other[at] = b'x';
        assert!(matches!(Asset::decode(&other.into()), Err(AssetError::UnknownType { kind }) if kind == "asset:xdoc:v1"));
        let at = good.windows(6).position(|window| window == b"update").unwrap();
        let mut other = good.clone();
        other[at] = b'x';
        assert!(matches!(Asset::decode(&other.into()), Err(AssetError::Field { field: "update", .. })));
        assert!(matches!(Asset::decode(&Bytes::from(good).slice(1..)), Err(AssetError::Layout(_))));
    }

    proptest! {
        #[test]
        fn assets_are_read_back(payload: Vec<u8>, plugin: String) {
            let payload = Bytes::from(payload);
            for asset in [
                Asset::YDoc { update: payload.clone() },
                Asset::ContentMap { contentmap: payload.clone() },
                Asset::ContentIds { contentids: payload.clone() },
                Asset::Retrievable { plugin },
            ] {
                let bytes = asset.encode();
                for end in 0..bytes.len() {
                    prop_assert!(Asset::decode(&bytes.slice(..end)).is_err());
                }
                prop_assert_eq!(Asset::decode(&bytes), Ok(asset));
            }
        }

        #[test]
        fn ids_are_read_back(org: String, docid: String, branch: String, t: String, gc: bool) {
            for kind in [AssetIdKind::YDoc { gc }, AssetIdKind::ContentMap, AssetIdKind::ContentIds] {
                let id = AssetId { kind, room: RoomId::new(&org, &docid, &branch), t: t.clone() };
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }

        #[test]
        fn random_input_never_panics(bytes: Vec<u8>, text: String) {
            let _ = Asset::decode(&bytes.into());
            let _ = text.parse::<AssetId>();
        }
    }
}
