//! Tasks with an owner.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::task::JoinHandle;

/// What a task of another crate does until it ends.
///
/// A future of a known type is compiled by whoever spawns it, with all that it calls in turn, and
/// the program's own crate is built quickly rather than fast. In a box it is compiled where it is
/// written.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A spawned task. It ends when its future does, or when this is dropped.
#[derive(Debug)]
#[must_use = "a task ends when its handle is dropped; `detach` it to let it run"]
pub struct Task {
    handle: Option<JoinHandle<()>>,
    name: &'static str,
}

impl Task {
    pub(crate) const fn new(name: &'static str, handle: JoinHandle<()>) -> Self {
        Self {
            handle: Some(handle),
            name,
        }
    }

    /// Lets the task run to its own end without an owner.
    pub fn detach(mut self) {
        self.handle = None;
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// Resolves when the task has ended, by itself or by a panic, which is logged.
impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(handle) = self.handle.as_mut() else {
            return Poll::Ready(());
        };
        let Poll::Ready(end) = Pin::new(handle).poll(cx) else {
            return Poll::Pending;
        };
        self.handle = None;
        if end.is_err_and(|error| error.is_panic()) {
            tracing::error!(task = self.name, "task panicked");
        }
        Poll::Ready(())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.abort();
        }
    }
}
