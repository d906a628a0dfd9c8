//! A probe by a program in a container, over the Docker engine's HTTP API (1.24 and
//! later): an exec is made, started, listened to, and asked for its exit code.
//!
//! The engine has no way to end an exec, so one that takes too long runs on in its
//! container.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::{
    Failed, Outcome,
    connect::{drive, words},
    cut, exited, text,
};

/// Largest answer that is JSON.
const JSON_BYTES_MAX: usize = 64 << 10;
/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Prefix of a piece of output: one byte for the stream, three nothing, four the length.
const PREFIX_BYTES: usize = 8;
/// Most of the engine's words that are passed on.
const WORDS_BYTES_MAX: usize = 200;

pub(super) async fn run(
    socket: &Path,
    container: &str,
    command: &[Arc<str>],
    output_max: usize,
) -> Result<Outcome, Failed> {
    let wish = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": command});
    let path = format!("/containers/{container}/exec");
    let made = ask(socket, Method::POST, &path, Some(wish), Reading::Json).await?;
    let made = json_of(&made)?;
    let id = made.get("Id").and_then(Value::as_str).filter(|id| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
        !id.is_empty() && id.len() <= 128 && id.bytes().all(is_plain)
    });
    let id = id.ok_or("the Docker engine gives no id")?;
    let wish = json!({"Detach": false, "Tty": false});
    let path = format!("/exec/{id}/start");
    let reading = Reading::Output(output_max);
    let output = ask(socket, Method::POST, &path, Some(wish), reading).await?;
    let path = format!("/exec/{id}/json");
    let ended = ask(socket, Method::GET, &path, None, Reading::Json).await?;
    let code = json_of(&ended)?.get("ExitCode").and_then(Value::as_i64);
    code.map(|code| exited(Some(code), &output))
        .ok_or_else(|| "the Docker engine gives no exit code".into())
}

/// What is kept of an answer.
#[derive(Clone, Copy)]
enum Reading {
    Json,
    Output(usize),
}

async fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<Value>,
    reading: Reading,
) -> Result<Vec<u8>, Failed> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|error| -> Failed {
        format!("the Docker engine is not there: {}", words(&error)).into()
    })?;
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = method;
    *request.uri_mut() = path
        .parse()
        .map_err(|_| Failed::from("the container is no name"))?;
    let fields = request.headers_mut();
    fields.insert(HOST, HeaderValue::from_static("docker"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    drive(connection, async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| broken(&error))?;
        read(answer, reading).await
    })
    .await
}

async fn read(answer: Response<Incoming>, reading: Reading) -> Result<Vec<u8>, Failed> {
    let status = answer.status();
    let is_output = matches!(reading, Reading::Output(_)) && status == StatusCode::OK;
    let mut body = answer.into_body();
    let mut pieces = Pieces::default();
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        match reading {
            Reading::Output(most) if is_output => pieces.take(data, &mut all, most),
            Reading::Output(_) | Reading::Json => {
                all.extend_from_slice(data);
                if all.len() > JSON_BYTES_MAX {
                    return Err("the Docker engine's answer is too large".into());
                }
            }
        }
    }
    if status.is_success() {
        return Ok(all);
    }
    let message = json_of(&all).unwrap_or_default();
    let message = message.get("message").and_then(Value::as_str);
    let message = text(message.unwrap_or_default().as_bytes());
    let said = cut(&message, WORDS_BYTES_MAX);
    Err(format!("the Docker engine says {} {said}", status.as_u16())
        .trim_end()
        .into())
}

/// Takes output out of the pieces in which both streams come.
#[derive(Default)]
struct Pieces {
    prefix: Vec<u8>,
    left: usize,
}

impl Pieces {
    fn take(&mut self, mut data: &[u8], into: &mut Vec<u8>, most: usize) {
        while !data.is_empty() {
            if self.left == 0 {
                let missing = PREFIX_BYTES.saturating_sub(self.prefix.len());
                let (head, rest) = data.split_at(missing.min(data.len()));
                self.prefix.extend_from_slice(head);
                data = rest;
                if let [_, _, _, _, a, b, c, d] = *self.prefix {
                    let length = u32::from_be_bytes([a, b, c, d]);
                    self.left = usize::try_from(length).unwrap_or(usize::MAX);
                    self.prefix.clear();
                }
                continue;
            }
            let (piece, rest) = data.split_at(self.left.min(data.len()));
            self.left -= piece.len();
            let room = most.saturating_sub(into.len()).min(piece.len());
            into.extend_from_slice(piece.get(..room).unwrap_or_default());
            data = rest;
        }
    }
}

fn json_of(bytes: &[u8]) -> Result<Value, Failed> {
    serde_json::from_slice(bytes).map_err(|_| "the Docker engine's answer is not JSON".into())
}

fn broken(error: &hyper::Error) -> Failed {
    format!("the Docker engine does not answer: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_put_together_wherever_it_was_cut() {
        let stream = b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x02de";
        for cut in 1..stream.len() {
            let (mut pieces, mut all) = (Pieces::default(), Vec::new());
            for part in stream.chunks(cut) {
                pieces.take(part, &mut all, 4);
            }
            assert_eq!(all, b"abcd", "cut every {cut}");
        }
    }
}
