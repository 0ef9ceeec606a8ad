//! Takes changes back: what was inserted is deleted, what was deleted is inserted anew.
//!
//! Nothing that is deleted comes alive again: a copy of it is inserted at its place, by a client of its own. Copies share the
//! bytes of what they copy. They stand behind all other blocks, in the order of their clocks, so that they are found and written
//! like those of any other client.

use std::collections::{HashMap, HashSet};

use yhub_encoding::write_var_uint;

use super::Document;
use super::block::{Block, NONE, Ref, State};
use super::encode::Pieces;
use super::index::ClientIndex;
use super::integrate::{MAX_STEPS, Passed};
use crate::update::Deletes;
use crate::update::structs::{GC, TYPE};
use crate::{IdSet, UpdateError};

/// Taking back changes of a document.
struct Undo<'d, 'a> {
    document: &'d mut Document<'a>,
    /// The client of the copies, as index.
    client: u32,
    /// Where the copies begin among the blocks.
    from: u32,
    /// Which blocks are to be inserted anew.
    wanted: HashSet<u32>,
    /// The copy of each block that has one.
    copies: HashMap<u32, u32>,
    passed: Passed,
    steps_left: u64,
}

impl Document<'_> {
    /// Takes back `inserts` and `deletes`, where ranges of both begin and end the document must be divided, in the name of `client`
    /// or, if that is known here, the next number that is not. Gives the update that does so to others; `None` if there was nothing
    /// to be taken back.
    pub(super) fn undo(&mut self, inserts: &IdSet, deletes: &IdSet, client: u64) -> Result<Option<Vec<u8>>, UpdateError> {
        let was_deleted: Vec<bool> = self.blocks.iter().map(|block| block.deleted).collect();
        let to_delete: Vec<u32> = self.items_in(inserts).into_iter().filter(|&index| !was_deleted[index as usize]).collect();
        let to_redo = self.items_in(deletes);
        let mut undo = Undo::new(self, client, to_redo.iter().copied().collect());
        for index in to_redo {
            undo.redo(index)?;
        }
        let (client, from) = (undo.client, undo.from);
        for index in to_delete.into_iter().rev() {
            self.delete(index);
        }
        Ok(self.changes(client, from, &was_deleted))
    }

    /// The items in these ranges: clients ascending, of each by clock.
    fn items_in(&self, ids: &IdSet) -> Vec<u32> {
        let clients: HashMap<u64, &ClientIndex> =
            self.sections.iter().map(|&c| (self.clients[c as usize], &self.index[c as usize])).collect();
        let mut items = Vec::new();
        for (client, ranges) in ids.iter() {
            let Some(index) = clients.get(&client) else { continue };
            for range in ranges {
                let of_client = &self.clocks[index.from as usize..index.to as usize];
                let first = index.from + of_client.partition_point(|&clock| clock < range.clock()) as u32;
                let is_item = |&at: &u32| self.blocks[at as usize].state == State::Done && self.blocks[at as usize].kind != GC;
                let in_range = (first..index.to).take_while(|&at| self.clocks[at as usize] < range.end());
                items.extend(in_range.filter(is_item));
            }
        }
        items
    }

    /// What has changed since `was_deleted`, as an update: the blocks of `client`, which begin at `from`, and what was deleted.
    fn changes(&self, client: u32, from: u32, was_deleted: &[bool]) -> Option<Vec<u8>> {
        let mut deletes = Deletes::default();
        for (block, _) in self.blocks.iter().zip(was_deleted).filter(|(block, was)| block.deleted && !**was) {
            deletes.push(self.clients[block.client as usize], block.clock, block.end());
        }
        let mut structs = Pieces::default();
        let copied = self.write_section(&mut structs, from, &self.blocks[from as usize..], &mut deletes);
        let mut out = Vec::new();
        if let Some((count, clock)) = copied {
            write_var_uint(&mut out, 1);
            write_var_uint(&mut out, count);
            write_var_uint(&mut out, self.clients[client as usize]);
            write_var_uint(&mut out, u64::from(clock));
            out.extend(structs.join());
        } else {
            write_var_uint(&mut out, 0);
        }
        deletes.write(&mut out);
        (out.len() > 2).then_some(out)
    }
}

impl<'d, 'a> Undo<'d, 'a> {
    fn new(document: &'d mut Document<'a>, client: u64, wanted: HashSet<u32>) -> Self {
        let known: HashSet<u64> = document.clients.iter().copied().collect();
        let free = (client..).find(|number| !known.contains(number)).unwrap_or(client);
        let (client, from) = (document.clients.len() as u32, document.blocks.len() as u32);
        document.clients.push(free);
        document.index.push(ClientIndex::growing(from));
        Self { document, client, from, wanted, copies: HashMap::new(), passed: Passed::default(), steps_left: MAX_STEPS }
    }

    fn block(&self, index: u32) -> &Block {
        &self.document.blocks[index as usize]
    }

    /// The item that holds the list or attribute that a block belongs to.
    fn holder(&self, index: u32) -> u32 {
        self.document.types.holder(self.block(index).list)
    }

    /// Copies a block to where it is to be, and before that the items that hold it as far as they are deleted.
    fn redo(&mut self, index: u32) -> Result<(), UpdateError> {
        // It may have been copied for the sake of what it holds.
        if self.copies.contains_key(&index) {
            return Ok(());
        }
        let mut chain = vec![index];
        loop {
            let holder = self.holder(chain[chain.len() - 1]);
            if holder == NONE || !self.block(holder).deleted || self.copies.contains_key(&holder) {
                break;
            }
            if !self.wanted.contains(&holder) {
                return Ok(());
            }
            chain.push(holder);
        }
        while let Some(index) = chain.pop() {
            self.copy(index)?;
        }
        Ok(())
    }

    fn copy(&mut self, index: u32) -> Result<(), UpdateError> {
        let holder = self.holder(index);
        let mut list = self.block(index).list;
        let key = self.document.types.list(list).key;
        if holder != NONE && self.block(holder).deleted {
            let parent = self.document.types.held_by(self.newest(holder));
            list = self.document.types.list_of(parent, key);
        }
        let (left, right) = if key == NONE {
            (self.nearest(self.block(index).left, list, |block| block.left)?, self.nearest(index, list, |block| block.right)?)
        } else {
            // Behind the present value, whoever has set it.
            (self.document.types.list(list).last, NONE)
        };
        self.insert(index, list, left, right)
    }

    /// The newest copy of a block, or the block.
    fn newest(&self, mut index: u32) -> u32 {
        while let Some(&copy) = self.copies.get(&index) {
            index = copy;
        }
        index
    }

    /// The block in `list` that is nearest to `from` in a direction, or is a copy of the nearest that has one there.
    fn nearest(&mut self, from: u32, list: u32, next: impl Fn(&Block) -> u32) -> Result<u32, UpdateError> {
        let mut at = from;
        while at != NONE {
            let mut trace = at;
            loop {
                self.steps_left = self.steps_left.checked_sub(1).ok_or(UpdateError::TooManySteps)?;
                if self.block(trace).list == list {
                    return Ok(trace);
                }
                match self.copies.get(&trace) {
                    Some(&copy) => trace = copy,
                    None => break,
                }
            }
            at = next(self.block(at));
        }
        Ok(NONE)
    }

    /// Puts a copy of a block between two blocks of `list`.
    fn insert(&mut self, of: u32, list: u32, left: u32, right: u32) -> Result<(), UpdateError> {
        let document = &mut *self.document;
        let index = document.blocks.len() as u32;
        let clock = document.blocks[self.from as usize..].last().map_or(0, Block::end);
        let id_of = |block: &Block, clock: u32| Ref { client: block.client, clock };
        let mut copy = document.blocks[of as usize];
        if clock.checked_add(copy.len).is_none() {
            return Err(UpdateError::ClockRange { at: copy.payload.0 as usize });
        }
        copy.deleted = copy.kind == crate::update::structs::DELETED;
        copy.origin = document.blocks.get(left as usize).map_or(Ref::NOTHING, |left| id_of(left, left.end() - 1));
        copy.right_origin = document.blocks.get(right as usize).map_or(Ref::NOTHING, |right| id_of(right, right.clock));
        (copy.client, copy.clock, copy.list, copy.left, copy.right) = (self.client, clock, list, NONE, NONE);
        if copy.kind == TYPE {
            document.types.nested(index);
        }
        document.blocks.push(copy);
        document.clocks.push(clock);
        document.index[self.client as usize].grow();
        let left = document.find_place(index, left, right, &mut self.passed, &mut self.steps_left)?;
        document.link(index, left);
        let holder = document.types.holder(list);
        if holder != NONE && document.blocks[holder as usize].deleted {
            document.delete(index);
        }
        self.copies.insert(of, index);
        Ok(())
    }
}
