//! What a server of ours writes, a client of ours reads; what Eureka's clients write is read.

use std::{collections::BTreeMap, sync::Arc};

use portolan_model::{Health, Instance, Override, SourceId, State, Timestamp};
use proptest::{
    collection::btree_map, option, prelude::*, sample::select, strategy::Strategy, test_runner,
};

use super::*;
use crate::{consul::RECORD_KEY, native::Described};

/// What a text of XML may hold, and what has to be escaped in either format.
const TEXT: &str = "[ -~äß€\u{1F600}\t\n\r<&\"']{0,24}";
/// What a header of an instance may hold.
const PLAIN: &str = "[!-~]([ -~é]{0,20}[!-~])?";
const KEY: &str = "[A-Za-z0-9_.$ /:-]{1,12}";

fn text() -> impl Strategy<Value = Arc<str>> {
    PLAIN.prop_map(Arc::from)
}

fn labels() -> impl Strategy<Value = BTreeMap<Arc<str>, Arc<str>>> {
    let key = KEY.prop_filter("reserved", |key| !key.starts_with(RESERVED));
    btree_map(key.prop_map(Arc::from), TEXT.prop_map(Arc::from), 0..5)
}

fn port() -> impl Strategy<Value = Port> {
    (1..=u16::MAX, any::<bool>()).prop_map(|(number, is_enabled)| Port { number, is_enabled })
}

fn data_center() -> impl Strategy<Value = DataCenter> {
    let amazon = labels().prop_map(|metadata| DataCenter {
        class: "com.netflix.appinfo.AmazonInfo".into(),
        name: "Amazon".into(),
        metadata,
    });
    prop_oneof![Just(DataCenter::default()), amazon]
}

fn lease() -> impl Strategy<Value = Lease> {
    let times = (any::<u32>(), any::<u32>(), any::<u32>());
    (1..100_000_u32, 1..100_000_u32, times).prop_map(|(renewal, duration, times)| Lease {
        renewal_seconds: renewal,
        duration_seconds: duration,
        registered: times.0.into(),
        renewed: 0,
        evicted: times.1.into(),
        up_since: times.2.into(),
    })
}

fn infos() -> impl Strategy<Value = InstanceInfo> {
    let names = (
        text(),
        text(),
        "[A-Z0-9_.-]{1,20}",
        option::of(text()),
        option::of(text()),
    );
    let addresses = (
        select(vec!["10.0.0.1", "::1", "localhost", "2001:db8::7"]),
        port(),
        port(),
        [
            option::of(text()),
            option::of(text()),
            option::of(text()),
            option::of(text()),
        ],
        option::of(text()),
        option::of(text()),
    );
    let status = || select(Status::ALL.to_vec());
    let rest = (
        any::<u32>(),
        data_center(),
        (status(), status()),
        lease(),
        any::<bool>(),
        labels(),
        any::<u32>(),
        option::of(text()),
    );
    (names, addresses, rest).prop_map(|(names, addresses, rest)| InstanceInfo {
        instance_id: Some(names.1.replace(['/', ' ', 'é'], "-").into()),
        host_name: names.0,
        app: names.2.into(),
        app_group_name: names.3,
        ip_addr: addresses.0.into(),
        sid: names.4.filter(|sid| &**sid != "na"),
        port: addresses.1,
        secure_port: addresses.2,
        pages: Pages(addresses.3),
        vip_address: addresses.4,
        secure_vip_address: addresses.5,
        country_id: rest.0,
        data_center: rest.1,
        status: rest.2.0,
        overridden: rest.2.1,
        lease: rest.3,
        is_coordinator: rest.4,
        metadata: rest.5,
        last_updated: rest.6.into(),
        last_dirty: rest.6.into(),
        action: None,
        asg_name: rest.7,
    })
}

/// As XML brings a text back: what no document can hold was never sent.
fn published(described: Described, since: u64) -> Instance {
    Instance {
        state: State {
            health: described.status.unwrap_or_default(),
            since: Timestamp::from_millis(since),
            ..State::default()
        },
        ..described.instance
    }
}

proptest! {
    #![proptest_config(test_runner::Config::with_cases(256))]

    #[test]
    fn what_a_server_writes_a_client_reads(
        infos in prop::collection::vec(infos(), 0..4),
        name in "[A-Z0-9-]{1,9}",
    ) {
        let counts: Counts = infos.iter().map(|info| info.status).collect();
        for format in Format::ALL {
            for info in &infos {
                let bytes = write_instance(format, info);
                prop_assert_eq!(&read_instance(format, &bytes).unwrap(), info);
            }
            let bytes = write_application(format, &name, &infos);
            let read = read_application(format, &bytes).unwrap();
            prop_assert_eq!(&*read.name, &name);
            prop_assert_eq!(&read.instances, &infos);

            let piece = application_piece(format, &name, &infos);
            let pieces = [piece.as_slice(), piece.as_slice()];
            let bytes = write_applications(format, &counts.hash(), pieces);
            let read = read_applications(format, &bytes).unwrap();
            prop_assert_eq!(&read.version, "1");
            prop_assert_eq!(&read.hash, &counts.hash());
            prop_assert_eq!(read.applications.len(), 2);
            prop_assert_eq!(&read.applications[1].instances, &infos);

            let answers: Vec<_> = infos
                .iter()
                .map(|info| Replicated { status: 409, info: Some(info.clone()) })
                .chain([Replicated { status: 200, info: None }])
                .collect();
            let bytes = write_replicated(format, &answers);
            prop_assert_eq!(read_replicated(format, &bytes).unwrap(), answers);
        }
    }

    #[test]
    fn what_an_instance_says_comes_back_through_the_model(info in infos()) {
        let source = SourceId::new("registry");
        let described = describe(&info, &source).unwrap();
        let shown = show(&published(described, 0));
        let expected = InstanceInfo {
            lease: Lease {
                renewed: info.lease.registered.max(info.last_updated),
                ..info.lease
            },
            // Every instance that is told says how it came to be.
            action: Some(Action::Added),
            ..info
        };
        prop_assert_eq!(shown, expected);
    }
}

fn minimal(format: Format, body: &str) -> InstanceInfo {
    read_instance(format, body.as_bytes()).unwrap()
}

#[test]
fn a_short_registration_gets_what_is_usual() {
    let body = r#"{"instance": {"hostName": "h", "app": "Orders", "ipAddr": "10.0.0.1",
        "dataCenterInfo": {"name": "MyOwn"}}}"#;
    let info = minimal(Format::Json, body);
    assert_eq!((info.id(), &*info.app), ("h", "ORDERS"));
    assert_eq!((info.port, info.secure_port), (Port::PLAIN, Port::SECURE));
    assert_eq!(info.lease, Lease::default());
    assert_eq!(
        (info.status, info.overridden),
        (Status::Up, Status::Unknown)
    );
    assert_eq!(info.data_center, DataCenter::default(), "the class is told");
    assert_eq!(check(&info, "orders"), Ok(()));
    let described = describe(&info, &SourceId::new("registry")).unwrap();
    assert_eq!(described.instance.key.to_string(), "orders");
    assert_eq!(described.ttl.map(|ttl| ttl.as_secs()), Some(90));
    assert_eq!(
        described.instance.endpoints[0].address.to_string(),
        "10.0.0.1:7001"
    );
}

#[test]
fn an_instance_without_an_id_of_its_own_is_told_none() {
    let body = r#"{"instance": {"hostName": "h", "app": "Orders", "ipAddr": "10.0.0.1",
        "dataCenterInfo": {"name": "MyOwn"}}}"#;
    for (body, is_told) in [
        (body.to_owned(), false),
        (
            body.replace("\"app\"", "\"instanceId\": \"h\", \"app\""),
            true,
        ),
    ] {
        let info = minimal(Format::Json, &body);
        let described = describe(&info, &SourceId::new("registry")).unwrap();
        assert_eq!(described.instance.id.as_str(), "h");
        let shown = show(&published(described, 0));
        assert_eq!(shown.id(), "h");
        for format in Format::ALL {
            let text = String::from_utf8(write_instance(format, &shown)).unwrap();
            assert_eq!(text.contains("instanceId"), is_told, "{text}");
        }
    }
}

#[test]
fn the_override_is_called_as_each_format_has_it() {
    let info = minimal(Format::Json, r#"{"instance": {"hostName": "h"}}"#);
    let text = |format| String::from_utf8(write_instance(format, &info)).unwrap();
    assert!(text(Format::Json).contains(r#""overriddenStatus":"UNKNOWN""#));
    assert!(text(Format::Xml).contains("<overriddenstatus>UNKNOWN</overriddenstatus>"));
}

#[test]
fn ports_are_read_in_every_manner() {
    for (port, expected) in [
        (r#"{"$": 80, "@enabled": "true"}"#, (80, true)),
        (r#"{"$": "80", "@enabled": false}"#, (80, false)),
        (r#"{"$": 80, "@enabled": true}"#, (80, true)),
        (r#"{"$": 80}"#, (80, true)),
        ("80", (80, true)),
        (r#""80""#, (80, true)),
    ] {
        let body = format!(r#"{{"instance": {{"port": {port}, "securePort": {{"$": 443}}}}}}"#);
        let info = minimal(Format::Json, &body);
        assert_eq!((info.port.number, info.port.is_enabled), expected, "{port}");
        assert!(!info.secure_port.is_enabled, "closed unless it says so");
    }
    for bad in ["70000", "-1", "\"x\"", "{}"] {
        let body = format!(r#"{{"instance": {{"port": {bad}}}}}"#);
        assert!(
            read_instance(Format::Json, body.as_bytes()).is_err(),
            "{bad}"
        );
    }
    let body = "<instance><port enabled=\"false\">\n 80 \n</port><securePort enabled='true'>443</securePort></instance>";
    let info = minimal(Format::Xml, body);
    assert_eq!((info.port.number, info.port.is_enabled), (80, false));
    assert_eq!(
        (info.secure_port.number, info.secure_port.is_enabled),
        (443, true)
    );
}

#[test]
fn oddities_of_json_are_understood() {
    let body = r#"{"instance": {
        "hostName": "h", "app": "a", "ipAddr": "10.0.0.1", "sid": "na",
        "status": "up", "overriddenstatus": "OUT_OF_SERVICE",
        "lastDirtyTimestamp": 12, "lastUpdatedTimestamp": "13", "countryId": "1",
        "isCoordinatingDiscoveryServer": true, "appGroupName": null,
        "leaseInfo": {"durationInSecs": "0", "renewalIntervalInSecs": 5, "renewalTimestamp": 7},
        "metadata": {"@class": "java.util.Collections$EmptyMap", "n": 8, "b": true, "none": null},
        "dataCenterInfo": {"@class": "x.Y", "name": "Netflix"}
    }}"#;
    let info = minimal(Format::Json, body);
    assert_eq!(info.sid, None);
    assert_eq!(
        (info.status, info.overridden),
        (Status::Up, Status::OutOfService)
    );
    assert_eq!(
        (info.last_dirty, info.last_updated, info.country_id),
        (12, 13, 1)
    );
    assert!(info.is_coordinator);
    assert_eq!(info.app_group_name, None);
    let lease = info.lease;
    assert_eq!(
        (lease.duration_seconds, lease.renewal_seconds, lease.renewed),
        (90, 5, 7)
    );
    let labels: Vec<_> = info.metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(labels, [("b", "true"), ("n", "8")]);
    assert_eq!(&*info.data_center.class, "x.Y");
}

#[test]
fn one_object_is_a_list_and_one_underscore_is_two() {
    let body = r#"{"applications": {"versions_delta": 3, "apps_hashcode": "UP_1_",
        "application": {"name": "a", "instance": {"hostName": "h"}}}}"#;
    let read = read_applications(Format::Json, body.as_bytes()).unwrap();
    assert_eq!((&*read.version, &*read.hash), ("3", "UP_1_"));
    assert_eq!(&*read.applications[0].name, "A");
    assert_eq!(&*read.applications[0].instances[0].host_name, "h");
}

#[test]
fn what_is_written_is_what_clients_expect() {
    let mut info = minimal(
        Format::Json,
        r#"{"instance": {"instanceId": "i", "hostName": "h", "app": "a", "ipAddr": "10.0.0.1",
            "port": {"$": 80, "@enabled": "true"}, "dataCenterInfo": {"name": "MyOwn"}}}"#,
    );
    let json: serde_json::Value =
        serde_json::from_slice(&write_instance(Format::Json, &info)).unwrap();
    let json = &json["instance"];
    assert_eq!(
        json["port"],
        serde_json::json!({"$": 80, "@enabled": "true"})
    );
    assert_eq!(json["lastDirtyTimestamp"], "0");
    assert_eq!(json["isCoordinatingDiscoveryServer"], "false");
    assert_eq!(json["countryId"], 1);
    assert_eq!(json["leaseInfo"]["durationInSecs"], 90);
    assert_eq!(json["metadata"]["@class"], "java.util.Collections$EmptyMap");
    let class = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo";
    assert_eq!(json["dataCenterInfo"]["@class"], class);
    assert_eq!(json.get("sid"), None);

    info.metadata.insert("my_key".into(), "<&>".into());
    let xml = String::from_utf8(write_instance(Format::Xml, &info)).unwrap();
    assert!(
        xml.starts_with("<instance><instanceId>i</instanceId>"),
        "{xml}"
    );
    assert!(xml.contains("<port enabled=\"true\">80</port>"), "{xml}");
    assert!(xml.contains("<my__key>&lt;&amp;&gt;</my__key>"), "{xml}");
    let empty = write_applications(Format::Json, "", []);
    assert_eq!(
        String::from_utf8(empty).unwrap(),
        r#"{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}"#
    );
}

/// Takes away what a registration has to say.
type Breach = fn(&mut InstanceInfo);

#[test]
fn registrations_are_refused_in_eurekas_words() {
    let good = minimal(
        Format::Json,
        r#"{"instance": {"instanceId": "i", "hostName": "h", "app": "a", "ipAddr": "10.0.0.1",
            "dataCenterInfo": {"name": "MyOwn"}}}"#,
    );
    let breaches: [(Breach, &str); 6] = [
        (|info| info.host_name = "".into(), "Missing hostname"),
        (|info| info.ip_addr = "".into(), "Missing ip address"),
        (|info| info.app = "".into(), "Missing appName"),
        (
            |info| info.app = "B".into(),
            "Mismatched appName, expecting A but was B",
        ),
        (
            |info| {
                info.data_center.name = "".into();
                info.data_center.class = "".into();
            },
            "Missing dataCenterInfo",
        ),
        (
            |info| info.data_center.name = "".into(),
            "Missing dataCenterInfo Name",
        ),
    ];
    for (breach, text) in breaches {
        let mut info = good.clone();
        breach(&mut info);
        assert_eq!(check(&info, "a").unwrap_err().to_string(), text);
    }
    let mut nobody = good.clone();
    nobody.instance_id = None;
    nobody.host_name = "".into();
    assert_eq!(check(&nobody, "a"), Err(Rejection::Id));

    let source = SourceId::new("registry");
    for address in ["", "nowhere", "0.0.0.0", "224.0.0.1"] {
        let info = InstanceInfo {
            ip_addr: address.into(),
            ..good.clone()
        };
        assert!(matches!(
            describe(&info, &source),
            Err(Rejection::Unreachable(_))
        ));
    }
    let portless = InstanceInfo {
        port: Port {
            number: 0,
            is_enabled: true,
        },
        secure_port: Port {
            number: 0,
            is_enabled: false,
        },
        ..good
    };
    assert_eq!(describe(&portless, &source), Err(Rejection::Port));
}

#[test]
fn labels_are_bounded_and_the_reserved_ones_are_not_taken() {
    let source = SourceId::new("registry");
    let mut info = minimal(
        Format::Json,
        r#"{"instance": {"hostName": "h", "app": "a", "ipAddr": "10.0.0.1",
            "metadata": {"eureka/hostName": "spoofed", "zone": "z1", "version": "v2"}}}"#,
    );
    let described = describe(&info, &source).unwrap();
    assert_eq!(described.instance.zone.as_deref(), Some("z1"));
    assert_eq!(described.instance.version.as_deref(), Some("v2"));
    assert_eq!(&*show(&described.instance).host_name, "h");
    info.metadata = [(RECORD_KEY.into(), "{}".into())].into();
    let described = describe(&info, &source).unwrap();
    assert!(!described.instance.metadata.contains_key(RECORD_KEY));
    info.metadata = (0..256)
        .map(|n| (n.to_string().into(), "x".into()))
        .collect();
    assert!(describe(&info, &source).is_ok());
    info.metadata.insert("one more".into(), "x".into());
    assert_eq!(describe(&info, &source), Err(Rejection::Labels));
    info.metadata = [("k".into(), "x".repeat(4096).into())].into();
    assert!(describe(&info, &source).is_ok());
    info.metadata = [("k".into(), "x".repeat(4097).into())].into();
    assert!(describe(&info, &source).is_err());
}

#[test]
fn an_instance_of_another_protocol_is_shown_with_what_clients_need() {
    let body = r#"{"port": 9001, "ports": {"secure": 9443}, "zone": "z1", "metadata": {"a": "b"}}"#;
    let registration: crate::native::Registration = serde_json::from_str(body).unwrap();
    let described = registration
        .describe(
            portolan_model::ServiceKey::parse("orders").unwrap(),
            None,
            "10.0.0.7".parse().unwrap(),
            &SourceId::new("registry"),
        )
        .unwrap();
    let mut instance = published(described, 5);
    let record = (RECORD_KEY.into(), "secret".into());
    instance.metadata.extend([record]);
    let info = show(&instance);
    assert!(!info.metadata.contains_key(RECORD_KEY));
    assert_eq!((info.id(), &*info.app), ("10.0.0.7:9001", "ORDERS"));
    assert_eq!((&*info.host_name, &*info.ip_addr), ("10.0.0.7", "10.0.0.7"));
    assert_eq!((info.port.number, info.secure_port.number), (9001, 9443));
    assert!(info.serves("orders") && info.serves_securely("orders"));
    assert_eq!(info.metadata.get("zone").map(AsRef::as_ref), Some("z1"));
    assert_eq!((info.lease.registered, info.status), (5, Status::Up));
    instance.state.overridden = Override::Drain;
    let info = show(&instance);
    assert_eq!(
        (info.status, info.overridden),
        (Status::OutOfService, Status::OutOfService)
    );
}

#[test]
fn a_word_that_health_has_none_for_holds_as_long_as_the_health_it_came_with() {
    let mut info = minimal(
        Format::Json,
        r#"{"instance": {"hostName": "h", "app": "a", "ipAddr": "10.0.0.1", "status": "OUT_OF_SERVICE"}}"#,
    );
    info.overridden = Status::Up;
    let described = describe(&info, &SourceId::new("registry")).unwrap();
    assert_eq!(described.status, Some(Health::Critical));
    let mut instance = published(described, 0);
    let shown = show(&instance);
    assert_eq!(
        (shown.status, shown.overridden),
        (Status::OutOfService, Status::Up)
    );
    instance.state.overridden = Override::Drain;
    instance.state.leaving = true;
    let own = Kept {
        status: Status::OutOfService,
        overridden: Some(Status::Up),
        last_updated: 0,
    };
    assert_eq!(kept(&instance), Some(own), "the operator's word is his own");
    instance.state = State {
        health: instance.state.health,
        ..State::default()
    };
    instance.state.health = Health::Passing;
    assert_eq!(show(&instance).status, Status::Up);
}

#[test]
fn what_was_told_keeps_its_time_though_it_was_taken_in_later() {
    let mut info = minimal(
        Format::Json,
        r#"{"instance": {"hostName": "h", "app": "a", "ipAddr": "10.0.0.1"}}"#,
    );
    info.last_updated = 7;
    let described = describe(&info, &SourceId::new("registry")).unwrap();
    let mut instance = published(described, 0);
    instance.state.since = Timestamp::from_millis(8);
    assert_eq!(show(&instance).last_updated, 8);
    assert_eq!(kept(&instance).unwrap().last_updated, 7);
}

#[test]
fn names_behind_an_instance_are_matched_whole() {
    let mut info = minimal(Format::Json, r#"{"instance": {"vipAddress": "a, b.c,d"}}"#);
    for (vip, is_served) in [
        ("a", true),
        ("b.c", true),
        ("d", true),
        ("b", false),
        ("", false),
    ] {
        assert_eq!(info.serves(vip), is_served, "{vip}");
    }
    info.vip_address = None;
    assert!(!info.serves("a"));
}

#[test]
fn the_machine_at_amazon_is_an_id() {
    let body = r#"{"instance": {"hostName": "h", "ipAddr": "10.0.0.1", "app": "a", "dataCenterInfo":
        {"name": "Amazon", "metadata": {"instance-id": "i-7", "availability-zone": "us-1a"}}}}"#;
    let info = minimal(Format::Json, body);
    assert_eq!(info.id(), "i-7");
    let described = describe(&info, &SourceId::new("registry")).unwrap();
    assert_eq!(described.instance.zone.as_deref(), Some("us-1a"));
}

#[test]
fn documents_are_bounded() {
    let nested = |depth: usize| {
        let (open, close) = ("{\"a\":".repeat(depth), "}".repeat(depth));
        let json = format!("{{\"instance\":{open}1{close}}}");
        let (open, close) = ("<a>".repeat(depth), "</a>".repeat(depth));
        (json, format!("<instance>{open}{close}</instance>"))
    };
    // The document and the instance are two of them in JSON, the instance is one in XML.
    let read = |format, text: &str| read_instance(format, text.as_bytes());
    assert!(read(Format::Json, &nested(DEPTH_MAX - 2 + 1).0).is_ok());
    assert!(read(Format::Json, &nested(DEPTH_MAX - 2 + 2).0).is_err());
    assert!(read(Format::Xml, &nested(DEPTH_MAX - 1).1).is_ok());
    assert!(read(Format::Xml, &nested(DEPTH_MAX).1).is_err());

    let long = |bytes: usize| {
        let text = "x".repeat(bytes);
        (
            format!(r#"{{"instance":{{"asgName":"{text}"}}}}"#),
            format!("<instance><asgName>{text}</asgName></instance>"),
        )
    };
    for (format, fits, over) in [
        (
            Format::Json,
            long(TEXT_BYTES_MAX).0,
            long(TEXT_BYTES_MAX + 1).0,
        ),
        (
            Format::Xml,
            long(TEXT_BYTES_MAX).1,
            long(TEXT_BYTES_MAX + 1).1,
        ),
    ] {
        assert!(read(format, &fits).is_ok());
        assert!(read(format, &over).is_err());
    }

    // The document and the instance count, too.
    let many = |count: usize| format!(r#"{{"instance":{{"a":[{}1]}}}}"#, "1,".repeat(count - 1));
    assert!(read(Format::Json, &many(NODES_MAX - 2)).is_ok());
    assert!(read(Format::Json, &many(NODES_MAX - 1)).is_err());
    let many = |count: usize| format!("<instance>{}</instance>", "<a/>".repeat(count));
    assert!(read(Format::Xml, &many(NODES_MAX - 1)).is_ok());
    assert!(read(Format::Xml, &many(NODES_MAX)).is_err());
}

#[test]
fn lists_are_bounded_in_instances() {
    let list = |count: usize| {
        let instances = vec!["{}"; count].join(",");
        format!(r#"{{"applications":{{"application":{{"name":"A","instance":[{instances}]}}}}}}"#)
    };
    let read = |text: &str| read_applications(Format::Json, text.as_bytes());
    assert!(read(&list(INSTANCES_MAX)).is_ok());
    assert!(read(&list(INSTANCES_MAX + 1)).is_err());
}

#[test]
fn batches_are_read_and_bounded() {
    let item = r#"{"appName": "A", "id": "i", "lastDirtyTimestamp": "7", "overriddenStatus": null,
        "status": "UP", "action": "Heartbeat"}"#;
    let batch = |count: usize| {
        let items = vec![item; count].join(",");
        format!(r#"{{"replicationList": [{items}]}}"#)
    };
    let read = |text: &str| read_batch(Format::Json, text.as_bytes());
    let one = &read(&batch(1)).unwrap()[0];
    assert_eq!((one.deed, one.last_dirty), (Deed::Heartbeat, Some(7)));
    assert_eq!(one.status.as_deref(), Some("UP"));
    assert_eq!(read(&batch(BATCH_MAX)).unwrap().len(), BATCH_MAX);
    assert!(read(&batch(BATCH_MAX + 1)).is_err());
    assert!(read(r#"{"replicationList": [{"action": "Dance"}]}"#).is_err());
    assert_eq!(read("{}").unwrap(), []);
    let xml = "<list><replicationList><action>Register</action><instanceInfo><hostName>h</hostName></instanceInfo></replicationList></list>";
    let list = read_batch(Format::Xml, xml.as_bytes()).unwrap();
    assert_eq!(&*list[0].info.as_ref().unwrap().host_name, "h");
}
