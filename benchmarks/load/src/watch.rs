//! Many watches, and the time until a change has reached all of them.
//!
//! Each watch is a stream of server-sent events on an HTTP/2 connection that it shares with
//! others: a process may have fewer descriptors than there are to be watches. Of HTTP/2 only
//! what that needs is here.
//! Source: RFC 9113; RFC 7541, appendix A, for the indices of the static table.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::histogram::Histogram;
use crate::poll::Poll;
use crate::response::find;

const STDIN: u64 = u64::MAX;
const READ_BYTES: usize = 256 * 1024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// What a connection's window is before anybody says otherwise.
const WINDOW_FIRST: u32 = 65_535;
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 1 | 4;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// Opened at a time, so that the server's backlog of new connections is never full.
const OPENED_AT_ONCE: usize = 32;

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// By stream: the round in which it last heard of a change.
    heard: Vec<u32>,
}

struct Watches {
    poll: Poll,
    buffer: Vec<u8>,
    connections: Vec<Connection>,
    /// Round 1 is the state at the beginning.
    round: u32,
    began: Instant,
    reached: usize,
    latencies: Histogram,
}

/// Opens the watches, then times a change for each line of standard input, until it closes.
///
/// # Errors
/// Bad arguments, a server that refuses, or one that ends a watch.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let address: SocketAddr = arguments.value("address", ([127, 0, 0, 1], 9070).into())?;
    let path = arguments.value("path", "/v1/watch".to_owned())?;
    let count: usize = arguments.value("connections", 100)?;
    let streams: usize = arguments.value("streams", 100)?;
    let mut watches = Watches {
        poll: Poll::new()?,
        buffer: vec![0; READ_BYTES],
        connections: Vec::new(),
        round: 1,
        began: Instant::now(),
        reached: 0,
        latencies: Histogram::new(),
    };
    while watches.connections.len() < count {
        for _ in 0..OPENED_AT_ONCE.min(count - watches.connections.len()) {
            watches.open(address, &path, streams)?;
        }
        while watches.reached < watches.connections.len() * streams {
            watches.turn()?;
        }
    }
    watches.report();
    watches.poll.watch(std::io::stdin(), STDIN)?;
    loop {
        if watches.turn()? {
            let mut line = String::new();
            let length = std::io::stdin().lock().read_line(&mut line);
            if length.map_err(|error| error.to_string())? == 0 {
                return Ok(());
            }
            watches.begin();
        }
    }
}

impl Watches {
    fn open(&mut self, address: SocketAddr, path: &str, streams: usize) -> Result<(), String> {
        let describe = |error| format!("connect {address}: {error}");
        let mut stream = TcpStream::connect(address).map_err(describe)?;
        let mut bytes = PREFACE.to_vec();
        let mut window = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        window.extend_from_slice(&WINDOW_MAX.to_be_bytes());
        frame(&mut bytes, SETTINGS, 0, 0, &window);
        let rest = WINDOW_MAX - WINDOW_FIRST;
        frame(&mut bytes, WINDOW_UPDATE, 0, 0, &rest.to_be_bytes());
        let head = head(path, &address.to_string())?;
        for number in 0..streams {
            let id = u32::try_from(2 * number + 1).map_err(|error| error.to_string())?;
            frame(&mut bytes, HEADERS, WHOLE, id, &head);
        }
        stream.write_all(&bytes).map_err(describe)?;
        stream.set_nonblocking(true).map_err(describe)?;
        self.poll.watch(&stream, self.connections.len() as u64)?;
        self.connections.push(Connection {
            stream,
            received: Vec::new(),
            heard: vec![0; streams],
        });
        Ok(())
    }

    /// Reads what has come; true if standard input has something.
    fn turn(&mut self) -> Result<bool, String> {
        let ready = self.poll.wait(Duration::from_secs(1)).to_vec();
        let mut is_told = false;
        for token in ready {
            match usize::try_from(token) {
                Ok(number) if token != STDIN => self.receive(number)?,
                _ => is_told = true,
            }
        }
        Ok(is_told)
    }

    fn receive(&mut self, number: usize) -> Result<(), String> {
        let connection = &mut self.connections[number];
        let length = match connection.stream.read(&mut self.buffer) {
            Ok(0) => return Err("the server closed a connection".to_owned()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        connection
            .received
            .extend_from_slice(&self.buffer[..length]);
        let mut reached = 0;
        while let Some((kind, flags, id, payload)) = next(&mut connection.received) {
            match kind {
                DATA if is_news(&payload) => {
                    let heard = connection.heard.get_mut(id as usize / 2);
                    let heard = heard.ok_or("data of an unknown stream")?;
                    if *heard < self.round {
                        *heard = self.round;
                        self.latencies.add(self.began.elapsed());
                        reached += 1;
                    }
                }
                SETTINGS if flags & ACK == 0 => connection.answer(SETTINGS, &[])?,
                PING if flags & ACK == 0 => connection.answer(PING, &payload)?,
                GO_AWAY | RESET => return Err(format!("the server ended stream {id}")),
                _ => {}
            }
        }
        self.reached += reached;
        if reached > 0 && self.round > 1 && self.reached == self.count() {
            self.report();
        }
        Ok(())
    }

    fn count(&self) -> usize {
        self.connections.iter().map(|one| one.heard.len()).sum()
    }

    fn begin(&mut self) {
        self.round += 1;
        self.reached = 0;
        self.latencies = Histogram::new();
        self.began = Instant::now();
    }

    fn report(&self) {
        println!(
            r#"{{"reached":{},"p50_us":{:.1},"p99_us":{:.1},"max_us":{:.1}}}"#,
            self.reached,
            self.latencies.quantile_us(0.5),
            self.latencies.quantile_us(0.99),
            self.latencies.max_us(),
        );
    }
}

impl Connection {
    fn answer(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        let mut bytes = Vec::new();
        frame(&mut bytes, kind, ACK, 0, payload);
        // A few bytes to a server that reads: they fit.
        self.stream
            .write_all(&bytes)
            .map_err(|error| error.to_string())
    }
}

/// Signs of life are no news; what is told at the beginning or of a change ends so.
fn is_news(payload: &[u8]) -> bool {
    find(payload, b"event: synced").is_some()
}

/// Kind, flags, stream and payload of the next frame, if it is whole.
fn next(received: &mut Vec<u8>) -> Option<(u8, u8, u32, Vec<u8>)> {
    let head: [u8; HEAD_BYTES] = received.get(..HEAD_BYTES)?.try_into().ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let payload = received.get(HEAD_BYTES..HEAD_BYTES + length)?.to_vec();
    received.drain(..HEAD_BYTES + length);
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & WINDOW_MAX;
    Some((head[3], head[4], id, payload))
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A request's header block: GET, http, and the two that vary, not to be indexed.
fn head(path: &str, authority: &str) -> Result<Vec<u8>, String> {
    let mut block = vec![0x82, 0x86];
    for (index, value) in [(4, path), (1, authority)] {
        let length = u8::try_from(value.len())
            .ok()
            .filter(|length| *length < 127);
        block.extend([index, length.ok_or("the path is too long")?]);
        block.extend_from_slice(value.as_bytes());
    }
    Ok(block)
}
