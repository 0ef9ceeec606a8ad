//! A piece of a struct: an item, or a GC.

/// No index.
pub(super) const NONE: u32 = u32::MAX;

/// An id, with the client as index into [`super::Document::clients`]; client [`NONE`] stands for no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ref {
    pub(super) client: u32,
    pub(super) clock: u32,
}

impl Ref {
    pub(super) const NOTHING: Self = Self { client: NONE, clock: 0 };

    pub(super) fn is_some(self) -> bool {
        self.client != NONE
    }
}

/// How far integrating a block has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not looked at.
    New,
    /// Something it refers to is being integrated.
    Begun,
    /// It is in its place.
    Done,
    /// Something it refers to is missing.
    Waiting,
}

/// A run of ids that will not be divided any further. Indices are [`NONE`] where there is nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) client: u32,
    pub(super) clock: u32,
    pub(super) len: u32,
    /// The kind of content.
    pub(super) kind: u8,
    pub(super) deleted: bool,
    pub(super) state: State,
    /// For texts: a half of a surrogate pair is lost before, after what `payload` holds.
    pub(super) lost: (bool, bool),
    pub(super) origin: Ref,
    pub(super) right_origin: Ref,
    /// Neighbours in the list of the parent, or among the values of the attribute.
    pub(super) left: u32,
    pub(super) right: u32,
    /// The type that it belongs to. Before it is integrated: only if the update says it.
    pub(super) parent: u32,
    /// The item that holds the parent, if the update names one.
    pub(super) parent_item: Ref,
    /// The key, if it is an attribute.
    pub(super) key: u32,
    /// The type that it holds.
    pub(super) holds: u32,
    /// Its share of the content, as offsets into the update: of texts and lists only the characters or elements, not
    /// their number.
    pub(super) payload: (u32, u32),
    /// Where the struct begins that it is, or is a piece of.
    pub(super) at: u32,
}

impl Block {
    /// The clock after its last.
    pub(super) fn end(&self) -> u32 {
        // The end of a struct fits: checked when it was read.
        self.clock.saturating_add(self.len)
    }
}
