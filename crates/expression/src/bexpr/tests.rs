//! Claims about the filter language.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SHAPE: Shape = Shape::Object(&[
    ("Name", Shape::Text),
    ("Port", Shape::Number),
    ("Native", Shape::Truth),
    ("Tags", Shape::List(&Shape::Text)),
    ("Meta", Shape::Map(&Shape::Text)),
    (
        "Checks",
        Shape::List(&Shape::Object(&[
            ("Status", Shape::Text),
            ("Tags", Shape::List(&Shape::Text)),
        ])),
    ),
    ("Service", Shape::Object(&[("Kind", Shape::Text)])),
]);

fn object() -> Value {
    json!({
        "Name": "web",
        "Port": 80,
        "Native": true,
        "Tags": ["a", "v1.2"],
        "Meta": {"env": "prod", "a b": "c"},
        "Checks": [
            {"Status": "passing", "Tags": ["a"]},
            {"Status": "warning", "Tags": []},
        ],
        "Service": {"Kind": ""},
    })
}

fn chooses(text: &str) -> Result<bool, String> {
    let filter = Filter::parse(text).map_err(|error| error.to_string())?;
    let checked = filter.on(&SHAPE).map_err(|error| error.to_string())?;
    Ok(checked.chooses(&object()))
}

#[test]
fn conditions_mean_what_they_say() {
    let cases = [
        ("Name == web", true),
        ("Name==\"web\"", true),
        ("Name == `web`", true),
        ("Name != web", false),
        ("Port == 80", true),
        ("Port == 8080", false),
        ("Native == true and Native != false", true),
        ("a in Tags", true),
        ("\"b\" not in Tags", true),
        ("Tags contains a", true),
        ("Tags not contains `v1.2`", false),
        ("eb in Name", true),
        ("env in Meta", true),
        ("Meta.env == prod", true),
        ("Meta[\"a b\"] == c", true),
        ("\"/Meta/a b\" == c", true),
        ("Meta.other == x", false),
        ("Meta.other != x", true),
        ("Meta.other is empty", true),
        ("Meta is not empty and Service.Kind is empty", true),
        ("Tags is nil", false),
        ("Name matches `^w.b$`", true),
        ("Name matches `(?i)^WEB$`", true),
        ("Name not matches `b`", false),
        ("not Name == web", false),
        ("not (Name == web and Port == 81)", true),
        ("Name == x or Port == 80 and Native == true", true),
        ("(Name == x or Port == 80) and Native == false", false),
        ("any Tags as t { t matches `^v` }", true),
        ("all Tags as t { t matches `^v` }", false),
        ("any Tags as i, t { i == 1 and t == `v1.2` }", true),
        ("any Meta as k { k == env }", true),
        ("any Meta as k, v { v == prod }", true),
        ("all Meta as (_, v) { v is not empty }", true),
        ("any Checks as c { c.Status == warning }", true),
        ("all Checks as c { any c.Tags as t { t == a } }", false),
        (
            "any Checks as c { any c.Tags as t { t == a and Name == web } }",
            true,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(chooses(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_filter_is_refused_at_its_place() {
    let cases = [
        ("", "0: a selector or a value is expected"),
        ("Name", "4: an operator is expected"),
        ("Name ==", "7: a selector or a value"),
        ("Name == web and", "15: a selector or a value"),
        ("Name == web x", "12: `and`, `or` or the end"),
        ("(Name == web", "12: `)` is expected"),
        ("not a valid expression((", "6: an operator"),
        ("Name == \"web", "8: the closing \""),
        ("Name == `web", "8: the closing `"),
        ("Name == \"\\q\"", "9: not an escape"),
        ("Port == 08", "8: not a number"),
        ("Port == 1.2.3.4", "8: not a number"),
        ("Name = web", "5: '=' begins no word"),
        ("Name is web", "8: `empty` or `nil`"),
        ("Name matches `(`", "13: not a regular expression"),
        ("1 == 1", "0: a value is followed by `in`"),
        ("any Tags { x == y }", "9: `as` is expected"),
        ("any Tags as t { t == a", "22: `}` is expected"),
        ("Meta[env] == a", "5: a key in quotes"),
    ];
    for (text, expected) in cases {
        let error = Filter::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn what_objects_do_not_have_is_refused_even_without_objects() {
    let cases = [
        ("Nme == web", "Selector \"Nme\" is not valid"),
        ("Name.x == web", "is not valid"),
        ("Service.Nope is empty", "is not valid"),
        ("Tags.x == a", "is not valid"),
        ("Tags == a", "operator \"==\""),
        ("Service contains a", "operator \"contains\""),
        ("Port matches `8`", "operator \"matches\""),
        ("Port is empty", "operator \"is empty\""),
        ("any Name as n { n == a }", "operator \"as\""),
        ("Port == x", "value \"x\""),
        ("Native == maybe", "value \"maybe\""),
        ("any Tags as t { s == a }", "Selector \"s\""),
    ];
    for (text, expected) in cases {
        let error = chooses(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn length_depth_and_nesting_have_limits() {
    let padded = |bytes: usize| format!("{:bytes$}", "Name == web");
    assert!(Filter::parse(&padded(TEXT_BYTES_MAX)).is_ok());
    assert!(Filter::parse(&padded(TEXT_BYTES_MAX + 1)).is_err());
    let deep = |depth: usize| format!("{}Name == web", "not ".repeat(depth));
    assert!(Filter::parse(&deep(DEPTH_MAX - 1)).is_ok());
    assert!(Filter::parse(&deep(DEPTH_MAX)).is_err());
    let each = |count: usize| {
        let (open, close) = ("any Tags as t { ".repeat(count), " }".repeat(count));
        format!("{open}Name == web{close}")
    };
    assert!(Filter::parse(&each(QUANTIFIERS_MAX)).is_ok());
    assert!(Filter::parse(&each(QUANTIFIERS_MAX + 1)).is_err());
}

#[test]
fn patterns_are_small() {
    let filter = |count: usize| Filter::parse(&format!("Name matches `a[ab]{{{count}}}[^ab]`"));
    // The longest that fits, and one past it.
    let longest = (1..1000).take_while(|count| filter(*count).is_ok()).count();
    assert!((100..500).contains(&longest), "{longest}");
    let error = filter(longest + 1).unwrap_err().to_string();
    assert!(error.contains("too large"), "{error}");
    assert!(Filter::parse(r"Name matches `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.\w+$`").is_ok());
}

#[test]
fn words_of_the_language_can_be_names() {
    for text in [
        "any == a",
        "all in Tags",
        "\"/not/any\" == a",
        "any is empty",
    ] {
        let filter = Filter::parse(text).unwrap();
        assert_eq!(Filter::parse(&filter.to_string()), Ok(filter), "{text}");
    }
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z_/.0-9-]{0,6}", "[ -~\u{e9}\n\t\"`\\\\]{0,6}"]
}

fn selectors() -> impl Strategy<Value = Selector> {
    let first = prop_oneof!["[a-z][a-z0-9_]{0,4}", texts()];
    (first, prop::collection::vec(texts(), 0..3)).prop_map(|(first, rest)| {
        let names = std::iter::once(first).chain(rest).collect();
        Selector::new(names).unwrap()
    })
}

fn tests() -> impl Strategy<Value = Test> {
    prop_oneof![
        texts().prop_map(Test::Equal),
        texts().prop_map(Test::Contains),
        "[a-z.*]{0,4}".prop_filter_map("a pattern", |text| Pattern::new(&text).map(Test::Matches)),
        Just(Test::Empty),
        Just(Test::Nil),
    ]
}

fn tested() -> impl Strategy<Value = Expression> {
    (selectors(), tests(), any::<bool>()).prop_map(|(selector, test, is_negated)| {
        Expression::Test {
            selector,
            test,
            is_negated,
        }
    })
}

fn expressions() -> impl Strategy<Value = Expression> {
    let test = tested;
    // One level of quantifiers at most: a second one inside it is within the limit.
    let each = (selectors(), test(), "[a-z]{1,3}", any::<bool>()).prop_map(
        |(selector, body, name, is_any)| Expression::Each {
            quantifier: if is_any {
                Quantifier::Any
            } else {
                Quantifier::All
            },
            selector,
            names: (name, is_any.then(|| "_".to_owned())),
            body: Box::new(body),
        },
    );
    prop_oneof![test(), each].prop_recursive(4, 24, 3, |inner| {
        let many = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            many.clone().prop_map(Expression::Any),
            many.prop_map(Expression::All),
            inner.prop_map(|inner| Expression::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(expression in expressions()) {
        let filter = Filter::from(expression);
        let printed = filter.to_string();
        prop_assert_eq!(Filter::parse(&printed), Ok(filter), "{}", printed);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ -~]{0,60}") {
        if let Ok(Ok(filter)) = Filter::parse(&text).map(|filter| filter.on(&SHAPE)) {
            let _chosen = filter.chooses(&object());
        }
    }
}
