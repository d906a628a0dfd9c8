//! Claims about bodies, answers and their mapping to the model.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use portolan_model::{
    Guard, Health, Instance, InstanceId, Name, NamedPort, Override, Ruling, ServiceKey, SourceId,
    State, Timestamp, Weight,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    answer::{
        AgentServiceView, CatalogRow, CheckView, EventView, HealthEntry, Indexes, Itself,
        ItselfConfig, KvView, NodeView, ServiceView, SessionView,
    },
    filter::{Filter, Shape},
    *,
};

const CALLER: &str = "127.0.0.1";

fn service(body: &Value) -> Result<ServiceDefinition, Refusal> {
    ServiceDefinition::read(body.to_string().as_bytes())
}

fn record(body: &Value) -> Record {
    Record::new(service(body).unwrap(), None, CALLER.parse().unwrap())
}

/// The instance as the registry would show it.
fn instance(record: &Record) -> Arc<Instance> {
    let described = record.describe(&SourceId::new("registry")).unwrap();
    let state = State {
        health: described.status.unwrap_or_default(),
        note: described.note,
        ..State::default()
    };
    Arc::new(Instance {
        state,
        ..described.instance
    })
}

fn home() -> Home {
    Home {
        node: NodeDefinition {
            name: "node-1".into(),
            address: "127.0.0.1".into(),
            ..NodeDefinition::default()
        },
        datacenter: "dc1".into(),
    }
}

fn checks(instance: &Arc<Instance>) -> Vec<CheckView> {
    checks_found(instance, Vec::new())
}

fn checks_found(instance: &Arc<Instance>, found: Vec<Found>) -> Vec<CheckView> {
    let seen = Registered::of(instance).with(found);
    seen.checks(&"node-1".into(), 7)
}

fn found(id: &str, health: Health, output: &str) -> Found {
    Found {
        id: id.into(),
        health,
        output: output.into(),
    }
}

#[test]
fn names_of_fields_are_read_in_any_spelling() {
    let camel = json!({
        "Name": "web", "ID": "web-1", "Port": 80, "EnableTagOverride": true,
        "TaggedAddresses": {"lan": {"Address": "10.0.0.1", "Port": 8080}},
        "Meta": {"some_Key": "v"},
        "Check": {"HTTP": "http://127.0.0.1:80/", "Interval": "10s", "TLSSkipVerify": true,
                  "DeregisterCriticalServiceAfter": "1m"},
    });
    let snake = json!({
        "name": "web", "id": "web-1", "port": "80", "enable_tag_override": "true",
        "tagged_addresses": {"lan": {"address": "10.0.0.1", "port": 8080.0}},
        "meta": {"some_Key": "v"},
        "check": {"http": "http://127.0.0.1:80/", "interval": 10_000_000_000_u64,
                  "tls_skip_verify": true, "deregister_critical_service_after": "60s"},
    });
    let read = service(&camel).unwrap();
    assert_eq!(read, service(&snake).unwrap());
    assert_eq!(read.meta.get("some_Key").map(|v| &**v), Some("v"));
    assert_eq!(read.checks[0].id, "service:web-1");
    assert_eq!(
        read.checks[0].deregister_after,
        Some(Duration::from_mins(1))
    );
}

#[test]
fn checks_get_ids_from_their_service() {
    let ttl = json!({"TTL": "1s"});
    let many = json!({"Name": "web", "Checks": [ttl, {"TTL": "2s", "CheckID": "mine"}, ttl]});
    let read = service(&many).unwrap();
    let ids: Vec<_> = read.checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(ids, ["service:web:1", "mine", "service:web:3"]);
    assert_eq!(read.checks[0].name, "Service 'web' check");
    let one = service(&json!({"Name": "web", "Check": {}, "Checks": null})).unwrap();
    assert_eq!(one.checks, []);
}

#[test]
fn every_kind_of_check_is_read() {
    let cases = [
        (json!({"TTL": "100ms"}), "ttl"),
        (
            json!({"HTTP": "http://a/", "Interval": "1s", "Header": {"X-A": ["b", "c"]}}),
            "http",
        ),
        (
            json!({"TCP": "a:1", "Interval": "1s", "TCPUseTLS": true}),
            "tcp",
        ),
        (json!({"UDP": "a:1", "Interval": "1s"}), "udp"),
        (
            json!({"GRPC": "a:1/s", "Interval": "1s", "GRPCUseTLS": true}),
            "grpc",
        ),
        (
            json!({"H2PING": "a:1", "Interval": "1s", "H2PingUseTLS": false}),
            "h2ping",
        ),
        (json!({"AliasService": "web"}), "alias"),
        (json!({"OSService": "sshd", "Interval": "1s"}), "os_service"),
    ];
    for (mut body, kind) in cases {
        body["Name"] = json!("c");
        let check = CheckDefinition::read(body.to_string().as_bytes()).unwrap();
        assert_eq!(check.type_name(), kind);
        assert_eq!(check.id, "c");
        let text = serde_json::to_string(&check).unwrap();
        assert_eq!(
            serde_json::from_str::<CheckDefinition>(&text).unwrap(),
            check
        );
    }
}

#[test]
fn registrations_are_refused_as_clients_expect() {
    let long = "x".repeat(4097);
    let cases = [
        (json!({}), "Missing service name"),
        (
            json!({"Name": "a", "Address": "0.0.0.0"}),
            "Invalid service address",
        ),
        (json!({"Name": "a", "Port": 70_000}), "Invalid service port"),
        (
            json!({"Name": "a", "Port": "x"}),
            "'Port' expected a number",
        ),
        (
            json!({"Name": "a", "Meta": {"a b": "c"}}),
            "Invalid Service Meta: Couldn't load",
        ),
        (
            json!({"Name": "a", "Meta": {"": "c"}}),
            "Key cannot be blank",
        ),
        (
            json!({"Name": "a", "Weights": {"Passing": 0}}),
            "Passing must be greater than 0",
        ),
        (json!({"Name": "a", "Tags": "x"}), "'Tags' expected a list"),
        (json!({"Name": long}), "over 4096 bytes"),
        (json!([]), "an object is expected"),
    ];
    for (body, expected) in cases {
        let refusal = service(&body).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.text.contains(expected), "{body}: {refusal}");
    }
    let broken = ServiceDefinition::read(b"{").unwrap_err();
    assert!(
        broken.text.starts_with("Request decode failed: "),
        "{broken}"
    );
    assert!(ServiceDefinition::read(b"").is_err());
}

#[test]
fn checks_are_refused_as_clients_expect() {
    let cases = [
        (
            json!({"Name": "a", "Check": {"HTTP": "http://a/"}}),
            "Interval must be > 0",
        ),
        (
            json!({"Name": "a", "Check": {"Name": "x"}}),
            "TTL must be > 0",
        ),
        (
            json!({"Name": "a", "Check": {"TTL": "1s", "Interval": "1s"}}),
            "cannot both be",
        ),
        (
            json!({"Name": "a", "Check": {"TTL": "x"}}),
            "invalid duration",
        ),
        (
            json!({"Name": "a", "Check": {"TTL": -5}}),
            "expected a duration",
        ),
        (
            json!({"Name": "a", "Check": {"Args": ["x"]}}),
            "Interval must be > 0",
        ),
        (
            json!({"Name": "a", "Check": {"DockerContainerID": "x", "Interval": "1s"}}),
            "Args is required",
        ),
        (
            json!({"Name": "a", "Check": {"TTL": "1s", "Status": "great"}}),
            "Bad check status",
        ),
        (
            json!({"Name": "a", "Check": {"TTL": "1s", "FailuresBeforeWarning": 2}}),
            "can't be higher",
        ),
    ];
    for (body, expected) in cases {
        let refusal = service(&body).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.text.contains(expected), "{body}: {refusal}");
    }
}

#[test]
fn counts_are_taken_up_to_the_limit_and_not_one_more() {
    let tags = |count: usize| json!({"Name": "a", "Tags": vec!["t"; count]});
    assert!(service(&tags(256)).is_ok());
    assert!(service(&tags(257)).is_err());
    let pairs = |count: usize| {
        let meta: BTreeMap<_, _> = (0..count).map(|n| (format!("k{n}"), "v")).collect();
        json!({"Name": "a", "Meta": meta})
    };
    assert!(service(&pairs(64)).is_ok());
    assert!(
        service(&pairs(65))
            .unwrap_err()
            .text
            .contains("more than 64")
    );
    let value = |bytes: usize| json!({"Name": "a", "Meta": {"k": "v".repeat(bytes)}});
    assert!(service(&value(512)).is_ok());
    assert!(
        service(&value(513))
            .unwrap_err()
            .text
            .contains("limit: 512")
    );
    let checks = |count: usize| json!({"Name": "a", "Checks": vec![json!({"TTL": "1s"}); count]});
    assert!(service(&checks(64)).is_ok());
    assert!(service(&checks(65)).is_err());
    let operations = |count: usize| {
        let one = json!({"KV": {"Verb": "get", "Key": "a"}});
        json!(vec![one; count]).to_string()
    };
    assert!(read_txn(operations(128).as_bytes()).is_ok());
    assert_eq!(
        read_txn(operations(129).as_bytes()).unwrap_err().status,
        413
    );
}

#[test]
fn a_catalogue_registration_needs_node_and_address() {
    let read = |body: Value| CatalogRegistration::read(body.to_string().as_bytes());
    let refusal = read(json!({"Node": "n"})).unwrap_err();
    assert_eq!(
        (refusal.status, &*refusal.text),
        (500, "Must provide node and address")
    );
    let (registration, datacenter) = read(json!({
        "Datacenter": "dc1", "Node": "n1", "Address": "10.0.0.1",
        "TaggedAddresses": {"lan": "10.0.0.1"}, "NodeMeta": {"a": "b"},
        "Service": {"service": "s1", "tags": ["t"]},
        "Check": {"name": "c1", "Status": "passing", "ServiceID": "s1",
                  "Definition": {"TCP": "10.0.0.1:80", "IntervalDuration": "10s", "Interval": "5s"}},
        "SkipNodeUpdate": true,
    }))
    .unwrap();
    assert_eq!(datacenter.as_deref(), Some("dc1"));
    assert!(registration.skip_node_update);
    assert_eq!(registration.service.unwrap().id, "s1");
    let check = &registration.checks[0];
    assert_eq!((&*check.id, check.status), ("c1", Some(Health::Passing)));
    assert_eq!(check.interval, Some(Duration::from_secs(5)));
    let gone = CatalogDeparture::read(br#"{"Node": "n1", "ServiceID": "s1"}"#).unwrap();
    assert!(!gone.is_whole());
    assert!(
        CatalogDeparture::read(br#"{"Node": "n1"}"#)
            .unwrap()
            .is_whole()
    );
    assert_eq!(CatalogDeparture::read(b"{}").unwrap_err().status, 500);
}

#[test]
fn sessions_have_the_defaults_and_bounds_of_consul() {
    let read = |body: &str| SessionDefinition::read(body.as_bytes()).map(|(session, _)| session);
    let plain = read("").unwrap();
    assert_eq!(plain.lock_delay, Duration::from_secs(15));
    assert_eq!(&*plain.node_checks[0], "serfHealth");
    assert_eq!(plain.behavior, SessionBehavior::Release);
    let session = read(
        r#"{"LockDelay": "0s", "TTL": "10s", "Behavior": "delete", "Checks": [],
            "ServiceChecks": [{"ID": "a"}, "b"]}"#,
    )
    .unwrap();
    assert_eq!(
        (session.lock_delay, session.ttl),
        (Duration::ZERO, Some(Duration::from_secs(10)))
    );
    assert_eq!(session.service_checks.len(), 2);
    assert_eq!(
        read(r#"{"LockDelay": 5}"#).unwrap().lock_delay,
        Duration::from_secs(5)
    );
    assert_eq!(
        read(r#"{"LockDelay": "2m"}"#).unwrap().lock_delay,
        Duration::from_mins(1)
    );
    assert!(read(r#"{"TTL": "24h"}"#).is_ok());
    for bad in [
        r#"{"TTL": "9s"}"#,
        r#"{"TTL": "24h1s"}"#,
        r#"{"Behavior": "x"}"#,
    ] {
        assert_eq!(read(bad).unwrap_err().status, 400, "{bad}");
    }
}

#[test]
fn transactions_queries_and_policies_are_read() {
    let operations = read_txn(
        br#"[{"KV": {"Verb": "cas", "Key": "a", "Value": "Yg==", "Index": 3, "Flags": 7}},
             {"Service": {"Verb": "set", "Node": "n", "Service": {"Service": "web"}}},
             {"Check": {"Verb": "cas", "Check": {"Node": "n", "Name": "c", "Status": "warning",
                        "Output": "slow", "ModifyIndex": 5}}},
             {"Node": {"Verb": "get", "Node": {"Node": "n", "Meta": {"a": "b"}}}}]"#,
    )
    .unwrap();
    let TxnOperation::Kv(kv) = &operations[0] else {
        panic!("not a key");
    };
    assert_eq!(
        (kv.verb, &*kv.value, kv.index, kv.flags),
        (KvVerb::Cas, &b"b"[..], 3, 7)
    );
    assert!(!kv.verb.is_read());
    let catalog = |at: usize| match &operations[at] {
        TxnOperation::Catalog(operation) => (operation.verb, operation.index, &operation.part),
        TxnOperation::Kv(_) => panic!("a key"),
    };
    assert!(matches!(
        catalog(1),
        (CatalogVerb::Set, 0, CatalogPart::Service(node, service)) if node == "n" && service.id == "web"
    ));
    assert!(matches!(
        catalog(2),
        (CatalogVerb::Cas, 5, CatalogPart::Check(_, check)) if check.id == "c" && check.output == "slow"
    ));
    assert!(matches!(catalog(3).2, CatalogPart::Node(node) if node.meta.len() == 1));
    for bad in [
        r#"[{"Node": {"Verb": "dance", "Node": {"Node": "n"}}}]"#,
        r#"[{"Check": {"Verb": "get"}}]"#,
        r#"[{"KV": {"Verb": "dance"}}]"#,
        r#"[{"KV": {"Verb": "set", "Value": "?"}}]"#,
        "[{}]",
        "{}",
    ] {
        assert_eq!(read_txn(bad.as_bytes()).unwrap_err().status, 400, "{bad}");
    }
    let query = SavedQuery::read(
        br#"{"Name": "q", "Template": {"Type": "name_prefix_match", "Regexp": "^q-(.*)$"},
             "Service": {"Service": "web", "Tags": ["a", "!B"], "OnlyPassing": true,
                         "Failover": {"NearestN": 2, "Datacenters": ["dc2"]}},
             "DNS": {"TTL": "10s"}}"#,
    )
    .unwrap();
    assert_eq!(query.dns_ttl, Some(Duration::from_secs(10)));
    assert!(query.service.wants_tags(&["A".into()]));
    assert!(!query.service.wants_tags(&["a".into(), "b".into()]));
    assert!(SavedQuery::read(b"{}").is_err());
    let policy = AclPolicyBody::read(br#"{"Name": "p", "Rules": "operator = \"read\""}"#).unwrap();
    assert_eq!(policy.name, "p");
    assert!(AclPolicyBody::read(br#"{"Name": "p q"}"#).is_err());
    let token =
        AclTokenBody::read(br#"{"Policies": [{"Name": "p"}], "ExpirationTTL": "1h"}"#).unwrap();
    assert_eq!(
        (token.policies.len(), token.expiration_ttl),
        (1, Some(Duration::from_hours(1)))
    );
}

#[test]
fn a_service_becomes_an_instance_and_comes_back_whole() {
    let body = json!({
        "Name": "Web", "ID": "web/1", "Port": 80, "Address": "10.0.0.9",
        "Tags": ["a", "team=core", "env=test"], "Meta": {"env": "prod"},
        "TaggedAddresses": {"wan": {"Address": "192.0.2.1", "Port": 8080}},
        "Weights": {"Passing": 3, "Warning": 2}, "Kind": "connect-proxy",
        "Proxy": {"DestinationServiceName": "x"}, "Connect": {"Native": true},
        "EnableTagOverride": true, "SocketPath": "/run/web",
        "Locality": {"Region": "r", "Zone": "z"},
        "Checks": [{"TTL": "1s", "Notes": "n"}, {"GRPC": "10.0.0.9:80", "Interval": "1s"}],
    });
    let record = record(&body);
    let instance = instance(&record);
    assert_eq!(instance.key.to_string(), "web");
    assert_eq!(instance.id.as_str(), "web%2f1");
    assert_eq!(instance.label("team"), Some("core"), "tags are labels, too");
    assert_eq!(instance.label("env"), Some("prod"), "labels win over tags");
    assert_eq!(
        (instance.weight.as_u16(), instance.zone.as_deref()),
        (300, Some("z"))
    );
    let back = Record::of(&instance).unwrap();
    assert_eq!(
        Record {
            mirrored: Vec::new(),
            ..back.clone()
        },
        record
    );
    assert_eq!(
        back.describe(&instance.source).unwrap().instance.metadata,
        instance.metadata
    );
    let view = serde_json::to_value(Registered::of(&instance).service("127.0.0.1", 7)).unwrap();
    for field in [
        "ID",
        "Tags",
        "Address",
        "TaggedAddresses",
        "Meta",
        "Port",
        "Weights",
        "Kind",
        "Proxy",
        "Connect",
        "EnableTagOverride",
        "SocketPath",
        "Locality",
    ] {
        assert_eq!(view[field], body[field], "{field}");
    }
    assert_eq!(
        (&view["Service"], &view["ModifyIndex"]),
        (&json!("Web"), &json!(7))
    );
}

#[test]
fn a_service_without_address_or_port_is_where_it_registered_from() {
    let bare = service(&json!({"Name": "web"})).unwrap();
    let caller: IpAddr = "10.0.0.7".parse().unwrap();
    let record = Record::new(bare.clone(), None, caller);
    let described = record.describe(&SourceId::new("registry")).unwrap();
    assert_eq!(*described.instance.endpoints, []);
    let shown = |record: &Record, home: &str| {
        Registered::of(&instance(record))
            .service(home, 1)
            .address
            .to_string()
    };
    assert_eq!(shown(&record, "127.0.0.1"), "10.0.0.7");
    assert_eq!(
        shown(&record, "10.0.0.7"),
        "",
        "the node's own address is enough"
    );
    let named = service(&json!({"Name": "web", "Address": "web.internal", "Port": 80})).unwrap();
    let named = Record::new(named, None, caller);
    assert_eq!(
        named.home().map(|home| home.to_string()).as_deref(),
        Some("10.0.0.7:80")
    );
    assert_eq!(shown(&named, "127.0.0.1"), "web.internal");
    let other = Record::new(bare, Some(("n1", "10.0.0.8")), caller);
    assert_eq!(other.ip.to_string(), "10.0.0.8");
    assert_eq!(instance(&other).id.as_str(), "web@n1");
}

#[test]
fn the_prober_gets_every_check_of_a_service() {
    let record = record(&json!({"Name": "web", "Checks": [
        {"TTL": "1s"},
        {"HTTP": "https://10.0.0.9/", "Interval": "1s"},
        {"TCP": "127.0.0.1:80", "Interval": "2s"},
    ]}));
    let described = record.describe(&SourceId::new("registry")).unwrap();
    let check = described.check.unwrap();
    let probes = check.probes().iter();
    let ids: Vec<_> = probes
        .map(|probe| (&*probe.id, probe.means.word()))
        .collect();
    let expected = [
        ("service:web:1", "ttl"),
        ("service:web:2", "http"),
        ("service:web:3", "tcp"),
    ];
    assert_eq!(ids, expected);
    assert_eq!(described.status, None, "what was found says it all");
    let many = |count: usize| {
        let checks: Vec<_> = (0..count)
            .map(|n| json!({"TTL": "1s", "CheckID": n.to_string()}))
            .collect();
        let mut all = record.clone();
        for check in checks {
            all.put_check(
                service(&json!({"Name": "web", "Check": check}))
                    .unwrap()
                    .checks
                    .remove(0),
            );
        }
        all.probes()
    };
    assert!(many(61).is_ok(), "with its own three");
    assert_eq!(
        many(62).unwrap_err().text,
        "Invalid check: an instance has at most 64 checks"
    );
}

#[test]
fn what_somebody_else_checks_is_told_by_whoever_registers_it() {
    let body = json!({"Node": "n1", "Address": "10.0.0.1", "Checks": [
        {"Name": "up", "Status": "warning", "Output": "slow", "ServiceID": "web"},
        {"Name": "probed", "ServiceID": "web", "Definition":
            {"TCP": "10.0.0.1:80", "IntervalDuration": "1s", "Interval": "1s"}},
        {"Name": "told", "ServiceID": "web", "Definition": {"TTL": "1s"}},
    ]});
    let (read, _) = CatalogRegistration::read(body.to_string().as_bytes()).unwrap();
    let kinds = read.checks.iter().map(CheckDefinition::is_external);
    assert_eq!(kinds.collect::<Vec<_>>(), [true, false, true]);
    let mut record = record(&json!({"Name": "web"}));
    record.put_check(read.checks[0].clone());
    let shown = instance(&record);
    assert_eq!(shown.state.health, Health::Warning);
    assert_eq!(shown.state.note.as_deref(), Some("slow"));
    let view = &checks(&shown)[0];
    assert_eq!((view.status_name(), &*view.output), ("warning", "slow"));
}

#[test]
fn a_record_of_somebody_else_is_none() {
    let mine = instance(&record(&json!({"Name": "mine"})));
    assert!(Record::of(&mine).is_some() && Registered::of(&mine).is_ours);
    let disk = CheckDefinition::read(br#"{"Name": "disk", "TTL": "1s"}"#).unwrap();
    let elsewhere = Record {
        node: Some("other".into()),
        ..record(&json!({"Name": "mine"}))
    };
    let forged = [
        record(&json!({"Name": "db"})),
        record(&json!({"Name": "mine", "ID": "mine-2"})),
        elsewhere,
        Record::of_node(None, disk),
    ];
    for record in forged {
        let mut mine = (*mine).clone();
        let text = Arc::clone(&instance(&record).metadata[RECORD_KEY]);
        mine.metadata.insert(RECORD_KEY.into(), text);
        let mine = Arc::new(mine);
        assert_eq!(Record::of(&mine), None, "{record:?}");
        assert!(!Registered::of(&mine).is_ours);
    }
}

#[test]
fn a_check_of_a_node_is_an_instance_of_the_node() {
    let disk = CheckDefinition::read(br#"{"Name": "disk full", "TTL": "1s"}"#).unwrap();
    let own = Record::of_node(None, disk.clone());
    let instance = instance(&own);
    assert!(is_node(&instance.key) && instance.endpoints.is_empty());
    assert_eq!(instance.id.as_str(), "disk%20full");
    assert_eq!(Record::of(&instance).unwrap(), own);
    let critical = found("disk%20full", Health::Critical, "full");
    let shown = checks_found(&instance, vec![critical]);
    assert_eq!(
        (shown.len(), &*shown[0].id, &*shown[0].service_id),
        (1, "disk full", "")
    );
    assert_eq!(
        (shown[0].status_name(), &*shown[0].output),
        ("critical", "full")
    );
    let other = Record::of_node(Some("n1"), disk);
    assert_ne!(other.key().unwrap(), own.key().unwrap());
}

#[test]
fn states_are_the_checks_of_the_table() {
    let ttl = record(&json!({"Name": "web", "Check": {"TTL": "1s"}}));
    let with = |health: Health, edit: &dyn Fn(&mut State)| {
        let mut instance = Instance::clone(&instance(&ttl));
        instance.state.health = health;
        edit(&mut instance.state);
        let own = found("service:web", health, "");
        let found = checks_found(&Arc::new(instance), vec![own]);
        let rows = found
            .iter()
            .map(|check| format!("{}={}", check.id, check.status_name()));
        rows.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(with(Health::Passing, &|_| {}), "service:web=passing");
    assert_eq!(with(Health::Warning, &|_| {}), "service:web=warning");
    assert_eq!(with(Health::Critical, &|_| {}), "service:web=critical");
    assert_eq!(
        with(Health::Passing, &|state| state.overridden = Override::Drain),
        "service:web=passing _service_maintenance:web=critical"
    );
    assert_eq!(
        with(Health::Passing, &|state| state.guard = Guard::Suspect),
        "service:web=passing portolan:suspect:web=warning"
    );
    assert_eq!(
        with(Health::Passing, &|state| state.leaving = true),
        "service:web=passing portolan:leaving:web=critical"
    );
    assert_eq!(
        with(Health::Passing, &|state| state.health = Health::Critical),
        "service:web=passing portolan:web=critical",
        "somebody else's check found worse"
    );
    let bare = instance(&record(&json!({"Name": "web"})));
    assert_eq!(checks(&bare), [], "a service without checks has none");
}

#[test]
fn each_check_shows_what_the_prober_found() {
    let record = record(&json!({"Name": "web", "Checks": [
        {"TCP": "127.0.0.1:80", "Interval": "1s"}, {"TTL": "1s"}]}));
    let mut instance = Instance::clone(&instance(&record));
    instance.state.health = Health::Starting;
    let rows = |instance: &Instance, found: Vec<Found>| {
        let shown = checks_found(&Arc::new(instance.clone()), found);
        let rows = shown
            .iter()
            .map(|check| format!("{}={}:{}", check.id, check.status_name(), check.output));
        rows.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        rows(&instance, vec![]),
        "service:web:1=critical: service:web:2=critical:",
        "nothing was found yet"
    );
    let first = found("service:web:1", Health::Passing, "fine");
    let second = found("service:web:2", Health::Critical, "TTL expired");
    instance.state.health = Health::Critical;
    assert_eq!(
        rows(&instance, vec![first, second]),
        "service:web:1=passing:fine service:web:2=critical:TTL expired"
    );
}

#[test]
fn maintenance_is_a_critical_check_with_its_reason() {
    let mut out = Instance::clone(&instance(&record(&json!({"Name": "web"}))));
    out.state.overridden = Override::Maintenance;
    out.state.ruling = Some(Arc::new(Ruling {
        traffic: Override::Maintenance,
        weight: None,
        reason: Some("test".into()),
        actor: None,
        at: Timestamp::from_millis(1),
    }));
    let found = checks(&Arc::new(out));
    assert_eq!(
        (&*found[0].id, &*found[0].notes),
        ("_service_maintenance:web", "test")
    );
    let read = |enable| Maintenance::read(enable, Some("test"));
    assert_eq!(read(Some("true")), Ok(Maintenance::On("test".into())));
    assert_eq!(read(Some("false")), Ok(Maintenance::Off));
    assert_eq!(read(None).unwrap_err().text, "Missing value for enable");
    assert_eq!(read(Some("x")).unwrap_err().status, 400);
}

#[test]
fn registering_anew_keeps_checks_unless_it_replaces_them() {
    let before = record(&json!({"Name": "web", "Checks": [{"TTL": "1s"}, {"TTL": "2s"}]}));
    let again =
        record(&json!({"Name": "web", "Checks": [{"TTL": "3s", "CheckID": "service:web:1"}]}));
    let kept = again.clone().after(before.clone(), false);
    let ids: Vec<_> = kept.checks.iter().map(|check| &*check.id).collect();
    assert_eq!(ids, ["service:web:1", "service:web:2"]);
    assert_eq!(kept.checks[0].kind, CheckKind::Ttl(Duration::from_secs(3)));
    assert_eq!(again.after(before, true).checks.len(), 1);
}

#[test]
fn output_is_cut_at_its_limit_and_at_a_character() {
    let check = r#"{"Name": "c", "TTL": "1s", "OutputMaxSize": 3}"#;
    let check = CheckDefinition::read(check.as_bytes()).unwrap();
    assert_eq!(check.kept("abc"), "abc");
    assert_eq!(check.kept("abcd"), "abc");
    assert_eq!(check.kept("ab\u{e9}"), "ab");
    let update = CheckUpdate::read(br#"{"Status": "warning", "Output": "x"}"#).unwrap();
    assert_eq!((update.status, &*update.output), (Health::Warning, "x"));
    assert!(CheckUpdate::read(br#"{"Status": "x"}"#).is_err());
}

fn foreign() -> Arc<Instance> {
    let port = |name: &str, port: u16| NamedPort {
        name: Name::parse(name).unwrap(),
        address: ([10, 0, 0, 1], port).into(),
    };
    Arc::new(Instance {
        key: ServiceKey::parse("orders").unwrap(),
        id: InstanceId::parse("10.0.0.1:80").unwrap(),
        endpoints: Box::new([port("http", 80), port("admin", 81)]),
        zone: Some("z".into()),
        version: Some("v1".into()),
        weight: Weight::NORMAL,
        tags: Box::new(["a".into()]),
        metadata: BTreeMap::new(),
        source: SourceId::new("file:x"),
        state: State {
            health: Health::Starting,
            ..State::default()
        },
    })
}

#[test]
fn an_instance_of_another_protocol_is_a_service_with_one_check() {
    let seen = Registered::of(&foreign());
    assert!(!seen.is_ours);
    let view = seen.service("127.0.0.1", 1);
    assert_eq!((&*view.address, view.port), ("10.0.0.1", 80));
    assert_eq!((view.weights.passing, &*view.meta["version"]), (1, "v1"));
    assert_eq!(&*view.meta["port-admin"], "81");
    let found = checks(&foreign());
    assert_eq!(
        (&*found[0].id, found[0].status_name()),
        ("service:10.0.0.1:80", "critical")
    );
    assert_eq!(&*found[0].output, "starting");
}

fn entry() -> HealthEntry {
    let record = record(
        &json!({"Name": "web", "Port": 80, "Kind": "x", "SocketPath": "y",
        "Locality": {"Region": "r", "Zone": "z"}, "Check": {"TTL": "1s"}}),
    );
    let home = home();
    let node = home.view(&NodeSeen {
        node: &home.node,
        index: 0,
    });
    let instance = instance(&record);
    HealthEntry {
        service: Registered::of(&instance).service(&node.address, 7),
        checks: [CheckView::alive(&node.node, Indexes::at(1))]
            .into_iter()
            .chain(checks(&instance))
            .collect(),
        node,
    }
}

/// Every field that is answered can be selected, so that a filter can't know less.
fn holds_all(shape: &Shape, value: &Value, at: &str) {
    match (shape, value) {
        (Shape::Object(fields), Value::Object(map)) => {
            for (key, value) in map {
                let known = fields.iter().find(|(name, _)| name == key);
                let (_, shape) = known.unwrap_or_else(|| panic!("{at}.{key} has no shape"));
                holds_all(shape, value, &format!("{at}.{key}"));
            }
        }
        (Shape::Map(inner), Value::Object(map)) => {
            for value in map.values() {
                holds_all(inner, value, at);
            }
        }
        (Shape::List(inner), Value::Array(list)) => {
            for value in list {
                holds_all(inner, value, at);
            }
        }
        (Shape::Text, Value::String(_))
        | (Shape::Number, Value::Number(_))
        | (Shape::Truth, Value::Bool(_)) => {}
        (shape, value) => panic!("{at}: {value} is not {shape:?}"),
    }
}

#[test]
fn answers_have_the_shapes_that_filters_know() {
    let entry = entry();
    let value = serde_json::to_value(&entry).unwrap();
    holds_all(&HealthEntry::SHAPE, &value, "entry");
    let row = CatalogRow::new(entry.node.clone(), entry.service.clone());
    holds_all(
        &CatalogRow::SHAPE,
        &serde_json::to_value(row).unwrap(),
        "row",
    );
    holds_all(&NodeView::SHAPE, &value["Node"], "node");
    holds_all(&CheckView::SHAPE, &value["Checks"][0], "check");
    let agent = AgentServiceView {
        service: entry.service.clone(),
        datacenter: "dc1".into(),
        content_hash: Some("x".into()),
    };
    let shape = &ServiceView::SHAPE;
    holds_all(shape, &serde_json::to_value(agent).unwrap(), "agent");
    let filter = Filter::parse("Service.Meta.a is empty and Checks is not empty").unwrap();
    assert!(filter.on(&HealthEntry::SHAPE).unwrap().chooses(&entry));
}

fn no_null(value: &Value, at: &str) {
    match value {
        Value::Null => panic!("{at} is null"),
        Value::Array(list) => {
            for value in list {
                no_null(value, at);
            }
        }
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| no_null(value, &format!("{at}.{key}"))),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn answers_have_every_field_and_no_null() {
    let value = serde_json::to_value(entry()).unwrap();
    no_null(&value, "entry");
    let has = |value: &Value, fields: &[&str]| {
        for field in fields {
            assert!(value.get(field).is_some(), "{field}");
        }
    };
    has(
        &value["Node"],
        &[
            "ID",
            "Node",
            "Address",
            "Datacenter",
            "TaggedAddresses",
            "Meta",
            "CreateIndex",
            "ModifyIndex",
        ],
    );
    has(
        &value["Service"],
        &[
            "ID",
            "Service",
            "Tags",
            "Address",
            "TaggedAddresses",
            "Meta",
            "Port",
            "Weights",
            "EnableTagOverride",
            "Proxy",
            "Connect",
            "PeerName",
            "CreateIndex",
            "ModifyIndex",
        ],
    );
    has(
        &value["Checks"][0],
        &[
            "Node",
            "CheckID",
            "Name",
            "Status",
            "Notes",
            "Output",
            "ServiceID",
            "ServiceName",
            "ServiceTags",
            "Type",
            "Interval",
            "Timeout",
            "ExposedPort",
            "Definition",
            "CreateIndex",
            "ModifyIndex",
        ],
    );
    assert_eq!(value["Node"]["CreateIndex"], 1, "an index is never 0");
    assert_eq!(value["Node"]["TaggedAddresses"]["lan_ipv4"], "127.0.0.1");
    assert_eq!(value["Checks"][0]["CheckID"], "serfHealth");
    assert!(value["Checks"][0]["Definition"].is_object());
}

#[test]
fn the_rest_of_the_answers_is_as_documented() {
    let kv = |value: &[u8]| {
        serde_json::to_value(KvView {
            lock_index: 0,
            key: "a".into(),
            flags: 0,
            value: value.to_vec(),
            session: None,
            indexes: Indexes::at(3),
        })
        .unwrap()
    };
    assert_eq!(kv(b"")["Value"], Value::Null);
    assert_eq!(kv(b"b")["Value"], "Yg==");
    assert!(kv(b"b").get("Session").is_none());
    let (session, _) = SessionDefinition::read(br#"{"TTL": "90s"}"#).unwrap();
    let view =
        serde_json::to_value(SessionView::new("id".into(), &session, Indexes::at(1))).unwrap();
    assert_eq!(view["LockDelay"], 15_000_000_000_u64);
    assert_eq!(
        (&view["TTL"], &view["Behavior"]),
        (&json!("1m30s"), &json!("release"))
    );
    let event = EventView {
        id: "i".into(),
        name: "n".into(),
        payload: b"b".to_vec(),
        node_filter: "".into(),
        service_filter: "".into(),
        tag_filter: "".into(),
        version: 1,
        ltime: 2,
    };
    let event = serde_json::to_value(event).unwrap();
    assert_eq!(
        (&event["Payload"], &event["LTime"]),
        (&json!("Yg=="), &json!(2))
    );
}

#[test]
fn the_agent_says_what_clients_look_for() {
    let config = ItselfConfig {
        datacenter: "dc1".into(),
        primary_datacenter: "dc1".into(),
        node_name: "n".into(),
        node_id: "i".into(),
        server: true,
        revision: "",
        version: "1.20.0",
    };
    let itself = Itself::new(
        config,
        &"127.0.0.1".into(),
        "127.0.0.1:8300",
        BTreeMap::new(),
    );
    let itself = serde_json::to_value(itself).unwrap();
    let keys: Vec<_> = itself
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "Config",
            "DebugConfig",
            "Coord",
            "Member",
            "Stats",
            "Meta",
            "xDS"
        ]
    );
    assert_eq!(itself["Stats"]["consul"]["leader_addr"], "127.0.0.1:8300");
}

fn definitions() -> impl Strategy<Value = Value> {
    let text = "[a-zA-Z0-9_.-]{1,12}";
    let pairs = prop::collection::btree_map("[a-z_]{1,6}", "[ -~]{0,12}", 0..4);
    let tags = prop::collection::vec("[ -~]{0,10}", 0..4);
    let check = prop_oneof![
        (1_u64..9000).prop_map(|ms| json!({"TTL": format!("{ms}ms")})),
        (1_u64..90)
            .prop_map(|s| json!({"HTTP": "http://127.0.0.1:80/x", "Interval": format!("{s}s")})),
        (1_u64..90).prop_map(|s| json!({"TCP": "127.0.0.1:80", "Interval": format!("{s}s")})),
    ];
    let checks = prop::collection::vec(check, 0..4);
    (
        text,
        "[ -~]{1,16}",
        any::<u16>(),
        pairs,
        tags,
        checks,
        1_u16..600,
    )
        .prop_map(|(name, id, port, meta, tags, checks, weight)| {
            json!({"Name": name, "ID": id, "Port": port, "Meta": meta, "Tags": tags,
                   "Checks": checks, "Weights": {"Passing": weight, "Warning": 1}})
        })
}

proptest! {
    #[test]
    fn whatever_is_registered_comes_back_whole(body in definitions()) {
        let before = record(&body);
        let instance = instance(&before);
        let after = Record::of(&instance).unwrap();
        prop_assert_eq!(&Record { mirrored: Vec::new(), ..after }, &before);
        let view = serde_json::to_value(Registered::of(&instance).service("127.0.0.1", 1)).unwrap();
        for field in ["ID", "Tags", "Meta", "Port", "Weights"] {
            prop_assert_eq!(&view[field], &body[field]);
        }
        let shown = checks(&instance);
        prop_assert_eq!(shown.len(), before.checks.len());
    }

    #[test]
    fn no_body_makes_a_reader_panic(body in ".{0,80}") {
        let bytes = body.as_bytes();
        let _ = (ServiceDefinition::read(bytes), CheckDefinition::read(bytes));
        let _ = (CatalogRegistration::read(bytes), SessionDefinition::read(bytes));
        let _ = (read_txn(bytes), SavedQuery::read(bytes));
        let _ = parse_duration(&body);
    }
}
