//! What clients of Consul send.

use portolan_access::{Rules, Scopes, SecretHash};
use portolan_dialects::consul::{
    AclPolicyBody, AclTokenBody, CatalogDeparture, CatalogRegistration, CheckDefinition,
    CheckUpdate, Place, Record, Registered, SavedQuery, ServiceDefinition, SessionDefinition,
    answer::HealthEntry, filter::Filter, parse_duration, read_txn, write_duration,
};
use portolan_model::{Instance, SourceId};

/// Any text is read or refused in each of its meanings. Filters, scopes and hashes print as
/// what they say, and a service comes back from the model as it went in.
///
/// # Panics
/// When it does not hold for `input`.
pub fn consul(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        words(text);
    }
    if let Ok(service) = ServiceDefinition::read(input) {
        returns(service);
    }
    if let Ok((registration, _)) = CatalogRegistration::read(input) {
        registration.service.into_iter().for_each(returns);
    }
    // These have nothing to be compared with; that they end is the claim.
    let _check = CheckDefinition::read(input);
    let _update = CheckUpdate::read(input);
    let _departure = CatalogDeparture::read(input);
    let _session = SessionDefinition::read(input);
    let _transaction = read_txn(input);
    let _query = SavedQuery::read(input);
    let _token = AclTokenBody::read(input);
    let _policy = AclPolicyBody::read(input);
}

fn words(text: &str) {
    if let Ok(filter) = Filter::parse(text) {
        let again = Filter::parse(&filter.to_string()).expect("a printed filter is one");
        assert_eq!(again, filter);
        if let Ok(checked) = filter.on(&HealthEntry::SHAPE) {
            let _chosen = checked.chooses(&serde_json::json!({"Service": {"Tags": ["a"]}}));
        }
    }
    if let Ok(place) = Place::parse(text) {
        assert!(!place.methods().is_empty());
    }
    if let Some(span) = parse_duration(text) {
        assert_eq!(parse_duration(&write_duration(span)), Some(span));
    }
    let _rules = Rules::parse(text);
    if let Ok(scopes) = Scopes::parse(text.split(',')) {
        let texts = scopes.to_texts();
        assert_eq!(Scopes::parse(texts.iter().map(String::as_str)), Ok(scopes));
    }
    if let Ok(hash) = text.parse::<SecretHash>() {
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }
}

fn returns(service: ServiceDefinition) {
    let caller = std::net::Ipv4Addr::LOCALHOST.into();
    let before = Record::new(service, None, caller);
    let Ok(described) = before.describe(&SourceId::new("registry")) else {
        // A name that is too long for the model.
        return;
    };
    let instance: Instance = described.instance;
    let after = Record::of(&instance).expect("a record that was written is read");
    let mirrored = Vec::new();
    assert_eq!(Record { mirrored, ..after }, before);
    let seen = Registered::of(&instance.into());
    assert!(seen.is_ours);
    assert!(seen.checks(&"node".into(), 1).len() >= before.checks.len());
}
