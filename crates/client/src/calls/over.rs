//! Calls over any client that is a tower service, and over hyper-util's.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    Request, Response, Uri,
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::body::Body;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::{AnyError, Blame, CallError, Counted, Replay, Target, blame, report, safety};
use crate::{Discovery, Env, Picked, Safety, Service};

/// How long a connection to an instance may take; half of a try's time if that is less, so
/// that a try that runs out of time is sure to have had a connection, or never had one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection that is not used is kept.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a try may take to the head of its answer if the caller does not say.
const EACH_WITHIN: Duration = Duration::from_secs(30);
/// How long a server with calls may be silent before it is pinged, and how long it may take
/// to answer at most. By default those of gRPC hang up on whoever pings them more often than every
/// 5 minutes: `GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS`.
const PING_AFTER: Duration = Duration::from_secs(5 * 60 + 5);
#[cfg(feature = "tonic")]
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// A connection whose other end is gone without a word is given up after so long.
#[cfg(target_os = "linux")]
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// When the other end of a quiet connection is asked whether it is there, and how often.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// A tower service that sends each request to an instance, by a client that takes URLs.
///
/// Cloning is cheap if cloning the client is. [`Calls::each_within`] limits each try; put a
/// limit of the whole call around it (`tower::timeout`).
#[derive(Clone, Debug)]
pub struct Calls<S> {
    target: Target,
    inner: S,
    /// How the client is made, if it is our own. That speaks in the clear.
    own: Option<Own<S>>,
    /// How long a try may take to the head of its answer.
    each_within: Option<Duration>,
}

/// How clients of our own are made.
#[derive(Clone, Copy, Debug)]
struct Own<S> {
    make: fn(Line) -> S,
    line: Line,
}

/// What their connections are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// How long one may take to be made.
    pub(super) connect_within: Duration,
    /// How long a server may be silent while it has calls before it is pinged, if what is
    /// spoken has pings.
    pub(super) ping_after: Duration,
}

/// There was no answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TimedOut {
    /// In that of a try.
    #[error("no answer within {} ms", .0.as_millis())]
    Try(Duration),
    /// In that of the whole call.
    #[error("no answer within the {} ms that the call has", .0.as_millis())]
    Call(Duration),
}

/// The time of a call to the head of its answer, all tries together.
#[derive(Clone, Copy)]
struct Span {
    began: Instant,
    within: Duration,
}

impl<S> Calls<S> {
    /// How long each try may take to the head of its answer: 30 s by default for
    /// [`Discovery::http_client`], and as long as it takes for other clients. One that takes
    /// longer has failed, so that an instance that hangs costs this much. Connecting may take
    /// half of it, a second at most, for the connections of our own clients; those are begun
    /// anew.
    #[must_use]
    pub fn each_within(self, within: Duration) -> Self {
        let each_within = Some(within);
        let connect_within = CONNECT_TIMEOUT.min(within / 2);
        let lines = self.lines(|line| line.connect_within = connect_within);
        Self {
            each_within,
            ..lines
        }
    }

    /// Pings servers that were silent for so long.
    #[cfg(feature = "tonic")]
    pub(super) fn ping_after(self, silence: Duration) -> Self {
        self.lines(|line| line.ping_after = silence)
    }

    /// Over other connections, if they are our own.
    fn lines(mut self, change: impl FnOnce(&mut Line)) -> Self {
        if let Some(own) = &mut self.own {
            change(&mut own.line);
            self.inner = (own.make)(own.line);
        }
        self
    }

    const fn new(target: Target, inner: S) -> Self {
        Self {
            target,
            inner,
            own: None,
            each_within: None,
        }
    }

    /// Over connections of its own.
    pub(super) fn own(target: Target, make: fn(Line) -> S) -> Self {
        let line = Line {
            connect_within: CONNECT_TIMEOUT,
            ping_after: PING_AFTER,
        };
        let calls = Self {
            target,
            inner: make(line),
            own: Some(Own { make, line }),
            each_within: None,
        };
        calls.each_within(EACH_WITHIN)
    }

    #[cfg(test)]
    pub(super) const fn inner(&self) -> &S {
        &self.inner
    }

    /// Refuses what no instance could be sent.
    fn check(&self, uri: &Uri) -> Result<(), CallError> {
        let is_secure = uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP);
        if self.own.is_some() && is_secure {
            let reason = "this client speaks in the clear: the URL has to begin with http://";
            return Err(CallError::Request(reason.into()));
        }
        Ok(())
    }
}

/// Calls in the clear over connections that hyper-util's client keeps, HTTP/1.1 with up to a
/// second to connect and up to 30 s to the head of an answer.
pub type HttpClient<B> = Calls<Client<HttpConnector, Replay<B>>>;

impl Discovery {
    /// Calls services over `inner`: the host of a URL is the name of a service. `inner` gets
    /// URLs with the address of an instance in its place, and has to verify certificates
    /// accordingly if it speaks TLS.
    pub fn over<S>(&self, inner: S) -> Calls<S> {
        Calls::new(Target::Host(self.clone()), inner)
    }

    /// As [`Self::over`], over connections of its own.
    #[must_use]
    pub fn http_client<B>(&self) -> HttpClient<B>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let target = Target::Host(self.clone());
        Calls::own(target, |line| client(Version::Http1, line))
    }
}

impl Service {
    /// Calls this service over `inner`, whatever the host of a URL, if it has one. See
    /// [`Discovery::over`].
    pub fn over<S>(&self, inner: S) -> Calls<S> {
        Calls::new(Target::Service(self.clone()), inner)
    }

    /// As [`Self::over`], over connections of its own.
    #[must_use]
    pub fn http_client<B>(&self) -> HttpClient<B>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let target = Target::Service(self.clone());
        Calls::own(target, |line| client(Version::Http1, line))
    }
}

/// What is spoken on a connection.
#[derive(Clone, Copy)]
pub(super) enum Version {
    Http1,
    #[cfg(feature = "tonic")]
    Http2,
}

pub(super) fn client<B>(version: Version, line: Line) -> Client<HttpConnector, Replay<B>>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<AnyError>,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(line.connect_within));
    // Calls that share a connection would all hang with it, for minutes, when a machine or the
    // way to it is gone. A program that is frozen still answers these: that takes pings.
    connector.set_keepalive(Some(PROBE_INTERVAL));
    connector.set_keepalive_interval(Some(PROBE_INTERVAL));
    connector.set_keepalive_retries(Some(2));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(SILENCE_MAX));
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT);
    match version {
        Version::Http1 => {}
        #[cfg(feature = "tonic")]
        Version::Http2 => {
            builder
                .http2_only(true)
                .http2_keep_alive_interval(line.ping_after)
                .http2_keep_alive_timeout(PONG_WITHIN.min(line.ping_after));
        }
    }
    builder.build(connector)
}

impl<S, B, R> tower::Service<Request<B>> for Calls<S>
where
    S: tower::Service<Request<Replay<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<AnyError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<AnyError>,
    R: Body + Send + 'static,
{
    type Response = Response<Counted<R>>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, CallError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        // The client is asked once it is known which instance is to be called.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(call(self.clone(), request, None))
    }
}

/// One call, with so much time to the head of its answer, if that is limited.
pub(super) async fn call<S, B, R>(
    calls: Calls<S>,
    request: Request<B>,
    within: Option<Duration>,
) -> Result<Response<Counted<R>>, CallError>
where
    S: tower::Service<Request<Replay<B>>, Response = Response<R>> + Clone,
    S::Error: Into<AnyError>,
    B: Body<Data = Bytes>,
    R: Body,
{
    let (parts, body) = request.into_parts();
    calls.check(&parts.uri)?;
    let safety = safety(&parts.method, parts.extensions.get::<Safety>());
    let mut course = calls.target.course(parts.uri.host(), safety)?;
    let env = course.env().clone();
    let began = |within| Span {
        began: env.instant(),
        within,
    };
    let span = within.map(began);
    let original = Replay::new(body);
    let mut failed = None;
    loop {
        let left = span.map(|span| span.left(&env));
        let picked = match limited(&env, left, course.pick(failed.take())).await {
            Ok(picked) => picked?,
            Err(late) => return Err(course.failed(late.into())),
        };
        // It is there: nothing was sent yet, or little.
        let Some(body) = original.again() else {
            picked.withdraw();
            return Err(course.failed("the body can't be sent again".into()));
        };
        let request = Request::from_parts(aimed(&parts, &picked), body);
        let each = calls.each_within.map(|each| (each, TimedOut::Try(each)));
        let left = span.map(|span| span.left(&env));
        let limit = each.into_iter().chain(left).min_by_key(|(time, _)| *time);
        let error = match once(calls.inner.clone(), request, limit, &env).await {
            Ok(answer) => {
                report(&picked, answer.status(), answer.headers());
                return Ok(answer.map(|body| Counted::new(body, picked)));
            }
            Err(error) => error,
        };
        if let Some(TimedOut::Call(time)) = error.downcast_ref() {
            picked.ran_out(*time);
            return Err(course.failed(error));
        }
        let blame = if original.is_broken() {
            Blame::Caller
        } else {
            blame(&*error)
        };
        if !course.goes_on(picked, blame) || !original.is_whole() {
            return Err(course.failed(error));
        }
        failed = Some(error);
    }
}

impl Span {
    /// What is left of it, and what it is called when that is over.
    fn left(&self, env: &Env) -> (Duration, TimedOut) {
        let since = env.instant().saturating_duration_since(self.began);
        (
            self.within.saturating_sub(since),
            TimedOut::Call(self.within),
        )
    }
}

/// Waits for something, for so long at most.
async fn limited<F: Future>(
    env: &Env,
    limit: Option<(Duration, TimedOut)>,
    future: F,
) -> Result<F::Output, TimedOut> {
    match limit {
        None => Ok(future.await),
        Some((time, late)) => env.timeout(time, future).await.map_err(|_elapsed| late),
    }
}

/// One try, within that time if there is one.
async fn once<S, Q>(
    mut inner: S,
    request: Q,
    limit: Option<(Duration, TimedOut)>,
    env: &Env,
) -> Result<S::Response, AnyError>
where
    S: tower::Service<Q>,
    S::Error: Into<AnyError>,
{
    let answer = async {
        poll_fn(|cx| inner.poll_ready(cx)).await?;
        inner.call(request).await
    };
    limited(env, limit, answer).await?.map_err(Into::into)
}

/// The head of a request to that instance.
fn aimed(parts: &Parts, picked: &Picked) -> Parts {
    let mut parts = parts.clone();
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(uri.scheme.unwrap_or(Scheme::HTTP));
    uri.authority = Authority::try_from(picked.address().to_string()).ok();
    let root = || PathAndQuery::from_static("/");
    uri.path_and_query = Some(uri.path_and_query.unwrap_or_else(root));
    // An address is an authority, so that all three parts are there.
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
    parts
}
