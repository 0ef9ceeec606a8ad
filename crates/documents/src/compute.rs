//! A bounded pool for what takes long: merging and folding. Never on an arbiter, never on a web worker.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{Semaphore, oneshot};
use yhub_core::limiting::{Bound, Tally};

/// What works on no more bytes than this is done where it is asked for: handing it over would cost more. Even an update that was
/// made to be costly takes only milliseconds.
const INLINE_BYTES: usize = 8 << 10;

/// Why a computation has no result.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// As many computations wait as may.
    #[error("{waiting} computations wait already, which is the bound `compute.queue`; try again later")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// It took too long. It may still be running; its result is dropped.
    #[error("a computation took longer than {limit:?}, which is the bound `compute.deadline_ms`")]
    Deadline {
        /// The bound.
        limit: Duration,
    },
    /// It panicked.
    #[error("a computation panicked; this is a bug")]
    Panicked,
}

/// A fixed number of threads with a bounded queue and a deadline.
#[derive(Clone)]
pub struct ComputePool {
    threads: Arc<rayon::ThreadPool>,
    places: Arc<Semaphore>,
    queue: usize,
    deadline: Duration,
    tally: Arc<Tally>,
}

impl ComputePool {
    /// A pool of `threads` threads in which at most `queue` computations run or wait, each for at most `deadline`.
    pub fn new(threads: usize, queue: usize, deadline: Duration) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("hub-compute-{n}"))
            // Every job catches its own panic; this one would be rayon's or ours below `run`.
            .panic_handler(|_| log::error!("a compute thread panicked outside a computation"))
            .build()?;
        Ok(Self { threads: Arc::new(threads), places: Arc::new(Semaphore::new(queue)), queue, deadline, tally: Arc::default() })
    }

    /// The same pool, which counts there when it is full.
    pub(crate) fn counted(self, tally: Arc<Tally>) -> Self {
        Self { tally, ..self }
    }

    /// How many computations run or wait.
    pub fn under_way(&self) -> usize {
        self.queue.saturating_sub(self.places.available_permits())
    }

    /// Runs `job`, which works on `size_bytes`, where it is asked for if that is little, else on the pool.
    pub async fn run_sized<T: Send + 'static>(
        &self,
        size_bytes: usize,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ComputeError> {
        if size_bytes > INLINE_BYTES {
            return self.run(job).await;
        }
        // As in `run`.
        catch_unwind(AssertUnwindSafe(job)).map_err(|_| ComputeError::Panicked)
    }

    /// Runs `job` on the pool. A job that nobody waits for any more when its turn comes is not run. One that runs goes on to its end,
    /// whoever waits: what is to be counted so long, such as a turn, belongs into the job.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, ComputeError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            self.tally.count(Bound::Computations);
            ComputeError::Busy { waiting: self.queue }
        })?;
        let (done, result) = oneshot::channel();
        self.threads.spawn(move || {
            let _place = place;
            if !done.is_closed() {
                // What the job had in hand is dropped with it, so no half-changed value is seen again.
                let _ = done.send(catch_unwind(AssertUnwindSafe(job)));
            }
        });
        match tokio::time::timeout(self.deadline, result).await {
            Err(_) => Err(ComputeError::Deadline { limit: self.deadline }),
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(_)) | Err(_)) => Err(ComputeError::Panicked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(queue: usize, deadline: Duration) -> ComputePool {
        ComputePool::new(1, queue, deadline).unwrap()
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_pool_lives() {
        let pool = pool(4, Duration::from_secs(20));
        assert!(matches!(pool.run(|| panic!("on purpose")).await, Err::<(), _>(ComputeError::Panicked)));
        assert_eq!(pool.run(|| 1 + 1).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let pool = pool(1, Duration::from_secs(20));
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move || wait.recv()).await }
        });
        while pool.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let tally = Arc::new(Tally::default());
        let pool = pool.counted(tally.clone());
        assert!(matches!(pool.run(|| ()).await, Err(ComputeError::Busy { waiting: 1 })));
        assert_eq!(tally.of(Bound::Computations), 1);
        release.send(()).unwrap();
        first.await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_deadline_ends_the_waiting() {
        let pool = pool(2, Duration::from_millis(10));
        let (_release, wait) = std::sync::mpsc::channel::<()>();
        assert!(matches!(pool.run(move || wait.recv()).await, Err(ComputeError::Deadline { .. })));
    }
}
