//! Grants: what is given, where. And the law that nobody hands on more than they have.
//!
//! Form, in tokens, requests and the command line: `{ "org": "acme", "docid": "a", "access": "rw", "purposes": ["delete"] }`.
//! `org` is an org or `*` for all of them and is never left out; instead of `docid` there may be `docidPrefix`, and with
//! neither it is for every document; without `branch` it is for every branch. `access` is `r`, `rw`, `operator` or `admin`.

use yhub_encoding::{Any, Object};

use super::right::{Access, Level, Purpose, Purposes};
use crate::RoomId;

/// Grants that one token may hold.
pub const MAX_GRANTS: usize = 100;
/// Bytes of an org, docid, prefix or branch in a grant: as of a room's name.
const MAX_NAME_BYTES: usize = 4096;
/// Stands for every org, and is the name of none.
pub const EVERY_ORG: &str = "*";
/// What an operator may do: see to the hub without seeing what is in it.
const OPERATOR: [Purpose; 4] = [Purpose::Audit, Purpose::Hold, Purpose::List, Purpose::Recheck];

/// Where something is to be done.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// In the hub as a whole.
    Hub,
    /// In an org as a whole.
    Org(&'a str),
    /// In one room.
    Room(&'a RoomId),
}

/// Which documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Docids {
    /// All.
    All,
    /// Those whose docid starts so.
    Prefix(String),
    /// This one.
    One(String),
}

/// Where a grant holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The org; `None`: every org, and the hub as a whole.
    pub org: Option<String>,
    /// Which of its documents. All of them: also the org as a whole.
    pub docids: Docids,
    /// The branch; `None`: every branch.
    pub branch: Option<String>,
}

/// An access in a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Where.
    pub scope: Scope,
    /// What.
    pub access: Access,
}

/// What somebody was given. What several grants give adds up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

/// Why something is no list of grants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// It has another form.
    #[error("grants are a list of objects")]
    NotAList,
    /// There are too many.
    #[error("{found} grants, at most {MAX_GRANTS} are taken")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// A field is not what it should be.
    #[error("`{field}` of a grant {what}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// There is a field that is none.
    #[error("a grant has no field {field:?}; there are org, docid, docidPrefix, branch, access and purposes")]
    Unknown {
        /// Which.
        field: String,
    },
}

impl Scope {
    /// Everywhere.
    pub const HUB: Self = Self { org: None, docids: Docids::All, branch: None };

    /// Is the place within it?
    pub fn covers(&self, target: Target<'_>) -> bool {
        let in_org = |org: &str| self.org.as_deref().is_none_or(|own| own == org);
        let is_whole = self.docids == Docids::All && self.branch.is_none();
        match target {
            Target::Hub => self.org.is_none() && is_whole,
            Target::Org(org) => in_org(org) && is_whole,
            Target::Room(room) => {
                in_org(room.org())
                    && match &self.docids {
                        Docids::All => true,
                        Docids::Prefix(prefix) => room.docid().starts_with(prefix.as_str()),
                        Docids::One(docid) => room.docid() == docid,
                    }
                    && self.branch.as_deref().is_none_or(|own| own == room.branch())
            }
        }
    }

    /// Is every place that it covers covered by `other`, too?
    pub fn within(&self, other: &Self) -> bool {
        let narrower = |own: &Option<String>, other: &Option<String>| other.is_none() || own == other;
        narrower(&self.org, &other.org)
            && narrower(&self.branch, &other.branch)
            && match (&self.docids, &other.docids) {
                (_, Docids::All) => true,
                (Docids::All, _) => false,
                (Docids::Prefix(own) | Docids::One(own), Docids::Prefix(other)) => own.starts_with(other.as_str()),
                (Docids::One(own), Docids::One(other)) => own == other,
                (Docids::Prefix(_), Docids::One(_)) => false,
            }
    }
}

impl Grants {
    /// These.
    pub fn new(grants: Vec<Grant>) -> Self {
        Self(grants)
    }

    /// Everything everywhere that `access` gives.
    pub fn everywhere(access: Access) -> Self {
        Self(vec![Grant { scope: Scope::HUB, access }])
    }

    /// What they give in one place.
    pub fn access(&self, target: Target<'_>) -> Access {
        let here = self.0.iter().filter(|grant| grant.scope.covers(target));
        here.fold(Access::NONE, |access, grant| access.union(grant.access))
    }

    /// Is everything that they give given by `others`, too? Some that are within are not seen to be: where two grants of `others`
    /// cover a scope only together.
    pub fn within(&self, others: &Self) -> bool {
        self.0.iter().all(|grant| {
            let above = others.0.iter().filter(|other| grant.scope.within(&other.scope));
            above.fold(Access::NONE, |access, other| access.union(other.access)).holds(grant.access)
        })
    }

    /// The first grant that gives something which `others` do not: for whoever is to be told.
    pub fn first_beyond(&self, others: &Self) -> Option<&Grant> {
        self.0.iter().find(|grant| !Self(vec![(*grant).clone()]).within(others))
    }

    /// The one org that all of them are in; `None` if they are in several, in all, or if there is none.
    pub fn only_org(&self) -> Option<&str> {
        let mut orgs = self.0.iter().map(|grant| grant.scope.org.as_deref());
        let first = orgs.next()??;
        orgs.all(|org| org == Some(first)).then_some(first)
    }

    /// Each.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Grant> {
        self.0.iter()
    }

    /// Is nothing given?
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|grant| grant.access.is_none())
    }

    /// Reads a list of grants, or one.
    pub fn from_any(value: &Any) -> Result<Self, GrantError> {
        match value {
            Any::Array(list) if list.len() > MAX_GRANTS => Err(GrantError::TooMany { found: list.len() }),
            Any::Array(list) => {
                let grant = |item: &Any| match item {
                    Any::Object(object) => Grant::from_object(object),
                    _ => Err(GrantError::NotAList),
                };
                list.iter().map(grant).collect::<Result<_, _>>().map(Self)
            }
            Any::Object(object) => Ok(Self(vec![Grant::from_object(object)?])),
            _ => Err(GrantError::NotAList),
        }
    }

    /// The list that [`Self::from_any`] reads.
    pub fn to_any(&self) -> Any {
        Any::Array(self.0.iter().map(Grant::to_any).collect())
    }
}

impl Grant {
    fn from_object(object: &Object) -> Result<Self, GrantError> {
        const FIELDS: [&str; 6] = ["org", "docid", "docidPrefix", "branch", "access", "purposes"];
        if let Some((field, _)) = object.iter().find(|(key, _)| !FIELDS.contains(key)) {
            return Err(GrantError::Unknown { field: field.chars().take(40).collect() });
        }
        let wrong = |field, what: &str| GrantError::Field { field, what: what.to_owned() };
        let text = |field: &'static str| match object.get(field) {
            None => Ok(None),
            Some(Any::String(text)) if text.len() > MAX_NAME_BYTES => Err(wrong(field, "is too long")),
            Some(Any::String(text)) => Ok(Some(text.to_string())),
            Some(_) => Err(wrong(field, "is not a text")),
        };
        let org = text("org")?.filter(|org| !org.is_empty()).ok_or_else(|| wrong("org", "is missing; `*` is every org"))?;
        let docids = match (text("docid")?, text("docidPrefix")?) {
            (None, None) => Docids::All,
            (Some(docid), None) => Docids::One(docid),
            (None, Some(prefix)) if prefix.is_empty() => Docids::All,
            (None, Some(prefix)) => Docids::Prefix(prefix),
            (Some(_), Some(_)) => return Err(wrong("docidPrefix", "is given beside `docid`; one of them is enough")),
        };
        let mut access = match text("access")?.as_deref() {
            None => Access::NONE,
            Some("admin") => Access::ADMIN,
            Some("operator") => Access { level: Level::None, purposes: OPERATOR.into_iter().collect() },
            Some(word) => {
                let level = Access::level_of(word).ok_or_else(|| wrong("access", "is none of `r`, `rw`, `operator`, `admin`"))?;
                Access { level, purposes: Purposes::NONE }
            }
        };
        match object.get("purposes") {
            None => {}
            Some(Any::Array(names)) => {
                let purpose = |name: &Any| match name {
                    Any::String(name) => Purpose::of_name(name)
                        .ok_or_else(|| wrong("purposes", &format!("holds {:?}", name.chars().take(40).collect::<String>()))),
                    _ => Err(wrong("purposes", "holds something else than texts")),
                };
                let named: Purposes = names.iter().map(purpose).collect::<Result<_, _>>()?;
                access.purposes = access.purposes.union(named);
            }
            Some(_) => return Err(wrong("purposes", "is not a list")),
        }
        if access.is_none() {
            return Err(wrong("access", "is missing, and so are `purposes`: the grant would give nothing"));
        }
        let org = Some(org).filter(|org| org != EVERY_ORG);
        Ok(Self { scope: Scope { org, docids, branch: text("branch")? }, access })
    }

    fn to_any(&self) -> Any {
        let mut object = Object::default();
        let org = self.scope.org.as_deref();
        // It would be read as a grant for every org. One without an org is refused by who reads it.
        debug_assert_ne!(org, Some(EVERY_ORG), "an org of this name cannot be written down");
        object.insert("org", org.map_or(EVERY_ORG, |org| if org == EVERY_ORG { "" } else { org }).into());
        match &self.scope.docids {
            Docids::All => {}
            Docids::Prefix(prefix) => object.insert("docidPrefix", prefix.as_str().into()),
            Docids::One(docid) => object.insert("docid", docid.as_str().into()),
        }
        if let Some(branch) = &self.scope.branch {
            object.insert("branch", branch.as_str().into());
        }
        if self.access == Access::ADMIN {
            object.insert("access", "admin".into());
            return Any::Object(object);
        }
        match self.access.level {
            Level::None => {}
            Level::Read => object.insert("access", "r".into()),
            Level::Write => object.insert("access", "rw".into()),
        }
        if !self.access.purposes.is_empty() {
            object.insert("purposes", Any::Array(self.access.purposes.iter().map(|purpose| purpose.name().into()).collect()));
        }
        Any::Object(object)
    }
}
