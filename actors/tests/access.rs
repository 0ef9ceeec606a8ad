//! What an open connection may do changes while it is open: checks, outages, renewals, expiry.

#![allow(clippy::unwrap_used, reason = "a test may stop at whatever it did not expect; its helpers are part of it")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use support::{Client, Got, Rig, Settings, room};
use yhub_actors::Pass;
use yhub_core::{
    AccessPolicy, Checked, Freshness, StreamClock, StreamMessage, UserMatcher,
    access::{Identity, Level},
};
use yhub_encoding::sync;
use yhub_store::{Append, StreamLog};
use yhub_testkit::TextWriter;

const READER: Checked = Checked::May { level: Level::Read, expires_ms: None };
const WRITER: Checked = Checked::May { level: Level::Write, expires_ms: None };

/// Answers what the test says, and remembers what it was asked.
struct Scripted {
    answer: Mutex<Checked>,
    asked: Mutex<Vec<Asked>>,
    who: Mutex<Option<Arc<Identity>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Check(Freshness),
    Renew(String),
}

impl Scripted {
    fn new(answer: Checked) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(answer), asked: Mutex::default(), who: Mutex::default() })
    }

    fn say(&self, answer: Checked) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn ask(&self, asked: Asked) -> BoxFuture<'static, Checked> {
        self.asked.lock().unwrap().push(asked);
        Box::pin(std::future::ready(*self.answer.lock().unwrap()))
    }
}

impl Pass for Scripted {
    fn check(self: Arc<Self>, freshness: Freshness) -> BoxFuture<'static, Checked> {
        self.ask(Asked::Check(freshness))
    }

    fn renew(self: Arc<Self>, token: String) -> BoxFuture<'static, Checked> {
        self.ask(Asked::Renew(token))
    }

    fn who(&self) -> Option<Arc<Identity>> {
        self.who.lock().unwrap().clone()
    }
}

/// A node that checks nobody by itself.
fn rig() -> Rig {
    let access_policy = AccessPolicy { sweep: Duration::ZERO, ..AccessPolicy::default() };
    Rig::with(Settings { access_policy, ..Settings::default() })
}

async fn join(rig: &Rig, user: &str, level: Level, pass: &Arc<Scripted>) -> Client {
    let mut client = rig.connect_with(rig.params("doc", user, level, pass.clone()), 1 << 20);
    client.sync().await;
    client
}

async fn demand(rig: &Rig, user: &str, cut: bool) {
    let users = [UserMatcher::User(user.into())];
    let messages = vec![StreamMessage::encode_auth_check(Some(&users), cut)];
    rig.log.append(Append { room: room("doc"), messages, floor: StreamClock::ZERO }).await.unwrap();
}

#[actix::test]
async fn who_may_no_longer_be_here_is_closed_on_every_node() {
    tokio::time::pause();
    let (one, bob_pass) = (rig(), Scripted::new(WRITER));
    let two = one.beside();
    let mut ann = join(&one, "ann", Level::Write, &Scripted::new(WRITER)).await;
    let mut here = join(&one, "bob", Level::Write, &bob_pass).await;
    let mut there = join(&two, "bob", Level::Write, &bob_pass).await;
    bob_pass.say(Checked::Refused);
    demand(&one, "bob", false).await;
    assert_eq!((here.closed().await, there.closed().await), (4401, 4401));
    assert_eq!(bob_pass.asked(), [Asked::Check(Freshness::Fresh), Asked::Check(Freshness::Fresh)]);
    let update = TextWriter::new(7).append("still here");
    ann.write(&update).await;
    assert_eq!(ann.update().await, update[..]);
}

#[actix::test]
async fn who_is_to_be_cut_is_not_asked_for() {
    tokio::time::pause();
    let (rig, pass) = (rig(), Scripted::new(WRITER));
    let mut bob = join(&rig, "bob", Level::Write, &pass).await;
    demand(&rig, "bob", true).await;
    assert_eq!(bob.closed().await, 4401);
    assert_eq!(pass.asked(), []);
}

#[actix::test]
async fn less_access_closes_and_the_client_comes_back_with_it() {
    tokio::time::pause();
    let (rig, pass) = (rig(), Scripted::new(READER));
    let mut bob = join(&rig, "bob", Level::Write, &pass).await;
    demand(&rig, "bob", false).await;
    assert_eq!(bob.closed().await, 4401);
}

/// What a reader wrote was not taken. Once it may write, it is asked for that, and nothing is lost.
#[actix::test]
async fn more_access_takes_what_was_written_before() {
    tokio::time::pause();
    let (rig, pass) = (rig(), Scripted::new(WRITER));
    let mut bob = join(&rig, "bob", Level::Read, &pass).await;
    let update = TextWriter::new(7).append("too early");
    bob.write(&update).await;
    demand(&rig, "bob", false).await;
    loop {
        match bob.next().await {
            Got::Step1(_) if !pass.asked().is_empty() => break,
            Got::Update(_) => panic!("a reader wrote"),
            Got::Close(code) => panic!("closed with {code}"),
            _ => {}
        }
    }
    bob.send(&sync::step2(&update)).await;
    assert_eq!(bob.update().await, update[..]);
}

#[actix::test]
async fn an_outage_sends_nobody_away_and_is_not_forgotten() {
    tokio::time::pause();
    let (rig, pass) = (rig(), Scripted::new(Checked::Unavailable));
    let mut bob = join(&rig, "bob", Level::Write, &pass).await;
    demand(&rig, "bob", false).await;
    rig.until("it was asked for again and again", |_| pass.asked().len() > 3).await;
    let update = TextWriter::new(7).append("meanwhile");
    bob.write(&update).await;
    assert_eq!(bob.update().await, update[..]);
    pass.say(Checked::Refused);
    assert_eq!(bob.closed().await, 4401);
}

#[actix::test]
async fn an_outage_without_end_closes_with_a_code_to_come_back() {
    tokio::time::pause();
    let access_policy = AccessPolicy { sweep: Duration::ZERO, grace: Duration::from_secs(60) };
    let rig = Rig::with(Settings { access_policy, ..Settings::default() });
    let pass = Scripted::new(Checked::Unavailable);
    let mut bob = join(&rig, "bob", Level::Write, &pass).await;
    demand(&rig, "bob", false).await;
    loop {
        match bob.next().await {
            Got::Ping => bob.send_pong().await,
            Got::Close(code) => break assert_eq!(code, 1013),
            Got::End => panic!("it ended without a word"),
            _ => {}
        }
    }
}

#[actix::test]
async fn everybody_is_checked_now_and_then_by_what_is_known_already() {
    tokio::time::pause();
    let rig = Rig::new();
    let pass = Scripted::new(WRITER);
    let mut bob = join(&rig, "bob", Level::Write, &pass).await;
    rig.within(Duration::from_secs(40), "it is checked twice", |_| pass.asked().len() == 2).await;
    assert_eq!(pass.asked(), [Asked::Check(Freshness::Cached), Asked::Check(Freshness::Cached)]);
    pass.say(Checked::Refused);
    assert_eq!(bob.closed().await, 4401);
}

#[actix::test]
async fn a_token_that_is_over_closes_unless_it_is_renewed() {
    tokio::time::pause();
    let (rig, pass) = (rig(), Scripted::new(WRITER));
    let now_ms = rig.node.time.now_ms();
    let mut params = rig.params("doc", "bob", Level::Write, pass.clone());
    params.expires_at_ms = Some(now_ms + 20_000);
    let mut bob = rig.connect_with(params, 1 << 20);
    bob.sync().await;
    pass.say(Checked::May { level: Level::Write, expires_ms: Some(now_ms + 3_600_000) });
    bob.send(&sync::token("a.new.one")).await;
    loop {
        match bob.next().await {
            Got::Auth(payload) => break assert_eq!(payload, sync::token_taken("rw")[1..]),
            Got::Close(code) => panic!("closed with {code}"),
            _ => {}
        }
    }
    assert_eq!(pass.asked(), [Asked::Renew("a.new.one".into())]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let update = TextWriter::new(7).append("later");
    bob.write(&update).await;
    assert_eq!(bob.update().await, update[..]);
    // One that ends soon is over when it ends.
    pass.say(Checked::May { level: Level::Write, expires_ms: Some(rig.node.time.now_ms() + 1_000) });
    bob.send(&sync::token("a.short.one")).await;
    assert_eq!(bob.closed().await, 4401);
}

/// Another token may bring other claims: what is demanded of those concerns the connection from then on, what is demanded of the old
/// ones no more.
#[actix::test]
async fn who_is_meant_goes_by_what_was_shown_last() {
    tokio::time::pause();
    let (rig, pass) = (rig(), Scripted::new(WRITER));
    let mut bob = join(&rig, "old", Level::Write, &pass).await;
    *pass.who.lock().unwrap() = Some(Arc::new(Identity::anonymous("new")));
    bob.send(&sync::token("a.new.one")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pass.asked(), [Asked::Renew("a.new.one".into())]);
    demand(&rig, "old", true).await;
    let update = TextWriter::new(7).append("still here");
    bob.write(&update).await;
    assert_eq!(bob.update().await, update[..]);
    demand(&rig, "new", true).await;
    assert_eq!(bob.closed().await, 4401);
}

#[actix::test]
async fn a_token_that_cannot_be_checked_changes_nothing() {
    tokio::time::pause();
    let (rig, pass) = (rig(), Scripted::new(Checked::Unavailable));
    let mut bob = join(&rig, "bob", Level::Write, &pass).await;
    bob.send(&sync::token("a.new.one")).await;
    loop {
        match bob.next().await {
            Got::Auth(payload) => break assert_eq!(payload, sync::token_unchecked()[1..]),
            Got::Close(code) => panic!("closed with {code}"),
            _ => {}
        }
    }
    pass.say(Checked::Refused);
    bob.send(&sync::token("of.somebody.else")).await;
    assert_eq!(bob.closed().await, 4401);
}

/// The check came in between being let in and joining.
#[actix::test]
async fn who_joins_behind_a_check_is_checked() {
    tokio::time::pause();
    let (rig, pass) = (rig(), Scripted::new(Checked::Refused));
    demand(&rig, "bob", false).await;
    let mut bob = rig.connect_with(rig.params("doc", "bob", Level::Write, pass), 1 << 20);
    assert_eq!(bob.closed().await, 4401);
}
