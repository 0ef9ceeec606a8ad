//! Which object is which asset.

use yhub_core::{AssetId, AssetIdKind, RoomId};
use yhub_store::StoredName;

/// No service takes a longer name.
const MOST_KEY_BYTES: usize = 1_024;

/// The names of the objects: a prefix, and the id of the asset.
pub(crate) struct Keys {
    pub(crate) prefix: String,
}

impl Keys {
    /// The name of an asset's object. `None` if there can be no such object: its name would be too long, or a part of it is
    /// `.` or `..`, which many services refuse and which HTTP clients take out of a path.
    pub(crate) fn of(&self, id: &AssetId) -> Option<String> {
        let key = format!("{}{id}", self.prefix);
        let fits = key.len() <= MOST_KEY_BYTES && !key.split('/').any(|part| matches!(part, "." | ".."));
        fits.then_some(key)
    }

    /// What the object of this name is.
    pub(crate) fn named(&self, key: &str) -> StoredName {
        let id = key.strip_prefix(&self.prefix).and_then(|name| name.parse::<AssetId>().ok());
        // There are other ways to write an id, which we would not find under it.
        match id.filter(|id| self.of(id).as_deref() == Some(key)) {
            Some(id) => StoredName::Asset(id),
            None => StoredName::Other(key.to_owned()),
        }
    }

    /// What the names of all assets begin with, of one room or of all: several beginnings, and every asset has one of them.
    pub(crate) fn beginnings(&self, of: Option<&RoomId>) -> Vec<String> {
        let Some(room) = of else { return vec![format!("{}id:", self.prefix)] };
        let kinds =
            [AssetIdKind::YDoc { gc: true }, AssetIdKind::YDoc { gc: false }, AssetIdKind::ContentMap, AssetIdKind::ContentIds];
        // An id ends with its time: without it, it is what all of them begin with.
        let id = |kind| AssetId { kind, room: room.clone(), t: String::new() };
        kinds.map(|kind| format!("{}{}", self.prefix, id(kind))).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(org: &str, t: &str) -> AssetId {
        AssetId { kind: AssetIdKind::YDoc { gc: true }, room: RoomId::new(org, "d", "main"), t: t.into() }
    }

    #[test]
    fn keys_are_the_ids() {
        let keys = Keys { prefix: String::new() };
        assert_eq!(keys.of(&id("a/b c", "1-0")).unwrap(), "id:ydoc:v1/a%2Fb%20c/d/main/1/1-0");
        assert_eq!(keys.of(&id("", "")).unwrap(), "id:ydoc:v1//d/main/1/");
        assert_eq!((keys.of(&id("..", "1-0")), keys.of(&id("a", "."))), (None, None));
        assert!(keys.of(&id("...", "1-0")).is_some());
        assert_eq!(keys.of(&id(&"a".repeat(1_010), "1-0")), None);
    }

    #[test]
    fn a_key_is_an_asset_only_as_we_write_it() {
        let keys = Keys { prefix: "p/".into() };
        let key = keys.of(&id("a b", "1-0")).unwrap();
        assert_eq!(keys.named(&key), StoredName::Asset(id("a b", "1-0")));
        for other in ["p/id:ydoc:v1/a b/d/main/1/1-0", "p/id:ydoc:v1/a%20b/d/main/2/1-0", "id:ydoc:v1/a/d/main/1/1-0", "p/x"] {
            assert_eq!(keys.named(other), StoredName::Other(other.into()), "{other}");
        }
    }

    #[test]
    fn every_asset_of_a_room_has_one_of_its_beginnings() {
        let keys = Keys { prefix: "p/".into() };
        let (here, there) = (RoomId::new("a", "b", "main"), RoomId::new("a", "b", "main2"));
        for kind in
            [AssetIdKind::YDoc { gc: true }, AssetIdKind::YDoc { gc: false }, AssetIdKind::ContentMap, AssetIdKind::ContentIds]
        {
            let begins = |room: &RoomId, of: Option<&RoomId>| {
                let key = keys.of(&AssetId { kind, room: room.clone(), t: "1-0".into() }).unwrap();
                keys.beginnings(of).iter().filter(|beginning| key.starts_with(*beginning)).count()
            };
            assert_eq!((begins(&here, Some(&here)), begins(&there, Some(&here))), (1, 0));
            assert_eq!(begins(&here, None), 1);
        }
    }
}
