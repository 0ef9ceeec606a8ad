//! What somebody shows to be let in stands in no log, answer, metric or file of a hub, however it is shown and whatever becomes of it.

use reqwest::Method;
use serde_json::json;
use yhub_encoding::sync;
use yhub_testkit::{BackEnd, Connect, TextWriter, http::send, ports::free_addr, until};

use crate::{
    access::{SECRET, now_s, signed},
    support::{ORG, binary, path},
};

/// A whole run of the binary that says everything it can say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_stand_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = free_addr().to_string();
    let launch = binary(dir.path())
        .env("RUST_LOG", "trace")
        .set("auth.mode", "jwt,token")
        .set("jwt.secret", SECRET)
        .set("jwt.leeway_ms", 0)
        // Else nobody of this address is looked at any more after some that are refused.
        .set("limits.failed_auth_per_minute", 0)
        .set("server.metrics", &metrics);
    let hub = launch.start();
    let back_end = BackEnd::of(hub.addr());
    let mut shown: Vec<String> = vec![SECRET.into()];

    let token = |user: &str, seconds: i64, grants: serde_json::Value| {
        signed(&json!({ "sub": user, "exp": now_s() as i64 + seconds, "yhub": grants }))
    };
    let admin = token("adm", 3600, json!({ "org": "*", "access": "admin" }));
    let post = async |kind: &str, by: &str, body: serde_json::Value| {
        let request = back_end.ask(Method::POST, &format!("/api/{kind}")).header("authorization", format!("Bearer {by}"));
        let request = request.header("content-type", "application/json").header("accept", "application/json");
        send(request.body(body.to_string())).await
    };
    let made =
        post(&format!("tokens/v1/{ORG}"), &admin, json!({ "user": "srv", "grants": { "org": ORG, "access": "rw" } })).await;
    let issued = made.json()["token"].as_str().expect("a token").to_owned();
    let made = post(&format!("tickets/v1/{ORG}/doc"), &admin, json!({ "user": "bob" })).await;
    let ticket = made.json()["ticket"].as_str().expect("a ticket").to_owned();
    // Good ones, bad ones, ones that are almost good; each in every place.
    let credentials = [
        admin.clone(),
        issued.clone(),
        ticket,
        token("late", -100, json!({ "org": ORG, "access": "rw" })),
        token("else", 3600, json!({ "org": "elsewhere", "access": "rw" })),
        format!("{issued}x"),
        format!("yhubt_{}", "Q".repeat(43)),
        "not-a-token-at-all-0123456789".to_owned(),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG0ifQ.c2lnbmF0dXJl".to_owned(),
    ];
    let mut answers = String::new();
    for credential in &credentials {
        shown.push(credential.clone());
        // The part that is secret, should somebody show the others.
        let between = if credential.starts_with("yhub") { '_' } else { '.' };
        shown.push(credential.rsplit(between).next().unwrap().to_owned());
        let connect = || Connect::to(hub.addr(), &path("doc"));
        for connect in [
            connect().header("authorization", &format!("Bearer {credential}")),
            connect().header("sec-websocket-protocol", &format!("y, yauth-{credential}")),
            Connect::to(hub.addr(), &format!("{}?yauth={credential}", path("doc"))),
            Connect::to(hub.addr(), &format!("{}?yauth={credential}&branch=%zz", path("doc"))),
            connect().header("authorization", &format!("Bearer {credential}")).header("origin", "https://evil.example"),
        ] {
            match connect.open().await {
                Ok(mut client) => {
                    client.sync().await;
                    client.send_update(&TextWriter::new(7).append("x")).await;
                    client.send(&sync::token(credential)).await;
                    answers.push_str(client.head());
                }
                Err(refused) => answers.push_str(&refused.answer),
            }
        }
        for path in [
            format!("/api/ydoc/v1/{ORG}/doc"),
            format!("/api/audit/v1/{ORG}"),
            format!("/api/tokens/v1/{ORG}"),
            "/api/nothing".into(),
        ] {
            let with_header = back_end.ask(Method::GET, &path).header("authorization", format!("Bearer {credential}"));
            let in_address = back_end.ask(Method::GET, &format!("{path}?yauth={credential}"));
            for request in [with_header, in_address] {
                let answered = send(request.header("accept", "application/json")).await;
                answers.push_str(&format!("{:?} {}", answered.headers, answered.text()));
            }
        }
    }
    // The refusals are written behind the answers.
    until("the refusals are recorded", async || {
        let records = back_end
            .ask(Method::GET, &format!("/api/audit/v1/{ORG}?action=denied"))
            .header("authorization", format!("Bearer {admin}"));
        let records = send(records.header("accept", "application/json")).await.text();
        answers.push_str(&records);
        records.contains("denied").then_some(())
    })
    .await;
    let told = reqwest::Client::new().get(format!("http://{metrics}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(told.contains("yhub_limited_total"), "{told}");
    answers.push_str(&told);
    hub.terminate();
    tokio::task::spawn_blocking(|| hub.wait()).await.unwrap();

    let log = launch.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "it says everything that it can");
    let mut files = String::new();
    for file in std::fs::read_dir(launch.data_dir()).unwrap() {
        files.push_str(&String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()));
    }
    for secret in &shown {
        for (place, text) in [("the log", &log), ("the answers", &answers), ("the data directory", &files)] {
            assert!(!text.contains(secret), "{secret} stands in {place}");
        }
    }
}
