//! A probe by UDP: nobody has to answer, but a refusal is one.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use portolan_model::route::Place;
use portolan_runtime::Env;
use tokio::net::UdpSocket;

use super::{
    Failed, Outcome,
    connect::{addresses, words},
};

pub(super) async fn probe(
    env: &Env,
    (at, home): (&Place, SocketAddr),
    payload: &str,
    timeout: Duration,
) -> Result<Outcome, Failed> {
    let found = addresses(at, home).await?;
    let address = found.first().ok_or("the host has no address")?;
    let asking = async {
        let local: SocketAddr = if address.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(address).await?;
        socket.send(payload.as_bytes()).await?;
        socket.recv(&mut [0]).await
    };
    match env.timeout(timeout, asking).await {
        Ok(Ok(_)) => Ok(Outcome::good("answered")),
        Ok(Err(error)) => Err(words(&error)),
        Err(_) => Ok(silence()),
    }
}

/// Nobody answered, which is fine.
pub(super) fn silence() -> Outcome {
    Outcome::good("not refused")
}
