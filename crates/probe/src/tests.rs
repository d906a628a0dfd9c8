//! Claims about probes, on sockets of loopback and with programs of this machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
};

use portolan_model::{
    ByteSize, Health, InstanceId, ServiceKey,
    route::{AnswerMatch, HostPort, HttpMeans, Place, Probe},
};
use portolan_testkit::{Authority, Scratch, Validity};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UdpSocket, UnixListener},
};
use tokio_rustls::TlsAcceptor;

use super::*;

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Runs one probe under those settings.
async fn run_under(settings: ReachSettings, address: SocketAddr, probe: Probe) -> Outcome {
    let settings = watch::Sender::new(settings);
    let reach = Reach::new(Env::system(), settings.subscribe());
    let (service, instance) = (
        ServiceKey::parse("orders").unwrap(),
        InstanceId::parse("a").unwrap(),
    );
    let task = Task {
        about: Some((&service, &instance)),
        address,
        probe: &probe,
    };
    reach.probe(task).await
}

async fn run(address: SocketAddr, means: Means) -> Outcome {
    run_under(ReachSettings::default(), address, Probe::new("a", means)).await
}

/// The health and the reason.
fn said(outcome: &Outcome) -> (Health, &str) {
    (
        outcome.health,
        outcome.reason.as_deref().unwrap_or_default(),
    )
}

const GOOD: (Health, &str) = (Health::Passing, "");

fn http(change: impl FnOnce(&mut HttpMeans)) -> Means {
    let mut http = HttpMeans::get("/");
    change(&mut http);
    Means::Http(Box::new(http))
}

/// The head of a request and its body, as far as they come at once.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = vec![0; 4096];
    let read = stream.read(&mut request).await.unwrap();
    request.truncate(read);
    String::from_utf8(request).unwrap()
}

/// Answers every connection by what it was asked.
async fn server(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer(&read_request(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    Env::system().spawn("server", serving).detach();
    address
}

fn reply(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_request_is_as_it_was_asked_for() {
    let address = server(|request| reply("200 OK", request)).await;
    let means = http(|http| {
        http.method = "POST".into();
        http.path = "/health?deep=1".into();
        http.host = Some("a.test".into());
        http.headers = vec![
            ("x-token".into(), "secret".into()),
            ("User-Agent".into(), "mine".into()),
        ];
        http.body = "{}".into();
    });
    let outcome = run(address, means).await;
    assert_eq!(said(&outcome), GOOD);
    assert_eq!(
        &*outcome.output,
        "POST /health?deep=1 HTTP/1.1\nHost: a.test\nUser-Agent: mine\nAccept: */*\n\
         Connection: close\nX-Token: secret\nContent-Length: 2\n\n{}"
            .replace('\n', "\u{fffd}\n")
            .as_str()
    );
}

#[tokio::test]
async fn a_status_is_good_a_complaint_or_bad() {
    for (status, statuses, expected) in [
        ("200 OK", vec![], GOOD),
        ("299 Fine", vec![], GOOD),
        ("429 Slow", vec![], (Health::Warning, "status 429")),
        ("503 No", vec![], (Health::Critical, "status 503")),
        ("302 Found", vec![], (Health::Critical, "status 302")),
        ("302 Found", vec![200..=200, 300..=399], GOOD),
        (
            "204 Empty",
            vec![200..=200],
            (Health::Critical, "status 204"),
        ),
        (
            "429 Slow",
            vec![200..=200],
            (Health::Critical, "status 429"),
        ),
    ] {
        let address = server(move |_| reply(status, "")).await;
        let outcome = run(address, http(|http| http.statuses = statuses)).await;
        assert_eq!(said(&outcome), expected, "{status}");
    }
}

#[tokio::test]
async fn a_body_must_hold_what_was_asked_for() {
    let address = server(|_| reply("200 OK", "{\"db\": \"up\", \"queue\": 7}")).await;
    let answers = [
        (AnswerMatch::Contains("\"db\": \"up\"".into()), GOOD),
        (AnswerMatch::Regex("queue\": [0-9]}$".into()), GOOD),
        (
            AnswerMatch::Contains("down".into()),
            (Health::Critical, "the body does not hold `down`"),
        ),
        (
            AnswerMatch::Regex("^queue".into()),
            (Health::Critical, "the body does not hold `^queue`"),
        ),
    ];
    for (answer, expected) in answers {
        let outcome = run(address, http(|http| http.answer = Some(answer))).await;
        assert_eq!(said(&outcome), expected);
    }
}

#[tokio::test]
async fn a_body_is_kept_up_to_the_limit_and_not_one_byte_more() {
    let address = server(|_| reply("200 OK", &"x".repeat(20))).await;
    for (most, kept) in [(19, 19), (20, 20), (21, 20)] {
        let probe = Probe {
            output_max: ByteSize::from_bytes(most),
            ..Probe::new("a", http(|_| {}))
        };
        let outcome = run_under(ReachSettings::default(), address, probe).await;
        assert_eq!(outcome.output.len(), kept);
    }
}

#[tokio::test]
async fn an_answer_without_end_is_judged_by_its_head() {
    let address = server(|_| "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".to_owned()).await;
    assert_eq!(said(&run(address, http(|_| {})).await), GOOD);
}

#[tokio::test]
async fn redirects_are_followed_as_often_as_asked_for() {
    let address = server(|request| match request.split(' ').nth(1).unwrap() {
        "/" => "HTTP/1.1 307 X\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/next" => {
            let host = request.split("Host: ").nth(1).unwrap();
            let host = host.split('\r').next().unwrap();
            format!("HTTP/1.1 302 X\r\nlocation: http://{host}/end\r\ncontent-length: 0\r\n\r\n")
        }
        _ => reply("200 OK", "end"),
    })
    .await;
    let with = |most| http(|http| http.redirects_max = most);
    let outcome = run(address, with(1)).await;
    assert_eq!(said(&outcome), (Health::Critical, "status 302"));
    let outcome = run(address, with(2)).await;
    assert_eq!((said(&outcome), &*outcome.output), (GOOD, "end"));
}

#[tokio::test]
async fn what_is_not_http_is_told_so() {
    for (answer, reason) in [
        ("SSH-2.0-OpenSSH\r\n\r\n", "the answer is not HTTP/1"),
        ("", "closed without an answer"),
    ] {
        let address = server(|_| answer.to_owned()).await;
        let outcome = run(address, http(|_| {})).await;
        assert_eq!(said(&outcome), (Health::Critical, reason));
    }
}

#[tokio::test]
async fn a_probe_has_its_time_and_no_more() {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let probe = Probe {
        timeout: Duration::from_millis(50),
        ..Probe::new("a", http(|_| {}))
    };
    let address = listener.local_addr().unwrap();
    let outcome = run_under(ReachSettings::default(), address, probe).await;
    assert_eq!(said(&outcome), (Health::Critical, "timed out after 50ms"));
}

#[tokio::test]
async fn places_are_found_by_port_address_and_name() {
    let address = server(|_| reply("200 OK", "")).await;
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let host = |host: &str| {
        Place::Host(HostPort {
            host: host.to_owned(),
            port: address.port(),
        })
    };
    for at in [
        Place::Port(address.port()),
        Place::Address(address),
        host("localhost"),
        host("127.0.0.1"),
    ] {
        let outcome = run(nowhere, http(|http| http.at = at.clone())).await;
        assert_eq!(said(&outcome), GOOD, "{at:?}");
    }
    let outcome = run(nowhere, http(|http| http.at = Place::Home)).await;
    assert_eq!(said(&outcome), (Health::Critical, "connection refused"));
}

/// Accepts TLS, and goes on with what `then` does.
async fn tls_server<F>(
    authority: &Authority,
    alpn: &[u8],
    then: fn(tokio_rustls::server::TlsStream<tokio::net::TcpStream>) -> F,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let issued = authority.issue(&["a.test"], Validity::Now);
    let scratch = Scratch::new();
    let files = issued.write(&scratch, "a");
    let acceptor = acceptor(&files, alpn);
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust us goes away.
            if let Ok(stream) = acceptor.accept(stream).await {
                then(stream).await;
            }
        }
    };
    Env::system().spawn("server", serving).detach();
    address
}

fn acceptor(files: &portolan_model::route::CertificateFiles, alpn: &[u8]) -> TlsAcceptor {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let chain = CertificateDer::pem_file_iter(&files.certificate).unwrap();
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config).into()
}

async fn answer_ok(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    // Who only wanted the handshake goes away without a word.
    if !matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {
        return;
    }
    stream
        .write_all(reply("200 OK", "").as_bytes())
        .await
        .unwrap();
    stream.flush().await.unwrap();
}

#[tokio::test]
async fn certificates_are_verified_unless_it_was_asked_otherwise() {
    let authority = Authority::new("test");
    let scratch = Scratch::new();
    let trusting = ReachSettings {
        ca: Some(scratch.write("ca.pem", &authority.certificate())),
        ..ReachSettings::default()
    };
    let address = tls_server(&authority, b"http/1.1", answer_ok).await;
    let tls = |name: Option<&str>, verify| UpstreamTls {
        server_name: name.map(str::to_owned),
        verify,
        ..UpstreamTls::default()
    };
    for (settings, tls, expected) in [
        (&trusting, tls(Some("a.test"), Verify::Full), "passing"),
        (&trusting, tls(None, Verify::Off), "passing"),
        (&trusting, tls(None, Verify::Full), "is for a.test, not for"),
        (
            &trusting,
            tls(Some("b.test"), Verify::Full),
            "is for a.test, not for b.test",
        ),
        (
            &ReachSettings::default(),
            tls(Some("a.test"), Verify::Full),
            "not trusted",
        ),
    ] {
        for means in [
            http(|http| http.tls = Some(tls.clone())),
            Means::Tcp {
                at: Place::Home,
                tls: Some(tls.clone()),
            },
        ] {
            let probe = Probe::new("a", means);
            let outcome = run_under(settings.clone(), address, probe).await;
            let told = format!("{:?} {:?}", outcome.health, outcome.reason).to_lowercase();
            assert!(told.contains(expected), "{told}, not {expected}");
        }
    }
}

/// An answer of that size in all, most of it a field that nobody knows, that says `SERVING`.
fn serving_at_length(bytes: u16) -> Vec<u8> {
    let [high, low] = (bytes - 5).to_be_bytes();
    let filling = bytes - 10;
    let varint: [u8; 2] =
        [filling & 0x7f | 0x80, filling >> 7].map(|byte| byte.try_into().unwrap());
    let mut answer = vec![0, 0, 0, high, low, 0x08, 1, 0x12];
    answer.extend(varint);
    answer.resize(bytes.into(), b'x');
    answer
}

/// Answers gRPC by a health service that knows `known` and what has long answers.
async fn serve_health(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut connection) = ::h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let mut body = request.into_body();
        let work = async move {
            let mut asked = Vec::new();
            while let Some(data) = body.data().await {
                asked.extend_from_slice(&data.unwrap());
            }
            let (long, longer) = (serving_at_length(4096), serving_at_length(4097));
            let (status, message): (&str, &[u8]) = match &asked[5..] {
                b"\x0a\x04long" => ("0", &long),
                b"\x0a\x06longer" => ("0", &longer),
                b"\x0a\x04busy" => ("14", b"\0\0\0\0\0"),
                b"" => ("0", b"\0\0\0\0\x02\x08\x01"),
                b"\x0a\x05known" => ("0", b"\0\0\0\0\x02\x08\x02"),
                b"\x0a\x04none" => ("12", b""),
                _ => ("5", b""),
            };
            let mut answer = ::http::Response::new(());
            let fields = answer.headers_mut();
            fields.insert("content-type", "application/grpc".parse().unwrap());
            if message.is_empty() {
                fields.insert("grpc-status", status.parse().unwrap());
                respond.send_response(answer, true).unwrap();
                return;
            }
            let mut stream = respond.send_response(answer, false).unwrap();
            stream.send_data(message.to_vec().into(), false).unwrap();
            let mut trailers = ::http::HeaderMap::new();
            trailers.insert("grpc-status", status.parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        };
        Env::system().spawn("answer", work).detach();
    }
}

fn grpc(service: &str, tls: Option<UpstreamTls>) -> Means {
    Means::Grpc {
        at: Place::Home,
        service: service.into(),
        tls,
    }
}

async fn health_server() -> SocketAddr {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            serve_health(stream).await;
        }
    };
    Env::system().spawn("server", serving).detach();
    address
}

#[tokio::test]
async fn a_health_service_is_asked_about_a_service() {
    let address = health_server().await;
    for (service, expected) in [
        ("", GOOD),
        ("known", (Health::Critical, "the server says NOT_SERVING")),
        (
            "other",
            (Health::Critical, "the server does not know the service"),
        ),
        (
            "none",
            (Health::Critical, "the server has no health service"),
        ),
        ("busy", (Health::Critical, "grpc status 14")),
        ("long", GOOD),
        ("longer", (Health::Critical, "the answer is too large")),
    ] {
        let outcome = run(address, grpc(service, None)).await;
        assert_eq!(said(&outcome), expected);
    }
}

#[tokio::test]
async fn a_health_service_is_asked_over_tls() {
    let authority = Authority::new("test");
    let address = tls_server(&authority, b"h2", serve_health).await;
    let off = UpstreamTls {
        verify: Verify::Off,
        ..UpstreamTls::default()
    };
    assert_eq!(said(&run(address, grpc("", Some(off))).await), GOOD);
}

#[tokio::test]
async fn a_ping_of_http2_is_answered_or_not() {
    let ping = Means::H2Ping {
        at: Place::Home,
        tls: None,
    };
    let address = health_server().await;
    assert_eq!(said(&run(address, ping.clone()).await), GOOD);
    let address = server(|_| reply("400 Bad", "")).await;
    assert_eq!(run(address, ping).await.health, Health::Critical);
}

#[tokio::test]
async fn a_datagram_may_be_answered_or_lost_but_not_refused() {
    let socket = UdpSocket::bind(LOCAL).await.unwrap();
    let address = socket.local_addr().unwrap();
    let udp = |timeout| Probe {
        timeout: Duration::from_millis(timeout),
        ..Probe::new(
            "a",
            Means::Udp {
                at: Place::Home,
                payload: "ping".into(),
            },
        )
    };
    let settings = ReachSettings::default;
    let silent = run_under(settings(), address, udp(20)).await;
    assert_eq!((said(&silent), &*silent.output), (GOOD, "not refused"));
    let mut heard = [0; 9];
    assert_eq!(socket.recv(&mut heard).await.unwrap(), 4);
    let answering = async {
        let (_, from) = socket.recv_from(&mut heard).await.unwrap();
        socket.send_to(b"pong", from).await.unwrap();
    };
    let (answered, ()) = tokio::join!(run_under(settings(), address, udp(5000)), answering);
    assert_eq!((said(&answered), &*answered.output), (GOOD, "answered"));
    drop(socket);
    let refused = run_under(settings(), address, udp(5000)).await;
    assert_eq!(said(&refused), (Health::Critical, "connection refused"));
}

fn programs() -> ReachSettings {
    ReachSettings {
        runs_programs: true,
        ..ReachSettings::default()
    }
}

fn script(text: &str) -> Probe {
    let command = ["/bin/sh", "-c", text].map(Arc::from).to_vec();
    Probe {
        fall: NonZeroU32::MIN,
        ..Probe::new("a", Means::Script { command })
    }
}

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

#[tokio::test]
async fn programs_are_off_until_they_are_turned_on() {
    let outcome = run_under(ReachSettings::default(), NOWHERE, script("true")).await;
    let (health, reason) = said(&outcome);
    assert_eq!(health, Health::Critical);
    assert!(reason.contains("registry.checks.scripts"), "{reason}");
}

#[tokio::test]
async fn a_program_s_exit_code_is_its_verdict() {
    for (text, expected) in [
        ("exit 0", GOOD),
        ("exit 1", (Health::Warning, "exit code 1")),
        ("exit 2", (Health::Critical, "exit code 2")),
        ("kill -9 $$", (Health::Critical, "ended by a signal")),
    ] {
        let outcome = run_under(programs(), NOWHERE, script(text)).await;
        assert_eq!(said(&outcome), expected, "{text}");
    }
    let text = "echo; echo $PORTOLAN_SERVICE $PORTOLAN_ADDRESS; echo $HOME$CARGO >&2; exit 2";
    let outcome = run_under(programs(), NOWHERE, script(text)).await;
    assert_eq!(outcome.detail.as_deref(), Some("orders 127.0.0.1:1"));
    assert_eq!(&*outcome.output, "\norders 127.0.0.1:1");
}

#[tokio::test]
async fn a_program_s_output_is_bounded_and_no_reason_to_wait() {
    let text = "head -c 1000000 /dev/zero | tr '\\0' x";
    let probe = Probe {
        output_max: ByteSize::from_bytes(10),
        timeout: Duration::from_secs(30),
        ..script(text)
    };
    let outcome = run_under(programs(), NOWHERE, probe).await;
    assert_eq!((said(&outcome), &*outcome.output), (GOOD, "xxxxxxxxxx"));
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_with_its_children() {
    let scratch = Scratch::new();
    let pid = scratch.path().join("pid");
    let text = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let probe = Probe {
        timeout: Duration::from_millis(500),
        ..script(&text)
    };
    let outcome = run_under(programs(), NOWHERE, probe).await;
    assert_eq!(said(&outcome), (Health::Critical, "timed out after 500ms"));
    let child = std::fs::read_to_string(&pid).unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", child.trim()));
    // It is gone, or waits for whoever inherited it to take notice.
    let is_gone = || {
        let stat = std::fs::read_to_string(&stat);
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    let watching = async {
        while !is_gone() {
            tokio::task::yield_now().await;
        }
    };
    let env = Env::system();
    let gone = env.timeout(Duration::from_secs(30), watching).await;
    assert!(gone.is_ok(), "it goes on");
}

#[tokio::test]
async fn what_is_no_program_is_told_so() {
    let command = vec!["/no/such/program".into()];
    let probe = Probe::new("a", Means::Script { command });
    let outcome = run_under(programs(), NOWHERE, probe).await;
    let (health, reason) = said(&outcome);
    assert_eq!(health, Health::Critical);
    assert!(reason.starts_with("`/no/such/program`: "), "{reason}");
}

/// A Docker engine with one container, `db`, whose programs exit with `code`.
fn docker_engine(scratch: &Scratch, code: i32) -> PathBuf {
    let path = scratch.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            while !request.contains("\r\n\r\n")
                || request.ends_with("\r\n\r\n") && request.starts_with("POST")
            {
                request.push_str(&read_request(&mut stream).await);
            }
            let target = request.split(' ').nth(1).unwrap();
            let answer = match target {
                "/containers/db/exec" => {
                    assert!(request.contains(r#""Cmd":["check","-v"]"#), "{request}");
                    reply("201 Created", r#"{"Id": "e1"}"#)
                }
                "/exec/e1/start" => {
                    "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.docker.raw-stream\r\n\r\n\
                     \x02\0\0\0\0\0\0\x05full!"
                        .to_owned()
                }
                "/exec/e1/json" => reply("200 OK", &format!(r#"{{"ExitCode": {code}}}"#)),
                _ => reply("404 Not Found", r#"{"message": "No such container: web"}"#),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    Env::system().spawn("docker", serving).detach();
    path
}

#[tokio::test]
async fn a_program_in_a_container_is_run_by_the_engine() {
    let docker = |container: &str| {
        let command = vec!["check".into(), "-v".into()];
        let container = container.into();
        Probe::new("a", Means::Docker { container, command })
    };
    let scratch = Scratch::new();
    let settings = |docker| ReachSettings {
        docker,
        ..programs()
    };
    let away = settings(scratch.path().join("none.sock"));
    let outcome = run_under(away, NOWHERE, docker("db")).await;
    assert!(
        said(&outcome)
            .1
            .starts_with("the Docker engine is not there")
    );
    let here = settings(docker_engine(&scratch, 2));
    let outcome = run_under(here.clone(), NOWHERE, docker("db")).await;
    assert_eq!(said(&outcome), (Health::Critical, "exit code 2"));
    assert_eq!(outcome.detail.as_deref(), Some("full!"));
    let outcome = run_under(here, NOWHERE, docker("web")).await;
    let words = "the Docker engine says 404 No such container: web";
    assert_eq!(said(&outcome), (Health::Critical, words));
}
