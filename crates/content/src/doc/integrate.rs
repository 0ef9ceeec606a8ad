//! Puts blocks in their places (YATA), and deletes.
//!
//! A block is integrated after everything that it refers to; blocks that wait for one another stand on a stack of our
//! own. What refers to something that is missing, directly or not, or to itself in a circle, waits.

use std::collections::HashMap;

use super::Document;
use super::block::{NONE, Ref, State};
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

/// Which blocks the search for a place has passed, and in which step.
#[derive(Default)]
pub(super) struct Passed {
    /// Mostly a few.
    few: Vec<u32>,
    many: HashMap<u32, u32>,
}

impl Passed {
    const FEW: usize = 32;

    fn clear(&mut self) {
        self.few.clear();
        self.many.clear();
    }

    /// The next step passes `block`; steps count from 1.
    fn push(&mut self, block: u32) {
        self.few.push(block);
        if self.few.len() > Self::FEW {
            let before = if self.few.len() == Self::FEW + 1 { 0 } else { self.few.len() - 1 };
            self.many.extend((before..self.few.len()).map(|at| (self.few[at], at as u32 + 1)));
        }
    }

    fn steps(&self) -> u32 {
        self.few.len() as u32
    }

    /// When `block` was passed.
    fn step(&self, block: u32) -> Option<u32> {
        if self.few.len() > Self::FEW {
            return self.many.get(&block).copied();
        }
        self.few.iter().position(|&passed| passed == block).map(|at| at as u32 + 1)
    }
}

impl Document<'_> {
    /// Integrates all blocks that can be, in `max_steps` and some for each block.
    pub(super) fn integrate(&mut self, max_steps: u64) -> Result<(), UpdateError> {
        let mut passed = Passed::default();
        let mut steps_left = max_steps + STEPS_PER_BLOCK * self.blocks.len() as u64;
        let mut stack = Vec::new();
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
                        self.waits = true;
                    }
                }
                stack.pop();
            }
        }
        Ok(())
    }

    fn needs(&self, index: u32) -> Needs {
        let block = &self.blocks[index as usize];
        let mut found = [NONE; 3];
        let named = self.types.named_holder(block.list).map_or(Ref::NOTHING, |(holder, _)| holder);
        for (slot, id) in found.iter_mut().zip([block.origin, block.right_origin, named]) {
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
        let Some(list) = self.list(index, left, right, holder) else {
            self.forget(index);
            return Ok(());
        };
        self.blocks[index as usize].list = list;
        let left = self.find_place(index, left, right, passed, steps_left)?;
        self.link(index, left);
        let block = self.blocks[index as usize];
        let holder = self.types.holder(list);
        let orphan = holder != NONE && self.blocks[holder as usize].deleted;
        if orphan || (self.types.list(list).key != NONE && block.right != NONE) {
            self.delete(index);
        }
        Ok(())
    }

    /// The list that a block stands in; `None` if its place is forgotten.
    fn list(&mut self, index: u32, left: u32, right: u32, holder: u32) -> Option<u32> {
        let forgotten = |neighbour: u32| neighbour != NONE && self.blocks[neighbour as usize].kind == GC;
        if forgotten(left) || forgotten(right) {
            return None;
        }
        let list = self.blocks[index as usize].list;
        if let Some((_, key)) = self.types.named_holder(list) {
            // An item that holds no type, or none any more, has no children.
            self.blocks.get(holder as usize).filter(|holder| holder.kind == TYPE)?;
            return Some(self.types.list_of(self.types.held_by(holder), key));
        }
        if list != NONE {
            return Some(list);
        }
        let neighbour = self.blocks.get(if left != NONE { left } else { right } as usize)?;
        Some(neighbour.list)
    }

    /// Makes a GC of a block that is not linked.
    fn forget(&mut self, index: u32) {
        let block = &mut self.blocks[index as usize];
        block.kind = GC;
        block.deleted = true;
        (block.origin, block.right_origin, block.list) = (Ref::NOTHING, Ref::NOTHING, NONE);
    }

    /// The left neighbour that a block gets between `left` and `right`, among what others inserted there.
    pub(super) fn find_place(
        &self,
        index: u32,
        mut left: u32,
        right: u32,
        passed: &mut Passed,
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
            None => self.types.list(block.list).first,
        };
        passed.clear();
        // Passed in an earlier step than this: they lie left of the place found so far and conflict no more.
        let mut settled = 0;
        while other != NONE && other != right {
            *steps_left = steps_left.checked_sub(1).ok_or(UpdateError::TooManySteps)?;
            passed.push(other);
            let step = passed.steps();
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
                match passed.step(origin) {
                    None => break,
                    Some(at) if at <= settled => {
                        left = other;
                        settled = step;
                    }
                    Some(_) => {}
                }
            }
            other = o.right;
        }
        Ok(left)
    }

    /// Links a block behind `left`, or at the beginning.
    pub(super) fn link(&mut self, index: u32, left: u32) {
        let list = self.types.list_mut(self.blocks[index as usize].list);
        let right = match self.blocks.get_mut(left as usize) {
            Some(left) => std::mem::replace(&mut left.right, index),
            None => std::mem::replace(&mut list.first, index),
        };
        let block = &mut self.blocks[index as usize];
        (block.left, block.right) = (left, right);
        if let Some(right) = self.blocks.get_mut(right as usize) {
            right.left = index;
        } else if list.key != NONE {
            // It is the present value of the attribute; the one before is not any more.
            list.last = index;
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
            if self.blocks[holder as usize].kind != TYPE {
                continue;
            }
            for first in self.types.firsts(self.types.held_by(holder)) {
                let mut next = first;
                while let Some(child) = self.blocks.get_mut(next as usize) {
                    if !std::mem::replace(&mut child.deleted, true) && child.kind == TYPE {
                        holders.push(next);
                    }
                    next = child.right;
                }
            }
        }
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
