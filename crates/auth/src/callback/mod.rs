//! The application's back end is asked who somebody is and what they may do.
//!
//! | form | question |
//! |---|---|
//! | [`CallbackForm::Get`] | `GET {url}/{docid}/{userid}?org=…&branch=…[&purpose=…]`, as y/hub's permission callback |
//! | [`CallbackForm::Post`] | `POST {url}` with `{ "org", "docid", "branch", "userid", "purpose" }`, each a text or null |
//!
//! The answer and what it means are in `answer`. Answers are kept for a while; who asks the same at the same time gets one answer;
//! a back end that fails again and again is left alone for a while. Whatever else comes than a plain yes or no is neither.

mod answer;
mod breaker;
mod kept;
mod question;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use log::warn;
use reqwest::Url;
use tokio::sync::Semaphore;
use yhub_core::{
    Freshness, TimeSource,
    access::{Purpose, Target},
};

use crate::{
    AuthError, OptionsError, Secret,
    http::{self, Http},
};
use breaker::Breaker;
use kept::Kept;
use question::Question;

pub(crate) use answer::Answer;
pub(crate) use question::Asked;

/// Bytes of an answer. What it says of somebody is kept with what they do.
const MOST_BYTES: usize = 8 << 10;
/// What is told when the back end gives no answer.
const NO_ANSWER: &str = "the application's back end gives no answer";

/// How the back end is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackForm {
    /// As y/hub asks.
    Get,
    /// With everything in the body.
    Post,
}

/// Whom to ask, and how patient one is.
#[derive(Clone, Debug)]
pub struct CallbackOptions {
    /// `https://host/path`.
    pub url: String,
    /// How it is asked.
    pub form: CallbackForm,
    /// By which the back end knows who asks.
    pub secret: Option<Secret>,
    /// May it be asked without TLS although it is not this machine?
    pub allow_http: bool,
    /// Certificates, in PEM, of who may vouch for it, in place of those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// An answer must be there after so long; so long one waits to ask, too.
    pub timeout: Duration,
    /// Answers are kept for so long; zero: not at all.
    pub ttl: Duration,
    /// So many answers are kept, at most.
    pub most_kept: usize,
    /// So many questions are under way at once, at most.
    pub at_once: usize,
    /// After so many failures in a row the back end is left alone: no connection, nothing in time, or 502 to 504. Other answers that
    /// are none may lie with who is asked about, who would shut the door to all others by them.
    pub failures: u32,
    /// For so long.
    pub pause: Duration,
}

impl CallbackOptions {
    /// The usual patience.
    pub fn new(url: &str, form: CallbackForm) -> Self {
        Self {
            url: url.to_owned(),
            form,
            secret: None,
            allow_http: false,
            ca_file: None,
            timeout: Duration::from_secs(5),
            ttl: Duration::from_secs(10),
            most_kept: 10_000,
            at_once: 64,
            failures: 5,
            pause: Duration::from_secs(5),
        }
    }
}

/// What is asked under one key: who, where, for what, as a hash.
type Key = [u8; 32];
type Outcome = Result<Arc<Answer>, AuthError>;
type Flight = Shared<BoxFuture<'static, Outcome>>;

/// The application's back end.
pub struct Callback {
    inner: Arc<Inner>,
}

struct Inner {
    options: CallbackOptions,
    url: Url,
    http: Http,
    time: Arc<dyn TimeSource>,
    turns: Semaphore,
    breaker: Breaker,
    state: Mutex<State>,
    flights: AtomicU64,
}

struct State {
    kept: Kept,
    /// The last question under each key that has no answer yet. There are as many as somebody waits for.
    flying: HashMap<Key, Flying>,
}

struct Flying {
    nr: u64,
    /// Gone when nobody waits any more.
    flight: WeakShared<BoxFuture<'static, Outcome>>,
    /// Has the question been sent? Then the answer may be older than who asks now.
    is_sent: Arc<AtomicBool>,
}

/// Ends the entry of a question in `flying`, however it ends.
struct Landing {
    inner: Arc<Inner>,
    key: Key,
    nr: u64,
}

impl Callback {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// If the address may not be asked, or there is no TLS for it.
    pub fn new(options: CallbackOptions, time: Arc<dyn TimeSource>) -> Result<Self, OptionsError> {
        let url = http::parsed(&options.url, options.allow_http, false)
            .map_err(|fault| OptionsError::new(format!("the address of the callback {fault}"), "write https://host/path"))?;
        let http = Http::new(&url, options.ca_file.as_deref(), options.timeout, MOST_BYTES)?;
        let inner = Inner {
            turns: Semaphore::new(options.at_once.clamp(1, Semaphore::MAX_PERMITS)),
            breaker: Breaker::new(options.failures, options.pause),
            state: Mutex::new(State { kept: Kept::new(options.most_kept), flying: HashMap::new() }),
            flights: AtomicU64::new(0),
            url,
            http,
            time,
            options,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Can it be asked about tokens that only the back end understands?
    pub(crate) fn takes_tokens(&self) -> bool {
        self.inner.options.form == CallbackForm::Post
    }

    /// Asks, or knows already. [`Freshness::Fresh`]: the answer is to a question that was sent after this was called.
    pub(crate) async fn ask(
        &self,
        asked: &Asked<'_>,
        place: Target<'_>,
        purpose: Option<Purpose>,
        freshness: Freshness,
    ) -> Outcome {
        let Some(question) = Question::new(&self.inner.options, &self.inner.url, asked, place, purpose) else {
            // There is no such question: the document or the user cannot stand in a path, or the place is none of a document.
            return Ok(Arc::new(Answer::Denied));
        };
        let flight = {
            let mut state = self.inner.state();
            match freshness {
                Freshness::Fresh => state.kept.forget(&question.key),
                Freshness::Cached => {
                    if let Some(answer) = state.kept.get(&question.key, self.inner.time.now_ms()) {
                        return Ok(answer);
                    }
                }
            }
            let joined = state.flying.get(&question.key).and_then(|flying| {
                let may_join = freshness == Freshness::Cached || !flying.is_sent.load(Ordering::SeqCst);
                // Only if it is waited for below: were this the last one who waits, letting it go would want the state.
                if may_join { flying.flight.upgrade() } else { None }
            });
            match joined {
                Some(flight) => flight,
                None => self.inner.clone().take_off(&mut state, question),
            }
        };
        flight.await
    }
}

impl Inner {
    /// Begins a question that all wait for who ask the same.
    fn take_off(self: Arc<Self>, state: &mut State, question: Question) -> Flight {
        let (nr, key) = (self.flights.fetch_add(1, Ordering::SeqCst), question.key);
        let is_sent = Arc::new(AtomicBool::new(false));
        let landing = Landing { inner: self, key, nr };
        let sent = is_sent.clone();
        let flight = async move {
            let outcome = landing.inner.put(question, &sent).await;
            landing.keep(&outcome);
            outcome
        }
        .boxed()
        .shared();
        let weak = flight.downgrade().expect("it was not awaited yet");
        state.flying.insert(key, Flying { nr, flight: weak, is_sent });
        flight
    }

    /// Sends a question when it is its turn.
    async fn put(&self, question: Question, is_sent: &AtomicBool) -> Outcome {
        let no_answer = || AuthError::unavailable(NO_ANSWER);
        let no_word = || AuthError::Unavailable { what: NO_ANSWER.into(), answered: true };
        if self.breaker.is_closed_to_all(self.time.now_ms()) {
            return Err(no_answer());
        }
        let turn = match tokio::time::timeout(self.options.timeout, self.turns.acquire()).await {
            Ok(Ok(turn)) => turn,
            _ => {
                warn!("the application's back end is slow: a question about access waited too long for its turn");
                return Err(no_answer());
            }
        };
        let Some(pass) = self.breaker.enter(self.time.now_ms()) else { return Err(no_answer()) };
        is_sent.store(true, Ordering::SeqCst);
        let answered = match self.http.send(question.request(&self.options, &self.http)).await {
            Ok((status, body)) => answer::read(status.as_u16(), &body, &question.expected),
            // It is there.
            Err(fault @ http::HttpFault::TooLong(_)) => Err(answer::Fault::Odd(fault.to_string())),
            Err(fault) => Err(answer::Fault::Down(fault.to_string())),
        };
        drop(turn);
        let is_down = matches!(answered, Err(answer::Fault::Down(_)));
        pass.done(!is_down, self.time.now_ms());
        answered.map(Arc::new).map_err(|fault| {
            warn!("the application's back end does not say who may do what: {fault}; check `auth_callback.url` and what answers there");
            if is_down { no_answer() } else { no_word() }
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change to it is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Landing {
    /// Keeps an answer, unless the same was asked again meanwhile: that answer will be newer.
    fn keep(&self, outcome: &Outcome) {
        let Ok(answer) = outcome else { return };
        let now_ms = self.inner.time.now_ms();
        let mut state = self.inner.state();
        if state.flying.get(&self.key).is_some_and(|flying| flying.nr == self.nr) {
            state.kept.put(self.key, answer.clone(), now_ms, self.inner.options.ttl);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        if state.flying.get(&self.key).is_some_and(|flying| flying.nr == self.nr) {
            state.flying.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use yhub_core::{ManualTime, RoomId};
    use yhub_testkit::{
        servers::{Web, WebReply},
        until,
    };

    use super::*;

    #[tokio::test]
    async fn nothing_stays_of_a_question_however_it_ends() {
        let web = Web::start(|request| match request.path.as_str() {
            "/never" => WebReply::Never,
            _ => WebReply::Status(403, String::new()),
        });
        let room = RoomId::new("o", "d", "main");
        for path in ["/never", "/no"] {
            let options = CallbackOptions::new(&web.url(path), CallbackForm::Post);
            let callback = Callback::new(options, Arc::new(ManualTime::new(0))).unwrap();
            let before = web.requests().len();
            tokio::select! {
                answered = callback.ask(&Asked::User("u"), Target::Room(&room), None, Freshness::Fresh) => {
                    assert!(matches!(*answered.unwrap(), Answer::Denied));
                }
                () = until("the question", async || (web.requests().len() > before && path == "/never").then_some(())) => {}
            }
            assert!(callback.inner.state().flying.is_empty(), "{path}");
            assert_eq!(callback.inner.turns.available_permits(), callback.inner.options.at_once);
        }
    }
}
