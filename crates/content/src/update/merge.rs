//! Many updates into one.
//!
//! A cursor stands in each input; a heap gives the one whose next struct comes first (clients descending, clocks
//! ascending, then the order of the inputs). From it everything is copied that follows without a gap; what is written
//! already is passed over, the struct that is half written is cut, a gap becomes a Skip. So the cost is that of one
//! walk through all inputs, plus the heap for each change between them.
//!
//! Where inputs overlap this makes the choices of yjs 13: the struct that begins first wins, of several that begin
//! together the one of the first input.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use yhub_encoding::DecodeError;

use super::UpdateError;
use super::deletes::Deletes;
use super::heal::without_empty_items;
use super::reader::{Place, Scanner, read_section, read_section_count};
use super::structs::{GC, Trusting, skim};
use super::write::{Run, Writer};

/// An update without anything in it.
pub const EMPTY_UPDATE: &[u8] = &[0, 0];

/// Merges updates: the result holds what any of them holds, structs and deletions, and leaves nothing out.
///
/// One input is returned as it is, unread; no input gives [`EMPTY_UPDATE`]. Contents are copied, never decoded. The
/// result does not depend on the order of the inputs unless they overlap.
///
/// # Errors
/// [`UpdateError::Input`] names the first input found to be damaged.
pub fn merge<T: AsRef<[u8]>>(updates: &[T]) -> Result<Vec<u8>, UpdateError> {
    match updates {
        [] => Ok(EMPTY_UPDATE.to_vec()),
        [one] => Ok(one.as_ref().to_vec()),
        several => merge_anew(several),
    }
}

/// [`merge`] that reads and writes even a single input: the clients of the result descend.
pub(crate) fn merge_anew<T: AsRef<[u8]>>(updates: &[T]) -> Result<Vec<u8>, UpdateError> {
    match write_merge(updates) {
        Err(UpdateError::Input { source, .. }) if matches!(*source, UpdateError::EmptyStruct { .. }) => {
            let heal = |(input, update): (usize, &T)| {
                let update = without_empty_items(update.as_ref()).map_err(|error| in_input(input, error))?;
                Ok(update.into_owned())
            };
            let healed: Result<Vec<Vec<u8>>, UpdateError> = updates.iter().enumerate().map(heal).collect();
            write_merge(&healed?)
        }
        other => other,
    }
}

fn write_merge<T: AsRef<[u8]>>(updates: &[T]) -> Result<Vec<u8>, UpdateError> {
    let size = updates.iter().map(|update| update.as_ref().len()).sum();
    let mut cursors = Vec::with_capacity(updates.len());
    for (input, update) in updates.iter().enumerate() {
        let scanner = Scanner::new(update.as_ref()).map_err(|error| in_input(input, error))?;
        cursors.push(Cursor { scanner, next: None, section: None, input });
    }
    match run(cursors, size) {
        Ok((writer, cursors)) => {
            let mut deletes = Deletes::default();
            for cursor in cursors {
                gather(cursor.scanner, &mut deletes).map_err(|error| in_input(cursor.input, error))?;
            }
            Ok(writer.finish(deletes))
        }
        Err(Stop::Damaged(error)) => Err(error),
        Err(Stop::Unordered) => merge_unordered(updates, size),
    }
}

/// A merge of inputs whose clients do not all descend: each section is an input of its own.
fn merge_unordered<T: AsRef<[u8]>>(updates: &[T], size: usize) -> Result<Vec<u8>, UpdateError> {
    let mut cursors = Vec::new();
    let mut deletes = Deletes::default();
    for (input, update) in updates.iter().enumerate() {
        let update = update.as_ref();
        let mut split = || -> Result<(), UpdateError> {
            let mut reader = yhub_encoding::Reader::new(update);
            for _ in 0..read_section_count(&mut reader)? {
                let scanner = Scanner::section(update, reader.position())?;
                cursors.push(Cursor { scanner, next: None, section: None, input });
                for _ in 0..read_section(&mut reader)?.structs {
                    skim(&mut reader, &Trusting)?;
                }
            }
            super::reader::read_deletes(&mut reader, |client, start, end| {
                deletes.push(client, start, end);
                Ok(())
            })
        };
        split().map_err(|error| in_input(input, error))?;
    }
    match run(cursors, size) {
        Ok((writer, _)) => Ok(writer.finish(deletes)),
        Err(Stop::Damaged(error)) => Err(error),
        // One section cannot be out of order with itself.
        Err(Stop::Unordered) => Err(UpdateError::Decode(DecodeError::Invalid { at: 0, what: "clients are out of order" })),
    }
}

fn gather(scanner: Scanner<'_>, deletes: &mut Deletes) -> Result<(), UpdateError> {
    scanner.deletes(|client, start, end| {
        deletes.push(client, start, end);
        Ok(())
    })
}

fn in_input(input: usize, source: UpdateError) -> UpdateError {
    UpdateError::Input { input, source: Box::new(source) }
}

/// Why a run ended early.
enum Stop {
    /// An input is damaged.
    Damaged(UpdateError),
    /// The clients of an input do not descend: the heap cannot hand out sections in order.
    Unordered,
}

/// An input, and the struct that comes next in it.
struct Cursor<'a> {
    scanner: Scanner<'a>,
    next: Option<Place>,
    /// Client of the section that `next` lies in, and how many sections follow it.
    section: Option<(u64, usize)>,
    input: usize,
}

impl Cursor<'_> {
    /// Goes to the next struct that is not a Skip.
    #[inline]
    fn advance(&mut self) -> Result<(), Stop> {
        self.next = self.scanner.next_known().map_err(|error| Stop::Damaged(in_input(self.input, error)))?;
        if let Some(next) = &self.next {
            let here = (next.client, self.scanner.sections_left());
            if self.section != Some(here) {
                if self.section.is_some_and(|(client, _)| client <= next.client) {
                    return Err(Stop::Unordered);
                }
                self.section = Some(here);
            }
        }
        Ok(())
    }
}

/// A cursor in the heap; the greatest comes first.
#[derive(PartialEq, Eq)]
struct Turn {
    client: u64,
    clock: u32,
    cursor: usize,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.client.cmp(&other.client).then(other.clock.cmp(&self.clock)).then(other.cursor.cmp(&self.cursor))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Writes the structs of all cursors, whose sections must descend.
fn run(mut cursors: Vec<Cursor<'_>>, size: usize) -> Result<(Writer, Vec<Cursor<'_>>), Stop> {
    let mut writer = Writer::with_capacity(size + 16);
    let mut turns = Vec::with_capacity(cursors.len());
    for (index, cursor) in cursors.iter_mut().enumerate() {
        cursor.advance()?;
        turns.extend(turn(index, cursor));
    }
    let mut heap = BinaryHeap::from(turns);
    let mut copied = Run::default();
    while let Some(Turn { client, cursor: index, .. }) = heap.pop() {
        let cursor = &mut cursors[index];
        let continues = writer.is_open_for(client);
        if continues {
            let mut moved = false;
            while cursor.next.is_some_and(|next| next.client == client && next.end <= writer.end()) {
                cursor.advance()?;
                moved = true;
            }
            // Behind a gap another input may be first now.
            if moved && cursor.next.is_none_or(|next| next.client != client || next.clock > writer.end()) {
                heap.extend(turn(index, cursor));
                continue;
            }
        }
        let Some(mut next) = cursor.next else { continue };
        if !continues {
            writer.begin(client, next.clock);
        }
        writer.skip_to(next.clock);
        let end = write_from(&mut writer, cursor, &mut next, &mut copied)?;
        debug_assert_eq!(end, writer.end());
        heap.extend(turn(index, cursor));
    }
    Ok((writer, cursors))
}

fn turn(index: usize, cursor: &Cursor<'_>) -> Option<Turn> {
    cursor.next.map(|next| Turn { client: next.client, clock: next.clock, cursor: index })
}

/// Writes the struct at `next`, cut where the writer has a part of it, and all that follow without a gap. Returns the
/// clock reached.
fn write_from(writer: &mut Writer, cursor: &mut Cursor<'_>, next: &mut Place, copied: &mut Run) -> Result<u32, Stop> {
    let client = next.client;
    // A GC that meets the GC of another input becomes one with it, and so do those that follow it.
    while next.skim.content() == GC && writer.extend_gc(next.end - writer.end()) {
        match following(cursor, client, writer.end())? {
            Some(follower) => *next = follower,
            None => return Ok(writer.end()),
        }
    }
    if next.clock < writer.end() {
        let from = writer.end();
        let whole = cursor.scanner.view(next).map_err(|error| Stop::Damaged(in_input(cursor.input, error)))?;
        writer.piece(&whole, from, next.end).map_err(|error| Stop::Damaged(in_input(cursor.input, error)))?;
        match following(cursor, client, writer.end())? {
            Some(follower) => *next = follower,
            None => return Ok(writer.end()),
        }
    }
    copied.restart(next);
    while let Some(follower) = following(cursor, client, copied.end())? {
        copied.push(&follower);
    }
    writer.copy(copied, cursor.scanner.bytes());
    Ok(writer.end())
}

/// Advances; gives the struct if it goes on at `clock` of the same client.
#[inline]
fn following(cursor: &mut Cursor<'_>, client: u64, clock: u32) -> Result<Option<Place>, Stop> {
    cursor.advance()?;
    Ok(cursor.next.filter(|next| next.client == client && next.clock == clock))
}
