//! Access control, and control listeners that others reach.

use portolan_access::{Need, SecretHash};

use super::*;

#[test]
fn access_control_is_off_until_its_section_is_written() {
    assert!(plan("").access.is_none());
    let access = plan("access: {}").access.unwrap();
    assert!(access.anonymous.is_empty() && access.tokens.is_empty());
    let plan = plan(EVERYTHING);
    let access = plan.access.unwrap();
    assert!(access.anonymous.allows(&Need::Read));
    assert_eq!(access.tokens[0].hash, SecretHash::of("secret"));
    assert_eq!(
        access.tokens[0].scopes.to_texts(),
        ["read", "register:shop-*"]
    );
    assert!(access.certificates["ops.example"].allows(&Need::Operate));
}

#[test]
fn a_control_listener_has_tls_and_limits() {
    let security = plan(EVERYTHING).admin.security;
    let tls = security.tls.unwrap();
    assert_eq!(
        tls.client_ca.unwrap(),
        std::path::Path::new("/etc/portolan/ca.pem")
    );
    assert!(tls.is_certificate_optional && tls.served.tls13 && !tls.served.tls12);
    let limits = security.limits;
    assert_eq!(limits.connections_max.get(), 10);
    assert_eq!(limits.connections_per_client.unwrap().get(), 5);
    assert_eq!(limits.requests_per_client.unwrap().get(), 100);
    assert_eq!(limits.burst.unwrap().get(), 300);
    assert_eq!(plan("").admin.security.limits.requests_per_client, None);
}

#[test]
fn what_is_no_scope_or_hash_is_told_at_its_place() {
    let hash = SecretHash::of("s");
    refused("access: {anonymous: [raed]}", "`raed` is no scope");
    refused(
        &format!("access: {{tokens: {{a: {{hash: '{hash}', scopes: [write]}}}}}}"),
        "`write` is no scope",
    );
    refused(
        "access: {tokens: {a: {hash: secret, scopes: [read]}}}",
        "portolan token generate",
    );
    refused("access: {tokens: {a: {scopes: [read]}}}", "hash");
}

#[test]
fn a_listener_that_others_reach_needs_to_know_its_callers() {
    let listeners = [
        "admin: {address: 0.0.0.0:9070REST}",
        "registry: {eureka: {address: '0.0.0.0:8761'REST}}",
        "registry: {consul: {address: '[::]:8500'REST}}",
    ];
    let tls = "tls: {certificates: [{certificate: a.pem, key: a.key}]";
    for listener in listeners {
        let with = |rest: &str, more: &str| format!("{}\n{more}", listener.replace("REST", rest));
        refused(&with("", ""), "open to others");
        refused(&with(&format!(", {tls}}}"), ""), "open to others");
        plan(&with(", insecure: true", ""));
        plan(&with(&format!(", {tls}, client_ca: ca.pem}}"), ""));
        refused(
            &with(
                &format!(", {tls}, client_ca: ca.pem, client_certificates: optional}}"),
                "",
            ),
            "open to others",
        );
        plan(&with(&format!(", {tls}}}"), "access: {anonymous: read}"));
        warned(&with("", "access: {}"), "in the clear");
        refused(
            &with(&format!(", {tls}}}"), "access: {anonymous: operate}"),
            "lets them change things",
        );
    }
    plan("registry: {eureka: {address: '0.0.0.0:8761', enabled: false}}");
    plan("status: {address: '0.0.0.0:9071'}");
}
