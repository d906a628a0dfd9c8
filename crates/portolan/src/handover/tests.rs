//! Hand-overs within one process: real sockets, real descriptors.

use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::Path,
    rc::Rc,
};

use portolan_runtime::{Env, Task, sockets::Sockets};
use portolan_testkit::Scratch;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::LocalSet,
};

use super::{line::is_trusted, *};
use crate::data_lock::DataLock;

/// A process as far as a hand-over is concerned.
struct Incumbent {
    sockets: Sockets,
    lock: DataLock,
    door: Door,
    address: SocketAddr,
}

fn incumbent(folder: &Path, env: &Env, workers: usize) -> Incumbent {
    let mut sockets = Sockets::default();
    let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let workers = NonZeroUsize::new(workers).unwrap();
    Incumbent {
        address: sockets.listen(any, workers).unwrap().address,
        sockets,
        lock: DataLock::take(folder).unwrap(),
        door: Door::open(folder, env).unwrap(),
    }
}

/// Accepts on every socket and answers each connection with `word`.
fn serve(env: &Env, listeners: Vec<TcpListener>, word: u8) -> Vec<Task> {
    let serve = |listener: TcpListener| {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        env.spawn_local("accept", async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(&[word]).await.unwrap();
            }
        })
    };
    listeners.into_iter().map(serve).collect()
}

fn duplicates(sockets: &Sockets) -> Vec<TcpListener> {
    let sockets = sockets.iter();
    sockets
        .map(|(_, listener)| listener.try_clone().unwrap())
        .collect()
}

#[tokio::test]
async fn connections_made_during_the_hand_over_are_all_served() {
    let scratch = Scratch::new();
    let handing_over = hand_over_under_load(scratch.path());
    LocalSet::new().run_until(handing_over).await;
}

#[tokio::test]
async fn a_folder_may_lie_deeper_than_the_address_of_a_socket_reaches() {
    let scratch = Scratch::new();
    for length in [FOLDER_BYTES_MAX, FOLDER_BYTES_MAX + 1, 1_000] {
        let mut folder = scratch.path().join(length.to_string());
        while folder.as_os_str().len() < length {
            let missing = length - folder.as_os_str().len() - 1;
            folder.push("d".repeat(missing.clamp(1, 100)));
        }
        std::fs::create_dir_all(&folder).unwrap();
        let handing_over = hand_over_under_load(&folder);
        LocalSet::new().run_until(handing_over).await;
    }
}

async fn hand_over_under_load(folder: &Path) {
    let env = Env::system();
    let mut old = incumbent(folder, &env, 2);
    let address = old.address;
    let accepting = serve(&env, duplicates(&old.sockets), b'o');

    let served = Rc::new((Cell::new(0_usize), Cell::new(0_usize)));
    let counts = Rc::clone(&served);
    let clients = env.spawn_local("clients", async move {
        // Until the successor has served enough, however long the hand-over takes.
        while counts.1.get() < 100 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            match stream.read_u8().await.unwrap() {
                b'o' => counts.0.set(counts.0.get() + 1),
                _ => counts.1.set(counts.1.get() + 1),
            }
        }
    });

    let leave = async {
        let mut visit = old.door.visit().await.unwrap();
        visit.offer(&old.sockets, &old.lock).await.unwrap();
        while served.0.get() < 100 {
            tokio::task::yield_now().await;
        }
        drop(accepting);
        old.sockets.close(address);
        visit.hand_over(b"what I know").await.unwrap();
    };
    let come = async {
        let mut new = take_over(folder, &env).await.unwrap().unwrap();
        assert_eq!(new.version, env!("CARGO_PKG_VERSION"));
        let state = new.succession.state().await.unwrap();
        assert_eq!(state, b"what I know");
        let mut sockets = Sockets::new(new.listeners).unwrap();
        let workers = NonZeroUsize::new(3).unwrap();
        let listening = sockets.listen(address, workers).unwrap();
        let accepting = serve(&env, listening.listeners, b'n');
        new.succession.ready(&mut new.lock).await.unwrap();
        (accepting, new.lock)
    };
    let ((), (_accepting, lock)) = tokio::join!(leave, come);
    clients.await;
    assert!(served.0.get() >= 100 && served.1.get() == 100);

    // The lock has gone over, too.
    drop(old);
    assert!(DataLock::take(folder).is_err());
    drop(lock);
    assert!(DataLock::take(folder).is_ok());
}

#[tokio::test]
async fn more_descriptors_than_fit_one_message_arrive_in_order() {
    let (scratch, env) = (Scratch::new(), Env::system());
    let old = incumbent(scratch.path(), &env, 150);
    let come = async { take_over(scratch.path(), &env).await.unwrap().unwrap() };
    let offer = async {
        let mut visit = old.door.visit().await.unwrap();
        visit.offer(&old.sockets, &old.lock).await
    };
    let (offered, new) = tokio::join!(offer, async {
        let new = come.await;
        (new.listeners.len(), new.lock)
    });
    assert_eq!(new.0, 150);
    // The successor was dropped without a word.
    assert!(matches!(offered, Err(HandoverError::Gone { .. })));
}

#[tokio::test]
async fn the_incumbent_goes_on_when_the_successor_ends_before_it_is_ready() {
    let (scratch, env) = (Scratch::new(), Env::system());
    let old = incumbent(scratch.path(), &env, 2);
    let leave = async {
        let mut visit = old.door.visit().await?;
        visit.offer(&old.sockets, &old.lock).await?;
        visit.hand_over(b"").await
    };
    let come = async {
        let mut new = take_over(scratch.path(), &env).await.unwrap().unwrap();
        new.succession.state().await.unwrap();
    };
    let (left, ()) = tokio::join!(leave, come);
    assert!(matches!(left, Err(HandoverError::Gone { what: "ended" })));
    // Its queues and its lock are as they were, and the door is open for another.
    let _client = TcpStream::connect(old.address).await.unwrap();
    assert!(DataLock::take(scratch.path()).is_err());
    let (visit, _) = tokio::join!(old.door.visit(), take_over_once(scratch.path(), &env));
    assert!(visit.is_ok());
}

async fn take_over_once(folder: &Path, env: &Env) -> Result<(), HandoverError> {
    env.timeout(std::time::Duration::ZERO, take_over(folder, env))
        .await
        .map_or(Ok(()), |outcome| outcome.map(|_| ()))
}

#[tokio::test]
async fn a_visitor_who_talks_nonsense_is_sent_away() {
    let (scratch, env) = (Scratch::new(), Env::system());
    let door = Door::open(scratch.path(), &env).unwrap();
    let other = br#"{"say":"hello","protocol":99,"version":"9"}"#;
    let length = u8::try_from(other.len()).unwrap();
    let other = [&[0, 0, 0, length][..], other].concat();
    for (words, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "bytes"),
        (b"\0\0\0\x02{}", "say"),
        (b"\0\0\0\x0f{\"say\":\"ready\"}", "Ready"),
        (b"\0\0", "ended"),
        (&other, "version 99"),
    ] {
        let mut stream = UnixStream::connect(scratch.path().join(SOCKET))
            .await
            .unwrap();
        stream.write_all(words).await.unwrap();
        drop(stream);
        let error = door.visit().await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn there_is_nobody_to_take_over_from_in_a_new_or_deserted_folder() {
    let (scratch, env) = (Scratch::new(), Env::system());
    assert!(take_over(scratch.path(), &env).await.unwrap().is_none());
    drop(Door::open(scratch.path(), &env).unwrap());
    assert!(take_over(scratch.path(), &env).await.unwrap().is_none());
}

#[tokio::test]
async fn the_door_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let (scratch, env) = (Scratch::new(), Env::system());
    let _door = Door::open(scratch.path(), &env).unwrap();
    let socket = std::fs::metadata(scratch.path().join(SOCKET)).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    for (user, ours, trusted) in [(7, 7, true), (0, 7, true), (8, 7, false), (7, 0, false)] {
        assert_eq!(is_trusted(user, ours), trusted, "{user} to {ours}");
    }
}
