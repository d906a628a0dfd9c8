//! Values, and what can be said of them.

use std::{cmp::Ordering, rc::Rc};

use serde_json::{Map, Value as Json};

use super::expression::Operator;

/// What an expression comes to; cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Text<'a>),
    List(List<'a>),
    Map(&'a Map<String, Json>),
}

/// A text of the object or the program, or one that was made.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Lent(&'a str),
    Made(Rc<str>),
}

/// A list of the object, or one that was made.
#[derive(Clone, Debug)]
pub(super) enum List<'a> {
    Lent(&'a [Json]),
    Made(Rc<[Value<'a>]>),
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Lent(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Lent(list) => list.len(),
            Self::Made(list) => list.len(),
        }
    }

    pub(super) fn element(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Lent(list) => list.get(index).map(Value::from),
            Self::Made(list) => list.get(index).cloned(),
        }
    }

    pub(super) fn to_vec(&self) -> Vec<Value<'a>> {
        match self {
            Self::Lent(list) => list.iter().map(Value::from).collect(),
            Self::Made(list) => list.to_vec(),
        }
    }
}

impl<'a> From<&'a Json> for Value<'a> {
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(bool) => Self::Bool(*bool),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Self::Int(int),
                (None, Some(double)) => Self::Double(double),
                (None, None) => Self::Null,
            },
            Json::String(text) => Self::Text(Text::Lent(text)),
            Json::Array(list) => Self::List(List::Lent(list)),
            Json::Object(map) => Self::Map(map),
        }
    }
}

impl Value<'_> {
    /// What it is, in the language's words.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// Which comes first; `None` if there is no order between them.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Double(b)) => to_double(*a).partial_cmp(b),
            (Self::Double(a), Self::Int(b)) => a.partial_cmp(&to_double(*b)),
            (Self::Text(a), Self::Text(b)) => Some(a.as_str().cmp(b.as_str())),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Whether there is an order between such values.
    pub(super) const fn has_order(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (
                Self::Int(_) | Self::Double(_),
                Self::Int(_) | Self::Double(_)
            ) | (Self::Text(_), Self::Text(_))
                | (Self::Bool(_), Self::Bool(_))
        )
    }

    /// Steps that reading it whole takes.
    pub(super) fn steps(&self) -> u64 {
        match self {
            Self::Text(text) => text_steps(text.as_str().len()),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::List(_)
            | Self::Map(_) => 1,
        }
    }
}

/// Steps of that many bytes.
pub(super) fn text_steps(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(16).max(1)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of both kinds are compared as doubles, as in the specification's JSON"
)]
pub(super) const fn to_double(int: i64) -> f64 {
    int as f64
}

/// A sum, difference, product, quotient or remainder; `None` if it is out of range.
pub(super) const fn whole(operator: Operator, a: i64, b: i64) -> Option<i64> {
    match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        Operator::Remainder => a.checked_rem(b),
        Operator::Equal
        | Operator::NotEqual
        | Operator::Less
        | Operator::AtMost
        | Operator::Greater
        | Operator::AtLeast
        | Operator::In => None,
    }
}

/// The same of doubles, which have no remainder.
pub(super) fn broken(operator: Operator, a: f64, b: f64) -> Option<f64> {
    Some(match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::Remainder
        | Operator::Equal
        | Operator::NotEqual
        | Operator::Less
        | Operator::AtMost
        | Operator::Greater
        | Operator::AtLeast
        | Operator::In => return None,
    })
}
