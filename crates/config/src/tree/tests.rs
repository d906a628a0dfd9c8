//! Trees of texts, and the limits.

use std::fmt::Write;

use serde_json::json;

use super::*;

fn json(text: &str) -> Json {
    parse(text).unwrap().to_json()
}

#[test]
fn yaml_and_json_make_the_same_tree() {
    let yaml = "a:\n  - 1\n  - x: true\n    y: '2'\n  - ~\nb: 1.5\nc: &n {d: -3}\ne: *n\n";
    let expected =
        json!({"a": [1, {"x": true, "y": "2"}, null], "b": 1.5, "c": {"d": -3}, "e": {"d": -3}});
    assert_eq!(json(yaml), expected);
    assert_eq!(json(&expected.to_string()), expected);
    assert_eq!(json(""), json!({}));
    assert_eq!(json("0x1F"), json!(31));
    for text in ["1.2.3", "1m", "-x", ".", "e", "off", "1e999"] {
        assert_eq!(json(text), json!(text));
    }
}

#[test]
fn places_are_bytes_lines_and_columns() {
    let text = "é: ü\nlist:\n  - wert\n  - {k: \"ö\"}\n";
    let tree = parse(text).unwrap();
    let Value::Map(members) = &tree.value else {
        panic!()
    };
    assert_eq!(
        &text[members[0].node.span.start..members[0].node.span.end],
        "ü"
    );
    let span = tree.at_pointer("/list/0").unwrap();
    assert_eq!((span.line, span.column), (3, 5));
    assert_eq!(&text[span.start..span.end], "wert");
    let span = tree.at_pointer("/list/1/k/too/far").unwrap();
    assert_eq!(&text[span.start..span.end], "\"ö\"");
    let span = tree.at_pointer("/list").unwrap();
    assert_eq!(&text[span.start..span.end], "list");
    assert_eq!(tree.at_pointer(""), None);
}

#[test]
fn nesting_is_bounded_at_the_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX)).is_ok());
    let broken = parse(&nested(DEPTH_MAX + 1)).unwrap_err();
    assert!(broken.message.contains("nested"), "{broken:?}");
    assert!(parse(&nested(10_000)).is_err());
    let by_alias = format!(
        "- &a {}\n- {}*a{}\n",
        nested(40),
        "[".repeat(23),
        "]".repeat(23)
    );
    assert!(parse(&by_alias).is_ok());
    let by_alias = format!(
        "- &a {}\n- {}*a{}\n",
        nested(40),
        "[".repeat(24),
        "]".repeat(24)
    );
    assert!(parse(&by_alias).is_err());
}

#[test]
fn aliases_can_not_grow_without_bound() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let copies = vec![format!("*a{}", level - 1); 9].join(", ");
        let _infallible = writeln!(bomb, "a{level}: &a{level} [{copies}]");
    }
    let broken = parse(&bomb).unwrap_err();
    assert!(broken.message.contains("values"), "{broken:?}");
    assert!(parse("a: &a [*a]").is_err());
}

#[test]
fn values_are_counted_at_the_limit() {
    // The list, its first item, which is counted once more as an anchor, and its copies.
    let list = |values: usize| {
        let copies = (values - 1) / 1000 - 2;
        let rest = (values - 1) % 1000;
        format!(
            "[&a [{}],{}{}]",
            "1,".repeat(999),
            "*a,".repeat(copies),
            "1,".repeat(rest)
        )
    };
    assert!(parse(&list(NODES_MAX)).is_ok());
    assert!(parse(&list(NODES_MAX + 1)).is_err());
}

#[test]
fn text_is_bounded_at_the_limit() {
    let text = |bytes: usize| format!("#{}", "x".repeat(bytes - 1));
    assert!(parse(&text(TEXT_BYTES_MAX)).is_ok());
    assert!(parse(&text(TEXT_BYTES_MAX + 1)).is_err());
}

#[test]
fn what_has_no_meaning_is_refused() {
    for bad in [
        "a: !!str 1",
        "{[a]: 1}",
        "a: 1\n---\nb: 2",
        "a: [1",
        "a: 1\n b: 2",
        "a:\n\tb: 1",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
