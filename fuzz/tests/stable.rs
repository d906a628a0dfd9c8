//! Runs every target over seeds and their mutations, always the same ones.

use portolan_fuzz::common::probes;
use portolan_fuzz::{
    body, cel, config, consul, dns, dns_others, eureka, ledger, memory, proxy_protocol, request_head,
    response_head, sources,
};

/// How many mutations a target sees.
const ROUNDS: usize = 5_000;

/// A small generator (xorshift64*), so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() >> 33).unwrap() % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// What mutations are made of besides random bytes.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"1\r\na\r\n",
    b"chunked",
    b"gzip",
    b"close",
    b"keep-alive",
    b"trailers",
    b"100-continue",
    b"websocket",
    b"HTTP/1.0",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: upgrade\r\n",
    b"Host: b\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n",
    b"TE: trailers\r\n",
    b"X-A: b\r\n",
    b"ffffffffffffffff",
    b"\n  a: {target: u, match: {prefix: /x}}",
    b": {}",
    b"[*a, &a {b: c}]",
    b"${env:PORT:-1}",
    b"'",
    b"- ",
    b"{\"a\":",
    b"</a>",
    b"<a>",
    b"&#13;",
    b"__",
    b"_.0040",
];

fn mutate(seed: &[u8], seeds: &[&[u8]], dice: &mut Dice) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(input.len() + 1);
        let end = (at + dice.below(8)).min(input.len());
        let word = *dice.pick(WORDS);
        match dice.below(6) {
            0 => drop(input.splice(at..at, word.iter().copied())),
            1 => drop(input.splice(at..end, word.iter().copied())),
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let other = *dice.pick(seeds);
                let from = dice.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let byte = dice.roll().to_le_bytes()[3];
                input.splice(at..end.min(at + 1), [byte]);
            }
        }
    }
    input
}

fn run(seeds: &[&[u8]], target: fn(&[u8])) {
    for seed in seeds {
        target(seed);
    }
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..ROUNDS {
        let seed = *dice.pick(seeds);
        let input = mutate(seed, seeds, &mut dice);
        let result = std::panic::catch_unwind(|| target(&input));
        assert!(result.is_ok(), "input: b\"{}\"", input.escape_ascii());
    }
}

#[test]
fn requests_hold() {
    let seeds: Vec<_> = probes::REQUESTS.iter().map(|probe| probe.bytes).collect();
    run(&seeds, request_head);
}

#[test]
fn responses_hold() {
    let seeds: Vec<_> = probes::RESPONSES.iter().map(|probe| probe.bytes).collect();
    run(&seeds, response_head);
}

#[test]
fn bodies_hold() {
    run(
        &[
            b"\xff4\r\nabcd\r\n0\r\n\r\n",
            b"\x044;a=\"b\"\r\nabcd\r\n00\r\nX-A: b\r\nX-B: c\r\n\r\nnext",
            b"\x02A \r\n0123456789\r\n0\r\n\r\n",
            b"\xff1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\ngrpc-status: 0\r\n\r\n",
        ],
        body,
    );
}

#[test]
fn proxy_headers_hold() {
    run(
        &[
            b"PROXY TCP4 192.0.2.1 192.0.2.2 12345 443\r\nGET / HTTP/1.1\r\n",
            b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 65535\r\n",
            b"PROXY UNKNOWN\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x30\x39\x01\xbb",
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\x02\x01\xc0\0\x02\x02\x30\x39\x01\xbb\x03\0\x04\0\0\0\0",
        ],
        proxy_protocol,
    );
}

#[test]
fn configurations_hold() {
    run(
        &[
            include_bytes!("../../crates/config/src/starting.yaml"),
            b"routes:\n  a: {target: u, hosts: [a.example, '*.b.example']}\n  b:\n    match:\n      - {regex: '/[0-9]+', headers: {x: {present: true}}}\n    targets: [{upstream: u, weight: 2, subset: {v: 1}}]\nupstreams:\n  u: {service: n/s, balance: {random: {}}, check: {tcp: {}}}\n",
            b"gateway: {drain: ${env:PORT:-5}s, trusted_proxies: [10.0.0.0/8]}\nlisteners: &l\n  web: &w {address: '127.0.0.1:${env:PORT}'}\n  two: {address: '[::1]:81', limits: {head: 1KiB}, timeouts: {head: 1m30s}}\n",
            br#"{"admin": {"address": "127.0.0.1:1", "hosts": ["a"]}, "guard": {"share": 1, "hold": "0s"}, "status": {"address": "0.0.0.0:2"}}"#,
        ],
        config,
    );
}

#[test]
fn conditions_in_cel_hold() {
    run(
        &[
            b"zone == 'z1' && weight > 10 && ('a' in tags || has(metadata.team))",
            b"metadata.exists(k, metadata[k].startsWith(\"sh\\x6fp\")) ? !is_open : -1.5e3 < 0x1f",
            b"tags.map(t, t != r'a', t + '!').filter(t, t.matches('^b')) == ['b!'] // x",
            b"size(tags) * 2 % 3 - int('4') / 1 <= double(weight) || null != [1, 'a', true][0]",
        ],
        cel,
    );
}

#[test]
fn documents_of_eureka_hold() {
    run(
        &[
            br#"{"instance": {"instanceId": "i", "hostName": "h", "app": "a", "ipAddr": "10.0.0.1", "sid": "na", "port": {"$": 80, "@enabled": "true"}, "securePort": 443, "status": "UP", "overriddenstatus": "DOWN", "leaseInfo": {"durationInSecs": 9, "renewalTimestamp": 7}, "metadata": {"@class": "m", "a_b": "c$", "n": 1.5}, "dataCenterInfo": {"name": "Amazon", "metadata": {"instance-id": "i"}}, "vipAddress": "v,w"}}"#,
            b"<instance><instanceId>i</instanceId><hostName>h</hostName><app>a</app><ipAddr>10.0.0.1</ipAddr><port enabled=\"true\">80</port><metadata class=\"m\"><a__b>&lt;c&#9;</a__b></metadata><dataCenterInfo class=\"x\"><name>MyOwn</name></dataCenterInfo></instance>",
            br#"{"applications": {"versions__delta": "1", "apps_hashcode": "UP_1_", "application": {"name": "a", "instance": [{"hostName": "h"}, {"hostName": "g"}]}}}"#,
            b"<applications><versions__delta>1</versions__delta><application><name>A</name><instance><hostName>h</hostName></instance></application></applications>",
            br#"{"application": {"name": "a", "instance": {"actionType": "ADDED"}}}"#,
            br#"{"replicationList": [{"appName": "A", "id": "i", "action": "Register", "instanceInfo": {"hostName": "h", "app": "a", "ipAddr": "::1"}}]}"#,
            br#"{"responseList": [{"statusCode": 409, "responseEntity": {"hostName": "h"}}]}"#,
            b"/eureka/v2/apps/A/a%3Ab/status",
        ],
        eureka,
    );
}

#[test]
fn words_of_consul_hold() {
    run(
        &[
            b"Service.Meta[\"a b\"] == `c` and not (web in Tags or any Checks as c { c.Status != passing })",
            b"all Service.Tags as i, t { t matches `^v[0-9]+$` } or \"/Node/Meta/x\" is not empty",
            b"service_prefix \"\" { policy = \"read\" }\nkey \"a\" { policy = \"list\" } # x\noperator = \"write\"",
            br#"{"service": {"web": {"policy": "write"}}, "acl": "deny"}"#,
            b"read,register:orders-*,register:shop/*,operate,admin",
            b"sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
            br#"{"Name": "Web", "id": "a/b", "Port": 80, "tags": ["a=b"], "Meta": {"c": "d"}, "checks": [{"TTL": "1.5s"}, {"http": "http://127.0.0.1:80/x", "interval": "10s"}]}"#,
            br#"{"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "s"}, "Check": {"Name": "c", "Definition": {"TCP": "a:1"}}}"#,
            br#"[{"KV": {"Verb": "cas", "Key": "a", "Value": "Yg==", "Index": 1}}]"#,
            br#"{"LockDelay": "15s", "TTL": "1h2m3s", "Behavior": "delete"}"#,
            b"/v1/agent/health/service/name/web",
        ],
        consul,
    );
}

#[test]
fn a_program_starts_whatever_it_remembers() {
    run(
        &[
            br#"{"version":1,"written_at":1795840616793,"instances":[]}"#,
            br#"{"version":1,"written_at":1795840616793,"instances":[{"key":"orders","id":"a","endpoints":[{"name":"default","address":"127.0.0.1:15260"}],"weight":100,"metadata":{"colour":"blue"},"source":"file","state":{"health":"passing","since":0,"first_seen":1795840615807,"override":"none","guard":"none","leaving":false,"stale":false}}]}"#,
            br#"{"version":1,"written_at":0,"instances":[{"key":"shop/users","id":"b","endpoints":[],"zone":"z","version":"v","weight":1,"tags":["t"],"source":"file"},{"key":"shop/users","id":"b","endpoints":[{"name":"a","address":"[::1]:1"},{"name":"a","address":"[::1]:2"}],"source":"file","state":{"health":"critical","leaving":true}}]}"#,
        ],
        memory,
    );
}

#[test]
fn what_the_ledger_holds_comes_back() {
    let snapshot: Vec<u8> = empty_snapshot();
    let seeds: &[&[u8]] = &[
        br#"[{"KV": {"Verb": "cas", "Key": "a", "Value": "MQ==", "Index": 3, "Flags": 7}},
             {"KV": {"Verb": "lock", "Key": "b", "Session": "s"}}]"#,
        br#"[{"Node": {"Verb": "set", "Node": {"Node": "n", "Address": "10.0.0.1"}}},
             {"Check": {"Verb": "cas", "Check": {"Node": "n", "Name": "c", "ModifyIndex": 3}}}]"#,
        br#"{"Name": "geo-", "Template": {"Type": "name_prefix_match", "Regexp": "^geo-(.*?)$"},
             "Service": {"Service": "${match(1)}", "Tags": ["${name.full}", "!$${x}"],
             "NodeMeta": {"a": "${name.suffix}"}, "Failover": {"NearestN": 1}}, "DNS": {"TTL": "1s"}}"#,
        br#"{"id":"s","terms":{"name":"","node":"n","lock_delay":{"secs":1,"nanos":0},
             "behavior":"release","ttl":null,"node_checks":[],"service_checks":[]},"created":5}"#,
        br#"{"alias":"a","body":"{}","created":5,"modified":6}"#,
        &[1; 50],
        &snapshot,
    ];
    run(seeds, ledger);
}

/// A snapshot of nothing: its first line, its end and its digest.
fn empty_snapshot() -> Vec<u8> {
    let mut bytes = b"portolan ledger 1\n\xff\xff\xff\xff".to_vec();
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    bytes.extend_from_slice(digest.as_ref());
    bytes
}

#[test]
fn messages_of_sources_hold() {
    run(
        &[
            // ZooKeeper: a session, an event, data, children.
            b"\0\0\0\0\0\0\x75\x30\0\0\0\0\0\0\0\x01\0\0\0\x10",
            b"\0\0\0\x04\0\0\0\x03\0\0\0\x09/services",
            b"\0\0\0\x02\0\0\0\x01a\0\0\0\x01b",
            b"\0\0\0\x02{}\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            // gRPC: two messages, one of etcd.
            b"\0\0\0\0\x02\x20\x01\0\0\0\0\0",
            b"\x0a\x04\x18\x05\x20\x01\x12\x10\x0a\x01a\x10\x02\x18\x03\x20\x01\x2a\x05hello\x20\x01",
            // Nacos.
            b"\x12\x08\x1a\x06Health\x1a\x0f\x12\x0d{\"count\": 10}",
            br#"{"resultCode": 200, "serviceNames": ["a"], "serviceInfo": {"hosts": [{"ip": "10.0.0.1", "port": 80}]}}"#,
            // Our own watch.
            b"event: put\ndata: {\"id\": \"a\"}\nid: 7\n\n: beat\r\n\r\nevent: reset\rdata:\r\r",
        ],
        sources,
    );
}

#[test]
fn what_the_dns_server_hears_from_others_holds() {
    run(
        &[
            // An address, an alias, a negative answer with its SOA, and OPT.
            b"\x01\0\0\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04",
            b"\x01\0\x01\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x10\0\0\x29\x04\xd0\0\0\x80\0\0\0",
            b"\0\x01\0\xc0\x10\0\x06\0\x01\0\0\0\x3c\0\x16\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
            // An addition to a zone, and one that is signed with nothing.
            b"\0\x01\0\x03www\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04",
            b"\0\0\x01\x04desk\0\0\xfa\0\xff\0\0\0\0\0\x1d\x0bhmac-sha256\0\0\0\0\0\0\x01\x01\x2c\0\0\x07\x07\0\0\0\0",
        ],
        dns_others,
    );
}

#[test]
fn queries_of_dns_hold() {
    let cookie = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08abcdefgh";
    let subnet = b"\0\0\x29\x10\0\0\0\x80\0\0\x0b\0\x08\0\x07\0\x01\x18\0\xc0\0\x02";
    let head = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01";
    let query =
        |name: &[u8], kind: u8, more: &[u8]| [&head[..], name, &[0, 0, kind, 0, 1], more].concat();
    let queries = [
        query(b"\x06orders\x07service\x06consul", 1, cookie),
        query(b"\x02v1\x06Orders\x07service\x03dc1\x06consul", 33, subnet),
        query(
            b"\x05_http\x04_tcp\x06orders\x07default\x03svc\x07cluster\x05local",
            33,
            cookie,
        ),
        query(
            b"\x09_services\x07_dns-sd\x04_udp\x08portolan\x08internal",
            12,
            subnet,
        ),
        query(
            b"\x02i1\x07_orders\x04_tcp\x08portolan\x08internal",
            16,
            cookie,
        ),
        query(b"\x011\x010\x010\x0210\x07in-addr\x04arpa", 12, cookie),
        query(b"\x06orders\x08portolan\x08internal", 255, cookie),
    ];
    let seeds: Vec<_> = queries.iter().map(Vec::as_slice).collect();
    run(&seeds, dns);
}
