//! Cases of access tokens: what is kept of them, from whom they descend, with whom they end, and what lists show.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use yhub_core::access::{Access, Docids, Grant, Grants, Level, MAX_USER_BYTES, Purpose, Purposes, Scope};

use super::{DocStoreRig, audits, support::ODD_PARTS};
use crate::{AccessToken, CreateTokenError, FoundToken, MAX_TOKEN_ANCESTORS, MAX_TOKEN_ID, MAX_TOKEN_LABEL};

fn grants(orgs: &[Option<&str>]) -> Grants {
    let grant = |org: &Option<&str>| Grant {
        scope: Scope { org: org.map(str::to_owned), docids: Docids::Prefix("notes/".to_owned()), branch: None },
        access: Access { level: Level::Write, purposes: Purposes::from_iter([Purpose::List, Purpose::Hold]) },
    };
    Grants::new(orgs.iter().map(grant).collect())
}

/// A token that descends from nobody and never ends.
pub(super) fn token(id: &str) -> AccessToken {
    AccessToken {
        id: id.to_owned(),
        secret_hash: [7; 32],
        ancestors: Vec::new(),
        user: "ann".to_owned(),
        label: "a case".to_owned(),
        grants: grants(&[Some("org")]),
        created_ms: 100,
        expires_ms: None,
        revoked_ms: None,
        by: "root".to_owned(),
    }
}

pub(super) fn child(id: &str, ancestors: &[&str]) -> AccessToken {
    AccessToken { ancestors: ancestors.iter().map(ToString::to_string).collect(), ..token(id) }
}

pub(super) async fn create(rig: &DocStoreRig, token: &AccessToken) -> Result<AccessToken, CreateTokenError> {
    rig.tokens.create(token, None).await
}

async fn find(rig: &DocStoreRig, id: &str) -> Option<FoundToken> {
    rig.tokens.find(id).await.expect("find")
}

pub(super) async fn revoke(rig: &DocStoreRig, id: &str, at_ms: u64) -> Option<u64> {
    rig.tokens.revoke(id, at_ms, None).await.expect("revoke")
}

/// Every field, with odd texts, and with the numbers at their ends.
pub async fn tokens_come_back_whole(rig: DocStoreRig) {
    assert_eq!(find(&rig, "root").await, None);
    let mut hash = [0; 32];
    hash.iter_mut().zip(0..).for_each(|(byte, n)| *byte = n * 8);
    let root = AccessToken { secret_hash: hash, expires_ms: Some(i64::MAX as u64), ..token("root") };
    assert_eq!(create(&rig, &root).await.expect("create"), root);
    assert_eq!(find(&rig, "root").await, Some(FoundToken { token: root, is_revoked: false }));
    for (n, part) in ODD_PARTS.into_iter().enumerate().skip(1) {
        let id = format!("t{n}");
        let odd = AccessToken {
            user: part.to_owned(),
            label: part.to_owned(),
            by: part.to_owned(),
            grants: grants(&[Some(part), None]),
            ..child(&id, &["root"])
        };
        let stored = create(&rig, &odd).await.expect("create");
        assert_eq!(stored, AccessToken { expires_ms: Some(i64::MAX as u64), ..odd });
        assert_eq!(find(&rig, &id).await.expect("it is there").token, stored);
    }
    // Ids are told apart by every letter.
    create(&rig, &token("ROOT")).await.expect("create");
    assert_eq!(find(&rig, "Root").await, None);
    let long = AccessToken { label: "é🦀".repeat(1_000), ..token(&"x".repeat(MAX_TOKEN_ID)) };
    let stored = create(&rig, &long).await.expect("create");
    assert!(stored.label.len() <= MAX_TOKEN_LABEL && long.label.starts_with(&stored.label));
    assert_eq!(find(&rig, &long.id).await.expect("it is there").token, stored);
}

/// What cannot be kept as it is is refused, and found nowhere.
pub async fn what_cannot_be_kept_is_refused(rig: DocStoreRig) {
    let too_long = "x".repeat(MAX_TOKEN_ID + 1);
    for id in ["", "a b", "a_b", "a\0b", "é", "a/b", &too_long] {
        assert!(matches!(create(&rig, &token(id)).await, Err(CreateTokenError::Invalid { field: "id", .. })), "{id:?}");
        assert_eq!(find(&rig, id).await, None);
        assert_eq!(revoke(&rig, id, 1).await, None);
        let of_odd = create(&rig, &child("child", &[id])).await;
        assert!(matches!(of_odd, Err(CreateTokenError::ParentGone { .. })), "{id:?}: {of_odd:?}");
    }
    for user in [String::new(), "a\0".to_owned(), "x".repeat(MAX_USER_BYTES + 1)] {
        let refused = create(&rig, &AccessToken { user, ..token("a") }).await;
        assert!(matches!(refused, Err(CreateTokenError::Invalid { field: "user", .. })), "{refused:?}");
    }
    let refused = create(&rig, &AccessToken { grants: grants(&[Some("a\0")]), ..token("a") }).await;
    assert!(matches!(refused, Err(CreateTokenError::Invalid { field: "grants", .. })), "{refused:?}");
    assert_eq!(rig.tokens.page(None, None, 100).await.expect("page"), []);
    for odd in ["a\0", "é", &too_long] {
        rig.tokens.page(Some(odd), Some(odd), 100).await.expect("page");
    }
}

/// An id is given once.
pub async fn an_id_is_given_once(rig: DocStoreRig) {
    let tries = (0..6u8).map(|n| {
        let rig = &rig;
        async move { (n, create(rig, &AccessToken { secret_hash: [n; 32], ..token("root") }).await) }
    });
    let made = join_all(tries).await;
    let of: Vec<_> = made.iter().filter(|(_, created)| created.is_ok()).collect();
    assert_eq!(of.len(), 1);
    assert!(made.iter().all(|(_, created)| matches!(created, Ok(_) | Err(CreateTokenError::Taken { .. }))), "{made:?}");
    assert_eq!(find(&rig, "root").await.expect("it is there").token.secret_hash, [of[0].0; 32]);
}

/// A token is made only by one that lets its holder in, and ends no later than that.
pub async fn a_parent_must_be_alive(rig: DocStoreRig) {
    assert!(matches!(create(&rig, &child("a", &["none"])).await, Err(CreateTokenError::ParentGone { id }) if id == "none"));
    create(&rig, &AccessToken { expires_ms: Some(200), ..token("root") }).await.expect("create");
    for (own, expected) in [(None, 200), (Some(150), 150), (Some(200), 200), (Some(300), 200)] {
        let id = format!("child{}", own.unwrap_or(0));
        let made = create(&rig, &AccessToken { expires_ms: own, ..child(&id, &["root"]) }).await.expect("create");
        assert_eq!(made.expires_ms, Some(expected));
        assert_eq!(find(&rig, &id).await.expect("it is there").token, made);
    }
    // At the moment at which it ends it has ended.
    let late = create(&rig, &AccessToken { created_ms: 200, ..child("late", &["root"]) }).await;
    assert!(matches!(late, Err(CreateTokenError::ParentExpired { id }) if id == "root"));
    create(&rig, &AccessToken { created_ms: 199, ..child("last", &["root"]) }).await.expect("create");
    let below = create(&rig, &AccessToken { created_ms: 150, ..child("below", &["root", "child150"]) }).await;
    assert!(matches!(below, Err(CreateTokenError::ParentExpired { id }) if id == "child150"));
    // From whom a token descends is not for the caller to choose.
    for wrong in [&["child300"][..], &["last", "child300"], &["root", "last", "child300"], &["child300", "root"]] {
        let refused = create(&rig, &child("wrong", wrong)).await;
        assert!(matches!(refused, Err(CreateTokenError::ParentGone { .. })), "{wrong:?}: {refused:?}");
    }
    revoke(&rig, "child200", 1).await;
    let refused = create(&rig, &child("of", &["root", "child200"])).await;
    assert!(matches!(refused, Err(CreateTokenError::ParentRevoked { id }) if id == "child200"));
    // A chain has an end.
    create(&rig, &token("c0")).await.expect("create");
    let mut line = vec!["c0".to_owned()];
    for n in 1..=MAX_TOKEN_ANCESTORS {
        let id = format!("c{n}");
        create(&rig, &AccessToken { ancestors: line.clone(), ..token(&id) }).await.expect("create");
        line.push(id);
    }
    let found = find(&rig, line.last().expect("it has some")).await.expect("it is there");
    assert_eq!(found.token.ancestors, line[..MAX_TOKEN_ANCESTORS]);
    let deeper = create(&rig, &AccessToken { ancestors: line, ..token("deeper") }).await;
    assert!(matches!(deeper, Err(CreateTokenError::TooDeep { .. })), "{deeper:?}");
}

/// Who is revoked is so with all that descend from it, once, and nobody else is.
pub async fn descendants_are_revoked_along(rig: DocStoreRig) {
    for (id, ancestors) in
        [("a", &[][..]), ("b", &["a"]), ("c", &["a", "b"]), ("d", &["a", "b", "c"]), ("e", &["a"]), ("A", &[]), ("B", &["A"])]
    {
        create(&rig, &child(id, ancestors)).await.expect("create");
    }
    let revoked = async || {
        let mut revoked = Vec::new();
        for id in ["a", "b", "c", "d", "e", "A", "B"] {
            let found = find(&rig, id).await.expect("it is there");
            assert_eq!(found.is_revoked, found.token.revoked_ms.is_some());
            assert_eq!(found.is_alive(1_000), !found.is_revoked);
            revoked.extend(found.token.revoked_ms.map(|at_ms| (id, at_ms)));
        }
        revoked
    };
    assert_eq!(revoked().await, []);
    assert_eq!(revoke(&rig, "none", 5).await, None);
    assert_eq!(revoke(&rig, "c", 5).await, Some(2));
    assert_eq!(revoked().await, [("c", 5), ("d", 5)]);
    assert_eq!(revoke(&rig, "c", 6).await, Some(0), "it was already");
    assert_eq!(revoke(&rig, "a", 7).await, Some(3));
    assert_eq!(revoked().await, [("a", 7), ("b", 7), ("c", 5), ("d", 5), ("e", 7)]);
    assert_eq!(revoke(&rig, "B", 8).await, Some(1));
    assert_eq!(revoked().await.last(), Some(&("B", 8)));
}

/// Of a token that is made and an ancestor that is revoked at the same time, one is first: in the end none lets anybody in.
pub async fn nobody_slips_through_a_revocation(rig: DocStoreRig) {
    for round in 0..10 {
        let ids: Vec<String> = (0..3).map(|depth| format!("r{round}d{depth}")).collect();
        for depth in 0..ids.len() {
            create(&rig, &AccessToken { ancestors: ids[..depth].to_vec(), ..token(&ids[depth]) }).await.expect("create");
        }
        let makers = (0..4).map(|n| {
            let (rig, ids) = (&rig, &ids);
            async move {
                let id = format!("r{round}n{n}");
                let made = create(rig, &AccessToken { ancestors: ids.clone(), ..token(&id) }).await;
                assert!(matches!(made, Ok(_) | Err(CreateTokenError::ParentRevoked { .. })), "{made:?}");
                (id, made.is_ok())
            }
        });
        let (made, revoked) = futures_util::future::join(join_all(makers), revoke(&rig, &ids[round % 3], 5)).await;
        let made: Vec<_> = made.into_iter().filter(|(_, made)| *made).map(|(id, _)| id).collect();
        assert_eq!(revoked, Some((3 - round % 3 + made.len()) as u64), "those that were made first are revoked, too");
        for id in made {
            let found = find(&rig, &id).await.expect("it is there");
            assert_eq!(found.token.revoked_ms, Some(5), "{id}");
        }
    }
}

/// In pages of any size each token comes once; those of an org are those that reach nowhere else.
pub async fn lists_of_an_org_have_what_reaches_no_further(rig: DocStoreRig) {
    let orgs: [(&str, &[Option<&str>]); 7] = [
        ("t1", &[Some("a")]),
        ("t2", &[Some("a"), Some("a")]),
        ("t3", &[Some("a"), Some("b")]),
        ("t4", &[None]),
        ("t5", &[Some("A")]),
        ("t6", &[Some("b")]),
        ("t7", &[Some("")]),
    ];
    // An org without a name cannot be granted.
    for (id, orgs) in orgs.into_iter().take(6) {
        create(&rig, &AccessToken { grants: grants(orgs), ..token(id) }).await.expect("create");
    }
    create(&rig, &AccessToken { grants: grants(&[Some("a")]), ..child("t8", &["t1"]) }).await.expect("create");
    revoke(&rig, "t2", 5).await;
    for (org, expected) in [
        (None, &["t1", "t2", "t3", "t4", "t5", "t6", "t8"][..]),
        (Some("a"), &["t1", "t2", "t8"]),
        (Some("A"), &["t5"]),
        (Some("b"), &["t6"]),
        (Some("*"), &[]),
    ] {
        for max in [1, 2, 100] {
            let mut found = Vec::<AccessToken>::new();
            loop {
                let page = rig.tokens.page(org, found.last().map(|token| token.id.as_str()), max).await.expect("page");
                assert!(page.len() <= max);
                if page.is_empty() {
                    break;
                }
                found.extend(page);
            }
            let ids: Vec<_> = found.iter().map(|token| token.id.as_str()).collect();
            assert_eq!(ids, expected, "of {org:?} in pages of {max}");
            for token in &found {
                assert_eq!(find(&rig, &token.id).await.map(|found| found.token).as_ref(), Some(token));
            }
        }
    }
}

/// What ended long ago is forgotten, so many at a time, and nothing else; and what descends from one that is forgotten lets
/// nobody in.
pub async fn what_ended_long_ago_is_forgotten(rig: DocStoreRig) {
    for n in 0..6u64 {
        create(&rig, &AccessToken { expires_ms: Some(200 + n), ..token(&format!("e{n}")) }).await.expect("create");
        create(&rig, &token(&format!("r{n}"))).await.expect("create");
        create(&rig, &child(&format!("s{n}"), &[&format!("r{n}")])).await.expect("create");
        assert_eq!(revoke(&rig, &format!("r{n}"), 200 + n).await, Some(2));
    }
    create(&rig, &token("alive")).await.expect("create");
    let forget = async |before_ms, max| rig.tokens.delete_ended_before(before_ms, max).await.expect("forget");
    assert_eq!(forget(200, 100).await, 0);
    assert_eq!(forget(203, 4).await, 4);
    assert_eq!((forget(203, 4).await, forget(203, 4).await, forget(203, 4).await), (4, 1, 0));
    let left: BTreeSet<String> =
        rig.tokens.page(None, None, 100).await.expect("page").into_iter().map(|token| token.id).collect();
    let expected = ["alive", "e3", "e4", "e5", "r3", "r4", "r5", "s3", "s4", "s5"];
    assert_eq!(left, expected.into_iter().map(str::to_owned).collect());
    // The parent is forgotten by its own end, before the child by its own.
    create(&rig, &AccessToken { expires_ms: Some(110), ..token("aparent") }).await.expect("create");
    create(&rig, &child("orphan", &["aparent"])).await.expect("create");
    assert_eq!(forget(111, 1).await, 1);
    for id in ["aparent", "orphan"] {
        assert!(find(&rig, id).await.is_none_or(|found| !found.is_alive(105)), "{id}");
    }
    assert_eq!(forget(111, 1).await, 1);
    assert_eq!(audits::all(&rig).await, [], "nobody asked for a record");
}
