//! Garbage collection: deleted content is forgotten, and the place of what lay inside deleted content too.

use super::Document;
use super::block::{NONE, State};
use crate::update::structs::{DELETED, GC};
use crate::{IdSet, ranges::Ids};

impl Document<'_> {
    /// Of a deleted item only its length and its place stay; of what is inside of a deleted item only the length.
    pub(crate) fn collect(&mut self) {
        for index in 0..self.blocks.len() {
            let block = &self.blocks[index];
            if block.state != State::Done || block.kind == GC || !block.deleted {
                continue;
            }
            let holder = self.types.holder(block.list);
            let inside_deleted = holder != NONE && self.blocks[holder as usize].deleted;
            self.blocks[index].kind = if inside_deleted { GC } else { DELETED };
        }
    }

    /// The same of those deleted items alone that lie in `ids`, and of whatever is inside of them. The document must be divided
    /// where ranges of `ids` begin and end.
    pub(crate) fn collect_within(&mut self, ids: &IdSet) {
        for at in 0..self.sections.len() {
            let client = self.sections[at] as usize;
            for range in ids.ranges(self.clients[client]) {
                let (from, to) = (self.index[client].from as usize, self.index[client].to as usize);
                let first = from + self.clocks[from..to].partition_point(|&clock| clock < range.clock());
                for index in first..to {
                    let block = &self.blocks[index];
                    if block.clock >= range.end() {
                        break;
                    }
                    // What was inside of another one of them has lost its place by now.
                    if block.state == State::Done && block.deleted && block.kind != GC {
                        self.forget_inside(index as u32);
                        self.blocks[index].kind = DELETED;
                    }
                }
            }
        }
    }

    /// Makes GCs of everything inside of a block.
    fn forget_inside(&mut self, index: u32) {
        let mut holders = vec![index];
        while let Some(holder) = holders.pop() {
            let holds = self.types.held_by(holder);
            if holds == NONE {
                continue;
            }
            for first in self.types.firsts(holds) {
                let mut next = first;
                while let Some(child) = self.blocks.get_mut(next as usize) {
                    if child.kind != GC {
                        holders.push(next);
                    }
                    child.kind = GC;
                    next = child.right;
                }
            }
        }
    }
}
