//! Which version of HTTP a client speaks: its first bytes say so, with TLS and without.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What an HTTP/2 client says first (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is clear whether the client says [`PREFACE`], and gives back what was
/// read: all of that and nothing else if it does.
///
/// # Errors
/// The connection broke off.
pub(super) async fn greeting(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut seen = Vec::with_capacity(PREFACE.len());
    let mut rest = stream.take(PREFACE.len() as u64);
    while PREFACE.starts_with(&seen) && seen.len() < PREFACE.len() {
        if rest.read_buf(&mut seen).await? == 0 {
            break;
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_no_more_than_it_needs() {
        for (sent, expected) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"[..], PREFACE),
            (
                b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n",
                b"PRI * HTTP/1.1\r\nHost: a\r",
            ),
            (b"PUT", b"PUT"),
            (b"P", b"P"),
            (b"", b""),
        ] {
            let seen = greeting(&mut &sent[..]).await.unwrap();
            assert_eq!(seen, expected, "{}", String::from_utf8_lossy(sent));
        }
    }
}
