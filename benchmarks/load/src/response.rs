//! One HTTP/1.1 answer: how long is it, and did it go well?
//!
//! Only what a load generator needs: the answers come from servers under test,
//! one at a time, and an answer that cannot be read counts as a failure.

const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The answer goes on.
    Partial,
    /// The answer is complete.
    Complete {
        /// Status code.
        status: u16,
        /// The server will close the connection.
        closes: bool,
    },
    /// This is not an HTTP/1.1 answer.
    Broken,
}

/// Reads `bytes`, which start at the beginning of an answer.
pub(crate) fn read(bytes: &[u8]) -> Progress {
    let Some(head_length) = find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
        let broken = bytes.len() > HEAD_BYTES_MAX;
        return if broken {
            Progress::Broken
        } else {
            Progress::Partial
        };
    };
    let Some(status) = status(bytes) else {
        return Progress::Broken;
    };
    let (head, body) = bytes.split_at(head_length);
    if (100..200).contains(&status) && status != 101 {
        return read(body);
    }
    let complete = match field(head, "content-length") {
        Some(length) => match length.parse::<usize>() {
            Ok(length) => body.len() >= length,
            Err(_) => return Progress::Broken,
        },
        None if field(head, "transfer-encoding").is_some() => {
            body == b"0\r\n\r\n" || body.ends_with(b"\r\n0\r\n\r\n")
        }
        None => true,
    };
    if !complete {
        return Progress::Partial;
    }
    let closes = field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Progress::Complete { status, closes }
}

/// The value of the first field called `name`.
pub(crate) fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(head).ok()?;
    head.split("\r\n").find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Where `needle` first occurs.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

fn status(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_complete_at_their_length() {
        let complete = |status, closes| Progress::Complete { status, closes };
        let table: [(&[u8], Progress); 8] = [
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                complete(200, false),
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
                Progress::Partial,
            ),
            (b"HTTP/1.1 200 OK\r\ncontent-", Progress::Partial),
            (
                b"HTTP/1.1 503 No\r\nConnection: close\r\ncontent-length: 0\r\n\r\n",
                complete(503, true),
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                complete(200, false),
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
                Progress::Partial,
            ),
            (
                b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
                complete(204, false),
            ),
            (b"SSH-2.0\r\n\r\n", Progress::Broken),
        ];
        for (bytes, expected) in table {
            assert_eq!(read(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
