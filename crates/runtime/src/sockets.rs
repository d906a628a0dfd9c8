//! Listening sockets, for as long as the program and its successors live.
//!
//! Each worker has a socket of its own at each address (`SO_REUSEPORT`), so that the
//! kernel deals connections out and no worker wakes for another's. A socket's queue
//! of unaccepted connections dies with its last descriptor: therefore [`Sockets`]
//! keeps one of each, hands out duplicates, adopts what a predecessor or a service
//! manager hands in, and closes an address only when told to.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections that the kernel keeps per socket until a worker takes them; the
/// system's own limit (`net.core.somaxconn`) may be lower.
const BACKLOG: i32 = 4096;

/// A connection on which nothing is said is asked for a sign of life after this, so often, and
/// so long apart.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// What is sent and not acknowledged for so long ends a connection.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program listens there, or another Portolan.
    #[error("address {address} is in use")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The program may not listen there: ports below 1024 need a privilege.
    #[error("no permission to listen on {address}")]
    Denied {
        /// The address.
        address: SocketAddr,
    },
    /// No interface of this machine has the address.
    #[error("address {address} is not one of this machine")]
    NotLocal {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else, like no descriptors left.
    #[error("can't listen on {address}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl ListenError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        let kind = source.kind();
        if kind == io::ErrorKind::AddrInUse {
            Self::InUse { address }
        } else if kind == io::ErrorKind::PermissionDenied {
            Self::Denied { address }
        } else if kind == io::ErrorKind::AddrNotAvailable {
            Self::NotLocal { address }
        } else {
            Self::Other { address, source }
        }
    }
}

/// Has the system end a connection whose other side is gone without a word, within half a
/// minute: for those on which an answer may take long.
///
/// # Errors
/// The system's.
pub fn keep_alive(connection: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(connection);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT))
}

/// All listening sockets of the program.
#[derive(Debug, Default)]
pub struct Sockets {
    open: BTreeMap<SocketAddr, Vec<TcpListener>>,
    /// Handed in and not asked for yet.
    inherited: BTreeMap<SocketAddr, Vec<TcpListener>>,
    /// The same for UDP.
    open_datagrams: BTreeMap<SocketAddr, Vec<UdpSocket>>,
    inherited_datagrams: BTreeMap<SocketAddr, Vec<UdpSocket>>,
}

/// The UDP sockets of one address.
#[derive(Debug)]
pub struct Datagrams {
    /// Where they are; the port is the system's choice if 0 was asked for.
    pub address: SocketAddr,
    /// At least one for each worker, to be dealt round robin. They do not block.
    pub sockets: Vec<UdpSocket>,
}

/// The sockets of one address.
#[derive(Debug)]
pub struct Listening {
    /// Where they listen; the port is the system's choice if 0 was asked for.
    pub address: SocketAddr,
    /// At least one for each worker, to be dealt round robin: each has a queue that
    /// somebody must serve. They do not block, and accepted sockets have no delay.
    pub listeners: Vec<TcpListener>,
}

impl Sockets {
    /// No sockets but those that a predecessor or the service manager handed in.
    ///
    /// # Errors
    /// The system's, if one of them is not a socket.
    pub fn new<S: Into<OwnedFd>>(inherited: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let mut sockets = Self::default();
        for socket in inherited {
            let socket = Socket::from(socket.into());
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?.as_socket();
            let address = address.ok_or(io::ErrorKind::Unsupported)?;
            if socket.r#type()? == Type::DGRAM {
                let known = sockets.inherited_datagrams.entry(address);
                known.or_default().push(socket.into());
            } else {
                let known = sockets.inherited.entry(address);
                known.or_default().push(socket.into());
            }
        }
        Ok(sockets)
    }

    /// Listens on an address, with a socket for each worker; asked again, it gives
    /// the same sockets. An unspecified IPv6 address takes IPv4, too.
    ///
    /// # Errors
    /// [`ListenError`] says why not.
    pub fn listen(
        &mut self,
        address: SocketAddr,
        workers: NonZeroUsize,
    ) -> Result<Listening, ListenError> {
        let mut listeners = match self.open.remove(&address) {
            Some(open) => open,
            None => self.inherited.remove(&address).unwrap_or_default(),
        };
        let failed = |source| ListenError::new(address, source);
        let grown = grow(&mut listeners, address, workers.get());
        let bound = match listeners.first().map(TcpListener::local_addr) {
            Some(bound) => bound.map_err(failed)?,
            None => address,
        };
        let duplicates =
            grown.and_then(|()| listeners.iter().map(TcpListener::try_clone).collect());
        if !listeners.is_empty() {
            self.open.insert(bound, listeners);
        }
        Ok(Listening {
            address: bound,
            listeners: duplicates.map_err(failed)?,
        })
    }

    /// Takes datagrams at an address, with a socket for each worker; asked again, it gives
    /// the same sockets. An unspecified IPv6 address takes IPv4, too.
    ///
    /// # Errors
    /// [`ListenError`] says why not.
    pub fn listen_datagrams(
        &mut self,
        address: SocketAddr,
        workers: NonZeroUsize,
    ) -> Result<Datagrams, ListenError> {
        let open = self.open_datagrams.remove(&address);
        let mut sockets = open.unwrap_or_else(|| {
            self.inherited_datagrams
                .remove(&address)
                .unwrap_or_default()
        });
        let failed = |source| ListenError::new(address, source);
        let grown = grow_datagrams(&mut sockets, address, workers.get());
        let bound = match sockets.first().map(UdpSocket::local_addr) {
            Some(bound) => bound.map_err(failed)?,
            None => address,
        };
        let duplicates = grown.and_then(|()| sockets.iter().map(UdpSocket::try_clone).collect());
        if !sockets.is_empty() {
            self.open_datagrams.insert(bound, sockets);
        }
        Ok(Datagrams {
            address: bound,
            sockets: duplicates.map_err(failed)?,
        })
    }

    /// Lets go of an address, for connections and datagrams; it is closed when the workers
    /// have dropped their duplicates, too.
    pub fn close(&mut self, address: SocketAddr) {
        self.open.remove(&address);
        self.open_datagrams.remove(&address);
    }

    /// Closes what was handed in and nobody asked for, and says what that was.
    pub fn close_inherited(&mut self) -> Vec<SocketAddr> {
        let listeners = std::mem::take(&mut self.inherited).into_keys();
        let datagrams = std::mem::take(&mut self.inherited_datagrams).into_keys();
        listeners.chain(datagrams).collect()
    }

    /// Every open listening socket.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &TcpListener)> {
        let open = self.open.iter();
        open.flat_map(|(address, listeners)| listeners.iter().map(|listener| (*address, listener)))
    }

    /// Every open socket, to hand over to a successor.
    pub fn descriptors(&self) -> impl Iterator<Item = (SocketAddr, BorrowedFd<'_>)> {
        let datagrams = self.open_datagrams.iter();
        let datagrams = datagrams
            .flat_map(|(address, sockets)| sockets.iter().map(|socket| (*address, socket.as_fd())));
        let listeners = self
            .iter()
            .map(|(address, listener)| (address, listener.as_fd()));
        listeners.chain(datagrams)
    }
}

/// Adds sockets until every worker has one.
fn grow(listeners: &mut Vec<TcpListener>, address: SocketAddr, workers: usize) -> io::Result<()> {
    let mut address = address;
    if listeners.is_empty() {
        check_free(address)?;
        let first = bind(address)?;
        address = first.local_addr()?;
        listeners.push(first);
    }
    for listener in &*listeners {
        // Accepted sockets inherit it, which saves a system call for each.
        SockRef::from(listener).set_tcp_nodelay(true)?;
    }
    let mut turn = 0;
    while listeners.len() < workers {
        let Some(sibling) = listeners.get(turn) else {
            break;
        };
        // A socket from elsewhere may allow no siblings, or none of this user: then
        // workers share it.
        let may = SockRef::from(sibling).reuse_port()?;
        let own = may.then(|| bind(address)).and_then(Result::ok);
        let next = own.map_or_else(|| sibling.try_clone(), Ok)?;
        listeners.push(next);
        turn += 1;
    }
    Ok(())
}

/// Adds UDP sockets until every worker has one.
fn grow_datagrams(
    sockets: &mut Vec<UdpSocket>,
    address: SocketAddr,
    workers: usize,
) -> io::Result<()> {
    let mut address = address;
    if sockets.is_empty() {
        if address.port() != 0 {
            let probe = datagram_socket(address)?;
            probe.bind(&address.into())?;
        }
        let first = bind_datagrams(address)?;
        address = first.local_addr()?;
        sockets.push(first);
    }
    let mut turn = 0;
    while sockets.len() < workers {
        let Some(sibling) = sockets.get(turn) else {
            break;
        };
        let may = SockRef::from(sibling).reuse_port()?;
        let own = may.then(|| bind_datagrams(address)).and_then(Result::ok);
        let next = own.map_or_else(|| sibling.try_clone(), Ok)?;
        sockets.push(next);
        turn += 1;
    }
    Ok(())
}

fn bind_datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = datagram_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn datagram_socket(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    Ok(socket)
}

/// Fails if anybody listens there. With `SO_REUSEPORT` a second process of the same
/// user would not fail, but silently take a share of the connections.
fn check_free(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let probe = socket(address)?;
    probe.bind(&address.into())
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    // Sockets of ended connections may linger at the address.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    fn workers(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    /// Accepts from whichever socket has somebody waiting, until `count` came.
    fn accept(listeners: &[TcpListener], count: usize) {
        let accepted = |listener: &TcpListener| listener.incoming().map_while(Result::ok).count();
        let mut got = 0;
        // A connection is in its queue when the last packet of three is there.
        for _ in 0..1_000_000 {
            got += listeners.iter().map(accepted).sum::<usize>();
            if got >= count {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(got, count);
    }

    #[test]
    fn every_worker_has_a_socket_and_every_connection_is_in_one_queue() {
        let mut sockets = Sockets::default();
        let listening = sockets.listen(ANY, workers(3)).unwrap();
        assert_eq!(listening.listeners.len(), 3);
        let clients: Vec<_> = (0..30)
            .map(|_| TcpStream::connect(listening.address).unwrap())
            .collect();
        accept(&listening.listeners, clients.len());
    }

    #[test]
    fn an_address_in_use_is_refused_even_by_a_socket_that_could_share_it() {
        let (mut one, mut other) = (Sockets::default(), Sockets::default());
        let address = one.listen(ANY, workers(2)).unwrap().address;
        let error = other.listen(address, workers(2)).unwrap_err();
        assert_eq!(error.to_string(), format!("address {address} is in use"));
    }

    #[test]
    fn a_foreign_address_is_refused_with_a_reason() {
        let foreign = "192.0.2.1:8080".parse().unwrap();
        let error = Sockets::default().listen(foreign, workers(1)).unwrap_err();
        assert!(matches!(error, ListenError::NotLocal { .. }), "{error:?}");
    }

    #[test]
    fn an_address_stays_open_until_it_is_closed() {
        let mut sockets = Sockets::default();
        let address = sockets.listen(ANY, workers(2)).unwrap().address;
        let _waiting = TcpStream::connect(address).unwrap();
        let again = sockets.listen(address, workers(2)).unwrap();
        accept(&again.listeners, 1);
        drop(again);
        sockets.close(address);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn inherited_sockets_are_adopted_with_their_queues() {
        let mut predecessor = Sockets::default();
        let address = predecessor.listen(ANY, workers(2)).unwrap().address;
        let clients: Vec<_> = (0..20)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let handed: Vec<_> = predecessor
            .iter()
            .map(|(_, listener)| listener.try_clone().unwrap())
            .collect();
        drop(predecessor);

        let mut successor = Sockets::new(handed).unwrap();
        let listening = successor.listen(address, workers(4)).unwrap();
        assert_eq!(listening.listeners.len(), 4);
        accept(&listening.listeners, clients.len());
        assert!(successor.close_inherited().is_empty());
    }

    #[test]
    fn more_sockets_than_workers_are_all_given_out() {
        let mut predecessor = Sockets::default();
        let address = predecessor.listen(ANY, workers(3)).unwrap().address;
        let handed: Vec<_> = predecessor
            .iter()
            .map(|(_, listener)| listener.try_clone().unwrap())
            .collect();
        let mut successor = Sockets::new(handed).unwrap();
        let listening = successor.listen(address, workers(1)).unwrap();
        assert_eq!(listening.listeners.len(), 3);
    }

    #[test]
    fn a_socket_that_allows_no_siblings_is_shared() {
        let plain = TcpListener::bind(ANY).unwrap();
        let address = plain.local_addr().unwrap();
        let mut sockets = Sockets::new([plain]).unwrap();
        let listening = sockets.listen(address, workers(3)).unwrap();
        assert_eq!(listening.listeners.len(), 3);
        let _client = TcpStream::connect(address).unwrap();
        accept(&listening.listeners, 1);
    }

    #[test]
    fn what_nobody_asks_for_is_closed_and_named() {
        let plain = TcpListener::bind(ANY).unwrap();
        let address = plain.local_addr().unwrap();
        let mut sockets = Sockets::new([plain]).unwrap();
        assert_eq!(sockets.close_inherited(), [address]);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn unspecified_ipv6_takes_ipv4_too() {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        let mut sockets = Sockets::default();
        let Ok(listening) = sockets.listen(any, workers(1)) else {
            return; // a machine without IPv6
        };
        let _client = TcpStream::connect((ANY.ip(), listening.address.port())).unwrap();
        accept(&listening.listeners, 1);
    }

    #[test]
    fn datagrams_are_dealt_and_handed_over_with_what_has_come() {
        let mut predecessor = Sockets::default();
        let listening = predecessor.listen_datagrams(ANY, workers(3)).unwrap();
        let address = listening.address;
        assert_eq!(listening.sockets.len(), 3);
        let again = Sockets::default().listen_datagrams(address, workers(1));
        let error = again.unwrap_err().to_string();
        assert_eq!(error, format!("address {address} is in use"));
        let client = UdpSocket::bind(ANY).unwrap();
        client.send_to(b"early", address).unwrap();

        let handed: Vec<_> = predecessor
            .descriptors()
            .map(|(_, descriptor)| descriptor.try_clone_to_owned().unwrap())
            .collect();
        drop((predecessor, listening));
        let mut successor = Sockets::new(handed).unwrap();
        let listening = successor.listen_datagrams(address, workers(3)).unwrap();
        assert_eq!(listening.sockets.len(), 3);
        let mut room = [0; 16];
        let received = |socket: &UdpSocket| socket.recv(&mut room).ok();
        let received: Vec<_> = listening.sockets.iter().filter_map(received).collect();
        assert_eq!(received, [5]);
        assert!(successor.close_inherited().is_empty());
        successor.close(address);
        drop(listening);
        assert!(
            Sockets::default()
                .listen_datagrams(address, workers(1))
                .is_ok()
        );
    }

    #[test]
    fn a_connection_whose_other_side_is_gone_ends_within_half_a_minute() {
        let listener = TcpListener::bind(ANY).unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        keep_alive(&connection).unwrap();
        let socket = SockRef::from(&connection);
        assert!(socket.keepalive().unwrap());
        let probing = KEEPALIVE_INTERVAL * KEEPALIVE_PROBES;
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert!(KEEPALIVE_IDLE + probing <= Duration::from_secs(30));
        let timeout = socket.tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_secs(30)));
    }
}
