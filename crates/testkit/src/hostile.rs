//! Bytes that no honest client sends: mutated, spliced and random messages. A seed repeats them.

use yhub_encoding::{sync, write_var_string, write_var_uint};

use crate::{
    Random, TextWriter,
    updates::state_vector,
    vectors::{hex, list, load},
};

/// A sync step 1 of eight bytes that claims 2^30 entries: some decoders allocate for them, and the process is gone.
pub const BILLION_ENTRIES: [u8; 8] = [0x00, 0x00, 0x05, 0x80, 0x94, 0xeb, 0xdc, 0x03];

/// Numbers at which decoders break.
const EDGES: [u64; 12] =
    [0, 1, 0x7f, 0x80, (1 << 28) - 1, 1 << 30, (1 << 31) - 1, 1 << 31, u32::MAX as u64, (1 << 53) - 1, 1 << 53, u64::MAX >> 1];

/// An endless source of hostile messages.
pub struct Hostile {
    random: Random,
    corpus: Vec<Vec<u8>>,
}

impl Hostile {
    /// Starts from the updates of the golden vectors.
    pub fn new(seed: u64) -> Self {
        let mut corpus: Vec<Vec<u8>> = ["updates-yjs13", "updates-yjs14"]
            .iter()
            .flat_map(|file| {
                let file = load(file);
                let scenarios = list(&file["scenarios"]).iter().flat_map(|scenario| list(&scenario["updates"]));
                scenarios.map(|update| hex(&update["hex"])).collect::<Vec<_>>()
            })
            .collect();
        let mut writer = TextWriter::new(seed);
        corpus.extend((1..20).map(|length| writer.append(&"text ".repeat(length))));
        corpus.push(writer.delete(3, 10));
        Self { random: Random::new(seed), corpus }
    }

    /// The source of its choices.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The next message.
    pub fn message(&mut self) -> Vec<u8> {
        match self.random.below(100) {
            0..=34 => self.update(),
            35..=54 => self.state_vector(),
            55..=81 => self.awareness(),
            82..=84 => self.spliced(),
            85..=87 => {
                let length = self.random.below(64);
                self.random.bytes(length)
            }
            88..=89 => {
                let length = self.random.below(20);
                [&[self.random.below(5) as u8, self.random.below(4) as u8][..], &self.random.bytes(length)].concat()
            }
            90..=92 => self.announced(),
            93 => BILLION_ENTRIES.to_vec(),
            // Kinds that mean nothing to a hub, with anything behind them.
            _ => {
                let mut message = Vec::new();
                write_var_uint(&mut message, *self.random.one_of(&[2, 3, 4, 9, 200, 1 << 40]));
                let length = self.random.below(40);
                message.extend(self.random.bytes(length));
                message
            }
        }
    }

    /// A message that no hub can read: what is claimed is not there.
    pub fn unreadable(&mut self) -> Vec<u8> {
        match self.random.below(3) {
            0 => BILLION_ENTRIES.to_vec(),
            1 => {
                let mut message = vec![0, 2];
                write_var_uint(&mut message, 1_000 + self.random.any() % (1 << 40));
                message.extend(self.random.bytes(20));
                message
            }
            _ => sync::awareness(&[1, 7, 1, 1, b'{']),
        }
    }

    /// Bytes that are no frames, or frames that mean nothing.
    pub fn raw(&mut self) -> Vec<u8> {
        let length = 1 + self.random.below(200);
        let mut bytes = self.random.bytes(length);
        if self.random.below(2) == 0 {
            // A first byte that is taken for a frame, and one that says it is masked.
            bytes[0] = *self.random.one_of(&[0x82, 0x02, 0x00, 0x80, 0x89, 0x88]);
            if let Some(second) = bytes.get_mut(1) {
                *second |= 0x80;
            }
        }
        bytes
    }

    fn update(&mut self) -> Vec<u8> {
        let mut update = self.random.one_of(&self.corpus).clone();
        if self.random.below(2) == 0 {
            let (random, half) = (&mut self.random, update.len() / 2);
            // In half of them only content changes, not structure: such an update is well-formed more often.
            let from = if random.below(2) == 0 { half } else { 0 };
            mutate(random, &mut update, from);
        }
        if self.random.below(2) == 0 { sync::update(&update) } else { sync::step2(&update) }
    }

    fn state_vector(&mut self) -> Vec<u8> {
        let entries: Vec<_> =
            (0..self.random.below(20)).map(|_| (self.number() & 0xff_ffff, self.number() & 0x7fff_ffff)).collect();
        let mut bytes = state_vector(&entries);
        if self.random.below(12) == 0 {
            mutate(&mut self.random, &mut bytes, 0);
        }
        sync::step1(&bytes)
    }

    fn awareness(&mut self) -> Vec<u8> {
        const STATES: [&str; 8] =
            ["null", "{}", "[]", "0", "\"\"", "false", r#"{"a":[1,2,{"b":null}]}"#, r#"{"__proto__":{"x":1}}"#];
        let mut bytes = Vec::new();
        let entries = self.random.below(6);
        write_var_uint(&mut bytes, entries as u64);
        for _ in 0..entries {
            write_var_uint(&mut bytes, self.number() & ((1 << 53) - 1));
            write_var_uint(&mut bytes, self.number() & ((1 << 53) - 1));
            let deep = self.random.below(200);
            match self.random.below(30) {
                0 => write_var_string(&mut bytes, &("[".repeat(deep) + &"]".repeat(deep))),
                _ => write_var_string(&mut bytes, self.random.one_of::<&str>(&STATES)),
            }
        }
        if self.random.below(12) == 0 {
            mutate(&mut self.random, &mut bytes, 0);
        }
        sync::awareness(&bytes)
    }

    /// The beginning of one update and the end of another.
    fn spliced(&mut self) -> Vec<u8> {
        let (one, other) = (self.random.one_of(&self.corpus).clone(), self.random.one_of(&self.corpus).clone());
        let (upto, from) = (self.random.below(one.len()), self.random.below(other.len()));
        sync::update(&[&one[..upto], &other[from..]].concat())
    }

    /// A few bytes that announce much.
    fn announced(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..1 + self.random.below(6) {
            put_any(&mut bytes, self.number());
        }
        match self.random.below(3) {
            0 => sync::step1(&bytes),
            1 => sync::update(&bytes),
            _ => sync::awareness(&bytes),
        }
    }

    fn number(&mut self) -> u64 {
        match self.random.below(3) {
            0 => *self.random.one_of(&EDGES),
            1 => self.random.any() % 300,
            _ => self.random.any() >> 11,
        }
    }
}

/// Changes up to four places from `from` on.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>, from: usize) {
    for _ in 0..1 + random.below(4) {
        if bytes.len() <= from {
            return;
        }
        let at = from + random.below(bytes.len() - from);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.any() as u8,
            2 => bytes.insert(at, random.any() as u8),
            3 => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            _ => {
                let mut number = Vec::new();
                put_any(&mut number, *random.one_of(&EDGES));
                bytes.splice(at..at + 1, number);
            }
        }
    }
}

/// A `varUint` of any size, also one that honest writers refuse to write.
fn put_any(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
