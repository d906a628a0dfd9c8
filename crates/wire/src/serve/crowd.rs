//! How many connections each client has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// The connections of clients that have a limit; never more entries than connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd {
    /// Guards the counts; held for no await.
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A client has as many connections as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// A connection's place in the crowd; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place(Option<(Crowd, IpAddr)>);

impl Crowd {
    /// A place for one more connection of a client. Without a limit nothing is counted.
    pub(super) fn admit(&self, client: IpAddr, limit: Option<usize>) -> Result<Place, Full> {
        let Some(limit) = limit else {
            return Ok(Place(None));
        };
        let client = whole(client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= limit {
            return Err(Full);
        }
        *count = count.saturating_add(1);
        drop(counts);
        Ok(Place(Some((self.clone(), client))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((crowd, client)) = self.0.take() else {
            return;
        };
        let mut counts = crowd.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&client);
            }
        }
    }
}

/// A client as a whole: of IPv6 addresses, one machine has all that begin alike.
fn whole(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(network.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_connections_and_no_more() {
        let crowd = Crowd::default();
        let client = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = crowd.admit(client("10.0.0.1"), Some(2));
        let _second = crowd.admit(client("10.0.0.1"), Some(2)).unwrap();
        assert_eq!(crowd.admit(client("10.0.0.1"), Some(2)).unwrap_err(), Full);
        assert!(crowd.admit(client("10.0.0.2"), Some(2)).is_ok());
        assert!(crowd.admit(client("10.0.0.1"), None).is_ok());
        drop(first);
        assert!(crowd.admit(client("10.0.0.1"), Some(2)).is_ok());
    }

    #[test]
    fn what_is_not_there_takes_no_room() {
        let crowd = Crowd::default();
        let place = crowd
            .admit("2001:db8::1".parse().unwrap(), Some(1))
            .unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        assert_eq!(crowd.admit(neighbour, Some(1)).unwrap_err(), Full);
        drop(place);
        assert!(crowd.counts.lock().unwrap().is_empty());
    }
}
