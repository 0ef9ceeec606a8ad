//! What is recorded of what is done, and access tokens: by the commands of the binary, and forgotten by the janitor.

use std::path::Path;

use serde_json::Value;
use yhub::Stores;
use yhub_core::access::{Access, Grants, TokenText};
use yhub_documents::DeleteKind;
use yhub_store::{AccessToken, AuditFilter, AuditRecord, Notice};
use yhub_testkit::{TestClient, TextWriter, until};

use crate::{
    cli::{finished, yhub},
    ground::Ground,
    operate::{done, json, refused},
    support::{Stage, TestHub, path},
};

on_stage!(direct, Direct;
    what_commands_change_is_recorded,
    tokens_are_made_listed_and_revoked,
    what_is_recorded_is_forgotten_in_time
);
on_stage!(full, Full;
    what_commands_change_is_recorded,
    tokens_are_made_listed_and_revoked,
    what_is_recorded_is_forgotten_in_time
);

const DAY_MS: u64 = 86_400_000;

/// The records, newest first: action, room, actor, detail.
fn records(dir: &Path, arguments: &[&str]) -> Vec<[String; 4]> {
    let listed = json(dir, &[&["audit"], arguments].concat());
    let records = listed["records"].as_array().unwrap();
    let part = |record: &Value, key| record[key].as_str().unwrap_or("-").to_owned();
    let one = |record: &Value| {
        assert_eq!((&record["via"], &record["result"], &record["count"]), (&"cli".into(), &"done".into(), &1.into()), "{record}");
        let room = format!("{}/{}@{}", part(record, "org"), part(record, "docid"), part(record, "branch"));
        [part(record, "action"), room, part(record, "actor"), part(record, "detail")]
    };
    records.iter().map(one).collect()
}

async fn what_commands_change_is_recorded(stage: Stage) {
    let ground = Ground::of(stage).await;
    let dir = ground.dir();
    let hub = ground.launch().set("worker.task_debounce_ms", 3_600_000).start();
    let mut client = TestClient::connect(hub.addr(), &path("told")).await;
    client.sync().await;
    let update = TextWriter::new(7).append("a secret text");
    client.send_update(&update).await;
    client.shown(&update).await;
    hub.terminate();
    assert_eq!(hub.wait(), Some(0));
    assert_eq!(done(dir, &["audit"]), "there is no such record\n");

    let room = "acme/told@main";
    done(dir, &["hold", "add", room, "--by", "law", "--reason", "case 7"]);
    done(dir, &["hold", "add", room, "--by", "law", "--reason", "again"]);
    done(dir, &["hold", "release", room]);
    refused(dir, &["hold", "release", room], 1);
    let said = done(dir, &["quarantine", "add", room, "--reason", "to look at it"]);
    let id = said.trim_end().rsplit(' ').next().unwrap();
    done(dir, &["quarantine", "release", room, id]);
    refused(dir, &["purge", room], 1);
    {
        let stores = ground.stores().await;
        let tombstone = yhub_store::Tombstone { deleted_at_ms: 1, hard: true, purged_at_ms: None, by: None };
        stores.docs.put_tombstone(&yhub_core::RoomId::new("acme", "told", "main"), tombstone, None).await.unwrap();
    }
    // As somebody in particular.
    let (code, _, stderr) = finished(yhub(dir, &["purge", room]).env("LOGNAME", "eve").env("USER", ""));
    assert_eq!(code, 0, "{stderr}");
    done(dir, &["purge", room]);

    let expected = [
        ("purge", "eve", String::new()),
        ("quarantine.release", "operator", id.to_owned()),
        ("quarantine.add", "operator", format!("{id}: to look at it")),
        ("hold.release", "operator", String::new()),
        ("hold", "operator", "by law: case 7".to_owned()),
    ];
    let expected = expected.map(|(action, actor, detail)| [action.to_owned(), room.to_owned(), actor.to_owned(), detail]);
    assert_eq!(records(dir, &[]), expected);
    assert_eq!(records(dir, &["--actor", "eve", "--org", "acme", "--action", "purge", "--since", "1d"]), expected[..1]);
    for none in [&["--actor", "EVE"][..], &["--org", "other"], &["--action", "purg"], &["--since", "2999-01-01"]] {
        assert_eq!(records(dir, none), [[""; 4]; 0]);
    }
    assert_eq!(records(dir, &["--limit", "2"]), expected[..2]);
    let table = done(dir, &["audit", "--limit", "4"]);
    assert!(table.contains(&format!("  {room}  ")) && table.ends_with("there are more; see --limit\n"), "{table}");
    assert!(!table.contains("secret"), "{table}");
    refused(dir, &["audit", "--since", "yesterday"], 2);
}

async fn tokens_are_made_listed_and_revoked(stage: Stage) {
    let ground = Ground::of(stage).await;
    let dir = ground.dir();
    // The stores have to be there.
    drop(ground.stores().await);
    assert_eq!(done(dir, &["token", "list"]), "there is no token\n");
    let create = |arguments: &[&str]| {
        let (code, stdout, stderr) = finished(&mut yhub(dir, &[&["token", "create"], arguments].concat()));
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        let text = TokenText::parse(stdout.strip_suffix('\n').unwrap()).expect("a token and nothing else");
        assert!(stderr.contains(text.id()) && !stderr.contains(&text.reveal()[22..]), "{stderr}");
        text
    };
    let one = create(&[
        "--org",
        "acme",
        "--docid-prefix",
        "notes/",
        "--branch",
        "main",
        "--access",
        "rw",
        "--purpose",
        "list",
        "--purpose",
        "hold",
        "--user",
        "bot",
        "--label",
        "for tests",
        "--expires",
        "30d",
    ]);
    let all = create(&["--all-orgs", "--access", "admin", "--user", "root"]);
    let only = create(&["--org", "acme", "--purpose", "delete", "--user", "cleaner"]);
    assert!(one.id() != all.id() && one.secret_hash() != all.secret_hash());

    let listed = json(dir, &["token", "list"]);
    let tokens = listed["tokens"].as_array().unwrap();
    assert_eq!((tokens.len(), &listed["more"]), (3, &false.into()));
    let of = |text: &TokenText| tokens.iter().find(|token| token["id"] == text.id()).unwrap();
    let token = of(&one);
    assert_eq!((&token["user"], &token["label"], &token["by"]), (&"bot".into(), &"for tests".into(), &"operator".into()));
    let grants = r#"[{"org":"acme","docidPrefix":"notes/","branch":"main","access":"rw","purposes":["hold","list"]}]"#;
    assert_eq!(token["grants"], serde_json::from_str::<Value>(grants).unwrap());
    let lives = token["expires_ms"].as_u64().unwrap() - token["created_ms"].as_u64().unwrap();
    assert_eq!((lives, &token["state"]), (30 * DAY_MS, &"holds".into()));
    assert_eq!((&of(&all)["grants"][0]["org"], &of(&all)["expires_ms"]), (&"*".into(), &Value::Null));
    assert_eq!(of(&only)["grants"][0].get("access"), None);
    let ids = |org| {
        let listed = json(dir, &["token", "list", "--org", org]);
        let ids = listed["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap().to_owned());
        ids.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(ids("acme"), [one.id().to_owned(), only.id().to_owned()].into());
    assert_eq!(ids("*"), [].into());
    {
        // Nothing of the secret is stored, and what is stored says that it is the one.
        let stores = ground.stores().await;
        let found = stores.tokens.find(one.id()).await.unwrap().unwrap();
        assert!(one.matches(&found.token.secret_hash) && !all.matches(&found.token.secret_hash));
        let now_ms = stores.log.now_ms().await.unwrap();
        assert!(found.is_alive(now_ms));
        let child = AccessToken { id: "child".into(), ancestors: vec![one.id().into()], ..found.token };
        stores.tokens.create(&child, None).await.unwrap();
    }
    let said = done(dir, &["token", "revoke", one.id()]);
    assert_eq!(said, format!("token {} is revoked, and 1 that were made by it\n", one.id()));
    assert_eq!(done(dir, &["token", "revoke", "child"]), "token child was revoked already\n");
    // Whoever finds a token somewhere has its whole text.
    assert_eq!(done(dir, &["token", "revoke", &all.reveal()]), format!("token {} is revoked\n", all.id()));
    let table = done(dir, &["token", "list"]);
    assert_eq!(table.matches("  revoked  ").count(), 3, "{table}");
    assert!(refused(dir, &["token", "revoke", "nobody"], 1).contains("there is no token of that id"));

    let recorded = records(dir, &[]);
    let actions: Vec<&str> = recorded.iter().map(|[action, ..]| action.as_str()).collect();
    assert_eq!(actions, ["token.revoke", "token.revoke", "token.create", "token.create", "token.create"]);
    let [.., [_, place, _, detail]] = recorded.as_slice() else { panic!("{recorded:?}") };
    assert!(place.starts_with("acme/") && detail.contains(one.id()) && detail.contains("notes/"), "{recorded:?}");
    for text in [&one, &all, &only] {
        let secret = &text.reveal()[22..];
        assert!(!format!("{recorded:?}{table}{listed}").contains(secret));
    }

    for (wrong, part) in [
        (&["--access", "rw", "--user", "a"][..], "--org"),
        (&["--org", "a", "--all-orgs", "--access", "rw", "--user", "a"], "--all-orgs"),
        (&["--org", "a", "--user", "a"], "--access"),
        (&["--org", "a", "--access", "w", "--user", "a"], "--access"),
        (&["--org", "a", "--purpose", "all", "--user", "a"], "--purpose"),
        (&["--org", "a", "--access", "r", "--user", "a", "--docid", "x", "--docid-prefix", "y"], "--docid"),
        (&["--org", "a", "--access", "r", "--user", "a", "--expires", "30"], "--expires"),
    ] {
        let said = refused(dir, &[&["token", "create"], wrong].concat(), 2);
        assert!(said.contains(part), "{wrong:?}: {said}");
    }
    let long = "x".repeat(257);
    for (wrong, part) in [
        (&["--org", "*", "--access", "r", "--user", "a"][..], "--all-orgs"),
        (&["--org", "", "--access", "r", "--user", "a"], "`org`"),
        (&["--org", "a", "--access", "r", "--user", ""], "--user"),
        (&["--org", "a", "--access", "r", "--user", &long], "--user"),
        (&["--org", "a", "--access", "r", "--user", "a", "--expires", "0d"], "--expires"),
    ] {
        let said = refused(dir, &[&["token", "create"], wrong].concat(), 1);
        assert!(said.contains(part), "{wrong:?}: {said}");
    }
    assert_eq!(json(dir, &["token", "list"])["tokens"].as_array().unwrap().len(), 4);
}

fn record(at_ms: u64, detail: &str) -> AuditRecord {
    AuditRecord {
        at_ms,
        actor: "ann".into(),
        via: "jwt".into(),
        action: "test".into(),
        org: None,
        docid: None,
        branch: None,
        result: "done".into(),
        request_id: String::new(),
        address: None,
        detail: detail.into(),
        count: 1,
    }
}

fn token(id: &str, expires_ms: Option<u64>) -> AccessToken {
    AccessToken {
        id: id.into(),
        secret_hash: [0; 32],
        ancestors: Vec::new(),
        user: "ann".into(),
        label: String::new(),
        grants: Grants::everywhere(Access::ADMIN),
        created_ms: 1,
        expires_ms,
        revoked_ms: None,
        by: "ann".into(),
    }
}

async fn left(stores: &Stores) -> (Vec<String>, Vec<String>) {
    let records = stores.audit.page(&AuditFilter::default(), None, 10_000).await.unwrap().records;
    let tokens = stores.tokens.page(None, None, 10_000).await.unwrap();
    (records.into_iter().map(|record| record.detail).collect(), tokens.into_iter().map(|token| token.id).collect())
}

/// Old records go, and tokens that ended long ago; in more than one part.
async fn what_is_recorded_is_forgotten_in_time(stage: Stage) {
    // So long that the janitor has not looked yet when all is there.
    let hub = TestHub::with(stage, |config| {
        config.audit.keep_days = 10;
        config.deletion.janitor_ms = yhub::config::Millis::new(2_000);
    })
    .await;
    let stores = hub.stores();
    let now_ms = stores.log.now_ms().await.unwrap();
    let days_ago = |days| now_ms - days * DAY_MS;
    let old: Vec<_> = (0..1_500).map(|_| record(days_ago(10) - 60_000, "old")).collect();
    stores.audit.append(&old).await.unwrap();
    stores.audit.append(&[record(days_ago(9), "young"), record(now_ms, "new")]).await.unwrap();
    for (id, expires_ms) in [
        ("expiredLongAgo", Some(days_ago(30) - 60_000)),
        ("expired", Some(days_ago(29))),
        ("revokedLongAgo", None),
        ("revoked", None),
        ("holds", Some(now_ms + DAY_MS)),
        ("holdsForEver", None),
    ] {
        stores.tokens.create(&token(id, expires_ms), None).await.unwrap();
    }
    stores.tokens.revoke("revokedLongAgo", days_ago(30) - 60_000, None).await.unwrap();
    stores.tokens.revoke("revoked", days_ago(29), None).await.unwrap();
    let tokens = ["expired", "holds", "holdsForEver", "revoked"].map(str::to_owned).to_vec();
    // Of changed access nobody has to hear for as long.
    for at_ms in [now_ms - 3_660_000, now_ms - 3_540_000] {
        let notice = Notice { users: Some(Vec::new()), ..Notice::check_everybody(at_ms) };
        stores.notices.publish(&notice, None).await.unwrap();
    }
    let noticed = async || {
        let page = stores.notices.list(0, 100).await.unwrap();
        page.heads.into_iter().filter(|notice| notice.at_ms < now_ms - 1_000_000).map(|notice| notice.at_ms).collect::<Vec<_>>()
    };
    let expected = (vec!["new".to_owned(), "young".to_owned()], tokens);
    until("the old is gone", async || (left(stores).await == expected && noticed().await.len() == 1).then_some(())).await;
    assert_eq!(noticed().await, [now_ms - 3_540_000]);
    // What is deleted meanwhile is done so by a pass that comes after: it leaves what is to stay.
    let room = yhub_core::RoomId::new("acme", "gone", "main");
    hub.documents().delete(&room, DeleteKind::Soft, Some("ann"), Some(&record(now_ms, "deleted"))).await.unwrap();
    assert_eq!(left(stores).await.0, ["deleted", "new", "young"]);
}
