//! Calls over real sockets of loopback.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use portolan_model::route::{Protocol, UpstreamTls, Verify};
use portolan_runtime::{
    Env, Task,
    drain::{Drain, DrainWatch},
};
use portolan_testkit::{Authority, Scratch, Validity};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixListener},
};

use super::*;
use crate::{
    serve::{self, Hosts, Limits, Request, Settings, full},
    tls::{Alpn, ClientTls, ServerSettings, ServerTls, Versions},
};

const WITHIN: Duration = Duration::from_secs(20);

fn call(method: Method, path: &str, body: Option<&str>) -> Call {
    Call {
        method,
        path: path.to_owned(),
        body: body.map(|body| Bytes::copy_from_slice(body.as_bytes())),
        ..Call::default()
    }
}

/// A server that answers every request with what it got, or with as many bytes as asked for.
fn told_back(env: &Env, drain: DrainWatch) -> (Url, Task) {
    told_back_by(env, drain, None)
}

fn told_back_by(env: &Env, drain: DrainWatch, tls: Option<Arc<ServerTls>>) -> (Url, Task) {
    let scheme = tls.as_ref().map_or("http", |_| "https");
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = Settings {
        limits: Limits::default(),
        hosts: Hosts::Named(Vec::new()),
        tls,
    };
    let handler = |request: Request| async move {
        let (head, body) = request.into_parts();
        if let Some(bytes) = head.uri.path().strip_prefix("/bytes/") {
            return http::Response::new(full(vec![b'x'; bytes.parse().unwrap()]));
        }
        let limit = portolan_model::ByteSize::from_bytes(1 << 20);
        let body = serve::collect(body, limit).await.unwrap();
        let kind = head.headers.get("content-type").cloned();
        let text = format!("{} {} {kind:?} {body:?}", head.method, head.uri);
        let mut response = http::Response::new(full(text));
        *response.status_mut() = StatusCode::ACCEPTED;
        response
    };
    let serving = serve::serve(listener, Arc::new(handler), settings, drain, env.clone());
    let task = env.spawn("told back", async move { serving.await.unwrap() });
    let url = Url::parse(&format!("{scheme}://127.0.0.1:{port}/base")).unwrap();
    (url, task)
}

async fn listening() -> (TcpListener, Url) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    (listener, url)
}

#[tokio::test]
async fn calls_follow_each_other_on_a_line() {
    let (env, drain) = (Env::system(), Drain::new());
    let (url, _server) = told_back(&env, drain.watch());
    let mut line = Line::open(&url, None, &env).await.unwrap();
    let first = line.call(call(Method::PUT, "/a?b=c", Some("{}")), WITHIN);
    let first = first.await.unwrap();
    assert_eq!(first.status, StatusCode::ACCEPTED);
    let told = "PUT /base/a?b=c Some(\"application/json\") b\"{}\"";
    assert_eq!(first.body, told);
    assert!(line.is_open());
    let second = line.call(call(Method::DELETE, "/d", None), WITHIN);
    assert_eq!(second.await.unwrap().body, "DELETE /base/d None b\"\"");
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    let (env, drain) = (Env::system(), Drain::new());
    let (url, _server) = told_back(&env, drain.watch());
    let url = Url::parse(&url.to_string().replace("/base", "")).unwrap();
    let mut line = Line::open(&url, None, &env).await.unwrap();
    let fits = line.call(call(Method::GET, "/bytes/262144", None), WITHIN);
    assert_eq!(fits.await.unwrap().body.len(), 262_144);
    let over = line.call(call(Method::GET, "/bytes/262145", None), WITHIN);
    assert!(matches!(over.await, Err(CallError::TooLarge { .. })));
}

#[tokio::test]
async fn a_server_that_goes_away_closes_the_line() {
    let (env, drain) = (Env::system(), Drain::new());
    let (url, _server) = told_back(&env, drain.watch());
    let mut line = Line::open(&url, None, &env).await.unwrap();
    let answer = line.call(call(Method::GET, "/", None), WITHIN).await;
    answer.unwrap();
    drain.start();
    env.timeout(WITHIN, line.closed()).await.unwrap();
    assert!(!line.is_open());
    let answer = line.call(call(Method::GET, "/", None), WITHIN).await;
    assert!(matches!(answer, Err(CallError::Broken(_))), "{answer:?}");
}

#[tokio::test]
async fn an_end_that_was_announced_is_no_news() {
    let env = Env::system();
    let (listener, url) = listening().await;
    let _server = env.spawn("server", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        let _read = stream.read(&mut buffer).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    });
    let mut line = Line::open(&url, None, &env).await.unwrap();
    let answer = line.call(call(Method::GET, "/", None), WITHIN).await;
    assert_eq!(answer.unwrap().status, StatusCode::OK);
    let news = env.timeout(Duration::from_millis(20), line.closed()).await;
    assert!(news.is_err());
    assert!(!line.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up() {
    let env = Env::virtual_time(1);
    let (_listener, url) = listening().await;
    let mut line = Line::open(&url, None, &env).await.unwrap();
    let answer = line.call(call(Method::GET, "/", None), WITHIN).await;
    let error = answer.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 20000 ms");
}

#[tokio::test]
async fn where_nobody_listens_there_is_no_line() {
    let env = Env::system();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = Url::parse(&format!("http://{address}")).unwrap();
    let error = Line::open(&url, None, &env).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no connection to {address}"));
}

#[tokio::test]
async fn a_bad_path_is_the_callers_fault() {
    let (env, drain) = (Env::system(), Drain::new());
    let (url, _server) = told_back(&env, drain.watch());
    let mut line = Line::open(&url, None, &env).await.unwrap();
    let answer = line.call(call(Method::GET, "/a b", None), WITHIN).await;
    assert!(matches!(answer, Err(CallError::Path { .. })), "{answer:?}");
}

/// Serves one connection over TLS and answers one request.
async fn secure(scratch: &Scratch, authority: &Authority, env: &Env) -> (Url, Task) {
    let files = authority
        .issue(&["127.0.0.1"], Validity::Now)
        .write(scratch, "server");
    let settings = ServerSettings {
        certificates: vec![files],
        versions: Versions::default(),
        alpn: Alpn::default(),
        clients: None,
    };
    let (tls, _) = ServerTls::new(&settings, env.now()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    let task = env.spawn("secure", async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = tls.accept(stream).await else {
            return;
        };
        let mut buffer = [0; 1024];
        let _read = stream.read(&mut buffer).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        stream.write_all(answer).await.unwrap();
        stream.flush().await.unwrap();
    });
    (url, task)
}

fn connector(ca: Option<std::path::PathBuf>) -> Arc<crate::tls::Connector> {
    connector_for(ca, Protocol::Http1)
}

fn connector_for(ca: Option<std::path::PathBuf>, protocol: Protocol) -> Arc<crate::tls::Connector> {
    let settings = UpstreamTls {
        server_name: None,
        ca,
        certificate: None,
        verify: Verify::Full,
    };
    ClientTls::new().connector(&settings, protocol).unwrap()
}

#[tokio::test]
async fn a_call_over_tls_verifies_who_answers() {
    let env = Env::system();
    let scratch = Scratch::new();
    let authority = Authority::new("ours");
    let ca = scratch.write("ca.pem", &authority.certificate());
    let (url, _server) = secure(&scratch, &authority, &env).await;
    let tls = connector(Some(ca));
    let mut line = Line::open(&url, Some(&tls), &env).await.unwrap();
    let answer = line.call(call(Method::GET, "/", None), WITHIN).await;
    assert_eq!(answer.unwrap().body, "hi");

    let stranger = Authority::new("theirs");
    let (url, _server) = secure(&scratch, &stranger, &env).await;
    let error = Line::open(&url, Some(&tls), &env).await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
    let error = Line::open(&url, None, &env).await.unwrap_err();
    assert!(matches!(error, CallError::NoTls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_on_this_machine_is_called_by_its_socket() {
    let env = Env::system();
    let scratch = Scratch::new();
    let path = scratch.path().join("s.sock");
    let url = Url::parse("http://somebody").unwrap();
    let nobody = Line::open_socket(&path, &url, &env).await.unwrap_err();
    let told = format!("no connection to {}", path.display());
    assert_eq!(nobody.to_string(), told);
    let listener = UnixListener::bind(&path).unwrap();
    let answering = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let size = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8(head[..size].to_vec()).unwrap();
        assert!(head.starts_with("GET /a HTTP/1.1\r\n") && head.contains("host: somebody"));
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let answering = env.spawn("socket", answering);
    let mut line = Line::open_socket(&path, &url, &env).await.unwrap();
    let answer = line.call(call(Method::GET, "/a", None), WITHIN).await;
    assert_eq!(answer.unwrap().body, "ok");
    drop(answering);
}

async fn trunk(url: &Url, env: &Env) -> Trunk {
    match Trunk::open(url, None, env).await.unwrap() {
        Opened::Trunk(trunk) => trunk,
        Opened::Line(_) => panic!("HTTP/1 was settled on"),
    }
}

#[tokio::test]
async fn a_trunk_has_so_many_lanes_and_gives_back_those_that_are_left() {
    let (env, drain) = (Env::system(), Drain::new());
    let (url, _server) = told_back(&env, drain.watch());
    let trunk = trunk(&url, &env).await;
    assert_eq!(trunk.lanes_max(), LANES_MAX);
    let mut lanes: Vec<_> = (0..LANES_MAX).map(|_| trunk.lane().unwrap()).collect();
    assert!(trunk.lane().is_none(), "all are taken");
    for (number, lane) in lanes.iter_mut().enumerate() {
        let path = format!("/{number}?x=y");
        let asked = lane.call(call(Method::PUT, &path, Some("{}")), WITHIN);
        let answer = asked.await.unwrap();
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let told = String::from_utf8(answer.body.to_vec()).unwrap();
        let asked = format!("/base{path} Some(\"application/json\") b\"{{}}\"");
        assert!(told.contains(&asked), "{told}");
    }
    lanes.pop();
    assert!(trunk.lane().is_some(), "one was left");
}

#[tokio::test]
async fn an_answer_on_a_lane_is_read_up_to_its_limit() {
    let (env, drain) = (Env::system(), Drain::new());
    let (url, _server) = told_back(&env, drain.watch());
    let url = Url::parse(&url.to_string().replace("/base", "")).unwrap();
    let trunk = trunk(&url, &env).await;
    let limit = portolan_model::ByteSize::from_bytes(3 << 20);
    let mut lane = trunk.lane().unwrap().with_answers_up_to(limit);
    // More than the window of a stream, several times, so that it must be given back.
    for _ in 0..4 {
        let fits = lane.call(call(Method::GET, "/bytes/3145728", None), WITHIN);
        assert_eq!(fits.await.unwrap().body.len(), 3 << 20);
    }
    let over = lane.call(call(Method::GET, "/bytes/3145729", None), WITHIN);
    assert!(matches!(over.await, Err(CallError::TooLarge { .. })));
    let again = lane.call(call(Method::GET, "/bytes/1", None), WITHIN).await;
    assert_eq!(again.unwrap().body.len(), 1, "others are none the worse");
}

#[tokio::test]
async fn a_server_of_http1_has_no_trunk() {
    let env = Env::system();
    let (listener, url) = listening().await;
    let _server = env.spawn("server", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        let _read = stream.read(&mut buffer).await.unwrap();
        let refusal = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
        stream.write_all(refusal).await.unwrap();
    });
    let opened = Trunk::open(&url, None, &env).await;
    let Err(CallError::Http2(why)) = opened else {
        panic!("{opened:?}");
    };
    assert_ne!(why.reason(), Some(h2::Reason::HTTP_1_1_REQUIRED), "{why}");
}

#[tokio::test]
async fn a_trunk_that_is_about_to_close_has_no_lane_and_still_answers() {
    let env = Env::system();
    let (client, server) = tokio::io::duplex(64 << 10);
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let serving = async move {
        let mut connection = h2::server::handshake(server).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        connection.graceful_shutdown();
        let running = async { while connection.accept().await.is_some() {} };
        let answering = async {
            gone.await.unwrap();
            let answer = http::Response::default();
            respond.send_response(answer, true).unwrap();
        };
        tokio::join!(running, answering);
    };
    let _server = env.spawn("server", serving);
    let url = Url::parse("http://somebody").unwrap();
    let trunk = Trunk::start(Box::new(client), &url, &env).await.unwrap();
    let mut lane = trunk.lane().unwrap();
    let asked = lane.call(call(Method::GET, "/", None), WITHIN);
    let watching = async {
        while trunk.lane().is_some() {
            tokio::task::yield_now().await;
        }
        assert!(!trunk.is_open());
        go.send(()).unwrap();
    };
    let (answered, ()) = tokio::join!(asked, watching);
    assert_eq!(answered.unwrap().status, StatusCode::OK);
}

/// Answers every call, `each` apart, and no ping.
async fn answer_calls_only(server: tokio::io::DuplexStream, each: Duration, env: Env) {
    let (mut reading, mut writing) = tokio::io::split(server);
    let mut preface = [0; 24];
    reading.read_exact(&mut preface).await.unwrap();
    let (settings, acknowledgement) = ([0, 0, 0, 4, 0, 0, 0, 0, 0], [0, 0, 0, 4, 1, 0, 0, 0, 0]);
    writing.write_all(&settings).await.unwrap();
    let mut head = [0; 9];
    while reading.read_exact(&mut head).await.is_ok() {
        let [high, middle, low, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        reading.read_exact(&mut payload).await.unwrap();
        match kind {
            // HEADERS: `:status: 200`, and no more.
            1 => {
                env.sleep(each).await;
                let [a, b, c, d] = stream;
                let answer = [0, 0, 1, 1, 5, a, b, c, d, 0x88];
                writing.write_all(&answer).await.unwrap();
            }
            // SETTINGS are acknowledged.
            4 if flags == 0 => writing.write_all(&acknowledgement).await.unwrap(),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_trunk_lives_for_as_long_as_anything_is_answered() {
    let env = Env::virtual_time(1);
    let (client, server) = tokio::io::duplex(64 << 10);
    let each = Duration::from_secs(4);
    let _server = env.spawn("server", answer_calls_only(server, each, env.clone()));
    let url = Url::parse("http://somebody").unwrap();
    let trunk = Trunk::start(Box::new(client), &url, &env).await.unwrap();
    let mut lane = trunk.lane().unwrap();
    for _ in 0..30 {
        let answer = lane.call(call(Method::GET, "/", None), WITHIN).await;
        assert_eq!(answer.unwrap().status, StatusCode::OK);
    }
    env.sleep(Duration::from_secs(15 + 15 + 11)).await;
    assert!(!trunk.is_open(), "silence is noticed");
}

#[tokio::test]
async fn over_tls_the_server_chooses_what_is_spoken() {
    let (env, drain) = (Env::system(), Drain::new());
    let scratch = Scratch::new();
    let authority = Authority::new("ours");
    let ca = scratch.write("ca.pem", &authority.certificate());
    let connector = connector_for(Some(ca), Protocol::Auto);
    let issued = authority.issue(&["127.0.0.1"], Validity::Now);
    let files = issued.write(&scratch, "server");
    for alpn in [Alpn::Both, Alpn::Http1] {
        let settings = ServerSettings {
            certificates: vec![files.clone()],
            versions: Versions::default(),
            alpn,
            clients: None,
        };
        let (tls, _) = ServerTls::new(&settings, env.now()).unwrap();
        let (url, _server) = told_back_by(&env, drain.watch(), Some(Arc::new(tls)));
        let asked = call(Method::GET, "/a", None);
        let answered = match Trunk::open(&url, Some(&connector), &env).await.unwrap() {
            Opened::Trunk(trunk) => {
                assert_eq!(alpn, Alpn::Both);
                trunk.lane().unwrap().call(asked, WITHIN).await
            }
            Opened::Line(mut line) => {
                assert_eq!(alpn, Alpn::Http1);
                line.call(asked, WITHIN).await
            }
        };
        assert_eq!(answered.unwrap().status, StatusCode::ACCEPTED);
    }
}
