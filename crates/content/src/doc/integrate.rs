//! Puts blocks in their places (YATA), and deletes.
//!
//! A block is integrated after everything that it refers to; blocks that wait for one another stand on a stack of our
//! own. What refers to something that is missing, directly or not, or to itself in a circle, waits.

use super::Document;
use super::block::{Block, NONE, Ref, State};
use crate::UpdateError;
use crate::update::structs::{GC, TYPE};

/// Steps past concurrent insertions for which a document is worked on: a fixed number and some for each of its blocks.
/// People who insert at the same place at the same time need a few; bytes that are made for it need the square of their
/// number.
pub(super) const MAX_STEPS: u64 = 100_000_000;
const STEPS_PER_BLOCK: u64 = 256;

/// What integrating a block needs first.
enum Needs {
    /// Nothing: its left and right neighbour at creation, and its parent's block.
    Nothing { left: u32, right: u32, holder: u32 },
    /// This block.
    Block(u32),
    /// Something that is not there.
    Missing,
}

/// Which blocks the search for a place has passed: for each the block that was placed, and the step.
pub(super) struct Passed(Vec<(u32, u32)>);

impl Passed {
    /// For searches among so many blocks.
    pub(super) fn over(blocks: usize) -> Self {
        Self(vec![(NONE, 0); blocks])
    }

    /// There is one block more.
    pub(super) fn grow(&mut self) {
        self.0.push((NONE, 0));
    }
}

impl Document<'_> {
    /// Integrates all blocks that can be, in `max_steps` and some for each block.
    pub(super) fn integrate(&mut self, max_steps: u64) -> Result<(), UpdateError> {
        let mut passed = Passed::over(self.blocks.len());
        let mut steps_left = max_steps + STEPS_PER_BLOCK * self.blocks.len() as u64;
        let mut stack = Vec::new();
        let mut any_waits = false;
        for index in 0..self.blocks.len() as u32 {
            if self.blocks[index as usize].state != State::New {
                continue;
            }
            stack.push(index);
            while let Some(&top) = stack.last() {
                self.blocks[top as usize].state = State::Begun;
                match self.needs(top) {
                    Needs::Nothing { left, right, holder } => {
                        self.place(top, left, right, holder, &mut passed, &mut steps_left)?;
                        self.blocks[top as usize].state = State::Done;
                    }
                    Needs::Block(other) if self.blocks[other as usize].state == State::New => {
                        stack.push(other);
                        continue;
                    }
                    // One that is begun stands below on the stack: they need each other.
                    Needs::Block(_) | Needs::Missing => {
                        self.blocks[top as usize].state = State::Waiting;
                        any_waits = true;
                    }
                }
                stack.pop();
            }
        }
        if any_waits {
            self.note_waiting();
        }
        Ok(())
    }

    fn needs(&self, index: u32) -> Needs {
        let block = &self.blocks[index as usize];
        let mut found = [NONE; 3];
        for (slot, id) in found.iter_mut().zip([block.origin, block.right_origin, block.parent_item]) {
            if !id.is_some() {
                continue;
            }
            *slot = if id.client == block.client && id.clock.checked_add(1) == Some(block.clock) && self.follows(index) {
                index - 1
            } else {
                match self.find(id) {
                    Some(other) => other,
                    None => return Needs::Missing,
                }
            };
            match self.blocks[*slot as usize].state {
                State::Done => {}
                State::Waiting => return Needs::Missing,
                State::New | State::Begun => return Needs::Block(*slot),
            }
        }
        let [left, right, holder] = found;
        Needs::Nothing { left, right, holder }
    }

    /// Does the block before it in the array end where it begins?
    fn follows(&self, index: u32) -> bool {
        let block = &self.blocks[index as usize];
        let before = (index as usize).checked_sub(1).and_then(|before| self.blocks.get(before));
        before.is_some_and(|before| before.client == block.client && before.end() == block.clock)
    }

    fn place(
        &mut self,
        index: u32,
        left: u32,
        right: u32,
        holder: u32,
        passed: &mut Passed,
        steps_left: &mut u64,
    ) -> Result<(), UpdateError> {
        if self.blocks[index as usize].kind == GC {
            return Ok(());
        }
        let Some((parent, key)) = self.parent(index, left, right, holder) else {
            self.forget(index);
            return Ok(());
        };
        let block = &mut self.blocks[index as usize];
        (block.parent, block.key) = (parent, key);
        let left = self.find_place(index, left, right, passed, steps_left)?;
        self.link(index, left);
        let block = self.blocks[index as usize];
        let holder = self.types.get(parent).item;
        let orphan = holder != NONE && self.blocks[holder as usize].deleted;
        if orphan || (key != NONE && block.right != NONE) {
            self.delete(index);
        }
        Ok(())
    }

    /// The type and key that a block belongs to; `None` if its place is forgotten.
    fn parent(&self, index: u32, left: u32, right: u32, holder: u32) -> Option<(u32, u32)> {
        let forgotten = |neighbour: u32| neighbour != NONE && self.blocks[neighbour as usize].kind == GC;
        if forgotten(left) || forgotten(right) {
            return None;
        }
        let block = &self.blocks[index as usize];
        if block.parent != NONE {
            return Some((block.parent, block.key));
        }
        if block.parent_item.is_some() {
            // An item that holds no type, or none any more, has no children.
            let holder = self.blocks.get(holder as usize).filter(|holder| holder.kind == TYPE)?;
            return Some((holder.holds, block.key));
        }
        let neighbour = self.blocks.get(if left != NONE { left } else { right } as usize)?;
        Some((neighbour.parent, neighbour.key))
    }

    /// Makes a GC of a block that is not linked.
    fn forget(&mut self, index: u32) {
        let block = &mut self.blocks[index as usize];
        block.kind = GC;
        block.deleted = true;
        (block.origin, block.right_origin, block.parent_item) = (Ref::NOTHING, Ref::NOTHING, Ref::NOTHING);
        (block.parent, block.key) = (NONE, NONE);
    }

    fn first_of(&self, parent: u32, key: u32) -> u32 {
        if key == NONE {
            self.types.get(parent).first
        } else {
            self.types.attribute(parent, key).map_or(NONE, |attribute| attribute.first)
        }
    }

    /// The left neighbour that a block gets between `left` and `right`, among what others inserted there.
    pub(super) fn find_place(
        &self,
        index: u32,
        mut left: u32,
        right: u32,
        Passed(passed): &mut Passed,
        steps_left: &mut u64,
    ) -> Result<u32, UpdateError> {
        let block = &self.blocks[index as usize];
        let untouched = match self.blocks.get(left as usize) {
            Some(left) => left.right == right,
            None => self.blocks.get(right as usize).is_some_and(|right| right.left == NONE),
        };
        if untouched {
            return Ok(left);
        }
        let client = self.clients[block.client as usize];
        let mut other = match self.blocks.get(left as usize) {
            Some(left) => left.right,
            None => self.first_of(block.parent, block.key),
        };
        let mut step = 0u32;
        // Passed in an earlier step than this: they lie left of the place found so far and conflict no more.
        let mut settled = 0;
        while other != NONE && other != right {
            *steps_left = steps_left.checked_sub(1).ok_or(UpdateError::TooManySteps)?;
            step += 1;
            passed[other as usize] = (index, step);
            let o = &self.blocks[other as usize];
            if o.origin == block.origin {
                if self.clients[o.client as usize] < client {
                    left = other;
                    settled = step;
                } else if o.right_origin == block.right_origin {
                    break;
                }
            } else {
                // Its origin is integrated, or it would not be.
                let Some(origin) = o.origin.is_some().then(|| self.find(o.origin)).flatten() else { break };
                match passed[origin as usize] {
                    (by, _) if by != index => break,
                    (_, at) if at <= settled => {
                        left = other;
                        settled = step;
                    }
                    _ => {}
                }
            }
            other = o.right;
        }
        Ok(left)
    }

    /// Links a block behind `left`, or at the beginning.
    pub(super) fn link(&mut self, index: u32, left: u32) {
        let Block { parent, key, .. } = self.blocks[index as usize];
        let right = match self.blocks.get_mut(left as usize) {
            Some(left) => std::mem::replace(&mut left.right, index),
            None if key == NONE => std::mem::replace(&mut self.types.get_mut(parent).first, index),
            None => std::mem::replace(&mut self.types.attribute_mut(parent, key).first, index),
        };
        let block = &mut self.blocks[index as usize];
        (block.left, block.right) = (left, right);
        if let Some(right) = self.blocks.get_mut(right as usize) {
            right.left = index;
        } else if key != NONE {
            // It is the present value of the attribute; the one before is not any more.
            self.types.attribute_mut(parent, key).last = index;
            if left != NONE {
                self.delete(left);
            }
        }
    }

    /// Deletes a block and everything inside of it.
    pub(super) fn delete(&mut self, index: u32) {
        if std::mem::replace(&mut self.blocks[index as usize].deleted, true) {
            return;
        }
        let mut holders = vec![index];
        while let Some(holder) = holders.pop() {
            let holds = self.blocks[holder as usize].holds;
            if holds == NONE {
                continue;
            }
            for first in self.lists_of(holds) {
                let mut next = first;
                while let Some(child) = self.blocks.get_mut(next as usize) {
                    if !std::mem::replace(&mut child.deleted, true) && child.holds != NONE {
                        holders.push(next);
                    }
                    next = child.right;
                }
            }
        }
    }

    /// The first item of the list of a type, and of the values of each of its attributes.
    pub(super) fn lists_of(&self, of: u32) -> Vec<u32> {
        std::iter::once(self.types.get(of).first).chain(self.types.attributes(of).map(|attribute| attribute.first)).collect()
    }

    /// Applies deleted ranges (client number, start, end), which end where blocks do. What is not here waits.
    pub(super) fn apply(&mut self, ranges: &[(u64, u32, u32)]) {
        let indices: std::collections::HashMap<u64, u32> =
            self.clients.iter().zip(0..).map(|(&number, index)| (number, index)).collect();
        for &(number, start, end) in ranges {
            let blocks = indices.get(&number).and_then(|&client| self.index.get(client as usize));
            let blocks = blocks.map_or((0, 0), |index| (index.from, index.to));
            let mut at = start;
            let first =
                blocks.0 as usize + self.clocks[blocks.0 as usize..blocks.1 as usize].partition_point(|&clock| clock < start);
            for index in first..blocks.1 as usize {
                let block = &self.blocks[index];
                if block.clock >= end {
                    break;
                }
                if block.state != State::Done {
                    continue;
                }
                let (clock, block_end) = (block.clock, block.end());
                if at < clock {
                    self.waiting_deletes.push((number, at, clock));
                }
                at = block_end;
                self.delete(index as u32);
            }
            if at < end {
                self.waiting_deletes.push((number, at, end));
            }
        }
    }
}
