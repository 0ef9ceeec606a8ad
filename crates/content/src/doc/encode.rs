//! Writes a document as an update: neighbouring blocks joined, deletions as they are now, and what waits.

use yhub_encoding::{Reader, var_uint_len, write_var_uint};

use super::Document;
use super::block::{Block, LOST_AFTER, LOST_BEFORE, NONE, Ref, State};
use super::build::is_block;
use super::index::ClientIndex;
use crate::UpdateError;
use crate::update::reader::{read_section, read_section_count};
use crate::update::structs::{
    ANY, DELETED, GC, HAS_KEY, HAS_NEIGHBOUR, HAS_ORIGIN, HAS_RIGHT_ORIGIN, Id, JSON, SKIP, STRING, Struct,
};
use crate::update::{Deletes, merge, write_piece};

/// One lost half of a surrogate pair.
const LOST_HALF: &[u8] = "\u{fffd}".as_bytes();

/// A piece of what is written is about so long: a little less than what a vector holds before it grows once more.
const PIECE_BYTES: usize = 60 << 10;

/// What is written, in pieces: however long it gets, nothing is copied to make room, and what is only known later has a place.
#[derive(Default)]
pub(super) struct Pieces(Vec<Vec<u8>>);

impl Pieces {
    /// Where to write on.
    fn end(&mut self) -> &mut Vec<u8> {
        if self.0.last().is_none_or(|last| last.len() >= PIECE_BYTES) {
            self.0.push(Vec::new());
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// A place here, to be written to later.
    fn place(&mut self) -> usize {
        self.0.extend([Vec::new(), Vec::new()]);
        self.0.len() - 2
    }

    fn at(&mut self, place: usize) -> &mut Vec<u8> {
        &mut self.0[place]
    }

    /// All of it.
    pub(super) fn join(self) -> Vec<u8> {
        self.0.concat()
    }
}

impl Document<'_> {
    /// The document as an update, what waits included.
    ///
    /// # Errors
    /// Only if bytes that were read before cannot be read again.
    pub(crate) fn encode(mut self) -> Result<Vec<u8>, UpdateError> {
        let waiting = if self.waits || !self.waiting_deletes.is_empty() { Some(self.encode_waiting()?) } else { None };
        // Nothing is looked for any more.
        self.clocks = Vec::new();
        self.index.iter_mut().for_each(ClientIndex::forget_places);
        let pieces = self.encode_integrated();
        // Most of the memory: it is not needed for putting the pieces together.
        drop(self);
        let integrated = pieces.join();
        match waiting {
            Some(waiting) => merge(&[integrated, waiting]),
            None => Ok(integrated),
        }
    }

    fn encode_integrated(&self) -> Pieces {
        let mut pieces = Pieces::default();
        let number_of_sections = pieces.place();
        let mut deletes = Deletes::default();
        let mut sections = 0;
        for &client in &self.sections {
            let ClientIndex { from, to, .. } = self.index[client as usize];
            let blocks = &self.blocks[from as usize..to as usize];
            let head = pieces.place();
            let Some((count, clock)) = self.write_section(&mut pieces, from, blocks, &mut deletes) else { continue };
            let head = pieces.at(head);
            write_var_uint(head, count);
            write_var_uint(head, self.clients[client as usize]);
            write_var_uint(head, u64::from(clock));
            sections += 1;
        }
        write_var_uint(pieces.at(number_of_sections), sections);
        deletes.write(pieces.end());
        pieces
    }

    /// Writes the integrated blocks of a client; gives the number of structs and the first clock, if there are any.
    pub(super) fn write_section(
        &self,
        pieces: &mut Pieces,
        from: u32,
        blocks: &[Block],
        deletes: &mut Deletes,
    ) -> Option<(u64, u32)> {
        let mut count = 0;
        let mut first_clock = None;
        let mut end = 0;
        let mut at = 0;
        while let Some(head) = blocks.get(at) {
            if head.state != State::Done {
                at += 1;
                continue;
            }
            let out = pieces.end();
            if first_clock.is_none() {
                first_clock = Some(head.clock);
            } else if head.clock > end {
                out.push(SKIP);
                write_var_uint(out, u64::from(head.clock - end));
                count += 1;
            }
            let mut next = at + 1;
            while blocks.get(next).is_some_and(|right| joins(&blocks[next - 1], right, from + next as u32)) {
                next += 1;
            }
            let group = &blocks[at..next];
            end = group[group.len() - 1].end();
            self.write_struct(out, group, end - head.clock);
            if head.deleted {
                deletes.push(self.clients[head.client as usize], head.clock, end);
            }
            count += 1;
            at = next;
        }
        Some((count, first_clock?))
    }

    /// Writes blocks that became one struct, `len` clocks altogether.
    fn write_struct(&self, out: &mut Vec<u8>, group: &[Block], len: u32) {
        let head = &group[0];
        if head.kind == GC {
            out.push(GC);
            write_var_uint(out, u64::from(len));
            return;
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let list = self.types.list(head.list);
        let info = head.kind
            | flag(head.origin.is_some(), HAS_ORIGIN)
            | flag(head.right_origin.is_some(), HAS_RIGHT_ORIGIN)
            | flag(list.key != NONE, HAS_KEY);
        out.push(info);
        for id in [head.origin, head.right_origin] {
            if id.is_some() {
                self.write_id(out, id);
            }
        }
        if info & HAS_NEIGHBOUR == 0 {
            let parent = self.types.get(list.parent);
            match self.blocks.get(parent.item as usize) {
                None => {
                    out.push(1);
                    yhub_encoding::write_var_string(out, self.types.name(parent.name));
                }
                Some(holder) => {
                    out.push(0);
                    self.write_id(out, Ref { client: holder.client, clock: holder.clock });
                }
            }
            if list.key != NONE {
                yhub_encoding::write_var_string(out, self.types.name(list.key));
            }
        }
        match head.kind {
            DELETED => write_var_uint(out, u64::from(len)),
            STRING => {
                let size = |block: &Block| {
                    (block.payload.1 - block.payload.0) as usize + block.lost.count_ones() as usize * LOST_HALF.len()
                };
                write_var_uint(out, group.iter().map(size).sum::<usize>() as u64);
                for block in group {
                    if block.lost & LOST_BEFORE != 0 {
                        out.extend_from_slice(LOST_HALF);
                    }
                    out.extend_from_slice(self.payload(block));
                    if block.lost & LOST_AFTER != 0 {
                        out.extend_from_slice(LOST_HALF);
                    }
                }
            }
            _ => {
                if matches!(head.kind, ANY | JSON) {
                    write_var_uint(out, u64::from(len));
                }
                for block in group {
                    out.extend_from_slice(self.payload(block));
                }
            }
        }
    }

    pub(super) fn payload(&self, block: &Block) -> &[u8] {
        self.bytes.get(block.payload.0 as usize..block.payload.1 as usize).unwrap_or_default()
    }

    fn write_id(&self, out: &mut Vec<u8>, id: Ref) {
        write_var_uint(out, self.clients[id.client as usize]);
        write_var_uint(out, u64::from(id.clock));
    }

    /// What waits, as an update of its own.
    fn encode_waiting(&self) -> Result<Vec<u8>, UpdateError> {
        let mut written = 0;
        let mut body = Vec::new();
        let mut structs = Vec::new();
        // Where structs begin is not remembered: they are looked for again, which few documents need.
        let mut reader = Reader::new(self.bytes);
        let sections = read_section_count(&mut reader)?;
        for &client in self.sections.iter().take(sections) {
            let section = read_section(&mut reader)?;
            structs.clear();
            let (mut count, mut first, mut end, mut clock) = (0u64, 0, 0, section.clock);
            for _ in 0..section.structs {
                let whole = Struct::read(&mut reader, Id { client: section.client, clock })?;
                clock = whole.end();
                let waits = |index: u32| self.blocks[index as usize].state == State::Waiting;
                if !is_block(&whole) || !self.find(Ref { client, clock: whole.id.clock }).is_some_and(waits) {
                    continue;
                }
                if count == 0 {
                    first = whole.id.clock;
                } else if whole.id.clock > end {
                    structs.push(SKIP);
                    write_var_uint(&mut structs, u64::from(whole.id.clock - end));
                    count += 1;
                }
                write_piece(&mut structs, &whole, 0, whole.len)?;
                count += 1;
                end = whole.end();
            }
            if count > 0 {
                write_var_uint(&mut body, count);
                write_var_uint(&mut body, section.client);
                write_var_uint(&mut body, u64::from(first));
                body.extend_from_slice(&structs);
                written += 1;
            }
        }
        let mut out = Vec::with_capacity(var_uint_len(written) + body.len());
        write_var_uint(&mut out, written);
        out.extend_from_slice(&body);
        let mut deletes = Deletes::default();
        for &(client, start, end) in &self.waiting_deletes {
            deletes.push(client, start, end);
        }
        deletes.write(&mut out);
        Ok(out)
    }
}

/// Does `right`, the block with this index, become one struct with `left`, the one before it in the array?
fn joins(left: &Block, right: &Block, index: u32) -> bool {
    if right.state != State::Done || left.kind != right.kind || left.end() != right.clock {
        return false;
    }
    if left.kind == GC {
        return true;
    }
    matches!(left.kind, DELETED | STRING | ANY | JSON)
        && left.deleted == right.deleted
        && left.right == index
        && right.origin == Ref { client: left.client, clock: right.clock - 1 }
        && left.right_origin == right.right_origin
}
