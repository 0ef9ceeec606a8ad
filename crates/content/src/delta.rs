//! Deltas: a node of a document as the list of what it shows, with who wrote and deleted it.
//!
//! The form is that of the delta JSON of Yjs 14; `docs/PROTOCOL.md` describes it.

use yhub_encoding::{Any, Object};

/// What a node shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// The name of the node, if it has one.
    pub name: Option<Box<str>>,
    /// Its attributes, by key.
    pub attrs: Vec<(Box<str>, DeltaAttr)>,
    /// Its content, in order.
    pub children: Vec<DeltaOp>,
}

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct DeltaAttr {
    /// Its value; `None` if it was deleted and is only shown for who did it.
    pub value: Option<DeltaItem>,
    /// Who set or deleted it.
    pub attribution: Option<Object>,
}

/// A run of content of one kind that looks alike and is of the same people.
#[derive(Clone, Debug, PartialEq)]
pub struct DeltaOp {
    /// The content.
    pub insert: DeltaInsert,
    /// How text looks.
    pub format: Object,
    /// Who inserted, deleted and formatted it.
    pub attribution: Option<Object>,
}

/// Content.
#[derive(Clone, Debug, PartialEq)]
pub enum DeltaInsert {
    /// Text.
    Text(String),
    /// Values and nodes.
    List(Vec<DeltaItem>),
}

/// One element.
#[derive(Clone, Debug, PartialEq)]
pub enum DeltaItem {
    /// A value.
    Value(Any),
    /// A node.
    Node(Box<Delta>),
}

impl Delta {
    /// Appends what follows: text to text and elements to elements if they look alike and are of the same people.
    pub(crate) fn push(&mut self, op: DeltaOp) {
        if let Some(last) = self.children.last_mut()
            && last.format == op.format
            && last.attribution == op.attribution
        {
            match (&mut last.insert, op.insert) {
                (DeltaInsert::Text(text), DeltaInsert::Text(more)) => return text.push_str(&more),
                (DeltaInsert::List(list), DeltaInsert::List(more)) => return list.extend(more),
                (_, insert) => return self.children.push(DeltaOp { insert, ..op }),
            }
        }
        self.children.push(op);
    }

    /// About how many bytes it takes as a value.
    pub(crate) fn size_bytes(&self) -> usize {
        /// Keys and tags of an element.
        const FRAME_BYTES: usize = 64;
        let item = |item: &DeltaItem| match item {
            DeltaItem::Value(value) => FRAME_BYTES + value.to_bytes().len(),
            DeltaItem::Node(node) => FRAME_BYTES + node.size_bytes(),
        };
        let said = |object: &Object| object.iter().map(|(key, value)| key.len() + value.to_bytes().len()).sum::<usize>();
        let child = |op: &DeltaOp| {
            let insert = match &op.insert {
                DeltaInsert::Text(text) => text.len(),
                DeltaInsert::List(items) => items.iter().map(item).sum(),
            };
            FRAME_BYTES + insert + said(&op.format) + op.attribution.as_ref().map_or(0, said)
        };
        let attr = |(key, attr): &(Box<str>, DeltaAttr)| {
            FRAME_BYTES + key.len() + attr.value.as_ref().map_or(0, item) + attr.attribution.as_ref().map_or(0, said)
        };
        self.attrs.iter().map(attr).sum::<usize>() + self.children.iter().map(child).sum::<usize>()
    }

    /// How many arrays and objects of its value lie inside one another ([`Any::depth`]).
    pub(crate) fn depth(&self) -> usize {
        let item = |item: &DeltaItem| match item {
            DeltaItem::Value(value) => value.depth(),
            DeltaItem::Node(node) => node.depth(),
        };
        let said = |object: &Option<Object>| object.as_ref().map_or(0, Object::depth);
        // Each in an object of its own, and these in an object by key.
        let attr = |attr: &DeltaAttr| 2 + attr.value.as_ref().map_or(0, item).max(said(&attr.attribution));
        // The same, in a list.
        let child = |op: &DeltaOp| {
            let insert = match &op.insert {
                DeltaInsert::Text(_) => 0,
                DeltaInsert::List(items) => 1 + items.iter().map(item).max().unwrap_or(0),
            };
            // One that is empty is left out.
            let format = if op.format.is_empty() { 0 } else { op.format.depth() };
            2 + insert.max(format).max(said(&op.attribution))
        };
        1 + self.attrs.iter().map(|(_, value)| attr(value)).chain(self.children.iter().map(child)).max().unwrap_or(0)
    }

    /// The delta as a value, in the order of keys that JavaScript gives it.
    pub fn to_any(&self) -> Any {
        let mut delta = typed("delta");
        if let Some(name) = &self.name {
            delta.insert("name", Any::String(name.clone()));
        }
        if !self.attrs.is_empty() {
            let attrs = self.attrs.iter().map(|(key, attr)| (key.clone(), attr.to_any())).collect();
            delta.insert("attrs", Any::Object(Object::from_entries(attrs)));
        }
        if !self.children.is_empty() {
            delta.insert("children", Any::Array(self.children.iter().map(DeltaOp::to_any).collect()));
        }
        Any::Object(delta)
    }
}

impl DeltaAttr {
    fn to_any(&self) -> Any {
        let mut attr = typed(if self.value.is_some() { "insert" } else { "delete" });
        if let Some(value) = &self.value {
            attr.insert("value", value.to_any());
        }
        if let Some(attribution) = &self.attribution {
            attr.insert("attribution", Any::Object(attribution.clone()));
        }
        Any::Object(attr)
    }
}

impl DeltaOp {
    fn to_any(&self) -> Any {
        let mut op = typed("insert");
        let insert = match &self.insert {
            DeltaInsert::Text(text) => Any::String(text.as_str().into()),
            DeltaInsert::List(list) => Any::Array(list.iter().map(DeltaItem::to_any).collect()),
        };
        op.insert("insert", insert);
        if !self.format.is_empty() {
            op.insert("format", Any::Object(self.format.clone()));
        }
        if let Some(attribution) = &self.attribution {
            op.insert("attribution", Any::Object(attribution.clone()));
        }
        Any::Object(op)
    }
}

impl DeltaItem {
    fn to_any(&self) -> Any {
        match self {
            Self::Value(value) => value.clone(),
            Self::Node(delta) => delta.to_any(),
        }
    }
}

fn typed(name: &str) -> Object {
    Object::from_entries(vec![("type".into(), name.into())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_is_as_deep_as_its_value() {
        let object = |value: Any| Object::from_entries(vec![("k".into(), value)]);
        let nested = |levels: usize| (0..levels).fold(Any::Null, |inner, _| Any::Array(vec![inner]));
        let op =
            |insert, format, attribution| Delta { children: vec![DeltaOp { insert, format, attribution }], ..Delta::default() };
        let attr = |value, attribution| Delta { attrs: vec![("a".into(), DeltaAttr { value, attribution })], ..Delta::default() };
        let text = || DeltaInsert::Text("x".into());
        let node = |delta: Delta| DeltaItem::Node(Box::new(delta));
        for levels in 0..6 {
            for delta in [
                Delta::default(),
                op(text(), object(nested(levels)), None),
                op(text(), Object::new(), Some(object(nested(levels)))),
                op(
                    DeltaInsert::List(vec![DeltaItem::Value(nested(levels)), DeltaItem::Value(Any::Null)]),
                    object(Any::Null),
                    None,
                ),
                op(DeltaInsert::List(vec![node(op(text(), object(nested(levels)), None))]), Object::new(), None),
                attr(Some(DeltaItem::Value(nested(levels))), None),
                attr(None, Some(object(nested(levels)))),
                attr(Some(node(attr(Some(DeltaItem::Value(nested(levels))), None))), Some(object(nested(2)))),
            ] {
                assert_eq!(delta.depth(), delta.to_any().depth(), "{delta:?}");
            }
        }
    }
}
