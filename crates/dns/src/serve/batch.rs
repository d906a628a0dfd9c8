//! Answers by UDP that leave by one system call.

use std::{array, io::IoSlice, net::SocketAddr};

use quinn_udp::BATCH_SIZE;
use rustix::{
    io::Errno,
    net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg},
};
use tokio::net::UdpSocket;

/// Answers that wait for others to leave with them; its room is used again.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where in those bytes each answer begins and ends, and where it goes.
    answers: Vec<(usize, usize, SocketAddrAny)>,
}

impl Batch {
    /// Adds an answer, and says whether the batch is full: it is to be sent before the next.
    pub(super) fn put(&mut self, answer: &[u8], peer: SocketAddr) -> bool {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(answer);
        self.answers.push((from, self.bytes.len(), peer.into()));
        self.answers.len() >= BATCH_SIZE
    }

    /// Sends them all. One that finds no room is lost, as any datagram may be.
    pub(super) fn send(&mut self, socket: &UdpSocket) {
        if !self.answers.is_empty() {
            self.send_all(socket);
        }
        self.bytes.clear();
        self.answers.clear();
    }

    fn send_all(&self, socket: &UdpSocket) {
        let bodies: [[IoSlice<'_>; 1]; BATCH_SIZE] = array::from_fn(|place| {
            let answer = self.answers.get(place);
            let body = answer.and_then(|(from, to, _)| self.bytes.get(*from..*to));
            [IoSlice::new(body.unwrap_or_default())]
        });
        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; BATCH_SIZE] =
            array::from_fn(|_| SendAncillaryBuffer::default());
        let mut each = self.answers.iter().zip(&bodies);
        let mut headers = controls.each_mut().map(|control| match each.next() {
            Some(((.., peer), body)) => MMsgHdr::new_with_addr(peer, body, control),
            None => MMsgHdr::new(&[], control),
        });
        let mut left = headers.get_mut(..self.answers.len()).unwrap_or_default();
        while !left.is_empty() {
            let done = match sendmmsg(socket, left, SendFlags::empty()) {
                Ok(sent) => sent.max(1),
                Err(Errno::INTR) => 0,
                Err(Errno::WOULDBLOCK) => {
                    tracing::debug!("there is no room for answers");
                    return;
                }
                // The first one's fault; the others may be well.
                Err(error) => {
                    tracing::debug!(%error, "an answer could not be sent");
                    1
                }
            };
            left = left.get_mut(done..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_go_each_to_its_own_peer_past_one_that_none_can_reach() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut batch = Batch::default();
        // From a loopback address nothing is sent elsewhere.
        batch.put(b"nobody", "192.0.2.1:53".parse().unwrap());
        let mut peers = Vec::new();
        for number in 1..u8::try_from(BATCH_SIZE).unwrap() {
            let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let is_full = batch.put(&[number; 40], peer.local_addr().unwrap());
            assert_eq!(is_full, usize::from(number) + 1 == BATCH_SIZE);
            peers.push(peer);
        }
        batch.send(&socket);
        assert!(batch.answers.is_empty());
        for (peer, number) in peers.iter().zip(1_u8..) {
            let mut room = [0; 100];
            let (length, from) = peer.recv_from(&mut room).await.unwrap();
            assert_eq!(
                (&room[..length], from),
                (&[number; 40][..], socket.local_addr().unwrap())
            );
        }
    }
}
