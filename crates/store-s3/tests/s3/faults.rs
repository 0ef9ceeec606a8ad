//! What goes wrong: the bucket, the credentials, the service, the network.

use std::time::Duration;

use yhub_store::{Allowance, AssetStore, AssetStoreError, Brought, Stored};
use yhub_store_s3::{S3Assets, S3Options};
use yhub_testkit::{
    Proxy,
    ports::free_addr,
    servers::{Direction, S3, S3Fault},
    until, within,
};

use crate::{BUCKET, CLIENTS, asset, connect, id, open, options, server};

/// Everything that is below an error, too.
fn whole_text(error: &AssetStoreError) -> String {
    let (mut text, mut cause) = (error.to_string(), std::error::Error::source(error));
    while let Some(below) = cause {
        text.push_str(&format!(": {below}"));
        cause = below.source();
    }
    text
}

#[tokio::test]
async fn a_missing_bucket_is_made_or_named() {
    for client in CLIENTS {
        let server = server().await;
        let without = S3Options { create_bucket: false, ..options(client, &server.endpoint()) };
        let assets = S3Assets::new(without).unwrap();
        for error in [
            assets.init().await.unwrap_err(),
            assets.check().await.unwrap_err(),
            assets.store(&id("a"), &asset(1)).await.unwrap_err(),
            assets.retrieve(&id("a")).await.unwrap_err(),
            assets.list(None, None, 1).await.unwrap_err(),
        ] {
            assert!(matches!(&error, AssetStoreError::Refused { .. }) && !error.is_transient(), "{client:?}: {error}");
            assert!(error.to_string().contains("no such bucket") && error.to_string().contains("/assets"), "{error}");
        }
        assert_eq!(server.keys(BUCKET), None);
        // Nothing is made twice, not even by two at once.
        let (one, other) = tokio::join!(connect(client, &server), connect(client, &server));
        assert_eq!(server.keys(BUCKET), Some(Vec::new()));
        for assets in [one, other] {
            assets.init().await.unwrap();
            assets.check().await.unwrap();
        }
        // From elsewhere, too.
        let abroad = S3Options { region: "eu-central-1".into(), bucket: "abroad".into(), ..options(client, &server.endpoint()) };
        open(abroad).await.check().await.unwrap();
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once() {
    for client in CLIENTS {
        let server = server().await;
        connect(client, &server).await;
        for (access_key, secret_key) in [(S3::ACCESS_KEY, "hunter2"), ("nobody", "hunter2")] {
            let wrong =
                S3Options { access_key: access_key.into(), secret_key: secret_key.into(), ..options(client, &server.endpoint()) };
            let assets = S3Assets::new(wrong).unwrap();
            let before = server.requests().len();
            let errors = [
                assets.init().await.unwrap_err(),
                assets.check().await.unwrap_err(),
                assets.store(&id("a"), &asset(1)).await.unwrap_err(),
                assets.store(&id("a"), &asset(17 << 20)).await.unwrap_err(),
                assets.retrieve(&id("a")).await.unwrap_err(),
                assets.delete(&id("a")).await.unwrap_err(),
                assets.list(None, None, 1).await.unwrap_err(),
            ];
            for error in &errors {
                assert!(matches!(error, AssetStoreError::Refused { .. }) && !error.is_transient(), "{client:?}: {error}");
                let text = whole_text(error);
                assert!(text.contains("check the access key") && !text.contains("hunter2"), "{text}");
            }
            assert_eq!(server.requests().len() - before, errors.len(), "each was sent once: {:?}", server.requests());
        }
    }
}

#[tokio::test]
async fn what_a_service_cannot_do_now_is_done_later() {
    for client in CLIENTS {
        let server = server().await;
        let assets = connect(client, &server).await;
        let (small, big) = (asset(1_000), asset(20 << 20));
        for fault in [S3Fault::SlowDown, S3Fault::Internal, S3Fault::CutBefore, S3Fault::CutAfter] {
            for method in ["PUT", "GET", "DELETE"] {
                server.fault(fault, 3, method);
            }
            assert_eq!(assets.store(&id("a"), &small).await.unwrap(), Stored::Here, "{client:?} {fault:?}");
            assert_eq!(assets.retrieve(&id("a")).await.unwrap(), Some(small.clone()), "{client:?} {fault:?}");
            assets.delete(&id("a")).await.unwrap();
            assert_eq!(server.keys(BUCKET).unwrap(), [""; 0], "{client:?} {fault:?}");
            for request in ["?uploads", "partNumber=1", "partNumber=2", "POST"] {
                server.fault(fault, 2, request);
            }
            assets.store(&id("big"), &big).await.unwrap();
            assert!(assets.retrieve(&id("big")).await.unwrap() == Some(big.clone()), "{client:?} {fault:?}");
            for (request, count) in [("list-type", 3), ("HEAD", 3)] {
                server.fault(fault, count, request);
            }
            assert_eq!(assets.list(None, None, 10).await.unwrap().items.len(), 1, "{client:?} {fault:?}");
            assets.init().await.unwrap();
            assets.delete(&id("big")).await.unwrap();
        }
        // An upload may turn out not to be complete after the answer has begun.
        server.fault(S3Fault::OkWithError, 3, "?uploadId=");
        assets.store(&id("big"), &big).await.unwrap();
        assert_eq!(server.get(BUCKET, &id("big").to_string()).map(|stored| stored == big), Some(true), "{client:?}");
        assets.delete(&id("big")).await.unwrap();
        // An answer that ends before it should is none.
        server.fault(S3Fault::CutWithin, 3, "GET");
        assets.store(&id("big"), &big).await.unwrap();
        assert!(assets.retrieve(&id("big")).await.unwrap() == Some(big.clone()), "{client:?}");
    }
}

/// The ranges of all requests for an object since `before`, without the word before them.
fn ranges(server: &S3, before: usize) -> Vec<String> {
    let requests = server.requests();
    requests[before..].iter().filter_map(|line| Some(line.split_once(" bytes=")?.1.to_owned())).collect()
}

#[tokio::test]
async fn a_range_that_breaks_is_brought_again_and_the_others_are_not() {
    for client in CLIENTS {
        let server = server().await;
        let ranged = S3Options { part_bytes: 5 << 20, ..options(client, &server.endpoint()) };
        let assets = open(ranged).await;
        let big = asset(13 << 20);
        assets.store(&id("big"), &big).await.unwrap();
        let expected = ["0-5242879", "5242880-10485759", "10485760-15728639"];
        let before = server.requests().len();
        assert!(assets.retrieve(&id("big")).await.unwrap() == Some(big.clone()), "{client:?}");
        assert_eq!(ranges(&server, before), expected, "{client:?}");
        for fault in [S3Fault::SlowDown, S3Fault::CutBefore, S3Fault::CutWithin] {
            server.fault(fault, 4, "bytes=5242880-");
            let before = server.requests().len();
            assert!(assets.retrieve(&id("big")).await.unwrap() == Some(big.clone()), "{client:?} {fault:?}");
            let mut again = vec![expected[0]];
            again.extend([expected[1]; 5]);
            again.push(expected[2]);
            assert_eq!(ranges(&server, before), again, "{client:?} {fault:?}");
        }
        // As often as one tries, each range: together that is more.
        for (n, range) in ["bytes=0-", "bytes=5242880-", "bytes=10485760-"].into_iter().enumerate() {
            server.fault(S3Fault::CutWithin, 2 + n, range);
        }
        assert!(assets.retrieve(&id("big")).await.unwrap() == Some(big.clone()), "{client:?}");
        server.fault(S3Fault::CutWithin, usize::MAX, "bytes=10485760-");
        assert!(assets.retrieve(&id("big")).await.unwrap_err().is_transient(), "{client:?}");
    }
}

#[tokio::test]
async fn an_object_that_is_replaced_between_two_ranges_is_the_old_or_the_new_one() {
    for client in CLIENTS {
        let server = server().await;
        let ranged =
            S3Options { part_bytes: 5 << 20, first_backoff: Duration::from_millis(50), ..options(client, &server.endpoint()) };
        let assets = std::sync::Arc::new(open(ranged).await);
        for new in [asset(12 << 20), asset(13 << 20), asset(1_000)] {
            let old = asset((12 << 20) - 7);
            server.put(BUCKET, &id("a").to_string(), old);
            let before = server.requests().len();
            server.fault(S3Fault::SlowDown, 1, "bytes=5242880-");
            let retrieving = tokio::spawn({
                let assets = assets.clone();
                async move { assets.retrieve(&id("a")).await }
            });
            until("the second range", async || (ranges(&server, before).len() >= 2).then_some(())).await;
            server.put(BUCKET, &id("a").to_string(), new.clone());
            assert!(retrieving.await.unwrap().unwrap() == Some(new), "{client:?}");
        }
    }
}

#[tokio::test]
async fn an_object_without_bytes_comes_without_bytes() {
    for client in CLIENTS {
        let server = server().await;
        let assets = connect(client, &server).await;
        server.put(BUCKET, &id("a").to_string(), Vec::new());
        assert_eq!(assets.retrieve(&id("a")).await.unwrap(), Some(Vec::new().into()), "{client:?}");
    }
}

#[tokio::test]
async fn of_an_asset_that_is_longer_than_allowed_no_second_range_is_asked_for() {
    for client in CLIENTS {
        let server = server().await;
        let assets = connect(client, &server).await;
        let big = asset(20 << 20);
        server.put(BUCKET, &id("a").to_string(), big.clone());
        // Its body never comes; its length does.
        server.fault(S3Fault::CutWithin, usize::MAX, "GET");
        let before = server.requests().len();
        let found = assets.retrieve_within(&id("a"), &Allowance::of(8 << 20)).await.unwrap();
        assert_eq!(found, Some(Brought::TooLong { size_bytes: big.len() as u64 }), "{client:?}");
        assert_eq!(ranges(&server, before).len(), 1, "{client:?}");
    }
}

#[tokio::test]
async fn what_a_service_cannot_do_for_long_is_given_up() {
    for client in CLIENTS {
        let server = server().await;
        let assets = connect(client, &server).await;
        for fault in [S3Fault::SlowDown, S3Fault::CutBefore, S3Fault::CutWithin] {
            server.put(BUCKET, &id("a").to_string(), asset(1_000));
            server.fault(fault, usize::MAX, "GET");
            let before = server.requests().len();
            let error = assets.retrieve(&id("a")).await.unwrap_err();
            assert!(
                error.is_transient() && matches!(error, AssetStoreError::Unavailable { .. }),
                "{client:?} {fault:?}: {error}"
            );
            assert_eq!(server.requests().len() - before, 5, "{client:?} {fault:?}");
            server.heal();
            assert!(assets.retrieve(&id("a")).await.unwrap().is_some());
        }
        // A check is not patient: it is asked again anyway.
        server.fault(S3Fault::SlowDown, 1, "HEAD");
        assert!(assets.check().await.unwrap_err().is_transient());
        assets.check().await.unwrap();
    }
}

#[tokio::test]
async fn an_upload_that_fails_leaves_what_was_and_no_parts() {
    for client in CLIENTS {
        let server = server().await;
        let assets = connect(client, &server).await;
        let (old, new) = (asset(1_000), asset(30 << 20));
        assets.store(&id("a"), &old).await.unwrap();
        // A part, the completion, the beginning.
        for request in ["partNumber=3", "?uploadId=", "?uploads"] {
            server.fault(S3Fault::Internal, usize::MAX, request);
            let error = assets.store(&id("a"), &new).await.unwrap_err();
            assert!(error.is_transient(), "{client:?} {request}: {error}");
            server.heal();
            assert_eq!(assets.retrieve(&id("a")).await.unwrap(), Some(old.clone()), "{client:?} {request}");
        }
        assets.store(&id("a"), &new).await.unwrap();
        assert!(assets.retrieve(&id("a")).await.unwrap() == Some(new));
    }
}

#[tokio::test]
async fn parts_of_an_upload_that_is_given_up_are_taken_away() {
    for client in CLIENTS {
        let server = server().await;
        let assets = connect(client, &server).await;
        server.fault(S3Fault::Internal, usize::MAX, "partNumber=2");
        assert!(assets.store(&id("a"), &asset(30 << 20)).await.unwrap_err().is_transient());
        assert_eq!((server.unfinished_uploads(), server.keys(BUCKET).unwrap().len()), (0, 0), "{client:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_parts_is_made_anew() {
    for client in CLIENTS {
        let server = server().await;
        let addr = server.addr();
        let proxy = tokio::task::spawn_blocking(move || Proxy::start(addr)).await.unwrap();
        let patient = S3Options {
            attempts: 12,
            first_backoff: Duration::from_millis(20),
            ..options(client, &format!("http://{}", proxy.addr()))
        };
        let assets = open(patient).await;
        let big = asset(40 << 20);
        proxy.cut_after(Direction::ToServer, 13 << 20);
        let healing = tokio::task::spawn_blocking(move || {
            proxy.wait_until_cut();
            proxy.heal();
            proxy
        });
        let stored = within("an upload over a bad network", assets.store(&id("a"), &big)).await;
        assert_eq!(stored.unwrap(), Stored::Here, "{client:?}");
        let _proxy = healing.await.unwrap();
        assert!(assets.retrieve(&id("a")).await.unwrap() == Some(big));
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_said_to_be_away_in_time() {
    for client in CLIENTS {
        // Nobody is there.
        let assets = S3Assets::new(options(client, &format!("http://{}", free_addr()))).unwrap();
        for error in [
            within("an answer without a server", assets.store(&id("a"), &asset(1))).await.unwrap_err(),
            within("an answer without a server", assets.retrieve(&id("a"))).await.unwrap_err(),
            within("an answer without a server", assets.check()).await.unwrap_err(),
            within("an answer without a server", assets.init()).await.unwrap_err(),
        ] {
            assert!(matches!(error, AssetStoreError::Unavailable { .. }) && error.is_transient(), "{client:?}: {error}");
            assert!(error.to_string().contains("/assets"), "{error}");
        }
        // Somebody is there and says nothing.
        let server = server().await;
        let impatient =
            S3Options { request_timeout: Duration::from_millis(100), attempts: 2, ..options(client, &server.endpoint()) };
        let assets = open(impatient).await;
        server.fault(S3Fault::Delay(Duration::from_secs(3_600)), usize::MAX, "");
        let error = within("an answer of a server that says nothing", assets.retrieve(&id("a"))).await.unwrap_err();
        assert!(
            error.is_transient() && whole_text(&error).contains("no answer within 100ms"),
            "{client:?}: {}",
            whole_text(&error)
        );
        server.heal();
        assert_eq!(assets.retrieve(&id("a")).await.unwrap(), None, "{client:?}");
    }
}

#[tokio::test]
async fn an_upload_that_is_complete_without_our_hearing_of_it_is_sent_once_more() {
    for client in CLIENTS {
        let server = server().await;
        let assets = connect(client, &server).await;
        let big = asset(20 << 20);
        // The second POST of an upload completes it.
        server.fault(S3Fault::CutAfter, 1, "?uploadId=");
        assets.store(&id("a"), &big).await.unwrap();
        assert!(assets.retrieve(&id("a")).await.unwrap() == Some(big), "{client:?}");
        assert_eq!(server.unfinished_uploads(), 0, "{client:?}");
    }
}

#[tokio::test]
async fn an_asset_that_is_too_large_is_refused_before_it_is_taken_in() {
    for client in CLIENTS {
        let server = server().await;
        let small = S3Options { max_asset_bytes: 1_000, ..options(client, &server.endpoint()) };
        let assets = open(small).await;
        server.put(BUCKET, &id("a").to_string(), vec![0; 1_001]);
        for error in [assets.retrieve(&id("a")).await.unwrap_err(), assets.store(&id("b"), &asset(1_001)).await.unwrap_err()] {
            assert!(matches!(error, AssetStoreError::TooLarge { bound_bytes: 1_000, .. }), "{client:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_store_can_be_used_from_runtimes_that_end() {
    for client in CLIENTS {
        let server = server().await;
        let assets = std::sync::Arc::new(connect(client, &server).await);
        for n in 0..3 {
            let assets = assets.clone();
            let there = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    assets.store(&id("a"), &asset(n)).await.unwrap();
                    assert_eq!(assets.retrieve(&id("a")).await.unwrap(), Some(asset(n)));
                });
            });
            tokio::task::spawn_blocking(move || there.join().unwrap()).await.unwrap();
        }
    }
}
