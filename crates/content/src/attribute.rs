//! What is said of content: pairs of a name and a value, such as who inserted it and when.

use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use yhub_encoding::Any;

/// Something said of content.
///
/// Two attributes are equal iff they encode to the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentAttribute {
    /// What is said, such as `insertAt`.
    pub name: AttributeName,
    /// The value said.
    pub value: Any,
}

impl ContentAttribute {
    /// The attribute of this name and value.
    pub fn new(name: impl Into<AttributeName>, value: impl Into<Any>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// The name of an attribute. The usual ones take no memory of their own, others are shared: cheap to clone.
#[derive(Clone)]
pub struct AttributeName(Repr);

#[derive(Clone)]
enum Repr {
    Known(&'static str),
    Other(Arc<str>),
}

impl AttributeName {
    /// Who inserted it: a user id.
    pub const INSERT: Self = Self(Repr::Known("insert"));
    /// When it was inserted: milliseconds since 1970.
    pub const INSERT_AT: Self = Self(Repr::Known("insertAt"));
    /// Who deleted it: a user id.
    pub const DELETE: Self = Self(Repr::Known("delete"));
    /// When it was deleted: milliseconds since 1970.
    pub const DELETE_AT: Self = Self(Repr::Known("deleteAt"));
}

impl From<&str> for AttributeName {
    fn from(name: &str) -> Self {
        match name {
            "insert" => Self::INSERT,
            "insertAt" => Self::INSERT_AT,
            "delete" => Self::DELETE,
            "deleteAt" => Self::DELETE_AT,
            _ => Self(Repr::Other(name.into())),
        }
    }
}

impl Deref for AttributeName {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Repr::Known(name) => name,
            Repr::Other(name) => name,
        }
    }
}

impl PartialEq for AttributeName {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for AttributeName {}

impl Hash for AttributeName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
