//! A hub that starts over what a y/hub has left in Redis and PostgreSQL goes on where that has stopped: it brings the rows
//! that the other would have brought.
//!
//! Everything lies there as the other wrote it: raw entries under their own ids, raw rows, raw tasks. Content maps and content
//! ids must come out as the same bytes; documents may divide or order their items otherwise.

use bytes::Bytes;
use serde_json::Value;
use yhub_content::{content_ids, gc_merge, integrate_merge, state_vector_of};
use yhub_core::{Asset, RoomId};
use yhub_store::{AssetSelection, VersionRow};
use yhub_testkit::{
    Launch, Oracle, TestClient, block_until,
    servers::S3,
    vectors::{hex, items, list, load, text, to_hex, uint},
};

use crate::{
    assets,
    ground::Ground,
    support::{ORG, path, room},
};

/// In the order of the columns.
pub(crate) const ASSETS: [&str; 4] = ["gcdoc", "nongcdoc", "contentmap", "contentids"];
/// What stands in an entry beside its message, and what no version writes.
const LATER: (&[u8], &[u8]) = (b"later", b"\xff\x00");

/// Redis and PostgreSQL of a y/hub, and its bucket.
pub(crate) struct Deployment {
    pub(crate) ground: Ground,
    pub(crate) s3: Option<S3>,
}

impl Deployment {
    async fn start() -> Self {
        let ground = tokio::task::spawn_blocking(Ground::distributed).await.expect("the servers start");
        Self { ground, s3: None }
    }

    pub(crate) async fn with_s3() -> Self {
        Self { s3: Some(assets::server().await), ..Self::start().await }
    }

    /// A hub over all that.
    pub(crate) fn node(&self, name: &str) -> Launch {
        let launch = self.ground.node(name);
        match &self.s3 {
            Some(s3) => assets::in_bucket(launch, s3),
            None => launch,
        }
    }

    pub(crate) fn entry<'a>(&self, key: &str, id: &str, fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) {
        let start = ["XADD", key, id].map(|part| part.as_bytes().to_vec());
        let fields = fields.into_iter().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]);
        self.ground.redis().cli(start.into_iter().chain(fields));
    }

    fn row(&self, room: &RoomId, t: &str, created: u64, assets: [&[u8]; 4], is_reference: [bool; 4]) {
        let assets = assets.map(|asset| format!("decode('{}', 'hex')", to_hex(asset))).join(", ");
        let flags = is_reference.map(|flag| flag.to_string()).join(", ");
        let key = [room.org(), room.docid(), room.branch(), t].map(|part| format!("'{part}'")).join(", ");
        self.ground.database().query(&format!("INSERT INTO yhub_ydoc_v1 VALUES ({key}, {created}, {assets}, {flags})"));
    }

    /// Stream and row of a captured room, as far as they are wanted.
    fn captured(&self, golden: &Value, with_row: bool) -> RoomId {
        self.put_stream(golden);
        if with_row {
            self.put_rows(golden);
        }
        room_of(golden)
    }

    pub(crate) fn put_stream(&self, golden: &Value) {
        for entry in list(&golden["stream"]) {
            let fields = entry["fields"].as_object().expect("fields");
            let fields: Vec<(&str, Vec<u8>)> = fields.iter().map(|(name, value)| (name.as_str(), hex(value))).collect();
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), &value[..]));
            self.entry(text(&golden["redisKey"]), text(&entry["id"]), fields);
        }
    }

    pub(crate) fn put_rows(&self, golden: &Value) {
        let room = room_of(golden);
        for row in list(&golden["rows"]) {
            let assets = ASSETS.map(|name| hex(&row[name]));
            self.row(&room, text(&row["t"]), uint(&row["created"]), assets.each_ref().map(|asset| &asset[..]), flags(row));
        }
    }

    /// Lets a compactor work until nothing is left to be compacted. It complains about so many tasks, and about nothing else.
    pub(crate) fn compact(&self, dead_letters: usize) {
        let launch = self.node("worker").args(["--role", "worker"]).without_port("compacts, without a port");
        let worker = launch.start();
        block_until("the streams to drain", || self.ground.is_drained());
        assert_eq!(self.ground.task_owners(), [""; 0], "no task stays");
        worker.terminate();
        assert_eq!(worker.wait(), Some(0), "{}", launch.log());
        let log = launch.log();
        let is_complaint = |line: &&str| [" WARN ", " ERROR ", "panicked"].iter().any(|word| line.contains(word));
        let complaints: Vec<&str> = log.lines().filter(is_complaint).collect();
        assert!(complaints.iter().all(|complaint| complaint.contains("alarm=dead_letter")), "{complaints:#?}");
        assert_eq!(complaints.len(), dead_letters, "{log}");
    }

    /// The one row that there must be.
    pub(crate) async fn stored(&self, room: &RoomId) -> VersionRow {
        let rows = self.ground.stores().await.docs.read(room, AssetSelection::ALL).await.unwrap().rows;
        let [row] = <[VersionRow; 1]>::try_from(rows).unwrap_or_else(|rows| panic!("{} rows of {room}", rows.len()));
        row
    }
}

/// The room that was captured.
pub(crate) fn room_of(golden: &Value) -> RoomId {
    let [org, docid, branch] = ["org", "docid", "branch"].map(|name| text(&golden["room"][name]));
    RoomId::new(org, docid, branch)
}

pub(crate) fn flags(row: &Value) -> [bool; 4] {
    [0, 1, 2, 3].map(|at| row["isReference"][at].as_bool().expect("a flag"))
}

fn payload(asset: &[u8]) -> Bytes {
    match Asset::decode(&Bytes::copy_from_slice(asset)).expect("an asset") {
        Asset::YDoc { update: bytes } | Asset::ContentMap { contentmap: bytes } | Asset::ContentIds { contentids: bytes } => {
            bytes
        }
        other => panic!("{other:?}"),
    }
}

/// What the other has stored, in the order of the columns.
pub(crate) struct Expected {
    t: String,
    created: u64,
    payloads: [Bytes; 4],
}

impl Expected {
    /// Of the main branch the columns hold references, and the objects are named by the asset id.
    pub(crate) fn captured(golden: &Value) -> Self {
        let [row] = list(&golden["rows"]) else { panic!("one row") };
        let [org, docid, branch] = ["org", "docid", "branch"].map(|name| text(&golden["room"][name]));
        let object = |kind: &str, gc: &str| {
            let name = format!("id:{kind}:v1/{org}/{docid}/{branch}/{gc}");
            golden["objects"]
                .as_object()
                .and_then(|all| all.iter().find(|(id, _)| id.starts_with(&name)).map(|(_, object)| object))
        };
        let objects = [("ydoc", "1/"), ("ydoc", "0/"), ("contentmap", ""), ("contentids", "")].map(|(kind, gc)| object(kind, gc));
        let payloads = [0, 1, 2, 3].map(|at| payload(&hex(objects[at].unwrap_or(&row[ASSETS[at]]))));
        Self { t: text(&row["t"]).into(), created: uint(&row["created"]), payloads }
    }

    /// Of a history that was computed.
    fn computed(row: &Value) -> Self {
        let payloads = ["gcDoc", "nongcDoc", "contentmap", "contentids"].map(|name| hex(&row[name]).into());
        Self { t: text(&row["t"]).into(), created: uint(&row["created"]), payloads }
    }

    /// As the other stores them.
    fn assets(&self) -> [Bytes; 4] {
        let [gc, nongc, contentmap, contentids] = self.payloads.clone();
        [
            Asset::YDoc { update: gc },
            Asset::YDoc { update: nongc },
            Asset::ContentMap { contentmap },
            Asset::ContentIds { contentids },
        ]
        .map(|asset| asset.encode())
    }

    pub(crate) fn assert_is(&self, row: &VersionRow) {
        assert_eq!((&row.t, row.created_ms), (&self.t, self.created as i64));
        let ours = row.assets.each_ref().map(|asset| payload(asset.as_deref().expect("rows are whole")));
        for at in [2, 3] {
            assert_eq!(to_hex(&ours[at]), to_hex(&self.payloads[at]), "{} of {}", ASSETS[at], self.t);
        }
        for at in [0, 1] {
            assert_eq!(content_ids(&ours[at]).unwrap(), content_ids(&self.payloads[at]).unwrap());
            assert_eq!(state_vector_of(&ours[at]).unwrap(), state_vector_of(&self.payloads[at]).unwrap());
        }
        let [gc, nongc] = [0, 1].map(|at| (&ours[at], &self.payloads[at]));
        assert_eq!(to_hex(&gc_merge(&[gc.0]).unwrap()), to_hex(&gc_merge(&[gc.1]).unwrap()));
        assert_eq!(to_hex(&integrate_merge(&[nongc.0]).unwrap()), to_hex(&integrate_merge(&[nongc.1]).unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captured_streams_and_tasks_become_the_rows_that_were_captured() {
    let deployment = Deployment::start().await;
    let live = load("live-deployment");
    let rooms: Vec<_> = list(&live["rooms"]).iter().map(|golden| (deployment.captured(golden, false), golden)).collect();
    // One of these is of a room that has no stream any more.
    for task in list(&live["worker"]) {
        deployment.ground.enqueue(text(&task["id"]), "compact", text(&task["fields"]["compact"]));
    }
    deployment.compact(0);
    for (room, golden) in &rooms {
        Expected::captured(golden).assert_is(&deployment.stored(room).await);
    }
    // And who joins then sees what the clients of the capture saw last.
    let hub = deployment.ground.node("hub").start();
    for (room, golden) in rooms {
        let branch = room.branch().replace('%', "%25");
        let path = format!("/api/ws/v1/{}/{}?branch={branch}", room.org(), room.docid());
        let joined = Oracle::of([TestClient::connect(hub.addr(), &path).await.sync().await]);
        assert_eq!(joined.text(), text(&golden["final"]["text"]), "{room}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_reach_to_the_end_of_their_stream_are_left_as_they_are() {
    let deployment = Deployment::start().await;
    let live = load("live-deployment");
    let mut rooms = Vec::new();
    for golden in list(&live["rooms"]) {
        rooms.push((deployment.captured(golden, true), golden));
        deployment.ground.enqueue("*", "compact", text(&golden["redisKey"]));
    }
    deployment.compact(0);
    for (room, golden) in rooms {
        let ([row], stored) = (list(&golden["rows"]), deployment.stored(&room).await) else { panic!("one row") };
        assert_eq!((stored.t.as_str(), stored.is_reference), (text(&row["t"]), flags(row)));
        let assets = stored.assets.map(|asset| to_hex(&asset.expect("rows are whole")));
        assert_eq!(assets, ASSETS.map(|name| text(&row[name]).to_owned()), "{room}");
    }
}

/// Fillers, and messages and fields of versions to come, at the clocks after `clock`.
fn oddities(deployment: &Deployment, key: &str, clock: &str) {
    let messages = load("hub-messages");
    let unknown = list(&messages["messages"]).iter().find(|message| {
        message["value"]["v"].as_array().is_some_and(|fields| {
            fields.iter().any(|field| field[0].as_str() == Some("type") && field[1]["v"].as_str() == Some("ydoc:update:v2"))
        })
    });
    let unknown = hex(&unknown.expect("a message of a type that there is not")["hex"]);
    let (ms, seq) = clock.split_once('-').expect("a clock");
    let seq: u64 = seq.parse().expect("a number");
    let fields: [&[(&[u8], &[u8])]; 3] = [&[(b"nop", b"1"), LATER], &[(b"m", &unknown)], &[LATER]];
    for (fields, after) in fields.into_iter().zip(1..) {
        deployment.entry(key, &format!("{ms}-{}", seq + after), fields.iter().copied());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_rows_and_odd_streams_are_folded_to_the_same_rows() {
    let deployment = Deployment::start().await;
    let mut rooms = Vec::new();
    // Neither kind of task is one that this version knows; both stand before all others.
    deployment.ground.enqueue("*", "vacuum", "everything");
    deployment.ground.enqueue("*", "compact", "somebody:else:room");
    let histories = load("history");
    for (h, history) in list(&histories["histories"]).iter().enumerate() {
        let (steps, compactions) = (list(&history["steps"]), items(&history["compactions"]));
        for (c, compaction) in compactions.iter().enumerate() {
            let earlier = (c > 0).then(|| &compactions[c - 1]);
            let upto = uint(&compaction["streamEntries"]) as usize;
            for odd in [false, true] {
                let docid = format!("history-{h}-{c}-{odd}");
                let key = format!("yhub:room:{ORG}:{docid}:main");
                if let Some(earlier) = earlier {
                    let row = Expected::computed(&earlier["row"]);
                    // An imported document has a clock that no stream gives.
                    let t = if odd { format!("{}-I", row.created) } else { row.t.clone() };
                    deployment.row(&room(&docid), &t, row.created, row.assets().each_ref().map(|asset| &asset[..]), [false; 4]);
                }
                // What the row holds may still be there, or be gone.
                let from = earlier.filter(|_| odd).map_or(0, |earlier| uint(&earlier["streamEntries"]) as usize);
                for (at, step) in steps[..upto].iter().enumerate().skip(from) {
                    let (clock, message) = (text(&step["redisClock"]), hex(&step["streamMessage"]));
                    let fields: [(&[u8], &[u8]); 2] = [(b"m", &message), LATER];
                    deployment.entry(&key, clock, fields.into_iter().take(1 + usize::from(odd)));
                    if odd && at + 1 < upto {
                        oddities(&deployment, &key, clock);
                    }
                }
                deployment.ground.enqueue("*", "compact", &key);
                rooms.push((docid, Expected::computed(&compaction["row"])));
            }
        }
    }
    assert_eq!(rooms.len(), 6);
    deployment.compact(2);
    for (docid, expected) in rooms {
        println!("{docid}");
        expected.assert_is(&deployment.stored(&room(&docid)).await);
    }
    let dead = deployment.ground.redis().cli(["XRANGE", "yhub:dead_letters", "-", "+"]);
    assert!(dead.contains("vacuum") && dead.contains("somebody:else:room"), "{dead}");
}

/// Both at once, as long as it takes: what a y/hub beside the hub appends is shown to the clients of the hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_what_another_writes_around_what_nobody_knows() {
    let deployment = Deployment::start().await;
    // Nothing leaves the stream while others write into it, and nobody minds that they give no task.
    let quiet = deployment.ground.launch().set("worker.task_debounce_ms", 3_600_000).set("worker.reconcile_ms", 3_600_000);
    let hub = quiet.start();
    let mut client = TestClient::connect(hub.addr(), &path("both")).await;
    client.sync().await;
    let key = format!("yhub:room:{ORG}:both:main");
    for step in list(&list(&load("history")["histories"])[0]["steps"]) {
        let last = deployment.ground.redis().cli(["XADD", &key, "*", "later", "1"]);
        oddities(&deployment, &key, &last);
        deployment.entry(&key, "*", [(&b"m"[..], &hex(&step["streamMessage"])[..]), LATER]);
        client.shown(&hex(&step["update"])).await;
    }
    assert!(!hub.launch().log().contains(" WARN "), "{}", hub.launch().log());
}
