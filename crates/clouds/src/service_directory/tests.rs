//! Claims about the `service_directory` source.

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, StatusCode};
use portolan_model::{SourceId, Timestamp};
use portolan_wire::call::Answer;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

use super::{
    api::refused,
    map::{self, Listed, NAMES},
    settings::{self, Account},
    token::{KeyFile, token_of},
};
use portolan_sources::frame::Ended;

/// Made for these tests alone, by `openssl genpkey -algorithm RSA`.
const KEY: &str = include_str!("fixtures/key.pem");

fn listed() -> Listed {
    Listed {
        namespace: "backend".to_owned(),
        id: "orders".to_owned(),
        annotations: map::annotations(&json!({"annotations": {"team": "a", "tier": "web"}})),
    }
}

fn answer(status: StatusCode, body: &Value) -> Answer {
    Answer {
        status,
        headers: HeaderMap::new(),
        body: body.to_string().into(),
    }
}

#[test]
fn endpoints_become_instances() {
    let endpoint = json!({
        "name": "projects/p/locations/l/namespaces/backend/services/orders/endpoints/one",
        "address": "10.0.0.1", "port": 8080, "network": "projects/1/locations/global/networks/n",
        "annotations": {"version": "v2", "zone": "z1", "weight": "50", "tier": "canary"},
    });
    let settings =
        json!({"project": "p", "location": "l", "map": {"tags": "[service_annotations.team]"}});
    let settings = settings::read(&settings).unwrap();
    let source = SourceId::new("service_directory:test");
    let made = settings
        .basics
        .instance(&source, map::found(&listed(), &endpoint), || {
            map::object(&listed(), &endpoint)
        });
    let one = made.unwrap().unwrap();
    assert_eq!(
        (one.key.to_string(), one.id.as_str()),
        ("backend/orders".to_owned(), "one")
    );
    assert_eq!(one.endpoints[0].address.to_string(), "10.0.0.1:8080");
    assert_eq!(
        (
            one.zone.as_deref(),
            one.version.as_deref(),
            one.weight.as_u16()
        ),
        (Some("z1"), Some("v2"), 50)
    );
    assert_eq!(one.metadata.get("tier").map(|text| &**text), Some("canary"));
    assert_eq!(*one.tags, ["a".into()]);
    assert_eq!(
        map::object(&listed(), &endpoint).keys().collect::<Vec<_>>(),
        NAMES
    );
    let nowhere = json!({"name": "x/endpoints/two", "address": "", "port": 0});
    assert!(
        settings
            .basics
            .instance(&source, map::found(&listed(), &nowhere), || map::object(
                &listed(),
                &nowhere
            ))
            .is_err()
    );
}

fn key_file() -> Value {
    json!({
        "type": "service_account", "client_email": "reader@p.iam.gserviceaccount.com",
        "private_key_id": "k1", "private_key": KEY, "token_uri": "https://oauth2.googleapis.com/token",
    })
}

#[test]
fn an_assertion_is_signed_by_the_key() {
    let file = KeyFile::read(&key_file().to_string()).unwrap();
    let at = Timestamp::parse("2026-06-01T00:00:00Z").unwrap();
    let assertion = file.assertion(at).unwrap();
    let (text, signature) = assertion.rsplit_once('.').unwrap();
    let der = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let public = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
        .unwrap()
        .public()
        .clone();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref().to_vec());
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    public.verify(text.as_bytes(), &signature).unwrap();
    let parts: Vec<Value> = text
        .split('.')
        .map(|part| {
            serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
        })
        .collect();
    assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    assert_eq!(parts[1]["iss"], "reader@p.iam.gserviceaccount.com");
    assert_eq!(parts[1]["aud"], "https://oauth2.googleapis.com/token");
    assert_eq!(
        parts[1]["exp"].as_u64().unwrap() - parts[1]["iat"].as_u64().unwrap(),
        3600
    );
}

#[test]
fn a_key_file_that_is_of_no_use_says_why() {
    for (field, value, reason) in [
        ("client_email", json!(""), "it has no `client_email`"),
        (
            "private_key",
            json!("nothing"),
            "its `private_key` is no key in PEM",
        ),
        ("token_uri", json!(null), "it has no `token_uri`"),
    ] {
        let mut file = key_file();
        file[field] = value;
        let error = KeyFile::read(&file.to_string()).err().unwrap();
        assert_eq!(error, reason);
    }
    assert!(
        KeyFile::read("{")
            .err()
            .unwrap()
            .starts_with("it is no JSON")
    );
}

#[test]
fn tokens_are_kept_for_as_long_as_they_are_good() {
    let body = json!({"access_token": "t", "expires_in": 120, "token_type": "Bearer"});
    let (token, span) = token_of(&answer(StatusCode::OK, &body)).unwrap();
    assert_eq!((token.to_str().unwrap(), span.as_secs()), ("Bearer t", 120));
    assert!(token.is_sensitive());
    assert!(token_of(&answer(StatusCode::OK, &json!({"access_token": ""}))).is_none());
}

#[test]
fn refusals_say_what_to_mend() {
    let body = json!({"error": {"code": 403, "message": "Permission denied on resource."}});
    let Ended::Lost { reason, .. } = refused("services", &answer(StatusCode::FORBIDDEN, &body))
    else {
        panic!("it was lost");
    };
    assert!(
        reason.contains("403")
            && reason.contains("Viewer")
            && reason.ends_with("Permission denied on resource."),
        "{reason}"
    );
}

#[test]
fn the_account_is_that_of_the_key_or_of_the_machine() {
    let account = |text: Value| settings::read(&text).unwrap().account;
    let place = json!({"project": "p", "location": "l"});
    assert!(matches!(account(place), Account::Machine(_)));
    let keyed = json!({"project": "p", "location": "l", "key_file": "k.json"});
    assert!(matches!(account(keyed), Account::Key(_)));
    let problems = settings::read(&json!({})).unwrap_err();
    assert_eq!(
        problems
            .iter()
            .map(|one| one.path.as_str())
            .collect::<Vec<_>>(),
        ["/project", "/location"]
    );
}
