//! The keys of one shard. Those that y/hub has too are named in `yhub_core::KeySpace`.

use yhub_core::{KeySpace, RoomId};
use yhub_store::QuarantineId;

/// The keys of one shard.
#[derive(Clone, Debug)]
pub(crate) struct ShardKeys {
    pub(crate) space: KeySpace,
    prefix: String,
    /// The queue, and the name of its consumer group.
    pub(crate) worker: String,
    /// The streams that are not compacted.
    pub(crate) paused: String,
    /// Task id → epoch of its claim.
    pub(crate) claims: String,
    /// Task ids by the time before which nobody is to claim them.
    pub(crate) delayed: String,
    /// The epoch of the latest claim of any room.
    pub(crate) epoch: String,
    /// The latest time at which tasks were claimed: a lower one says that time went back.
    pub(crate) watermark: String,
    /// Tasks that could not be read.
    pub(crate) dead: String,
    /// A name that the store was given when it was first used.
    pub(crate) boot: String,
    /// A number that grows.
    pub(crate) pulse: String,
    /// Written to see whether it can be written.
    pub(crate) probe: String,
}

impl ShardKeys {
    /// The keys of part `shard` of `shards`. What stands in braces decides the slot of a cluster: one for each part.
    pub(crate) fn new(prefix: &str, shard: usize, shards: usize) -> Self {
        let prefix = if shards == 1 { prefix.to_owned() } else { format!("{prefix}:{{{shard}}}") };
        let space = KeySpace::new(prefix.clone());
        let own = |what: &str| format!("{prefix}:{what}");
        Self {
            worker: space.worker(),
            paused: space.compaction_disabled(),
            claims: own("claims"),
            delayed: own("delayed"),
            epoch: own("epoch"),
            watermark: own("watermark"),
            dead: own("dead_letters"),
            boot: own("boot"),
            pulse: own("pulse"),
            probe: own("probe"),
            space,
            prefix,
        }
    }

    pub(crate) fn stream(&self, room: &RoomId) -> String {
        self.space.stream(room)
    }

    /// What is remembered of a room beside its stream.
    pub(crate) fn meta(&self, room: &RoomId) -> String {
        self.of_room("meta", room)
    }

    /// Where the new entries of a room are pushed.
    pub(crate) fn channel(&self, room: &RoomId) -> String {
        self.of_room("push", room)
    }

    pub(crate) fn aside(&self, room: &RoomId, id: &QuarantineId) -> String {
        self.space.quarantine(room, &id.0)
    }

    /// The room and the name of a stream that was set aside.
    pub(crate) fn room_of_aside(&self, key: &str) -> Option<(RoomId, QuarantineId)> {
        let (rest, id) = key.rsplit_once(':')?;
        let parts = rest.strip_prefix(&self.prefix)?.strip_prefix(":quarantine_room:")?;
        let room = self.space.room_of_stream(&format!("{}:room:{parts}", self.prefix))?;
        Some((room, QuarantineId(id.to_owned())))
    }

    /// What a ticket says: under its hash, in hexadecimal.
    pub(crate) fn ticket(&self, hash: &[u8; 32]) -> String {
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:ticket:{hex}", self.prefix)
    }

    fn of_room(&self, what: &str, room: &RoomId) -> String {
        let stream = self.space.stream(room);
        let parts = &stream[self.prefix.len() + ":room".len()..];
        format!("{}:{what}{parts}", self.prefix)
    }
}

/// Which of `shards` parts a room belongs to: the same for ever, whatever the program's version.
pub(crate) fn shard_of(room: &RoomId, shards: usize) -> usize {
    if shards == 1 {
        return 0;
    }
    // FNV-1a over the parts, with what no UTF-8 holds between them.
    let parts = [room.org(), room.docid(), room.branch()];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash % shards as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shard_has_the_keys_of_y_hub() {
        let keys = ShardKeys::new("yhub", 0, 1);
        let room = RoomId::new("a:b", "d/é", "main");
        assert_eq!(keys.stream(&room), "yhub:room:a%3Ab:d%2F%C3%A9:main");
        assert_eq!(keys.meta(&room), "yhub:meta:a%3Ab:d%2F%C3%A9:main");
        assert_eq!(keys.worker, "yhub:worker");
        let aside = keys.aside(&room, &QuarantineId("q".into()));
        assert_eq!(keys.room_of_aside(&aside), Some((room, QuarantineId("q".into()))));
        assert_eq!(keys.room_of_aside("yhub:room:a:b:c"), None);
        assert_eq!(keys.ticket(&[0x0f; 32]), format!("yhub:ticket:{}", "0f".repeat(32)));
    }

    #[test]
    fn shards_have_a_hash_tag_each() {
        let keys = ShardKeys::new("yhub", 3, 16);
        assert_eq!(keys.worker, "yhub:{3}:worker");
        assert_eq!(keys.stream(&RoomId::new("o", "d", "main")), "yhub:{3}:room:o:d:main");
    }

    #[test]
    fn rooms_stay_where_they_are() {
        let at = |org: &str, docid: &str| shard_of(&RoomId::new(org, docid, "main"), 16);
        // Golden: another hash would lose what is stored.
        assert_eq!([at("acme", "notes"), at("acme", "plans"), at("a", "cmenotes")], [GOLDEN[0], GOLDEN[1], GOLDEN[2]]);
        let mut filled = [0; 16];
        (0..16_000).for_each(|n| filled[at("acme", &n.to_string())] += 1);
        assert!(filled.iter().all(|count| (700..1300).contains(count)), "{filled:?}");
    }

    const GOLDEN: [usize; 3] = [0, 13, 12];
}
