//! The client's side of an exchange: where the request's body comes from, where the answer goes.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{RecvStream, SendStream, server::SendResponse};
use portolan_model::http::{ResponseHead, Version};
use portolan_wire::{
    h1::{BodyDecoder, Framing, Wanted, write_interim, write_response},
    http2,
    io::{Inlet, Link, LinkError, Outlet, PIPELINED_BYTES_MAX},
};

/// Where a request's body comes from.
#[derive(Debug)]
pub(crate) enum RequestBody<'a> {
    /// HTTP/1.
    Link(&'a Link, BodyDecoder),
    /// HTTP/2.
    Stream {
        /// The stream.
        stream: RecvStream,
        /// Bytes that it may still bring; unlimited if none.
        room: Option<u64>,
    },
}

impl RequestBody<'_> {
    /// Whether all of it has been read, or there is none.
    pub(crate) fn is_read(&self) -> bool {
        match self {
            Self::Link(_, decoder) => decoder.is_end(),
            Self::Stream { stream, .. } => stream.is_end_stream(),
        }
    }

    pub(crate) fn inlet(&mut self) -> Inlet<'_> {
        match self {
            Self::Link(link, decoder) => Inlet::Link(link, decoder),
            Self::Stream { stream, room } => Inlet::Stream {
                stream,
                room: room.as_mut(),
            },
        }
    }
}

/// How the body of an answer ends, and the length that its head declares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) framing: Framing,
    pub(crate) declared: Option<u64>,
}

/// Where an answer goes.
#[derive(Debug)]
pub(crate) enum Responder<'a> {
    /// HTTP/1.
    Link(LinkResponder<'a>),
    /// HTTP/2.
    Stream(StreamResponder),
}

/// An HTTP/1 connection that waits for an answer.
#[derive(Debug)]
pub(crate) struct LinkResponder<'a> {
    pub(crate) link: &'a Link,
    pub(crate) version: Version,
    /// Whether the connection may live on; only ever turned off.
    pub(crate) keep: bool,
    pub(crate) is_started: bool,
}

/// An HTTP/2 stream that waits for an answer.
#[derive(Debug)]
pub(crate) struct StreamResponder {
    respond: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
}

impl StreamResponder {
    pub(crate) const fn new(respond: SendResponse<Bytes>) -> Self {
        Self {
            respond,
            stream: None,
        }
    }

    /// Breaks the stream off.
    pub(crate) fn reset(&mut self, reason: h2::Reason) {
        match &mut self.stream {
            Some(stream) => stream.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

impl Responder<'_> {
    /// Whether the client speaks HTTP/2.
    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Whether the head of the answer is on its way, so that nothing else can be said.
    pub(crate) const fn is_started(&self) -> bool {
        match self {
            Self::Link(link) => link.is_started,
            Self::Stream(stream) => stream.stream.is_some(),
        }
    }

    /// Ready when the client went away.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Link(responder) => responder.link.poll_gone(cx, PIPELINED_BYTES_MAX),
            Self::Stream(responder) => {
                let reset = match &mut responder.stream {
                    Some(stream) => stream.poll_reset(cx),
                    None => responder.respond.poll_reset(cx),
                };
                reset.map(|_| ())
            }
        }
    }

    /// Passes an interim head on. HTTP/1.0 clients do not know any.
    pub(crate) fn interim(&mut self, head: &ResponseHead) {
        match self {
            Self::Link(responder) if responder.version >= Version::Http11 => {
                responder.link.gather(|out| write_interim(out, head));
            }
            Self::Link(_) => {}
            Self::Stream(responder) => {
                // A client that is gone shows at the next look.
                let interim = http2::write_response(head, None);
                let _sent = responder.respond.send_informational(interim);
            }
        }
    }

    /// Ready when interim heads are out.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        match self {
            Self::Link(responder) => responder.link.poll_flush(cx),
            Self::Stream(_) => Poll::Ready(Ok(())),
        }
    }

    /// Begins the final answer and hands out where its body goes.
    ///
    /// # Errors
    /// The client went away.
    pub(crate) fn start(
        &mut self,
        head: &ResponseHead,
        shape: Shape,
        connection: Wanted<'_>,
    ) -> Result<Outlet<'_>, h2::Error> {
        match self {
            Self::Link(responder) => Ok(responder.start(head, shape, connection)),
            Self::Stream(responder) => responder.start(head, shape),
        }
    }
}

impl LinkResponder<'_> {
    fn start(&mut self, head: &ResponseHead, shape: Shape, connection: Wanted<'_>) -> Outlet<'_> {
        self.is_started = true;
        let mut framing = shape.framing;
        if framing == Framing::Chunked && self.version < Version::Http11 {
            framing = Framing::UntilClose;
        }
        if framing == Framing::UntilClose {
            if self.version >= Version::Http11 {
                // The end of the body is then sure, and the connection lives on.
                framing = Framing::Chunked;
            } else {
                self.keep = false;
            }
        }
        let connection = match connection {
            Wanted::KeepAlive if !self.keep => Wanted::Close,
            other @ (Wanted::KeepAlive | Wanted::Close | Wanted::Upgrade(_)) => other,
        };
        self.link.gather(|out| {
            write_response(out, head, framing, shape.declared, connection, self.version);
        });
        Outlet::Link {
            link: self.link,
            chunked: framing == Framing::Chunked,
        }
    }

    /// Turns the connection into a tunnel.
    pub(crate) fn tunnel(&mut self, head: &ResponseHead, protocol: &str) -> Outlet<'_> {
        self.is_started = true;
        self.keep = false;
        self.link.gather(|out| {
            let upgrade = Wanted::Upgrade(protocol);
            write_response(out, head, Framing::None, None, upgrade, self.version);
        });
        Outlet::Link {
            link: self.link,
            chunked: false,
        }
    }
}

impl StreamResponder {
    fn start(&mut self, head: &ResponseHead, shape: Shape) -> Result<Outlet<'_>, h2::Error> {
        let length = match shape.framing {
            Framing::Length(length) => Some(length),
            Framing::None | Framing::Chunked | Framing::UntilClose => shape.declared,
        };
        // Without a body the head ends the stream: gRPC knows its own errors by that.
        let end = matches!(shape.framing, Framing::None | Framing::Length(0));
        let response = http2::write_response(head, length);
        let stream = self
            .stream
            .insert(self.respond.send_response(response, end)?);
        Ok(if end {
            Outlet::Nowhere
        } else {
            Outlet::Stream(stream)
        })
    }
}
