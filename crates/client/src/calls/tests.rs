//! Calls to servers of this process, and to addresses where nobody listens.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Frame},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_runtime::{Env, Task};
use portolan_testkit::Scratch;
use tokio::net::{TcpListener, TcpSocket};
use tower::{Service as _, discover::Change};

use super::*;
use crate::{Balancing, Ready, Source};

/// What a server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Answers with the body that was sent.
    Echoes,
    /// Reads the request and closes the connection.
    BreaksOff,
    /// Never answers.
    Hangs,
    /// Says that it can't serve.
    Refuses,
    /// Breaks off every second call.
    Hiccups,
    /// Sends elsewhere, where nobody listens.
    Redirects(SocketAddr),
}

impl Manner {
    /// What is done after so many calls.
    fn at(self, earlier: usize) -> Self {
        if self == Self::Hiccups && earlier % 2 == 1 {
            return Self::BreaksOff;
        }
        self
    }
}

/// A server on a port of its own, HTTP/1 or HTTP/2.
struct Server {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    _task: Task,
}

impl Server {
    async fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let env = Env::system();
        let task = Env::system().spawn("a server of a test", async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let counter = Arc::clone(&counter);
                let service = service_fn(move |request| {
                    let earlier = counter.fetch_add(1, Relaxed);
                    answer(manner.at(earlier), request)
                });
                let serving = async move {
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // One that breaks off is what is tested.
                    let _ended = builder
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                };
                env.spawn("a connection of a test", serving).detach();
            }
        });
        Self {
            address,
            calls,
            _task: task,
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }
}

async fn answer(
    manner: Manner,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let path = request.uri().path().to_owned();
    let sent = request
        .into_body()
        .collect()
        .await
        .map_err(io::Error::other)?;
    let mut answer = Response::new(Full::new(sent.to_bytes()));
    match manner {
        Manner::Echoes | Manner::Hiccups => {}
        Manner::Redirects(to) => {
            *answer.status_mut() = StatusCode::SEE_OTHER;
            let to = format!("http://{to}/").parse().unwrap();
            answer.headers_mut().insert("location", to);
        }
        Manner::BreaksOff => return Err(io::Error::other("broken")),
        Manner::Hangs => std::future::pending().await,
        Manner::Refuses => *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
    }
    let headers = answer.headers_mut();
    headers.insert("path", path.parse().unwrap());
    headers.insert("grpc-status", http::HeaderValue::from_static("0"));
    Ok(answer)
}

/// A port that is taken, but where nobody listens.
struct Nobody {
    address: SocketAddr,
    _socket: TcpSocket,
}

impl Nobody {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            _socket: socket,
        }
    }
}

/// A discovery that knows `orders` at those addresses.
async fn discovery(addresses: &[SocketAddr]) -> (Discovery, Scratch) {
    let scratch = Scratch::new();
    let mut text = "services:\n  orders:\n    instances:\n".to_owned();
    for address in addresses {
        let line = format!(
            "      - {{address: {}, port: {}}}\n",
            address.ip(),
            address.port()
        );
        text.push_str(&line);
    }
    let file = scratch.write("services.yaml", &text);
    let started = Discovery::builder().source(Source::file(file)).start();
    let discovery = started.unwrap();
    let ready = discovery.ready(Duration::from_secs(10)).await;
    assert_eq!(ready, Ok(Ready::Live));
    (discovery, scratch)
}

fn request(method: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri("http://orders/a?b=c");
    request.body(Full::new(body.into())).unwrap()
}

async fn send(
    discovery: &Discovery,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, String, Bytes), CallError> {
    let answer = discovery.http_client().call(request).await?;
    let path = answer.headers()["path"].to_str().unwrap().to_owned();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    Ok((status, path, body))
}

#[tokio::test]
async fn a_call_goes_to_an_instance_with_its_path_and_its_body() {
    let server = Server::new(Manner::Echoes).await;
    let (discovery, _scratch) = discovery(&[server.address]).await;
    let answer = send(&discovery, request("POST", "hello")).await.unwrap();
    assert_eq!(answer, (StatusCode::OK, "/a".to_owned(), "hello".into()));
}

#[tokio::test]
async fn any_call_is_tried_again_where_nobody_listens() {
    let server = Server::new(Manner::Echoes).await;
    let nobody = [Nobody::new(), Nobody::new(), Nobody::new()];
    let dead = nobody.each_ref().map(|one| one.address);
    for method in ["GET", "POST"] {
        let addresses = [&dead[..], &[server.address]].concat();
        let (discovery, _scratch) = discovery(&addresses).await;
        for _ in 0..10 {
            let answer = send(&discovery, request(method, "hello")).await.unwrap();
            assert_eq!(answer.2, "hello");
        }
    }
    assert_eq!(server.calls(), 20);
}

#[tokio::test]
async fn what_may_have_been_carried_out_is_repeated_only_if_it_may_be() {
    let broken = Server::new(Manner::BreaksOff).await;
    let server = Server::new(Manner::Echoes).await;
    let (discovery, _scratch) = discovery(&[broken.address, server.address]).await;
    let mut broke = 0;
    while broken.calls() == 0 {
        let answer = send(&discovery, request("PUT", "twice is once")).await;
        assert_eq!(answer.unwrap().2, "twice is once");
    }
    while broke == 0 {
        let mut call = request("POST", "once");
        let before = broken.calls() + server.calls();
        let once = send(&discovery, call.clone()).await;
        broke += usize::from(once.is_err());
        assert_eq!(broken.calls() + server.calls(), before + 1);
        call.extensions_mut().insert(Safety::Idempotent);
        assert!(send(&discovery, call).await.is_ok());
    }
}

#[tokio::test]
async fn an_instance_that_can_not_serve_says_so_to_the_caller_and_is_left_alone() {
    let sick = Server::new(Manner::Refuses).await;
    let server = Server::new(Manner::Echoes).await;
    let (discovery, _scratch) = discovery(&[sick.address, server.address]).await;
    let mut refused = 0;
    let (env, began) = (Env::system(), Env::system().instant());
    for _ in 0..200 {
        let (status, _, _) = send(&discovery, request("GET", "")).await.unwrap();
        refused += usize::from(status == StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(refused, sick.calls());
    // Five, and then five more whenever it is back, which is after a second at least.
    let seconds = (env.instant() - began).as_secs();
    let most = 5 * usize::try_from(seconds + 1).unwrap();
    assert!((1..=most).contains(&refused), "{refused} of {most}");
}

#[tokio::test]
async fn an_instance_that_hangs_costs_a_call_as_long_as_a_try_may_take() {
    let stuck = Server::new(Manner::Hangs).await;
    let server = Server::new(Manner::Echoes).await;
    let (discovery, _scratch) = discovery(&[stuck.address, server.address]).await;
    let within = Duration::from_secs(1);
    let mut client = discovery.http_client().each_within(within);
    while stuck.calls() < 1 {
        let answer = client.call(request("GET", "")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

/// A body of one piece that goes on with trailers, or breaks off.
struct Tail(VecDeque<Result<Frame<Bytes>, io::Error>>);

impl Tail {
    fn new(end: Result<&'static str, io::Error>) -> Self {
        let trailers = |status: &str| {
            let mut fields = HeaderMap::new();
            fields.insert("grpc-status", status.parse().unwrap());
            Frame::trailers(fields)
        };
        Self(VecDeque::from([
            Ok(Frame::data("piece".into())),
            end.map(trailers),
        ]))
    }
}

impl Body for Tail {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

#[tokio::test]
async fn a_body_that_can_not_be_read_is_sent_nowhere_and_nobody_s_fault() {
    let servers = [
        Server::new(Manner::Echoes).await,
        Server::new(Manner::Echoes).await,
    ];
    let (discovery, _scratch) = discovery(&servers.each_ref().map(|one| one.address)).await;
    let service = discovery.service("orders").unwrap();
    for _ in 0..20 {
        let call = Request::put("http://orders/a").body(Tail::new(Err(broken())));
        let told = service.http_client().call(call.unwrap()).await.unwrap_err();
        assert!(
            matches!(told, CallError::Failed { attempts: 1, .. }),
            "{told}"
        );
    }
    assert_eq!(picked(&service).len(), 2);
}

/// Where calls go.
fn picked(service: &Service) -> BTreeSet<SocketAddr> {
    let service = service.clone().balancing(Balancing::RoundRobin);
    let address = |_| {
        let picked = service.pick().unwrap();
        picked.withdraw();
        picked.address()
    };
    (0..20).map(address).collect()
}

#[tokio::test]
async fn an_answer_is_judged_by_its_end() {
    let nobody = [Nobody::new(), Nobody::new()];
    let addresses = nobody.each_ref().map(|one| one.address);
    let ends = [(Some("0"), 2), (Some("14"), 1), (None, 1)];
    for (end, open) in ends {
        let (discovery, _scratch) = discovery(&addresses).await;
        let service = discovery.service("orders").unwrap();
        let mut failed = 0;
        while failed < 5 {
            let picked = service.pick().unwrap();
            if picked.address() == addresses[0] {
                failed += 1;
                report(&picked, StatusCode::OK, &HeaderMap::new());
                let _body = Counted::new(Tail::new(end.ok_or_else(broken)), picked)
                    .collect()
                    .await;
            } else {
                picked.withdraw();
            }
        }
        assert_eq!(picked(&service).len(), open, "{end:?}");
    }
}

#[tokio::test]
async fn a_lone_instance_that_breaks_off_is_called_once_more() {
    let server = Server::new(Manner::Hiccups).await;
    let (discovery, _scratch) = discovery(&[server.address]).await;
    for _ in 0..4 {
        let answer = send(&discovery, request("GET", "")).await.unwrap();
        assert_eq!(answer.0, StatusCode::OK);
    }
    assert_eq!(server.calls(), 7);
    assert!(send(&discovery, request("POST", "")).await.is_err());
    assert_eq!(server.calls(), 8);
    let broken = Server::new(Manner::BreaksOff).await;
    let (discovery, _scratch) = self::discovery(&[broken.address]).await;
    assert!(send(&discovery, request("GET", "")).await.is_err());
    assert_eq!(broken.calls(), 2);
}

#[tokio::test]
async fn a_url_that_the_client_does_not_speak_is_refused_at_once() {
    let server = Server::new(Manner::Echoes).await;
    let (discovery, _scratch) = discovery(&[server.address]).await;
    let service = discovery.service("orders").unwrap();
    let call = Request::get("https://orders/").body(Full::new(Bytes::new()));
    let told = service.http_client().call(call.unwrap()).await.unwrap_err();
    assert!(matches!(told, CallError::Request(_)), "{told}");
}

#[tokio::test]
async fn connecting_takes_half_of_a_try_and_a_second_at_most() {
    let (discovery, _scratch) = discovery(&[]).await;
    let calls = Calls::own(Target::Host(discovery), |line| line.connect_within);
    for (each, connect) in [(400, 200), (2000, 1000), (9000, 1000)] {
        let calls = calls.clone().each_within(Duration::from_millis(each));
        assert_eq!(*calls.inner(), Duration::from_millis(connect));
    }
}

#[test]
fn only_a_refused_connection_is_sure_to_be_none() {
    let blamed = |kind: io::ErrorKind| blame(&io::Error::from(kind));
    for (kind, expected) in [
        (io::ErrorKind::ConnectionRefused, Blame::Unreachable),
        (io::ErrorKind::HostUnreachable, Blame::Failed),
        (io::ErrorKind::NetworkUnreachable, Blame::Failed),
        (io::ErrorKind::AddrNotAvailable, Blame::Failed),
        (io::ErrorKind::ConnectionReset, Blame::BrokeOff),
    ] {
        assert_eq!(blamed(kind), expected, "{kind:?}");
    }
}

#[tokio::test]
async fn without_an_instance_a_call_says_why() {
    let (empty, _scratch) = discovery(&[]).await;
    let told = send(&empty, request("GET", "")).await.unwrap_err();
    assert!(matches!(told, CallError::Pick(_)), "{told}");
    let nobody = Nobody::new();
    let (dead, _scratch) = discovery(&[nobody.address]).await;
    let told = send(&dead, request("GET", "")).await.unwrap_err();
    assert_eq!(
        told.to_string(),
        "call to service `orders` failed, tries: 1"
    );
    let nowhere = Request::new(Full::new(Bytes::new()));
    let told = send(&dead, nowhere).await.unwrap_err();
    assert!(matches!(told, CallError::NoHost), "{told}");
}

#[tokio::test]
async fn tower_is_told_who_comes_and_who_goes() {
    let nobody = [Nobody::new(), Nobody::new()];
    let addresses = nobody.each_ref().map(|one| one.address);
    let (discovery, scratch) = discovery(&addresses).await;
    let service = discovery.service("orders").unwrap();
    let mut changes = service.changes(|_, address| address);
    let mut known = BTreeMap::new();
    let mut next = async |known: &mut BTreeMap<_, _>| {
        let mut changes = Pin::new(&mut changes);
        match poll_fn(|cx| changes.as_mut().poll_next(cx)).await {
            Some(Ok(Change::Insert(id, address))) => known.insert(id, address),
            Some(Ok(Change::Remove(id))) => known.remove(&id),
            None => panic!("it has ended"),
        }
    };
    next(&mut known).await;
    next(&mut known).await;
    let told: BTreeSet<SocketAddr> = known.values().copied().collect();
    assert_eq!(told, BTreeSet::from(addresses));
    scratch.write("services.yaml", "services: {orders: {instances: []}}\n");
    next(&mut known).await;
    next(&mut known).await;
    assert!(known.is_empty());
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_calls_services_by_their_names() {
    let server = Server::new(Manner::Echoes).await;
    let nobody = [Nobody::new(), Nobody::new()];
    let dead = nobody.each_ref().map(|one| one.address);
    let (discovery, _scratch) = discovery(&[dead[0], dead[1], server.address]).await;
    let client = discovery.reqwest(::reqwest::Client::builder()).unwrap();
    for _ in 0..10 {
        let call = client.client().post("http://orders/a?b=c").body("hello");
        let answer = client.send(call).await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "hello");
    }
    let bad = client.send(client.client().get("nonsense")).await;
    assert!(matches!(bad, Err(CallError::Request(_))));
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_hands_on_a_redirect_and_keeps_the_url_of_an_answer() {
    let nobody = Nobody::new();
    let server = Server::new(Manner::Redirects(nobody.address)).await;
    let (discovery, _scratch) = discovery(&[server.address]).await;
    let client = discovery.reqwest(::reqwest::Client::builder()).unwrap();
    let call = client.client().post("http://orders/a").body("hello");
    let answer = client.send(call).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        answer.url().as_str(),
        format!("http://{}/a", server.address)
    );
    assert_eq!(answer.text().await.unwrap(), "hello");
    assert_eq!(server.calls(), 1);
}

#[cfg(feature = "tonic")]
mod grpc {
    use tonic::{
        Status,
        client::Grpc,
        codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    };

    use super::*;

    /// Messages that are bytes.
    #[derive(Clone, Copy, Debug, Default)]
    struct Plain;

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
            bytes::BufMut::put(to, item);
            Ok(())
        }
    }

    impl Decoder for Plain {
        type Item = Bytes;
        type Error = Status;

        fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
            use bytes::Buf;
            Ok(Some(from.copy_to_bytes(from.remaining())))
        }
    }

    async fn call(
        channel: GrpcChannel,
        change: impl FnOnce(&mut tonic::Request<Bytes>),
    ) -> Result<Bytes, Status> {
        // What a generated client is made of.
        let mut client = Grpc::new(channel);
        client.ready().await?;
        let path = http::uri::PathAndQuery::from_static("/shop.Orders/Get");
        let mut request = tonic::Request::new(Bytes::from_static(b"hello"));
        change(&mut request);
        let answer = client.unary(request, path, Plain).await?;
        Ok(answer.into_inner())
    }

    fn idempotent(request: &mut tonic::Request<Bytes>) {
        request.extensions_mut().insert(Safety::Idempotent);
    }

    #[tokio::test]
    async fn a_frozen_server_costs_a_try_and_the_call_its_deadline_at_most() {
        let stuck = Server::new(Manner::Hangs).await;
        let server = Server::new(Manner::Echoes).await;
        let (both, _scratch) = discovery(&[stuck.address, server.address]).await;
        let channel = both.service("orders").unwrap().grpc_channel();
        let channel = channel.each_within(Duration::from_secs(1));
        while stuck.calls() == 0 {
            let answer = call(channel.clone(), idempotent).await;
            assert_eq!(answer.unwrap(), "hello");
        }
        let (alone, _scratch) = discovery(&[stuck.address]).await;
        let channel = alone.service("orders").unwrap().grpc_channel();
        let in_a_moment =
            |request: &mut tonic::Request<Bytes>| request.set_timeout(Duration::from_millis(300));
        let told = call(channel.clone(), in_a_moment).await.unwrap_err();
        assert_eq!(told.code(), tonic::Code::DeadlineExceeded, "{told}");
        let channel = channel.each_within(Duration::from_millis(300));
        let told = call(channel, |_| ()).await.unwrap_err();
        assert_eq!(told.code(), tonic::Code::DeadlineExceeded, "{told}");
        assert!(told.message().contains("no answer within 300 ms"), "{told}");
    }

    #[tokio::test]
    async fn a_frozen_server_is_found_out_by_calls_of_short_deadlines() {
        let stuck = Server::new(Manner::Hangs).await;
        let server = Server::new(Manner::Echoes).await;
        let (both, _scratch) = discovery(&[stuck.address, server.address]).await;
        let service = both.service("orders").unwrap();
        let channel = service.balancing(Balancing::RoundRobin).grpc_channel();
        let soon =
            |request: &mut tonic::Request<Bytes>| request.set_timeout(Duration::from_millis(300));
        let mut failed = 0;
        while failed < 5 {
            if let Err(told) = call(channel.clone(), soon).await {
                assert_eq!(told.code(), tonic::Code::DeadlineExceeded, "{told}");
                assert!(told.message().contains("within the 300 ms"), "{told}");
                failed += 1;
            }
        }
        assert_eq!(stuck.calls(), 5);
        // It had every second one.
        for _ in 0..4 {
            assert_eq!(call(channel.clone(), soon).await.unwrap(), "hello");
        }
    }

    #[tokio::test]
    async fn a_connection_whose_server_answers_no_ping_is_closed() {
        // The system accepts and acknowledges for a program that is frozen.
        let frozen = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (discovery, _scratch) = discovery(&[frozen.local_addr().unwrap()]).await;
        let channel = discovery.service("orders").unwrap().grpc_channel();
        let channel = channel
            .each_within(Duration::from_mins(1))
            .ping_after(Duration::from_millis(200));
        let began = Env::system().instant();
        let told = call(channel, |_| ()).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_ne!(told.code(), tonic::Code::DeadlineExceeded, "{told}");
    }

    #[tokio::test]
    async fn a_caller_is_told_by_a_status_who_is_to_blame() {
        let (empty, _scratch) = discovery(&[]).await;
        let told = call(empty.service("orders").unwrap().grpc_channel(), |_| ()).await;
        let told = told.unwrap_err();
        assert_eq!(told.code(), tonic::Code::Unavailable);
        assert!(told.message().contains("no such instance"), "{told}");
        let nobody = Nobody::new();
        let broken = Server::new(Manner::BreaksOff).await;
        for (address, code) in [
            (nobody.address, tonic::Code::Unavailable),
            // It resets the stream and says no more.
            (broken.address, tonic::Code::Unknown),
        ] {
            let (discovery, _scratch) = discovery(&[address]).await;
            let channel = discovery.service("orders").unwrap().grpc_channel();
            assert_eq!(call(channel, |_| ()).await.unwrap_err().code(), code);
        }
    }

    #[tokio::test]
    async fn a_generated_client_calls_over_a_channel() {
        let server = Server::new(Manner::Echoes).await;
        let nobody = [Nobody::new(), Nobody::new()];
        let dead = nobody.each_ref().map(|one| one.address);
        let (discovery, _scratch) = discovery(&[dead[0], dead[1], server.address]).await;
        let channel = discovery.service("orders").unwrap().grpc_channel();
        for _ in 0..10 {
            assert_eq!(call(channel.clone(), |_| ()).await.unwrap(), "hello");
        }
        assert_eq!(server.calls(), 10);
    }
}
