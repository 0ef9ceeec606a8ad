//! Shows a document as deltas: what is there in one of its states, and what was inserted and deleted by whom.
//!
//! Every block is shown whole or not at all: the document must be divided wherever what is said of it changes.

use yhub_encoding::{Any, MAX_ANY_DEPTH, Object, Reader};

use super::Document;
use super::block::{Block, LOST_AFTER, LOST_BEFORE, NONE, State};
use crate::delta::{Delta, DeltaAttr, DeltaInsert, DeltaItem, DeltaOp};
use crate::update::structs::{ANY, BINARY, DOC, EMBED, FORMAT, JSON, STRING, TYPE};
use crate::{Attributes, IdMap, IdSet, UpdateError};

/// Nodes may be nested so deep: a delta, too, is a value, of four levels a node. What is around it and in it is counted where it is
/// answered.
pub(super) const MAX_DEPTH: usize = MAX_ANY_DEPTH / 4;

/// What to show.
pub(crate) struct Look<'l> {
    /// Who did what, insertions and deletions together. What it speaks of is shown even where it was deleted.
    pub(crate) attributed: &'l IdMap,
    /// What is there. `None`: what is not deleted.
    pub(crate) rendered: Option<&'l IdSet>,
    /// Do nodes show what is in them?
    pub(crate) deep: bool,
}

/// A block that is shown.
struct Shown<'l> {
    attributes: Option<Attributes<'l>>,
    /// Is it shown although it is not there?
    deleted: bool,
}

impl Document<'_> {
    /// How many blocks there are.
    pub(crate) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The root that was met first, if there is any.
    pub(crate) fn first_root(&self) -> Option<&str> {
        self.types.first_root()
    }

    /// The root `name`; one that is not there is empty.
    pub(crate) fn render_root(&self, name: &str, look: &Look<'_>) -> Result<Delta, UpdateError> {
        self.types.find_root(name).map_or(Ok(Delta::default()), |root| self.render(root, look, 0))
    }

    fn render(&self, of: u32, look: &Look<'_>, depth: usize) -> Result<Delta, UpdateError> {
        if depth == MAX_DEPTH {
            let at = self.blocks.get(self.types.get(of).item as usize).map_or(0, |block| block.payload.0 as usize);
            return Err(UpdateError::NestedTooDeep { at });
        }
        let mut delta = Delta::default();
        for (key, last) in self.types.keys(of) {
            if let Some(attr) = self.render_attr(last, look, depth)? {
                delta.attrs.push((key.into(), attr));
            }
        }
        let mut formats = Formats::default();
        let mut next = self.types.list(self.types.get(of).list).first;
        while let Some(block) = self.blocks.get(next as usize) {
            let index = std::mem::replace(&mut next, block.right);
            let Some(shown) = self.shown(block, look) else { continue };
            if block.kind == FORMAT {
                let mut reader = Reader::new(self.payload(block));
                let (key, value) = (reader.var_string()?, json(reader.var_string()?, block)?);
                formats.pass(key, value, &shown);
            } else if let Some(insert) = self.insert(index, look, depth)? {
                delta.push(DeltaOp { insert, format: formats.current.clone(), attribution: formats.attribution(&shown) });
            }
        }
        Ok(delta)
    }

    fn shown<'l>(&self, block: &Block, look: &Look<'l>) -> Option<Shown<'l>> {
        if block.state != State::Done {
            return None;
        }
        let client = self.clients[block.client as usize];
        let is_there = look.rendered.map_or(!block.deleted, |rendered| rendered.contains(client, block.clock));
        let attributes = look.attributed.at(client, block.clock);
        (is_there || attributes.is_some()).then_some(Shown { attributes, deleted: block.deleted && !is_there })
    }

    fn render_attr(&self, last: u32, look: &Look<'_>, depth: usize) -> Result<Option<DeltaAttr>, UpdateError> {
        let Some(block) = self.blocks.get(last as usize) else { return Ok(None) };
        let Some(shown) = self.shown(block, look) else { return Ok(None) };
        let attribution = shown.attributes.map(|attributes| attribution(attributes, shown.deleted, Object::new()));
        if shown.deleted {
            return Ok(Some(DeltaAttr { value: None, attribution }));
        }
        let value = match self.insert(last, look, depth)? {
            Some(DeltaInsert::Text(text)) => Some(DeltaItem::Value(Any::String(text.into()))),
            Some(DeltaInsert::List(mut list)) => list.pop(),
            None => None,
        };
        Ok(value.map(|value| DeltaAttr { value: Some(value), attribution }))
    }

    /// The content of a block, if it has any that is shown.
    fn insert(&self, index: u32, look: &Look<'_>, depth: usize) -> Result<Option<DeltaInsert>, UpdateError> {
        let block = &self.blocks[index as usize];
        let payload = self.payload(block);
        let mut reader = Reader::new(payload);
        let one = |value: Any| DeltaInsert::List(vec![DeltaItem::Value(value)]);
        Ok(Some(match block.kind {
            STRING => {
                let mut text = String::with_capacity(payload.len() + 6);
                let lost = |is: bool| if is { "\u{fffd}" } else { "" };
                text.push_str(lost(block.lost & LOST_BEFORE != 0));
                text.push_str(&String::from_utf8_lossy(payload));
                text.push_str(lost(block.lost & LOST_AFTER != 0));
                DeltaInsert::Text(text)
            }
            ANY => {
                let mut list = Vec::with_capacity(block.len as usize);
                while reader.remaining() > 0 {
                    list.push(DeltaItem::Value(Any::decode(&mut reader, MAX_ANY_DEPTH)?));
                }
                DeltaInsert::List(list)
            }
            JSON => {
                let mut list = Vec::with_capacity(block.len as usize);
                while reader.remaining() > 0 {
                    list.push(DeltaItem::Value(json(reader.var_string()?, block)?));
                }
                DeltaInsert::List(list)
            }
            BINARY => one(Any::Bytes(reader.var_bytes()?.into())),
            EMBED => one(json(reader.var_string()?, block)?),
            DOC => one(Any::Object(Object::from_entries(vec![("guid".into(), reader.var_string()?.into())]))),
            TYPE => {
                let kind = reader.var_uint()?;
                let name = if kind == 3 || kind == 5 { Some(reader.var_string()?.into()) } else { None };
                let holds = self.types.held_by(index);
                let node = if look.deep && holds != NONE { self.render(holds, look, depth + 1)? } else { Delta::default() };
                DeltaInsert::List(vec![DeltaItem::Node(Box::new(Delta { name, ..node }))])
            }
            _ => return Ok(None),
        }))
    }
}

fn json(text: &str, block: &Block) -> Result<Any, UpdateError> {
    // JavaScript writes `undefined` where JSON has nothing.
    if text == "undefined" {
        return Ok(Any::Undefined);
    }
    Any::from_json(text).map_err(|_| UpdateError::Json { at: block.payload.1 as usize })
}

/// How text looks at one place of a list, and who made it so.
#[derive(Default)]
struct Formats {
    current: Object,
    /// What attributed formats took the place of.
    before: Object,
    /// Whose they are.
    by: Object,
    at: Option<Any>,
}

impl Formats {
    /// A format begins or ends here.
    fn pass(&mut self, key: &str, value: Any, shown: &Shown<'_>) {
        let was = self.current.get(key).cloned().unwrap_or(Any::Null);
        if shown.attributes.is_some() && (shown.deleted || self.before.get(key).is_none()) {
            self.before.insert(key, if shown.deleted { value.clone() } else { was });
        }
        if !shown.deleted {
            match value {
                Any::Null => self.current.remove(key),
                value => self.current.insert(key, value),
            }
        }
        let Some(before) = self.before.get(key) else { return };
        let Some(attributes) = shown.attributes.filter(|_| before != self.current.get(key).unwrap_or(&Any::Null)) else {
            // Nobody is named, or it is as it was before.
            self.by.remove(key);
            self.before.remove(key);
            return;
        };
        let (who, when) = if shown.deleted { ("delete", "deleteAt") } else { ("insert", "insertAt") };
        let mut authors = match self.by.get(key) {
            Some(Any::Array(authors)) => authors.clone(),
            _ => Vec::new(),
        };
        authors.extend(attributes.values(who).cloned());
        self.by.insert(key, Any::Array(authors));
        if let Some(at) = attributes.values(when).last() {
            self.at = Some(at.clone());
        }
    }

    /// Who made what is shown here, and who made it look as it does.
    fn attribution(&self, shown: &Shown<'_>) -> Option<Object> {
        let mut object = Object::new();
        if !self.by.is_empty() {
            object.insert("format", Any::Object(self.by.clone()));
            if let Some(at) = &self.at {
                object.insert("formatAt", at.clone());
            }
        }
        match shown.attributes {
            Some(attributes) => Some(attribution(attributes, shown.deleted, object)),
            None => Some(object).filter(|object| !object.is_empty()),
        }
    }
}

/// Adds to an attribution who inserted or deleted something, and what else is said of that.
fn attribution(attributes: Attributes<'_>, deleted: bool, mut object: Object) -> Object {
    let who = if deleted { "delete" } else { "insert" };
    object.insert(who, Any::Array(attributes.values(who).cloned().collect()));
    for attribute in attributes.iter() {
        let name = &*attribute.name;
        if name != "insert" && name != "delete" && !name.starts_with('_') {
            object.insert(name, attribute.value.clone());
        }
    }
    object
}
