//! Reading stored any-encoded objects, field by field, without copying their payloads.

use bytes::Bytes;
use yhub_encoding::{AnyRef, DecodeError, MAX_ANY_DEPTH, Reader, read_object_header};

/// The wanted fields of an object, borrowed from its bytes.
pub(crate) struct Fields<'a, const N: usize> {
    input: &'a Bytes,
    names: [&'static str; N],
    values: [Option<AnyRef<'a>>; N],
}

impl<'a, const N: usize> Fields<'a, N> {
    /// Reads the object that `input` begins with. Keys may stand in any order; others than `names` are passed over. Of a
    /// repeated key the last counts.
    pub(crate) fn read(input: &'a Bytes, names: [&'static str; N]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let mut values = [None; N];
        for _ in 0..read_object_header(&mut reader)? {
            let key = reader.var_string()?;
            let value = AnyRef::decode(&mut reader, MAX_ANY_DEPTH)?;
            if let Some(place) = names.iter().position(|name| *name == key) {
                values[place] = Some(value);
            }
        }
        Ok(Self { input, names, values })
    }

    /// The value of a field.
    pub(crate) fn value(&self, name: &str) -> Option<AnyRef<'a>> {
        self.names.iter().position(|known| *known == name).and_then(|place| self.values[place])
    }

    /// The text of a field, if it holds text.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        match self.value(name) {
            Some(AnyRef::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a field, if it holds bytes: shared with the input.
    pub(crate) fn bytes(&self, name: &str) -> Option<Bytes> {
        match self.value(name) {
            // Does not panic: what was read is borrowed from the input.
            Some(AnyRef::Bytes(bytes)) => Some(self.input.slice_ref(bytes)),
            _ => None,
        }
    }
}
