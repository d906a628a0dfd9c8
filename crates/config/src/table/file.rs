//! The fields of the file itself and of the sections that it has once.

use super::{
    ADDRESS, DURATION, Default, FILE_NAME, FLAG, HOST, LABELS, LISTENER, Leaf, Object, POLICIES,
    ROUTE, Shape, Shelf, TEXT, UPSTREAM,
    control::{ACCESS, CONSUL, EUREKA, INSECURE_FIELD, LIMITS_FIELD, TLS_FIELD},
    count,
    dns::DNS,
    field, word,
};

/// The whole file.
pub(crate) const FILE: Object = Object {
    name: "file",
    doc: "A configuration file. Every part may be left out; an empty file is what runs without one.",
    fields: &[
        field(
            "gateway",
            Shape::Object(&GATEWAY),
            Default::Empty,
            "What holds for the gateway as a whole.",
        ),
        field(
            "admin",
            Shape::Object(&ADMIN),
            Default::Empty,
            "The admin listener: registry API, metrics, live configuration.",
        ),
        field(
            "access",
            Shape::Object(&ACCESS),
            Default::Absent,
            "Access control of the control listeners. Whoever reaches them may do everything when absent.",
        ),
        field(
            "status",
            Shape::Object(&STATUS),
            Default::Absent,
            "A listener for liveness and readiness only. The admin listener answers them too.",
        ),
        field(
            "access_log",
            Shape::Object(&ACCESS_LOG),
            Default::Empty,
            "Where a record of every request goes.",
        ),
        field(
            "listeners",
            Shape::Map {
                key: Leaf::Name,
                of: &Shape::Object(&LISTENER),
            },
            Default::Absent,
            "Where the gateway listens, by name. One called `gateway` on 127.0.0.1:8080 when the field is absent.",
        ),
        field(
            "policies",
            POLICIES,
            Default::Absent,
            "Policies of every route.",
        ),
        field(
            "routes",
            Shape::Map {
                key: Leaf::Name,
                of: &Shape::Object(&ROUTE),
            },
            Default::Absent,
            "Which requests go where, by name.",
        ),
        field(
            "upstreams",
            Shape::Map {
                key: Leaf::Name,
                of: &Shape::Object(&UPSTREAM),
            },
            Default::Absent,
            "Where requests can go, by name.",
        ),
        field(
            "sources",
            Shape::Map {
                key: Leaf::Name,
                of: &Shape::Plug(Shelf::Sources),
            },
            Default::Absent,
            "Where services are found besides Portolan's own registry, by name. The first has precedence.",
        ),
        field(
            "registry",
            Shape::Object(&REGISTRY),
            Default::Empty,
            "Portolan's own registry: its limits and the foreign protocols that it speaks.",
        ),
        field(
            "dns",
            Shape::Object(&DNS),
            Default::Empty,
            "The DNS server.",
        ),
        field(
            "guard",
            Shape::Object(&GUARD),
            Default::Empty,
            "What happens when many instances vanish at once without having said goodbye.",
        ),
    ],
    rules: &[],
};

const GATEWAY: Object = Object {
    name: "gateway",
    doc: "What holds for the gateway as a whole.",
    fields: &[
        field(
            "workers",
            count(1, 1024),
            Default::Absent,
            "Worker threads. One per core when absent.",
        ),
        field(
            "drain",
            DURATION,
            Default::Text("30s"),
            "How long a graceful stop waits for requests in flight.",
        ),
        field(
            "automatic",
            Shape::Object(&AUTOMATIC),
            Default::Empty,
            "The built-in lane: a service is reachable as `/<service>/...` and as `<service>.localhost`.",
        ),
        field(
            "trusted_proxies",
            Shape::List {
                of: &Shape::Leaf(Leaf::Network),
                min: 0,
            },
            Default::Absent,
            "Networks whose X-Forwarded-*, Forwarded and PROXY headers are believed. None when absent.",
        ),
        field(
            "zone",
            TEXT,
            Default::Absent,
            "The zone that this gateway stands in.",
        ),
    ],
    rules: &[],
};

const AUTOMATIC: Object = Object {
    name: "automatic",
    doc: "The built-in lane that routes by a service's name.",
    fields: &[
        field(
            "enabled",
            FLAG,
            Default::Absent,
            "Whether the lane is there. When absent: on if no routes are configured.",
        ),
        field(
            "filter",
            LABELS,
            Default::Empty,
            "Only instances with these labels.",
        ),
    ],
    rules: &[],
};

const ADMIN: Object = Object {
    name: "admin",
    doc: "The admin listener. Whoever reaches it can register services, unless `access:` says otherwise.",
    fields: &[
        field(
            "address",
            ADDRESS,
            Default::Text("127.0.0.1:9070"),
            "Where it listens.",
        ),
        field(
            "hosts",
            Shape::List { of: &HOST, min: 0 },
            Default::Absent,
            "Host names that it answers to, besides `localhost` and IP addresses. Others are refused, so that a web page can't reach it through a name of its own.",
        ),
        TLS_FIELD,
        LIMITS_FIELD,
        INSECURE_FIELD,
    ],
    rules: &[],
};

const STATUS: Object = Object {
    name: "status",
    doc: "A listener that answers `/live` and `/ready` and nothing else, for a place that may not see the admin API.",
    fields: &[field(
        "address",
        ADDRESS,
        Default::Required,
        "Where it listens.",
    )],
    rules: &[],
};

const ACCESS_LOG: Object = Object {
    name: "access_log",
    doc: "A record of every request.",
    fields: &[
        field(
            "enabled",
            FLAG,
            Default::Absent,
            "Whether there are records. When absent: on if there is no configuration file and standard output is a terminal.",
        ),
        field(
            "format",
            Shape::Leaf(Leaf::Word(&[
                word("text", "a line for people"),
                word("json", "a JSON object a line"),
            ])),
            Default::Text("text"),
            "How a record is written.",
        ),
        field(
            "path",
            FILE_NAME,
            Default::Text("stdout"),
            "`stdout`, or a file to append to.",
        ),
    ],
    rules: &[],
};

const REGISTRY: Object = Object {
    name: "registry",
    doc: "Portolan's own registry: its limits and the foreign protocols that it speaks.",
    fields: &[
        field(
            "ttl",
            Shape::Object(&TTL),
            Default::Empty,
            "How long an instance may be silent until it is taken for gone.",
        ),
        field(
            "instances",
            count(1, 100_000_000),
            Default::Text("1000000"),
            "Most instances in all; one more registration is refused.",
        ),
        field(
            "eureka",
            Shape::Object(&EUREKA),
            Default::Empty,
            "The listener for clients of Eureka.",
        ),
        field(
            "consul",
            Shape::Object(&CONSUL),
            Default::Empty,
            "The listener for clients of Consul.",
        ),
        field(
            "checks",
            Shape::Object(&CHECKS),
            Default::Empty,
            "What health checks may do.",
        ),
    ],
    rules: &[],
};

const CHECKS: Object = Object {
    name: "checks",
    doc: "What health checks may do, whoever asks for them.",
    fields: &[
        field(
            "scripts",
            FLAG,
            Default::Text("false"),
            "Run programs, on this machine and in its containers. Whoever may register can then run any program.",
        ),
        field(
            "docker",
            FILE_NAME,
            Default::Text("/var/run/docker.sock"),
            "The socket of the Docker engine.",
        ),
        field(
            "ca",
            FILE_NAME,
            Default::Absent,
            "Trust these roots (PEM) instead of the system's, where a check names none.",
        ),
    ],
    rules: &[],
};

const TTL: Object = Object {
    name: "ttl",
    doc: "How long an instance may be silent.",
    fields: &[
        field(
            "default",
            DURATION,
            Default::Text("30s"),
            "For an instance that does not say.",
        ),
        field(
            "min",
            DURATION,
            Default::Text("1s"),
            "The shortest that an instance gets.",
        ),
        field(
            "max",
            DURATION,
            Default::Text("1d"),
            "The longest that an instance gets.",
        ),
    ],
    rules: &[],
};

const GUARD: Object = Object {
    name: "guard",
    doc: "The guard holds instances that vanish all at once by inference: a missed heartbeat, a shorter list. What says goodbye goes at once.",
    fields: &[
        field(
            "share",
            count(0, 100),
            Default::Text("15"),
            "The share of a service, a zone, a source and of everything, in percent, that may vanish within one hold time.",
        ),
        field(
            "hold",
            Shape::Leaf(Leaf::DurationOrZero),
            Default::Text("5m"),
            "How long the others are held. `0s` switches the guard off.",
        ),
        field(
            "evidence",
            Shape::Leaf(Leaf::DurationOrZero),
            Default::Text("30s"),
            "How long a good answer through the gateway speaks for an instance that is silent, and a refused connection against it. `0s` lets neither count.",
        ),
        field(
            "half_life",
            Shape::Leaf(Leaf::DurationOrZero),
            Default::Text("5m"),
            "The time in which half of an instance's penalty for going down again and again is forgiven. `0s` switches damping off.",
        ),
    ],
    rules: &[],
};
