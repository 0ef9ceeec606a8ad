//! Garbage collection: deleted content is forgotten, and the place of what lay inside deleted content too.

use super::Document;
use super::block::{NONE, State};
use crate::update::structs::{DELETED, GC};

impl Document<'_> {
    /// Of a deleted item only its length and its place stay; of what is inside of a deleted item only the length.
    pub(crate) fn collect(&mut self) {
        for index in 0..self.blocks.len() {
            let block = &self.blocks[index];
            if block.state != State::Done || block.kind == GC || !block.deleted {
                continue;
            }
            let holder = self.types.get(block.parent).item;
            let inside_deleted = holder != NONE && self.blocks[holder as usize].deleted;
            self.blocks[index].kind = if inside_deleted { GC } else { DELETED };
        }
    }
}
