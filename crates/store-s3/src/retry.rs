//! What fails for a while is tried again, a few times, each with its own time limit.

use std::time::Duration;

use futures_util::future::BoxFuture;
use log::debug;
use tokio::time::{sleep, timeout};

use crate::client::{Failure, NoAnswer};

/// The pause before an attempt grows to so many of the first.
const MOST_BACKOFF: u32 = 32;

/// How patient one is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) attempts: u32,
    pub(crate) first_backoff: Duration,
    pub(crate) request_timeout: Duration,
}

impl Patience {
    /// The same with one attempt.
    pub(crate) fn once(self) -> Self {
        Self { attempts: 1, ..self }
    }

    /// Sends until there is an answer that says something else than "later".
    pub(crate) async fn ask<'a, T>(
        &self,
        what: &str,
        mut send: impl FnMut() -> BoxFuture<'a, Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut factor = 1;
        for attempt in 1.. {
            let answer = match timeout(self.request_timeout, send()).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::Transient(NoAnswer(self.request_timeout).into())),
            };
            match answer {
                Err(Failure::Transient(why)) if attempt < self.attempts => {
                    debug!("S3: {what} failed for now (attempt {attempt} of {}): {why}", self.attempts);
                    sleep(self.first_backoff * factor).await;
                    factor = (factor * 2).min(MOST_BACKOFF);
                }
                answer => return answer,
            }
        }
        unreachable!("the attempts are counted without end")
    }
}
