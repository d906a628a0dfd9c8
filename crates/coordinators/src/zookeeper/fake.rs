//! A server of ZooKeeper that does as a test says, with watches that fire once and those
//! that stay.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use portolan_model::SourceId;
use portolan_runtime::{Env, Task};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::{settings::read as settings_of, watch::Zookeeper};
use crate::world::World;

const CREATED: i32 = 1;
const DELETED: i32 = 2;
const CHILDREN: i32 = 4;

/// What a test does to a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Do {
    Create(&'static str),
    Delete(&'static str),
}

/// The server, for one client at a time.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    nodes: BTreeSet<String>,
    sessions: usize,
    out: Option<mpsc::UnboundedSender<Vec<u8>>>,
    on_node: BTreeSet<String>,
    on_children: BTreeSet<String>,
    on_all: Option<String>,
    /// What is done just before the children of a node are listed next.
    before_list: BTreeMap<String, VecDeque<Do>>,
}

impl Fake {
    pub(super) fn of(nodes: &[&str]) -> Self {
        let fake = Self::default();
        let nodes = nodes.iter().map(|node| (*node).to_owned());
        fake.0.lock().unwrap().nodes = nodes.collect();
        fake
    }

    /// Does all of that at once.
    pub(super) fn does(&self, all: &[Do]) {
        let mut state = self.0.lock().unwrap();
        let events: Vec<u8> = all.iter().flat_map(|one| state.does(*one)).collect();
        state.say(events);
    }

    pub(super) fn does_before_list(&self, path: &str, all: &[Do]) {
        let mut state = self.0.lock().unwrap();
        let all = all.iter().copied().collect();
        state.before_list.insert(path.to_owned(), all);
    }

    pub(super) fn sessions(&self) -> usize {
        self.0.lock().unwrap().sessions
    }

    /// A source that reads it, and takes so many nodes at most.
    pub(super) async fn world(&self, watches: &str, nodes_max: usize) -> (World, Task) {
        let env = Env::system();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let this = self.clone();
        let task = env.spawn("fake", async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                this.serve(socket).await;
            }
        });
        let settings = json!({
            "servers": [server], "layout": "curator", "base": "/s", "watches": watches,
        });
        let id = SourceId::new("zookeeper:one");
        let settings = settings_of(&settings).unwrap();
        let mut source = Zookeeper::new(settings, id.clone(), env.clone());
        source.nodes_max = nodes_max;
        (World::new(&env, &id, source), task)
    }

    async fn serve(&self, mut socket: TcpStream) {
        let (out, mut said) = mpsc::unbounded_channel();
        {
            let mut state = self.0.lock().unwrap();
            state.sessions = state.sessions.saturating_add(1);
            state.on_node.clear();
            state.on_children.clear();
            state.on_all = None;
            state.out = Some(out);
        }
        let mut read = BytesMut::new();
        let mut is_first = true;
        loop {
            tokio::select! {
                got = socket.read_buf(&mut read) => {
                    if got.unwrap_or(0) == 0 {
                        return;
                    }
                }
                Some(bytes) = said.recv() => {
                    if socket.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            }
            while let Some(frame) = taken(&mut read) {
                let mut state = self.0.lock().unwrap();
                let answer = if is_first {
                    granted()
                } else {
                    state.answer(frame)
                };
                is_first = false;
                state.say(answer);
            }
        }
    }
}

impl State {
    fn say(&self, bytes: Vec<u8>) {
        // Who is not there hears nothing.
        let _heard = self.out.as_ref().map(|out| out.send(bytes));
    }

    /// Does it, and gives what watches say.
    fn does(&mut self, one: Do) -> Vec<u8> {
        let (kind, path) = match one {
            Do::Create(path) => (CREATED, path),
            Do::Delete(path) => (DELETED, path),
        };
        if kind == CREATED {
            self.nodes.insert(path.to_owned());
        } else {
            self.nodes.remove(path);
        }
        let mut events = Vec::new();
        let all = self.on_all.as_deref();
        let was_listed = kind == DELETED && self.on_children.remove(path);
        if self.on_node.remove(path) || was_listed || all.is_some_and(|all| path.starts_with(all)) {
            events.extend(event(kind, path));
        }
        let (parent, _) = path.rsplit_once('/').unwrap();
        if self.on_children.remove(parent) {
            events.extend(event(CHILDREN, parent));
        }
        events
    }

    fn answer(&mut self, mut frame: Bytes) -> Vec<u8> {
        let (number, kind) = (frame.get_i32(), frame.get_i32());
        if kind == 11 {
            return answered(number, 0, &[]);
        }
        let size = usize::try_from(frame.get_i32()).unwrap();
        let path = String::from_utf8(frame.split_to(size).into()).unwrap();
        let mut before = Vec::new();
        if kind == 12 {
            let all = self.before_list.remove(&path).unwrap_or_default();
            before = all.into_iter().flat_map(|one| self.does(one)).collect();
        }
        let is_there = self.nodes.contains(&path);
        let watches = matches!(kind, 3 | 4 | 12) && frame.get_u8() == 1;
        // Only a question whether it is there watches what is not.
        if watches && (is_there || kind == 3) {
            let on = if kind == 12 {
                &mut self.on_children
            } else {
                &mut self.on_node
            };
            on.insert(path.clone());
        }
        let mut body = Vec::new();
        match kind {
            4 => put(&mut body, br#"{"address": "10.0.0.1", "port": 80}"#),
            12 => {
                let below = format!("{path}/");
                let children = self
                    .nodes
                    .iter()
                    .filter_map(|node| node.strip_prefix(&below));
                let children: Vec<_> = children.filter(|node| !node.contains('/')).collect();
                body.put_u32(u32::try_from(children.len()).unwrap());
                for node in children {
                    put(&mut body, node.as_bytes());
                }
            }
            9 => return answered(number, 0, &[]),
            106 => {
                self.on_all = Some(path);
                return answered(number, 0, &[]);
            }
            _ => {}
        }
        // All that is known of a node; a session made it.
        body.put_slice(&[1; 68]);
        let refusal = if is_there { 0 } else { -101 };
        before.extend(answered(
            number,
            refusal,
            if is_there { &body } else { &[] },
        ));
        before
    }
}

fn put(body: &mut Vec<u8>, bytes: &[u8]) {
    body.put_u32(u32::try_from(bytes.len()).unwrap());
    body.put_slice(bytes);
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put(&mut frame, body);
    frame
}

fn taken(read: &mut BytesMut) -> Option<Bytes> {
    let size = usize::try_from(read.get(..4)?.get_u32()).unwrap();
    if read.len().saturating_sub(4) < size {
        return None;
    }
    read.advance(4);
    Some(read.split_to(size).freeze())
}

fn granted() -> Vec<u8> {
    let mut body = Vec::new();
    body.put_i32(0);
    body.put_i32(10_000);
    body.put_i64(1);
    put(&mut body, &[0; 16]);
    framed(&body)
}

fn answered(number: i32, refusal: i32, rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_i32(number);
    body.put_i64(1);
    body.put_i32(refusal);
    body.put_slice(rest);
    framed(&body)
}

fn event(kind: i32, path: &str) -> Vec<u8> {
    let mut rest = Vec::new();
    rest.put_i32(kind);
    rest.put_i32(3);
    put(&mut rest, path.as_bytes());
    answered(-1, 0, &rest)
}
