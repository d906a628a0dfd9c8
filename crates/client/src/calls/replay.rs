//! A body that can be sent again as long as little of it was sent.
//!
//! What passes is kept, up to [`KEPT_MAX`]; a new try reads that first and goes on with the
//! rest. One that is larger can be sent once. Nothing is copied: pieces are counted
//! references.
//!
//! Invariant: only the latest try reads. A connection may hold on to the body of a try that
//! was given up, and gets an error. A body that has ended is never read again, and one that
//! broke off does so in every try: what was sent of it must not pass for the whole.
//! Source: the replay body of linkerd2-proxy.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use super::AnyError;

/// Most bytes of a body that are kept to be sent again.
const KEPT_MAX: usize = 64 << 10;

/// The body of a request that may be tried again.
pub struct Replay<B> {
    tape: Arc<Mutex<Tape<B>>>,
    /// Which try it is, from 1.
    number: u64,
    /// Pieces that this try has sent.
    sent: usize,
}

/// The body belongs to a later try.
#[derive(Debug, thiserror::Error)]
#[error("the call was given up and is tried elsewhere")]
struct GivenUp;

/// The body itself could not be read: whoever made the request knows why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the body of the request broke off")]
struct BrokeOff(#[source] Arc<dyn Error + Send + Sync>);

/// How a body ended.
#[derive(Clone)]
enum End {
    Whole,
    BrokeOff(BrokeOff),
}

/// What all tries of a call share.
struct Tape<B> {
    rest: Pin<Box<B>>,
    /// How it ended, if it has.
    end: Option<End>,
    pieces: Vec<Piece>,
    kept_bytes: usize,
    /// Tries that were begun.
    tries: u64,
    /// Whether it can't be sent again.
    is_cut: bool,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl<B: Body<Data = Bytes>> Replay<B> {
    pub(super) fn new(body: B) -> Self {
        let tape = Tape {
            rest: Box::pin(body),
            end: None,
            pieces: Vec::new(),
            kept_bytes: 0,
            tries: 0,
            is_cut: false,
        };
        Self {
            tape: Arc::new(Mutex::new(tape)),
            number: 0,
            sent: 0,
        }
    }

    /// The body from its beginning, for another try; `None` if too much of it was sent.
    pub(super) fn again(&self) -> Option<Self> {
        let mut tape = self.tape();
        if tape.is_cut {
            return None;
        }
        tape.tries += 1;
        Some(Self {
            tape: Arc::clone(&self.tape),
            number: tape.tries,
            sent: 0,
        })
    }

    /// Whether it can be sent again.
    pub(super) fn is_whole(&self) -> bool {
        !self.tape().is_cut
    }

    /// Whether it could not be read to its end.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.tape().end, Some(End::BrokeOff(_)))
    }

    fn tape(&self) -> MutexGuard<'_, Tape<B>> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Body for Replay<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<AnyError>,
{
    type Data = Bytes;
    type Error = AnyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnyError>>> {
        let mut tape = self.tape();
        if tape.tries != self.number {
            return Poll::Ready(Some(Err(GivenUp.into())));
        }
        if let Some(piece) = tape.pieces.get(self.sent) {
            let frame = piece.clone().into_frame();
            drop(tape);
            self.sent += 1;
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(end) = &tape.end {
            return Poll::Ready(end.told());
        }
        let frame = match ready!(tape.rest.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let error: AnyError = error.into();
                let end = End::BrokeOff(BrokeOff(error.into()));
                return Poll::Ready(tape.end.insert(end).told());
            }
            None => return Poll::Ready(tape.end.insert(End::Whole).told()),
        };
        let kept = tape.keep(&frame);
        drop(tape);
        if kept {
            self.sent += 1;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        let tape = self.tape();
        let has_ended = match &tape.end {
            Some(End::Whole) => true,
            Some(End::BrokeOff(_)) => false,
            None => tape.rest.is_end_stream(),
        };
        self.sent >= tape.pieces.len() && has_ended
    }

    fn size_hint(&self) -> SizeHint {
        let tape = self.tape();
        let pieces = tape.pieces.get(self.sent..).unwrap_or_default();
        let kept: u64 = pieces.iter().map(Piece::size).sum();
        let rest = match &tape.end {
            Some(End::Whole) => SizeHint::with_exact(0),
            Some(End::BrokeOff(_)) | None => tape.rest.size_hint(),
        };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint.set_lower(rest.lower().saturating_add(kept));
        hint
    }
}

impl<B> Tape<B> {
    /// Keeps a piece, or nothing at all any more if it is one too many.
    fn keep(&mut self, frame: &Frame<Bytes>) -> bool {
        let piece = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Piece::Data(data.clone()),
            (None, Some(trailers)) => Piece::Trailers(trailers.clone()),
            (None, None) => return false,
        };
        let size = piece.size();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.kept_bytes = self.kept_bytes.saturating_add(size);
        if self.is_cut || self.kept_bytes > KEPT_MAX {
            self.is_cut = true;
            self.pieces.clear();
            return false;
        }
        self.pieces.push(piece);
        true
    }
}

impl End {
    /// What whoever reads on is told.
    fn told<T>(&self) -> Option<Result<T, AnyError>> {
        match self {
            Self::Whole => None,
            Self::BrokeOff(error) => Some(Err(error.clone().into())),
        }
    }
}

impl Piece {
    fn size(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Trailers(_) => 0,
        }
    }

    fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(trailers),
        }
    }
}

impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replay({} pieces sent)", self.sent)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use http_body_util::BodyExt;

    use super::*;

    /// A body of pieces of those sizes.
    fn body(sizes: &[usize]) -> Replay<impl Body<Data = Bytes, Error = Infallible>> {
        let pieces: VecDeque<usize> = sizes.iter().copied().collect();
        Replay::new(Pieces(pieces))
    }

    struct Pieces(VecDeque<usize>);

    /// Ends after a piece, well or not, and must not be read on.
    struct Ends {
        polls: usize,
        well: bool,
    }

    impl Body for Ends {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.polls += 1;
            Poll::Ready(match self.polls {
                1 => Some(Ok(Frame::data("piece".into()))),
                2 if self.well => None,
                2 => Some(Err("the file is gone")),
                _ => panic!("it was read on"),
            })
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let size = self.0.pop_front();
            Poll::Ready(size.map(|size| Ok(Frame::data(vec![7; size].into()))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.iter().sum::<usize>() as u64)
        }
    }

    async fn sent<B: Body<Data = Bytes, Error = Infallible>>(body: Replay<B>) -> usize {
        body.collect().await.unwrap().to_bytes().len()
    }

    #[tokio::test]
    async fn what_was_sent_is_sent_again_and_the_rest_after_it() {
        let original = body(&[10, 20, 30]);
        let mut first = original.again().unwrap();
        first.frame().await.unwrap().unwrap();
        assert_eq!(first.size_hint().exact(), Some(50));
        drop(first);
        let second = original.again().unwrap();
        assert_eq!(second.size_hint().exact(), Some(60));
        assert!(!second.is_end_stream());
        assert_eq!(sent(second).await, 60);
        assert_eq!(sent(original.again().unwrap()).await, 60);
    }

    #[tokio::test]
    async fn a_try_that_was_given_up_reads_no_more() {
        let original = body(&[10, 20]);
        let mut first = original.again().unwrap();
        first.frame().await.unwrap().unwrap();
        let second = original.again().unwrap();
        assert!(first.frame().await.unwrap().is_err());
        assert_eq!(sent(second).await, 30);
    }

    #[tokio::test]
    async fn a_body_that_broke_off_does_so_in_every_try() {
        let original = Replay::new(Ends {
            polls: 0,
            well: false,
        });
        for _ in 0..3 {
            let mut body = original.again().unwrap();
            assert_eq!(
                body.frame().await.unwrap().unwrap().into_data().unwrap(),
                "piece"
            );
            for _ in 0..2 {
                let told = body.frame().await.unwrap().unwrap_err();
                assert_eq!(told.source().unwrap().to_string(), "the file is gone");
            }
            assert!(!body.is_end_stream());
        }
        assert!(original.is_broken());
    }

    #[tokio::test]
    async fn a_body_that_has_ended_is_not_read_on() {
        let original = Replay::new(Ends {
            polls: 0,
            well: true,
        });
        for _ in 0..3 {
            let body = original.again().unwrap();
            assert_eq!(body.collect().await.unwrap().to_bytes(), "piece");
        }
        let mut again = original.again().unwrap();
        assert_eq!(again.size_hint().exact(), Some(5));
        assert!(!again.is_end_stream());
        again.frame().await.unwrap().unwrap();
        assert!(again.is_end_stream());
        assert!(!original.is_broken());
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_sent_once() {
        for (sizes, again) in [([KEPT_MAX - 1, 1], true), ([KEPT_MAX, 1], false)] {
            let original = body(&sizes);
            assert_eq!(sent(original.again().unwrap()).await, sizes[0] + sizes[1]);
            assert_eq!(original.again().is_some(), again, "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn an_empty_body_has_ended() {
        assert!(body(&[]).is_end_stream());
    }
}
