//! Bodies of the control listeners: bounded in size and in patience.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use portolan_model::ByteSize;
use portolan_runtime::Env;

/// A body, coming or going.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client sent more than is allowed.
    #[error("the body is over the limit of {limit}")]
    TooLarge {
        /// The limit.
        limit: ByteSize,
    },
    /// The client paused for too long.
    #[error("the body did not go on for {seconds} seconds")]
    Stalled {
        /// How long that is.
        seconds: u64,
    },
    /// The client went away, or does not speak HTTP.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
}

/// Why a whole body could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// It is larger than the caller allows.
    #[error("the body is over the limit of {limit}")]
    TooLarge {
        /// The limit.
        limit: ByteSize,
    },
    /// It broke off.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// A body without content.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is there.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that `next` makes piece by piece, whenever the client has taken the one before;
/// it ends with `None`.
#[must_use]
pub fn streamed<S, F>(stream: S, next: fn(S) -> F) -> Body
where
    S: Send + 'static,
    F: Future<Output = Option<(Bytes, S)>> + Send + 'static,
{
    Streamed {
        making: Some(Box::pin(next(stream))),
        next,
    }
    .boxed_unsync()
}

/// A body that goes on only as long as `may_go_on` says so, which is asked before each piece.
#[must_use]
pub fn while_allowed(body: Body, may_go_on: impl Fn() -> bool + Send + Unpin + 'static) -> Body {
    Allowed { body, may_go_on }.boxed_unsync()
}

/// The whole body, if it is not over `limit`.
///
/// # Errors
/// [`CollectError`]: the client's fault in every case.
pub async fn collect(mut body: Body, limit: ByteSize) -> Result<Bytes, CollectError> {
    let max = usize::try_from(limit.as_bytes()).unwrap_or(usize::MAX);
    // Most come in one piece, which is then not copied.
    let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else {
            break;
        };
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        let before = first.len().max(whole.len());
        if before.saturating_add(data.len()) > max {
            return Err(CollectError::TooLarge { limit });
        }
        if before == 0 {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&data);
    }
    if whole.is_empty() {
        return Ok(first);
    }
    Ok(whole.freeze())
}

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A span that begins when somebody has to wait and ends when he need not.
pub(super) struct Patience {
    env: Env,
    span: Duration,
    waiting: Option<Waiting>,
}

impl Patience {
    pub(super) const fn new(env: Env, span: Duration) -> Self {
        Self {
            env,
            span,
            waiting: None,
        }
    }

    pub(super) const fn span(&self) -> Duration {
        self.span
    }

    pub(super) fn rest(&mut self) {
        self.waiting = None;
    }

    /// Ready when the wait has lasted for the span.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (env, span) = (&self.env, self.span);
        let waiting = self.waiting.get_or_insert_with(|| {
            let env = env.clone();
            Box::pin(async move { env.sleep(span).await })
        });
        waiting.as_mut().poll(cx)
    }
}

/// What a client sends, as far as it may.
pub(super) struct Received {
    incoming: Incoming,
    left: u64,
    limit: ByteSize,
    patience: Patience,
}

impl Received {
    pub(super) const fn new(incoming: Incoming, limit: ByteSize, patience: Patience) -> Self {
        Self {
            incoming,
            left: limit.as_bytes(),
            limit,
            patience,
        }
    }

    fn admit(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let left = self
            .left
            .checked_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.left = left.ok_or(BodyError::TooLarge { limit: self.limit })?;
        Ok(frame)
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.patience.poll_over(cx));
            let seconds = self.patience.span().as_secs();
            return Poll::Ready(Some(Err(BodyError::Stalled { seconds })));
        };
        self.patience.rest();
        let frame = frame.map(|frame| frame.map_err(BodyError::Broken));
        Poll::Ready(frame.map(|frame| frame.and_then(|frame| self.admit(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

struct Allowed<F> {
    body: Body,
    may_go_on: F,
}

impl<F: Fn() -> bool + Unpin> HttpBody for Allowed<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.filter(|_| (self.may_go_on)()))
    }
}

type Making<S> = Pin<Box<dyn Future<Output = Option<(Bytes, S)>> + Send>>;

struct Streamed<S, F> {
    making: Option<Making<S>>,
    next: fn(S) -> F,
}

impl<S, F> HttpBody for Streamed<S, F>
where
    S: Send + 'static,
    F: Future<Output = Option<(Bytes, S)>> + Send + 'static,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(making) = self.making.as_mut() else {
            return Poll::Ready(None);
        };
        let made = ready!(making.as_mut().poll(cx));
        let next = self.next;
        let (piece, making) = match made {
            Some((piece, stream)) => {
                let making: Making<S> = Box::pin(next(stream));
                (Some(Ok(Frame::data(piece))), Some(making))
            }
            None => (None, None),
        };
        self.making = making;
        Poll::Ready(piece)
    }
}
