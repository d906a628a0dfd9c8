//! The body of an answer, which keeps its call counted until it has ended.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Frame, SizeHint};

use crate::{Failure, Picked};

/// The body of an answer. The instance counts as called until it has ended or is dropped.
#[derive(Debug)]
pub struct Counted<B> {
    body: B,
    picked: Option<Picked>,
}

impl<B> Counted<B> {
    pub(super) const fn new(body: B, picked: Picked) -> Self {
        Self {
            body,
            picked: Some(picked),
        }
    }
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_)))
            && let Some(picked) = self.picked.take()
            && frame.is_some()
        {
            // It began well and broke off.
            picked.failed(Failure::Failed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
