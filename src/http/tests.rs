//! The plain routes, asked as a client would.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{
    App,
    http::{Method, StatusCode, header},
    test::{TestRequest, call_service, init_service, read_body},
};
use serde_json::{Value, json};

use super::*;

/// Status and body, with JSON asked for.
async fn ask(readiness: Readiness, method: Method, path: &str) -> (StatusCode, Value) {
    let app = init_service(App::new().configure(routes("api", readiness))).await;
    let request = TestRequest::with_uri(path).method(method).insert_header((header::ACCEPT, "application/json"));
    let response = call_service(&app, request.to_request()).await;
    let status = response.status();
    (status, serde_json::from_slice(&read_body(response).await).unwrap_or(Value::Null))
}

async fn get(readiness: Readiness, path: &str) -> (StatusCode, Value) {
    ask(readiness, Method::GET, path).await
}

#[actix_web::test]
async fn a_process_that_answers_is_alive_even_if_it_is_not_ready() {
    let readiness = Readiness::of().and("stream_log", async || Err(anyhow::anyhow!("down"))).done();
    assert_eq!(get(readiness.clone(), "/healthz").await, (StatusCode::OK, json!({ "alive": true })));
    assert_eq!(get(readiness, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[actix_web::test]
async fn ready_means_that_every_check_answers() {
    let down = Arc::new(AtomicBool::new(false));
    let seen = down.clone();
    let readiness = Readiness::of()
        .and("doc_store", async || Ok(()))
        .and("stream_log", move || {
            let down = seen.load(Ordering::Relaxed);
            async move { if down { Err(anyhow::anyhow!("secret path")) } else { Ok(()) } }
        })
        .done();
    let ready = json!({ "ready": true, "stopping": false, "checks": { "doc_store": "ok", "stream_log": "ok" } });
    assert_eq!(get(readiness.clone(), "/readyz").await, (StatusCode::OK, ready.clone()));

    down.store(true, Ordering::Relaxed);
    let failed =
        json!({ "ready": false, "stopping": false, "checks": { "doc_store": "ok", "stream_log": "failed; the log says why" } });
    assert_eq!(get(readiness.clone(), "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, failed));

    down.store(false, Ordering::Relaxed);
    assert_eq!(get(readiness.clone(), "/readyz").await, (StatusCode::OK, ready));

    readiness.clone().stop();
    let (status, body) = get(readiness, "/readyz").await;
    assert_eq!((status, &body["stopping"], &body["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(true), &json!(false)));
}

#[actix_web::test]
async fn a_check_that_hangs_is_a_failed_one() {
    tokio::time::pause();
    let readiness = Readiness::of().and("a", async || Ok(())).and("b", std::future::pending).done();
    let answer = tokio::time::timeout(Duration::from_secs(10), get(readiness, "/readyz")).await;
    let (status, body) = answer.expect("readiness answers in bounded time");
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["checks"], json!({ "a": "ok", "b": "no answer in time" }));
}

#[actix_web::test]
async fn head_is_answered_like_get() {
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(ask(Readiness::default(), Method::HEAD, path).await.0, StatusCode::OK, "{path}");
    }
}

#[actix_web::test]
async fn unknown_paths_and_methods_get_the_common_body() {
    for (method, path, status, code) in [
        (Method::GET, "/nowhere", 404, "not-found"),
        (Method::POST, "/nowhere", 404, "not-found"),
        (Method::GET, "/healthz/", 404, "not-found"),
        (Method::POST, "/healthz", 405, "method-not-allowed"),
        (Method::DELETE, "/readyz", 405, "method-not-allowed"),
        (Method::PUT, "/", 405, "method-not-allowed"),
        (Method::GET, "/api/ws/v1/org/doc", 426, "upgrade-required"),
        (Method::GET, "/api/ws/v1/org", 404, "not-found"),
        (Method::GET, "/other/ws/v1/org/doc", 404, "not-found"),
    ] {
        let (found, body) = ask(Readiness::default(), method.clone(), path).await;
        assert_eq!((found.as_u16(), &body["code"]), (status, &json!(code)), "{method} {path}");
        assert!(body["error"].is_string(), "{method} {path}");
    }
}

#[actix_web::test]
async fn without_a_wish_for_json_errors_are_lib0() {
    let app = init_service(App::new().configure(routes("api", Readiness::default()))).await;
    let response = call_service(&app, TestRequest::with_uri("/nowhere").to_request()).await;
    assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), "application/x-lib0any");
    assert!(read_body(response).await.starts_with(&[118, 2, 5]));
}

#[actix_web::test]
async fn the_first_page_says_where_to_connect() {
    let app = init_service(App::new().configure(routes("hub", Readiness::default()))).await;
    let response = call_service(&app, TestRequest::with_uri("/").to_request()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = read_body(response).await;
    assert!(String::from_utf8_lossy(&body).contains("ws://HOST/hub/ws/v1/{org}/{docid}"));
}

/// A hub that is mounted does not know where the server listens; who asks shows it.
#[actix_web::test]
async fn a_mounted_hub_that_is_open_by_default_answers_its_own_machine_alone() {
    let dir = tempfile::tempdir().unwrap();
    let backend = web::Data::new(Backend::start(&crate::Config::for_testing(dir.path())).await.unwrap());
    let app = init_service(App::new().service(crate::scope("/api/ws/v1", &backend)).service(rest_scope("/api", &backend))).await;
    let ask = async |path: &str, peer: Option<&str>| {
        let mut request = TestRequest::with_uri(path).insert_header((header::ACCEPT, "application/json"));
        if let Some(peer) = peer {
            request = request.peer_addr(peer.parse().unwrap());
        }
        for (name, value) in [
            (header::UPGRADE, "websocket"),
            (header::CONNECTION, "upgrade"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            request = request.insert_header((name, value));
        }
        let response = call_service(&app, request.to_request()).await;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return (status, Value::Null);
        }
        let body: Value = serde_json::from_slice(&read_body(response).await).unwrap();
        (status, body["code"].clone())
    };
    let refused = (StatusCode::FORBIDDEN, json!("own-machine-only"));
    for (path, welcome) in [("/api/rooms/v1/acme", StatusCode::OK), ("/api/ws/v1/acme/doc", StatusCode::SWITCHING_PROTOCOLS)] {
        assert_eq!(ask(path, Some("127.0.0.1:4711")).await.0, welcome, "{path}");
        assert_eq!(ask(path, Some("203.0.113.1:4711")).await, refused, "{path}");
        assert_eq!(ask(path, None).await, refused, "{path}");
    }
}
