//! Documents as people make them, written without a library: as valid updates, one for each edit.

use rand::{Rng, SeedableRng, rngs::StdRng};
use yhub_encoding::write_var_uint;

/// How many clients write one document.
pub(crate) const CLIENTS: usize = 8;

/// Somebody who makes edits without end.
pub(crate) trait Edits {
    /// The next one, as an update.
    fn edit(&mut self) -> Vec<u8>;
}

/// The numbers of the clients.
fn clients(rng: &mut StdRng) -> Vec<u64> {
    (0..CLIENTS).map(|_| rng.random_range(1 << 28..1u64 << 32)).collect()
}

/// An id of something that was inserted.
type Id = (u64, u32);

fn write_id(out: &mut Vec<u8>, (client, clock): Id) {
    write_var_uint(out, client);
    write_var_uint(out, u64::from(clock));
}

/// An update of one struct, without its content, which the caller appends.
fn begin(id: Id, content: u8, left: Option<Id>, right: Option<Id>, parent: &[u8]) -> Vec<u8> {
    let mut out = vec![1, 1];
    write_id(&mut out, id);
    out.push(content | if left.is_some() { 0x80 } else { 0 } | if right.is_some() { 0x40 } else { 0 });
    left.into_iter().chain(right).for_each(|id| write_id(&mut out, id));
    if left.is_none() && right.is_none() {
        out.extend_from_slice(parent);
    }
    out
}

fn word(rng: &mut StdRng, len: usize) -> String {
    (0..len).map(|_| rng.random_range('a'..='z')).collect()
}

/// The clock after everything that a client inserted, which grows by `len`.
fn next_clock(clocks: &mut [u32], which: usize, len: u32) -> u32 {
    let clock = clocks[which];
    clocks[which] += len;
    clock
}

/// Small edits of one text: typing, now and then somewhere else, some deletions, each client knowing what the others did.
pub(crate) struct Typing {
    rng: StdRng,
    clients: Vec<u64>,
    clocks: [u32; CLIENTS],
    /// Where each is writing: index into `text`.
    at: [usize; CLIENTS],
    /// All characters, deleted or not, in order.
    text: Vec<Id>,
}

impl Typing {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self { clients: clients(&mut rng), rng, clocks: [0; CLIENTS], at: [0; CLIENTS], text: Vec::new() }
    }
}

impl Edits for Typing {
    fn edit(&mut self) -> Vec<u8> {
        let which = self.rng.random_range(0..CLIENTS);
        let mut at = self.at[which];
        if self.text.is_empty() || self.rng.random_bool(0.15) {
            // Not everywhere: inserting into the middle of the list is what makes generating slow.
            let last = self.text.len();
            at = self.rng.random_range(last.saturating_sub(2_000)..=last);
        }
        at = at.min(self.text.len());
        if at > 0 && self.rng.random_bool(0.15) {
            let mut out = vec![0, 1];
            let (client, clock) = self.text[at - 1];
            write_var_uint(&mut out, client);
            out.push(1);
            write_var_uint(&mut out, u64::from(clock));
            out.push(1);
            self.at[which] = at - 1;
            return out;
        }
        let len = self.rng.random_range(1..4);
        let (client, clock) = (self.clients[which], next_clock(&mut self.clocks, which, len));
        let (left, right) = (at.checked_sub(1).map(|left| self.text[left]), self.text.get(at).copied());
        let mut out = begin((client, clock), 4, left, right, b"\x01\x04text");
        out.push(len as u8);
        out.extend(word(&mut self.rng, len as usize).as_bytes());
        out.push(0);
        self.text.splice(at..at, (clock..clock + len).map(|clock| (client, clock)));
        self.at[which] = at + len as usize;
        out
    }
}

/// Cells of a table, set again and again: the attributes of one map.
pub(crate) struct Sheet {
    rng: StdRng,
    clients: Vec<u64>,
    clocks: [u32; CLIENTS],
    /// The present value of each cell.
    cells: Vec<Option<Id>>,
}

impl Sheet {
    pub(crate) fn new(seed: u64, cells: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self { clients: clients(&mut rng), rng, clocks: [0; CLIENTS], cells: vec![None; cells] }
    }
}

impl Edits for Sheet {
    fn edit(&mut self) -> Vec<u8> {
        let which = self.rng.random_range(0..CLIENTS);
        let cell = self.rng.random_range(0..self.cells.len());
        let id = (self.clients[which], next_clock(&mut self.clocks, which, 1));
        let key = format!("r{}c{}", cell / 50, cell % 50);
        let before = self.cells[cell].replace(id);
        let mut parent = b"\x01\x05sheet".to_vec();
        parent.push(key.len() as u8);
        parent.extend(key.as_bytes());
        let content = 8 | if before.is_none() { 0x20 } else { 0 };
        let mut out = begin(id, content, before, None, &parent);
        // One value: a short text.
        out.extend([1, 119, 6]);
        out.extend(word(&mut self.rng, 6).as_bytes());
        match before {
            None => out.push(0),
            Some((client, clock)) => {
                out.push(1);
                write_var_uint(&mut out, client);
                out.push(1);
                write_var_uint(&mut out, u64::from(clock));
                out.push(1);
            }
        }
        out
    }
}

/// Whole paragraphs at a time, each behind another one.
pub(crate) struct Bulk {
    rng: StdRng,
    clients: Vec<u64>,
    clocks: [u32; CLIENTS],
    /// The last character of each paragraph.
    ends: Vec<Id>,
}

impl Bulk {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self { clients: clients(&mut rng), rng, clocks: [0; CLIENTS], ends: Vec::new() }
    }
}

impl Edits for Bulk {
    fn edit(&mut self) -> Vec<u8> {
        let which = self.rng.random_range(0..CLIENTS);
        let len = self.rng.random_range(500..4_000);
        let (client, clock) = (self.clients[which], next_clock(&mut self.clocks, which, len));
        let left = (!self.ends.is_empty()).then(|| self.ends[self.rng.random_range(0..self.ends.len())]);
        let mut out = begin((client, clock), 4, left, None, b"\x01\x04text");
        write_var_uint(&mut out, u64::from(len));
        out.extend(word(&mut self.rng, len as usize).as_bytes());
        out.push(0);
        self.ends.push((client, clock + len - 1));
        out
    }
}
