//! What a document should be: a plain yrs document, fed with the same updates.

use yrs::{Doc, GetString, ReadTxn, StateVector, Transact, Update, updates::decoder::Decode};

use crate::updates::TEXT;

/// A document of another implementation.
#[derive(Default)]
pub struct Oracle {
    doc: Doc,
}

impl Oracle {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The document that these updates make.
    pub fn of<T: AsRef<[u8]>>(updates: impl IntoIterator<Item = T>) -> Self {
        let oracle = Self::new();
        updates.into_iter().for_each(|update| oracle.apply(update.as_ref()));
        oracle
    }

    /// Adds an update.
    ///
    /// # Panics
    /// If it is none.
    pub fn apply(&self, update: &[u8]) {
        let decoded = Update::decode_v1(update).unwrap_or_else(|error| panic!("yrs does not take {update:?}: {error}"));
        self.doc.transact_mut().apply_update(decoded).expect("a decoded update applies");
    }

    /// The text that hand-written updates write into.
    pub fn text(&self) -> String {
        let text = self.doc.get_or_insert_text(TEXT);
        text.get_string(&self.doc.transact())
    }

    /// Its state vector, encoded, sorted by client: equal for equal states.
    pub fn state(&self) -> Vec<(u64, u32)> {
        let mut state: Vec<_> = self.doc.transact().state_vector().iter().map(|(client, clock)| (client.get(), *clock)).collect();
        state.sort_unstable();
        state
    }

    /// Everything in it as one update.
    pub fn encode(&self) -> Vec<u8> {
        self.doc.transact().encode_state_as_update_v1(&StateVector::default())
    }
}
