//! Updates written by hand, so that tests of the hub rest on no library that it may share its mistakes with.
//!
//! Layout: Yjs update V1.

use yhub_encoding::{write_var_string, write_var_uint};

/// The root text that hand-written updates write into.
pub const TEXT: &str = "t";

/// A struct that holds a string.
const CONTENT_STRING: u8 = 4;
/// Flag of a struct that says what stands left of it.
const HAS_ORIGIN: u8 = 0x80;
const PARENT_IS_ROOT: u64 = 1;

/// One client that writes at the end of what it has written itself.
#[derive(Clone, Debug)]
pub struct TextWriter {
    client: u64,
    clock: u64,
}

impl TextWriter {
    /// A client that has written nothing.
    pub fn new(client: u64) -> Self {
        Self { client, clock: 0 }
    }

    /// Its client id.
    pub fn client(&self) -> u64 {
        self.client
    }

    /// How many UTF-16 units it has written.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// The update that appends `text`, which must not be empty.
    pub fn append(&mut self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + text.len());
        // One client, one struct.
        for number in [1, 1, self.client, self.clock] {
            write_var_uint(&mut out, number);
        }
        if self.clock == 0 {
            out.push(CONTENT_STRING);
            write_var_uint(&mut out, PARENT_IS_ROOT);
            write_var_string(&mut out, TEXT);
        } else {
            out.push(CONTENT_STRING | HAS_ORIGIN);
            write_var_uint(&mut out, self.client);
            write_var_uint(&mut out, self.clock - 1);
        }
        write_var_string(&mut out, text);
        // Nothing deleted.
        write_var_uint(&mut out, 0);
        self.clock += text.encode_utf16().count() as u64;
        out
    }

    /// The update that deletes `len` units from `clock` on of this client.
    pub fn delete(&self, clock: u64, len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        // No structs; deletions of one client, in one range.
        for number in [0, 1, self.client, 1, clock, len] {
            write_var_uint(&mut out, number);
        }
        out
    }
}

/// A state vector.
pub fn state_vector(entries: &[(u64, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    write_var_uint(&mut out, entries.len() as u64);
    for (client, clock) in entries {
        write_var_uint(&mut out, *client);
        write_var_uint(&mut out, *clock);
    }
    out
}
