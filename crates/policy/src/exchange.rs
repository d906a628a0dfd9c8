//! One request on its way through a chain.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use portolan_model::http::{Fields, RequestHead, Status};

use crate::Fault;

/// One request on its way. The memory is reused from request to request of a connection.
#[derive(Debug)]
pub struct Exchange {
    /// The request as the upstream will see it; policies change it in place.
    pub head: RequestHead,
    /// The client's address, as far as trusted proxies are believed.
    pub client: IpAddr,
    /// The request's id, as the upstream and the logs see it.
    pub request_id: String,
    /// What the route's template or regular expression captured, by name.
    pub captures: Vec<(Arc<str>, Box<str>)>,
    /// Bytes of the path that a prefix route matched.
    pub prefix_bytes: usize,
}

impl Exchange {
    /// An exchange with an empty head.
    #[must_use]
    pub fn new(client: IpAddr) -> Self {
        Self {
            head: RequestHead::default(),
            client,
            request_id: String::new(),
            captures: Vec::new(),
            prefix_bytes: 0,
        }
    }

    /// Forgets the request and keeps the memory.
    pub fn clear(&mut self) {
        self.head.clear();
        self.request_id.clear();
        self.captures.clear();
        self.prefix_bytes = 0;
    }

    /// What the route captured under that name.
    #[must_use]
    pub fn capture(&self, name: &str) -> Option<&str> {
        self.captures
            .iter()
            .find(|(key, _)| **key == *name)
            .map(|(_, value)| &**value)
    }
}

/// What a policy wants to happen.
#[derive(Debug)]
pub enum Flow {
    /// On to the next policy.
    Next,
    /// This is the answer.
    Reply(Box<Reply>),
    /// The request is refused or can't be served.
    Fail(Box<Fault>),
}

/// An answer that a policy makes itself.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: Status,
    /// The fields; content-length is added by the gateway.
    pub fields: Fields,
    /// The whole body.
    pub body: Bytes,
}

/// A flow that is not known yet.
pub type LaterFlow<'a> = Pin<Box<dyn Future<Output = Flow> + 'a>>;

/// How a policy says what it wants: at once, or after waiting.
pub enum Answer<'a> {
    /// Known now: no allocation for the synchronous majority.
    Now(Flow),
    /// Known later. Dropped when the client goes away.
    Later(LaterFlow<'a>),
}
