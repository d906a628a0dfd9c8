//! A server of HTTP/1 and HTTP/2 that answers with its name and what it was sent; calls of gRPC
//! with their own message.

use std::{convert::Infallible, io, pin::pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::net::TcpListener;

/// Serves until `end`, and then until the calls that it has have ended.
pub(crate) async fn serve<T>(
    listener: TcpListener,
    name: String,
    takes: Duration,
    end: impl Future<Output = T>,
) -> io::Result<T> {
    let graceful = GracefulShutdown::new();
    let mut end = pin!(end);
    let ended = loop {
        let (socket, _) = tokio::select! {
            ended = &mut end => break ended,
            accepted = listener.accept() => accepted?,
        };
        let name = name.clone();
        let service = service_fn(move |request| answer(request, name.clone(), takes));
        let builder = auto::Builder::new(TokioExecutor::new());
        let connection = builder.serve_connection(TokioIo::new(socket), service);
        // A client that hangs up is none of its business.
        tokio::spawn(graceful.watch(connection.into_owned()));
    };
    drop(listener);
    graceful.shutdown().await;
    Ok(ended)
}

async fn answer(
    request: Request<Incoming>,
    name: String,
    takes: Duration,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    let is_grpc = kind.as_ref().is_some_and(|kind| kind == "application/grpc");
    let sent = request.into_body().collect().await?.to_bytes();
    tokio::time::sleep(takes).await;

    let mut answer = Response::builder().header("served-by", &name);
    let body = if is_grpc {
        answer = answer.header(CONTENT_TYPE, "application/grpc");
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        let trailers = async { Some(Ok(trailers)) };
        Full::new(sent).with_trailers(trailers).boxed()
    } else {
        Full::new([name.as_bytes(), b"\n", &sent].concat().into()).boxed()
    };
    Ok(answer.body(body).unwrap_or_default())
}
