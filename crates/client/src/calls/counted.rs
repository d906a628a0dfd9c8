//! The body of an answer, which keeps its call counted until it has ended.
//!
//! The head of an answer says how fast an instance is, and its end how well: one that
//! breaks off, or whose trailers say that it can't serve, has failed.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Frame, SizeHint};

use super::is_unavailable;
use crate::{Failure, Picked};

/// The body of an answer. The instance counts as called until it has ended or is dropped,
/// and as failed if it broke off.
#[derive(Debug)]
pub struct Counted<B> {
    body: B,
    picked: Option<Picked>,
}

impl<B: Body> Counted<B> {
    pub(super) fn new(body: B, picked: Picked) -> Self {
        // Nobody reads an empty body.
        let picked = (!body.is_end_stream()).then_some(picked);
        Self { body, picked }
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
        let (has_ended, has_failed) = match &frame {
            None => (true, false),
            Some(Err(_)) => (true, true),
            Some(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) => (true, is_unavailable(trailers)),
                None => (self.body.is_end_stream(), false),
            },
        };
        if has_ended
            && let Some(picked) = self.picked.take()
            && has_failed
        {
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
