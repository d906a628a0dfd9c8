//! One connection of a control listener.

use std::{
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use portolan_runtime::{Env, drain::DrainWatch};
use smallvec::SmallVec;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
};
use tokio_rustls::server::TlsStream;

use super::{
    Body, CertifiedNames, Handler, Never, Peer, Request, Response, Settings,
    alarm::Alarm,
    body::{Patience, Received, empty},
    greeting::{PREFACE, greeting},
    guard, problem,
    requests::Requests,
};
use crate::{
    io::Stream,
    tls::{ServerTls, names_of},
};

/// The smallest head buffer that hyper takes.
const HEAD_BYTES_MIN: usize = 8192;
/// Who connected just before a drain began may ask within this time: the request is on its
/// way, and nobody could know.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// A head and a body of so many bytes leave as one piece: a copy costs less than the system needs
/// to read a list of pieces.
const COPIED_MAX: usize = 2 << 10;
/// Requests of one HTTP/2 connection at a time, watches among them: each may hold a body. RFC
/// 9113, section 6.5.2, recommends no fewer than 100, so clients begin with no more than that.
/// The next ones wait at the client; one that does not is told to ask again (`REFUSED_STREAM`).
pub(super) const REQUESTS_AT_ONCE: u32 = 128;

pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) settings: Arc<Settings>,
    pub(super) env: Env,
}

impl Connection {
    /// Serves until the client is done, takes too long or, in a drain, has its answer.
    pub(super) async fn serve(self: &Arc<Self>, stream: TcpStream, drain: DrainWatch) {
        let _hold = drain.hold();
        if stream.set_nodelay(true).is_err() {
            // The client is gone already.
            return;
        }
        match &self.settings.tls {
            None => self.speak(Stream::Plain(stream), drain, None).await,
            Some(tls) => {
                if let Some((stream, names)) = self.shake_hands(tls, stream).await {
                    self.speak(Stream::Server(Box::new(stream)), drain, names)
                        .await;
                }
            }
        }
    }

    /// Shakes hands; none if that fails or takes too long.
    async fn shake_hands(
        &self,
        tls: &ServerTls,
        stream: TcpStream,
    ) -> Option<(TlsStream<TcpStream>, Option<CertifiedNames>)> {
        let within = self.settings.limits.head_timeout;
        match self.env.timeout(within, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let leaf = certificates.and_then(<[_]>::first);
                let names = leaf.map(|leaf| CertifiedNames(names_of(leaf).into()));
                Some((stream, names))
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer.address, %error, "control connection: no handshake");
                None
            }
            Err(_) => None,
        }
    }

    async fn speak(
        self: &Arc<Self>,
        mut stream: Stream,
        mut drain: DrainWatch,
        names: Option<CertifiedNames>,
    ) {
        let limits = &self.settings.limits;
        let greeted = self.env.timeout(limits.head_timeout, greeting(&mut stream));
        let greeted = tokio::select! {
            greeted = greeted => greeted,
            () = self.over_for_strangers(&mut drain) => return,
        };
        let Ok(Ok(unread)) = greeted else { return };
        let is_http2 = unread == PREFACE;
        let patient = TokioIo::new(Patient {
            unread: unread.into(),
            stream,
            patience: Patience::new(self.env.clone(), limits.stall_timeout),
        });
        let served = if is_http2 {
            self.serve_http2(patient, drain, names).await
        } else {
            self.serve_http1(patient, drain, names).await
        };
        if let Err(error) = served {
            tracing::debug!(peer = %self.peer.address, %error, "control connection broke off");
        }
    }

    async fn serve_http1(
        &self,
        stream: TokioIo<Patient>,
        mut drain: DrainWatch,
        names: Option<CertifiedNames>,
    ) -> hyper::Result<()> {
        let limits = &self.settings.limits;
        let asked = Notify::new();
        let service = service_fn(|request| {
            asked.notify_one();
            async { Ok::<_, Never>(self.answer(request, names.as_ref()).await) }
        });
        let over = async {
            drain.draining().await;
            // Whoever has asked once knows that connections end.
            let _silent = self.env.timeout(FIRST_REQUEST, asked.notified()).await;
        };
        let mut connection = pin!(
            http1::Builder::new()
                .timer(Alarm::new(&self.env))
                .header_read_timeout(limits.head_timeout)
                .max_headers(limits.headers)
                .max_buf_size(limits.head_bytes().max(HEAD_BYTES_MIN))
                .serve_connection(stream, service)
        );
        tokio::select! {
            served = connection.as_mut() => served,
            () = over => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    }

    /// Resolves when a drain is over for those who have not asked for anything yet.
    async fn over_for_strangers(&self, drain: &mut DrainWatch) {
        drain.draining().await;
        self.env.sleep(FIRST_REQUEST).await;
    }

    /// Many requests at a time; without any for too long the connection is closed.
    async fn serve_http2(
        self: &Arc<Self>,
        stream: TokioIo<Patient>,
        mut drain: DrainWatch,
        names: Option<CertifiedNames>,
    ) -> hyper::Result<()> {
        let limits = &self.settings.limits;
        let requests = Requests::new(&self.env);
        let mut busy = requests.busy();
        let head = u32::try_from(limits.head_bytes()).unwrap_or(u32::MAX);
        let answerer = Arc::clone(self);
        let service = service_fn(move |request| {
            let (answerer, names) = (Arc::clone(&answerer), names.clone());
            async move { Ok::<_, Never>(answerer.answer(request, names.as_ref()).await) }
        });
        let mut connection = pin!(
            http2::Builder::new(requests)
                .timer(TokioTimer::new())
                .max_concurrent_streams(REQUESTS_AT_ONCE)
                .max_header_list_size(head)
                .keep_alive_interval(limits.head_timeout)
                .keep_alive_timeout(limits.stall_timeout)
                .serve_connection(stream, service)
        );
        tokio::select! {
            served = connection.as_mut() => return served,
            () = drain.draining() => {}
            () = busy.idle_for(&self.env, limits.head_timeout) => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    }

    async fn answer(
        &self,
        request: http::Request<Incoming>,
        names: Option<&CertifiedNames>,
    ) -> Response {
        let hosts = &self.settings.hosts;
        let checked = guard::check(hosts, request.version(), request.uri(), request.headers());
        let response = match checked {
            Ok(()) => {
                let mut request: Request = request.map(|body| self.received(body));
                request.extensions_mut().insert(self.peer);
                if let Some(names) = names {
                    request.extensions_mut().insert(names.clone());
                }
                self.handle(request).await
            }
            Err(refusal) => *refusal,
        };
        harden(response)
    }

    /// A body as far as it may come. Most requests have none, and need no patience with it.
    fn received(&self, body: Incoming) -> Body {
        if body.is_end_stream() {
            return empty();
        }
        let limits = &self.settings.limits;
        let patience = Patience::new(self.env.clone(), limits.stall_timeout);
        Received::new(body, limits.body, patience).boxed_unsync()
    }

    async fn handle(&self, request: Request) -> Response {
        let Ok(mut answering) = catch_unwind(AssertUnwindSafe(|| self.handler.handle(request)))
        else {
            return panicked();
        };
        poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx)));
            polled.unwrap_or_else(|_| Poll::Ready(panicked()))
        })
        .await
    }
}

fn panicked() -> Response {
    tracing::error!("handler of a control listener panicked");
    let detail = "a defect of Portolan; its log has the details";
    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

/// Answers are never guessed at and, unless they say so, never kept.
fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A socket that fails when the peer does not take what is written for too long.
struct Patient {
    /// What was read of it already.
    unread: Bytes,
    stream: Stream,
    patience: Patience,
}

impl Patient {
    fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.patience.rest();
            return written;
        }
        ready!(self.patience.poll_over(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let bytes = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(bytes));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bound(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        if bytes <= COPIED_MAX {
            let mut whole = SmallVec::<[u8; COPIED_MAX]>::new();
            for piece in pieces {
                whole.extend_from_slice(piece);
            }
            return self.poll_write(cx, &whole);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
