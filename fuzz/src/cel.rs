//! Conditions that people write into requests of the native API.

use portolan_expression::cel::{Budget, Program};

const FIELDS: &[&str] = &["id", "zone", "weight", "tags", "metadata", "is_open"];

/// Any text is refused or read; what was read prints as what it says, and has an answer, the
/// same one however often it is asked, within its steps.
///
/// # Panics
/// When it does not hold for `input`.
pub fn cel(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(program) = Program::compile(text, FIELDS) else {
        return;
    };
    let again = Program::compile(&program.to_string(), FIELDS).expect("a printed program is one");
    assert_eq!(again, program);
    let object = serde_json::json!({
        "id": "a-1", "weight": 50, "tags": ["a", "b"], "metadata": {"team": "shop", "n": "1"},
        "is_open": true,
    });
    let object = object.as_object().expect("it is written as one");
    let answer = program.holds(object, &mut Budget::default());
    let same = again.holds(object, &mut Budget::default());
    assert_eq!(answer.is_ok(), same.is_ok());
    if let (Ok(answer), Ok(same)) = (answer, same) {
        assert_eq!(answer, same);
    }
}
