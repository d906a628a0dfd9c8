//! The fields of what the DNS server does besides answering by UDP and TCP.

use super::{
    ADDRESS, DURATION, Default, Leaf, Object, SIZE, Shape, TEXT, control::TLS_FIELD, count, field,
    word,
};

const DURATION_OR_ZERO: Shape = Shape::Leaf(Leaf::DurationOrZero);

/// Who is asked for names that are not ours.
pub(super) const RECURSORS: Object = Object {
    name: "dns_recursors",
    doc: "Recursors that are asked for names in none of the zones. Their answers are kept for as long as they hold.",
    fields: &[
        field(
            "addresses",
            Shape::List {
                of: &ADDRESS,
                min: 1,
            },
            Default::Required,
            "Who is asked: the quickest first, another one as well when an answer takes longer than usual. One that does not answer is left alone for a while.",
        ),
        field(
            "clients",
            Shape::List {
                of: &Shape::Leaf(Leaf::Network),
                min: 0,
            },
            Default::Absent,
            "Networks whose clients may ask; others are refused. This machine and private networks when absent.",
        ),
        field(
            "deadline",
            DURATION,
            Default::Text("4s"),
            "How long an answer may take; then the client is told that there is none.",
        ),
        field(
            "cache",
            SIZE,
            Default::Text("16MiB"),
            "What the remembered answers may take.",
        ),
        field(
            "ttl_max",
            DURATION,
            Default::Text("24h"),
            "The longest that an answer is remembered.",
        ),
        field(
            "negative_ttl_max",
            DURATION,
            Default::Text("5m"),
            "The longest that it is remembered that there is nothing.",
        ),
        field(
            "stale",
            DURATION_OR_ZERO,
            Default::Text("24h"),
            "For how long an answer that has outlived its time may be told when no recursor answers. `0s` tells none.",
        ),
    ],
    rules: &[],
};

/// Who may update names.
pub(super) const UPDATES: Object = Object {
    name: "dns_updates",
    doc: "Dynamic updates (RFC 2136) of names in `zones`: records that are added and deleted are instances registered and deregistered. Each must be signed with a key (TSIG).",
    fields: &[
        field(
            "keys",
            Shape::Map {
                key: Leaf::Host,
                of: &Shape::Object(&KEY),
            },
            Default::Required,
            "Keys by their names.",
        ),
        field(
            "port",
            count(1, 65_535),
            Default::Text("80"),
            "The port of instances that are registered by an A or AAAA record, which says nothing of it. An SRV record has its own.",
        ),
    ],
    rules: &[],
};

const KEY: Object = Object {
    name: "dns_key",
    doc: "A secret that is shared with a client that sends updates.",
    fields: &[
        field(
            "algorithm",
            Shape::Leaf(Leaf::Word(&[
                word("hmac-sha256", "HMAC with SHA-256"),
                word("hmac-sha384", "HMAC with SHA-384"),
                word("hmac-sha512", "HMAC with SHA-512"),
            ])),
            Default::Text("hmac-sha256"),
            "What signatures are made with.",
        ),
        field(
            "secret",
            TEXT,
            Default::Required,
            "The secret in base64, as `tsig-keygen` prints it; at least 16 bytes. Better a variable than the text itself.",
        ),
        field(
            "services",
            Shape::List { of: &TEXT, min: 0 },
            Default::Absent,
            "The services that may be updated with it, those by whose names hosts are registered included: `orders`, `shop/orders`, or the start of names and `*`. All when absent.",
        ),
    ],
    rules: &[],
};

/// The listener for queries over TLS.
pub(super) const OVER_TLS: Object = Object {
    name: "dns_over_tls",
    doc: "A listener for queries over TLS (RFC 7858). A port that is taken is reported and skipped.",
    fields: &[
        field(
            "address",
            ADDRESS,
            Default::Text("127.0.0.1:8853"),
            "Where it listens; the usual port is 853.",
        ),
        TLS_FIELD,
    ],
    rules: &[],
};
