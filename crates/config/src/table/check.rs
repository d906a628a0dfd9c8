//! The fields of a health check.

use super::{
    DURATION, Default, Field, HOST, Leaf, Object, Rule, Shape, TARGET, TEXT, count, field,
    upstream::TLS, word,
};

/// A health check.
pub(crate) const CHECK: Object = Object {
    name: "check",
    doc: "How the health of an instance is found out. The worst of several checks counts.",
    fields: &[
        field(
            "id",
            TEXT,
            Default::Absent,
            "Its id, unique in the list. Its kind when absent.",
        ),
        field(
            "http",
            Shape::Object(&HTTP),
            Default::Absent,
            "A request; good if the status is 2xx, a warning if it is 429.",
        ),
        field(
            "tcp",
            Shape::Object(&TCP),
            Default::Absent,
            "A connection; good if it is accepted. Written `tcp: {}`.",
        ),
        field(
            "udp",
            Shape::Object(&UDP),
            Default::Absent,
            "A datagram; good unless it is refused. Silence is good. Written `udp: {}`.",
        ),
        field(
            "grpc",
            Shape::Object(&GRPC),
            Default::Absent,
            "A call of `grpc.health.v1`; good if the answer is SERVING. Written `grpc: {}`.",
        ),
        field(
            "h2ping",
            Shape::Object(&H2PING),
            Default::Absent,
            "A PING on a connection of HTTP/2. Written `h2ping: {}`.",
        ),
        field(
            "script",
            Shape::Object(&SCRIPT),
            Default::Absent,
            "A program on this machine; 0 is good, 1 a warning. Needs `registry.checks.scripts`.",
        ),
        field(
            "docker",
            Shape::Object(&DOCKER),
            Default::Absent,
            "A program in a container of this machine. Needs `registry.checks.scripts`.",
        ),
        field(
            "alias",
            Shape::Object(&ALIAS),
            Default::Absent,
            "The health of somebody else in the catalogue.",
        ),
        field(
            "interval",
            DURATION,
            Default::Text("10s"),
            "Between two probes of an instance, a tenth more or less. From 100ms to 1d.",
        ),
        field("timeout", DURATION, Default::Text("2s"), "For one probe."),
        field(
            "rise",
            count(1, 100),
            Default::Text("1"),
            "Good probes in a row until it works.",
        ),
        field(
            "fall",
            count(1, 100),
            Default::Text("3"),
            "Bad probes in a row until it does not.",
        ),
        field(
            "fall_warning",
            count(1, 100),
            Default::Absent,
            "Bad probes in a row until it gets less traffic. None do when absent.",
        ),
    ],
    rules: &[Rule::ExactlyOne(&[
        "http", "tcp", "udp", "grpc", "h2ping", "script", "docker", "alias",
    ])],
};

const PORT: Field = field(
    "port",
    count(1, 65_535),
    Default::Absent,
    "Another port of the same host. The upstream's when absent.",
);

const SAME_TLS: Field = field(
    "tls",
    Shape::Either(Leaf::Word(&[word("off", "in the clear")]), &TLS),
    Default::Absent,
    "TLS of the probe, or `off`. The upstream's when absent.",
);

const HTTP: Object = Object {
    name: "http_check",
    doc: "A request by HTTP/1.1.",
    fields: &[
        field(
            "path",
            TARGET,
            Default::Text("/"),
            "The path, with its query if it has one.",
        ),
        field(
            "host",
            HOST,
            Default::Absent,
            "The Host field. The address when absent.",
        ),
        PORT,
        field(
            "method",
            Shape::Leaf(Leaf::Method),
            Default::Text("GET"),
            "The method.",
        ),
        field(
            "headers",
            Shape::Map {
                key: Leaf::FieldName,
                of: &TEXT,
            },
            Default::Absent,
            "Further header fields.",
        ),
        field("body", TEXT, Default::Absent, "The body. None when absent."),
        field(
            "statuses",
            Shape::List { of: &TEXT, min: 1 },
            Default::Absent,
            "Good statuses: `200`, `200-299`. When absent, 2xx are good and 429 is a warning.",
        ),
        field(
            "answer",
            Shape::Object(&ANSWER),
            Default::Absent,
            "What the first 64 KiB of the answer's body must hold.",
        ),
        field(
            "redirects",
            count(0, 10),
            Default::Text("0"),
            "Most redirects that are followed.",
        ),
        SAME_TLS,
    ],
    rules: &[],
};

const ANSWER: Object = Object {
    name: "http_answer",
    doc: "What the body of an answer must hold.",
    fields: &[
        field("contains", TEXT, Default::Absent, "This text."),
        field(
            "regex",
            Shape::Leaf(Leaf::Pattern),
            Default::Absent,
            "What this regular expression matches.",
        ),
    ],
    rules: &[Rule::ExactlyOne(&["contains", "regex"])],
};

const TCP: Object = Object {
    name: "tcp_check",
    doc: "A connection.",
    fields: &[
        PORT,
        field(
            "tls",
            Shape::Object(&TLS),
            Default::Absent,
            "TLS, whose handshake must succeed. None when absent.",
        ),
    ],
    rules: &[],
};

const UDP: Object = Object {
    name: "udp_check",
    doc: "A datagram.",
    fields: &[
        PORT,
        field(
            "payload",
            TEXT,
            Default::Absent,
            "What is sent. Nothing when absent.",
        ),
    ],
    rules: &[],
};

const GRPC: Object = Object {
    name: "grpc_check",
    doc: "A call of the gRPC health service.",
    fields: &[
        PORT,
        field(
            "service",
            TEXT,
            Default::Absent,
            "The service to ask about. The whole server when absent.",
        ),
        SAME_TLS,
    ],
    rules: &[],
};

const H2PING: Object = Object {
    name: "h2ping_check",
    doc: "A PING on a connection of HTTP/2.",
    fields: &[PORT, SAME_TLS],
    rules: &[],
};

const COMMAND: Field = field(
    "command",
    Shape::List { of: &TEXT, min: 1 },
    Default::Required,
    "The program and its arguments; no shell reads them.",
);

const SCRIPT: Object = Object {
    name: "script_check",
    doc: "A program on this machine. It is killed with its children when its time is up.",
    fields: &[COMMAND],
    rules: &[],
};

const DOCKER: Object = Object {
    name: "docker_check",
    doc: "A program in a container of this machine.",
    fields: &[
        field(
            "container",
            TEXT,
            Default::Required,
            "The container's name or id.",
        ),
        COMMAND,
    ],
    rules: &[],
};

const ALIAS: Object = Object {
    name: "alias_check",
    doc: "The health of somebody else in the catalogue.",
    fields: &[
        field(
            "service",
            Shape::Leaf(Leaf::Service),
            Default::Required,
            "The service.",
        ),
        field(
            "instance",
            TEXT,
            Default::Absent,
            "The instance. The worst of all when absent.",
        ),
    ],
    rules: &[],
};
