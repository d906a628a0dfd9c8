//! The calls that are made: small and of some KiB, over HTTP/1 and gRPC, safe and not.

use std::{error::Error, time::Duration};

use bytes::{Buf, BufMut, Bytes};
use http::{Method, Request, Response, StatusCode, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use portolan_client::{Discovery, GrpcChannel, HttpClient, Safety};
use tonic::{
    Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tower::Service;

/// How long one instance may take.
const TRY: Duration = Duration::from_secs(2);
/// How much is sent, and comes back, in bytes.
const MESSAGE: [u8; 8 << 10] = [b'm'; 8 << 10];

pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// What is called, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Get,
    Put,
    GrpcSafe,
    Post,
    GrpcOnce,
}

#[derive(Clone, Debug)]
pub(crate) struct Callers {
    http: HttpClient<Full<Bytes>>,
    grpc: GrpcChannel,
}

/// Messages that are bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Plain;

impl Kind {
    /// Whether it may be carried out twice.
    pub(crate) const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Put | Self::GrpcSafe)
    }
}

impl Callers {
    pub(crate) fn new(discovery: &Discovery) -> Result<Self, AnyError> {
        let orders = discovery.service("orders")?;
        Ok(Self {
            http: orders.http_client().each_within(TRY),
            grpc: orders.grpc_channel().each_within(TRY),
        })
    }

    /// Makes a call; gives who answered.
    pub(crate) async fn call(&mut self, kind: Kind) -> Result<String, AnyError> {
        match kind {
            Kind::Get => self.http(Method::GET, &[]).await,
            Kind::Put => self.http(Method::PUT, &MESSAGE).await,
            Kind::Post => self.http(Method::POST, &MESSAGE).await,
            Kind::GrpcSafe => self.grpc(Safety::Idempotent).await,
            Kind::GrpcOnce => self.grpc(Safety::Once).await,
        }
    }

    async fn http(&mut self, method: Method, body: &'static [u8]) -> Result<String, AnyError> {
        let request = Request::builder().method(method).uri("http://orders/");
        let request = request.body(Full::new(Bytes::from_static(body)))?;
        let answer = self.http.call(request).await?;
        let status = answer.status();
        let name = served_by(&answer);
        let text = collected(answer).await?;
        if status != StatusCode::OK || text.len() != name.len() + 1 + body.len() {
            return Err(format!("{status} with {} bytes", text.len()).into());
        }
        Ok(name)
    }

    async fn grpc(&mut self, safety: Safety) -> Result<String, AnyError> {
        let mut client = Grpc::new(&mut self.grpc);
        client.ready().await?;
        let mut request = tonic::Request::new(Bytes::from_static(&MESSAGE));
        request.extensions_mut().insert(safety);
        let path = PathAndQuery::from_static("/shop.Orders/Echo");
        let answer = client.unary(request, path, Plain).await?;
        let name = answer.metadata().get("served-by");
        let name = name.and_then(|name| name.to_str().ok()).unwrap_or_default();
        if answer.get_ref().len() != MESSAGE.len() {
            return Err(format!("{} bytes", answer.get_ref().len()).into());
        }
        Ok(name.to_owned())
    }
}

fn served_by<B>(answer: &Response<B>) -> String {
    let name = answer.headers().get("served-by");
    let name = name.and_then(|name| name.to_str().ok());
    name.unwrap_or_default().to_owned()
}

/// The whole body. What has begun is not tried again by the client: it can't take back what
/// it has handed on.
async fn collected<B>(answer: Response<B>) -> Result<Bytes, AnyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<AnyError>,
{
    let collected = answer.into_body().collect().await;
    Ok(collected.map_err(Into::into)?.to_bytes())
}

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
