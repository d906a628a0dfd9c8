//! What one who said something waits with.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use portolan_model::Revision;
use tokio::sync::oneshot;

use super::InboxClosed;

/// Resolves with the revision that holds a change, after the swap.
#[derive(Debug)]
pub struct Ticket(pub(super) oneshot::Receiver<Revision>);

impl Future for Ticket {
    type Output = Result<Revision, InboxClosed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|revision| revision.map_err(|_| InboxClosed))
    }
}
