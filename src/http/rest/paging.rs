//! Lists in pages: how many entries a page has, and where the next one begins.

use super::endpoint::{Call, Kind, Param, param};

/// Entries of a page, unless it is said, and at most.
const PAGE: u64 = 100;
const MAX_PAGE: u64 = 1_000;

pub(super) const LIMIT: Param = param("limit", Kind::Count, "At most so many; 100 if not given, never more than 1,000.");
pub(super) const AFTER: Param = param("after", Kind::Text, "The `next` of the page before.");
/// What is said of lists that are not of one org alone.
pub(super) const EVERY_ORG: &str = "An org of `*` is every org, and the hub as a whole.";

/// How many entries the page has that is asked for.
pub(super) fn limit(call: &Call) -> usize {
    call.query.count("limit").filter(|limit| *limit > 0).unwrap_or(PAGE).min(MAX_PAGE) as usize
}

/// Of which org, if not of all.
pub(super) fn org(call: &Call) -> Option<&str> {
    Some(&*call.org).filter(|org| *org != "*")
}
