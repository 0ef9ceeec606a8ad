//! What is only true of a log on Redis: its bytes are those of y/hub, it lives beside writers that know nothing of it, and it
//! notices what happens to its server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use yhub_core::{
    RoomId, StreamClock,
    alarms::{Alarm, raised},
};
use yhub_store::{Append, LogEntry, ReadLimit, StreamAdmin, StreamLog, StreamLogError, Tail, TailControl, TailEvent, WorkerId};
use yhub_store_redis::{RedisConnectError, RedisLog, RedisLogOptions};
use yhub_testkit::{
    servers::{Fsync, Proxy, Redis, RedisOptions, RedisSentinel},
    vectors, within,
};

const NO_LIMIT: ReadLimit = ReadLimit { entries: 10_000, size_bytes: 1 << 30 };

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

async fn start(options: RedisOptions) -> Arc<Redis> {
    Arc::new(blocking(move || options.start()).await)
}

async fn log_of(redis: &Redis, change: impl FnOnce(&mut RedisLogOptions)) -> Arc<RedisLog> {
    let mut options = RedisLogOptions::new(redis.url());
    options.timeout = Duration::from_secs(3);
    change(&mut options);
    RedisLog::connect(options).await.expect("the log connects")
}

fn room(docid: &str) -> RoomId {
    RoomId::new("acme", docid, RoomId::MAIN)
}

async fn append(log: &RedisLog, room: &RoomId, message: &[u8]) -> StreamClock {
    let append = Append { room: room.clone(), messages: vec![Bytes::copy_from_slice(message)], floor: StreamClock::ZERO };
    log.append(append).await.expect("append")[0]
}

async fn follow(log: &RedisLog, room: &RoomId, after: StreamClock) -> (Box<dyn TailControl>, Tail) {
    let (control, tail) = log.tail().await.expect("tail");
    control.follow(room.clone(), after);
    (control, tail)
}

async fn next(what: &str, tail: &mut Tail) -> TailEvent {
    within(what, tail.next()).await.expect("the tail goes on").expect("the tail does not fail")
}

/// Takes from the tail until it brings entries.
async fn entries(what: &str, tail: &mut Tail) -> Vec<LogEntry> {
    loop {
        if let TailEvent::Entries { entries, .. } = next(what, tail).await {
            return entries.to_vec();
        }
    }
}

/// Keys, fields and queue as y/hub writes them: of the golden rooms, and of a task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_what_y_hub_writes() {
    let redis = start(Redis::options()).await;
    let log = log_of(&redis, |_| {}).await;
    let live = vectors::load("live-deployment");
    let mut streams = Vec::new();
    for golden in live["rooms"].as_array().expect("rooms") {
        let part = |name: &str| golden["room"][name].as_str().expect("a part of a room");
        let room = RoomId::new(part("org"), part("docid"), part("branch"));
        let messages: Vec<Bytes> = golden["stream"]
            .as_array()
            .expect("entries")
            .iter()
            .filter_map(|entry| entry["fields"].get("m").map(|message| Bytes::from(vectors::hex(message))))
            .collect();
        log.append(Append { room, messages: messages.clone(), floor: StreamClock::ZERO }).await.expect("append");
        let stream = golden["redisKey"].as_str().expect("a key").to_owned();
        // One field a message, and its bytes; `cli` shows them one a line, so that only their number can be seen there.
        assert_eq!(redis.cli(["XLEN", &stream]), messages.len().to_string(), "{stream}");
        streams.push(stream);
    }
    let queue = redis.cli(["XRANGE", "yhub:worker", "-", "+"]);
    let lines: Vec<&str> = queue.lines().collect();
    let written: Vec<(&str, &str)> = lines.chunks(3).map(|entry| (entry[1], entry[2])).collect();
    assert_eq!(written, streams.iter().map(|stream| ("compact", &stream[..])).collect::<Vec<_>>());
    // In the pending list from the start, with a consumer of that name.
    assert!(redis.cli(["XPENDING", "yhub:worker", "yhub:worker"]).contains("pending"));
}

/// A golden stream, put there by somebody else with its own ids, fillers and unknown fields, is read as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_others_are_read_as_they_are() {
    let redis = start(Redis::options()).await;
    let log = log_of(&redis, |_| {}).await;
    let live = vectors::load("live-deployment");
    for golden in live["rooms"].as_array().expect("rooms") {
        let part = |name: &str| golden["room"][name].as_str().expect("a part of a room");
        let room = RoomId::new(part("org"), part("docid"), part("branch"));
        let key = golden["redisKey"].as_str().expect("a key").as_bytes().to_vec();
        let mut expected = Vec::new();
        for entry in golden["stream"].as_array().expect("entries") {
            let id = entry["id"].as_str().expect("an id");
            let fields = entry["fields"].as_object().expect("fields");
            let mut command = vec![b"XADD".to_vec(), key.clone(), id.as_bytes().to_vec()];
            for (name, value) in fields {
                command.extend([name.clone().into_bytes(), vectors::hex(value)]);
            }
            // Something that a later version may add.
            command.extend([b"later".to_vec(), b"\xff\x00".to_vec()]);
            redis.cli(command);
            let message = fields.get("m").map(|message| Bytes::from(vectors::hex(message)));
            expected.push(LogEntry { clock: id.parse().expect("a clock"), message });
        }
        let last = expected.last().expect("entries").clock.next();
        redis.cli([b"XADD".to_vec(), key, last.to_string().into_bytes(), b"nop".to_vec(), b"1".to_vec()]);
        expected.push(LogEntry { clock: last, message: None });
        assert_eq!(log.read(&room, StreamClock::ZERO, NO_LIMIT).await.expect("read").entries, expected);
        // And what is appended now stands behind it, without a hole for who follows.
        let (_control, mut tail) = follow(&log, &room, last).await;
        let ours = append(&log, &room, b"ours").await;
        assert!(ours > last);
        let brought = entries("what was appended", &mut tail).await;
        assert_eq!(brought.iter().map(|entry| entry.clock).collect::<Vec<_>>(), [ours]);
    }
}

/// What a process without pushes appends arrives with the next sweep, in order with ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_who_does_not_push_arrive() {
    let redis = start(Redis::options()).await;
    let log = log_of(&redis, |options| options.sweep = Duration::from_millis(100)).await;
    let (_control, mut tail) = follow(&log, &room("notes"), StreamClock::ZERO).await;
    let mut expected = Vec::new();
    for n in 0..30 {
        let text = n.to_string();
        if n % 3 == 0 {
            append(&log, &room("notes"), text.as_bytes()).await;
        } else {
            redis.cli(["XADD", "yhub:room:acme:notes:main", "*", "m", &text]);
        }
        expected.push(text);
    }
    let mut brought = Vec::new();
    while brought.len() < expected.len() {
        let more = entries("all of them", &mut tail).await;
        brought.extend(more.into_iter().map(|entry| String::from_utf8_lossy(&entry.message.expect("no filler")).into_owned()));
    }
    assert_eq!(brought, expected);
}

/// Tasks that no version knows are moved to where operators find them, and stop nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_tasks_go_to_the_dead_letters() {
    let redis = start(Redis::options()).await;
    let log = log_of(&redis, |_| {}).await;
    append(&log, &room("notes"), b"x").await;
    redis.cli(["XADD", "yhub:worker", "*", "vacuum", "everything"]);
    redis.cli(["XADD", "yhub:worker", "*", "compact", "somebody:else:room"]);
    let worker = WorkerId("w".into());
    let tasks = log.claim(&worker, 10, Duration::ZERO, Duration::from_secs(60)).await.expect("claim");
    assert_eq!(tasks.iter().map(|task| &task.room).collect::<Vec<_>>(), [&room("notes")]);
    assert_eq!(redis.cli(["XLEN", "yhub:worker"]), "1");
    let dead = redis.cli(["XRANGE", "yhub:dead_letters", "-", "+"]);
    assert!(dead.contains("vacuum") && dead.contains("somebody:else:room"), "{dead}");
    assert_eq!(log.reconcile(None, 100).await.expect("reconcile").dropped, 0);
}

/// After FLUSHALL the consumer group is gone too: the next append makes it again, and its task can be claimed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_gone_is_made_again() {
    let redis = start(Redis::options()).await;
    let log = log_of(&redis, |_| {}).await;
    append(&log, &room("before"), b"x").await;
    redis.flush_all();
    append(&log, &room("after"), b"x").await;
    let tasks = log.claim(&WorkerId("w".into()), 10, Duration::ZERO, Duration::from_secs(60)).await.expect("claim");
    assert_eq!(tasks.iter().map(|task| &task.room).collect::<Vec<_>>(), [&room("after")]);
}

/// A restart, an emptied store and one that went back are told to who follows a room; a cut connection is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_the_server_is_noticed() {
    let redis = start(Redis::options().append_only(Fsync::Always)).await;
    let proxy = Arc::new({
        let addr = redis.addr();
        blocking(move || Proxy::start(addr)).await
    });
    let url = redis.url_at(proxy.addr());
    let log = log_of(&redis, |options| options.url = url).await;
    let (_control, mut tail) = follow(&log, &room("notes"), StreamClock::ZERO).await;
    append(&log, &room("notes"), b"first").await;
    assert_eq!(entries("the first entry", &mut tail).await.len(), 1);

    // Cut, and appended to meanwhile by another: read, and nothing is suspected.
    proxy.cut();
    redis.cli(["XADD", "yhub:room:acme:notes:main", "*", "m", "second"]);
    proxy.heal();
    let event = next("what came while it was cut off", &mut tail).await;
    assert!(matches!(&event, TailEvent::Entries { entries, .. } if entries.len() == 1), "{event:?}");

    let suspect = TailEvent::Suspect { room: room("notes") };
    let (restart, flush, back) = (redis.clone(), redis.clone(), redis.clone());
    blocking(move || restart.restart()).await;
    assert_eq!(next("a suspicion after a restart", &mut tail).await, suspect);
    blocking(move || flush.flush_all()).await;
    assert_eq!(next("a suspicion after FLUSHALL", &mut tail).await, suspect);
    let [restarts, losses] = [Alarm::LogRestarted, Alarm::LogLost].map(|alarm| raised()[alarm as usize].1);
    assert!(restarts >= 1 && losses >= 1, "{restarts} restarts and {losses} losses counted");
    let pulse = within("a pulse", async {
        loop {
            match back.try_cli(["GET", "yhub:pulse"]) {
                Ok(pulse) if pulse.parse::<u64>().is_ok_and(|pulse| pulse > 2) => return pulse,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    assert!(pulse.parse::<u64>().is_ok());
    back.cli(["SET", "yhub:pulse", "1"]);
    assert_eq!(next("a suspicion of older data", &mut tail).await, suspect);
}

/// Longer than entries live for certain without a word: whoever follows a room must load it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_silence_is_a_gap() {
    let redis = start(Redis::options()).await;
    let proxy = Arc::new({
        let addr = redis.addr();
        blocking(move || Proxy::start(addr)).await
    });
    let url = redis.url_at(proxy.addr());
    let log = log_of(&redis, |options| {
        options.url = url;
        options.min_lifetime = Duration::from_millis(200);
        options.sweep = Duration::from_millis(50);
    })
    .await;
    let (_control, mut tail) = follow(&log, &room("notes"), StreamClock::ZERO).await;
    append(&log, &room("notes"), b"first").await;
    assert_eq!(entries("the first entry", &mut tail).await.len(), 1);
    proxy.cut();
    // What is waited for is time itself.
    tokio::time::sleep(Duration::from_millis(600)).await;
    proxy.heal();
    assert_eq!(next("a gap", &mut tail).await, TailEvent::Gap { room: room("notes") });
}

/// A failover is followed: appends go to the new master, and who follows is told to look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_are_asked_for_the_master() {
    let sentinel = Arc::new(blocking(|| RedisSentinel::start(1)).await);
    let addrs: Vec<String> = sentinel.addrs().iter().map(ToString::to_string).collect();
    let (name, url) = (sentinel.name().to_owned(), sentinel.master().url());
    let log = log_of(sentinel.master(), |options| {
        options.url = url;
        options.sentinels = addrs;
        options.sentinel_master = name;
    })
    .await;
    let (_control, mut tail) = follow(&log, &room("notes"), StreamClock::ZERO).await;
    append(&log, &room("notes"), b"first").await;
    assert_eq!(entries("the first entry", &mut tail).await.len(), 1);
    let failing = sentinel.clone();
    blocking(move || failing.failover()).await;
    let second = within("an append after the failover", async {
        loop {
            let append = Append { room: room("notes"), messages: vec![Bytes::from_static(b"2")], floor: StreamClock::ZERO };
            match log.append(append).await {
                Ok(clocks) => return clocks[0],
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let mut told = false;
    loop {
        match next("what was appended after the failover", &mut tail).await {
            TailEvent::Suspect { .. } => told = true,
            TailEvent::Entries { entries, .. } if entries.iter().any(|entry| entry.clock == second) => break,
            _ => {}
        }
    }
    while !told {
        told = matches!(next("a suspicion after the failover", &mut tail).await, TailEvent::Suspect { .. });
    }
}

/// A server that would lose edits is not used, and one that becomes so while it is used is said not to be ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drops_edits_is_refused() {
    let redis = start(Redis::options().max_memory(64 << 20, "allkeys-lru")).await;
    let refused = RedisLog::connect(RedisLogOptions::new(redis.url())).await.err().expect("it is refused");
    assert!(matches!(&refused, RedisConnectError::Unsafe { what, .. } if what.contains("noeviction")), "{refused}");

    // Full, and with the right policy: edits are refused, nothing is dropped.
    let redis = start(Redis::options().max_memory(8 << 20, "noeviction")).await;
    let log = log_of(&redis, |_| {}).await;
    let first = append(&log, &room("notes"), &[1; 1 << 20]).await;
    // To the brim: what is too long for the last bytes is refused before what is short.
    let mut error = None;
    for size in [1 << 20, 1 << 12] {
        error = Some(loop {
            let messages = vec![Bytes::from(vec![2; size])];
            if let Err(error) = log.append(Append { room: room("notes"), messages, floor: StreamClock::ZERO }).await {
                break error;
            }
        });
    }
    let error = error.expect("both were refused");
    assert!(matches!(&error, StreamLogError::Unavailable { .. }) && error.is_transient(), "{error:?}");
    assert!(log.check().await.is_err(), "it says that it cannot take appends");
    assert_eq!(log.read(&room("notes"), StreamClock::ZERO, NO_LIMIT).await.expect("read").entries[0].clock, first);
}

/// What cannot be used is said with its key, and without secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_configured_wrongly_is_said() {
    let redis = start(Redis::options().password("s3cret")).await;
    let connect = async |change: &dyn Fn(&mut RedisLogOptions)| {
        let mut options = RedisLogOptions::new(redis.url());
        options.timeout = Duration::from_millis(500);
        change(&mut options);
        let shown = format!("{options:?}");
        let error = RedisLog::connect(options).await.err().expect("it is refused");
        let mut text = format!("{shown} {error}");
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        assert!(!text.contains("s3cret") && !text.contains("wr0ng"), "{text}");
        text
    };
    let at = redis.addr();
    for (change, says) in [
        (&(|o: &mut RedisLogOptions| o.url = "not a url s3cret".into()) as &dyn Fn(&mut RedisLogOptions), "`redis.url`"),
        (&move |o: &mut RedisLogOptions| o.url = format!("redis://:wr0ng@{at}"), "cannot connect"),
        (&|o: &mut RedisLogOptions| o.url = "redis://:s3cret@127.0.0.1:1".into(), "127.0.0.1:1"),
        (&|o: &mut RedisLogOptions| o.ca_file = Some("/nowhere.pem".into()), "`redis.ca_file`"),
        (&|o: &mut RedisLogOptions| o.cluster = true, "`redis.shards`"),
        (&|o: &mut RedisLogOptions| (o.shards, o.prefix) = (3, "a{b}".into()), "`redis.prefix`"),
        (&|o: &mut RedisLogOptions| o.sentinels = vec!["nowhere".into()], "`redis.sentinels`"),
        (&|o: &mut RedisLogOptions| o.sentinels = vec!["127.0.0.1:1".into()], "`redis.sentinel_master`"),
    ] {
        let text = connect(change).await;
        assert!(text.contains(says), "{says} in: {text}");
    }
}
