//! One probe: a connection, and a GET if the check is by HTTP.

use std::{io, net::SocketAddr, sync::Arc};

use portolan_dialects::native::Span;
use portolan_model::route::{Check, Probe};
use portolan_runtime::Env;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::Outcome;

/// Bytes of an answer that are looked at; the status stands at its start.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// What people say instead of the system's words.
const WORDS: [(io::ErrorKind, &str); 5] = [
    (io::ErrorKind::ConnectionRefused, "connection refused"),
    (io::ErrorKind::ConnectionReset, "connection reset"),
    (io::ErrorKind::HostUnreachable, "host unreachable"),
    (io::ErrorKind::NetworkUnreachable, "network unreachable"),
    (io::ErrorKind::TimedOut, "connection timed out"),
];

/// Probes an instance. The error says in plain words what is wrong.
pub(super) async fn probe(env: &Env, address: SocketAddr, check: &Check) -> Outcome {
    match env
        .timeout(check.timeout, attempt(address, &check.probe))
        .await
    {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("timed out after {}", Span(check.timeout)).into()),
    }
}

async fn attempt(address: SocketAddr, probe: &Probe) -> Outcome {
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(|error| words(&error))?;
    let Probe::Http { path, host } = probe else {
        return Ok(());
    };
    let host = host
        .as_ref()
        .map_or_else(|| address.to_string(), ToString::to_string);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: portolan-check\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| words(&error))?;
    match read_status(&mut stream).await? {
        200..=299 => Ok(()),
        status => Err(format!("status {status}").into()),
    }
}

/// The status of the final answer; interim answers are skipped.
async fn read_status(stream: &mut TcpStream) -> Result<u16, Arc<str>> {
    let mut answer = Vec::with_capacity(1024);
    loop {
        while let Some(status) = status_of(&answer)? {
            if status >= 200 {
                return Ok(status);
            }
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
                break;
            };
            answer.drain(..end + 4);
        }
        if answer.len() >= ANSWER_BYTES_MAX {
            return Err("the answer has no status".into());
        }
        let read = stream.read_buf(&mut answer).await;
        if read.map_err(|error| words(&error))? == 0 {
            return Err("closed without an answer".into());
        }
    }
}

/// The status in the first line, once it is there.
fn status_of(answer: &[u8]) -> Result<Option<u16>, Arc<str>> {
    let digits = match answer {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'0' | b'1',
            b' ',
            digits @ ..,
        ] => digits,
        _ if b"HTTP/1.1 ".starts_with(answer) || b"HTTP/1.0 ".starts_with(answer) => {
            return Ok(None);
        }
        _ => return Err("the answer is not HTTP/1".into()),
    };
    match digits {
        [a, b, c, b' ' | b'\r' | b'\n', ..] if [a, b, c].iter().all(|d| d.is_ascii_digit()) => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Ok(Some(digit(a) * 100 + digit(b) * 10 + digit(c)))
        }
        _ if digits.len() < 4 => Ok(None),
        _ => Err("the answer is not HTTP/1".into()),
    }
}

fn words(error: &io::Error) -> Arc<str> {
    let known = WORDS.iter().find(|(kind, _)| *kind == error.kind());
    match known {
        Some((_, words)) => (*words).into(),
        None => error.to_string().to_lowercase().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_as_soon_as_it_is_there() {
        let cases: [(&str, Result<Option<u16>, &str>); 8] = [
            ("", Ok(None)),
            ("HTTP/1", Ok(None)),
            ("HTTP/1.1 20", Ok(None)),
            ("HTTP/1.1 200 OK\r\n", Ok(Some(200))),
            ("HTTP/1.0 503\r\n", Ok(Some(503))),
            ("SSH-2.0", Err("the answer is not HTTP/1")),
            ("HTTP/2.0 200", Err("the answer is not HTTP/1")),
            ("HTTP/1.1 2000 ", Err("the answer is not HTTP/1")),
        ];
        for (answer, status) in cases {
            let got = status_of(answer.as_bytes());
            assert_eq!(
                got.as_ref().map_err(AsRef::as_ref),
                status.as_ref().map_err(|e| *e),
                "{answer}"
            );
        }
    }
}
