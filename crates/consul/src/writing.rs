//! Waiting for writes to be visible, and what a request brings with it.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use portolan_dialects::consul::Refusal;
use portolan_model::ByteSize;
use portolan_wire::serve::{CollectError, Peer, Request, collect};

use super::{
    answering::refusal,
    asking,
    clerk::{WriteError, Writing},
};

/// The largest body of a request.
const BODY_MAX: ByteSize = ByteSize::from_bytes(512 << 10);

/// Waits until all of these are visible to every reader.
pub(super) async fn wait_for(writings: Vec<Writing>) -> Result<(), Refusal> {
    for writing in writings {
        writing.await.map_err(|error| match error {
            WriteError::Registry(error) => refusal(&error),
            WriteError::Ledger(error) => asking::failed(&error),
            WriteError::Refused(refused) => asking::refusal(&refused),
        })?;
    }
    Ok(())
}

pub(super) async fn body(request: Request) -> Result<Bytes, Refusal> {
    body_up_to(request, BODY_MAX).await
}

pub(super) async fn body_up_to(request: Request, limit: ByteSize) -> Result<Bytes, Refusal> {
    let collected = collect(request.into_body(), limit).await;
    collected.map_err(|error| match error {
        CollectError::TooLarge { limit } => {
            let max = limit.as_bytes();
            let text = format!("Request body too large, max size: {max} bytes");
            Refusal::new(413, text)
        }
        CollectError::Body(error) => Refusal::bad(error.to_string()),
    })
}

pub(super) fn caller(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.address.ip())
}
