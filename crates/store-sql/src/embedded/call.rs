//! An operation with somebody who waits for its answer, as the threads of the log take it.

use diesel::result::Error as SqlError;
use tokio::sync::oneshot;
use yhub_store::StreamLogError;

use crate::error::OpError;

/// Whoever waits for an operation.
pub(crate) trait Waiting: Send {
    /// Does nobody wait for it any more?
    fn is_cancelled(&self) -> bool;
    /// Answers: with what was kept if the operation went through, with the failure otherwise.
    fn answer(self: Box<Self>, went: Result<(), StreamLogError>);
}

/// A function and somebody who waits for what it returns.
pub(crate) struct Call<F, T> {
    pub(crate) op: F,
    pub(crate) kept: Option<Result<T, StreamLogError>>,
    pub(crate) reply: oneshot::Sender<Result<T, StreamLogError>>,
}

/// Where the answer will be.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, StreamLogError>>;

impl<F, T> Call<F, T> {
    /// A call of `op`.
    pub(crate) fn new(op: F) -> (Box<Self>, Answer<T>) {
        let (reply, answer) = oneshot::channel();
        (Box::new(Self { op, kept: None, reply }), answer)
    }

    /// Runs the function and keeps its answer. An error says that it must be taken back.
    pub(crate) fn keep(&mut self, run: impl FnOnce(&mut F) -> Result<T, OpError>) -> Result<(), SqlError> {
        self.kept = None;
        self.kept = Some(match run(&mut self.op) {
            Ok(value) => Ok(value),
            Err(OpError::Refused(error)) => Err(error),
            Err(OpError::Sql(error)) => return Err(error),
        });
        Ok(())
    }
}

impl<F: Send, T: Send> Waiting for Call<F, T> {
    fn is_cancelled(&self) -> bool {
        self.reply.is_closed()
    }

    fn answer(self: Box<Self>, went: Result<(), StreamLogError>) {
        let answer = match (went, self.kept) {
            (Ok(()), Some(kept)) => kept,
            (Err(error), _) => Err(error),
            // Neither run nor failed: it was cancelled before its turn.
            (Ok(()), None) => return,
        };
        // Whoever stopped waiting does not want to know.
        let _ = self.reply.send(answer);
    }
}
