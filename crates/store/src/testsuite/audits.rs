//! Cases of audit records: what is kept of them, in which order they come, how they end, and that there is none without its
//! change and no change without its record.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use yhub_core::RoomId;

use super::{
    DocStoreRig,
    docs_failures::quarantine,
    support::{ODD_PARTS, room},
    tokens::token,
};
use crate::{
    AuditCursor, AuditFilter, AuditRecord, Hardened, Hold, MAX_AUDIT_ACTOR, MAX_AUDIT_DETAIL, MAX_AUDIT_NAME, MAX_AUDIT_ORG,
    MAX_AUDIT_ORIGIN, MAX_AUDIT_WORD, PurgeReceipt, Restored, Tombstone, TombstoneOutcome,
};

/// A record that has little to say.
pub(super) fn record(at_ms: u64, action: &str) -> AuditRecord {
    AuditRecord {
        at_ms,
        actor: "ann".to_owned(),
        via: "jwt".to_owned(),
        action: action.to_owned(),
        org: Some("org".to_owned()),
        docid: None,
        branch: None,
        result: "done".to_owned(),
        request_id: "r-1".to_owned(),
        address: None,
        detail: String::new(),
        count: 1,
    }
}

/// All that `filter` lets through, in pages of `max`.
async fn listed(rig: &DocStoreRig, filter: &AuditFilter, max: usize) -> Vec<AuditRecord> {
    let (mut records, mut after) = (Vec::new(), None::<AuditCursor>);
    loop {
        let page = rig.audit.page(filter, after.as_ref(), max).await.expect("a page");
        assert!(page.records.len() <= max);
        records.extend(page.records);
        match page.next {
            // As text, and back: so it goes to clients.
            Some(next) => after = Some(next.to_string().parse().expect("a cursor")),
            None => return records,
        }
    }
}

/// All there is.
pub(super) async fn all(rig: &DocStoreRig) -> Vec<AuditRecord> {
    listed(rig, &AuditFilter::default(), 1_000).await
}

async fn actions(rig: &DocStoreRig) -> Vec<String> {
    all(rig).await.into_iter().map(|record| record.action).collect()
}

/// Every field, with odd texts, and with the numbers at their ends.
pub async fn records_come_back_whole(rig: DocStoreRig) {
    assert_eq!(all(&rig).await, []);
    rig.audit.append(&[]).await.expect("none");
    let mut written = Vec::new();
    for (n, part) in ODD_PARTS.into_iter().enumerate() {
        let part = || part.to_owned();
        written.push(AuditRecord {
            at_ms: n as u64,
            actor: part(),
            via: part(),
            action: part(),
            org: Some(part()),
            docid: Some(part()),
            branch: Some(part()),
            result: part(),
            request_id: part(),
            address: Some(part()),
            detail: part(),
            count: n as u32,
        });
    }
    let bare = AuditRecord { org: None, count: u32::MAX, ..record(i64::MAX as u64, "bare") };
    written.push(bare);
    rig.audit.append(&written).await.expect("append");
    written.reverse();
    assert_eq!(all(&rig).await, written);
}

/// Texts are cut at their bounds, between characters; what no database holds is replaced.
pub async fn texts_are_cut_at_their_bounds(rig: DocStoreRig) {
    let long = || "é🦀".repeat(5_000);
    let written = AuditRecord {
        at_ms: u64::MAX,
        actor: long(),
        via: long(),
        action: long(),
        org: Some(long()),
        docid: Some(long()),
        branch: Some(long()),
        result: long(),
        request_id: long(),
        address: Some(long()),
        detail: format!("\0{}", long()),
        count: 1,
    };
    rig.audit.append(std::slice::from_ref(&written)).await.expect("append");
    let found = &all(&rig).await[0];
    let is_cut = |text: &str, max: usize| text.len() <= max && text.len() > max - 4 && long().starts_with(text);
    let some = |text: &Option<String>| text.clone().expect("it is there");
    for (text, max) in [
        (found.actor.clone(), MAX_AUDIT_ACTOR),
        (found.via.clone(), MAX_AUDIT_WORD),
        (found.action.clone(), MAX_AUDIT_WORD),
        (some(&found.org), MAX_AUDIT_ORG),
        (some(&found.docid), MAX_AUDIT_NAME),
        (some(&found.branch), MAX_AUDIT_NAME),
        (found.result.clone(), MAX_AUDIT_WORD),
        (found.request_id.clone(), MAX_AUDIT_ORIGIN),
        (some(&found.address), MAX_AUDIT_ORIGIN),
    ] {
        assert!(is_cut(&text, max), "{} bytes of {max}", text.len());
    }
    assert!(found.detail.starts_with("\u{fffd}é🦀") && found.detail.len() <= MAX_AUDIT_DETAIL);
    assert!(found.at_ms >= i64::MAX as u64, "as late as can be");
    // What is cut is found by the whole.
    let filter =
        AuditFilter { org: written.org, actor: Some(written.actor), action: Some(written.action), ..AuditFilter::default() };
    assert_eq!(listed(&rig, &filter, 10).await.len(), 1);
}

/// In pages of any size each record comes once, newest first; of one time, in the reverse of the order in which they were
/// written.
pub async fn pages_have_each_record_once(rig: DocStoreRig) {
    for n in 0..10u64 {
        let batch: Vec<_> = (0..3).map(|m| record(n / 4, &format!("{:02}", n * 3 + m))).collect();
        rig.audit.append(&batch).await.expect("append");
    }
    let expected: Vec<String> = (0..30).rev().map(|n| format!("{n:02}")).collect();
    for max in [1, 7, 29, 30, 31, 1_000] {
        let found = listed(&rig, &AuditFilter::default(), max).await;
        assert_eq!(found.into_iter().map(|record| record.action).collect::<Vec<_>>(), expected, "in pages of {max}");
    }
    let page = rig.audit.page(&AuditFilter::default(), None, 30).await.expect("a page");
    assert_eq!((page.records.len(), page.next), (30, None), "there is no more");
    // Newer ones do not disturb who is on the way.
    let page = rig.audit.page(&AuditFilter::default(), None, 10).await.expect("a page");
    rig.audit.append(&[record(100, "new")]).await.expect("append");
    let next = rig.audit.page(&AuditFilter::default(), page.next.as_ref(), 10).await.expect("a page");
    assert_eq!(next.records[0].action, "19");
    // A cursor that somebody made up is only a place.
    let made_up = "2-zzzzzzzz".parse().expect("a cursor");
    assert_eq!(rig.audit.page(&AuditFilter::default(), Some(&made_up), 1).await.expect("a page").records[0].at_ms, 2);
}

/// Only what all conditions let through comes.
pub async fn filters_are_all_kept_to(rig: DocStoreRig) {
    let mut written = Vec::new();
    for n in 0..32u64 {
        let pick = |bit: u64, one: &str, other: &str| if n >> bit & 1 == 0 { one.to_owned() } else { other.to_owned() };
        let org = Some(pick(0, "a", "A"));
        let (actor, action, result) = (pick(1, "ann", "bob"), pick(2, "delete", "denied"), pick(3, "done", "failed"));
        written.push(AuditRecord { org, actor, action, result, ..record(n, "") });
    }
    written.push(AuditRecord { org: None, ..record(40, "hub") });
    rig.audit.append(&written).await.expect("append");
    let some = |text: &str| Some(text.to_owned());
    let filters = [
        AuditFilter { org: some("a"), ..AuditFilter::default() },
        AuditFilter { org: some(""), ..AuditFilter::default() },
        AuditFilter { actor: some("bob"), ..AuditFilter::default() },
        AuditFilter { actor: some("b"), ..AuditFilter::default() },
        AuditFilter { action: some("denied"), ..AuditFilter::default() },
        AuditFilter { result: some("failed"), ..AuditFilter::default() },
        AuditFilter { since_ms: Some(5), until_ms: Some(9), ..AuditFilter::default() },
        AuditFilter { since_ms: Some(9), until_ms: Some(5), ..AuditFilter::default() },
        AuditFilter { since_ms: Some(u64::MAX), ..AuditFilter::default() },
        AuditFilter {
            org: some("A"),
            actor: some("ann"),
            action: some("delete"),
            result: some("done"),
            since_ms: Some(2),
            until_ms: Some(32),
        },
        AuditFilter { org: some("a\0"), ..AuditFilter::default() },
    ];
    for filter in filters {
        let fits = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let lets_through = |record: &&AuditRecord| {
            filter.org.as_ref().is_none_or(|org| record.org.as_ref() == Some(org))
                && fits(&filter.actor, &record.actor)
                && fits(&filter.action, &record.action)
                && fits(&filter.result, &record.result)
                && filter.since_ms.is_none_or(|since_ms| record.at_ms >= since_ms)
                && filter.until_ms.is_none_or(|until_ms| record.at_ms < until_ms)
        };
        let expected: Vec<_> = written.iter().rev().filter(lets_through).cloned().collect();
        for max in [1, 5, 100] {
            assert_eq!(listed(&rig, &filter, max).await, expected, "{filter:?}");
        }
    }
}

/// What is old is deleted, oldest first, so many at a time, and nothing else.
pub async fn what_is_old_is_deleted_in_parts(rig: DocStoreRig) {
    let batch: Vec<_> = (0..20).map(|n| record(n / 2, &format!("{n:02}"))).collect();
    rig.audit.append(&batch).await.expect("append");
    let delete = async |before_ms, max| rig.audit.delete_before(before_ms, max).await.expect("delete");
    assert_eq!(delete(0, 100).await, 0);
    assert_eq!(delete(7, 0).await, 0);
    assert_eq!(delete(7, 5).await, 5);
    assert_eq!(actions(&rig).await.last().map(String::as_str), Some("05"));
    assert_eq!((delete(7, 5).await, delete(7, 5).await, delete(7, 5).await), (5, 4, 0));
    assert_eq!(actions(&rig).await, ["19", "18", "17", "16", "15", "14"]);
    assert_eq!(delete(u64::MAX, 100).await, 6);
    assert_eq!(all(&rig).await, []);
}

/// Whoever writes at the same time as others loses nothing.
pub async fn concurrent_records_are_all_kept(rig: DocStoreRig) {
    let writers = (0..8).map(|writer| {
        let rig = &rig;
        async move {
            for n in 0..10 {
                rig.audit.append(&[record(7, &format!("{writer}-{n}"))]).await.expect("append");
            }
        }
    });
    join_all(writers).await;
    assert_eq!(actions(&rig).await.into_iter().collect::<BTreeSet<_>>().len(), 80);
}

fn tombstone(hard: bool) -> Tombstone {
    Tombstone { deleted_at_ms: 100, hard, purged_at_ms: None, by: Some("ann".to_owned()) }
}

fn hold_on(room: &RoomId) -> Hold {
    Hold { room: room.clone(), by: "ann".to_owned(), reason: "a case".to_owned(), at_ms: 7 }
}

fn receipt() -> PurgeReceipt {
    PurgeReceipt { purged_at_ms: 300, json: "{}".to_owned() }
}

/// Something that changes the store with a record: what it is called, and whether it said that it was done.
///
/// `n` numbers them; those before must have been done. One that changes nothing says so, or cannot be told from one that does.
async fn act(rig: &DocStoreRig, n: usize, audit: &AuditRecord) -> Option<Result<bool, crate::DocStoreError>> {
    let (audit, soft, hard, due) = (Some(audit), &room(1), &room(2), &room(3));
    let is_recorded = |outcome| outcome == TombstoneOutcome::Recorded;
    let set_aside = quarantine(soft, "q", 1);
    Some(match n {
        0 => rig.deletions.hold(&hold_on(soft), audit).await,
        1 => rig.deletions.release_hold(soft, audit).await,
        2 => rig.docs.put_tombstone(soft, tombstone(false), audit).await.map(is_recorded),
        3 => rig.deletions.restore(soft, audit).await.map(|restored| restored == Restored::Restored),
        4 => rig.docs.put_tombstone(hard, tombstone(true), audit).await.map(is_recorded),
        5 => rig.deletions.finish_purge(hard, &receipt(), audit).await,
        6 => rig.docs.put_tombstone(due, tombstone(false), audit).await.map(is_recorded),
        7 => rig.deletions.harden(due, 101, audit).await.map(|hardened| hardened == Hardened::Done),
        8 => {
            rig.failures.put_quarantine(&set_aside).await.expect("put quarantine");
            rig.failures.end_quarantine(soft, &set_aside.id, audit).await
        }
        9 => made(rig.tokens.create(&token("root"), audit).await),
        10 => rig.tokens.revoke("root", 100, audit).await.map(|revoked| revoked == Some(1)),
        11 => rig.notices.publish(&crate::Notice::check_everybody(100), audit).await.map(|()| true),
        _ => return None,
    })
}

fn made(created: Result<crate::AccessToken, crate::CreateTokenError>) -> Result<bool, crate::DocStoreError> {
    match created {
        Ok(_) => Ok(true),
        Err(crate::CreateTokenError::Store(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// All that [`act`] changes.
async fn state(rig: &DocStoreRig) -> String {
    let mut state = String::new();
    for n in 1..4 {
        let stored = rig.docs.read(&room(n), crate::AssetSelection::NONE).await.expect("read");
        let hold = rig.deletions.hold_of(&room(n)).await.expect("hold of");
        let receipt = rig.deletions.receipt(&room(n)).await.expect("receipt");
        state.push_str(&format!("{stored:?} {hold:?} {receipt:?} "));
    }
    state.push_str(&format!("{:?} ", rig.notices.list(0, 100).await.expect("list")));
    state + &format!("{:?}", rig.tokens.page(None, None, 100).await.expect("page"))
}

/// Each change leaves its record, once: what is done again changes nothing and leaves none.
pub async fn a_change_leaves_its_record(rig: DocStoreRig) {
    let mut n = 0;
    while let Some(done) = act(&rig, n, &record(n as u64, &format!("act {n}"))).await {
        assert!(done.expect("act"), "act {n}");
        assert_eq!(actions(&rig).await.first(), Some(&format!("act {n}")));
        // What is prepared for the one is done by it; a notice is a new one each time.
        if n != 8 && n != 11 {
            let again = act(&rig, n, &record(n as u64, "again")).await.expect("it is there");
            again.expect("act again");
        }
        n += 1;
        assert_eq!(all(&rig).await.len(), n);
    }
    assert_eq!(n, 12);
}

/// What is refused leaves no record.
pub async fn what_is_refused_leaves_no_record(rig: DocStoreRig) {
    let (no, held, kept) = (Some(&record(1, "refused")), &room(1), &room(2));
    rig.deletions.hold(&hold_on(held), None).await.expect("hold");
    rig.docs.put_tombstone(kept, tombstone(false), None).await.expect("put tombstone");
    assert_eq!(rig.docs.put_tombstone(held, tombstone(true), no).await.expect("put"), TombstoneOutcome::Held);
    assert!(!rig.deletions.hold(&hold_on(held), no).await.expect("hold"));
    assert!(!rig.deletions.release_hold(kept, no).await.expect("release"));
    assert_eq!(rig.deletions.restore(held, no).await.expect("restore"), Restored::NotDeleted);
    assert_eq!(rig.deletions.harden(kept, 100, no).await.expect("harden"), Hardened::NotDue);
    assert!(!rig.deletions.finish_purge(kept, &receipt(), no).await.expect("finish"));
    let unknown = quarantine(kept, "q", 1).id;
    assert!(!rig.failures.end_quarantine(kept, &unknown, no).await.expect("end"));
    assert!(rig.tokens.create(&crate::AccessToken { ancestors: vec!["none".to_owned()], ..token("child") }, no).await.is_err());
    assert_eq!(rig.tokens.revoke("none", 1, no).await.expect("revoke"), None);
    assert_eq!(all(&rig).await, []);
}

/// A record that cannot be written takes the change with it; and the next one has both.
pub async fn without_its_record_there_is_no_change(rig: DocStoreRig) {
    for n in 0..12 {
        let before = state(&rig).await;
        rig.control.refuse_records(true).await;
        let failed = act(&rig, n, &record(n as u64, "never")).await.expect("it is there");
        assert!(failed.is_err(), "act {n} did not need its record: {failed:?}");
        rig.control.refuse_records(false).await;
        if n == 8 {
            // What this one prepares is there; what it ends still is, too.
            let named = rig.docs.read(&room(1), crate::AssetSelection::NONE).await.expect("read").quarantined;
            assert_eq!(named.len(), 1);
        } else {
            assert_eq!(state(&rig).await, before, "act {n}");
        }
        let done = act(&rig, n, &record(n as u64, &format!("act {n}"))).await.expect("it is there");
        assert!(done.expect("act"), "act {n}");
    }
    rig.control.refuse_records(true).await;
    assert!(rig.audit.append(&[record(1, "never"), record(2, "never")]).await.is_err());
    rig.control.refuse_records(false).await;
    let expected: Vec<String> = (0..12).rev().map(|n| format!("act {n}")).collect();
    assert_eq!(actions(&rig).await, expected);
}
