//! What the hub can do, seen from outside: one module per capability.

#![allow(clippy::unwrap_used, reason = "a test may stop at whatever it did not expect; its helpers are part of it")]

/// A test for each transport, of an `async fn(Transport)`.
macro_rules! on_both {
    ($($(#[$attribute:meta])* $case:ident),+ $(,)?) => {
        mod direct {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::support::Transport::Direct).await;
                }
            )+
        }
        mod mounted {
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::support::Transport::Mounted).await;
                }
            )+
        }
    };
}

mod awareness;
mod cli;
mod joins;
mod limits;
mod load_failure;
mod shutdown;
mod silence;
mod support;
mod sync;
