//! From an update to blocks: reading the structs, dividing them wherever another struct or a deletion will want it.

use std::collections::HashMap;

use yhub_encoding::{DecodeError, MAX_ANY_DEPTH, Reader, skip_any};

use super::block::{Block, NONE, Ref, State};
use super::index::ClientIndex;
use super::integrate::MAX_STEPS;
use super::types::Types;
use super::{Document, Waiting};
use crate::UpdateError;
use crate::update::reader::{read_deletes, read_section, read_section_count};
use crate::update::structs::{ANY, DELETED, GC, Id, JSON, Parent, SKIP, STRING, Struct, TYPE, end_of};
use crate::update::{Deletes, after_character, cut_text};

impl<'a> Document<'a> {
    /// Integrates all of an update that can be integrated, and applies its deletions. Items are also divided before
    /// the ids in `divided` (client number, clock).
    ///
    /// # Errors
    /// If the update is damaged, its clients do not descend, or integrating takes too many steps.
    pub(crate) fn load(update: &'a [u8], divided: &[(u64, u32)]) -> Result<Self, UpdateError> {
        Self::load_within(update, divided, MAX_STEPS)
    }

    /// The same with another limit than [`MAX_STEPS`].
    pub(super) fn load_within(update: &'a [u8], divided: &[(u64, u32)], max_steps: u64) -> Result<Self, UpdateError> {
        let mut reader = Reader::new(update);
        if u32::try_from(update.len()).is_err() {
            let (announced, remaining) = (update.len() as u64, u32::MAX as usize);
            return Err(DecodeError::TooLong { at: 0, announced, remaining }.into());
        }
        let mut build = Build::new(update);
        build.read_structs(&mut reader)?;
        let mut deletes = Deletes::default();
        read_deletes(&mut reader, |client, start, end| {
            deletes.push(client, start, end);
            Ok(())
        })?;
        deletes.normalise();
        let ends = deletes.ranges().iter().flat_map(|&(client, start, end)| [(client, start), (client, end)]);
        for (client, clock) in ends.chain(divided.iter().copied()) {
            if let Some(&client) = build.client_indices.get(&client) {
                build.points.push((client, clock));
            }
        }
        build.divide()?;
        let mut document = build.document;
        document.integrate(max_steps)?;
        document.apply(deletes.ranges());
        Ok(document)
    }

    /// The block that covers an id.
    #[inline]
    pub(super) fn find(&self, id: Ref) -> Option<u32> {
        let index = self.index.get(id.client as usize)?.last_from(&self.clocks, id.clock)?;
        (id.clock < self.blocks[index as usize].end()).then_some(index)
    }

    /// The structs that were left waiting, each once.
    pub(super) fn note_waiting(&mut self) {
        for block in &self.blocks {
            if block.state == State::Waiting && self.waiting.last().is_none_or(|last| last.at != block.at) {
                self.waiting.push(Waiting { client: block.client, clock: block.clock, at: block.at });
            }
        }
    }
}

/// How many clients [`Build`] remembers without asking its map.
const LATELY: usize = 64;

struct Build<'a> {
    document: Document<'a>,
    client_indices: HashMap<u64, u32>,
    /// Clients asked for lately, and their indices, each at the place that its number gives: mostly a few are asked for
    /// again and again.
    lately: [(u64, u32); LATELY],
    /// Where structs may have to be divided: before these ids.
    points: Vec<(u32, u32)>,
}

impl<'a> Build<'a> {
    fn new(update: &'a [u8]) -> Self {
        // A struct takes about 17 bytes in real documents. Hostile ones make the vectors grow, that is all.
        let expected = update.len() / 16;
        let document = Document {
            bytes: update,
            clients: Vec::new(),
            index: Vec::new(),
            sections: Vec::new(),
            blocks: Vec::with_capacity(expected),
            clocks: Vec::with_capacity(expected),
            types: Types::default(),
            waiting: Vec::new(),
            waiting_deletes: Vec::new(),
        };
        Self { document, client_indices: HashMap::new(), lately: [(u64::MAX, NONE); LATELY], points: Vec::new() }
    }

    fn client(&mut self, number: u64) -> u32 {
        let lately = number as usize % LATELY;
        if self.lately[lately].0 == number {
            return self.lately[lately].1;
        }
        let document = &mut self.document;
        let index = *self.client_indices.entry(number).or_insert_with(|| {
            document.clients.push(number);
            document.index.push(ClientIndex::default());
            document.clients.len() as u32 - 1
        });
        self.lately[lately] = (number, index);
        index
    }

    fn reference(&mut self, id: Option<Id>) -> Ref {
        id.map_or(Ref::NOTHING, |id| Ref { client: self.client(id.client), clock: id.clock })
    }

    /// Makes a block of each struct but Skips, and collects where they may have to be divided.
    fn read_structs(&mut self, reader: &mut Reader<'a>) -> Result<(), UpdateError> {
        let mut client_before = None;
        for _ in 0..read_section_count(reader)? {
            let section = read_section(reader)?;
            if client_before.is_some_and(|before| before <= section.client) {
                return Err(DecodeError::Invalid { at: reader.position(), what: "clients do not descend" }.into());
            }
            client_before = Some(section.client);
            let client = self.client(section.client);
            let from = self.document.blocks.len() as u32;
            let mut clock = section.clock;
            for _ in 0..section.structs {
                let found = Struct::read(reader, Id { client: section.client, clock })?;
                clock = end_of(clock, found.len, found.offset)?;
                if found.content_ref() != SKIP && found.len > 0 {
                    let block = self.block(client, &found);
                    self.document.blocks.push(block);
                    self.document.clocks.push(block.clock);
                }
            }
            let clocks = &self.document.clocks[from as usize..];
            self.document.index[client as usize] = ClientIndex::new(from, from + clocks.len() as u32, clocks);
            self.document.sections.push(client);
        }
        Ok(())
    }

    fn block(&mut self, client: u32, found: &Struct<'a>) -> Block {
        let kind = found.content_ref();
        let origin = self.reference(found.origin);
        let right_origin = self.reference(found.right_origin);
        let follows = origin.client == client && origin.clock.checked_add(1) == Some(found.id.clock);
        if origin.is_some() && !follows {
            self.points.push((origin.client, origin.clock.saturating_add(1)));
        }
        if right_origin.is_some() {
            self.points.push((right_origin.client, right_origin.clock));
        }
        let (mut parent, mut parent_item) = (NONE, Ref::NOTHING);
        match found.parent {
            Parent::OfNeighbour => {}
            Parent::Root(name) => parent = self.document.types.root(name),
            Parent::Item(id) => parent_item = self.reference(Some(id)),
        }
        let content_end = found.offset + found.bytes.len();
        let mut content_from = content_end - found.content.len();
        if matches!(kind, STRING | ANY | JSON) {
            // The number before the characters or elements.
            content_from += found.content.iter().position(|&byte| byte < 0x80).map_or(0, |last| last + 1);
        }
        let key = found.parent_sub.map_or(NONE, |key| self.document.types.intern(key));
        let holds = if kind == TYPE { self.document.types.nested(self.document.blocks.len() as u32) } else { NONE };
        Block {
            client,
            clock: found.id.clock,
            len: found.len,
            kind,
            deleted: matches!(kind, GC | DELETED),
            state: State::New,
            lost: (false, false),
            origin,
            right_origin,
            left: NONE,
            right: NONE,
            parent,
            parent_item,
            key,
            holds,
            // The update is shorter than 2^32 bytes: checked before anything was read.
            payload: (content_from as u32, content_end as u32),
            at: found.offset as u32,
        }
    }

    /// Divides blocks at all points that lie inside of one.
    fn divide(&mut self) -> Result<(), UpdateError> {
        let mut points = std::mem::take(&mut self.points);
        let document = &self.document;
        points.retain(|&(client, clock)| {
            let covering = document.index.get(client as usize).and_then(|index| index.last_from(&document.clocks, clock));
            // Where a block begins, as most do, the block itself need not be looked at: that is what costs.
            covering
                .is_some_and(|index| document.clocks[index as usize] != clock && clock < document.blocks[index as usize].end())
        });
        if points.is_empty() {
            return Ok(());
        }
        points.sort_unstable();
        points.dedup();
        let whole = std::mem::take(&mut self.document.blocks);
        let mut blocks = Vec::with_capacity(whole.len() + points.len());
        let mut clocks = Vec::with_capacity(whole.len() + points.len());
        for &client in &self.document.sections {
            let ClientIndex { from, to, .. } = self.document.index[client as usize];
            let start = blocks.len() as u32;
            let first = points.partition_point(|point| point.0 < client);
            let mut points = points[first..].iter().take_while(|point| point.0 == client).map(|point| point.1).peekable();
            for block in &whole[from as usize..to as usize] {
                let index = blocks.len() as u32;
                if block.holds != NONE {
                    self.document.types.get_mut(block.holds).item = index;
                }
                let mut rest = *block;
                while let Some(clock) = points.next_if(|&clock| clock < block.end()) {
                    let (left, right) = halves(self.document.bytes, &rest, clock)?;
                    blocks.push(left);
                    rest = right;
                }
                blocks.push(rest);
            }
            clocks.extend(blocks[start as usize..].iter().map(|block: &Block| block.clock));
            self.document.index[client as usize] = ClientIndex::new(start, blocks.len() as u32, &clocks[start as usize..]);
        }
        self.document.clocks = clocks;
        self.document.blocks = blocks;
        Ok(())
    }
}

/// Divides a block before `clock`, which lies inside of it.
fn halves(bytes: &[u8], whole: &Block, clock: u32) -> Result<(Block, Block), UpdateError> {
    let units = clock - whole.clock;
    let (mut left, mut right) = (*whole, *whole);
    left.len = units;
    right.len -= units;
    right.clock = clock;
    right.origin = Ref { client: whole.client, clock: clock - 1 };
    right.parent = NONE;
    right.parent_item = Ref::NOTHING;
    right.key = NONE;
    if whole.kind == GC {
        (left.origin, right.origin) = (Ref::NOTHING, Ref::NOTHING);
        return Ok((left, right));
    }
    let (from, to) = whole.payload;
    let payload = bytes.get(from as usize..to as usize).unwrap_or_default();
    match whole.kind {
        STRING => {
            // What was lost before this piece counts one unit that its bytes do not have.
            let lost = u32::from(whole.lost.0);
            let (middle, in_pair) = match units.checked_sub(lost) {
                Some(units) if units > 0 => {
                    let piece = cut_text(payload, 0, units);
                    (piece.middle.len() as u32, piece.lost_after)
                }
                _ => (0, false),
            };
            let divided = from + middle;
            left.payload.1 = divided;
            left.lost.1 = in_pair;
            // The character that was divided is in neither.
            right.payload.0 = if in_pair { from + after_character(payload, middle as usize) as u32 } else { divided };
            right.lost.0 = in_pair;
        }
        ANY | JSON => {
            let mut reader = Reader::new(payload);
            for _ in 0..units {
                if whole.kind == ANY { skip_any(&mut reader, MAX_ANY_DEPTH)? } else { reader.skip_var_bytes()? }
            }
            let divided = from + reader.position() as u32;
            left.payload.1 = divided;
            right.payload.0 = divided;
        }
        _ => {}
    }
    Ok((left, right))
}
