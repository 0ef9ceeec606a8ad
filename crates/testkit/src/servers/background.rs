//! A thread with a runtime of its own: what a test pauses or blocks does not reach it.

use std::thread::{self, JoinHandle};

use tokio::{runtime::Builder, sync::oneshot};

/// Work on its own thread that is aborted when this is dropped.
pub(crate) struct Background {
    // Its end is the signal.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = work => {}
                }
            })
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it has panicked, it has said so.
            let _ = thread.join();
        }
    }
}

/// What `future` gives, on a runtime of this thread, which must have none.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made").block_on(future)
}

/// What `future` gives, from anywhere: on a thread of its own, while this one is blocked.
pub(crate) fn blocking<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let joined = thread::scope(|scope| scope.spawn(|| block_on(future)).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
