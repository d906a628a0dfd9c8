//! ZooKeeper's messages: numbers in network order, texts and buffers after their length.
//!
//! Source: ZooKeeper's `zookeeper.jute`; the numbers of operations and errors are those of
//! its `ZooDefs.OpCode` and `KeeperException.Code`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Answers with this number are events.
pub(super) const EVENT: i32 = -1;
/// The number of pings.
pub(super) const PING: i32 = -2;
/// The number of what shows who one is.
pub(super) const AUTH: i32 = -4;

/// Where in what is known of a node the session of its maker stands; 0 for a node that
/// stays.
const OWNER_AT: usize = 44;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    /// Whether there is such a node; leaves a watch.
    Exists(&'a str),
    /// A node's data, with a watch or without.
    Data(&'a str, bool),
    /// A node's children, with a watch or without.
    Children(&'a str, bool),
    /// To catch up with the leader.
    Sync(&'a str),
    /// A watch on a node and all below it, that stays.
    Watch(&'a str),
    /// A sign of life.
    Ping,
    /// Shows who one is.
    Auth(&'a str, &'a [u8]),
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoNode,
    NoAuth,
    AuthFailed,
    Unimplemented,
    Other(i32),
}

/// Something happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    Created,
    Deleted,
    Data,
    Children,
    /// Nothing to a node, but to the session.
    None,
}

/// An event of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) happening: Happening,
    pub(super) path: String,
}

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it says something that is not ZooKeeper's protocol")]
pub(super) struct Malformed;

impl Ask<'_> {
    /// The message, with this number.
    pub(super) fn written(&self, number: i32) -> BytesMut {
        let mut body = BytesMut::new();
        let (number, kind) = match self {
            Self::Exists(_) => (number, 3),
            Self::Data(..) => (number, 4),
            Self::Children(..) => (number, 12),
            Self::Sync(_) => (number, 9),
            Self::Watch(_) => (number, 106),
            Self::Ping => (PING, 11),
            Self::Auth(..) => (AUTH, 100),
        };
        body.put_i32(number);
        body.put_i32(kind);
        match self {
            Self::Exists(path) => put_watched(&mut body, path, true),
            Self::Data(path, watch) | Self::Children(path, watch) => {
                put_watched(&mut body, path, *watch);
            }
            Self::Sync(path) => put(&mut body, path.as_bytes()),
            Self::Watch(path) => {
                put(&mut body, path.as_bytes());
                // Persistent and recursive.
                body.put_i32(1);
            }
            Self::Ping => {}
            Self::Auth(scheme, secret) => {
                body.put_i32(0);
                put(&mut body, scheme.as_bytes());
                put(&mut body, secret);
            }
        }
        framed(&body)
    }
}

/// Asks for a new session.
pub(super) fn connect(timeout_ms: i32) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_i32(0);
    body.put_i64(0);
    body.put_i32(timeout_ms);
    body.put_i64(0);
    put(&mut body, &[0; 16]);
    body.put_u8(0);
    framed(&body)
}

/// The time that the server grants a session, in milliseconds.
pub(super) fn connected(mut body: Bytes) -> Result<u32, Malformed> {
    body.try_get_i32().map_err(|_| Malformed)?;
    let timeout = body.try_get_i32().map_err(|_| Malformed)?;
    u32::try_from(timeout).map_err(|_| Malformed)
}

/// Takes the number and the refusal, if there is one, off an answer.
pub(super) fn head(body: &mut Bytes) -> Result<(i32, Option<Refusal>), Malformed> {
    let number = body.try_get_i32().map_err(|_| Malformed)?;
    body.try_get_i64().map_err(|_| Malformed)?;
    let refusal = match body.try_get_i32().map_err(|_| Malformed)? {
        0 => None,
        -101 => Some(Refusal::NoNode),
        -102 => Some(Refusal::NoAuth),
        -115 => Some(Refusal::AuthFailed),
        -6 => Some(Refusal::Unimplemented),
        code => Some(Refusal::Other(code)),
    };
    Ok((number, refusal))
}

pub(super) fn event(mut body: Bytes) -> Result<Event, Malformed> {
    let kind = body.try_get_i32().map_err(|_| Malformed)?;
    body.try_get_i32().map_err(|_| Malformed)?;
    let happening = match kind {
        1 => Happening::Created,
        2 => Happening::Deleted,
        3 => Happening::Data,
        4 => Happening::Children,
        _ => Happening::None,
    };
    let path = text(&mut body)?;
    Ok(Event { happening, path })
}

/// A node's data, and whether it stays when the session of its maker ends.
pub(super) fn data(mut body: Bytes) -> Result<(Bytes, bool), Malformed> {
    let data = buffer(&mut body)?;
    let owner = body.get(OWNER_AT..).ok_or(Malformed)?;
    let owner = { owner }.try_get_i64().map_err(|_| Malformed)?;
    Ok((data, owner == 0))
}

pub(super) fn children(mut body: Bytes) -> Result<Vec<String>, Malformed> {
    let count = body.try_get_i32().map_err(|_| Malformed)?;
    // Each child takes its length at least, so a false count ends soon.
    (0..count.max(0)).map(|_| text(&mut body)).collect()
}

fn text(body: &mut Bytes) -> Result<String, Malformed> {
    let text = buffer(body)?;
    String::from_utf8(text.into()).map_err(|_| Malformed)
}

/// A buffer; one that is not there is empty.
fn buffer(body: &mut Bytes) -> Result<Bytes, Malformed> {
    let size = body.try_get_i32().map_err(|_| Malformed)?;
    let size = usize::try_from(size.max(0)).map_err(|_| Malformed)?;
    if body.len() < size {
        return Err(Malformed);
    }
    Ok(body.split_to(size))
}

fn put_watched(body: &mut BytesMut, path: &str, watch: bool) {
    put(body, path.as_bytes());
    body.put_u8(u8::from(watch));
}

fn put(body: &mut BytesMut, bytes: &[u8]) {
    put_size(body, bytes.len());
    body.put_slice(bytes);
}

fn put_size(body: &mut BytesMut, size: usize) {
    body.put_i32(i32::try_from(size).unwrap_or(i32::MAX));
}

fn framed(body: &[u8]) -> BytesMut {
    let mut frame = BytesMut::with_capacity(body.len().saturating_add(4));
    put(&mut frame, body);
    frame
}

/// Reads bytes as every kind of message.
pub(crate) fn read_anything(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    let _granted = connected(body.clone());
    let _event = event(body.clone());
    if let Ok((data, _)) = data(body.clone()) {
        assert!(data.len() <= input.len());
    }
    if let Ok(children) = children(body.clone()) {
        assert!(children.iter().map(String::len).sum::<usize>() <= input.len());
    }
    let mut rest = body;
    if head(&mut rest).is_ok() {
        assert!(rest.len() < input.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_written_as_the_protocol_has_it() {
        let asked = Ask::Children("/a", true).written(7);
        let expected = [
            0, 0, 0, 15, 0, 0, 0, 7, 0, 0, 0, 12, 0, 0, 0, 2, b'/', b'a', 1,
        ];
        assert_eq!(&asked[..], &expected);
    }

    #[test]
    fn an_answer_is_read_as_the_protocol_has_it() {
        let mut body =
            Bytes::from_static(&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 255, 255, 255, 155]);
        assert_eq!(head(&mut body), Ok((7, Some(Refusal::NoNode))));
        let body = Bytes::from_static(&[0, 0, 0, 2, 0, 0, 0, 1, b'a', 0, 0, 0, 1, b'b']);
        assert_eq!(children(body), Ok(vec!["a".to_owned(), "b".to_owned()]));
        let body = Bytes::from_static(&[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2, b'/', b'a']);
        let gone = Event {
            happening: Happening::Deleted,
            path: "/a".to_owned(),
        };
        assert_eq!(event(body), Ok(gone));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let body = Bytes::from(bytes);
            let _any = head(&mut body.clone());
            let _any = event(body.clone());
            let _any = data(body.clone());
            let _any = children(body.clone());
            let _any = connected(body);
        }
    }
}
