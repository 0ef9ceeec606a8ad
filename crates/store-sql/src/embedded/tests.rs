//! What the suites cannot see from outside: groups, bounds, damage in the middle of an operation, names with U+0000.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use diesel::{RunQueryDsl, connection::SimpleConnection, sql_query};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use yhub_core::{ManualTime, RoomId, StreamClock};
use yhub_store::{Append, QuarantineId, ReadLimit, StreamAdmin, StreamLog, StreamLogError, TailEvent, TaskEpoch, WorkerId};

use super::{Durability, EmbeddedLog, EmbeddedLogOptions, rows};

const START_MS: u64 = 1_700_000_000_000;

fn open_with(
    change: impl FnOnce(&mut EmbeddedLogOptions),
) -> (Arc<EmbeddedLog>, Arc<ManualTime>, EmbeddedLogOptions, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let time = Arc::new(ManualTime::new(START_MS));
    let mut options = EmbeddedLogOptions::new(dir.path());
    change(&mut options);
    let log = EmbeddedLog::open(options.clone(), time.clone()).expect("open the log");
    (Arc::new(log), time, options, dir)
}

fn open() -> (Arc<EmbeddedLog>, tempfile::TempDir) {
    let (log, _, _, dir) = open_with(|_| {});
    (log, dir)
}

fn room(name: &str) -> RoomId {
    RoomId::new("o", name, RoomId::MAIN)
}

async fn append(log: &EmbeddedLog, name: &str, message: Bytes) -> Result<Vec<StreamClock>, StreamLogError> {
    log.append(Append { room: room(name), messages: vec![message], floor: StreamClock::ZERO }).await
}

async fn messages(log: &EmbeddedLog, name: &str) -> Vec<Bytes> {
    let limit = ReadLimit { entries: 10_000, size_bytes: usize::MAX };
    let page = log.read(&room(name), StreamClock::ZERO, limit).await.expect("read");
    page.entries.into_iter().map(|entry| entry.message.expect("no filler")).collect()
}

/// Holds the writer up until the sender is dropped; what is sent meanwhile becomes one group.
async fn hold(log: &Arc<EmbeddedLog>) -> (mpsc::Sender<()>, JoinHandle<Result<(), StreamLogError>>) {
    let (release, held) = mpsc::channel::<()>();
    let (started, is_held) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    let log = log.clone();
    let held = std::sync::Mutex::new(held);
    let holding = tokio::spawn(async move {
        log.write(0, move |_| {
            started.take().map(|started| started.send(()));
            let _ = held.lock().expect("only here").recv();
            Ok(())
        })
        .await
    });
    if is_held.await.is_err() {
        panic!("it has not begun: {:?}", holding.await);
    }
    (release, holding)
}

/// Sends appends to rooms a and c around an operation, all in one group; says how each ended.
async fn in_one_group(
    log: &Arc<EmbeddedLog>,
    operation: impl FnMut(&mut rows::Tx<'_>) -> Result<(), crate::error::OpError> + Send + 'static,
) -> [Result<(), StreamLogError>; 3] {
    let (release, holding) = hold(log).await;
    let spawn_append = |name: &'static str| {
        let log = log.clone();
        tokio::spawn(async move { append(&log, name, Bytes::from_static(b"x")).await.map(|_| ()) })
    };
    let a = spawn_append("a");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let b = {
        let log = log.clone();
        tokio::spawn(async move { log.write(0, operation).await })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    let c = spawn_append("c");
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(release);
    holding.await.expect("no panic").expect("held up only");
    [a.await.expect("no panic"), b.await.expect("no panic"), c.await.expect("no panic")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_operation_fails_alone() {
    let (log, _dir) = open();
    let [a, b, c] = in_one_group(&log, |tx| {
        let before = Bytes::from_static(b"must be taken back");
        rows::append(tx, &room("b"), &[Some(before)], StreamClock::ZERO)?;
        Ok(tx.conn.batch_execute("INSERT INTO no_such_table VALUES (1)")?)
    })
    .await;
    assert!(a.is_ok() && c.is_ok(), "{a:?} {c:?}");
    let error = b.expect_err("it failed");
    assert!(
        error.is_transient()
            && std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("no_such_table"))
    );
    assert_eq!(messages(&log, "b").await, Vec::<Bytes>::new());
    assert_eq!((messages(&log, "a").await.len(), messages(&log, "c").await.len()), (1, 1), "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panicking_operation_fails_alone_and_the_writer_lives() {
    let (log, _dir) = open();
    let (control, mut tail) = log.tail().await.expect("tail");
    control.follow(room("c"), StreamClock::ZERO);
    let [a, b, c] = in_one_group(&log, |tx| {
        rows::append(tx, &room("b"), &[None], StreamClock::ZERO)?;
        panic!("on purpose");
    })
    .await;
    assert!(a.is_ok() && c.is_ok(), "{a:?} {c:?}");
    let Err(StreamLogError::Unavailable { source, .. }) = b else { panic!("{b:?}") };
    assert!(source.to_string().contains("on purpose"), "{source}");
    assert_eq!(messages(&log, "b").await, Vec::<Bytes>::new());
    assert_eq!((messages(&log, "a").await.len(), messages(&log, "c").await.len()), (1, 1), "each once");
    append(&log, "a", Bytes::from_static(b"y")).await.expect("the writer lives");
    let Some(Ok(TailEvent::Entries { entries, .. })) = tail.next().await else { panic!("a tail that ended") };
    assert_eq!(entries.len(), 1, "what was taken back was not handed out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_an_error_and_passes() {
    let (log, _dir) = open();
    append(&log, "a", Bytes::from_static(b"before")).await.expect("room for this");
    // As if the disk ended here.
    log.write(0, |tx| Ok(tx.conn.batch_execute("PRAGMA max_page_count = 1")?)).await.expect("set");
    let big = Bytes::from(vec![0; 1 << 20]);
    let full = append(&log, "a", big.clone()).await.expect_err("the disk is full");
    assert!(matches!(full, StreamLogError::Unavailable { .. }), "{full:?}");
    assert_eq!(messages(&log, "a").await, [Bytes::from_static(b"before")]);
    // The writer begins anew with another connection, which knows no such bound.
    let mut passed = append(&log, "a", big.clone()).await;
    for _ in 0..3 {
        if passed.is_err() {
            passed = append(&log, "a", big.clone()).await;
        }
    }
    let after = passed.expect("room again")[0];
    assert!(after > StreamClock::new(START_MS, 0), "{after} was given before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_its_bounds_it_waits_and_is_then_busy() {
    let (log, _, _, _dir) = open_with(|options| {
        options.queue_operations = 3;
        options.queue_bytes = 10_000;
        options.queue_wait = Duration::from_millis(100);
    });
    let (release, holding) = hold(&log).await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move { append(&log, "a", Bytes::from_static(b"x")).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let busy = append(&log, "a", Bytes::from_static(b"one too many")).await.expect_err("full");
    assert!(matches!(busy, StreamLogError::Busy { waiting: 3 }), "{busy:?}");
    drop(release);
    holding.await.expect("no panic").expect("held up only");
    for append in waiting {
        append.await.expect("no panic").expect("there was room");
    }
    // By bytes, with operations to spare. More than all of it goes alone.
    let (release, holding) = hold(&log).await;
    let large = {
        let log = log.clone();
        tokio::spawn(async move { append(&log, "a", Bytes::from(vec![1; 50_000])).await })
    };
    tokio::time::sleep(Duration::from_millis(30)).await;
    let busy = append(&log, "a", Bytes::from_static(b"a byte too many")).await.expect_err("full");
    assert!(matches!(busy, StreamLogError::Busy { .. }), "{busy:?}");
    drop(release);
    holding.await.expect("no panic").expect("held up only");
    large.await.expect("no panic").expect("alone");
    assert_eq!(messages(&log, "a").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_operation_that_waits_is_not_done() {
    let (log, _dir) = open();
    let (release, holding) = hold(&log).await;
    let cancelled = tokio::time::timeout(Duration::from_millis(30), append(&log, "a", Bytes::from_static(b"x"))).await;
    assert!(cancelled.is_err());
    drop(release);
    holding.await.expect("no panic").expect("held up only");
    append(&log, "a", Bytes::from_static(b"y")).await.expect("append");
    assert_eq!(messages(&log, "a").await, [Bytes::from_static(b"y")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_with_nul_is_a_name() {
    let (log, _dir) = open();
    let names = ["a", "a\0", "a\0b", "\0"];
    for name in names {
        append(&log, name, Bytes::from(name)).await.expect("append");
    }
    for name in names {
        assert_eq!(messages(&log, name).await, [Bytes::from(name)]);
    }
    let worker = WorkerId("w".to_owned());
    let tasks = log.claim(&worker, 9, Duration::ZERO, Duration::ZERO).await.expect("claim");
    assert_eq!(tasks.into_iter().map(|task| task.room).collect::<Vec<_>>(), names.map(room));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_on_after_a_restart() {
    let (log, time, options, _dir) = open_with(|_| {});
    let worker = WorkerId("w".to_owned());
    for name in ["empty", "half", "full"] {
        append(&log, name, Bytes::from_static(b"1")).await.expect("append");
        append(&log, name, Bytes::from_static(b"2")).await.expect("append");
    }
    time.advance(Duration::from_secs(1));
    let tasks = log.claim(&worker, 9, Duration::ZERO, Duration::ZERO).await.expect("claim");
    for (task, seq) in tasks.iter().zip([1, 0]) {
        log.complete(&worker, task, StreamClock::new(START_MS, seq), Duration::ZERO).await.expect("complete");
    }
    // And time goes back before it comes up again.
    time.set_ms(5);
    drop(log);
    let log = EmbeddedLog::open(options, time).expect("open again");
    for (name, seq, left) in [("empty", 2, 0), ("half", 2, 1), ("full", 2, 2)] {
        assert_eq!(messages(&log, name).await.len(), left, "{name}");
        assert_eq!(append(&log, name, Bytes::new()).await.expect("append"), [StreamClock::new(START_MS, seq)], "{name}");
    }
    let again = log.claim(&worker, 9, Duration::ZERO, Duration::ZERO).await.expect("claim");
    assert_eq!(again.len(), 3, "one a room");
    assert!(again.iter().all(|task| task.epoch > tasks[2].epoch || task.room != tasks[2].room));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_finishes_what_waits_and_ends_the_tails() {
    let (log, time, options, _dir) = open_with(|_| {});
    let (control, mut tail) = log.tail().await.expect("tail");
    control.follow(room("a"), StreamClock::ZERO);
    append(&log, "a", Bytes::from_static(b"x")).await.expect("append");
    assert!(matches!(tail.next().await, Some(Ok(TailEvent::Entries { .. }))));
    drop(log);
    assert!(matches!(tail.next().await, Some(Err(StreamLogError::Unavailable { .. }))));
    assert!(tail.next().await.is_none());
    control.follow(room("b"), StreamClock::ZERO);
    let log = EmbeddedLog::open(options, time).expect("the lock was given back");
    assert_eq!(messages(&log, "a").await.len(), 1);
}

#[derive(diesel::QueryableByName)]
struct Setting {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    synchronous: i64,
}

#[test]
fn durability_is_what_sqlite_was_told() {
    let (_log, _, options, dir) = open_with(|_| {});
    let url = dir.path().join("stream.sqlite3");
    for (durability, expected) in [(Durability::PowerLoss, 2), (Durability::ProcessCrash, 1)] {
        let mut conn = super::writer::connect(url.to_str().expect("UTF-8"), durability).expect("connect");
        let setting: Setting = sql_query("SELECT synchronous FROM pragma_synchronous").get_result(&mut conn).expect("ask");
        assert_eq!(setting.synchronous, expected);
    }
    assert_eq!(options.durability, Durability::PowerLoss, "unless said otherwise");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_numbers_are_named() {
    let (log, _dir) = open();
    append(&log, "a", Bytes::from_static(b"x")).await.expect("append");
    log.write(0, |tx| Ok(tx.conn.batch_execute("UPDATE stream_entries SET seq = -5")?)).await.expect("damage");
    let limit = ReadLimit { entries: 1, size_bytes: 1 };
    let zero = StreamClock::ZERO;
    log.write(0, |tx| Ok(tx.conn.batch_execute("UPDATE stream_rooms SET trimmed_ms = -7")?)).await.expect("damage");
    let error = log.read(&room("a"), zero, limit).await.expect_err("damaged");
    assert!(matches!(&error, StreamLogError::Corrupt { at, what } if at.contains("o/a@main") && what.contains("-7")), "{error}");
    assert!(!error.is_transient());
    append(&log, "b", Bytes::from_static(b"x")).await.expect("other rooms go on");
}

fn qid() -> QuarantineId {
    QuarantineId("00000000-0000-4000-8000-000000000001".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_among_appends_of_one_group_is_a_gap() {
    let (log, _dir) = open();
    let (control, mut tail) = log.tail().await.expect("tail");
    control.follow(room("a"), StreamClock::ZERO);
    append(&log, "a", Bytes::from_static(b"first")).await.expect("append");
    assert!(matches!(tail.next().await, Some(Ok(TailEvent::Entries { .. }))));
    let [a, b, c] = in_one_group(&log, |tx| {
        rows::append(tx, &room("a"), &[Some(Bytes::from_static(b"before"))], StreamClock::ZERO)?;
        super::aside::quarantine(tx, &room("a"), &qid())?;
        rows::append(tx, &room("a"), &[Some(Bytes::from_static(b"after"))], StreamClock::ZERO)?;
        Ok(())
    })
    .await;
    assert!(a.is_ok() && b.is_ok() && c.is_ok(), "{a:?} {b:?} {c:?}");
    let event = tail.next().await.expect("it goes on").expect("no failure");
    assert_eq!(event, TailEvent::Gap { room: room("a") });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_by_half_where_clocks_end() {
    let (log, _dir) = open();
    let last = StreamClock::new(i64::MAX as u64, 0);
    append(&log, "a", Bytes::from_static(b"1")).await.expect("append");
    assert!(log.quarantine(&room("a"), &qid()).await.expect("quarantine"));
    let far = Append { room: room("a"), messages: vec![Bytes::from_static(b"2")], floor: last };
    log.append(far).await.expect("one fits still");
    let refused = log.release(&room("a"), &qid()).await.expect_err("clocks end");
    assert!(matches!(refused, StreamLogError::Corrupt { .. }), "{refused:?}");
    let end = Append { room: room("a"), messages: vec![], floor: StreamClock::ZERO };
    assert_eq!(log.append(end).await.expect("nothing"), []);
    let full = StreamClock::new(i64::MAX as u64, i64::MAX as u64 - 1);
    log.append(Append { room: room("b"), messages: vec![Bytes::from_static(b"3")], floor: full }).await.expect("the last one");
    let refused = log.quarantine(&room("b"), &qid()).await.expect_err("clocks end");
    assert!(matches!(refused, StreamLogError::Corrupt { .. }), "{refused:?}");
    assert_eq!(messages(&log, "b").await, [Bytes::from_static(b"3")]);
    let page = log.quarantined(None, None, 10).await.expect("list");
    assert_eq!(page.items.iter().map(|stream| (&stream.room, stream.entries)).collect::<Vec<_>>(), [(&room("a"), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_nothing_can_follow_is_refused() {
    let (log, _dir) = open();
    for known in [i64::MAX as u64, u64::MAX] {
        let refused = log.raise_epoch(&room("a"), TaskEpoch(known)).await.expect_err("no epoch follows");
        assert!(matches!(refused, StreamLogError::Corrupt { .. }), "{refused:?}");
    }
    let known = i64::MAX as u64 - 1;
    log.raise_epoch(&room("a"), TaskEpoch(known)).await.expect("one follows");
    append(&log, "a", Bytes::new()).await.expect("append");
    let worker = WorkerId("w".to_owned());
    let tasks = log.claim(&worker, 9, Duration::ZERO, Duration::ZERO).await.expect("claim");
    assert!(tasks[0].epoch > TaskEpoch(known));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_delay_is_longer_than_an_hour() {
    let (log, time, _, _dir) = open_with(|_| {});
    append(&log, "a", Bytes::new()).await.expect("append");
    let worker = WorkerId("w".to_owned());
    let claim = async || log.claim(&worker, 9, Duration::ZERO, Duration::from_secs(86_400)).await.expect("claim");
    let task = claim().await.remove(0);
    log.give_back(&worker, &task, Duration::MAX).await.expect("give back");
    time.advance(Duration::from_secs(3_599));
    assert_eq!(claim().await, []);
    // A little back is a little longer; far back is at once.
    time.set_back(Duration::from_secs(3_000));
    assert_eq!(claim().await, []);
    time.advance(Duration::from_secs(3_001));
    let task = claim().await.remove(0);
    log.give_back(&worker, &task, Duration::from_secs(3_000)).await.expect("give back");
    time.set_back(Duration::from_secs(601));
    assert_eq!(claim().await.len(), 1, "time has gone back: it would wait for more than an hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_of_nobody_is_refused() {
    let (log, _dir) = open();
    for cursor in ["", "x", "1 ", "99999999999999999999"] {
        let refused = log.live_rooms(Some(cursor), 1).await.expect_err("no cursor");
        assert!(matches!(&refused, StreamLogError::Corrupt { what, .. } if what.contains(cursor)), "{refused:?}");
        assert!(log.quarantined(None, Some(cursor), 1).await.is_err());
        assert!(log.reconcile(Some(cursor), 1).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_no_room_and_of_paused_rooms_are_taken_off() {
    let (log, _dir) = open();
    append(&log, "a", Bytes::new()).await.expect("append");
    append(&log, "paused", Bytes::new()).await.expect("append");
    assert!(log.disable_compaction(&room("paused")).await.expect("disable"));
    let damage = "INSERT INTO stream_tasks (room, since_ms) SELECT id, 0 FROM stream_rooms WHERE paused;
                  INSERT INTO stream_tasks (room, owner, since_ms) VALUES (77, 'gone', 0), (-3, NULL, 0);";
    log.write(0, move |tx| Ok(tx.conn.batch_execute(damage)?)).await.expect("damage");
    let done = log.reconcile(None, 100).await.expect("reconcile");
    assert_eq!((done.enqueued.len(), done.dropped, done.next), (0, 3, None));
    let worker = WorkerId("w".to_owned());
    let tasks = log.claim(&worker, 9, Duration::ZERO, Duration::ZERO).await.expect("claim");
    assert_eq!(tasks.into_iter().map(|task| task.room).collect::<Vec<_>>(), [room("a")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_aside_paused_and_put_off_outlasts_a_restart() {
    let (log, time, options, _dir) = open_with(|_| {});
    let worker = WorkerId("w".to_owned());
    for name in ["aside", "paused", "later"] {
        append(&log, name, Bytes::from_static(b"1")).await.expect("append");
    }
    assert!(log.quarantine(&room("aside"), &qid()).await.expect("quarantine"));
    assert!(log.disable_compaction(&room("paused")).await.expect("disable"));
    let tasks = log.claim(&worker, 9, Duration::ZERO, Duration::from_secs(9)).await.expect("claim");
    let later = tasks.iter().find(|task| task.room == room("later")).expect("it is live");
    log.give_back(&worker, later, Duration::from_secs(60)).await.expect("give back");
    drop(log);
    let log = EmbeddedLog::open(options, time.clone()).expect("open again");
    append(&log, "paused", Bytes::from_static(b"2")).await.expect("append");
    assert_eq!(log.claim(&worker, 9, Duration::ZERO, Duration::from_secs(9)).await.expect("claim"), []);
    time.advance(Duration::from_secs(61));
    let tasks = log.claim(&worker, 9, Duration::from_secs(3_600), Duration::from_secs(3_600)).await.expect("claim");
    assert_eq!(tasks.into_iter().map(|task| task.room).collect::<Vec<_>>(), [room("later")]);
    assert_eq!(log.release(&room("aside"), &qid()).await.expect("release"), Some(1));
    let limit = ReadLimit { entries: 9, size_bytes: 9 };
    assert_eq!(log.read(&room("aside"), StreamClock::ZERO, limit).await.expect("read").entries.len(), 2);
}
