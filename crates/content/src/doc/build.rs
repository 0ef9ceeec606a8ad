//! From an update to blocks, in two passes over it: one that looks where another struct or a deletion will want a struct divided, and
//! one that makes the blocks, divided there. So they are made once, where they stay.

use std::collections::HashMap;

use yhub_encoding::{DecodeError, MAX_ANY_DEPTH, Reader, skip_any};

use super::Document;
use super::block::{Block, LOST_AFTER, LOST_BEFORE, NONE, Ref, State};
use super::index::ClientIndex;
use super::integrate::MAX_STEPS;
use super::types::Types;
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
        build.look(&mut reader)?;
        let mut deletes = Deletes::default();
        read_deletes(&mut reader, |client, start, end| {
            deletes.push(client, start, end);
            Ok(())
        })?;
        deletes.normalise();
        let ends = deletes.ranges().iter().flat_map(|&(client, start, end)| [(client, start), (client, end)]);
        for (client, clock) in ends.chain(divided.iter().copied()) {
            if let Some(&client) = build.client_indices.get(&client) {
                build.want(client, clock);
            }
        }
        build.make()?;
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
}

/// How many clients [`Build`] remembers without asking its map.
const LATELY: usize = 64;

struct Build<'a> {
    document: Document<'a>,
    client_indices: HashMap<u64, u32>,
    /// Clients asked for lately, and their indices, each at the place that its number gives: mostly a few are asked for
    /// again and again.
    lately: [(u64, u32); LATELY],
    /// Where structs may have to be divided: before these ids, the client in the high half.
    points: Vec<u64>,
}

impl<'a> Build<'a> {
    fn new(update: &'a [u8]) -> Self {
        let document = Document {
            bytes: update,
            clients: Vec::new(),
            index: Vec::new(),
            sections: Vec::new(),
            blocks: Vec::new(),
            clocks: Vec::new(),
            types: Types::default(),
            waits: false,
            waiting_deletes: Vec::new(),
        };
        Self { document, client_indices: HashMap::new(), lately: [(u64::MAX, NONE); LATELY], points: Vec::new() }
    }

    fn want(&mut self, client: u32, clock: u32) {
        self.points.push(u64::from(client) << 32 | u64::from(clock));
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

    /// Collects where structs begin, and where they may have to be divided.
    fn look(&mut self, reader: &mut Reader<'a>) -> Result<(), UpdateError> {
        // A struct takes about 17 bytes in real documents. Hostile ones make the vectors grow, that is all.
        self.document.clocks.reserve(self.document.bytes.len() / 16);
        let mut client_before = None;
        for _ in 0..read_section_count(reader)? {
            let section = read_section(reader)?;
            if client_before.is_some_and(|before| before <= section.client) {
                return Err(DecodeError::Invalid { at: reader.position(), what: "clients do not descend" }.into());
            }
            client_before = Some(section.client);
            let client = self.client(section.client);
            let from = self.document.clocks.len() as u32;
            let mut clock = section.clock;
            for _ in 0..section.structs {
                let found = Struct::read(reader, Id { client: section.client, clock })?;
                if is_block(&found) {
                    self.document.clocks.push(clock);
                    self.want_neighbours(client, &found);
                }
                clock = end_of(clock, found.len, found.offset)?;
            }
            let clocks = &self.document.clocks[from as usize..];
            self.document.index[client as usize] = ClientIndex::new(from, from + clocks.len() as u32, clocks);
            self.document.sections.push(client);
        }
        Ok(())
    }

    fn want_neighbours(&mut self, client: u32, found: &Struct<'a>) {
        let origin = self.reference(found.origin);
        let follows = origin.client == client && origin.clock.checked_add(1) == Some(found.id.clock);
        if origin.is_some() && !follows {
            self.want(origin.client, origin.clock.saturating_add(1));
        }
        let right_origin = self.reference(found.right_origin);
        if right_origin.is_some() {
            self.want(right_origin.client, right_origin.clock);
        }
    }

    /// Makes a block of each struct but Skips, or several where it is to be divided.
    fn make(&mut self) -> Result<(), UpdateError> {
        let mut points = std::mem::take(&mut self.points);
        let document = &mut self.document;
        points.retain(|&point| {
            let (client, clock) = ((point >> 32) as u32, point as u32);
            let index = document.index.get(client as usize);
            // Where a struct begins, as most do, nothing is divided.
            index
                .and_then(|index| index.last_from(&document.clocks, clock))
                .is_some_and(|at| document.clocks[at as usize] != clock)
        });
        points.sort_unstable();
        points.dedup();
        points.shrink_to_fit();
        let most = document.clocks.len() + points.len();
        document.clocks = Vec::with_capacity(most);
        document.blocks = Vec::with_capacity(most);
        let mut reader = Reader::new(document.bytes);
        for _ in 0..read_section_count(&mut reader)? {
            let section = read_section(&mut reader)?;
            let client = self.client(section.client);
            let first = points.partition_point(|&point| point >> 32 < u64::from(client));
            let mut points =
                points[first..].iter().take_while(|&&point| point >> 32 == u64::from(client)).map(|&point| point as u32);
            let mut next_point = points.next();
            let from = self.document.blocks.len() as u32;
            let mut clock = section.clock;
            for _ in 0..section.structs {
                let found = Struct::read(&mut reader, Id { client: section.client, clock })?;
                clock = found.end();
                if !is_block(&found) {
                    continue;
                }
                let mut rest = self.block(client, &found);
                while let Some(point) = next_point.filter(|&point| point < clock) {
                    // One before this struct lies in a gap.
                    if point > rest.clock {
                        let (left, right) = halves(self.document.bytes, &rest, point)?;
                        self.push(left);
                        rest = right;
                    }
                    next_point = points.next();
                }
                self.push(rest);
            }
            let to = self.document.blocks.len() as u32;
            let clocks = &self.document.clocks[from as usize..];
            self.document.index[client as usize] = ClientIndex::new(from, to, clocks);
        }
        Ok(())
    }

    fn push(&mut self, block: Block) {
        self.document.clocks.push(block.clock);
        self.document.blocks.push(block);
    }

    fn block(&mut self, client: u32, found: &Struct<'a>) -> Block {
        let kind = found.content_ref();
        let (origin, right_origin) = (self.reference(found.origin), self.reference(found.right_origin));
        let holder = if let Parent::Item(id) = found.parent { self.reference(Some(id)) } else { Ref::NOTHING };
        let types = &mut self.document.types;
        let key = found.parent_sub.map_or(NONE, |key| types.intern(key));
        let list = match found.parent {
            Parent::OfNeighbour => NONE,
            Parent::Root(name) => {
                let root = types.root(name);
                types.list_of(root, key)
            }
            Parent::Item(_) => types.name_holder(holder, key),
        };
        let content_end = found.offset + found.bytes.len();
        let mut content_from = content_end - found.content.len();
        if matches!(kind, STRING | ANY | JSON) {
            // The number before the characters or elements.
            content_from += found.content.iter().position(|&byte| byte < 0x80).map_or(0, |last| last + 1);
        }
        if kind == TYPE {
            types.nested(self.document.blocks.len() as u32);
        }
        Block {
            client,
            clock: found.id.clock,
            len: found.len,
            origin,
            right_origin,
            left: NONE,
            right: NONE,
            list,
            // The update is shorter than 2^32 bytes: checked before anything was read.
            payload: (content_from as u32, content_end as u32),
            kind,
            deleted: matches!(kind, GC | DELETED),
            state: State::New,
            lost: 0,
        }
    }
}

/// Is it more than a gap?
pub(super) fn is_block(found: &Struct<'_>) -> bool {
    found.content_ref() != SKIP && found.len > 0
}

/// Divides a block before `clock`, which lies inside of it.
fn halves(bytes: &[u8], whole: &Block, clock: u32) -> Result<(Block, Block), UpdateError> {
    let units = clock - whole.clock;
    let (mut left, mut right) = (*whole, *whole);
    left.len = units;
    right.len -= units;
    right.clock = clock;
    right.origin = Ref { client: whole.client, clock: clock - 1 };
    right.list = NONE;
    if whole.kind == GC {
        (left.origin, right.origin) = (Ref::NOTHING, Ref::NOTHING);
        return Ok((left, right));
    }
    let (from, to) = whole.payload;
    let payload = bytes.get(from as usize..to as usize).unwrap_or_default();
    match whole.kind {
        STRING => {
            // What was lost before this piece counts one unit that its bytes do not have.
            let lost = u32::from(whole.lost & LOST_BEFORE);
            let (middle, in_pair) = match units.checked_sub(lost) {
                Some(units) if units > 0 => {
                    let piece = cut_text(payload, 0, units);
                    (piece.middle.len() as u32, piece.lost_after)
                }
                _ => (0, false),
            };
            let divided = from + middle;
            left.payload.1 = divided;
            left.lost = whole.lost & LOST_BEFORE | if in_pair { LOST_AFTER } else { 0 };
            // The character that was divided is in neither.
            right.payload.0 = if in_pair { from + after_character(payload, middle as usize) as u32 } else { divided };
            right.lost = whole.lost & LOST_AFTER | if in_pair { LOST_BEFORE } else { 0 };
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
