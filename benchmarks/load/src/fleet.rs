//! Many backends in one process. Each listens on a port of its own and names
//! itself in `x-instance`, so that a bench can tell who answered.
//!
//! `stop` is what a well-behaved server does: it accepts what is queued,
//! answers what it has been asked, then closes. `kill` closes every socket at
//! once, as the kernel does for a process that dies.
//!
//! A request whose target holds `delay=N` is answered after N milliseconds.

mod conversation;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io::{BufRead, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::poll::Poll;
use conversation::{Conversation, Turn};

const STDIN: u64 = 0;
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// Opens backends by command until standard input closes.
///
/// # Errors
/// Bad arguments, or no descriptors left.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let address = arguments.value("address", IpAddr::from([127, 0, 0, 1]))?;
    let mut fleet = Fleet {
        address,
        poll: Poll::new()?,
        next_token: STDIN + 1,
        backends: BTreeMap::new(),
        listeners: HashMap::new(),
        conversations: HashMap::new(),
        delayed: BinaryHeap::new(),
    };
    fleet.poll.watch(std::io::stdin(), STDIN)?;
    while fleet.step()? {}
    Ok(())
}

struct Backend {
    token: u64,
    listener: TcpListener,
    answer: std::rc::Rc<[u8]>,
}

struct Fleet {
    address: IpAddr,
    poll: Poll,
    next_token: u64,
    backends: BTreeMap<String, Backend>,
    /// Token of a listener to the backend's id.
    listeners: HashMap<u64, String>,
    conversations: HashMap<u64, (String, Conversation)>,
    /// Answers that wait for their time.
    delayed: BinaryHeap<Reverse<(Instant, u64)>>,
}

impl Fleet {
    fn step(&mut self) -> Result<bool, String> {
        let now = Instant::now();
        while let Some(Reverse((at, token))) = self.delayed.peek().copied() {
            if at > now {
                break;
            }
            self.delayed.pop();
            self.turn(token, Conversation::answer);
        }
        let wait = self.delayed.peek().map_or(IDLE_WAIT, |Reverse((at, _))| {
            at.saturating_duration_since(now)
        });
        let ready = self.poll.wait(wait).to_vec();
        for token in ready {
            if token == STDIN {
                if !self.command()? {
                    return Ok(false);
                }
            } else if let Some(id) = self.listeners.get(&token) {
                let id = id.clone();
                self.accept(&id)?;
            } else {
                self.turn(token, Conversation::receive);
            }
        }
        Ok(true)
    }

    /// Reads one command; false at the end of input.
    fn command(&mut self) -> Result<bool, String> {
        let mut line = String::new();
        // The writer sends one line and waits for its answer, so that no
        // second line can hide in this reader's buffer.
        let length = std::io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(|e| e.to_string())?;
        if length == 0 {
            return Ok(false);
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let result = match words.as_slice() {
            ["open", id, port] => self.open(id, port),
            ["stop", id] => self.stop(id),
            ["kill", id] => self.kill(id),
            _ => Err("unknown command".to_owned()),
        };
        let mut out = std::io::stdout().lock();
        match result {
            Ok(fact) => writeln!(out, "ok {fact}"),
            Err(message) => writeln!(out, "error {message}"),
        }
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())?;
        Ok(true)
    }

    fn open(&mut self, id: &str, port: &str) -> Result<String, String> {
        let port: u16 = port.parse().map_err(|_| format!("not a port: {port}"))?;
        let describe = |error| format!("{id}: {error}");
        let listener = TcpListener::bind(SocketAddr::new(self.address, port)).map_err(describe)?;
        listener.set_nonblocking(true).map_err(describe)?;
        let port = listener.local_addr().map_err(describe)?.port();
        let token = self.token();
        self.poll.watch(&listener, token)?;
        self.listeners.insert(token, id.to_owned());
        let answer = conversation::written_answer(id);
        if let Some(old) = self.backends.insert(
            id.to_owned(),
            Backend {
                token,
                listener,
                answer,
            },
        ) {
            self.listeners.remove(&old.token);
        }
        Ok(port.to_string())
    }

    fn stop(&mut self, id: &str) -> Result<String, String> {
        self.accept(id)?;
        self.close_listener(id)?;
        let tokens = self.tokens_of(id);
        for token in &tokens {
            self.turn(*token, Conversation::receive);
            self.turn(*token, Conversation::finish);
        }
        Ok(tokens.len().to_string())
    }

    fn kill(&mut self, id: &str) -> Result<String, String> {
        self.close_listener(id)?;
        let tokens = self.tokens_of(id);
        for token in &tokens {
            self.conversations.remove(token);
        }
        Ok(tokens.len().to_string())
    }

    fn close_listener(&mut self, id: &str) -> Result<(), String> {
        let backend = self
            .backends
            .remove(id)
            .ok_or_else(|| format!("no backend {id}"))?;
        self.listeners.remove(&backend.token);
        Ok(())
    }

    fn tokens_of(&self, id: &str) -> Vec<u64> {
        let owned = self
            .conversations
            .iter()
            .filter(|(_, (owner, _))| owner == id);
        owned.map(|(token, _)| *token).collect()
    }

    fn accept(&mut self, id: &str) -> Result<(), String> {
        loop {
            let Some(backend) = self.backends.get(id) else {
                return Ok(());
            };
            match backend.listener.accept() {
                Ok((stream, _)) => {
                    let answer = backend.answer.clone();
                    let token = self.token();
                    if let Ok(conversation) = Conversation::new(stream, answer) {
                        self.poll.watch(conversation.stream(), token)?;
                        self.conversations
                            .insert(token, (id.to_owned(), conversation));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The client left between its connect and our accept.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(format!("{id}: accept: {error}")),
            }
        }
    }

    fn turn(&mut self, token: u64, act: fn(&mut Conversation) -> Turn) {
        let Some((_, conversation)) = self.conversations.get_mut(&token) else {
            return;
        };
        match act(conversation) {
            Turn::Stay => {}
            Turn::Close => {
                self.conversations.remove(&token);
            }
            Turn::AnswerAfter(delay) => {
                self.delayed.push(Reverse((Instant::now() + delay, token)));
            }
        }
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }
}
