//! Cases of notices: what is kept of them, which come and in which order, how they end, and that revoked tokens leave them.

use std::collections::{BTreeMap, HashSet};

use futures_util::future::join_all;
use yhub_core::{
    UserMatcher,
    access::{Identity, Via},
};
use yhub_encoding::{Any, Object};

use super::{
    DocStoreRig, audits,
    support::ODD_PARTS,
    tokens::{child, create, revoke, token},
};
use crate::{MAX_NOTICE_USERS, MAX_NOTICES, MAX_NOTICES_BYTES, Notice, NoticeHead, NoticeId};

fn notice(at_ms: u64, user: &str) -> Notice {
    Notice { at_ms, org: Some("org".to_owned()), users: Some(vec![UserMatcher::User(user.to_owned())]), cut: false }
}

async fn publish(rig: &DocStoreRig, notice: &Notice) {
    rig.notices.publish(notice, None).await.expect("publish");
}

async fn list(rig: &DocStoreRig, at_ms: u64, max: usize) -> (Vec<NoticeHead>, bool) {
    let list = rig.notices.list(at_ms, max).await.expect("list");
    (list.heads, list.more)
}

async fn bring(rig: &DocStoreRig, heads: &[NoticeHead]) -> Vec<(NoticeId, Notice)> {
    rig.notices.bring(heads).await.expect("bring")
}

/// Those of a time and later, which must be few.
async fn since(rig: &DocStoreRig, at_ms: u64) -> Vec<(NoticeId, Notice)> {
    let (heads, more) = list(rig, at_ms, MAX_NOTICES).await;
    assert!(!more);
    let brought = bring(rig, &heads).await;
    let told: Vec<_> = heads.iter().map(|head| (&head.id, head.at_ms, &head.org)).collect();
    assert_eq!(told, brought.iter().map(|(id, notice)| (id, notice.at_ms, &notice.org)).collect::<Vec<_>>());
    brought
}

/// All there are, which must be few.
async fn all(rig: &DocStoreRig) -> Vec<Notice> {
    since(rig, 0).await.into_iter().map(|(_, notice)| notice).collect()
}

/// Every field, with odd texts and claims, and with the numbers at their ends.
pub async fn notices_come_back_whole(rig: DocStoreRig) {
    assert_eq!(all(&rig).await, []);
    let mut written = vec![
        Notice::check_everybody(0),
        Notice { cut: true, ..Notice::check_everybody(1) },
        // Nobody is not everybody.
        Notice { users: Some(Vec::new()), ..Notice::check_everybody(2) },
    ];
    for (n, part) in (3..).zip(ODD_PARTS) {
        let value = Any::Array(vec![Any::from(part), Any::Null, Any::Bool(true), Any::Number(-0.5), Any::Bytes([0, 255].into())]);
        let users = vec![
            UserMatcher::User(part.to_owned()),
            UserMatcher::User("a\0b".to_owned()),
            UserMatcher::Identity(Object::from_iter([(part, value), ("", Any::Object(Object::default()))])),
            UserMatcher::Identity(Object::default()),
        ];
        written.push(Notice { at_ms: n, org: Some(part.to_owned()), users: Some(users), cut: n % 2 == 0 });
    }
    written.push(Notice::check_everybody(i64::MAX as u64));
    for notice in &written {
        publish(&rig, notice).await;
    }
    assert_eq!(all(&rig).await, written);
    let late = Notice::check_everybody(u64::MAX);
    publish(&rig, &late).await;
    assert_eq!(since(&rig, i64::MAX as u64).await.len(), 2, "as late as can be");
    // Rooms of such an org are kept or refused, and so are notices of it.
    let with_nul = Notice { org: Some("a\0".to_owned()), ..Notice::check_everybody(0) };
    match rig.notices.publish(&with_nul, None).await {
        Ok(()) => assert!(all(&rig).await.contains(&with_nul)),
        Err(error) => assert!(matches!(error, crate::DocStoreError::Room { .. }), "{error:?}"),
    }
}

/// Those of a time and later come, the oldest first, those of one time in an order that stays, each under a name of its own.
pub async fn those_since_a_time_come_oldest_first(rig: DocStoreRig) {
    let publishes = (0..40u64).map(|n| {
        let rig = &rig;
        async move { publish(rig, &notice(100 + (n * 7) % 10, &n.to_string())).await }
    });
    join_all(publishes).await;
    publish(&rig, &notice(104, "0")).await;
    let everything = since(&rig, 0).await;
    assert_eq!(everything.iter().map(|(id, _)| id).collect::<HashSet<_>>().len(), 41);
    assert!(everything.is_sorted_by_key(|(_, notice)| notice.at_ms));
    for at_ms in [0, 100, 101, 105, 109, 110, u64::MAX] {
        let of_later: Vec<_> = everything.iter().filter(|(_, notice)| notice.at_ms >= at_ms).cloned().collect();
        assert_eq!(since(&rig, at_ms).await, of_later);
    }
    // Any of them, also of very many that are asked for, and but for those that are gone.
    let (heads, _) = list(&rig, 0, 100).await;
    let some: Vec<_> = heads.iter().step_by(3).cloned().collect();
    assert_eq!(bring(&rig, &some).await, everything.iter().step_by(3).cloned().collect::<Vec<_>>());
    let gone = (0..2_000).map(|n| NoticeHead { id: NoticeId(format!("gone{n}")), ..heads[n % heads.len()].clone() });
    assert_eq!(bring(&rig, &gone.chain(heads.clone()).collect::<Vec<_>>()).await, everything);
    assert_eq!(bring(&rig, &[]).await, []);
}

/// Of more than was asked for the youngest are listed, and it is said that there are more. It is said how long each is, and one that is
/// too long has everybody of its org checked, and nobody cut.
pub async fn more_than_is_asked_for_is_said(rig: DocStoreRig) {
    for n in 0..5 {
        publish(&rig, &notice(n / 2, &n.to_string())).await;
    }
    let (everything, _) = list(&rig, 0, 100).await;
    for max in 0..7 {
        assert_eq!(list(&rig, 0, max).await, (everything[5_usize.saturating_sub(max)..].to_vec(), max < 5), "{max}");
    }
    publish(&rig, &Notice { users: None, ..notice(10, "") }).await;
    publish(&rig, &notice(11, &"x".repeat(1_000))).await;
    publish(&rig, &Notice { cut: true, ..notice(12, &"x".repeat(MAX_NOTICES_BYTES + 1)) }).await;
    let (heads, _) = list(&rig, 10, 100).await;
    let sizes: Vec<_> = heads.iter().map(|head| head.size_bytes).collect();
    assert!(sizes[0] == 0 && (1_000..1_100).contains(&sizes[1]) && sizes[2] > MAX_NOTICES_BYTES, "{sizes:?}");
    let brought: Vec<_> = since(&rig, 11).await.into_iter().map(|(_, notice)| notice).collect();
    assert_eq!(brought, [notice(11, &"x".repeat(1_000)), Notice { users: None, ..notice(12, "") }]);
}

/// One of very many users becomes several, which are all there or none.
pub async fn many_users_make_several(rig: DocStoreRig) {
    let users: Vec<_> = (0..MAX_NOTICE_USERS * 2 + 1).map(|n| UserMatcher::User(n.to_string())).collect();
    publish(&rig, &Notice { at_ms: 7, org: None, users: Some(users.clone()), cut: true }).await;
    let found = all(&rig).await;
    assert!(found.iter().all(|notice| notice.cut && notice.at_ms == 7 && notice.org.is_none()));
    let parts: Vec<_> = found.into_iter().map(|notice| notice.users.expect("some")).collect();
    assert!(parts.iter().all(|part| part.len() <= MAX_NOTICE_USERS));
    assert_eq!((parts.len(), parts.concat()), (3, users.clone()));
    rig.control.refuse_records(true).await;
    let refused = Notice { users: Some(users), ..Notice::check_everybody(8) };
    rig.notices.publish(&refused, Some(&audits::record(1, "never"))).await.expect_err("no record, no notice");
    rig.control.refuse_records(false).await;
    assert_eq!(all(&rig).await.len(), 3);
}

/// What is old is deleted, oldest first, so many at a time, and nothing else.
pub async fn what_is_old_is_deleted_in_parts(rig: DocStoreRig) {
    for n in 0..20 {
        publish(&rig, &notice(n / 2, &n.to_string())).await;
    }
    let everything = all(&rig).await;
    let delete = async |before_ms, max| rig.notices.delete_before(before_ms, max).await.expect("delete");
    assert_eq!((delete(0, 100).await, delete(7, 0).await, delete(7, 5).await), (0, 0, 5));
    assert_eq!(all(&rig).await, everything[5..]);
    assert_eq!((delete(7, 5).await, delete(7, 5).await, delete(7, 5).await), (5, 4, 0));
    assert_eq!(all(&rig).await, everything[14..]);
    assert_eq!(delete(u64::MAX, 100).await, 6);
    assert_eq!(all(&rig).await, []);
}

/// Who comes in by the token of this id, as its claims say.
fn holder(id: &str) -> Identity {
    Identity { user: "ann".to_owned(), claims: Object::from_iter([("token", Any::from(id)), ("x", Any::Null)]), via: Via::Token }
}

/// Of each token that is revoked whoever came in by it is concerned, everywhere, and nobody else; also of those that descend
/// from it; once.
pub async fn who_is_revoked_is_noticed(rig: DocStoreRig) {
    let line: [(&str, &[&str]); 5] = [("a", &[]), ("b", &["a"]), ("c", &["a", "b"]), ("d", &["a"]), ("A", &[])];
    for (id, ancestors) in line {
        create(&rig, &child(id, ancestors)).await.expect("create");
    }
    let concerned = |notices: &[Notice]| {
        let is_concerned = |id: &&str| {
            let who = holder(id);
            notices
                .iter()
                .flat_map(|notice| notice.users.clone().expect("not everybody"))
                .any(|m| m.matches(&who.user, &who.claims))
        };
        ["a", "b", "c", "d", "A", "none"].into_iter().filter(is_concerned).collect::<Vec<_>>()
    };
    assert_eq!(revoke(&rig, "none", 5).await, None);
    assert_eq!(all(&rig).await, []);
    assert_eq!(revoke(&rig, "b", 6).await, Some(2));
    let found = all(&rig).await;
    assert!(found.iter().all(|notice| notice.at_ms == 6 && notice.org.is_none() && !notice.cut), "{found:?}");
    assert_eq!(concerned(&found), ["b", "c"]);
    assert_eq!(revoke(&rig, "b", 7).await, Some(0));
    assert_eq!(all(&rig).await, found, "they were revoked already");
    assert_eq!(revoke(&rig, "a", 8).await, Some(2));
    assert_eq!(concerned(&all(&rig).await[found.len()..]), ["a", "d"]);
}

/// Where very many descend from one that is revoked, each is in one notice of several.
pub async fn many_revoked_make_several(rig: DocStoreRig) {
    create(&rig, &token("root")).await.expect("create");
    let ids: Vec<String> = (0..MAX_NOTICE_USERS).map(|n| format!("t{n}")).collect();
    for part in ids.chunks(50) {
        join_all(part.iter().map(async |id| create(&rig, &child(id, &["root"])).await.expect("create"))).await;
    }
    let count = MAX_NOTICE_USERS as u64 + 1;
    assert_eq!(revoke(&rig, "root", 9).await, Some(count));
    let mut times = BTreeMap::<String, usize>::new();
    let found = all(&rig).await;
    assert!(found.iter().all(|notice| notice.users.as_ref().is_some_and(|users| users.len() <= MAX_NOTICE_USERS)));
    for matcher in found.into_iter().filter_map(|notice| notice.users).flatten() {
        let UserMatcher::Identity(claims) = matcher else { panic!("{matcher:?}") };
        *times.entry(claims.get("token").and_then(Any::as_str).expect("a token").to_owned()).or_default() += 1;
    }
    assert_eq!((times.len() as u64, times.values().all(|times| *times == 1)), (count, true));
}
