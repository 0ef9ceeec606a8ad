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

/// A half of a surrogate pair is lost before what the payload of a text holds.
pub(super) const LOST_BEFORE: u8 = 1;
/// The same behind it.
pub(super) const LOST_AFTER: u8 = 2;

/// A run of ids that will not be divided any further. Indices are [`NONE`] where there is nothing.
///
/// There are as many as a document has structs, and more: what only some of them have lies elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) client: u32,
    pub(super) clock: u32,
    pub(super) len: u32,
    pub(super) origin: Ref,
    pub(super) right_origin: Ref,
    /// Neighbours in the list.
    pub(super) left: u32,
    pub(super) right: u32,
    /// The list that it stands in: that of a type, or the values of one of its attributes. Before it is integrated: what the
    /// update says of it; see [`super::types::Types`].
    pub(super) list: u32,
    /// Its share of the content, as offsets into the update: of texts and lists only the characters or elements, not
    /// their number.
    pub(super) payload: (u32, u32),
    /// The kind of content.
    pub(super) kind: u8,
    pub(super) deleted: bool,
    pub(super) state: State,
    /// [`LOST_BEFORE`] and [`LOST_AFTER`].
    pub(super) lost: u8,
}

const _: () = assert!(size_of::<Block>() == 52);

impl Block {
    /// The clock after its last.
    pub(super) fn end(&self) -> u32 {
        // The end of a struct fits: checked when it was read.
        self.clock.saturating_add(self.len)
    }
}
