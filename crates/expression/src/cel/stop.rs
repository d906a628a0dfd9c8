//! Why an expression comes to nothing.

use super::{
    expression::{Node, Operator},
    value::Value,
};

/// Why there is no value.
#[derive(Debug)]
pub(super) enum Stop {
    /// This object has no answer: something is not there, or out of range.
    Absent,
    /// No object of this kind has one.
    Mistake { column: usize, message: String },
    /// The steps are spent.
    Steps,
}

/// A value, or why there is none.
pub(super) type Answer<'a> = Result<Value<'a>, Stop>;

/// A value that is not there says nothing about the program; any other does.
pub(super) fn unfit<const N: usize>(node: &Node, what: &str, values: [&Value<'_>; N]) -> Stop {
    if values.iter().any(|value| matches!(value, Value::Null)) {
        return Stop::Absent;
    }
    Stop::Mistake {
        column: node.column,
        message: format!("there is no {what}"),
    }
}

pub(super) fn no_overload(
    node: &Node,
    operator: Operator,
    (a, b): (&Value<'_>, &Value<'_>),
) -> Stop {
    let what = format!("{} {} {}", a.kind(), operator.as_str(), b.kind());
    unfit(node, &what, [a, b])
}

pub(super) fn wanted(node: &Node, what: &str, value: &Value<'_>) -> Stop {
    if matches!(value, Value::Null) {
        return Stop::Absent;
    }
    Stop::Mistake {
        column: node.column,
        message: format!(
            "{what} is expected here, not a value of kind {}",
            value.kind()
        ),
    }
}
