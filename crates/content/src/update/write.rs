//! Writes an update section by section. Structs that need no change are copied in runs, not one by one.

use yhub_encoding::write_var_uint;

use super::UpdateError;
use super::cut::write_piece;
use super::deletes::Deletes;
use super::reader::Place;
use super::structs::{GC, HAS_KEY, SKIP, Struct};

/// Writes sections, then the delete set.
pub(crate) struct Writer {
    /// Finished sections.
    done: Vec<u8>,
    sections: u64,
    /// The structs of the open section: their number goes before them, so they wait until it is known.
    open: Vec<u8>,
    structs: u64,
    client: u64,
    first_clock: u32,
    end: u32,
    /// If the last struct written is a GC: where it begins in `open`, and its length.
    last_gc: Option<(usize, u32)>,
}

impl Writer {
    pub(crate) fn with_capacity(size_bytes: usize) -> Self {
        Self {
            done: Vec::with_capacity(size_bytes),
            sections: 0,
            open: Vec::new(),
            structs: 0,
            client: 0,
            first_clock: 0,
            end: 0,
            last_gc: None,
        }
    }

    /// Is a section of `client` open, with something in it?
    #[inline]
    pub(crate) fn is_open_for(&self, client: u64) -> bool {
        self.structs > 0 && self.client == client
    }

    /// The clock after the last struct of the open section.
    #[inline]
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// Begins a section; the one before is finished.
    pub(crate) fn begin(&mut self, client: u64, clock: u32) {
        self.finish_section();
        self.client = client;
        self.first_clock = clock;
        self.end = clock;
    }

    /// Fills the gap up to `clock` with a Skip.
    pub(crate) fn skip_to(&mut self, clock: u32) {
        if clock > self.end {
            self.open.push(SKIP);
            write_var_uint(&mut self.open, u64::from(clock - self.end));
            self.structs += 1;
            self.end = clock;
            self.last_gc = None;
        }
    }

    /// Copies one or more structs that follow each other, `bytes` altogether, as they are.
    #[inline]
    pub(crate) fn copy(&mut self, run: &Run, bytes: &[u8]) {
        let start = self.open.len();
        self.open.extend_from_slice(&bytes[run.from..run.to]);
        for &at in &run.idle_key_bits {
            self.open[start + at - run.from] &= !HAS_KEY;
        }
        self.structs += run.structs;
        self.end = run.end;
        self.last_gc = run.last_gc.map(|(at, len)| (start + at - run.from, len));
    }

    /// Writes the piece of a struct from clock `from` to clock `to`, both inside it.
    pub(crate) fn piece(&mut self, whole: &Struct<'_>, from: u32, to: u32) -> Result<(), UpdateError> {
        let start = self.open.len();
        write_piece(&mut self.open, whole, from - whole.id.clock, to - whole.id.clock)?;
        self.structs += 1;
        self.end = to;
        self.last_gc = (whole.content_ref() == GC).then_some((start, to - from));
        Ok(())
    }

    /// If the last struct is a GC, makes it longer by `len`. Says whether it did.
    pub(crate) fn extend_gc(&mut self, len: u32) -> bool {
        let Some((start, had)) = self.last_gc else { return false };
        self.open.truncate(start);
        self.open.push(GC);
        write_var_uint(&mut self.open, u64::from(had) + u64::from(len));
        self.last_gc = Some((start, had + len));
        self.end += len;
        true
    }

    fn finish_section(&mut self) {
        if self.structs > 0 {
            write_var_uint(&mut self.done, self.structs);
            write_var_uint(&mut self.done, self.client);
            write_var_uint(&mut self.done, u64::from(self.first_clock));
            self.done.extend_from_slice(&self.open);
            self.open.clear();
            self.sections += 1;
            self.structs = 0;
            self.last_gc = None;
        }
    }

    /// The update.
    pub(crate) fn finish(mut self, deletes: Deletes) -> Vec<u8> {
        self.finish_section();
        let mut head = Vec::with_capacity(8);
        write_var_uint(&mut head, self.sections);
        deletes.write(&mut self.done);
        // One more pass over the bytes than a count known beforehand would take: far less than reading them took.
        self.done.splice(0..0, head);
        self.done
    }
}

/// Structs of one section that follow each other in their update and are copied together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    from: usize,
    to: usize,
    structs: u64,
    end: u32,
    last_gc: Option<(usize, u32)>,
    /// Where info bytes lie whose attribute bit is cleared.
    idle_key_bits: Vec<usize>,
}

impl Run {
    /// Forgets everything, keeps the memory, and begins with `place`.
    #[inline]
    pub(crate) fn restart(&mut self, place: &Place) {
        self.idle_key_bits.clear();
        self.from = place.from;
        self.structs = 0;
        self.push(place);
    }

    /// Like [`Run::restart`], but begins after `place`, and so far with nothing.
    pub(crate) fn restart_after(&mut self, place: &Place) {
        self.idle_key_bits.clear();
        (self.from, self.to, self.structs) = (place.to, place.to, 0);
        (self.end, self.last_gc) = (place.end, None);
    }

    /// Adds the struct that follows.
    #[inline]
    pub(crate) fn push(&mut self, place: &Place) {
        if place.skim.has_idle_key_bit() && place.skim.content() != SKIP && place.skim.content() != GC {
            self.idle_key_bits.push(place.from);
        }
        self.to = place.to;
        self.structs += 1;
        self.end = place.end;
        self.last_gc = (place.skim.content() == GC).then(|| (place.from, place.end - place.clock));
    }

    /// The clock after its last struct.
    #[inline]
    pub(crate) fn end(&self) -> u32 {
        self.end
    }
}
