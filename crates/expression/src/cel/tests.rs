//! Conditions hold where they should, and end within their limits.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;

const FIELDS: &[&str] = &[
    "id", "zone", "weight", "tags", "metadata", "share", "is_open",
];

fn object() -> Map<String, Json> {
    let object = json!({
        "id": "a-1", "weight": 50, "share": 0.5, "is_open": true, "tags": ["canary", "blue"],
        "metadata": {"team": "shop", "tier": "2", "a.b": "c"},
    });
    object.as_object().unwrap().clone()
}

fn ask(text: &str) -> Result<bool, Unanswered> {
    let program = Program::compile(text, FIELDS).unwrap_or_else(|bad| panic!("{text}: {bad}"));
    program.holds(&object(), &mut Budget::default())
}

fn refused(text: &str) -> BadProgram {
    Program::compile(text, FIELDS).expect_err(text)
}

#[test]
fn conditions_mean_what_the_specification_says() {
    for text in [
        // Literals.
        "true",
        "0x10 == 16 && -0x10 == -16",
        "1.5e1 == 15.0 && 2e-1 < 0.21",
        "-9223372036854775808 < 0",
        r#""a\x41\u00e9\101\n" == "aAéA\n""#,
        r#"r"a\n" == "a\\n" && R'"' == '"'"#,
        "'''a\n\"b''' == \"a\\n\\\"b\"",
        // Operators.
        "weight == 50 && share == 0.5 && weight == 50.0",
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 7 / 2 == 3 && 7 % 2 == 1 && 1 - 2 - 3 == -4",
        "1.0 / 4.0 == 0.25 && -weight == -50",
        "'a' + 'b' == 'ab' && [1] + [2] == [1, 2]",
        "weight > 49 && weight >= 50 && weight < 51 && weight <= 50 && weight != 1",
        "'abc' < 'abd' && false < true && 1 < 1.5",
        "weight > 10 ? is_open : false",
        "!(weight > 100) && !!is_open",
        "1 != 'a' && null == null && [] == []",
        // Members.
        "metadata.team == 'shop' && metadata['a.b'] == 'c' && tags[0] == 'canary'",
        "'canary' in tags && !('green' in tags) && 'team' in metadata && 2 in [1, 2]",
        "has(metadata.team) && !has(metadata.nothing)",
        // Functions.
        "size(tags) == 2 && tags.size() == 2 && size(metadata) == 3 && 'é'.size() == 1",
        "id.startsWith('a') && id.endsWith('1') && id.contains('-')",
        "id.matches('^a-[0-9]+$') && matches(id, 'a') && !id.matches('^b')",
        "int(metadata.tier) > 1 && int(2.9) == 2 && double('0.5') == share",
        "string(weight) == '50' && string(true) == 'true'",
        // Macros.
        "tags.exists(t, t == 'blue') && tags.all(t, t.size() >= 4)",
        "tags.exists_one(t, t.startsWith('c')) && !tags.existsOne(t, t != '')",
        "tags.filter(t, t != 'blue') == ['canary']",
        "tags.map(t, t.size()) == [6, 4] && tags.map(t, t == 'blue', t + '!') == ['blue!']",
        "metadata.exists(k, metadata[k] == 'shop')",
        "tags.exists(id, id == 'blue') // hides the field",
    ] {
        assert_eq!(ask(text), Ok(true), "{text}");
    }
}

#[test]
fn what_is_not_there_chooses_nothing() {
    for text in [
        "metadata.nothing == 'a'",
        "metadata.nothing != 'a'",
        "tags[7] == 'a'",
        "zone.startsWith('z')",
        "zone > 'a'",
        "zone == 'z1'",
        "int(id) > 0",
        "9223372036854775807 + weight > 0",
        "1 / (weight - 50) == 0",
    ] {
        assert_eq!(ask(text), Ok(false), "{text}");
    }
    for text in [
        "zone == null",
        "zone != 'z1'",
        // One part that decides is enough.
        "metadata.nothing == 'a' || is_open",
        "!(metadata.nothing == 'a' && !is_open)",
        "['x', 'team'].exists(k, metadata[k] == 'shop')",
    ] {
        assert_eq!(ask(text), Ok(true), "{text}");
    }
}

#[test]
fn mistakes_say_where_and_what() {
    for (text, column, part) in [
        ("", 1, "a value is expected here, not the end"),
        ("zon == 'a'", 1, "no field `zon`; there are id, zone"),
        ("is_open && wait > 1", 12, "no field `wait`"),
        ("namespace == 'a'", 1, "a word of the language"),
        ("weight = 5", 8, "begins no word"),
        (
            "weight == 'é' tags",
            15,
            "an operator or the end is expected here, not `tags`",
        ),
        ("(weight", 8, "`)` is expected here, not the end"),
        ("id == 'a", 7, "the closing ' is missing"),
        (r#"id == "a\q""#, 9, "not an escape"),
        ("id.begins('a')", 4, "no function `begins`"),
        ("startsWith(id)", 1, "no function `startsWith` here"),
        ("id.startsWith()", 4, "wrong number of values"),
        ("id.matches(zone)", 12, "a pattern stands in quotes"),
        ("id.matches('(')", 12, "not a regular expression"),
        ("has(zone)", 1, "`has` asks about a field"),
        (
            "tags.all('t', true)",
            10,
            "a name is expected here, not a text",
        ),
        ("b'abc' == id", 1, "no bytes"),
        ("weight == 50u", 11, "no unsigned"),
        ("9223372036854775808 > 1", 1, "too large"),
        ("{'a': 1}.a == 1", 1, "no maps of its own"),
        ("1 == 1e999", 6, "not a number that fits"),
    ] {
        let bad = refused(text);
        assert_eq!(bad.column, column, "{text}: {bad}");
        assert!(bad.message.contains(part), "{text}: {bad}");
    }
    for (text, column, part) in [
        (
            "weight",
            1,
            "a bool is expected here, not a value of kind int",
        ),
        ("weight.startsWith('a')", 1, "a string is expected here"),
        ("is_open && weight > 'a'", 19, "there is no int > string"),
        ("weight + 'a' == 'b'", 8, "there is no int + string"),
        ("weight.all(x, true)", 8, "a list or map is expected here"),
        ("id.team == 'a'", 4, "a map is expected here"),
        ("tags['a'] == 'b'", 5, "there is no list[string]"),
        ("'a' in id", 5, "there is no string in string"),
        ("size(weight) == 1", 1, "there is no size(int)"),
        ("1.5 % 1.0 == 0.5", 5, "there is no double % double"),
    ] {
        let Err(Unanswered::Mistake {
            column: at,
            message,
        }) = ask(text)
        else {
            panic!("{text}: {:?}", ask(text));
        };
        assert_eq!(at, column, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn texts_are_bounded() {
    let long = |bytes: usize| {
        let head = "id == '";
        format!("{head}{}'", "x".repeat(bytes - head.len() - 1))
    };
    assert!(Program::compile(&long(TEXT_BYTES_MAX), FIELDS).is_ok());
    assert!(refused(&long(TEXT_BYTES_MAX + 1)).message.contains("4096"));
}

#[test]
fn nesting_is_bounded_however_it_is_written() {
    let deep = [
        |n: usize| format!("{}true{}", "(".repeat(n - 1), ")".repeat(n - 1)),
        |n: usize| format!("{}true", "!".repeat(n - 1)),
        |n: usize| format!("{}[]{} == []", "[".repeat(n - 2), "]".repeat(n - 2)),
        |n: usize| format!("1{} == 0", " + 1".repeat(n - 2)),
        |n: usize| format!("metadata{} == 0", ".a".repeat(n - 2)),
        |n: usize| format!("tags{} == 0", "[0]".repeat(n - 2)),
        |n: usize| format!("{}1", "true ? 1 : ".repeat(n - 1)),
        |n: usize| format!("tags{} == []", ".filter(t, true)".repeat(n - 2)),
    ];
    for (index, deep) in deep.iter().enumerate() {
        let text = deep(DEPTH_MAX);
        Program::compile(&text, FIELDS).unwrap_or_else(|bad| panic!("{index} {text}: {bad}"));
        let bad = refused(&deep(DEPTH_MAX + 1));
        assert!(bad.message.contains("deeper than 32"), "{index}: {bad}");
    }
    // A long chain is not a deep one.
    let chain = vec!["is_open"; 300].join(" && ");
    assert_eq!(ask(&chain), Ok(true));
}

#[test]
fn patterns_are_bounded() {
    let patterns = |count: usize| vec!["id.matches('a')"; count].join(" && ");
    assert_eq!(ask(&patterns(PATTERNS_MAX)), Ok(true));
    assert!(
        refused(&patterns(PATTERNS_MAX + 1))
            .message
            .contains("more than 8")
    );
    assert!(
        refused("id.matches('(a{500}){500}')")
            .message
            .contains("too large")
    );
    assert!(
        refused("id.matches('a[ab]{3000}[^ab]')")
            .message
            .contains("too large")
    );
}

#[test]
fn a_pattern_costs_what_it_takes_to_search() {
    let steps = |pattern: &str, text: &str| {
        let program = Program::compile(&format!("metadata.t.matches(r'{pattern}')"), FIELDS);
        let object = json!({"metadata": {"t": text}});
        let mut budget = Budget::default();
        let answer = program
            .unwrap()
            .holds(object.as_object().unwrap(), &mut budget);
        answer.map(|_| budget.spent())
    };
    let text = "ab".repeat(24);
    let plain = steps("^[a-z]+-[0-9]+$", &text).unwrap();
    assert_eq!(plain, 3 + 3 * 16, "three times 16 bytes, and the nodes");
    assert_eq!(
        steps(r"^\w+$", &text),
        Ok(plain),
        "a class of Unicode is no more"
    );
    assert_eq!(steps("a[ab]{30}[^ab]", &text), Ok(3 + 3 * 64));
    assert_eq!(steps("a[ab]{600}[^ab]", &text), Ok(3 + 3 * 1024));
    // So much of a text, and one byte past it.
    let longest = usize::try_from((STEPS_MAX - 3) / 1024 * 16).unwrap();
    assert!(steps("a[ab]{600}[^ab]", &"a".repeat(longest)).is_ok());
    assert_eq!(
        steps("a[ab]{600}[^ab]", &"a".repeat(longest + 1)),
        Err(Unanswered::TooManySteps)
    );
}

#[test]
fn work_is_bounded() {
    let list = |length: usize| format!("[{}]", vec!["0"; length].join(","));
    let product = format!(
        "{0}.all(a, {0}.all(b, {0}.all(c, {0}.all(d, a + b + c + d == 0))))",
        list(100)
    );
    assert_eq!(ask(&product), Err(Unanswered::TooManySteps));
    let doubled = format!("['x']{} == []", ".map(t, t + t)".repeat(29));
    assert_eq!(
        ask(&doubled),
        Err(Unanswered::TooManySteps),
        "it would be half a gigabyte"
    );
    let lists = format!("['x']{} == []", ".map(t, [t, t] + [t, t])".repeat(9));
    assert_eq!(ask(&lists), Ok(false), "shared, not copied");
}

#[test]
fn steps_end_at_their_limit_and_not_before() {
    let program = Program::compile("weight == 50", FIELDS).unwrap();
    let mut budget = Budget::default();
    assert_eq!(program.holds(&object(), &mut budget), Ok(true));
    let cost = BUDGET_STEPS - budget.0;
    let mut exact = Budget(cost);
    assert_eq!(program.holds(&object(), &mut exact), Ok(true));
    let mut short = Budget(cost - 1);
    assert_eq!(
        program.holds(&object(), &mut short),
        Err(Unanswered::BudgetSpent)
    );
    assert_eq!(
        program.holds(&object(), &mut exact),
        Err(Unanswered::BudgetSpent)
    );
}

#[test]
fn steps_of_one_object_are_bounded_at_their_limit() {
    // Sized so that it takes all but a few of the steps.
    let inner = "[0,0,0,0,0,0,0,0,0,0]";
    let unit = format!("{inner}.all(a,{inner}.all(b,{inner}.all(c,true)))");
    let program = Program::compile(&unit, FIELDS).unwrap();
    let mut budget = Budget::default();
    assert_eq!(program.holds(&object(), &mut budget), Ok(true));
    let cost = BUDGET_STEPS - budget.0;
    let fits = usize::try_from((STEPS_MAX - 1) / cost).unwrap();
    let chain = |count: usize| vec![unit.as_str(); count].join("&&");
    assert_eq!(ask(&chain(fits)), Ok(true));
    assert_eq!(ask(&chain(fits + 1)), Err(Unanswered::TooManySteps));
}

fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(FIELDS.to_vec()).prop_map(str::to_owned),
        any::<i64>().prop_map(|int| int.to_string()),
        (-1e9..1e9_f64).prop_map(|double| format!("{double:?}")),
        "[ -~éß\n\t\"\\\\]{0,6}".prop_map(|text| format!("{text:?}").replace("\\'", "'")),
        Just("null".to_owned()),
        Just("true".to_owned()),
    ]
}

fn text() -> impl Strategy<Value = String> {
    leaf().prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec![
            "==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%", "&&", "||",
        ]);
        let two = (inner.clone(), operator, inner.clone());
        let each = prop::sample::select(vec!["all", "exists", "exists_one", "filter", "map"]);
        prop_oneof![
            two.prop_map(|(a, operator, b)| format!("({a}) {operator} ({b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner
                .clone()
                .prop_map(|a| format!("size({a}) == string(2)")),
            inner.clone().prop_map(|a| format!("({a}).contains('x')")),
            inner
                .clone()
                .prop_map(|a| format!("({a}).b[0].matches('y')")),
            inner.clone().prop_map(|a| format!("has(({a}).b)")),
            (inner.clone(), each, inner.clone())
                .prop_map(|(a, form, b)| format!("({a}).{form}(id, {b})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a}) ? ({b}) : [{c}, {c}]")),
        ]
    })
}

proptest! {
    #[test]
    fn programs_survive_being_written(text in text()) {
        if let Ok(program) = Program::compile(&text, FIELDS) {
            let written = program.to_string();
            let again = Program::compile(&written, FIELDS);
            prop_assert_eq!(again.as_ref(), Ok(&program), "{}", written);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_and_ends(text in "[a-z0-9()\\[\\]{}!?:.,&|=<>+*/%'\" -]{0,80}") {
        if let Ok(program) = Program::compile(&text, FIELDS) {
            let _answer = program.holds(&object(), &mut Budget::default());
        }
    }
}

#[test]
fn a_program_comes_to_a_value() {
    let object = json!({"a": 1, "tags": ["x", "y"], "meta": {"zone": "z1"}});
    let object = object.as_object().unwrap();
    for (text, value) in [
        ("meta.zone", json!("z1")),
        ("meta.none", json!(null)),
        ("a + 1", json!(2)),
        ("a > 0 ? \"yes\" : \"no\"", json!("yes")),
        ("tags.map(t, t + \"!\")", json!(["x!", "y!"])),
        ("meta", json!({"zone": "z1"})),
    ] {
        let program = Program::compile(text, &["a", "tags", "meta"]).unwrap();
        assert_eq!(program.value(object), Ok(value), "{text}");
    }
    let program = Program::compile("a + tags", &["a", "tags"]).unwrap();
    assert!(matches!(
        program.value(object),
        Err(Unanswered::Mistake { .. })
    ));
}

#[test]
fn a_value_whose_parts_are_shared_is_written_within_its_steps() {
    let object = json!({"x": [0]});
    let text = (0..9).fold("x".to_owned(), |text, n| {
        format!("[{text}].map(v{n}, [v{n}, v{n}, v{n}, v{n}])")
    });
    let program = Program::compile(&text, &["x"]).unwrap();
    let value = program.value(object.as_object().unwrap());
    assert_eq!(value, Err(Unanswered::TooManySteps));
}
