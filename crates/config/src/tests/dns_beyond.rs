//! Recursors, updates and the ways to the DNS server that nobody can listen to.

use std::time::Duration;

use super::*;
use crate::DnsAlgorithm;

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";

#[test]
fn what_is_off_by_itself_is_switched_on_by_its_section() {
    let dns = plan("").dns;
    assert!(dns.recursors.is_none() && dns.updates.is_none() && dns.over_tls.is_none());
    assert!(!dns.is_over_https);
    let text = format!(
        "dns: {{recursors: {{addresses: '10.0.0.2:53', stale: 0s}}, over_https: true, \
         updates: {{keys: {{Desk: {{secret: '{SECRET}'}}, big: {{algorithm: hmac-sha512, secret: '{SECRET}', services: [orders, 'Shop/*']}}}}}}}}"
    );
    let dns = plan(&text).dns;
    let recursors = dns.recursors.unwrap();
    assert_eq!(recursors.addresses, ["10.0.0.2:53".parse().unwrap()]);
    assert_eq!(
        (recursors.deadline, recursors.stale),
        (Duration::from_secs(4), Duration::ZERO)
    );
    let updates = dns.updates.unwrap();
    let keys: Vec<_> = updates
        .keys
        .iter()
        .map(|key| (key.name.as_str(), key.algorithm))
        .collect();
    assert_eq!(
        keys,
        [
            ("desk", DnsAlgorithm::Sha256),
            ("big", DnsAlgorithm::Sha512)
        ]
    );
    assert!(updates.keys[0].services.is_empty());
    assert_eq!(updates.keys[1].services, ["orders".into(), "shop/*".into()]);
    assert_eq!((updates.keys[0].secret.len(), updates.port.get()), (16, 80));
    assert!(dns.is_over_https);
}

#[test]
fn a_key_does_not_show_its_secret() {
    let text = format!("dns: {{updates: {{keys: {{desk: {{secret: '{SECRET}'}}}}}}}}");
    let shown = format!("{:?}", plan(&text).dns);
    assert!(
        shown.contains("desk") && !shown.contains("48, 49"),
        "{shown}"
    );
}

#[test]
fn what_can_not_work_is_told_with_what_helps() {
    refused("dns: {recursors: {}}", "addresses");
    refused("dns: {recursors: {addresses: []}}", "the list is empty");
    refused("dns: {updates: {}}", "keys");
    let key =
        |secret: &str| format!("dns: {{updates: {{keys: {{desk: {{secret: '{secret}'}}}}}}}}");
    refused(
        &format!("dns: {{updates: {{keys: {{desk: {{secret: '{SECRET}', services: ['*x']}}}}}}}}"),
        "before its end",
    );
    refused(&key("no base64"), "openssl rand -base64 32");
    refused(&key("c2hvcnQ="), "16 bytes or more");
    refused("dns: {over_tls: {}}", "need certificates");
}
