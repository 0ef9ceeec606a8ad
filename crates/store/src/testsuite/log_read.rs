//! Cases of [`crate::StreamLog::read`].

use std::time::Duration;

use yhub_core::StreamClock;

use super::{
    StreamLogRig,
    support::{NO_LIMIT, append, qid, room, texts, worker},
};
use crate::{Completed, ReadLimit, ReadPage};

async fn read(rig: &StreamLogRig, after: StreamClock, entries: usize, size_bytes: usize) -> ReadPage {
    rig.log.read(&room(1), after, ReadLimit { entries, size_bytes }).await.expect("read")
}

/// The clock asked for is exclusive; it need not be one of an entry.
pub async fn brings_what_is_after(rig: StreamLogRig) {
    let clocks = append(rig.log(), &room(1), &["a", "b", "c"]).await;
    for (after, expected) in [
        (StreamClock::ZERO, &["a", "b", "c"][..]),
        (clocks[0], &["b", "c"]),
        (clocks[1], &["c"]),
        (clocks[2], &[]),
        (StreamClock::new(clocks[0].ms - 1, u64::MAX), &["a", "b", "c"]),
        (StreamClock::new(clocks[2].ms + 1, 0), &[]),
        (StreamClock::new(u64::MAX, u64::MAX), &[]),
    ] {
        let page = rig.log.read(&room(1), after, NO_LIMIT).await.expect("read");
        assert_eq!(texts(&page.entries), expected, "after {after}");
        assert!(!page.more, "after {after}");
    }
}

/// Page after page, every entry comes once and in order, whatever the size of a page.
pub async fn pages_cover_everything(rig: StreamLogRig) {
    let mut expected = Vec::new();
    for at in 0..50 {
        let text = at.to_string();
        append(rig.log(), &room(1), &[&text, "x"]).await;
        expected.extend([text, "x".to_owned()]);
        if at % 10 == 0 {
            rig.wait(1).await;
        }
    }
    for limit in [1, 2, 3, 7, 99, 100, 101] {
        let (mut found, mut after) = (Vec::new(), StreamClock::ZERO);
        loop {
            let page = read(&rig, after, limit, usize::MAX).await;
            assert!(page.entries.len() <= limit);
            found.extend(texts(&page.entries));
            assert_eq!(page.more, found.len() < expected.len(), "after {} of {}", found.len(), expected.len());
            if !page.more {
                break;
            }
            after = page.entries.last().expect("more, so there is one").clock;
        }
        assert_eq!(found, expected);
    }
}

/// At most so many entries, and `more` exactly if there are more.
pub async fn stops_at_the_entries(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["a", "b", "c"]).await;
    for (limit, expected, more) in [(1, &["a"][..], true), (2, &["a", "b"], true), (3, &["a", "b", "c"], false)] {
        let page = read(&rig, StreamClock::ZERO, limit, usize::MAX).await;
        assert_eq!((texts(&page.entries), page.more), (expected.iter().map(ToString::to_string).collect(), more));
    }
}

/// The page ends with the entry that reaches the bytes.
pub async fn stops_at_the_bytes(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["aaaa", "bbbb", "cccc"]).await;
    for (limit, count) in [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (12, 3), (100, 3)] {
        let page = read(&rig, StreamClock::ZERO, 100, limit).await;
        assert_eq!((page.entries.len(), page.more), (count, count < 3), "with {limit} bytes");
    }
}

/// However small the limit, one entry comes if there is one.
pub async fn brings_at_least_one(rig: StreamLogRig) {
    append(rig.log(), &room(1), &["large", "larger"]).await;
    for (entries, size_bytes) in [(0, 0), (0, 100), (100, 0), (1, 1)] {
        let page = read(&rig, StreamClock::ZERO, entries, size_bytes).await;
        assert_eq!((texts(&page.entries), page.more), (vec!["large".to_owned()], true));
    }
}

/// A room that nobody wrote to has no entries, and none were trimmed.
pub async fn an_unknown_room_is_empty(rig: StreamLogRig) {
    let page = read(&rig, StreamClock::ZERO, 10, 10).await;
    assert_eq!(page, ReadPage { entries: Vec::new(), more: false, trimmed_upto: StreamClock::ZERO });
}

/// A page says up to where entries left the stream: not before they did, not beyond, and also when the room is empty.
pub async fn says_what_was_trimmed(rig: StreamLogRig) {
    let clocks = append(rig.log(), &room(1), &["a", "b", "c"]).await;
    assert_eq!(read(&rig, StreamClock::ZERO, 9, 9).await.trimmed_upto, StreamClock::ZERO);
    assert_eq!(rig.trim(&room(1), clocks[1]).await, Completed::Done { trimmed: 2, left: true });
    let page = read(&rig, StreamClock::ZERO, 9, 9).await;
    assert_eq!((texts(&page.entries), page.trimmed_upto), (vec!["c".to_owned()], clocks[1]));
    // Beyond the last entry: at least what was there, at most what was asked for.
    let beyond = StreamClock::new(clocks[2].ms, clocks[2].seq + 1_000);
    assert_eq!(rig.trim(&room(1), beyond).await, Completed::Done { trimmed: 1, left: false });
    let page = read(&rig, StreamClock::ZERO, 9, 9).await;
    assert_eq!((page.entries, page.more), (Vec::new(), false));
    assert!((clocks[2]..=beyond).contains(&page.trimmed_upto), "{} after {}", page.trimmed_upto, clocks[2]);
}

/// While a room is trimmed again and again, a reader either gets every entry or can tell that some are gone.
pub async fn nothing_goes_missing_unsaid_while_trimmed(rig: StreamLogRig) {
    const ENTRIES: usize = 400;
    let trimmer = {
        let (log, control, tick) = (rig.log.clone(), rig.control.clone(), rig.control.tick());
        tokio::spawn(async move {
            let who = worker("trimmer");
            for n in 0..ENTRIES {
                let appended = append(log.as_ref(), &room(1), &[&n.to_string()]).await;
                if n % 4 == 3 {
                    control.advance(tick * 2).await;
                    let tasks = log.claim(&who, 1, Duration::ZERO, tick * 1_000).await.expect("claim");
                    log.complete(&who, &tasks[0], appended[0], Duration::ZERO).await.expect("complete");
                }
            }
        })
    };
    // Entries are numbered, so that one that is left out shows.
    let (mut after, mut next) = (StreamClock::ZERO, 0);
    loop {
        let is_over = trimmer.is_finished();
        let page = read(&rig, after, 3, usize::MAX).await;
        let numbers: Vec<usize> = texts(&page.entries).iter().map(|text| text.parse().expect("a number")).collect();
        if let (Some(first), Some(last)) = (numbers.first(), page.entries.last()) {
            assert!(*first == next || page.trimmed_upto > after, "{first} instead of {next}, and nothing trimmed after {after}");
            assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
            (after, next) = (last.clock, first + numbers.len());
        } else if is_over {
            assert!(next == ENTRIES || page.trimmed_upto > after, "{next} of {ENTRIES}, and nothing trimmed after {after}");
            break;
        }
    }
    trimmer.await.expect("the trimmer failed");
}

/// The log holds what is in the stream and what was trimmed from it; of other clocks it has nothing.
pub async fn holds_what_is_there_or_was_trimmed(rig: StreamLogRig) {
    let holds = async |n: usize, clock: StreamClock| rig.log.holds(&room(n), clock).await.expect("holds");
    let clocks = append(rig.log(), &room(1), &["a", "b", "c", "d"]).await;
    let last = clocks[3];
    let unknown =
        [StreamClock::new(last.ms, last.seq + 1), StreamClock::new(last.ms + 1, 0), StreamClock::new(u64::MAX, u64::MAX)];
    for clock in &clocks {
        assert!(holds(1, *clock).await, "{clock}");
        assert!(!holds(2, *clock).await, "{clock}, of a room that nobody wrote to");
    }
    rig.trim(&room(1), clocks[1]).await;
    for clock in &clocks {
        assert!(holds(1, *clock).await, "{clock}");
    }
    for clock in unknown {
        assert!(!holds(1, clock).await, "{clock}");
    }
    rig.trim(&room(1), last).await;
    for clock in &clocks {
        assert!(holds(1, *clock).await, "{clock}, in an empty stream");
    }
    assert!(!holds(1, unknown[1]).await);
    // What was set aside is as good as trimmed.
    let later = append(rig.log(), &room(1), &["e", "f"]).await;
    assert!(rig.log.quarantine(&room(1), &qid(1)).await.expect("quarantine"));
    for clock in clocks.iter().chain(&later) {
        assert!(holds(1, *clock).await, "{clock}, set aside");
    }
    assert!(!holds(1, unknown[2]).await);
}
