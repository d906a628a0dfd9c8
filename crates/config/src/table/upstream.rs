//! The fields of an upstream.

use super::{
    DURATION, Default, FILE_NAME, FLAG, HOST, LABELS, Leaf, NAME, Object, Rule, Shape, Shelf,
    check::CHECK, count, field, word,
};

/// An upstream.
pub(crate) const UPSTREAM: Object = Object {
    name: "upstream",
    doc: "Where requests can go, and how.",
    fields: &[
        field(
            "service",
            Shape::Leaf(Leaf::Service),
            Default::Absent,
            "The instances of a service: `orders`, or `shop/orders` outside the namespace `default`.",
        ),
        field(
            "addresses",
            Shape::List {
                of: &Shape::Leaf(Leaf::Address),
                min: 1,
            },
            Default::Absent,
            "These IP addresses and ports.",
        ),
        field(
            "hosts",
            Shape::List {
                of: &Shape::Leaf(Leaf::HostPort),
                min: 1,
            },
            Default::Absent,
            "What these host names resolve to, looked up again as DNS says: short for a `dns` source.",
        ),
        field(
            "port",
            NAME,
            Default::Absent,
            "The named port of the instances. Their first when absent.",
        ),
        field(
            "subset",
            LABELS,
            Default::Empty,
            "Only instances with these labels.",
        ),
        field(
            "balance",
            Shape::Plug(Shelf::Balancers),
            Default::Text("latency"),
            "How an instance is chosen.",
        ),
        field(
            "protocol",
            Shape::Leaf(Leaf::Word(&[
                word(
                    "auto",
                    "over TLS what ALPN settles; HTTP/1.1 in the clear, but HTTP/2 for gRPC",
                ),
                word("http1", "HTTP/1.1"),
                word("http2", "HTTP/2, by prior knowledge in the clear"),
            ])),
            Default::Text("auto"),
            "What is spoken to the instances.",
        ),
        field(
            "timeouts",
            Shape::Object(&TIMEOUTS),
            Default::Empty,
            "How long an instance may take.",
        ),
        field(
            "retry",
            Shape::Object(&RETRY),
            Default::Empty,
            "When a request that was not sent goes to another instance.",
        ),
        field(
            "tls",
            Shape::Object(&TLS),
            Default::Absent,
            "TLS to the instances. Plain text when absent; `{}` for TLS as it should be.",
        ),
        field(
            "check",
            Shape::List {
                of: &Shape::Object(&CHECK),
                min: 1,
            },
            Default::Absent,
            "Health checks besides what the instances bring themselves: one, or a list.",
        ),
        field(
            "proxy_protocol",
            Shape::Leaf(Leaf::Word(&[
                word("v1", "a line of text"),
                word("v2", "a binary header"),
            ])),
            Default::Absent,
            "Announce the client's address on each new connection.",
        ),
        field(
            "connections",
            count(1, 1_000_000),
            Default::Absent,
            "Most connections to one instance, from all workers. A request waits for one as long as it would wait to connect, then it is tried elsewhere or answered 503. Unlimited when absent.",
        ),
        field(
            "preserve_host",
            FLAG,
            Default::Text("true"),
            "Send the client's Host. `false` sends the instance's.",
        ),
    ],
    rules: &[Rule::ExactlyOne(&["service", "addresses", "hosts"])],
};

const TIMEOUTS: Object = Object {
    name: "timeouts",
    doc: "How long an instance may take. None of these runs while data moves, but `total`.",
    fields: &[
        field(
            "connect",
            DURATION,
            Default::Text("5s"),
            "To have a connection, TLS included.",
        ),
        field(
            "first_byte",
            DURATION,
            Default::Text("60s"),
            "From the request being sent to the first byte of the answer.",
        ),
        field(
            "idle",
            DURATION,
            Default::Text("5m"),
            "Without a byte in either direction.",
        ),
        field(
            "total",
            DURATION,
            Default::Absent,
            "For the whole exchange. None when absent, because it cuts streams.",
        ),
    ],
    rules: &[],
};

const RETRY: Object = Object {
    name: "retry",
    doc: "When a request that was not sent goes to another instance. The budget keeps retries from making an overload worse.",
    fields: &[
        field(
            "attempts",
            count(1, 10),
            Default::Text("2"),
            "Most tries of a request, the first included.",
        ),
        field(
            "budget_percent",
            count(0, 100),
            Default::Text("20"),
            "Retries as a share of requests, in percent.",
        ),
        field(
            "budget_per_second",
            count(0, 1_000_000),
            Default::Text("10"),
            "Retries a second besides that.",
        ),
    ],
    rules: &[],
};

pub(super) const TLS: Object = Object {
    name: "upstream_tls",
    doc: "TLS to the instances.",
    fields: &[
        field(
            "server_name",
            HOST,
            Default::Absent,
            "The name to ask for and to verify. The instance's host or address when absent.",
        ),
        field(
            "ca",
            FILE_NAME,
            Default::Absent,
            "Trust these roots (PEM) instead of the system's.",
        ),
        field(
            "certificate",
            FILE_NAME,
            Default::Absent,
            "Show this certificate chain (PEM).",
        ),
        field(
            "key",
            FILE_NAME,
            Default::Absent,
            "The key (PEM) of `certificate`.",
        ),
        field(
            "verify",
            Shape::Leaf(Leaf::Word(&[
                word("full", "chain and name"),
                word(
                    "off",
                    "nothing: anybody on the way can read and change what is sent",
                ),
            ])),
            Default::Text("full"),
            "How much of the instance's certificate is verified.",
        ),
    ],
    rules: &[],
};
