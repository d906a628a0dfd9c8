//! Claims about rules of access.

use super::*;

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
    assert!(policy("write").allows_tree(Resource::Key, "a/"));
    assert!(!policy("read").allows_tree(Resource::Key, "a/"));
    assert!(!policy("write").allows_tree(Resource::Key, ""));
    assert!(policy("read").allows(Resource::Key, "a/b", Level::Read));
    assert!(!policy("list").allows(Resource::Key, "a/b", Level::Write));
}
