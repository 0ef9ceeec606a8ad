//! Which changes are meant: by time, author, content and what else is said of them.

use yhub_encoding::Any;

use crate::{Attributes, ContentIds, ContentMap};

/// Which changes are meant. What is not given does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeFilter {
    /// Made at this time or later, in milliseconds since 1970. 0 is as good as nothing, unless [`Self::to`] is given.
    pub from: Option<f64>,
    /// Made at this time or before. 0 is as good as nothing.
    pub to: Option<f64>,
    /// Made by this user.
    pub by: Option<String>,
    /// Of this content.
    pub ids: Option<ContentIds>,
    /// All these pairs are said of the change.
    pub custom: Vec<(String, String)>,
}

impl ChangeFilter {
    /// Everything up to a time; `None`: everything.
    pub fn upto(to: Option<f64>) -> Self {
        Self { from: Some(0.0), to, ..Self::default() }
    }

    /// Does it name anything? Where it does not, all changes are meant.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The part of `map` that is of these changes. A range is taken as a whole: what is said of it decides.
    pub fn apply(&self, map: &ContentMap) -> ContentMap {
        let given = |time: Option<f64>| time.is_some_and(|time| time != 0.0);
        let within = self.ids.as_ref().map(|ids| map.restricted_to(ids));
        let map = within.as_ref().unwrap_or(map);
        let by = self.by.as_deref();
        if !given(self.from) && !given(self.to) && by.is_none_or(str::is_empty) && self.custom.is_empty() {
            return map.clone();
        }
        let by_time = given(self.from) || given(self.to);
        let wanted = |attributes: Attributes<'_>| {
            (!by_time || self.is_in_time(attributes))
                && by.is_none_or(|by| is_by(attributes, by))
                && self.custom.iter().all(|(key, value)| says(attributes, key, value))
        };
        map.filter(wanted, wanted)
    }

    fn is_in_time(&self, attributes: Attributes<'_>) -> bool {
        ["insertAt", "deleteAt"]
            .iter()
            .flat_map(|name| attributes.values(name))
            .filter_map(Any::as_f64)
            .any(|at| self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at <= to))
    }
}

/// Is `by` among the authors, of whom several may stand in one value with commas between them?
fn is_by(attributes: Attributes<'_>, by: &str) -> bool {
    let authors = ["insert", "delete"].iter().flat_map(|name| attributes.values(name)).filter_map(Any::as_str);
    authors.into_iter().any(|authors| authors.split(',').any(|author| author == by))
}

fn says(attributes: Attributes<'_>, key: &str, value: &str) -> bool {
    let name = |half: &str| format!("{half}:{key}");
    [name("insert"), name("delete")].iter().flat_map(|name| attributes.values(name)).any(|said| said.as_str() == Some(value))
}
