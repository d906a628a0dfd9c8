//! One probe of the program from here: a connection, a GET, or a call of gRPC's health service.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, client};
use http::{Method, Request, Response, StatusCode, header};
use portolan_runtime::Env;
use portolan_wire::call::{Call, CallError, Line, Url};
use tokio::net::TcpStream;

use super::arguments::CheckArgument;

/// The method of gRPC's health service.
/// Source: grpc/doc/health-checking.md, `grpc.health.v1`.
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// The longest answer of a health service; it has one number.
const GRPC_BYTES_MAX: usize = 4096;
/// Bytes before a message of gRPC: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The tag of the only field of question and answer: number 1, a text there, a number here.
const TEXT_FIELD: u8 = 0x0a;
const STATUS_FIELD: u8 = 0x08;
/// What the health service says of those who serve.
const SERVING: u8 = 1;

/// Well, or why not, in words for people.
type Outcome = Result<(), Arc<str>>;

/// Probes once, `within` in all.
pub(super) async fn probe(
    env: &Env,
    address: SocketAddr,
    check: &CheckArgument,
    within: Duration,
) -> Outcome {
    let probed = async {
        match check {
            CheckArgument::None => Ok(()),
            CheckArgument::Tcp => connect(address).await.map(|_| ()),
            CheckArgument::Http(path) => http(env, address, path, within).await,
            CheckArgument::Grpc(service) => grpc(env, address, service).await,
        }
    };
    let probed = env.timeout(within, probed).await;
    probed.unwrap_or_else(|_| Err(format!("no answer within {} ms", within.as_millis()).into()))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Arc<str>> {
    let connected = TcpStream::connect(address).await;
    connected.map_err(|error| words(&error))
}

async fn http(env: &Env, address: SocketAddr, path: &str, within: Duration) -> Outcome {
    let url = Url::parse(&format!("http://{address}")).map_err(|error| error.to_string())?;
    let line = Line::open(&url, None, env).await;
    let line = line.map_err(|error| call_words(&error))?;
    match line.status(Call::get(path), within).await {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(format!("status {}", status.as_u16()).into()),
        Err(error) => Err(call_words(&error)),
    }
}

async fn grpc(env: &Env, address: SocketAddr, service: &str) -> Outcome {
    let stream = connect(address).await?;
    let spoken = client::handshake(stream).await;
    let (sender, connection) = spoken.map_err(|error| h2_words(&error))?;
    let _connection = env.spawn("probe by gRPC", async move {
        // Whoever waits for the answer is told by its stream.
        let _broken = connection.await;
    });
    let mut sender = sender.ready().await.map_err(|error| h2_words(&error))?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}{HEALTH_CHECK}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(())
        .map_err(|error| error.to_string())?;
    let sent = sender.send_request(request, false);
    let (answering, mut body) = sent.map_err(|error| h2_words(&error))?;
    let question = question(service);
    let sent = body.send_data(question, true);
    sent.map_err(|error| h2_words(&error))?;
    let response = answering.await.map_err(|error| h2_words(&error))?;
    verdict(response).await
}

/// The message `HealthCheckRequest {service}` with its prefix.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(TEXT_FIELD);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or_default());
        message.put_slice(service.as_bytes());
    }
    let mut whole = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    whole.put_u8(0);
    whole.put_u32(u32::try_from(message.len()).unwrap_or_default());
    whole.put_slice(&message);
    whole.freeze()
}

async fn verdict(response: Response<RecvStream>) -> Outcome {
    let (head, mut body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("status {}", head.status.as_u16()).into());
    }
    let mut whole = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| h2_words(&error))?;
        if whole.len() + data.len() > GRPC_BYTES_MAX {
            return Err("the answer is no health check".into());
        }
        // Room for more; a stream that ended meanwhile needs none.
        let _ended = body.flow_control().release_capacity(data.len());
        whole.put_slice(&data);
    }
    let trailers = body.trailers().await.map_err(|error| h2_words(&error))?;
    let fields = trailers.as_ref().unwrap_or(&head.headers);
    let status = fields
        .get("grpc-status")
        .and_then(|value| value.to_str().ok());
    match status {
        Some("0") => serving(&whole),
        Some("5") => Err("the health service does not know it".into()),
        Some("12") => Err("there is no health service".into()),
        Some(status) => Err(format!("gRPC status {status}").into()),
        None => Err("the answer is not gRPC".into()),
    }
}

/// Whether a message `HealthCheckResponse {status}` with its prefix says `SERVING`.
fn serving(whole: &[u8]) -> Outcome {
    match whole.get(PREFIX_BYTES..) {
        Some([STATUS_FIELD, SERVING, ..]) => Ok(()),
        Some(_) => Err("not serving".into()),
        None => Err("the answer is no health check".into()),
    }
}

fn call_words(error: &CallError) -> Arc<str> {
    match error {
        CallError::Connect { source, .. } | CallError::Socket { source, .. } => words(source),
        CallError::Broken(_) => "the answer broke off, or is not HTTP/1".into(),
        CallError::Http2(error) => h2_words(error),
        CallError::Lookup { .. }
        | CallError::ServerName(_)
        | CallError::NoTls { .. }
        | CallError::Token
        | CallError::Path { .. }
        | CallError::TooLarge { .. }
        | CallError::TimedOut { .. } => error.to_string().into(),
    }
}

fn h2_words(error: &h2::Error) -> Arc<str> {
    match error.get_io() {
        Some(error) => words(error),
        None => "the answer is not HTTP/2".into(),
    }
}

fn words(error: &io::Error) -> Arc<str> {
    // The system's own words have a number in them that says nothing to people.
    error.kind().to_string().into()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::HeaderMap;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const WITHIN: Duration = Duration::from_secs(20);

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn outcome(address: SocketAddr, check: &str) -> Result<(), String> {
        let check = check.parse().unwrap();
        let probed = probe(&Env::system(), address, &check, WITHIN).await;
        probed.map_err(|reason| reason.to_string())
    }

    #[tokio::test]
    async fn a_connection_is_enough_for_tcp() {
        let (listener, address) = listener().await;
        assert_eq!(outcome(address, "tcp").await, Ok(()));
        drop(listener);
        for check in ["tcp", "http:/", "grpc"] {
            let refused = outcome(address, check).await;
            assert_eq!(refused, Err("connection refused".to_owned()));
        }
    }

    #[tokio::test]
    async fn http_wants_a_2xx_and_no_more_than_that() {
        for (answer, expected) in [
            ("HTTP/1.1 204 Fine\r\n\r\n", Ok(())),
            (
                "HTTP/1.1 200 Fine\r\nContent-Length: 999999999\r\n\r\nx",
                Ok(()),
            ),
            ("HTTP/1.1 503 No\r\n\r\n", Err("status 503")),
            ("SSH-2.0\r\n", Err("the answer broke off, or is not HTTP/1")),
        ] {
            let (listener, address) = listener().await;
            let serving = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                let count = stream.read(&mut buffer).await.unwrap();
                assert!(buffer[..count].starts_with(b"GET /health?a HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let (probed, ()) = tokio::join!(outcome(address, "http:/health?a"), serving);
            assert_eq!(probed, expected.map_err(str::to_owned), "{answer}");
        }
    }

    /// Answers one call with a message and a status of gRPC; gives the question.
    async fn health(listener: TcpListener, answer: &'static [u8], status: &'static str) -> Bytes {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.uri().path(), HEALTH_CHECK);
        let mut asked = request.into_body();
        let question = tokio::select! {
            question = asked.data() => question.unwrap().unwrap(),
            _ = connection.accept() => unreachable!("the client waits for its answer"),
        };
        let response = Response::builder().header("content-type", "application/grpc");
        let mut body = respond
            .send_response(response.body(()).unwrap(), false)
            .unwrap();
        body.send_data(Bytes::from_static(answer), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        body.send_trailers(trailers).unwrap();
        while connection.accept().await.is_some() {}
        question
    }

    #[tokio::test]
    async fn grpc_wants_to_hear_that_it_is_serving() {
        for (answer, status, expected) in [
            (&b"\0\0\0\0\x02\x08\x01"[..], "0", Ok(())),
            (b"\0\0\0\0\x02\x08\x02", "0", Err("not serving")),
            (b"\0\0\0\0\0", "0", Err("not serving")),
            (b"", "0", Err("the answer is no health check")),
            (&[0; GRPC_BYTES_MAX], "0", Err("not serving")),
            (
                &[0; GRPC_BYTES_MAX + 1],
                "0",
                Err("the answer is no health check"),
            ),
            (b"", "5", Err("the health service does not know it")),
            (b"", "12", Err("there is no health service")),
            (b"", "14", Err("gRPC status 14")),
        ] {
            let (listener, address) = listener().await;
            let serving = health(listener, answer, status);
            let (probed, question) = tokio::join!(outcome(address, "grpc:a.b"), serving);
            assert_eq!(probed, expected.map_err(str::to_owned));
            assert_eq!(question, &b"\0\0\0\0\x05\x0a\x03a.b"[..]);
        }
    }

    #[test]
    fn the_question_about_the_whole_server_is_empty() {
        assert_eq!(question(""), &[0; 5][..]);
        let long = question(&"a".repeat(200));
        assert_eq!(&long[..8], b"\0\0\0\0\xcb\x0a\xc8\x01");
    }
}
