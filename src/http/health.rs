//! `/healthz`: the process lives. `/readyz`: it can do its work.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpResponse, http::header, web};
use futures_util::future::{BoxFuture, join_all};
use log::{info, warn};
use tokio::time::timeout;

/// A check that has not answered after so long has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What must answer before the hub is said to be ready. Cheap to clone; clones share the state.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Arc<[Check]>,
    stopping: Arc<AtomicBool>,
}

struct Check {
    name: &'static str,
    run: Box<dyn Fn() -> BoxFuture<'static, Result<(), anyhow::Error>> + Send + Sync>,
    /// Did it fail last time? The log tells of changes, not of every probe.
    failed: AtomicBool,
}

/// Collects checks for [`Readiness::of`].
pub struct Checks(Vec<Check>);

impl Checks {
    /// Adds a check; `name` is its key in the answer.
    pub fn and<F, R>(mut self, name: &'static str, run: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), anyhow::Error>> + Send + 'static,
    {
        self.0.push(Check { name, run: Box::new(move || Box::pin(run())), failed: AtomicBool::new(false) });
        self
    }

    /// No more checks.
    pub fn done(self) -> Readiness {
        Readiness { checks: self.0.into(), stopping: Arc::default() }
    }
}

impl Readiness {
    /// Starts a list of checks.
    pub fn of() -> Checks {
        Checks(Vec::new())
    }

    /// From now on the hub is not ready: it is stopping, and new clients should go elsewhere.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Runs all checks at once: the name of each, and how it went.
    async fn run(&self) -> Vec<(&'static str, Answer)> {
        join_all(self.checks.iter().map(async |check| (check.name, check.answer().await))).await
    }
}

/// How a check went, as probes see it. Details go to the log: they are about our insides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Ok,
    Failed,
    TimedOut,
}

impl Answer {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed; the log says why",
            Self::TimedOut => "no answer in time",
        }
    }
}

impl Check {
    async fn answer(&self) -> Answer {
        let (answer, why) = match timeout(CHECK_TIMEOUT, (self.run)()).await {
            Ok(Ok(())) => (Answer::Ok, String::new()),
            Ok(Err(error)) => (Answer::Failed, format!("{error:#}")),
            Err(_) => (Answer::TimedOut, format!("no answer within {CHECK_TIMEOUT:?}")),
        };
        let failed = answer != Answer::Ok;
        match (self.failed.swap(failed, Ordering::Relaxed), failed) {
            (false, true) => warn!(check = self.name; "not ready: {} does not answer: {why}", self.name),
            (true, false) => info!(check = self.name; "ready again: {} answers", self.name),
            _ => {}
        }
        answer
    }
}

/// 200 as long as the process can answer at all.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(serde_json::json!({ "alive": true }))
}

/// 200 if every check answers, else 503; the body names each check, and says if the hub is stopping.
pub(super) async fn readyz(readiness: web::Data<Readiness>) -> HttpResponse {
    let stopping = readiness.stopping.load(Ordering::Relaxed);
    let answers = readiness.run().await;
    let ready = !stopping && answers.iter().all(|&(_, answer)| answer == Answer::Ok);
    let checks: BTreeMap<_, _> = answers.into_iter().map(|(name, answer)| (name, answer.as_str())).collect();
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(serde_json::json!({ "ready": ready, "stopping": stopping, "checks": checks }))
}
