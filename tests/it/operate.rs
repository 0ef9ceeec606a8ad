//! What operators do with the rooms of a hub, by the commands of the binary.

use std::path::Path;

use serde_json::Value;
use yhub_testkit::{Oracle, TestClient, TextWriter, block_until};

use crate::{
    cli::run,
    ground::Ground,
    support::{Stage, binary, path},
};

const TEXT: &str = "a secret text";

on_stage!(direct, Direct;
    rooms_are_listed_and_their_compaction_is_paused_resumed_and_hastened,
    a_stream_is_set_aside_shown_without_its_content_and_released,
    deleted_rooms_are_listed_held_and_erased
);
on_stage!(full, Full;
    rooms_are_listed_and_their_compaction_is_paused_resumed_and_hastened,
    a_stream_is_set_aside_shown_without_its_content_and_released,
    deleted_rooms_are_listed_held_and_erased,
    a_running_hub_does_what_commands_say,
    what_fails_is_listed_set_aside_and_shown
);

/// The data of a hub that has ended: one room with `updates` updates that were not compacted.
async fn ended_hub(ground: &Ground, docid: &str, updates: usize) {
    let hub = ground.launch().set("worker.task_debounce_ms", 3_600_000).start();
    let mut client = TestClient::connect(hub.addr(), &path(docid)).await;
    client.sync().await;
    let mut writer = TextWriter::new(7);
    for _ in 0..updates {
        let update = writer.append(TEXT);
        client.send_update(&update).await;
        client.shown(&update).await;
    }
    hub.terminate();
    assert_eq!(hub.wait(), Some(0));
}

/// What a new client of that room gets from a hub on that data.
async fn text(ground: &Ground, docid: &str) -> String {
    let hub = ground.launch().set("worker.task_debounce_ms", 3_600_000).start();
    let text = Oracle::of([TestClient::connect(hub.addr(), &path(docid)).await.sync().await]).text();
    hub.terminate();
    assert_eq!(hub.wait(), Some(0));
    text
}

/// What a command prints that must succeed.
pub(crate) fn done(dir: &Path, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = run(dir, arguments);
    assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
    stdout
}

pub(crate) fn json(dir: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(dir, &[arguments, &["--json"]].concat())).unwrap()
}

/// What a command says that must fail, with this exit code.
pub(crate) fn refused(dir: &Path, arguments: &[&str], code: i32) -> String {
    let (found, stdout, stderr) = run(dir, arguments);
    assert_eq!((found, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
    stderr
}

async fn rooms_are_listed_and_their_compaction_is_paused_resumed_and_hastened(stage: Stage) {
    let ground = Ground::of(stage).await;
    let dir = ground.dir();
    ended_hub(&ground, "ops%20room", 3).await;
    let rooms = done(dir, &["rooms"]);
    let [head, line] = rooms.lines().collect::<Vec<_>>().try_into().unwrap();
    assert!(head.starts_with("ROOM ") && line.starts_with("acme/ops%20room@main "), "{rooms}");
    assert!(line.contains(" waits for "), "{rooms}");
    let listed = json(dir, &["rooms", "--org", "acme"]);
    assert_eq!((&listed["more"], listed["rooms"].as_array().unwrap().len()), (&Value::from(false), 1));
    let room = &listed["rooms"][0];
    assert_eq!((&room["room"]["org"], &room["room"]["docid"]), (&"acme".into(), &"ops room".into()));
    assert!(room["entries"].as_u64().unwrap() >= 3, "{room}");
    assert_eq!((&room["paused"], room["tasks"].as_array().unwrap().len()), (&false.into(), 1), "{room}");
    assert_eq!(done(dir, &["rooms", "--org", "other"]), "no live rooms\n");
    assert_eq!(json(dir, &["rooms", "--limit", "0"])["more"], true);

    let name = "acme/ops%20room";
    let full = "acme/ops%20room@main";
    assert_eq!(done(dir, &["compaction", "pause", name]), format!("compaction of {full} is paused\n"));
    assert_eq!(done(dir, &["compaction", "pause", full]), format!("compaction of {full} was paused already\n"));
    assert!(done(dir, &["rooms"]).contains(" paused "));
    assert!(refused(dir, &["compaction", "now", name], 1).contains("there is nothing to hasten"));
    assert_eq!(done(dir, &["compaction", "resume", name]), format!("compaction of {full} goes on\n"));
    assert_eq!(done(dir, &["compaction", "resume", name]), format!("compaction of {full} was not paused\n"));
    assert_eq!(done(dir, &["compaction", "now", name]), format!("{full} is the next to be compacted\n"));
    assert!(refused(dir, &["compaction", "now", "acme/nobody"], 1).contains("acme/nobody@main"));
}

async fn a_stream_is_set_aside_shown_without_its_content_and_released(stage: Stage) {
    let ground = Ground::of(stage).await;
    let dir = ground.dir();
    ended_hub(&ground, "odd", 3).await;
    let name = "acme/odd@main";
    assert_eq!(done(dir, &["quarantine", "list"]), "nothing is set aside\n");
    assert!(refused(dir, &["quarantine", "add", "acme/nobody", "--reason", "x"], 1).contains("there is nothing to set aside"));
    let said = done(dir, &["quarantine", "add", "acme/odd", "--reason", "to look\nat it"]);
    assert!(said.starts_with(&format!("set the stream of {name} aside as ")), "{said}");

    let listed = json(dir, &["quarantine", "list"]);
    let [one] = listed["quarantined"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&one["state"], &one["room"]["name"]), (&"set aside".into(), &name.into()), "{one}");
    assert_eq!((&one["record"]["class"], &one["record"]["reason"]), (&"operator".into(), &"to look\nat it".into()), "{one}");
    let id = one["id"].as_str().unwrap();
    assert!(said.contains(id), "{said}");
    let table = done(dir, &["quarantine", "list", "--room", name]);
    assert!(table.contains(id) && table.contains("to look\\nat it"), "{table}");
    assert_eq!(done(dir, &["quarantine", "list", "--room", "acme/other"]), "nothing is set aside\n");
    assert_eq!(json(dir, &["rooms"])["rooms"][0]["set_aside"], 1);

    let shown = done(dir, &["quarantine", "show", name, id]);
    assert!(shown.contains(", of which 0 cannot be read\n"), "{shown}");
    assert_eq!(shown.lines().filter(|line| line.contains("  update  ")).count(), 3, "{shown}");
    let as_json = json(dir, &["quarantine", "show", name, id]);
    assert!(as_json["entries"].as_array().unwrap().len() >= 3, "{as_json}");
    for text in [shown, as_json.to_string()] {
        assert!(!text.contains("secret"), "content is not shown: {text}");
    }
    assert!(refused(dir, &["quarantine", "show", name, "other"], 1).contains("nothing of acme/odd@main is set aside under"));

    assert_eq!(text(&ground, "odd").await, TEXT.repeat(3), "what is set aside is part of the document");
    let said = done(dir, &["quarantine", "release", name, id]);
    assert!(said.starts_with("released ") && said.ends_with(" entries to the stream of acme/odd@main\n"), "{said}");
    assert!(refused(dir, &["quarantine", "release", name, id], 1).contains("nothing of acme/odd@main is set aside under"));
    assert_eq!(done(dir, &["quarantine", "list"]), "nothing is set aside\n");
    assert_eq!(text(&ground, "odd").await, TEXT.repeat(3));
    assert_eq!(done(dir, &["failures"]), "no room fails\n");
    assert_eq!(json(dir, &["failures"])["failures"], Value::Array(Vec::new()));
}

/// Where several processes share the stores, commands need not wait until a hub has ended.
async fn a_running_hub_does_what_commands_say(stage: Stage) {
    let ground = Ground::of(stage).await;
    let dir = ground.dir();
    // Nothing is compacted by itself.
    let hub = ground.launch().set("worker.task_debounce_ms", 3_600_000).start();
    let stored = |docid: &str| {
        let rows = ground.database().query(&format!("SELECT 1 FROM yhub_ydoc_v1 WHERE docid = '{docid}'"));
        !rows.is_empty()
    };
    assert_eq!(done(dir, &["compaction", "pause", "acme/paused"]), "compaction of acme/paused@main is paused\n");
    for docid in ["paused", "hastened"] {
        let mut client = TestClient::connect(hub.addr(), &path(docid)).await;
        client.sync().await;
        let update = TextWriter::new(7).append(TEXT);
        client.send_update(&update).await;
        client.shown(&update).await;
    }
    done(dir, &["compaction", "now", "acme/hastened"]);
    block_until("the row of the room that is hastened", || stored("hastened"));
    assert!(refused(dir, &["compaction", "now", "acme/paused"], 1).contains("there is nothing to hasten"));
    assert!(!stored("paused"));
    done(dir, &["compaction", "resume", "acme/paused"]);
    done(dir, &["compaction", "now", "acme/paused"]);
    block_until("the row of the room that was paused", || stored("paused"));
    assert!(hub.launch().log().contains("compacted room"), "the hub has done it");
}

/// From a message that no version can read to a stream that is set aside, with the document as readable as it can be.
async fn what_fails_is_listed_set_aside_and_shown(stage: Stage) {
    let ground = Ground::of(stage).await;
    let dir = ground.dir();
    // It is tried again when somebody says so.
    let hub = ground.launch().set("worker.retry_ms", 300_000).set("worker.quarantine_after", 2).start();
    ground.redis().cli(["XADD", "yhub:room:acme:fails:main", "*", "m", "no message"]);
    ground.enqueue("*", "compact", "yhub:room:acme:fails:main");
    block_until("the failure to be listed", || json(dir, &["failures"])["failures"][0]["room"]["name"] == "acme/fails@main");
    assert_eq!(done(dir, &["quarantine", "list"]), "nothing is set aside\n");
    // A moment after the failure is on record, its task is given back.
    block_until("the room to be hastened", || run(dir, &["compaction", "now", "acme/fails"]).0 == 0);
    block_until("the stream to be set aside", || json(dir, &["quarantine", "list"])["quarantined"][0]["state"] == "set aside");
    let listed = json(dir, &["quarantine", "list"]);
    let id = listed["quarantined"][0]["id"].as_str().unwrap();
    assert!(listed["quarantined"][0]["record"]["class"] != "operator", "{listed}");
    let shown = done(dir, &["quarantine", "show", "acme/fails", id]);
    assert!(shown.contains(", of which 1 cannot be read\n"), "{shown}");
    assert!(done(dir, &["quarantine", "release", "acme/fails", id]).starts_with("released 1 "));
    assert!(ground.redis().cli(["XRANGE", "yhub:room:acme:fails:main", "-", "+"]).contains("no message"), "it is unchanged");
    drop(hub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_a_data_directory_want_it_to_be_there_and_its_hub_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let said = refused(dir.path(), &["rooms"], 1);
    assert!(said.contains("there is no hub's data in ./data; name its directory with --data-dir"), "{said}");
    assert!(!dir.path().join("data").exists(), "looking makes nothing");
    assert!(done(dir.path(), &["migrate"]).starts_with("nothing to do: "));
    let hub = binary(dir.path()).start();
    let said = refused(dir.path(), &["quarantine", "list"], 1);
    for words in ["which one process at a time can do; stop the hub", "  because: the data directory ", " is in use by "] {
        assert!(said.contains(words), "{said}");
    }
    drop(hub);
}

#[test]
fn every_command_explains_itself() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (&["--help"][..], &["migrate", "rooms", "compaction", "failures", "quarantine", "--role <ROLE>"][..]),
        (&["migrate", "--help"], &["Run it once before the processes of a new version start", "y/hub"]),
        (&["rooms", "--help"], &["Documents that rest are not listed", "--org", "--json", "stop its hub first"]),
        (&["failures", "--help"], &["`worker.quarantine_after`", "--limit"]),
        (&["compaction", "--help"], &["pause", "resume", "now", "until compaction is resumed"]),
        (&["compaction", "pause", "--help"], &["A room is written ORG/DOCID or ORG/DOCID@BRANCH", "%2F"]),
        (&["quarantine", "--help"], &["list", "show", "release", "add", "Nothing is lost by it"]),
        (&["quarantine", "show", "--help"], &["Never its content", "ORG/DOCID@BRANCH"]),
        (&["quarantine", "release", "--help"], &["unchanged and in order"]),
    ] {
        let help = done(dir.path(), arguments);
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in words {
            assert!(help.contains(words), "{arguments:?}: {help}\nexpected: {words}");
        }
    }
}

async fn deleted_rooms_are_listed_held_and_erased(stage: Stage) {
    let ground = Ground::of(stage).await;
    let dir = ground.dir();
    ended_hub(&ground, "law", 3).await;
    let name = "acme/law@main";
    assert_eq!(done(dir, &["tombstones"]), "no such room is deleted\n");
    assert_eq!(done(dir, &["hold", "list"]), "no room is held\n");
    assert!(refused(dir, &["purge", "acme/law"], 1).contains("was not deleted for good"));
    {
        let stores = ground.stores().await;
        let config = yhub::Config::for_testing(dir.join("data"));
        let documents = stores.documents(&config).unwrap();
        let room = yhub_core::RoomId::new("acme", "law", "main");
        documents.delete(&room, yhub_documents::DeleteKind::Soft, Some("ann"), None).await.unwrap();
    }
    let listed = json(dir, &["tombstones"]);
    let [one] = listed["deleted"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&one["room"]["name"], &one["by"], &one["hard"]), (&name.into(), &"ann".into(), &false.into()));
    assert_eq!(done(dir, &["tombstones", "--org", "other"]), "no such room is deleted\n");
    assert_eq!(done(dir, &["tombstones", "--pending"]), "no such room is deleted\n");
    assert!(refused(dir, &["tombstones", "--due"], 1).contains("`deletion.retention_ms` is 0"));
    let hold = ["hold", "add", "acme/law", "--by", "legal", "--reason", "case\n7"];
    assert_eq!(done(dir, &hold), format!("a hold is on {name}\n"));
    assert_eq!(done(dir, &hold), format!("a hold was already, and stays as it was, on {name}\n"));
    let table = done(dir, &["tombstones"]);
    assert!(table.contains(" kept ") && table.contains("legal: case\\n7"), "{table}");
    assert_eq!(json(dir, &["hold", "list"])["holds"][0]["by"], "legal");
    {
        let stores = ground.stores().await;
        let room = yhub_core::RoomId::new("acme", "law", "main");
        let hard = yhub_store::Tombstone { deleted_at_ms: 1, hard: true, purged_at_ms: None, by: None };
        let outcome = stores.docs.put_tombstone(&room, hard.clone(), None).await.unwrap();
        assert_eq!(outcome, yhub_store::TombstoneOutcome::Held);
        stores.deletions.release_hold(&room, None).await.unwrap();
        stores.docs.put_tombstone(&room, hard, None).await.unwrap();
    }
    assert!(done(dir, &["hold", "add", "acme/law", "--by", "legal", "--reason", "x"]).contains("deleted for good before"));
    assert!(refused(dir, &["purge", "acme/law"], 1).contains(&format!("a hold is on {name}")));
    assert!(done(dir, &["tombstones", "--pending"]).contains(" to be erased "));
    assert_eq!(done(dir, &["hold", "release", "acme/law"]), format!("the hold on {name} is released\n"));
    assert!(refused(dir, &["hold", "release", "acme/law"], 1).contains("no hold is on"));
    let receipt: Value = serde_json::from_str(&done(dir, &["purge", "acme/law"])).unwrap();
    assert_eq!((&receipt["docid"], &receipt["purgedBy"]), (&"law".into(), &"operator".into()));
    assert!(receipt["erased"]["streamEntries"].as_u64().unwrap() >= 3, "{receipt}");
    let again: Value = serde_json::from_str(&done(dir, &["purge", "acme/law"])).unwrap();
    assert_eq!(again, receipt);
    assert!(done(dir, &["tombstones"]).contains(" erased "));
}
