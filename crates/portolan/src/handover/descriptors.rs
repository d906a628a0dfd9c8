//! Descriptors over a Unix socket (`SCM_RIGHTS`, unix(7)).

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    cmsg_space,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use tokio::{io::Interest, net::UnixStream};

/// Descriptors in one message; the kernel takes at most 253.
const BATCH: usize = 64;

/// Sends descriptors, in batches that each ride on one byte.
pub(super) async fn send(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for batch in descriptors.chunks(BATCH) {
        stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                control.push(SendAncillaryMessage::ScmRights(batch));
                let body = [IoSlice::new(b"d")];
                sendmsg(stream, &body, &mut control, SendFlags::NOSIGNAL)?;
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// Receives so many descriptors. They close when a child process is started.
pub(super) async fn receive(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut descriptors = Vec::new();
    while descriptors.len() < count {
        let batch = stream
            .async_io(Interest::READABLE, || receive_batch(stream))
            .await?;
        descriptors.extend(batch);
    }
    if descriptors.len() == count {
        return Ok(descriptors);
    }
    Err(io::Error::other("more descriptors than announced"))
}

fn receive_batch(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // One byte only: what follows is not for this call.
    let mut byte = [0];
    let mut body = [IoSliceMut::new(&mut byte)];
    let got = recvmsg(stream, &mut body, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(batch) = message {
            descriptors.extend(batch);
        }
    }
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if got.flags.contains(ReturnFlags::CTRUNC) || descriptors.is_empty() {
        let words = "descriptors were lost: the limit of open files may be too low";
        return Err(io::Error::other(words));
    }
    Ok(descriptors)
}
