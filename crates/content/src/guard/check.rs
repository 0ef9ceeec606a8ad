//! The parts of the guard that look at texts, values, references and repeated clients.

use std::cell::Cell;

use serde::de::IgnoredAny;
use yhub_encoding::{DecodeError, MAX_ANY_DEPTH, Reader, skip_any};

use super::GuardError;
use crate::UpdateError;
use crate::update::structs::{Check, Id, read_id};

/// Looks at everything.
pub(super) struct Thorough {
    depth: usize,
    own: Cell<Id>,
}

impl Thorough {
    pub(super) fn new(depth: usize) -> Self {
        Self { depth: depth.min(MAX_ANY_DEPTH), own: Cell::new(Id { client: 0, clock: 0 }) }
    }

    /// The next struct begins at `own`.
    pub(super) fn set_own(&self, own: Id) {
        self.own.set(own);
    }
}

impl Check for Thorough {
    // Clients make nothing of them, and neither do we.
    const EMPTY_ITEMS: bool = true;

    #[inline]
    fn string<'a>(&self, reader: &mut Reader<'a>) -> Result<&'a [u8], UpdateError> {
        Ok(reader.var_string()?.as_bytes())
    }

    fn json(&self, reader: &mut Reader<'_>, or_undefined: bool) -> Result<(), UpdateError> {
        let text = reader.var_string()?;
        let good = match text {
            "null" | "true" | "false" => true,
            "undefined" => or_undefined,
            _ => json_depth(text.as_bytes()) <= self.depth && serde_json::from_str::<IgnoredAny>(text).is_ok(),
        };
        if good { Ok(()) } else { Err(UpdateError::Json { at: reader.position() }) }
    }

    fn any(&self, reader: &mut Reader<'_>) -> Result<(), UpdateError> {
        Ok(skip_any(reader, self.depth)?)
    }

    #[inline]
    fn id(&self, reader: &mut Reader<'_>) -> Result<(), UpdateError> {
        let id = read_id(reader)?;
        let own = self.own.get();
        if id.client == own.client && id.clock >= own.clock {
            return Err(UpdateError::ForwardReference { at: reader.position() });
        }
        Ok(())
    }
}

/// How deep the brackets of a JSON text are nested, if it is one.
fn json_depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut in_string = false;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                bytes.next();
            }
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The clients seen so far. They descend in everything that is written; only if they do not, they are sorted to find
/// repeated ones.
#[derive(Default)]
pub(super) struct Seen {
    clients: Vec<u64>,
    disordered_at: Option<usize>,
}

impl Seen {
    /// Adds the client of the list that begins at about `at`.
    pub(super) fn add(&mut self, client: u64, at: usize) -> Result<(), GuardError> {
        match self.clients.last() {
            Some(&last) if last == client => return Err(GuardError::RepeatedClient { client, at }),
            Some(&last) if last < client => self.disordered_at = Some(at),
            _ => {}
        }
        // One element for three bytes of input at least, and within the limit on clients.
        self.clients.push(client);
        Ok(())
    }

    /// Says whether one was repeated.
    pub(super) fn finish(mut self) -> Result<(), GuardError> {
        let Some(at) = self.disordered_at else { return Ok(()) };
        self.clients.sort_unstable();
        match self.clients.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(GuardError::RepeatedClient { client: pair[0], at }),
            None => Ok(()),
        }
    }
}

/// Passes over a set of ids in the form that stands alone; gives the number of its ranges.
pub(super) fn id_set(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let mut total = 0;
    for _ in 0..reader.count(2)? {
        reader.skip_var_uint()?;
        let count = reader.count(2)?;
        total += count;
        let mut end = 0u64;
        for _ in 0..count {
            let at = reader.position();
            // No term is above 2^53: nothing wraps.
            end += reader.var_uint()?;
            end += reader.var_uint()? + 1;
            if end > u64::from(u32::MAX) {
                return Err(DecodeError::Invalid { at, what: "a range of clocks goes beyond 2^32-1" });
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_do_not_nest() {
        assert_eq!(json_depth(br#"{"a":[1,{"b":"[[[\"[["}]}"#), 3);
        assert_eq!(json_depth(b"[[[["), 4);
        assert_eq!(json_depth(b"1"), 0);
    }
}
