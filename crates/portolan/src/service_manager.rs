//! The service manager that started the program: systemd, or one that speaks like it.
//!
//! It may hand in listening sockets (`LISTEN_FDS`, `sd_listen_fds(3)`), which it keeps
//! open between two runs, and may want to be told when the program is ready, reloads
//! or ends (`NOTIFY_SOCKET`, `sd_notify(3)`).

use std::{
    ffi::OsString,
    io,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
};

use listenfd::ListenFd;

/// Takes the TCP sockets that the service manager hands in. To be called before any
/// thread is started, since the variables that announce them are removed.
///
/// # Errors
/// If something that was announced is not a TCP socket.
pub(crate) fn inherited_listeners() -> io::Result<Vec<TcpListener>> {
    let mut handed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..handed.len() {
        if let Some(listener) = handed.take_tcp_listener(index)? {
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

/// What the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The program serves; this process is the one to watch from now on.
    Ready,
    /// The program finishes what is under way.
    Stopping,
}

/// The way to the service manager, if it wants to be told.
#[derive(Debug)]
pub(crate) struct ServiceManager(Option<OsString>);

impl ServiceManager {
    /// The one that the environment names.
    #[must_use]
    pub(crate) fn from_env() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET"))
    }

    /// Tells the service manager, if there is one. That it can't be told is logged.
    pub(crate) fn tell(&self, news: News) {
        let Some(socket) = &self.0 else {
            return;
        };
        let text = match news {
            News::Ready => format!("READY=1\nMAINPID={}\n", process::id()),
            News::Stopping => "STOPPING=1\n".to_owned(),
        };
        if let Err(error) = send(socket, &text) {
            tracing::warn!(%error, "the service manager can't be told");
        }
    }
}

fn send(socket: &OsString, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(text.as_bytes(), &address)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use portolan_testkit::Scratch;

    use super::*;

    fn heard(at: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let bytes = at.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..bytes].to_vec()).unwrap()
    }

    #[test]
    fn the_service_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let scratch = Scratch::new();
        let path = scratch.path().join("notify");
        let at_path = UnixDatagram::bind(&path).unwrap();
        ServiceManager(Some(path.into())).tell(News::Stopping);
        assert_eq!(heard(&at_path), "STOPPING=1\n");

        let name = format!("portolan-test-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let at_name = UnixDatagram::bind_addr(&address).unwrap();
        ServiceManager(Some(format!("@{name}").into())).tell(News::Ready);
        let ready = format!("READY=1\nMAINPID={}\n", process::id());
        assert_eq!(heard(&at_name), ready);
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        ServiceManager(None).tell(News::Ready);
        ServiceManager(Some("/nowhere/at/all".into())).tell(News::Ready);
    }
}
