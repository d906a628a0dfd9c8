//! The fields of the DNS server's section.

use super::{
    ADDRESS, Default, FLAG, HOST, Leaf, Object, Shape, TEXT, count,
    dns_beyond::{OVER_TLS, RECURSORS, UPDATES},
    field,
};

const DURATION_OR_ZERO: Shape = Shape::Leaf(Leaf::DurationOrZero);
const ZONES: Shape = Shape::List { of: &HOST, min: 0 };

/// The DNS server.
pub(super) const DNS: Object = Object {
    name: "dns",
    doc: "The DNS server. It answers the names of services by UDP and TCP. A port that is taken is reported and skipped.",
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
            Default::Text("127.0.0.1:8600"),
            "Where it listens, by UDP and TCP.",
        ),
        field(
            "workers",
            count(1, 1024),
            Default::Absent,
            "Threads that answer. One per core, but at most four, when absent. A change needs a restart.",
        ),
        field(
            "zones",
            ZONES,
            Default::Texts(&["portolan.internal"]),
            "Zones with names like `orders.<zone>` and `orders.<namespace>.<zone>`, which can be browsed by DNS-SD.",
        ),
        field(
            "consul",
            ZONES,
            Default::Texts(&["consul"]),
            "Zones with Consul's names, like `orders.service.<zone>`.",
        ),
        field(
            "datacenter",
            HOST,
            Default::Text("dc1"),
            "The datacentre that Consul's names may hold.",
        ),
        field(
            "kubernetes",
            ZONES,
            Default::Absent,
            "Zones with names like `orders.<namespace>.svc.<zone>`, usually `cluster.local`. None when absent.",
        ),
        field(
            "ttl",
            DURATION_OR_ZERO,
            Default::Text("0s"),
            "How long others may keep an answer.",
        ),
        field(
            "ttls",
            Shape::Map {
                key: Leaf::Text,
                of: &DURATION_OR_ZERO,
            },
            Default::Absent,
            "The same for single services: `orders`, `shop/orders`, or the start of names and `*`. The longest that fits holds.",
        ),
        field(
            "stale_ttl",
            DURATION_OR_ZERO,
            Default::Text("5s"),
            "How long at least others may keep an answer whose source no longer knows.",
        ),
        field(
            "negative_ttl",
            DURATION_OR_ZERO,
            Default::Text("1s"),
            "How long others may remember that there is no such name.",
        ),
        field(
            "udp_size",
            count(512, 4096),
            Default::Text("1232"),
            "Most bytes of an answer by UDP, whatever a client can take; a longer one is cut, and the client asks by TCP.",
        ),
        field(
            "three_answers",
            FLAG,
            Default::Text("false"),
            "Give clients without EDNS at most three records by UDP and do not say that there are more, as Consul does.",
        ),
        field(
            "zone",
            TEXT,
            Default::Absent,
            "The zone of clients of which `networks` says nothing: instances there come first.",
        ),
        field(
            "networks",
            Shape::Map {
                key: Leaf::Network,
                of: &TEXT,
            },
            Default::Absent,
            "The zones of clients by their network; the client subnet that a resolver names counts.",
        ),
        field(
            "gateway",
            Shape::List {
                of: &Shape::Leaf(Leaf::Ip),
                min: 0,
            },
            Default::Absent,
            "Addresses of the gateway that SVCB and HTTPS records name. Those of its first listener when absent.",
        ),
        field(
            "responses",
            count(1, 10_000_000),
            Default::Absent,
            "Answers by UDP in a second to clients of one network (/24 or /56) that show no cookie. When absent: 1000 for clients of other machines.",
        ),
        field(
            "slip",
            count(0, 100),
            Default::Text("2"),
            "Of the answers beyond that rate, each so many-th is sent cut, so that a real client asks by TCP; the others are dropped. 0 drops all.",
        ),
        field(
            "connections",
            count(1, 1_000_000),
            Default::Text("1024"),
            "TCP connections; one more is closed at once.",
        ),
        field(
            "recursors",
            Shape::Object(&RECURSORS),
            Default::Absent,
            "Who is asked for names in none of the zones. They are refused when absent.",
        ),
        field(
            "updates",
            Shape::Object(&UPDATES),
            Default::Absent,
            "Who may update names in `zones`. Nobody when absent.",
        ),
        field(
            "over_tls",
            Shape::Object(&OVER_TLS),
            Default::Absent,
            "A listener for queries over TLS. None when absent.",
        ),
        field(
            "over_https",
            FLAG,
            Default::Text("false"),
            "Answer queries over HTTPS (RFC 8484) at `/dns-query` of the admin listener, of whoever reaches it.",
        ),
    ],
    rules: &[],
};
