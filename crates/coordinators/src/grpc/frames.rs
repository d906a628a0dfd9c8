//! Messages within a stream of bytes: a flag, a length, and that many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use super::{GrpcError, MESSAGE_BYTES_MAX};

/// The flag and the length.
const HEAD_BYTES: usize = 5;

/// What was read and is no whole message yet.
#[derive(Debug, Default)]
pub(super) struct Frames(BytesMut);

impl Frames {
    pub(super) fn push(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    /// The next message, once all of it is there.
    pub(super) fn take(&mut self) -> Result<Option<Bytes>, GrpcError> {
        let Some((head, rest)) = self.0.split_at_checked(HEAD_BYTES) else {
            return Ok(None);
        };
        let mut head = head;
        if head.get_u8() != 0 {
            return Err(GrpcError::Compressed);
        }
        let size = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
        if size > MESSAGE_BYTES_MAX {
            return Err(GrpcError::TooLarge { size });
        }
        if rest.len() < size {
            return Ok(None);
        }
        self.0.advance(HEAD_BYTES);
        Ok(Some(self.0.split_to(size).freeze()))
    }
}

/// A message with its head.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let size = message.encoded_len();
    let mut frame = BytesMut::with_capacity(size.saturating_add(HEAD_BYTES));
    frame.put_u8(0);
    frame.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// A stream means the same whole and in pieces.
pub(crate) fn read_anything(input: &[u8]) {
    let read = |step: usize| {
        let (mut frames, mut messages) = (Frames::default(), Vec::new());
        for piece in input.chunks(step.max(1)) {
            frames.push(piece);
            loop {
                match frames.take() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => return (messages, false),
                }
            }
        }
        (messages, true)
    };
    let whole = read(input.len());
    for step in [1, 3, 64] {
        assert_eq!(read(step), whole);
    }
}
