//! Where operations of a document store run: on a small runtime of their own, a bounded number at a time.
//!
//! They go on to their end there when a caller stops waiting or its thread ends, so that no transaction is left open; and
//! the runtimes that callers use need not allow blocking.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{runtime::Runtime, sync::Semaphore};
use yhub_store::DocStoreError;

use crate::error::{Shared, docs_error};

/// The runtime of one store. Dropping it waits for the operations that are under way.
pub(super) struct Desk {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    turns: Arc<Semaphore>,
    operations: usize,
    wait: Duration,
    at: Arc<str>,
}

impl Desk {
    /// At most `operations` wait or run on `runtime`; beyond, a call waits up to `wait` for its turn. `at` is what errors
    /// call the store.
    pub(super) fn new(runtime: Runtime, operations: usize, wait: Duration, at: Arc<str>) -> Self {
        let operations = operations.clamp(1, u32::MAX as usize >> 4);
        Self { runtime: Some(runtime), turns: Arc::new(Semaphore::new(operations)), operations, wait, at }
    }

    /// What errors call the store.
    pub(super) fn at(&self) -> &Arc<str> {
        &self.at
    }

    /// Runs `operation` on our own runtime, to its end, whether or not anybody waits for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, DocStoreError>> + Send + 'static,
    ) -> Result<T, DocStoreError> {
        let turn = match self.turns.clone().try_acquire_owned() {
            Ok(turn) => Ok(turn),
            Err(_) => match tokio::time::timeout(self.wait, self.turns.clone().acquire_owned()).await {
                Ok(turn) => turn.map_err(|_| Shared::new("the document store was closed")),
                Err(_) => Err(Shared::new(format!("{} operations are waiting, which is the bound", self.operations))),
            },
        };
        let turn = turn.map_err(|what| docs_error(&self.at, what))?;
        let runtime = self.runtime.as_ref().expect("it is only taken when the store is dropped");
        let task = runtime.spawn(async move {
            let result = operation.await;
            drop(turn);
            result
        });
        task.await.unwrap_or_else(|panic| Err(docs_error(&self.at, Shared::new(panic))))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let (turns, all) = (self.turns.clone(), u32::try_from(self.operations).unwrap_or(u32::MAX));
        // On a plain thread: a runtime may not be waited for inside another one.
        let close = std::thread::Builder::new().name("yhub-docs-close".to_owned()).spawn(move || {
            // Only closing the semaphore could fail this, and nobody does.
            let _ = runtime.block_on(turns.acquire_many(all));
            drop(runtime);
        });
        if let Ok(close) = close {
            let _ = close.join();
        }
    }
}
