//! The fields that control listeners have in common, those of foreign fronts, and those of
//! access control.

use super::{
    ADDRESS, Default, FILE_NAME, FLAG, Field, HOST, Leaf, Object, SIZE, Shape, count, field,
    listener::{CERTIFICATE, VERSION},
    word,
};

/// TLS of a control listener.
pub(super) const TLS_FIELD: Field = field(
    "tls",
    Shape::Object(&CONTROL_TLS),
    Default::Absent,
    "TLS. Plain text when absent.",
);

/// What a client of a control listener may cost.
pub(super) const LIMITS_FIELD: Field = field(
    "limits",
    Shape::Object(&CONTROL_LIMITS),
    Default::Empty,
    "What a client may cost.",
);

/// Leave to be open to others.
pub(super) const INSECURE_FIELD: Field = field(
    "insecure",
    FLAG,
    Default::Text("false"),
    "Listen on an address that is not loopback although neither `access:` nor client certificates keep others out.",
);

const CONTROL_TLS: Object = Object {
    name: "control_tls",
    doc: "TLS of a control listener.",
    fields: &[
        field(
            "certificates",
            Shape::List {
                of: &Shape::Object(&CERTIFICATE),
                min: 1,
            },
            Default::Required,
            "Chosen by the host that the client names. The first is for clients that name none.",
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
        field(
            "client_ca",
            FILE_NAME,
            Default::Absent,
            "Clients show a certificate of one of these authorities (PEM, read again when the file changes).",
        ),
        field(
            "client_certificates",
            Shape::Leaf(Leaf::Word(&[
                word("required", "who shows none is not let in"),
                word("optional", "who shows none may show a token"),
            ])),
            Default::Text("required"),
            "Whether a client must show a certificate, where there is a `client_ca`.",
        ),
    ],
    rules: &[],
};

const CONTROL_LIMITS: Object = Object {
    name: "control_limits",
    doc: "What a client of a control listener may cost. A client is a token, or an address without one.",
    fields: &[
        field(
            "head",
            SIZE,
            Default::Text("32KiB"),
            "Request line and headers together; more is answered 431.",
        ),
        field(
            "headers",
            count(1, 10_000),
            Default::Text("100"),
            "Header fields of a request; more is answered 431.",
        ),
        field(
            "body",
            SIZE,
            Default::Text("1MiB"),
            "A request's body; a larger one is answered 413. Single calls take less.",
        ),
        field(
            "connections",
            count(1, 4_000_000),
            Default::Text("4096"),
            "Connections of the listener; one more is closed at once.",
        ),
        field(
            "connections_per_client",
            count(1, 4_000_000),
            Default::Absent,
            "Connections of one address; one more is closed at once. When absent: 512 for addresses of other machines.",
        ),
        field(
            "requests",
            count(1, 1_000_000),
            Default::Absent,
            "Requests of one client in a second; more are answered 429. When absent: 5000 for clients of other machines.",
        ),
        field(
            "burst",
            count(1, 1_000_000),
            Default::Absent,
            "Requests of one client at once, after a pause. When absent: twice those of a second.",
        ),
    ],
    rules: &[],
};

/// The listener for clients of Eureka.
pub(super) const EUREKA: Object = Object {
    name: "eureka",
    doc: "The listener for clients of Eureka, under `/eureka`. Whoever reaches it can register services, unless `access:` says otherwise. A port that is taken is reported and skipped.",
    fields: &[
        field(
            "enabled",
            FLAG,
            Default::Text("true"),
            "Whether it is there.",
        ),
        field(
            "address",
            ADDRESS,
            Default::Text("127.0.0.1:8761"),
            "Where it listens.",
        ),
        FRONT_HOSTS,
        TLS_FIELD,
        LIMITS_FIELD,
        INSECURE_FIELD,
    ],
    rules: &[],
};

const FRONT_HOSTS: Field = field(
    "hosts",
    Shape::List { of: &HOST, min: 0 },
    Default::Absent,
    "Host names that it answers to, besides `localhost` and IP addresses: those by which clients name it.",
);

/// The listener for clients of Consul.
pub(super) const CONSUL: Object = Object {
    name: "consul",
    doc: "The listener for clients of Consul, under `/v1`. Whoever reaches it can register services, unless `access:` says otherwise. A port that is taken is reported and skipped.",
    fields: &[
        field(
            "enabled",
            FLAG,
            Default::Text("true"),
            "Whether it is there.",
        ),
        field(
            "address",
            ADDRESS,
            Default::Text("127.0.0.1:8500"),
            "Where it listens.",
        ),
        FRONT_HOSTS,
        TLS_FIELD,
        LIMITS_FIELD,
        INSECURE_FIELD,
    ],
    rules: &[],
};

const SCOPES: Shape = Shape::List {
    of: &Shape::Leaf(Leaf::Scope),
    min: 0,
};

/// Access control.
pub(super) const ACCESS: Object = Object {
    name: "access",
    doc: "Access control of the control listeners: who shows no token or certificate may do what `anonymous` says. Tokens are made by `portolan token create` or declared here by their hash. Scopes are `read`, `register`, `register:orders`, `register:orders-*`, `register:namespace/*`, `operate` and `admin`.",
    fields: &[
        field(
            "anonymous",
            SCOPES,
            Default::Absent,
            "What a caller without a token or certificate may do. Nothing when absent.",
        ),
        field(
            "tokens",
            Shape::Map {
                key: Leaf::Name,
                of: &Shape::Object(&TOKEN),
            },
            Default::Absent,
            "Tokens by name; `portolan token generate` makes a secret and its hash.",
        ),
        field(
            "certificates",
            Shape::Map {
                key: Leaf::Text,
                of: &SCOPES,
            },
            Default::Absent,
            "What the owner of a client certificate may do, by an alternative name (DNS, URI, mail) or the common name that it carries.",
        ),
    ],
    rules: &[],
};

const TOKEN: Object = Object {
    name: "access_token",
    doc: "A token that is declared by its hash.",
    fields: &[
        field(
            "hash",
            Shape::Leaf(Leaf::SecretHash),
            Default::Required,
            "`sha256:` and the SHA-256 of the secret in hexadecimal digits.",
        ),
        field("scopes", SCOPES, Default::Required, "What it is for."),
    ],
    rules: &[],
};
