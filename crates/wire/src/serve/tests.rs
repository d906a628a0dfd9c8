//! Over real sockets on loopback: what hyper does counts, too.

use std::net::{Ipv4Addr, SocketAddr};

use http::StatusCode;
use portolan_model::route::{Protocol, UpstreamTls, Verify};
use portolan_runtime::{Task, drain::Drain};
use portolan_testkit::{Authority, Issued, Scratch, Validity};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{
    call::{Call, CallError, Line, Url},
    tls::{Alpn, ClientAuthority, ClientTls, Demand, Reloaded, ServerSettings, Versions},
};

struct Server {
    address: SocketAddr,
    drain: Drain,
    env: Env,
    _task: Task,
}

/// The usual limits, but for one thing.
fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

fn server(limits: Limits, handler: Arc<dyn Handler>) -> Server {
    server_with(limits, handler, None)
}

fn server_with(limits: Limits, handler: Arc<dyn Handler>, tls: Option<Arc<ServerTls>>) -> Server {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (env, drain) = (Env::system(), Drain::new());
    let settings = Settings {
        limits,
        hosts: Hosts::Named(Vec::new()),
        tls,
    };
    let serving = serve(listener, handler, settings, drain.watch(), env.clone());
    let task = env.spawn("server", async { serving.await.unwrap() });
    Server {
        address,
        drain,
        env,
        _task: task,
    }
}

fn echo() -> Arc<dyn Handler> {
    Arc::new(|request: Request| async {
        match collect(request.into_body(), ByteSize::from_bytes(1 << 20)).await {
            Ok(body) => Response::new(full(body)),
            Err(error) => problem(StatusCode::PAYLOAD_TOO_LARGE, "body", &error.to_string()),
        }
    })
}

/// Asks on a connection, and has the beginning of the answer.
async fn is_served(stream: &mut TcpStream) {
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'H');
}

/// Sends bytes and reads until the server closes.
async fn talk(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end, too.
    let _end = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn post(body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_body_is_taken_up_to_the_limit_and_not_one_byte_more() {
    let limits = limits(|limits| limits.body = ByteSize::from_bytes(4));
    let server = server(limits, echo());
    assert!(talk(server.address, &post("1234")).await.ends_with("1234"));
    let refused = talk(server.address, &post("12345")).await;
    assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
}

#[tokio::test]
async fn a_foreign_host_is_refused() {
    let server = server(Limits::default(), echo());
    let request = "GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    let refused = talk(server.address, request).await;
    assert!(refused.starts_with("HTTP/1.1 421"), "{refused}");
    assert!(refused.contains("application/problem+json"));
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_next_request_is_served() {
    let handler = |request: Request| async move {
        assert_ne!(request.uri().path(), "/panic");
        Response::new(full("fine"))
    };
    let server = server(Limits::default(), Arc::new(handler));
    let requests = "GET /panic HTTP/1.1\r\nhost: localhost\r\n\r\n\
                    GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answers = talk(server.address, requests).await;
    assert!(answers.starts_with("HTTP/1.1 500"), "{answers}");
    assert!(answers.ends_with("fine"), "{answers}");
}

#[tokio::test]
async fn a_connection_over_the_limit_is_closed_at_once() {
    let server = server(limits(|limits| limits.connections = 1), echo());
    let mut first = TcpStream::connect(server.address).await.unwrap();
    is_served(&mut first).await;
    assert_eq!(talk(server.address, "").await, "");
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let limits = limits(|limits| limits.head_timeout = Duration::from_millis(20));
    let server = server(limits, echo());
    let answer = talk(server.address, "GET / HTTP/1.1\r\nhost: lo").await;
    assert!(!answer.contains("200"), "{answer}");
    let half = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert!(talk(server.address, half).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let limits = limits(|limits| limits.stall_timeout = Duration::from_millis(20));
    let server = server(limits, echo());
    let half = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf";
    let answer = talk(server.address, half).await;
    assert!(answer.contains("did not go on"), "{answer}");
}

#[tokio::test]
async fn a_drain_lets_the_answer_under_way_come_to_its_end() {
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
    let (go_on, may_go_on) = tokio::sync::watch::channel(false);
    let handler = move |_: Request| {
        let (begun, mut may_go_on) = (begun.clone(), may_go_on.clone());
        async move {
            begun.send(()).await.unwrap();
            may_go_on.wait_for(|go| *go).await.unwrap();
            Response::new(full("whole"))
        }
    };
    let server = server(Limits::default(), Arc::new(handler));
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let address = server.address;
    let drained = async {
        has_begun.recv().await.unwrap();
        server.drain.start();
        go_on.send(true).unwrap();
        let deadline = Duration::from_secs(5);
        server.drain.wait(&server.env, deadline).await
    };
    let (answer, drained) = tokio::join!(talk(address, request), drained);
    assert!(answer.ends_with("whole"), "{answer}");
    assert_eq!(drained, Ok(()));
}

/// Answers with the path, for `/waits` only once it is told to go on.
fn gated() -> (tokio::sync::watch::Sender<bool>, Arc<dyn Handler>) {
    let (open, opened) = tokio::sync::watch::channel(false);
    let handler = move |request: Request| {
        let mut opened = opened.clone();
        async move {
            if request.uri().path() == "/waits" {
                opened.wait_for(|is_open| *is_open).await.unwrap();
            }
            Response::new(full(request.uri().path().to_owned()))
        }
    };
    (open, Arc::new(handler))
}

fn post_to(path: &str) -> http::Request<()> {
    let url = format!("http://localhost{path}");
    http::Request::post(url).body(()).unwrap()
}

/// Speaks HTTP/2; the task is its connection.
async fn http2(server: &Server) -> (h2::client::SendRequest<bytes::Bytes>, Task) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let task = server.env.spawn("client", async {
        // How it ends is the tests' matter.
        let _end = connection.await;
    });
    (sender, task)
}

async fn ask(
    sender: &mut h2::client::SendRequest<bytes::Bytes>,
    url: &str,
) -> (StatusCode, Vec<u8>) {
    let request = http::Request::get(url).body(()).unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let mut answer = answer.await.unwrap();
    let mut body = Vec::new();
    while let Some(data) = answer.body_mut().data().await {
        body.extend_from_slice(&data.unwrap());
    }
    (answer.status(), body)
}

#[tokio::test]
async fn http2_carries_requests_side_by_side_and_keeps_the_guard() {
    let (open, handler) = gated();
    let server = server(Limits::default(), handler);
    let (mut sender, _task) = http2(&server).await;
    let (waits, _) = sender.send_request(post_to("/waits"), true).unwrap();
    let (status, body) = ask(&mut sender, "http://localhost/passes").await;
    assert_eq!((status, &*body), (StatusCode::OK, &b"/passes"[..]));
    open.send_replace(true);
    assert_eq!(waits.await.unwrap().status(), StatusCode::OK);
    let (status, _) = ask(&mut sender, "http://evil.example/").await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn http2_without_requests_is_closed_and_with_one_it_is_not() {
    let limits = limits(|limits| limits.head_timeout = Duration::from_millis(50));
    let (open, handler) = gated();
    let server = server(limits, handler);
    let (idle, ended) = http2(&server).await;
    let (mut busy, mut stays) = http2(&server).await;
    let (answer, _) = busy.send_request(post_to("/waits"), true).unwrap();
    ended.await;
    drop(idle);
    let is_open = server.env.timeout(Duration::from_millis(200), &mut stays);
    assert!(is_open.await.is_err(), "a request is under way");
    open.send_replace(true);
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    stays.await;
}

#[tokio::test]
async fn http2_has_so_many_requests_at_a_time_and_the_next_waits() {
    let server = server(Limits::default(), echo());
    let (mut sender, _task) = http2(&server).await;
    // Who has had an answer knows the limit.
    ask(&mut sender, "http://localhost/").await;
    let mut held = Vec::new();
    for _ in 0..connection::REQUESTS_AT_ONCE {
        sender = sender.ready().await.unwrap();
        held.push(sender.send_request(post_to("/"), false).unwrap());
    }
    let (mut next, _) = sender.send_request(post_to("/"), true).unwrap();
    let answered = server.env.timeout(Duration::from_millis(50), &mut next);
    assert!(answered.await.is_err(), "there is no place");
    for (answer, mut body) in held {
        body.send_data("late".into(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(next.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn http2_refuses_who_does_not_wait_so_that_it_can_ask_again() {
    let server = server(Limits::default(), echo());
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut hasty = h2::client::Builder::new();
    let hasty = hasty.initial_max_send_streams(1000).handshake(stream);
    let (mut sender, connection) = hasty.await.unwrap();
    let send = |_| sender.send_request(post_to("/"), false).unwrap();
    let mut held: Vec<_> = (0..=connection::REQUESTS_AT_ONCE).map(send).collect();
    let _task = server
        .env
        .spawn("client", async { connection.await.unwrap() });
    let refused = held.pop().unwrap().0.await.unwrap_err();
    assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM));
    let (answer, mut body) = held.pop().unwrap();
    body.send_data(bytes::Bytes::from("in time"), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn who_connected_before_a_drain_is_answered_once() {
    let server = server(Limits::default(), echo());
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut begun = TcpStream::connect(server.address).await.unwrap();
    begun.write_all(&request.as_bytes()[..8]).await.unwrap();
    // Connections are accepted in their order, so the first two are as well.
    let last = request.replace("localhost", "localhost\r\nconnection: close");
    assert!(talk(server.address, &last).await.contains("200 OK"));
    server.drain.start();
    silent.write_all(request.as_bytes()).await.unwrap();
    begun.write_all(&request.as_bytes()[8..]).await.unwrap();
    for stream in [&mut silent, &mut begun] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn http2_ends_in_a_drain_with_the_answers_that_have_begun() {
    let server = server(Limits::default(), echo());
    let (mut sender, ended) = http2(&server).await;
    let (answer, mut body) = sender.send_request(post_to("/"), false).unwrap();
    // An answer that came says that the server knows the connection.
    let (status, _) = ask(&mut sender, "http://localhost/").await;
    assert_eq!(status, StatusCode::OK);
    server.drain.start();
    body.send_data("late".into(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    ended.await;
}

/// A listener whose clients show certificates of `clients`, and what it answers them: the
/// names that it knows them by.
struct Known {
    server: Server,
    scratch: Scratch,
    authority: Authority,
    tls: Arc<ServerTls>,
}

impl Known {
    fn new(clients: &Authority, demand: Demand) -> Self {
        let (scratch, authority) = (Scratch::new(), Authority::new("servers"));
        let settings = ServerSettings {
            certificates: vec![
                authority
                    .issue(&["localhost"], Validity::Now)
                    .write(&scratch, "server"),
            ],
            versions: Versions::Both,
            alpn: Alpn::Http1,
            clients: Some(ClientAuthority {
                file: scratch.write("clients.pem", &clients.certificate()),
                demand,
            }),
        };
        let tls = Arc::new(ServerTls::new(&settings, Env::system().now()).unwrap().0);
        let handler = |request: Request| async move {
            let names = request.extensions().get::<CertifiedNames>();
            let names = names.map_or_else(|| "nobody".to_owned(), |names| names.0.join(","));
            Response::new(full(names))
        };
        let server = server_with(Limits::default(), Arc::new(handler), Some(Arc::clone(&tls)));
        Self {
            server,
            scratch,
            authority,
            tls,
        }
    }

    /// What a client is answered that shows this certificate.
    async fn ask(&self, shown: Option<&Issued>) -> Result<String, CallError> {
        let settings = UpstreamTls {
            server_name: None,
            ca: Some(self.scratch.write("ca.pem", &self.authority.certificate())),
            certificate: shown.map(|shown| shown.write(&self.scratch, "client")),
            verify: Verify::Full,
        };
        let tls = ClientTls::new()
            .connector(&settings, Protocol::Http1)
            .unwrap();
        let url = Url::parse(&format!("https://localhost:{}", self.server.address.port())).unwrap();
        let mut line = Line::open(&url, Some(&tls), &self.server.env).await?;
        let answer = line.call(Call::get("/"), Duration::from_secs(10)).await?;
        Ok(String::from_utf8(answer.body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_client_is_known_by_the_names_on_its_certificate() {
    let clients = Authority::new("clients");
    let known = Known::new(&clients, Demand::Required);
    let good = clients.issue(&["ops.example", "*.ops.example"], Validity::Now);
    let names = known.ask(Some(&good)).await.unwrap();
    assert!(names.starts_with("ops.example,*.ops.example"), "{names}");
}

#[tokio::test]
async fn a_client_without_a_good_certificate_is_not_let_in() {
    let clients = Authority::new("clients");
    let known = Known::new(&clients, Demand::Required);
    assert!(known.ask(None).await.is_err());
    let foreign = Authority::new("others").issue(&["ops.example"], Validity::Now);
    assert!(known.ask(Some(&foreign)).await.is_err());
    let old = clients.issue(&["ops.example"], Validity::Past);
    assert!(known.ask(Some(&old)).await.is_err());
    let known = Known::new(&clients, Demand::Optional);
    assert_eq!(known.ask(None).await.unwrap(), "nobody");
    assert!(
        known.ask(Some(&foreign)).await.is_err(),
        "what is shown must be good"
    );
}

#[tokio::test]
async fn an_authority_of_clients_changes_while_the_listener_runs() {
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let known = Known::new(&before, Demand::Required);
    let (old, new) = (
        before.issue(&["old"], Validity::Now),
        after.issue(&["new"], Validity::Now),
    );
    assert!(known.ask(Some(&old)).await.is_ok());
    known.scratch.write("clients.pem", &after.certificate());
    let now = known.server.env.now();
    assert_eq!(known.tls.reload(now).unwrap().0, Reloaded::Changed);
    assert!(known.ask(Some(&old)).await.is_err());
    assert!(known.ask(Some(&new)).await.is_ok());
    known.scratch.write("clients.pem", "nonsense");
    assert!(known.tls.reload(now).is_err());
    assert!(
        known.ask(Some(&new)).await.is_ok(),
        "a bad file leaves what was"
    );
}

#[tokio::test]
async fn a_client_over_its_own_limit_is_closed_and_others_are_not() {
    let limits = limits(|limits| {
        limits.connections_per_client = PerClient {
            limit: 1,
            includes_this_machine: true,
        };
    });
    let server = server(limits, echo());
    let mut first = TcpStream::connect(server.address).await.unwrap();
    is_served(&mut first).await;
    assert_eq!(talk(server.address, "").await, "");
    let from = tokio::net::TcpSocket::new_v4().unwrap();
    from.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut second = from.connect(server.address).await.unwrap();
    is_served(&mut second).await;
}
