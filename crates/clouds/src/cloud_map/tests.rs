//! Claims about the `cloud_map` source.

use std::{convert::Infallible, time::Duration};

use http::{HeaderMap, StatusCode};
use portolan_catalog::{News, Turn, inboxes};
use portolan_model::{Change, Health, SourceId, Timestamp};
use portolan_runtime::Env;
use portolan_sources::frame::{Ended, Follow, Teller, follow};
use portolan_wire::call::Answer;
use serde_json::{Value, json};

use super::{
    api::{Instances, Kind, Refusal},
    credentials::{in_profile, temporary},
    map::{self, NAMES, ServiceName},
    settings::{self, Chain, Keys},
    sign::{Scope, Signable, authorization, hex, key, stamp},
    watch::CloudMapSource,
};

fn keys() -> Keys {
    Keys {
        id: "AKIDEXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        token: None,
    }
}

/// The end of what is signed on 30 August 2015 in AWS's test suite.
fn signature(scope: (&str, &str), signable: Signable<'_>) -> String {
    let scope = Scope {
        region: scope.0,
        service: scope.1,
    };
    let text = authorization(&keys(), scope, signable, "20150830T123600Z");
    text.rsplit('=').next().unwrap().to_owned()
}

#[test]
fn signatures_are_those_of_the_published_vectors() {
    let fields = [
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
    ];
    let vanilla = Signable {
        method: "GET",
        path: "/",
        query: "",
        fields: &fields,
        body: b"",
    };
    let suite = ("us-east-1", "service");
    assert_eq!(
        signature(suite, vanilla),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    );
    let post = Signable {
        method: "POST",
        ..vanilla
    };
    assert_eq!(
        signature(suite, post),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    );
    let fields = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
    ];
    let form = Signable {
        method: "POST",
        path: "/",
        query: "",
        fields: &fields,
        body: b"Param1=value1",
    };
    assert_eq!(
        signature(suite, form),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
    );
    let fields = [
        (
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        ),
        ("host", "iam.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
    ];
    let users = Signable {
        method: "GET",
        path: "/",
        query: "Action=ListUsers&Version=2010-05-08",
        fields: &fields,
        body: b"",
    };
    assert_eq!(
        signature(("us-east-1", "iam"), users),
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
    let scope = Scope {
        region: "us-east-1",
        service: "iam",
    };
    assert_eq!(
        hex(&key(&keys().secret, "20150830", scope)),
        "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    );
}

#[test]
fn times_are_stamped_as_aws_wants_them() {
    let at = Timestamp::parse("2015-08-30T12:36:00.250Z").unwrap();
    assert_eq!(stamp(at), "20150830T123600Z");
    assert_eq!(
        stamp(Timestamp::parse("2026-01-02T03:04:05Z").unwrap()),
        "20260102T030405Z"
    );
}

#[test]
fn credentials_come_from_the_first_place_that_is_set() {
    let chain = |text: Value| {
        let mut text = text;
        text["region"] = json!("eu-central-1");
        settings::read(&text).map(|settings| settings.credentials)
    };
    let given = json!({"access_key_id": "a", "secret_access_key": "b", "credentials_file": "f"});
    assert!(matches!(chain(given), Ok(Chain::Given(_))));
    let file = json!({"credentials_file": "f", "container_credentials": "http://169.254.170.2/x"});
    assert!(matches!(chain(file), Ok(Chain::File { .. })));
    let container = json!({"container_credentials": "http://169.254.170.23/v1/credentials"});
    assert!(matches!(chain(container), Ok(Chain::Container { .. })));
    assert!(matches!(chain(json!({})), Ok(Chain::Instance(_))));
    let half = chain(json!({"access_key_id": "a"})).unwrap_err();
    assert_eq!(half[0].path, "/secret_access_key");
    let far = chain(json!({"container_credentials": "http://somewhere/x"})).unwrap_err();
    assert_eq!(far[0].path, "/container_credentials");
}

#[test]
fn secrets_are_not_shown() {
    let settings = json!({"region": "eu-central-1", "access_key_id": "id", "secret_access_key": "hush", "session_token": "quiet"});
    let shown = format!("{:?}", settings::read(&settings).unwrap());
    assert!(
        !shown.contains("hush") && !shown.contains("quiet"),
        "{shown}"
    );
}

#[test]
fn profiles_are_read_as_aws_s_tools_write_them() {
    let text = "[default]\naws_access_key_id = A\naws_secret_access_key=b=c\n# no\n\n[profile other]\naws_access_key_id=O\naws_secret_access_key=o\naws_session_token = t\n[half]\naws_access_key_id=H\n";
    let found = |profile| in_profile(text, profile).map(|keys| (keys.id, keys.secret, keys.token));
    assert_eq!(
        found("default"),
        Some(("A".to_owned(), "b=c".to_owned(), None))
    );
    assert_eq!(
        found("other"),
        Some(("O".to_owned(), "o".to_owned(), Some("t".to_owned())))
    );
    assert_eq!(found("half"), None);
    assert_eq!(found("nobody"), None);
}

fn answer(status: StatusCode, body: &Value) -> Answer {
    Answer {
        status,
        headers: HeaderMap::new(),
        body: body.to_string().into(),
    }
}

#[test]
fn agents_say_when_credentials_end() {
    let body = json!({"AccessKeyId": "A", "SecretAccessKey": "s", "Token": "t", "Expiration": "2026-06-01T01:00:00Z"});
    let (keys, until) = temporary(&answer(StatusCode::OK, &body)).unwrap();
    assert_eq!((keys.id.as_str(), keys.token.as_deref()), ("A", Some("t")));
    assert_eq!(until, Timestamp::parse("2026-06-01T01:00:00Z").ok());
    assert!(temporary(&answer(StatusCode::OK, &json!({"AccessKeyId": "A"}))).is_none());
}

#[test]
fn refusals_are_told_apart() {
    for (name, kind) in [
        ("ThrottlingException", Kind::Throttled),
        (
            "com.amazonaws.servicediscovery#RequestLimitExceeded",
            Kind::Throttled,
        ),
        ("ServiceNotFound", Kind::Unknown),
        ("ExpiredTokenException", Kind::Credentials),
        ("AccessDeniedException", Kind::Other),
    ] {
        let refused = answer(
            StatusCode::BAD_REQUEST,
            &json!({"__type": name, "message": "no"}),
        );
        assert_eq!(Refusal::read(&refused).kind(), kind, "{name}");
    }
}

#[test]
fn attributes_become_an_instance() {
    let service = ServiceName {
        namespace: "prod.local".to_owned(),
        name: "orders".to_owned(),
    };
    let instance = json!({
        "InstanceId": "i-1", "HealthStatus": "UNHEALTHY",
        "Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "8080", "AVAILABILITY_ZONE": "eu-1a", "version": "v2", "weight": "50", "team": "a"},
    });
    let settings =
        settings::read(&json!({"region": "eu-central-1", "map": {"tags": "[attributes.team]"}}))
            .unwrap();
    let made = settings.basics.instance(
        &SourceId::new("cloud_map:test"),
        map::found(&service, &instance),
        || map::object(&service, &instance),
    );
    let one = made.unwrap().unwrap();
    assert_eq!(
        (one.key.to_string(), one.id.as_str()),
        ("prod.local/orders".to_owned(), "i-1")
    );
    assert_eq!(one.endpoints[0].address.to_string(), "10.0.0.1:8080");
    assert_eq!(
        (
            one.zone.as_deref(),
            one.version.as_deref(),
            one.weight.as_u16()
        ),
        (Some("eu-1a"), Some("v2"), 50)
    );
    assert_eq!(one.state.health, Health::Critical);
    assert_eq!(*one.tags, ["a".into()]);
    assert!(one.metadata.keys().all(|key| !key.starts_with("AWS_")));
    assert_eq!(
        map::object(&service, &instance).keys().collect::<Vec<_>>(),
        NAMES
    );
    let named = json!({"InstanceId": "i-2", "Attributes": {"AWS_INSTANCE_CNAME": "a.example"}});
    let error = settings.basics.instance(
        &SourceId::new("cloud_map:test"),
        map::found(&service, &named),
        || map::object(&service, &named),
    );
    assert!(error.is_err());
}

/// A source whose answers are given, one after the other.
struct Fed(CloudMapSource, Vec<(ServiceName, Option<Instances>)>);

impl Follow for Fed {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        for moved in self.1.drain(..) {
            self.0.take(vec![moved], teller).await?;
        }
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_two_services_have_goes_when_neither_has_it() {
    let moved = |name: &str, ids: &[&str]| {
        let name = ServiceName {
            namespace: "prod".to_owned(),
            name: name.to_owned(),
        };
        let instance = |id: &&str| json!({"InstanceId": id, "Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80"}});
        let instances = Instances {
            revision: Some(1),
            instances: ids.iter().map(instance).collect(),
        };
        (name, Some(instances))
    };
    let env = Env::virtual_time(1);
    let settings = json!({"region": "eu-central-1", "map": {"service": "'all'"}});
    let settings = settings::read(&settings).unwrap();
    let id = SourceId::new("cloud_map:test");
    let source = CloudMapSource::new(settings, id.clone(), env.clone());
    let told = vec![
        moved("blue", &["a", "b"]),
        moved("green", &["b"]),
        moved("blue", &[]),
        moved("green", &[]),
    ];
    let (mut hub, mut inflow) = inboxes();
    let inbox = hub.open(&id, Turn::Fair);
    let _running = env.spawn("source", follow(Fed(source, told), inbox, env.clone()));
    let mut said = Vec::new();
    while said.len() < 4
        && let Ok(batch) = env.timeout(Duration::from_secs(1), inflow.batch(1)).await
    {
        for arrival in batch {
            if let News::Said(Change::Put { instance }) = &arrival.saying.news {
                said.push(format!("put {}", instance.id));
            } else if let News::Said(Change::Remove { id, .. }) = &arrival.saying.news {
                said.push(format!("remove {id}"));
            }
        }
    }
    assert_eq!(said, ["put a", "put b", "remove a", "remove b"]);
}

#[test]
fn settings_that_lead_nowhere_are_refused() {
    for (settings, path) in [
        (
            json!({"endpoint": "http://127.0.0.1:1", "tls": {"verify": "off"}}),
            "/tls",
        ),
        (json!({"profile": "shop"}), "/profile"),
        (json!({"session_token": "t"}), "/session_token"),
        (
            json!({"container_token_file": "/t"}),
            "/container_token_file",
        ),
        (json!({"poll": "10s", "relist": "5s"}), "/relist"),
        (json!({"namespaces": ["a", ""]}), "/namespaces/1"),
        (json!({"namespaces": ["a", "b", "a"]}), "/namespaces/2"),
    ] {
        let mut settings = settings;
        settings["region"] = json!("eu-central-1");
        let problems = settings::read(&settings).unwrap_err();
        let paths: Vec<_> = problems.iter().map(|one| one.path.clone()).collect();
        assert_eq!(paths, [path], "{settings}: {problems:?}");
    }
    let rare = settings::read(&json!({"region": "eu-central-1", "poll": "5m"})).unwrap();
    assert_eq!(rare.relist, rare.poll);
}
