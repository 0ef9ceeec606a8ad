//! What acts take, and what somebody has.

use std::fmt;

/// What a caller must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See the document.
    Read,
    /// Change it.
    Write,
    /// Do something that is granted by name.
    Purpose(Purpose),
}

/// How far somebody may go with the content of documents. Each level holds those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not even to see it.
    #[default]
    None,
    /// See it: `r`.
    Read,
    /// Change it: `rw`.
    Write,
}

macro_rules! purposes {
    ($( $(#[doc = $doc:literal])+ $name:ident = $text:literal; )+) => {
        /// What is granted by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Purpose {
            $( $(#[doc = $doc])+ $name, )+
        }

        impl Purpose {
            /// Every one, in the order of their names.
            pub const ALL: &[Self] = &[$( Self::$name, )+];

            /// Its name in grants, errors and the description of the API.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$name => $text, )+
                }
            }
        }
    };
}

purposes! {
    /// Write in the name of other users.
    ActAs = "act-as";
    /// Read what was done and refused.
    Audit = "audit";
    /// Delete a document and keep its content.
    Delete = "delete";
    /// Erase a document for good.
    HardDelete = "hard-delete";
    /// Keep a document from being erased.
    Hold = "hold";
    /// List the rooms of an org, and what was deleted of them.
    List = "list";
    /// Say who is present, for clients of others.
    Presence = "presence";
    /// Have the history forget what is deleted.
    Prune = "prune";
    /// Have open connections checked again, or cut.
    Recheck = "recheck";
    /// Take a deletion back.
    Restore = "restore";
    /// Take changes back.
    Rollback = "rollback";
    /// Let a browser in for a short while.
    Ticket = "ticket";
    /// Give some of the own rights to others for longer.
    Token = "token";
}

impl Purpose {
    /// The purpose of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|purpose| purpose.name() == name)
    }

    /// Does it change what a room holds or shows? Then it takes [`Level::Write`] as well: who may only read cannot change a byte.
    pub const fn edits(self) -> bool {
        matches!(self, Self::ActAs | Self::Rollback | Self::Prune | Self::Presence)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl Right {
    /// Its name in errors and the description of the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Purpose(purpose) => purpose.name(),
        }
    }

    /// Does it change anything?
    pub const fn changes(self) -> bool {
        !matches!(self, Self::Read | Self::Purpose(Purpose::List | Purpose::Audit))
    }
}

/// A set of purposes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Purposes(u32);

impl Purposes {
    /// No purpose.
    pub const NONE: Self = Self(0);
    /// Every purpose.
    pub const ALL: Self = Self((1 << Purpose::ALL.len()) - 1);

    /// Is it among them?
    pub const fn contains(self, purpose: Purpose) -> bool {
        self.0 & purpose.bit() != 0
    }

    /// Both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All of them, ordered by name.
    pub fn iter(self) -> impl Iterator<Item = Purpose> {
        Purpose::ALL.iter().copied().filter(move |purpose| self.contains(*purpose))
    }

    /// Is there none?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Purpose> for Purposes {
    fn from_iter<I: IntoIterator<Item = Purpose>>(purposes: I) -> Self {
        Self(purposes.into_iter().fold(0, |bits, purpose| bits | purpose.bit()))
    }
}

impl fmt::Debug for Purposes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Purpose::name)).finish()
    }
}

/// What somebody has in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// How far they may go with content.
    pub level: Level,
    /// What else they may do.
    pub purposes: Purposes,
}

impl Access {
    /// Nothing.
    pub const NONE: Self = Self { level: Level::None, purposes: Purposes::NONE };
    /// Everything that there is: `admin`.
    pub const ADMIN: Self = Self { level: Level::Write, purposes: Purposes::ALL };

    /// May they do what takes `right`?
    pub fn allows(self, right: Right) -> bool {
        match right {
            Right::Read => self.level >= Level::Read,
            Right::Write => self.level >= Level::Write,
            Right::Purpose(purpose) => self.purposes.contains(purpose) && (!purpose.edits() || self.level >= Level::Write),
        }
    }

    /// Both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { level: self.level.max(other.level), purposes: self.purposes.union(other.purposes) }
    }

    /// Does `self` hold all of `other`?
    pub fn holds(self, other: Self) -> bool {
        self.union(other) == self
    }

    /// May they do nothing at all?
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// The level of a word as grants and back ends write it: `r`, `rw`, and `readonly`, which older ones write for `r`.
    pub fn level_of(word: &str) -> Option<Level> {
        match word {
            "r" | "readonly" => Some(Level::Read),
            "rw" => Some(Level::Write),
            _ => None,
        }
    }
}
