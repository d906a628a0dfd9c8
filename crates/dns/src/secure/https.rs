//! Queries over HTTPS, on a listener that has other things to say as well.
//!
//! Source: RFC 8484.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use portolan_forwarder::lifetime;
use portolan_model::ByteSize;
use portolan_wire::serve::{
    Answering, CollectError, Handler, Peer as Socket, Query, Request, Response, collect, full,
    problem,
};

use crate::{Answerer, Peer, Transport};

/// Where queries are answered.
pub const PATH: &str = "/dns-query";
/// The media type of messages.
const MESSAGE: &str = "application/dns-message";
/// The largest message.
const MESSAGE_MAX: ByteSize = ByteSize::from_bytes(65_535);

/// Answers queries at [`PATH`]; everything else is another handler's.
pub struct Https {
    answerer: Answerer,
    others: Arc<dyn Handler>,
    is_on: Arc<AtomicBool>,
}

impl Https {
    /// Answers while it is switched on.
    #[must_use]
    pub fn new(answerer: Answerer, others: Arc<dyn Handler>, is_on: Arc<AtomicBool>) -> Self {
        Self {
            answerer,
            others,
            is_on,
        }
    }
}

impl Handler for Https {
    fn handle(&self, request: Request) -> Answering {
        if request.uri().path() != PATH || !self.is_on.load(Ordering::Relaxed) {
            return self.others.handle(request);
        }
        let answerer = self.answerer.clone();
        Box::pin(async move {
            answer(&answerer, request)
                .await
                .unwrap_or_else(|refusal| refusal)
        })
    }
}

async fn answer(answerer: &Answerer, request: Request) -> Result<Response, Response> {
    let socket = request.extensions().get::<Socket>();
    let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let peer = Peer {
        address: socket.map_or_else(|| SocketAddr::new(nobody, 0), |socket| socket.address),
        transport: Transport::Stream,
    };
    let local = socket.and_then(|socket| socket.local);
    let local = local.map_or(nobody, |local| local.ip().to_canonical());
    let query = query_of(request).await?;
    let answer = answerer.answer(query.clone(), peer, local).await;
    let answer = answer.ok_or_else(|| refusal(StatusCode::BAD_REQUEST, "this is no DNS query"))?;
    let ttl = lifetime(&query, &answer).unwrap_or_default();
    let mut response = Response::new(full(answer));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MESSAGE));
    // It may be kept as long as its records (RFC 8484, section 5.1).
    if let Ok(value) = HeaderValue::from_str(&format!("max-age={ttl}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    Ok(response)
}

/// The message in a request.
async fn query_of(request: Request) -> Result<Bytes, Response> {
    let method = request.method().clone();
    if method == Method::GET {
        let text = request.uri().query().unwrap_or_default();
        let pairs = Query::parse(text).ok();
        let found = pairs.as_ref().and_then(|pairs| pairs.find("dns"));
        let query = found.and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok());
        let detail = "`dns` must hold a query in base64url without padding";
        return query
            .map(Bytes::from)
            .ok_or_else(|| refusal(StatusCode::BAD_REQUEST, detail));
    }
    if method != Method::POST {
        let mut refused = refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            "queries come by GET or POST",
        );
        let allowed = HeaderValue::from_static("GET, POST");
        refused.headers_mut().insert(ALLOW, allowed);
        return Err(refused);
    }
    if !is_message(request.headers()) {
        let detail = "the body must be application/dns-message";
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    collect(request.into_body(), MESSAGE_MAX)
        .await
        .map_err(|error| match error {
            CollectError::TooLarge { .. } => refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                "a message has at most 65,535 bytes",
            ),
            CollectError::Body(_) => {
                refusal(StatusCode::BAD_REQUEST, "the body did not come whole")
            }
        })
}

fn is_message(headers: &HeaderMap) -> bool {
    let told = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    told.is_some_and(|told| {
        let kind = told.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case(MESSAGE)
    })
}

fn refusal(status: StatusCode, detail: &str) -> Response {
    problem(status, "query_malformed", detail)
}
