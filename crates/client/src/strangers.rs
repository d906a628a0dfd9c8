//! Whoever answers where a registry should be: a program goes on and is told why.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{Discovery, DiscoveryBuilder, Registration, Source, Standing};

/// What a stranger does after its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Closes,
    Waits,
    /// Sends on for ever.
    Floods,
}

/// A server that says the same to everybody.
struct Stranger {
    url: String,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stranger {
    fn new(answer: &'static str, then: Then) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            for socket in listener.incoming() {
                if told.load(Relaxed) {
                    return;
                }
                let told = Arc::clone(&told);
                thread::spawn(move || answer_to(&socket.unwrap(), answer, then, &told));
            }
        });
        Self {
            url,
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        let _woken = TcpStream::connect(self.url.trim_start_matches("http://"));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer_to(mut socket: &TcpStream, answer: &str, then: Then, ends: &AtomicBool) {
    let mut asked = [0; 4096];
    let wait = Some(Duration::from_millis(100));
    socket.set_read_timeout(wait).unwrap();
    let _read = socket.read(&mut asked);
    let mut sent = socket.write_all(answer.as_bytes());
    while then != Then::Closes && sent.is_ok() && !ends.load(Relaxed) {
        match then {
            Then::Floods => sent = socket.write_all(&[b'['; 1 << 13]),
            // Its end is seen within the wait.
            Then::Waits | Then::Closes => {
                if let Ok(0) = socket.read(&mut asked) {
                    return;
                }
            }
        }
    }
}

const STRANGERS: [(&str, Then); 11] = [
    ("", Then::Closes),
    ("", Then::Waits),
    ("SSH-2.0-OpenSSH_9.2\r\n", Then::Waits),
    (
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\n\r\n<html>no</html>",
        Then::Waits,
    ),
    (
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        Then::Waits,
    ),
    (
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        Then::Waits,
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        Then::Waits,
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\nnull",
        Then::Waits,
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\n",
        Then::Floods,
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\n",
        Then::Floods,
    ),
    ("HTTP/1.1 200 OK\r\nx: ", Then::Floods),
];

/// How a discovery is told to ask there.
type Asks = fn(&str) -> DiscoveryBuilder;

const ASKS: [(&str, Asks); 3] = [
    ("portolan", |url| Discovery::builder().registry(url)),
    ("consul", |url| {
        Discovery::builder().source(Source::consul(url))
    }),
    ("eureka", |url| {
        Discovery::builder().source(Source::eureka(url))
    }),
];

#[tokio::test]
async fn a_stranger_in_a_registry_s_place_teaches_nothing_and_stops_nobody() {
    let mut waits = Vec::new();
    for (answer, then) in STRANGERS {
        for (kind, asks) in ASKS {
            waits.push(async move {
                let stranger = Stranger::new(answer, then);
                let discovery = asks(&stranger.url).start().unwrap();
                let told = discovery.ready(Duration::from_secs(2)).await;
                let about = format!("{kind} {answer:?}, {then:?}: {told:?}");
                assert!(discovery.services().is_empty(), "{about}");
                (told, about)
            });
        }
    }
    for (told, about) in join(waits).await {
        // That is what a Consul without services says.
        assert!(told.is_err() || about.contains("\\r\\n{}"), "{about}");
    }
}

#[tokio::test]
async fn a_stranger_in_a_registry_s_place_holds_no_registration() {
    let mut waits = Vec::new();
    for (answer, then) in STRANGERS {
        waits.push(async move {
            let stranger = Stranger::new(answer, then);
            let registration = Registration::new("orders").port(1).id("a");
            let keeper = registration.registry(&stranger.url).keep_alive().unwrap();
            let mut standing = keeper.standing();
            let retrying = standing.wait_for(|now| matches!(now, Standing::Retrying { .. }));
            let told = tokio::time::timeout(Duration::from_secs(20), retrying).await;
            let told = format!(
                "{answer:?}, {then:?}: {:?}",
                told.map(|told| told.unwrap().clone())
            );
            assert!(told.contains("Retrying"), "{told}");
        });
    }
    join(waits).await;
}

/// All of them at once.
async fn join<T: Send + 'static>(futures: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let mut tasks = tokio::task::JoinSet::new();
    for future in futures {
        tasks.spawn(future);
    }
    tasks.join_all().await
}
