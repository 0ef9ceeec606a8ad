//! Laws of grants, over random ones.

use proptest::prelude::*;
use yhub_encoding::Any;

use super::*;
use crate::RoomId;

fn name() -> impl Strategy<Value = String> {
    // Few and short, so that scopes meet.
    prop::sample::select(vec!["a", "ab", "abc", "b", "*", "main"]).prop_map(str::to_owned)
}

fn access() -> impl Strategy<Value = Access> {
    let level = prop::sample::select(vec![Level::None, Level::Read, Level::Write]);
    let purposes = prop::collection::vec(prop::sample::select(Purpose::ALL), 0..4);
    (level, purposes).prop_map(|(level, purposes)| Access { level, purposes: purposes.into_iter().collect() })
}

fn scope() -> impl Strategy<Value = Scope> {
    let docids = prop_oneof![Just(Docids::All), name().prop_map(Docids::Prefix), name().prop_map(Docids::One)];
    let org = prop::option::of(prop::sample::select(vec!["a", "ab", "b"]).prop_map(str::to_owned));
    (org, docids, prop::option::of(name())).prop_map(|(org, docids, branch)| Scope { org, docids, branch })
}

fn grants() -> impl Strategy<Value = Grants> {
    prop::collection::vec((scope(), access()).prop_map(|(scope, access)| Grant { scope, access }), 1..4).prop_map(Grants::new)
}

fn room() -> impl Strategy<Value = RoomId> {
    (name(), name(), name()).prop_map(|(org, docid, branch)| RoomId::new(&org, &docid, &branch))
}

/// Everywhere that `access` is asked for.
fn places<'a>(room: &'a RoomId) -> [Target<'a>; 3] {
    [Target::Hub, Target::Org(room.org()), Target::Room(room)]
}

proptest! {
    #[test]
    fn what_is_within_gives_nothing_more(parent in grants(), child in grants(), room in room()) {
        if child.within(&parent) {
            for place in places(&room) {
                prop_assert!(parent.access(place).holds(child.access(place)), "{child:?} in {parent:?} at {place:?}");
            }
        }
    }

    #[test]
    fn no_chain_of_hands_widens(chain in prop::collection::vec(grants(), 1..6), room in room()) {
        // Each hands on to the next what it may; who is refused keeps the last that was given.
        let first = chain[0].clone();
        let last = chain.into_iter().reduce(|held, asked| if asked.within(&held) { asked } else { held }).expect("not empty");
        for place in places(&room) {
            prop_assert!(first.access(place).holds(last.access(place)));
        }
    }

    #[test]
    fn everybody_may_hand_on_all_they_have(grants in grants()) {
        prop_assert!(grants.within(&grants));
        prop_assert_eq!(grants.first_beyond(&grants), None);
    }

    #[test]
    fn a_scope_within_another_covers_no_more(one in scope(), other in scope(), room in room()) {
        for place in places(&room) {
            prop_assert!(!one.within(&other) || !one.covers(place) || other.covers(place));
        }
    }

    #[test]
    fn grants_are_read_back(grants in grants()) {
        let written = grants.iter().filter(|grant| !grant.access.is_none()).cloned().collect::<Vec<_>>();
        let grants = Grants::new(written);
        prop_assert_eq!(Grants::from_any(&grants.to_any()), Ok(grants.clone()));
        let json = grants.to_any().to_json();
        prop_assert_eq!(Grants::from_any(&Any::from_json(&json).unwrap()), Ok(grants));
    }
}

fn read(json: &str) -> Result<Grants, GrantError> {
    Grants::from_any(&Any::from_json(json).unwrap())
}

#[test]
fn a_grant_says_where_and_what() {
    let grants =
        read(r#"{ "org": "acme", "docidPrefix": "notes/", "branch": "main", "access": "rw", "purposes": ["list"] }"#).unwrap();
    let access = |org, docid, branch| grants.access(Target::Room(&RoomId::new(org, docid, branch)));
    assert!(access("acme", "notes/1", "main").allows(Right::Write));
    for elsewhere in [access("acme", "notes", "main"), access("other", "notes/1", "main"), access("acme", "notes/1", "draft")] {
        assert!(elsewhere.is_none());
    }
    // Part of an org is not the org.
    assert!(grants.access(Target::Org("acme")).is_none());
    assert!(
        read(r#"{ "org": "acme", "purposes": ["list"] }"#)
            .unwrap()
            .access(Target::Org("acme"))
            .allows(Right::Purpose(Purpose::List))
    );
    // Every org is the hub, and the org of that name is not every org.
    assert!(read(r#"{ "org": "*", "access": "operator" }"#).unwrap().access(Target::Hub).allows(Right::Purpose(Purpose::Audit)));
    assert!(read(r#"{ "org": "*", "access": "operator" }"#).unwrap().access(Target::Org("x")).level == Level::None);
}

/// What is for one org never becomes what is for all, however that one is called.
#[test]
fn a_grant_for_an_org_called_as_all_of_them_is_never_written_as_one_for_all() {
    let scope = Scope { org: Some("*".to_owned()), docids: Docids::One("d".to_owned()), branch: None };
    let grants = Grants::new(vec![Grant { scope, access: Access { level: Level::Write, purposes: Purposes::NONE } }]);
    let written = std::panic::catch_unwind(|| grants.to_any());
    assert_eq!(written.is_err(), cfg!(debug_assertions));
    assert!(written.is_err() || Grants::from_any(&written.unwrap()).is_err());
}

#[test]
fn who_may_only_read_edits_nothing_by_any_purpose() {
    let everything_but_writing = Access { level: Level::Read, purposes: Purposes::ALL };
    for purpose in [Purpose::ActAs, Purpose::Rollback, Purpose::Prune, Purpose::Presence] {
        assert!(!everything_but_writing.allows(Right::Purpose(purpose)), "{purpose:?}");
        assert!(Access::ADMIN.allows(Right::Purpose(purpose)), "{purpose:?}");
    }
    assert!(everything_but_writing.allows(Right::Purpose(Purpose::Delete)));
}

#[test]
fn grants_are_in_one_org_or_in_more() {
    for (json, org) in [
        ("[]", None),
        (r#"{ "org": "a", "access": "r" }"#, Some("a")),
        (r#"[{ "org": "a", "access": "r" }, { "org": "a", "docid": "x", "access": "rw" }]"#, Some("a")),
        (r#"[{ "org": "a", "access": "r" }, { "org": "b", "access": "r" }]"#, None),
        (r#"[{ "org": "a", "access": "r" }, { "org": "*", "access": "r" }]"#, None),
        (r#"[{ "org": "*", "access": "r" }, { "org": "a", "access": "r" }]"#, None),
    ] {
        assert_eq!(read(json).unwrap().only_org(), org, "{json}");
    }
}

#[test]
fn wrong_grants_are_refused_with_the_field() {
    for (json, part) in [
        (r#""all""#, "list"),
        (r#"[["org"]]"#, "list"),
        (r#"{ "access": "rw" }"#, "`org`"),
        (r#"{ "org": "", "access": "rw" }"#, "`org`"),
        (r#"{ "org": 1, "access": "rw" }"#, "`org`"),
        (r#"{ "org": "a" }"#, "`access`"),
        (r#"{ "org": "a", "access": "write" }"#, "`access`"),
        (r#"{ "org": "a", "access": "r", "purposes": "list" }"#, "`purposes`"),
        (r#"{ "org": "a", "access": "r", "purposes": ["lost"] }"#, "\"lost\""),
        (r#"{ "org": "a", "access": "r", "docid": "x", "docidPrefix": "y" }"#, "`docidPrefix`"),
        (r#"{ "org": "a", "access": "r", "doc": "x" }"#, "\"doc\""),
    ] {
        let error = read(json).unwrap_err().to_string();
        assert!(error.contains(part), "{json}: {error}");
    }
    let many = vec![r#"{ "org": "a", "access": "r" }"#; MAX_GRANTS + 1].join(",");
    assert_eq!(read(&format!("[{many}]")), Err(GrantError::TooMany { found: MAX_GRANTS + 1 }));
}

#[test]
fn purposes_have_names_in_order() {
    let names: Vec<_> = Purpose::ALL.iter().map(|purpose| purpose.name()).collect();
    assert!(names.is_sorted());
    assert_eq!(Purposes::ALL.iter().count(), names.len());
    for purpose in Purpose::ALL {
        assert_eq!(Purpose::of_name(purpose.name()), Some(*purpose));
    }
}
