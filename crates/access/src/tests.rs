//! Claims about rules of access.

use crate::hcl;
use crate::*;
use portolan_model::ServiceKey;
use std::{num::NonZeroU32, time::Duration};

fn rules(text: &str) -> Rules {
    Rules::parse(text).unwrap()
}

fn levels(policies: &[&str], name: &str) -> Level {
    let policies: Vec<Rules> = policies.iter().map(|text| rules(text)).collect();
    Authority::new(&policies, Level::Deny).level(Resource::Service, name)
}

#[test]
fn hcl_and_json_say_the_same() {
    let hcl = r#"
        # comments of every kind
        operator = "read" // such
        /* and such */
        service "web" { policy = "write" intentions = "read" }
        service_prefix "" {
            policy = "read"
        }
        key_prefix "app/" { policy = "list" }
    "#;
    let json = r#"{
        "operator": "read",
        "service": {"web": {"policy": "write", "intentions": "read"}},
        "service_prefix": {"": {"policy": "read"}},
        "key_prefix": [{"app/": {"policy": "list"}}]
    }"#;
    assert_eq!(rules(hcl), rules(json));
    assert_eq!(rules(hcl).as_slice().len(), 4);
    assert_eq!(rules("").as_slice(), []);
}

#[test]
fn blocks_of_one_word_add_up() {
    let two = rules(
        "service \"a\" { policy = \"read\" }\nservice \"b\" { policy = \"deny\" }\nacl = \"write\"",
    );
    assert_eq!(two.as_slice().len(), 3);
    assert_eq!(two.as_slice()[1].name, "b");
}

#[test]
fn what_is_no_policy_is_refused_with_its_place() {
    let cases = [
        (
            "service \"a\" { policy = \"rule\" }",
            "Invalid service policy: \"rule\"",
        ),
        (
            "service \"a\" { policy = \"list\" }",
            "Invalid service policy",
        ),
        ("serv \"a\" { policy = \"read\" }", "unknown key \"serv\""),
        (
            "service \"a\" { polcy = \"read\" }",
            "unknown key \"polcy\"",
        ),
        ("operator_prefix \"\" { policy = \"read\" }", "one level"),
        ("service = \"read\"", "needs a name"),
        ("\n\nservice \"a\" {", "line 3: a brace is not closed"),
        ("service \"a", "not closed"),
        ("}", "not opened"),
        ("a = read", "needs quotes"),
        ("/* a", "comment is not closed"),
        ("a = [\"b\" \"c\"]", "`,` or `]`"),
        ("{\"service\": 1}", "needs a name"),
        ("{", "EOF"),
    ];
    for (text, expected) in cases {
        let error = Rules::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn depth_and_size_have_limits() {
    let nested = |depth: usize| format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(hcl::parse(&nested(15)).is_ok());
    assert!(hcl::parse(&nested(16)).is_err());
    let long = |bytes: usize| format!("#{}", " ".repeat(bytes - 1));
    assert!(hcl::parse(&long(64 << 10)).is_ok());
    assert!(hcl::parse(&long((64 << 10) + 1)).is_err());
    let many = |count: usize| {
        let rules = (0..count).map(|n| format!("key \"{n}\"{{policy=\"read\"}}"));
        let json = rules.collect::<String>();
        json.len()
    };
    assert!(many(2) > 0);
    let json = |count: usize| {
        let names: serde_json::Map<_, _> = (0..count)
            .map(|n| (n.to_string(), serde_json::json!({"policy": "read"})))
            .collect();
        serde_json::json!({ "key": names }).to_string()
    };
    assert!(Rules::parse(&json(RULES_MAX)).is_ok());
    assert!(Rules::parse(&json(RULES_MAX + 1)).is_err());
}

#[test]
fn the_exact_name_wins_then_the_longest_prefix() {
    let policy = r#"
        service "web" { policy = "deny" }
        service_prefix "web" { policy = "write" }
        service_prefix "" { policy = "read" }
    "#;
    assert_eq!(levels(&[policy], "web"), Level::Deny);
    assert_eq!(levels(&[policy], "web-1"), Level::Write);
    assert_eq!(levels(&[policy], "we"), Level::Read);
    assert_eq!(levels(&[], "web"), Level::Deny);
}

#[test]
fn deny_wins_over_other_policies_and_then_the_widest() {
    let rule = |level: &str| format!("service \"web\" {{ policy = \"{level}\" }}");
    let (deny, read, write) = (rule("deny"), rule("read"), rule("write"));
    assert_eq!(levels(&[&read, &write], "web"), Level::Write);
    assert_eq!(levels(&[&write, &read], "web"), Level::Write);
    assert_eq!(levels(&[&write, &deny], "web"), Level::Deny);
    assert_eq!(levels(&[&deny, &write], "web"), Level::Deny);
}

#[test]
fn a_tree_may_be_written_if_nothing_in_it_says_less() {
    let policy = |inner: &str| {
        let text = format!(
            "key_prefix \"a/\" {{ policy = \"write\" }}\nkey \"a/b\" {{ policy = \"{inner}\" }}"
        );
        Authority::new([&rules(&text)], Level::Deny)
    };
    assert!(policy("write").allows_tree(Resource::Key, "a/", Level::Write));
    assert!(!policy("read").allows_tree(Resource::Key, "a/", Level::Write));
    assert!(!policy("write").allows_tree(Resource::Key, "", Level::Write));
    let alone = Rules::parse(r#"key "a" { policy = "write" }"#).unwrap();
    let alone = Authority::new([&alone], Level::Deny);
    assert!(alone.allows(Resource::Key, "a", Level::Write));
    assert!(
        !alone.allows_tree(Resource::Key, "a", Level::Write),
        "`ab` is another"
    );
    assert!(policy("read").allows(Resource::Key, "a/b", Level::Read));
    assert!(!policy("list").allows(Resource::Key, "a/b", Level::Write));
}

fn need_to_register(key: &str) -> Need {
    Need::Register(ServiceKey::parse(key).unwrap())
}

fn scopes(texts: &[&str]) -> Scopes {
    Scopes::parse(texts.iter().copied()).unwrap()
}

#[test]
fn scopes_are_written_as_they_are_read() {
    let texts = [
        "read",
        "register",
        "register:orders",
        "register:orders-*",
        "register:*",
        "register:shop/orders",
        "register:shop/*",
        "operate",
        "admin",
    ];
    assert_eq!(scopes(&texts).to_texts(), texts);
    for bad in [
        "",
        "write",
        "register:",
        "register:a b",
        "register:a*b",
        "register:/a",
        "read:a",
        "register:*/a",
    ] {
        assert!(Scopes::parse([bad]).is_err(), "{bad}");
    }
    assert!(Scopes::parse(["read"; SCOPES_MAX]).is_ok());
    assert!(Scopes::parse(["read"; SCOPES_MAX + 1]).is_err());
}

#[test]
fn a_scope_gives_what_it_says_and_no_more() {
    let cases: [(&str, &[Need], &[Need]); 4] = [
        (
            "read",
            &[Need::Nothing, Need::Name, Need::Read],
            &[Need::Operate, Need::Admin, Need::RegisterSome],
        ),
        (
            "operate",
            &[Need::Read, Need::Operate],
            &[Need::Admin, Need::RegisterSome],
        ),
        (
            "register:orders-*",
            &[Need::RegisterSome, Need::Name],
            &[Need::Read, Need::Operate, Need::Admin],
        ),
        (
            "admin",
            &[Need::Read, Need::Operate, Need::Admin, Need::RegisterSome],
            &[],
        ),
    ];
    for (scope, given, kept) in cases {
        let scopes = scopes(&[scope]);
        assert!(given.iter().all(|need| scopes.allows(need)), "{scope}");
        assert!(!kept.iter().any(|need| scopes.allows(need)), "{scope}");
    }
    assert!(Scopes::default().allows(&Need::Nothing));
    assert!(!Scopes::default().allows(&Need::Name));
}

#[test]
fn registering_reaches_the_services_that_are_named() {
    let allowed = |scope: &str, key: &str| scopes(&[scope]).allows(&need_to_register(key));
    assert!(allowed("register:Orders", "orders"));
    assert!(!allowed("register:orders", "orders-1"));
    assert!(allowed("register:orders-*", "orders-1"));
    assert!(!allowed("register:orders-*", "shop/orders-1"));
    assert!(allowed("register:shop/*", "shop/orders-1"));
    assert!(!allowed("register:*", "shop/orders-1"));
    assert!(allowed("register", "shop/orders-1"));
}

#[test]
fn scopes_hold_for_resources_of_consul() {
    let level = |scope: &str, resource, name| scopes(&[scope]).level(resource, name);
    assert_eq!(level("read", Resource::Service, "web"), Level::Read);
    assert_eq!(level("read", Resource::Key, "a/b"), Level::List);
    assert_eq!(level("read", Resource::Acl, ""), Level::Deny);
    assert_eq!(level("operate", Resource::Operator, ""), Level::Read);
    assert_eq!(
        level("register:web*", Resource::Service, "web-1"),
        Level::Write
    );
    assert_eq!(
        level("register:web*", Resource::Service, "shop"),
        Level::Deny
    );
    assert_eq!(level("register:web*", Resource::Node, "n"), Level::Deny);
    assert_eq!(level("admin", Resource::Acl, ""), Level::Write);
}

#[test]
fn policies_give_what_requests_need() {
    let granted = |text: &str, need: &Need| {
        let limited = Limited {
            scopes: Scopes::default(),
            authority: Authority::new([&rules(text)], Level::Deny),
        };
        Grant::Limited(limited.into()).allows(need)
    };
    let readers = "service_prefix \"\" {policy = \"read\"} node_prefix \"\" {policy = \"read\"}";
    assert!(granted(readers, &Need::Read));
    let but_one = format!("{readers} service \"secret\" {{policy = \"deny\"}}");
    assert!(!granted(&but_one, &Need::Read), "lists would show it");
    let web = "service \"web\" {policy = \"write\"}";
    assert!(granted(web, &need_to_register("web")));
    assert!(granted(web, &Need::RegisterSome));
    assert!(!granted(web, &need_to_register("other/web")));
    assert!(granted(
        "acl = \"write\" operator = \"write\"",
        &Need::Admin
    ));
    assert!(!granted("acl = \"write\"", &Need::Admin));
}

#[test]
fn a_hash_is_written_as_it_is_read_and_hides_its_secret() {
    let secret = Secret::from_random(&[7; SECRET_BYTES]);
    assert_eq!(secret.reveal().len(), 47);
    let text = secret.hash().to_string();
    assert_eq!(text.parse(), Ok(secret.hash()));
    assert_ne!(Secret::given("ptl_x").hash(), secret.hash());
    assert_eq!(
        format!("{secret:?} {:?}", secret.hash()),
        "Secret(..) SecretHash(..)"
    );
    for bad in [
        "",
        "sha256:",
        "sha256:zz",
        &text[1..],
        &text[..text.len() - 1],
    ] {
        assert!(bad.parse::<SecretHash>().is_err(), "{bad}");
    }
}

#[test]
fn a_client_gets_its_burst_and_then_its_rate() {
    let rate = Rate {
        per_second: NonZeroU32::new(10).unwrap(),
        burst: NonZeroU32::new(3).unwrap(),
    };
    let meter = Meter::default();
    let at = Duration::from_millis;
    for _ in 0..3 {
        assert_eq!(meter.count(1, at(1000), rate), Ok(()));
    }
    assert_eq!(meter.count(1, at(1000), rate), Err(at(100)));
    assert_eq!(
        meter.count(2, at(1000), rate),
        Ok(()),
        "it is somebody else's"
    );
    assert_eq!(meter.count(1, at(1099), rate), Err(at(1)));
    assert_eq!(meter.count(1, at(1100), rate), Ok(()));
    assert!(meter.count(1, at(1100), rate).is_err());
    for _ in 0..3 {
        assert_eq!(meter.count(1, at(9000), rate), Ok(()));
    }
}

#[test]
fn any_number_of_clients_is_counted_in_the_same_room() {
    let rate = Rate {
        per_second: NonZeroU32::MIN,
        burst: NonZeroU32::MIN,
    };
    let meter = Meter::default();
    let served = (0..100_000_u64)
        .filter(|client| meter.count(*client, Duration::ZERO, rate).is_ok())
        .count();
    assert_eq!(served, 1 << 14, "one for each cell");
}
