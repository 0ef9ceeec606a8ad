//! The order in which our own integration puts concurrent insertions, compared with that of yrs.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, Map, OffsetKind, Options, ReadTxn, Text, Transact, Update};

use super::block::{NONE, State};
use super::*;
use crate::update::structs::STRING;

impl Document<'_> {
    /// The text of a root.
    fn text(&mut self, root: &'static str) -> String {
        let root = self.types.root(root);
        let mut text = String::new();
        let mut next = self.types.list(self.types.get(root).list).first;
        while let Some(block) = self.blocks.get(next as usize) {
            assert_eq!(block.state, State::Done);
            if block.kind == STRING && !block.deleted {
                assert_eq!(block.lost, 0, "only ascii here");
                let payload = &self.bytes[block.payload.0 as usize..block.payload.1 as usize];
                text.push_str(std::str::from_utf8(payload).unwrap());
            }
            next = block.right;
        }
        text
    }

    /// Of the present value of an attribute of a root: client and clock.
    fn present(&mut self, root: &'static str, key: &'static str) -> Option<(u64, u32)> {
        let (root, key) = (self.types.root(root), self.types.intern(key));
        let list = self.types.list_of(root, key);
        let last = self.types.list(list).last;
        let block = self.blocks.get(last as usize)?;
        assert_eq!(block.right, NONE);
        Some((self.clients[block.client as usize], block.clock))
    }
}

fn doc(client: u64) -> Doc {
    Doc::with_options(Options {
        client_id: yrs::block::ClientID::new(client),
        skip_gc: true,
        offset_kind: OffsetKind::Utf16,
        ..Options::default()
    })
}

/// Clients that write at the same few places without hearing of each other for a while. Updates in order of emission.
fn crowd(rng: &mut StdRng) -> Vec<Vec<u8>> {
    let docs: Vec<Doc> = (1..rng.random_range(3..12)).map(|number| doc(number * 1_000 + rng.random_range(0..1_000))).collect();
    let (width, hearing) = (rng.random_range(1..8), rng.random_range(0.02..0.5));
    let mut updates = Vec::new();
    for _ in 0..rng.random_range(5..50) {
        let at = &docs[rng.random_range(0..docs.len())];
        let text = at.get_or_insert_text("t");
        let map = at.get_or_insert_map("m");
        let mut txn = at.transact_mut();
        let len = text.len(&txn);
        let place = rng.random_range(0..=len.min(width));
        match rng.random_range(0..8) {
            0 if len > place => text.remove_range(&mut txn, place, 1),
            1 => drop(map.insert(&mut txn, "k", rng.random_range(0..100))),
            _ => {
                let word: String = (0..rng.random_range(1..4)).map(|_| rng.random_range('a'..='z')).collect();
                text.insert(&mut txn, place, &word);
            }
        }
        updates.push(txn.encode_update_v1());
        drop(txn);
        if rng.random_bool(hearing) {
            let other = &docs[rng.random_range(0..docs.len())];
            let news = at.transact().encode_diff_v1(&other.transact().state_vector());
            other.transact_mut().apply_update(Update::decode_v1(&news).unwrap()).unwrap();
        }
    }
    updates
}

#[test]
fn concurrent_insertions_are_put_in_the_order_of_yrs() {
    for seed in 0..4_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut updates = crowd(&mut rng);
        let theirs = doc(1);
        let text = theirs.get_or_insert_text("t");
        for update in &updates {
            theirs.transact_mut().apply_update(Update::decode_v1(update).unwrap()).unwrap();
        }
        let expected = text.get_string(&theirs.transact());
        updates.shuffle(&mut rng);
        let merged = crate::update::merge_anew(&updates).unwrap();
        let mut ours = Document::load(&merged, &[]).unwrap();
        assert_eq!(ours.text("t"), expected, "seed {seed}");
        // Which value is present shows in what is deleted: all others.
        let map = theirs.get_or_insert_map("m");
        assert_eq!(ours.present("m", "k").is_some(), map.contains_key(&theirs.transact(), "k"), "seed {seed}");
        let encoded = theirs.transact().encode_state_as_update_v1(&yrs::StateVector::default());
        let deletes = crate::content_ids(&encoded).unwrap().deletes;
        if let Some((client, clock)) = ours.present("m", "k") {
            assert!(!deletes.contains(client, clock), "seed {seed}");
        }
        assert_eq!(crate::content_ids(&ours.encode().unwrap()).unwrap().deletes, deletes, "seed {seed}");
    }
}
