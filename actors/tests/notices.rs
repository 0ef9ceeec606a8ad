//! What changes access in many rooms reaches every node through the document store.

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use support::{Client, Got, Rig, Settings, stores::lock};
use yhub_actors::{Pass, SessionParams};
use yhub_core::{
    AccessPolicy, CHECKS_AT_ONCE, Checked, Freshness, ManualTime, RoomId, TimeSource, UserMatcher,
    access::{Identity, Level, Via},
};
use yhub_encoding::{Any, Object};
use yhub_store::{Notice, NoticeStore};
use yhub_testkit::TextWriter;

const WRITER: Checked = Checked::May { level: Level::Write, expires_ms: None };
/// A node hears of a notice within so long.
const SOON: Duration = Duration::from_secs(1);

/// Answers what the test says, and remembers how it was asked.
struct Scripted(Mutex<(Checked, Vec<Freshness>)>);

impl Scripted {
    fn new(answer: Checked) -> Arc<Self> {
        Arc::new(Self(Mutex::new((answer, Vec::new()))))
    }

    fn say(&self, answer: Checked) {
        lock(&self.0).0 = answer;
    }

    fn asked(&self) -> Vec<Freshness> {
        lock(&self.0).1.clone()
    }
}

impl Pass for Scripted {
    fn check(self: Arc<Self>, freshness: Freshness) -> BoxFuture<'static, Checked> {
        let mut script = lock(&self.0);
        script.1.push(freshness);
        Box::pin(std::future::ready(script.0))
    }

    fn renew(self: Arc<Self>, _: String) -> BoxFuture<'static, Checked> {
        unreachable!("nobody shows another token")
    }
}

/// A time that stands still unless it is set; nodes check nobody by themselves.
fn settings(time: &Arc<ManualTime>) -> Settings {
    let access_policy = AccessPolicy { sweep: Duration::ZERO, ..AccessPolicy::default() };
    Settings { access_policy, time: time.clone(), ..Settings::default() }
}

fn start() -> (Rig, Arc<ManualTime>) {
    tokio::time::pause();
    let time = Arc::new(ManualTime::new(1_700_000_000_000));
    (Rig::with(settings(&time)), time)
}

fn by_token(rig: &Rig, org: &str, token: &str, pass: &Arc<Scripted>) -> SessionParams {
    let claims = Object::from_iter([("token", Any::from(token))]);
    let who = Arc::new(Identity { user: "ann".into(), claims, via: Via::Token });
    let room = RoomId::new(org, "doc", RoomId::MAIN);
    SessionParams { who, room, ..rig.params("doc", "ann", Level::Write, pass.clone()) }
}

async fn join(rig: &Rig, org: &str, token: &str, pass: &Arc<Scripted>) -> Client {
    let mut client = rig.connect_with(by_token(rig, org, token, pass), 1 << 20);
    client.sync().await;
    client
}

/// Of who came in by one of these tokens.
fn of_tokens(at_ms: u64, tokens: &[&str]) -> Notice {
    let matcher = |token: &&str| UserMatcher::Identity(Object::from_iter([("token", Any::from(*token))]));
    Notice { users: Some(tokens.iter().map(matcher).collect()), ..Notice::check_everybody(at_ms) }
}

async fn publish(rig: &Rig, notice: Notice) {
    rig.docs.publish(&notice, None).await.expect("publish");
}

/// Writes, and gets it back: the connection is as good as it was.
async fn is_well(client: &mut Client, writer: &mut TextWriter) {
    let update = writer.append("still here");
    client.write(&update).await;
    assert_eq!(client.update().await, update[..]);
}

/// Waits until every node has read what was published.
async fn until_read(rig: &Rig, nodes: usize) {
    let before = rig.docs.notice_reads();
    rig.within(Duration::from_secs(20), "notices are read", |rig| rig.docs.notice_reads() >= before + 2 * nodes).await;
}

#[actix::test]
async fn who_came_in_by_a_revoked_token_is_closed_on_every_node() {
    let (one, time) = start();
    let two = one.beside_with(settings(&time));
    let (gone, stays) = (Scripted::new(WRITER), Scripted::new(WRITER));
    let (mut here, mut there) = (join(&one, "org", "t1", &gone).await, join(&two, "other", "t1", &gone).await);
    let (mut ann, mut bob) = (join(&one, "org", "t2", &stays).await, join(&two, "other", "t2", &stays).await);
    gone.say(Checked::Refused);
    publish(&one, of_tokens(time.now_ms(), &["t1", "t3"])).await;
    let both = async { (here.closed().await, there.closed().await) };
    assert_eq!(tokio::time::timeout(SOON, both).await, Ok((4401, 4401)));
    assert_eq!(gone.asked(), [Freshness::Fresh; 2]);
    let (mut first, mut second) = (TextWriter::new(7), TextWriter::new(8));
    is_well(&mut ann, &mut first).await;
    is_well(&mut bob, &mut second).await;
    assert_eq!(stays.asked(), []);
}

/// What the node believes of access is forgotten before anybody is asked about it.
#[actix::test]
async fn the_node_is_told_before_sessions_are_checked() {
    tokio::time::pause();
    let (time, pass) = (Arc::new(ManualTime::new(1_700_000_000_000)), Scripted::new(WRITER));
    let (told, believed) = (Arc::new(Mutex::new(Vec::new())), pass.clone());
    let tell = told.clone();
    let settings = Settings {
        told: Arc::new(move |notices| {
            lock(&tell).extend_from_slice(notices);
            believed.say(Checked::Refused);
        }),
        ..settings(&time)
    };
    let rig = Rig::with(settings);
    let mut ann = join(&rig, "org", "t1", &pass).await;
    let notice = of_tokens(time.now_ms(), &["t1"]);
    publish(&rig, notice.clone()).await;
    assert_eq!(tokio::time::timeout(SOON, ann.closed()).await, Ok(4401));
    assert_eq!((lock(&told).clone(), pass.asked().len()), (vec![notice], 1));
}

#[actix::test]
async fn a_notice_is_heard_once() {
    let (rig, time) = start();
    let pass = Scripted::new(WRITER);
    let _ann = join(&rig, "org", "t1", &pass).await;
    publish(&rig, of_tokens(time.now_ms(), &["t1"])).await;
    until_read(&rig, 4).await;
    assert_eq!(pass.asked(), [Freshness::Fresh]);
    publish(&rig, of_tokens(time.now_ms(), &["t1"])).await;
    until_read(&rig, 4).await;
    assert_eq!(pass.asked(), [Freshness::Fresh; 2]);
}

#[actix::test]
async fn a_notice_of_an_org_concerns_nobody_of_another() {
    let (rig, time) = start();
    let (here, there) = (Scripted::new(WRITER), Scripted::new(WRITER));
    let (mut ann, mut bob) = (join(&rig, "org", "t1", &here).await, join(&rig, "other", "t2", &there).await);
    let of_org = Notice { org: Some("org".to_owned()), ..Notice::check_everybody(time.now_ms()) };
    publish(&rig, Notice { org: Some("or".to_owned()), ..of_org.clone() }).await;
    publish(&rig, of_org.clone()).await;
    until_read(&rig, 1).await;
    assert_eq!((here.asked(), there.asked()), (vec![Freshness::Fresh], Vec::new()));
    publish(&rig, Notice { cut: true, ..of_org }).await;
    assert_eq!(tokio::time::timeout(SOON, ann.closed()).await, Ok(4401));
    assert_eq!(here.asked().len(), 1, "who is cut is not asked for");
    is_well(&mut bob, &mut TextWriter::new(8)).await;
    publish(&rig, Notice { users: Some(Vec::new()), ..Notice::check_everybody(time.now_ms()) }).await;
    until_read(&rig, 1).await;
    assert_eq!(there.asked(), []);
}

/// The store is away for longer than a read reaches back, and what came meanwhile is heard all the same.
#[actix::test]
async fn an_outage_hides_no_notice() {
    let (rig, time) = start();
    let pass = Scripted::new(WRITER);
    let mut ann = join(&rig, "org", "t1", &pass).await;
    until_read(&rig, 1).await;
    rig.docs.fail_notices(true);
    until_read(&rig, 1).await;
    publish(&rig, of_tokens(time.now_ms(), &["t1"])).await;
    time.advance(Duration::from_secs(600));
    until_read(&rig, 1).await;
    is_well(&mut ann, &mut TextWriter::new(7)).await;
    assert_eq!(pass.asked(), []);
    pass.say(Checked::Refused);
    rig.docs.fail_notices(false);
    assert_eq!(tokio::time::timeout(SOON * 6, ann.closed()).await, Ok(4401));
}

/// Committed after others that are younger, by a node whose clock is behind.
#[actix::test]
async fn a_notice_that_comes_late_is_heard() {
    let (rig, time) = start();
    let pass = Scripted::new(Checked::Refused);
    let mut ann = join(&rig, "org", "t1", &pass).await;
    publish(&rig, of_tokens(time.now_ms(), &["t2"])).await;
    until_read(&rig, 1).await;
    publish(&rig, of_tokens(time.now_ms() - 119_000, &["t1"])).await;
    assert_eq!(tokio::time::timeout(SOON, ann.closed()).await, Ok(4401));
}

/// The room was there when the notice came, or was started by whoever joins behind it.
#[actix::test]
async fn who_joins_behind_a_notice_is_checked() {
    let (rig, time) = start();
    let (pass, other) = (Scripted::new(Checked::Refused), Scripted::new(WRITER));
    let _keeps_it = join(&rig, "org", "t2", &other).await;
    publish(&rig, of_tokens(time.now_ms(), &["t1"])).await;
    until_read(&rig, 1).await;
    for org in ["org", "other"] {
        let mut late = rig.connect_with(by_token(&rig, org, "t1", &pass), 1 << 20);
        assert_eq!(late.closed().await, 4401, "{org}");
    }
    let mut others = join(&rig, "another", "t2", &other).await;
    is_well(&mut others, &mut TextWriter::new(7)).await;
    assert_eq!(other.asked(), []);
    // After a while nobody can have been let in before it.
    time.advance(Duration::from_secs(121));
    tokio::time::advance(Duration::from_secs(121)).await;
    join(&rig, "yet-another", "t1", &pass).await;
    assert_eq!(pass.asked().len(), 2);
}

/// Whoever is here came in after it: they are asked for, which is right whatever the clocks say, and not cut.
#[actix::test]
async fn what_is_older_than_the_node_cuts_nobody() {
    let (first, time) = start();
    first.docs.fail_notices(true);
    publish(&first, Notice { cut: true, ..of_tokens(time.now_ms() - 1_000, &["t1"]) }).await;
    let node = first.beside_with(settings(&time));
    let pass = Scripted::new(WRITER);
    let mut ann = join(&node, "org", "t1", &pass).await;
    node.docs.fail_notices(false);
    node.until("it was asked for", |_| pass.asked() == [Freshness::Fresh]).await;
    is_well(&mut ann, &mut TextWriter::new(7)).await;
    publish(&node, Notice { cut: true, ..of_tokens(time.now_ms() - 1_000, &["t1"]) }).await;
    assert_eq!(tokio::time::timeout(SOON, ann.closed()).await, Ok(4401));
}

#[actix::test]
async fn more_notices_than_can_be_listed_have_everybody_checked() {
    let (rig, time) = start();
    let pass = Scripted::new(WRITER);
    let mut ann = join(&rig, "org", "t1", &pass).await;
    rig.docs.list_notices(2);
    for _ in 0..3 {
        publish(&rig, of_tokens(time.now_ms(), &["t2"])).await;
    }
    rig.until("it was asked for", |_| pass.asked() == [Freshness::Fresh]).await;
    until_read(&rig, 4).await;
    assert_eq!(pass.asked().len(), 1, "not again at once");
    time.advance(Duration::from_secs(15));
    rig.until("it was asked for again", |_| pass.asked().len() == 2).await;
    is_well(&mut ann, &mut TextWriter::new(7)).await;
}

/// Nobody waits for what another org leaves, however much that is, and nobody is checked for it.
#[actix::test]
async fn an_org_that_leaves_very_many_notices_delays_no_others() {
    let (rig, time) = start();
    let (here, there) = (Scripted::new(WRITER), Scripted::new(WRITER));
    let (mut ann, _bob) = (join(&rig, "quiet", "t1", &here).await, join(&rig, "another", "t2", &there).await);
    let long = "x".repeat(1 << 20);
    let loud = Notice { org: Some("loud".to_owned()), ..of_tokens(time.now_ms(), &[&long]) };
    for _ in 0..40 {
        publish(&rig, loud.clone()).await;
    }
    let _eve = join(&rig, "loud", "t3", &there).await;
    publish(&rig, Notice { org: Some("quiet".to_owned()), cut: true, ..Notice::check_everybody(time.now_ms()) }).await;
    assert_eq!(tokio::time::timeout(SOON, ann.closed()).await, Ok(4401));
    // In the end all were brought.
    let last = Notice { org: Some("loud".to_owned()), ..of_tokens(time.now_ms(), &["t3"]) };
    publish(&rig, last).await;
    rig.within(Duration::from_secs(20), "all are brought", |_| there.asked().len() == 1).await;
    assert_eq!(here.asked(), []);
}

/// What names very many of one org is taken for everybody there, and nobody elsewhere.
#[actix::test]
async fn notices_of_too_many_of_an_org_have_its_own_checked() {
    let (rig, time) = start();
    let (loud, quiet) = (Scripted::new(WRITER), Scripted::new(WRITER));
    let (_ann, _bob) = (join(&rig, "loud", "t1", &loud).await, join(&rig, "quiet", "t2", &quiet).await);
    for org in ["quiet", "loud"] {
        let many = if org == "loud" { 10_000 } else { 1 };
        publish(&rig, Notice { org: Some(org.to_owned()), ..of_tokens(time.now_ms(), &vec!["t9"; many]) }).await;
    }
    until_read(&rig, 1).await;
    assert_eq!((loud.asked(), quiet.asked()), (vec![Freshness::Fresh], vec![]));
}

/// What names very many is taken for everybody.
#[actix::test]
async fn notices_of_too_many_have_everybody_checked() {
    let (rig, time) = start();
    let pass = Scripted::new(WRITER);
    let _ann = join(&rig, "org", "t1", &pass).await;
    publish(&rig, of_tokens(time.now_ms(), &["t2"; 10_000])).await;
    until_read(&rig, 1).await;
    assert_eq!(pass.asked(), []);
    publish(&rig, of_tokens(time.now_ms(), &["t2"; 10_001])).await;
    until_read(&rig, 1).await;
    assert_eq!(pass.asked(), [Freshness::Fresh]);
}

/// Whoever is asked about them is not asked about all at one moment.
#[actix::test]
async fn a_check_of_everybody_is_spread() {
    let (rig, time) = start();
    let pass = Arc::new(Noting::default());
    let mut clients = Vec::new();
    for n in 0..600 {
        // In rooms of many and of one.
        let room = RoomId::new("org", &format!("doc{}", n.max(300)), RoomId::MAIN);
        let params = SessionParams { room, ..rig.params("doc", "ann", Level::Write, pass.clone()) };
        let mut client = rig.connect_with(params, 1 << 20);
        client.sync().await;
        clients.push(client);
    }
    publish(&rig, Notice::check_everybody(time.now_ms())).await;
    rig.within(Duration::from_secs(20), "all are checked", |_| lock(&pass.0).len() == 600).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let asked = lock(&pass.0).clone();
    assert_eq!(asked.len(), 600, "each once");
    let first = asked[0];
    let within = |window: Duration| asked.iter().filter(|at| at.duration_since(first) <= window).count();
    assert!((CHECKS_AT_ONCE as usize..=102).contains(&within(Duration::ZERO)), "{}", within(Duration::ZERO));
    assert!(within(Duration::from_millis(250)) <= 100 + 252);
    assert_eq!(within(Duration::from_millis(520)), 600, "and no later than the pace wants");
}

/// Lets everybody stay, and remembers when it was asked.
#[derive(Default)]
struct Noting(Mutex<Vec<tokio::time::Instant>>);

impl Pass for Noting {
    fn check(self: Arc<Self>, _: Freshness) -> BoxFuture<'static, Checked> {
        lock(&self.0).push(tokio::time::Instant::now());
        Box::pin(std::future::ready(WRITER))
    }

    fn renew(self: Arc<Self>, _: String) -> BoxFuture<'static, Checked> {
        unreachable!("nobody shows another token")
    }
}

#[actix::test]
async fn a_reader_that_died_goes_on_where_it_was() {
    let (rig, time) = start();
    let pass = Scripted::new(WRITER);
    let mut ann = join(&rig, "org", "t1", &pass).await;
    publish(&rig, of_tokens(time.now_ms(), &["t1"])).await;
    until_read(&rig, 1).await;
    assert_eq!(pass.asked().len(), 1);
    rig.docs.panic_at_notices();
    until_read(&rig, 2).await;
    assert_eq!(pass.asked().len(), 1, "what was heard before is not heard again");
    pass.say(Checked::Refused);
    publish(&rig, of_tokens(time.now_ms(), &["t1"])).await;
    loop {
        match ann.next().await {
            Got::Close(code) => break assert_eq!(code, 4401),
            Got::End => panic!("it ended without a word"),
            _ => {}
        }
    }
}

#[actix::test]
async fn who_serves_nobody_reads_no_notices() {
    tokio::time::pause();
    let rig = Rig::with(Settings { serves: false, ..Settings::default() });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.docs.notice_reads(), 0);
}
