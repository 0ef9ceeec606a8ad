//! The bounded way to a thread: jobs with a place, a size and somebody who waits for the answer.
//!
//! Both bounds (operations, bytes) hold until a job is answered, so they bound what the thread holds as well.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use yhub_store::StreamLogError;

use crate::error::{Shared, log_error};

/// Bytes are counted in units, because the semaphore counts in 32 bits.
const UNIT_BYTES: usize = 1024;

/// How much a queue holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) operations: usize,
    pub(crate) size_bytes: usize,
    /// How long to wait for room.
    pub(crate) wait: Duration,
}

/// The senders' end. The receiving thread ends when this is closed or dropped, and it has taken what is left.
pub(crate) struct Queue<J> {
    /// `None` once it is closed.
    jobs: Mutex<Option<mpsc::Sender<(J, Place)>>>,
    operations: Arc<Semaphore>,
    units: Arc<Semaphore>,
    all_units: u32,
    bounds: Bounds,
    /// The file behind it, for errors.
    at: Arc<str>,
}

/// Room in the queue, given back when it is dropped.
pub(crate) struct Place {
    /// What the job was said to weigh.
    pub(crate) size_bytes: usize,
    /// Operation and units; `None` for a job whose sender has a bound of its own.
    _permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl<J> Queue<J> {
    /// A queue before the file `at`, and the end from which its thread takes.
    pub(crate) fn new(bounds: Bounds, at: Arc<str>) -> (Self, mpsc::Receiver<(J, Place)>) {
        let (jobs, receiver) = mpsc::channel();
        let operations = bounds.operations.clamp(1, Semaphore::MAX_PERMITS);
        let all_units = u32::try_from(bounds.size_bytes.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX);
        let queue = Self {
            jobs: Mutex::new(Some(jobs)),
            operations: Arc::new(Semaphore::new(operations)),
            units: Arc::new(Semaphore::new(all_units as usize)),
            all_units,
            bounds: Bounds { operations, ..bounds },
            at,
        };
        (queue, receiver)
    }

    /// Puts `job` into the queue once there is room for it. Fair: who came first gets room first.
    pub(crate) async fn send(&self, job: J, size_bytes: usize) -> Result<(), StreamLogError> {
        // What is larger than the whole queue takes the whole queue, and so goes alone.
        let units = u32::try_from(size_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.all_units);
        // Without a timer where there is room, which is nearly always.
        let at_once = || {
            let operation = self.operations.clone().try_acquire_owned().ok()?;
            Some((operation, self.units.clone().try_acquire_many_owned(units).ok()?))
        };
        let permits = match at_once() {
            Some(permits) => permits,
            None => {
                let wait = async {
                    let operation = self.operations.clone().acquire_owned().await.ok()?;
                    Some((operation, self.units.clone().acquire_many_owned(units).await.ok()?))
                };
                match tokio::time::timeout(self.bounds.wait, wait).await {
                    Ok(Some(permits)) => permits,
                    Ok(None) => return Err(self.closed()),
                    Err(_) => return Err(StreamLogError::Busy { waiting: self.waiting() }),
                }
            }
        };
        self.put(job, Place { size_bytes, _permits: Some(permits) })
    }

    /// Puts `job` into the queue past its bounds: for senders that bound what they send by themselves.
    pub(crate) fn send_past_the_bounds(&self, job: J) -> Result<(), StreamLogError> {
        self.put(job, Place { size_bytes: 0, _permits: None })
    }

    fn put(&self, job: J, place: Place) -> Result<(), StreamLogError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().and_then(|jobs| jobs.send((job, place)).ok()).ok_or_else(|| self.closed())
    }

    /// Takes no more jobs. Those that are in are still done.
    pub(crate) fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.operations.close();
        self.units.close();
    }

    /// How many operations wait or run.
    fn waiting(&self) -> usize {
        self.bounds.operations.saturating_sub(self.operations.available_permits())
    }

    pub(crate) fn closed(&self) -> StreamLogError {
        log_error(&self.at, Shared::new("the log was closed"))
    }
}
