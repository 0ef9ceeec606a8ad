//! What is in a document, for programs that do not speak Yjs: as values, as text, as XML. Through yrs.

use bytes::Bytes;
use yhub_content::{Looks, UpdateError, roots};
use yhub_core::RoomId;
use yhub_encoding::{Any, MAX_ANY_DEPTH, Object};
use yrs::{
    Array, Doc, GetString, Map, OffsetKind, Options, ReadTxn, Transact, Update, XmlOut, types::ToJson, updates::decoder::Decode,
};

use crate::{Documents, DocumentsError};

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One object, a value for each root.
    Json,
    /// The characters of texts and of nodes.
    Text,
    /// The markup of nodes; of texts the characters.
    Xml,
}

/// Why a document cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// It is damaged, or nests nodes too deeply.
    #[error(transparent)]
    Document(#[from] UpdateError),
    /// Its values nest more deeply, in their nodes and roots, than they can be read.
    #[error("the document nests {depth} arrays and objects in one another, {max} may be shown; ask for it as text")]
    TooDeep {
        /// How many there are.
        depth: usize,
        /// How many may be.
        max: usize,
    },
    /// yrs does not read it.
    #[error("the document cannot be read as {form:?}: {what}")]
    Unreadable {
        /// As what.
        form: Form,
        /// What yrs says.
        what: String,
    },
}

/// What is in a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// For [`Form::Json`]: an object, any-encoded.
    Values(Bytes),
    /// For the others.
    Text(String),
}

impl Documents {
    /// Shows a document that was loaded, as [`show`] does. It is built anew for that, so it waits for a turn at histories: not all
    /// threads that compute are to build documents at once.
    pub async fn view(
        &self,
        room: &RoomId,
        update: Bytes,
        form: Form,
        wanted: Vec<(String, Looks)>,
    ) -> Result<Result<Shown, ViewError>, DocumentsError> {
        let size_bytes = update.len();
        self.in_turn(room, size_bytes, move || show(&update, form, &wanted)).await
    }
}

/// Shows the roots `wanted` of a document, each as what it is said to be; all of them, as what they look like, if none is named. A root
/// that is named and not there is an empty one.
///
/// # Errors
/// If the document cannot be read.
pub fn show(update: &[u8], form: Form, wanted: &[(String, Looks)]) -> Result<Shown, ViewError> {
    // Also where the roots are named: this is what knows how deep the document is, which yrs follows by recursion.
    let found = roots(update)?;
    let wanted = if wanted.is_empty() { &found } else { wanted };
    let unreadable = |what: &dyn std::fmt::Display| ViewError::Unreadable { form, what: what.to_string() };
    let doc = Doc::with_options(Options { offset_kind: OffsetKind::Utf16, skip_gc: true, ..Options::default() });
    let update = Update::decode_v1(update).map_err(|error| unreadable(&error))?;
    doc.transact_mut().apply_update(update).map_err(|error| unreadable(&error))?;
    let values = wanted.iter().map(|(name, looks)| (name.as_str().into(), Root::of(&doc, name, *looks)));
    let values: Vec<(Box<str>, Root)> = values.collect();
    let txn = doc.transact();
    Ok(match form {
        Form::Json => {
            let values = Object::from_entries(values.into_iter().map(|(name, root)| (name, root.value(&txn))).collect());
            // Values may be as deep as one can be, and lie in nodes and roots here: whoever reads the answer must be able to.
            let (depth, max) = (values.depth(), MAX_ANY_DEPTH);
            if depth > max {
                return Err(ViewError::TooDeep { depth, max });
            }
            Shown::Values(Any::Object(values).to_bytes().into())
        }
        Form::Text | Form::Xml => {
            let texts = values.iter().filter_map(|(_, root)| root.text(&txn, form)).filter(|text| !text.is_empty());
            Shown::Text(texts.collect::<Vec<_>>().join("\n"))
        }
    })
}

enum Root {
    Text(yrs::TextRef),
    Array(yrs::ArrayRef),
    Map(yrs::MapRef),
    Xml(yrs::XmlFragmentRef),
}

impl Root {
    fn of(doc: &Doc, name: &str, looks: Looks) -> Self {
        match looks {
            Looks::Text => Self::Text(doc.get_or_insert_text(name)),
            Looks::Array => Self::Array(doc.get_or_insert_array(name)),
            Looks::Map => Self::Map(doc.get_or_insert_map(name)),
            Looks::Xml => Self::Xml(doc.get_or_insert_xml_fragment(name)),
        }
    }

    fn value<T: ReadTxn>(&self, txn: &T) -> Any {
        match self {
            Self::Text(text) => text.get_string(txn).as_str().into(),
            Self::Array(array) if array.len(txn) == 0 => Any::Array(Vec::new()),
            Self::Array(array) => any(&array.to_json(txn)),
            Self::Map(map) if map.len(txn) == 0 => Any::Object(Object::new()),
            Self::Map(map) => any(&map.to_json(txn)),
            Self::Xml(xml) => xml.get_string(txn).as_str().into(),
        }
    }

    /// `None` for what has no text.
    fn text<T: ReadTxn>(&self, txn: &T, form: Form) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.get_string(txn)),
            Self::Xml(xml) if form == Form::Xml => Some(xml.get_string(txn)),
            Self::Xml(xml) => Some(characters(txn, xml)),
            Self::Array(_) | Self::Map(_) => None,
        }
    }
}

/// The characters in nodes: a line for each node that holds any directly.
fn characters<T: ReadTxn>(txn: &T, xml: &yrs::XmlFragmentRef) -> String {
    use yrs::XmlFragment as _;
    let texts = xml.successors(txn).filter_map(|node| match node {
        // Formats are not text: `get_string` of a node would write them as tags.
        XmlOut::Text(text) => Some(plain(txn, &text)),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn plain<T: ReadTxn>(txn: &T, text: &yrs::XmlTextRef) -> String {
    use yrs::Text as _;
    let parts = text.diff(txn, yrs::types::text::YChange::identity);
    let strings = parts.into_iter().filter_map(|part| match part.insert {
        yrs::Out::Any(yrs::Any::String(text)) => Some(text.to_string()),
        _ => None,
    });
    strings.collect()
}

/// A value of yrs as one of ours. Of an object the keys are in alphabetical order: yrs keeps none.
fn any(value: &yrs::Any) -> Any {
    match value {
        yrs::Any::Null => Any::Null,
        yrs::Any::Undefined => Any::Undefined,
        yrs::Any::Bool(value) => Any::Bool(*value),
        yrs::Any::Number(number) => number.as_f64().map_or_else(|| number.as_i64().map_or(Any::Null, Any::BigInt), Any::Number),
        yrs::Any::String(text) => Any::from(&**text),
        yrs::Any::Buffer(bytes) => Any::Bytes(bytes[..].into()),
        yrs::Any::Array(items) => Any::Array(items.iter().map(any).collect()),
        yrs::Any::Map(map) => {
            let mut entries: Vec<(Box<str>, Any)> = map.iter().map(|(key, value)| (key.as_str().into(), any(value))).collect();
            entries.sort_unstable_by(|(key, _), (other, _)| key.cmp(other));
            Any::Object(Object::from_entries(entries))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nests_more_deeply_than_can_be_read_is_not_shown_as_values() {
        // A root `r` that is a map, with so many lists in one another under `k`.
        let nest = |lists: usize| {
            let mut update = vec![1, 1, 1, 0, 0x28, 1, 1, b'r', 1, b'k', 1];
            update.extend([117, 1].repeat(lists));
            update.extend([126, 0]);
            update
        };
        let Ok(Shown::Values(values)) = show(&nest(MAX_ANY_DEPTH - 2), Form::Json, &[]) else { panic!("it is shown") };
        assert!(Any::from_bytes(&values).is_ok(), "and can be read");
        let deeper = show(&nest(MAX_ANY_DEPTH - 1), Form::Json, &[]);
        assert!(matches!(deeper, Err(ViewError::TooDeep { depth: 257, max: MAX_ANY_DEPTH })), "{deeper:?}");
        assert!(show(&nest(MAX_ANY_DEPTH - 1), Form::Text, &[]).is_ok());
    }
}
