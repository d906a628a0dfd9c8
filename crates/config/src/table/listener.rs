//! The fields of a listener.

use super::{
    ADDRESS, DURATION, Default, FILE_NAME, Leaf, Object, POLICIES, SIZE, Shape, count, field, word,
};

/// A listener.
pub(crate) const LISTENER: Object = Object {
    name: "listener",
    doc: "Where the gateway listens, and what it demands of clients there.",
    fields: &[
        field(
            "address",
            ADDRESS,
            Default::Text("127.0.0.1:8080"),
            "An IP address and a port. `0.0.0.0:80` is every IPv4 address, `[::]:80` every address.",
        ),
        field(
            "protocols",
            Shape::List {
                of: &PROTOCOL,
                min: 1,
            },
            Default::Texts(&["http1", "http2"]),
            "The protocols spoken.",
        ),
        field(
            "proxy_protocol",
            Shape::Leaf(Leaf::Word(&[
                word("off", "connections do not begin with a PROXY header"),
                word("optional", "a PROXY header from a trusted proxy is read"),
                word(
                    "required",
                    "every connection begins with a PROXY header from a trusted proxy",
                ),
            ])),
            Default::Text("off"),
            "The PROXY protocol, versions 1 and 2.",
        ),
        field(
            "tls",
            Shape::Object(&TLS),
            Default::Absent,
            "TLS. Plain text when absent.",
        ),
        field(
            "limits",
            Shape::Object(&LIMITS),
            Default::Empty,
            "What a client may cost.",
        ),
        field(
            "timeouts",
            Shape::Object(&TIMEOUTS),
            Default::Empty,
            "How long a client may take.",
        ),
        field(
            "policies",
            POLICIES,
            Default::Absent,
            "Policies of every route on this listener.",
        ),
    ],
    rules: &[],
};

const PROTOCOL: Shape = Shape::Leaf(Leaf::Word(&[
    word("http1", "HTTP/1.0 and HTTP/1.1, with upgrades"),
    word(
        "http2",
        "HTTP/2: by ALPN over TLS, by prior knowledge in the clear",
    ),
]));

const TLS: Object = Object {
    name: "tls",
    doc: "TLS of a listener.",
    fields: &[
        field(
            "certificates",
            Shape::List {
                of: &Shape::Object(&CERTIFICATE),
                min: 1,
            },
            Default::Required,
            "Chosen by the host that the client names; a certificate's own names count, wildcards too. The first is for clients that name none.",
        ),
        field(
            "versions",
            Shape::List {
                of: &VERSION,
                min: 1,
            },
            Default::Texts(&["1.2", "1.3"]),
            "The versions spoken.",
        ),
    ],
    rules: &[],
};

pub(super) const VERSION: Shape = Shape::Leaf(Leaf::Word(&[
    word("1.2", "TLS 1.2"),
    word("1.3", "TLS 1.3"),
]));

pub(super) const CERTIFICATE: Object = Object {
    name: "certificate",
    doc: "A certificate chain and its key, read again when the files change.",
    fields: &[
        field(
            "certificate",
            FILE_NAME,
            Default::Required,
            "The chain as PEM, leaf first.",
        ),
        field(
            "key",
            FILE_NAME,
            Default::Required,
            "The private key as PEM.",
        ),
    ],
    rules: &[],
};

const LIMITS: Object = Object {
    name: "limits",
    doc: "What a client of a listener may cost.",
    fields: &[
        field(
            "head",
            SIZE,
            Default::Text("64KiB"),
            "Request line and headers together; more is answered 431.",
        ),
        field(
            "headers",
            count(1, 10_000),
            Default::Text("100"),
            "Header fields of a request; more is answered 431.",
        ),
        field(
            "uri",
            SIZE,
            Default::Text("8KiB"),
            "The request's target; a longer one is answered 414.",
        ),
        field(
            "body",
            SIZE,
            Default::Absent,
            "A request's body; a larger one is answered 413. Unlimited when absent.",
        ),
        field(
            "connections",
            count(1, 4_000_000),
            Default::Text("10000"),
            "Connections of the listener; further ones wait in the system's queue.",
        ),
        field(
            "streams",
            count(1, 65_535),
            Default::Text("128"),
            "Concurrent HTTP/2 streams of a connection.",
        ),
        field(
            "resets",
            count(1, 65_535),
            Default::Text("50"),
            "HTTP/2 streams of a connection that may end within a second without an answer, beyond those that were answered; one more ends the connection.",
        ),
    ],
    rules: &[],
};

const TIMEOUTS: Object = Object {
    name: "client_timeouts",
    doc: "How long a client of a listener may take.",
    fields: &[
        field(
            "head",
            DURATION,
            Default::Text("10s"),
            "From the connection, or from the first byte of a later request, to a whole head. A TLS handshake counts.",
        ),
        field(
            "idle",
            DURATION,
            Default::Text("60s"),
            "Between two requests of a connection.",
        ),
        field(
            "body",
            DURATION,
            Default::Text("30s"),
            "Between two bytes of a request's body.",
        ),
    ],
    rules: &[],
};
