//! Claims about the shapes of the native API.

use std::{net::IpAddr, time::Duration};

use portolan_model::{
    self as model, Departure, Event, InstanceId, Origin, Revision, ServiceKey, SourceId, Timestamp,
    route::{AnswerMatch, Means, Place, Verify},
};

use super::*;
use crate::consul::RECORD_KEY;

fn describe(json: &str) -> Result<Described, String> {
    let registration: Registration =
        serde_json::from_str(json).map_err(|error| error.to_string())?;
    let caller: IpAddr = "192.0.2.7".parse().unwrap();
    let key = ServiceKey::parse("orders").unwrap();
    registration
        .describe(key, None, caller, &SourceId::new("registry"))
        .map_err(|misfit| misfit.to_string())
}

#[test]
fn every_field_of_an_instance_can_be_named_in_a_condition() {
    let described = describe(r#"{"port": 1, "version": "v1", "zone": "z"}"#).unwrap();
    let mut instance = described.instance;
    instance.state.since = Timestamp::from_millis(1);
    instance.state.first_seen = Timestamp::from_millis(1);
    instance.state.note = Some("slow".into());
    instance.state.ruling = Some(std::sync::Arc::new(model::Ruling {
        traffic: model::Override::Drain,
        weight: None,
        reason: None,
        actor: None,
        at: Timestamp::from_millis(1),
    }));
    let view = serde_json::to_value(InstanceView::from(&instance)).unwrap();
    let mut fields: Vec<_> = view.as_object().unwrap().keys().collect();
    // A word of the language, and in the path already.
    fields.retain(|field| *field != "namespace");
    assert_eq!(fields, InstanceView::FIELDS);
}

#[test]
fn a_port_is_all_that_it_takes() {
    let described = describe(r#"{"port": 9001}"#).unwrap();
    let instance = described.instance;
    assert_eq!(instance.id.as_str(), "192.0.2.7:9001");
    assert_eq!(instance.endpoints[0].name.as_str(), "default");
    assert_eq!(described.ttl, None);
}

#[test]
fn everything_that_is_said_arrives() {
    let described = describe(
        r#"{"address": "127.0.0.1", "port": 9001, "ports": {"grpc": 9002}, "ttl": "30s",
            "metadata": {"env": "prod"}, "tags": ["a"], "version": "v1", "zone": "z",
            "weight": 50, "check": {"http": {"path": "/health"}, "interval": "5s"},
            "status": "warning", "note": "slow"}"#,
    )
    .unwrap();
    let check = described.check.unwrap();
    let [probe] = check.probes() else { panic!() };
    assert_eq!(
        (&*probe.id, probe.interval),
        ("http", Duration::from_secs(5))
    );
    assert!(matches!(&probe.means, Means::Http(http) if &*http.path == "/health"));
    assert_eq!(described.ttl, Some(Duration::from_secs(30)));
    assert_eq!(described.instance.endpoints.len(), 2);
    assert_eq!(described.instance.weight.as_u16(), 50);
    assert_eq!(described.instance.label("env"), Some("prod"));
}

#[test]
fn every_kind_of_check_is_understood() {
    let described = describe(
        r#"{"ports": {"http": 80, "grpc": 90}, "checks": [
            {"http": {"method": "POST", "port": "grpc", "headers": {"x-a": "b"}, "body": "{}",
                "statuses": [200, "300-399"], "answer": {"regex": "^ok"}, "redirects": 2,
                "tls": {"name": "a.test", "skip_verify": true}}, "status": "passing"},
            {"http": {"port": 8081}, "fall_warning": 1, "output_bytes": 10},
            {"id": "db", "tcp": {}, "deregister_after": "1m"}, {"udp": {"payload": "ping"}},
            {"grpc": {"service": "a.B", "port": "grpc"}}, {"h2ping": {}}, {"ttl": "100ms"},
            {"script": {"command": ["/bin/true"]}},
            {"docker": {"container": "db-1", "command": ["true"]}},
            {"alias": {"service": "edge/payments", "instance": "p1"}}]}"#,
    )
    .unwrap();
    let check = described.check.unwrap();
    let ids: Vec<_> = check.probes().iter().map(|probe| &*probe.id).collect();
    let expected = [
        "http", "http-2", "db", "udp", "grpc", "h2ping", "ttl", "script", "docker", "alias",
    ];
    assert_eq!(ids, expected);
    let Means::Http(http) = &check.probes()[0].means else {
        panic!()
    };
    assert_eq!(http.at, Place::Port(90));
    assert_eq!(http.statuses, [200..=200, 300..=399]);
    assert_eq!(http.answer, Some(AnswerMatch::Regex("^ok".into())));
    assert_eq!(http.tls.as_ref().unwrap().verify, Verify::Off);
    assert_eq!(check.probes()[0].initial, Some(model::Health::Passing));
    assert_eq!(
        check.probes()[2].deregister_after,
        Some(Duration::from_mins(1))
    );
    let Means::Alias { service, .. } = &check.probes()[9].means else {
        panic!()
    };
    assert_eq!(service.to_string(), "edge/payments");
}

#[test]
fn an_instance_has_as_many_checks_as_the_limit_and_not_one_more() {
    let with = |count: usize| {
        let checks = vec![r#"{"tcp": {}}"#; count].join(",");
        describe(&format!(r#"{{"port": 1, "checks": [{checks}]}}"#))
    };
    assert_eq!(with(64).unwrap().check.unwrap().probes().len(), 64);
    assert!(with(65).unwrap_err().contains("at most 64 checks"));
}

#[test]
fn an_only_port_named_http_is_the_usual_one() {
    let described = describe(r#"{"ports": {"admin": 1, "http": 2}}"#).unwrap();
    assert_eq!(described.instance.endpoints[0].name.as_str(), "http");
}

#[test]
fn misfits_name_their_field() {
    let cases = [
        (r"{}", "/port:"),
        (r#"{"port": 0}"#, "zero"),
        (r#"{"port": 1, "adress": "x"}"#, "unknown field `adress`"),
        (r#"{"port": 1, "address": "db.internal"}"#, "/address:"),
        (r#"{"port": 1, "address": "0.0.0.0"}"#, "/address:"),
        (r#"{"port": 1, "ports": {"a b": 2}}"#, "/ports:"),
        (r#"{"port": 1, "ports": {"default": 2}}"#, "/ports:"),
        (r#"{"port": 1, "ttl": "30"}"#, "not a duration"),
        (r#"{"port": 1, "check": {}}"#, "/check:"),
        (
            r#"{"port": 1, "check": {"tcp": {}, "http": {}}}"#,
            "/check:",
        ),
        (
            r#"{"port": 1, "check": {"tcp": {}, "interval": "1ms"}}"#,
            "/check/interval:",
        ),
        (
            r#"{"port": 1, "check": {"tcp": {}, "timeout": "0s"}}"#,
            "/check/timeout:",
        ),
        (
            r#"{"port": 1, "check": {"http": {"path": "x"}}}"#,
            "/check/http/path:",
        ),
        (
            r#"{"port": 1, "check": {"http": {"host": "a\r\nb"}}}"#,
            "/check/http/host:",
        ),
        (
            r#"{"port": 1, "check": {"tcp": {}}, "checks": [{"tcp": {}}]}"#,
            "/checks:",
        ),
        (
            r#"{"port": 1, "checks": [{"tcp": {}}, {"tcp": {"port": "admin"}}]}"#,
            "/checks/1/tcp/port: the instance has no port `admin`",
        ),
        (
            r#"{"port": 1, "checks": [{"id": "a", "tcp": {}}, {"id": "a", "tcp": {}}]}"#,
            "/checks: there are two checks `a`",
        ),
        (
            r#"{"port": 1, "check": {"http": {"statuses": ["2xx"]}}}"#,
            "/check/http/statuses:",
        ),
        (
            r#"{"port": 1, "check": {"http": {"answer": {"regex": "("}}}}"#,
            "/check/http/answer/regex:",
        ),
        (
            r#"{"port": 1, "check": {"ttl": "99ms"}}"#,
            "/check/ttl: this time is from 100ms to 30d",
        ),
        (
            r#"{"port": 1, "status": "great"}"#,
            "unknown variant `great`",
        ),
    ];
    for (json, expected) in cases {
        let error = describe(json).unwrap_err();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn texts_are_taken_up_to_the_limit_and_not_one_byte_more() {
    let with = |bytes| format!(r#"{{"port": 1, "zone": "{}"}}"#, "z".repeat(bytes));
    assert!(describe(&with(4096)).is_ok());
    assert!(describe(&with(4097)).unwrap_err().contains("/zone"));
}

#[test]
fn the_record_of_consul_s_front_is_neither_written_nor_shown() {
    let forged = r#"{"port": 1, "metadata": {"a": "b", "consul:record": "{}"}}"#;
    assert!(describe(forged).unwrap_err().contains("/metadata"));
    let registration = r#"{"port": 1, "metadata": {"a": "b"}}"#;
    let mut instance = describe(registration).unwrap().instance;
    // A record may be longer than what callers may say.
    let record = "x".repeat(4097);
    instance
        .metadata
        .insert(RECORD_KEY.into(), record.as_str().into());
    for value in ["\"{}\"", "null"] {
        let json = format!(r#"{{"metadata": {{"{RECORD_KEY}": {value}}}}}"#);
        let patch: Patch = serde_json::from_str(&json).unwrap();
        assert_eq!(patch.apply(&instance).unwrap_err().pointer, "/metadata");
    }
    for own in [r#"{"dns/record": "A 192.0.2.1"}"#, r#"{"dns/": null}"#] {
        let patch: Patch = serde_json::from_str(&format!(r#"{{"metadata": {own}}}"#)).unwrap();
        assert_eq!(patch.apply(&instance).unwrap_err().pointer, "/metadata");
    }
    let patch: Patch = serde_json::from_str(r#"{"metadata": {"a": "c"}}"#).unwrap();
    let patched = patch.apply(&instance).unwrap();
    assert_eq!(&*patched.metadata[RECORD_KEY], record);
    let shown = InstanceView::from(&patched).metadata;
    assert_eq!(shown, [("a".into(), "c".into())].into());
}

#[test]
fn a_view_round_trips() {
    let instance = describe(r#"{"port": 9001, "version": "v1"}"#)
        .unwrap()
        .instance;
    let view = InstanceView::from(&instance);
    let json = serde_json::to_string(&view).unwrap();
    assert_eq!(serde_json::from_str::<InstanceView>(&json).unwrap(), view);
    assert!(view.is_open);
}

#[test]
fn changes_are_told_by_one_key() {
    let key = ServiceKey::parse("shop/orders").unwrap();
    let id = InstanceId::parse("a").unwrap();
    let change = Change::Remove(Gone::new(&key, id.as_str()));
    let json = serde_json::to_string(&change).unwrap();
    assert_eq!(
        json,
        r#"{"remove":{"service":"orders","namespace":"shop","id":"a"}}"#
    );
}

#[test]
fn events_have_the_shapes_of_the_rest() {
    let instance = describe(r#"{"port": 9001}"#).unwrap().instance;
    let event = |change| Event {
        revision: Revision::FIRST,
        at: Timestamp::from_millis(1_780_272_000_000),
        origin: Origin {
            source: SourceId::new("registry"),
            actor: None,
        },
        change,
    };
    let put = EventView::from(&event(model::Change::Put {
        instance: instance.clone().into(),
    }));
    let json = serde_json::to_value(&put).unwrap();
    assert_eq!(json["at"], "2026-06-01T00:00:00.000Z");
    assert_eq!(json["change"], "put");
    let shown = serde_json::to_value(InstanceView::from(&instance)).unwrap();
    assert_eq!(json["instance"], shown);
    assert_eq!(serde_json::from_value::<EventView>(json).unwrap(), put);

    let gone = EventView::from(&event(model::Change::Remove {
        key: instance.key,
        id: instance.id,
        departure: Departure::Explicit,
    }));
    let json = serde_json::to_value(&gone).unwrap();
    assert_eq!(json["service"], "orders");
    assert_eq!(json["departure"], "explicit");
}

#[test]
fn spans_print_in_their_largest_unit() {
    for text in ["30s", "250ms", "2h", "1d", "90s", "0ms"] {
        let span = Span::try_from(text.to_owned()).unwrap();
        assert_eq!(span.to_string(), text);
    }
}
