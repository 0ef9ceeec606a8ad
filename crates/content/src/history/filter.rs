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

    /// Are all changes meant? What is given as 0 or as nothing is as good as not given, where nothing else is.
    pub fn means_everything(&self) -> bool {
        let given = |time: Option<f64>| time.is_some_and(|time| time != 0.0);
        let by_nobody = self.by.as_deref().is_none_or(str::is_empty);
        self.ids.is_none() && !given(self.from) && !given(self.to) && by_nobody && self.custom.is_empty()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentAttribute, IdRange, IdSet};

    /// Who, when, and what else.
    type Said<'a> = (&'a str, u64, &'a [(&'a str, &'a str)]);

    /// Of clock `n` is said what stands at `n`.
    fn map(said: &[Said<'_>]) -> ContentMap {
        let one = |(clock, (who, at_ms, custom)): (u32, &Said<'_>)| {
            let mut inserts = IdSet::default();
            inserts.insert(1, IdRange::new(clock, 1).unwrap());
            let custom: Vec<_> = custom.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            ContentMap::attribution(&ContentIds { inserts, ..ContentIds::default() }, Some(who), *at_ms, &custom)
        };
        ContentMap::union(&(0u32..).zip(said).map(one).collect::<Vec<_>>())
    }

    fn found(filter: &ChangeFilter, map: &ContentMap) -> Vec<u32> {
        let ids = filter.apply(map).to_ids().inserts;
        (0..20).filter(|&clock| ids.contains(1, clock)).collect()
    }

    #[test]
    fn authors_stand_beside_each_other_with_commas() {
        let map = map(&[("ann", 1, &[]), ("bob,ann", 2, &[]), ("ann b", 3, &[]), ("", 4, &[]), ("bob,", 5, &[])]);
        let by = |by: &str| found(&ChangeFilter { by: Some(by.into()), from: Some(1.0), ..ChangeFilter::default() }, &map);
        assert_eq!(by("ann"), [0, 1]);
        assert_eq!(by("bob"), [1, 4]);
        // The name asked for is one name, and no name is one, too, beside another condition.
        assert_eq!(by("bob,ann"), [0; 0]);
        assert_eq!(by(""), [3, 4]);
        assert_eq!(found(&ChangeFilter { by: Some(String::new()), ..ChangeFilter::default() }, &map), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn times_include_their_ends_and_0_is_none() {
        let map = map(&[("a", 0, &[]), ("a", 5, &[]), ("a", 9, &[])]);
        let between = |from, to| found(&ChangeFilter { from, to, ..ChangeFilter::default() }, &map);
        assert_eq!(between(Some(5.0), Some(9.0)), [1, 2]);
        assert_eq!(between(Some(5.1), None), [2]);
        assert_eq!(between(None, Some(5.0)), [0, 1]);
        assert_eq!(between(Some(0.0), Some(4.0)), [0]);
        assert_eq!(between(Some(0.0), Some(0.0)), [0, 1, 2]);
        assert_eq!(between(Some(5.0), Some(0.0)), [0; 0]);
    }

    #[test]
    fn all_pairs_must_be_said() {
        let map = map(&[("a", 1, &[("k", "v"), ("l", "w")]), ("a", 2, &[("k", "v")]), ("a", 3, &[("k", "w")])]);
        let said = |pairs: &[(&str, &str)]| {
            let custom = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            found(&ChangeFilter { custom, ..ChangeFilter::default() }, &map)
        };
        assert_eq!(said(&[("k", "v")]), [0, 1]);
        assert_eq!(said(&[("k", "v"), ("l", "w")]), [0]);
        assert_eq!(said(&[("k", "x")]), [0; 0]);
        assert_eq!(said(&[]), [0, 1, 2]);
    }

    #[test]
    fn content_is_cut_where_it_is_asked_for() {
        let ids = |clock, len| {
            let mut inserts = IdSet::default();
            inserts.insert(1, IdRange::new(clock, len).unwrap());
            ContentIds { inserts, ..ContentIds::default() }
        };
        let map = ContentMap::from_ids(&ids(0, 10), &[ContentAttribute::new("insert", "a")], &[]);
        let filter = ChangeFilter { ids: Some(ids(3, 4)), ..ChangeFilter::default() };
        assert_eq!(found(&filter, &map), [3, 4, 5, 6]);
        assert!(!filter.means_everything() && ChangeFilter::default().means_everything());
        let nothing = ChangeFilter { from: Some(0.0), by: Some(String::new()), ..ChangeFilter::default() };
        assert!(nothing.means_everything() && !ChangeFilter { to: Some(1.0), ..nothing }.means_everything());
    }
}
