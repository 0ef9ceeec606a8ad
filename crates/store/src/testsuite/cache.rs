//! Cases of kept responses.

use std::time::Duration;

use bytes::Bytes;
use yhub_core::RoomId;

use super::{
    ResponseCacheRig,
    support::{odd_rooms, room},
};
use crate::{CacheKey, MAX_CACHED_BYTES, ResponseCache};

const LONG: Duration = Duration::from_secs(3_600);

fn key(room: &RoomId, endpoint: &str, arguments: &[&str]) -> CacheKey {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    CacheKey { room: room.clone(), endpoint: endpoint.into(), arguments }
}

async fn cached(cache: &dyn ResponseCache, key: &CacheKey) -> Option<Bytes> {
    cache.cached(key).await.expect("a response is looked for")
}

async fn put(cache: &dyn ResponseCache, key: &CacheKey, response: impl Into<Bytes>, ttl: Duration) {
    cache.cache(key, response.into(), ttl).await.expect("a response is kept");
}

/// Every byte, no byte at all, and several megabytes.
pub async fn bytes_come_back_exactly(rig: ResponseCacheRig) {
    let every_byte: Bytes = (0..=255u8).collect();
    for response in [every_byte, Bytes::new(), Bytes::from(vec![7; 5 << 20])] {
        let key = key(&room(1), "activity", &[&response.len().to_string()]);
        assert_eq!(cached(rig.cache.as_ref(), &key).await, None);
        put(rig.cache.as_ref(), &key, response.clone(), LONG).await;
        assert_eq!(cached(rig.cache.as_ref(), &key).await, Some(response));
    }
}

/// Another endpoint, other arguments and arguments that are divided in another way are other questions.
pub async fn other_questions_have_other_answers(rig: ResponseCacheRig) {
    let questions: [(&str, &[&str]); 9] = [
        ("a", &[]),
        ("b", &[]),
        ("a", &[""]),
        ("a", &["", ""]),
        ("a", &["b"]),
        ("a", &["b", "c"]),
        ("a", &["b:c"]),
        ("a:b", &["c"]),
        ("a", &["c", "b"]),
    ];
    for (n, (endpoint, arguments)) in questions.iter().enumerate() {
        put(rig.cache.as_ref(), &key(&room(1), endpoint, arguments), n.to_string(), LONG).await;
    }
    for (n, (endpoint, arguments)) in questions.iter().enumerate() {
        let found = cached(rig.cache.as_ref(), &key(&room(1), endpoint, arguments)).await;
        assert_eq!(found, Some(n.to_string().into()), "{endpoint} {arguments:?}");
    }
}

/// Of many who reserve a place at once one gets it, until its time is over or it is given up.
pub async fn a_place_is_reserved_once(rig: ResponseCacheRig) {
    let (key, cache) = (key(&room(1), "activity", &["1"]), rig.cache.as_ref());
    let reserve = async |n: usize| cache.reserve(&key, n.to_string().into(), LONG).await.expect("a place is reserved");
    let got = futures_util::future::join_all((0..20).map(reserve)).await;
    assert_eq!(got.iter().filter(|got| **got).count(), 1, "{got:?}");
    let who = got.iter().position(|got| *got).expect("one");
    assert_eq!(cached(cache, &key).await, Some(who.to_string().into()));
    put(cache, &key, "done", LONG).await;
    assert!(!reserve(1).await, "what is kept there takes the place, too");
    cache.release(&key).await.expect("a place is given up");
    assert!(reserve(21).await);
    rig.control.advance(LONG + Duration::from_secs(1)).await;
    assert!(reserve(22).await);
}

/// The next one is kept instead, for its own time.
pub async fn the_next_takes_the_place(rig: ResponseCacheRig) {
    let key = key(&room(1), "activity", &["1"]);
    put(rig.cache.as_ref(), &key, "first", Duration::from_secs(10)).await;
    put(rig.cache.as_ref(), &key, "second", LONG).await;
    rig.control.advance(Duration::from_secs(20)).await;
    assert_eq!(cached(rig.cache.as_ref(), &key).await, Some("second".into()));
}

/// A response is there as long as it was asked to be, and no longer.
pub async fn a_time_ends(rig: ResponseCacheRig) {
    let (short, long) = (key(&room(1), "activity", &["short"]), key(&room(1), "activity", &["long"]));
    put(rig.cache.as_ref(), &short, "short", Duration::from_secs(100)).await;
    put(rig.cache.as_ref(), &long, "long", Duration::from_secs(1_000)).await;
    rig.control.advance(Duration::from_secs(50)).await;
    assert!(cached(rig.cache.as_ref(), &short).await.is_some());
    rig.control.advance(Duration::from_secs(51)).await;
    assert_eq!(cached(rig.cache.as_ref(), &short).await, None);
    assert!(cached(rig.cache.as_ref(), &long).await.is_some());
}

/// What is too long is not kept, nor what is over at once; and what was there before is not said any more.
pub async fn what_cannot_be_kept_is_not_there(rig: ResponseCacheRig) {
    for (response, ttl) in [(Bytes::from(vec![0; MAX_CACHED_BYTES]), LONG), (Bytes::from_static(b"new"), Duration::ZERO)] {
        let key = key(&room(1), "activity", &["1"]);
        put(rig.cache.as_ref(), &key, "old", LONG).await;
        put(rig.cache.as_ref(), &key, response, ttl).await;
        assert_eq!(cached(rig.cache.as_ref(), &key).await, None);
    }
}

/// All of one room goes, and nothing of any other, however alike their names are.
pub async fn a_forgotten_room_takes_nobody_along(rig: ResponseCacheRig) {
    let rooms = odd_rooms();
    let questions: [(&str, &[&str]); 3] = [("activity", &["*", "a:b"]), ("changeset", &[]), ("[a]?\\", &["", "\0"])];
    for (n, of) in rooms.iter().enumerate() {
        for (endpoint, arguments) in questions {
            put(rig.cache.as_ref(), &key(of, endpoint, arguments), n.to_string(), LONG).await;
        }
    }
    for gone in 0..rooms.len() {
        rig.cache.forget_cached(&rooms[gone]).await.expect("a room is forgotten");
        for (n, of) in rooms.iter().enumerate() {
            for (endpoint, arguments) in questions {
                let found = cached(rig.cache.as_ref(), &key(of, endpoint, arguments)).await;
                assert_eq!(found, (n > gone).then(|| n.to_string().into()), "{endpoint} of {of} after {}", rooms[gone]);
            }
        }
    }
}

/// Hundreds of responses about one room go at once.
pub async fn a_room_with_many_is_forgotten(rig: ResponseCacheRig) {
    for n in 0..500 {
        put(rig.cache.as_ref(), &key(&room(1), "activity", &[&n.to_string()]), "x", LONG).await;
    }
    put(rig.cache.as_ref(), &key(&room(2), "activity", &["1"]), "x", LONG).await;
    rig.cache.forget_cached(&room(1)).await.expect("a room is forgotten");
    for n in 0..500 {
        assert_eq!(cached(rig.cache.as_ref(), &key(&room(1), "activity", &[&n.to_string()])).await, None, "{n}");
    }
    assert!(cached(rig.cache.as_ref(), &key(&room(2), "activity", &["1"])).await.is_some());
}
