//! Walks through an update: section by section (a section is the structs of one client), struct by struct, then the
//! ranges of the delete set. Nothing is allocated, whatever the bytes announce.

use yhub_encoding::Reader;

use super::UpdateError;
use super::structs::{Id, SKIP, Skim, Struct, Trusting, end_of, read_clock, skim};

/// A struct takes at least two bytes, a section four, a client of the delete set two, a range two.
const MIN_STRUCT: usize = 2;
const MIN_SECTION: usize = 3;
const MIN_DELETES: usize = 2;
const MIN_RANGE: usize = 2;

/// The start of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) client: u64,
    /// Structs that follow.
    pub(crate) structs: usize,
    /// Clock of the first.
    pub(crate) clock: u32,
}

/// Reads the number of sections.
#[inline]
pub(crate) fn read_section_count(reader: &mut Reader<'_>) -> Result<usize, UpdateError> {
    Ok(reader.count(MIN_SECTION)?)
}

/// Reads the start of a section.
#[inline]
pub(crate) fn read_section(reader: &mut Reader<'_>) -> Result<Section, UpdateError> {
    let structs = reader.var_usize()?;
    let client = reader.var_uint()?;
    let clock = read_clock(reader)?;
    if structs > reader.remaining() / MIN_STRUCT {
        let (at, remaining) = (reader.position(), reader.remaining());
        return Err(yhub_encoding::DecodeError::TooLong { at, announced: structs as u64, remaining }.into());
    }
    Ok(Section { client, structs, clock })
}

/// Reads a delete set in V1 coding and hands each range `(client, start, end)` to `each`, as it stands: clients and
/// ranges in any order, empty ranges left out.
#[inline]
pub(crate) fn read_deletes(
    reader: &mut Reader<'_>,
    mut each: impl FnMut(u64, u32, u32) -> Result<(), UpdateError>,
) -> Result<(), UpdateError> {
    for _ in 0..reader.count(MIN_DELETES)? {
        let client = reader.var_uint()?;
        for _ in 0..reader.count(MIN_RANGE)? {
            let at = reader.position();
            let clock = read_clock(reader)?;
            let len = read_clock(reader)?;
            let end = end_of(clock, len, at)?;
            if len > 0 {
                each(client, clock, end)?;
            }
        }
    }
    Ok(())
}

/// A struct under a cursor: what was skimmed, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) skim: Skim,
    pub(crate) client: u64,
    pub(crate) clock: u32,
    /// The clock after its last.
    pub(crate) end: u32,
    /// Its bytes, as offsets into the update.
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// The quick walk: one [`Place`] after the other, Skips included.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    reader: Reader<'a>,
    bytes: &'a [u8],
    sections: usize,
    structs: usize,
    client: u64,
    clock: u32,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, UpdateError> {
        let mut reader = Reader::new(bytes);
        let sections = read_section_count(&mut reader)?;
        Ok(Self { reader, bytes, sections, structs: 0, client: 0, clock: 0 })
    }

    /// A walk through the one section that begins at `offset`.
    pub(crate) fn section(bytes: &'a [u8], offset: usize) -> Result<Self, UpdateError> {
        let mut reader = Reader::new(bytes);
        reader.skip(offset)?;
        Ok(Self { reader, bytes, sections: 1, structs: 0, client: 0, clock: 0 })
    }

    /// The next struct of this section, if there is one.
    #[inline]
    pub(crate) fn next_in_section(&mut self) -> Result<Option<Place>, UpdateError> {
        if self.structs == 0 {
            return Ok(None);
        }
        self.structs -= 1;
        let from = self.reader.position();
        let skim = skim(&mut self.reader, &Trusting)?;
        let end = end_of(self.clock, skim.len, from)?;
        let clock = std::mem::replace(&mut self.clock, end);
        Ok(Some(Place { skim, client: self.client, clock, end, from, to: self.reader.position() }))
    }

    /// Goes to the next section; `None` after the last. Only when this one is done.
    #[inline]
    pub(crate) fn next_section(&mut self) -> Result<Option<Section>, UpdateError> {
        debug_assert_eq!(self.structs, 0, "a section is left half way");
        if self.sections == 0 {
            return Ok(None);
        }
        self.sections -= 1;
        let section = read_section(&mut self.reader)?;
        self.structs = section.structs;
        self.client = section.client;
        self.clock = section.clock;
        Ok(Some(section))
    }

    /// The next struct that is not a Skip, wherever it is.
    #[inline]
    pub(crate) fn next_known(&mut self) -> Result<Option<Place>, UpdateError> {
        loop {
            match self.next_in_section()? {
                Some(place) if place.skim.content() == SKIP => {}
                Some(place) => return Ok(Some(place)),
                None => {
                    if self.next_section()?.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// How many sections follow the one being read.
    #[inline]
    pub(crate) fn sections_left(&self) -> usize {
        self.sections
    }

    /// The update.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The full view of a struct found earlier.
    pub(crate) fn view(&self, place: &Place) -> Result<Struct<'a>, UpdateError> {
        let mut reader = Reader::new(self.bytes);
        reader.skip(place.from)?;
        Struct::read(&mut reader, Id { client: place.client, clock: place.clock })
    }

    /// A reader at the next byte: at the delete set, after the last section.
    pub(crate) fn rest(&self) -> Reader<'a> {
        self.reader
    }

    /// The ranges of the delete set, as [`read_deletes`]. Only after the last section.
    pub(crate) fn deletes(mut self, each: impl FnMut(u64, u32, u32) -> Result<(), UpdateError>) -> Result<(), UpdateError> {
        debug_assert_eq!((self.sections, self.structs), (0, 0), "the structs are not all read");
        read_deletes(&mut self.reader, each)
    }
}

/// Reads all structs of an update, Skips included, as full views; then its delete set.
///
/// The structure is checked as it is read; texts inside contents are not (the guard does that). Items without content,
/// which cover no id, are passed over.
#[derive(Clone, Debug)]
pub struct UpdateReader<'a> {
    reader: Reader<'a>,
    sections: usize,
    structs: usize,
    next: Id,
}

impl<'a> UpdateReader<'a> {
    /// Begins with the first struct.
    pub fn new(update: &'a [u8]) -> Result<Self, UpdateError> {
        let mut reader = Reader::new(update);
        let sections = read_section_count(&mut reader)?;
        Ok(Self { reader, sections, structs: 0, next: Id { client: 0, clock: 0 } })
    }

    /// The next struct in the order of the update; `None` when the delete set begins.
    pub fn next_struct(&mut self) -> Result<Option<Struct<'a>>, UpdateError> {
        loop {
            while self.structs == 0 {
                if self.sections == 0 {
                    return Ok(None);
                }
                self.sections -= 1;
                let section = read_section(&mut self.reader)?;
                self.structs = section.structs;
                self.next = Id { client: section.client, clock: section.clock };
            }
            self.structs -= 1;
            let found = Struct::read(&mut self.reader, self.next)?;
            self.next.clock = end_of(found.id.clock, found.len, found.offset)?;
            if found.len > 0 {
                return Ok(Some(found));
            }
        }
    }

    /// Hands each range of the delete set `(client, start, end)` to `each`, in the order of the update. Structs that
    /// were not read are passed over.
    pub fn deletes(mut self, mut each: impl FnMut(u64, u32, u32)) -> Result<(), UpdateError> {
        while self.next_struct()?.is_some() {}
        read_deletes(&mut self.reader, |client, start, end| {
            each(client, start, end);
            Ok(())
        })
    }
}
