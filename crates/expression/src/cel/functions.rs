//! The functions that a program may call.

use super::{
    stop::{Answer, Stop},
    value::{Text, Value, to_double},
};

/// A function. One with a receiver has it as its first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Double,
    Text,
}

impl Function {
    pub(super) const ALL: [Self; 7] = [
        Self::Size,
        Self::Contains,
        Self::StartsWith,
        Self::EndsWith,
        Self::Int,
        Self::Double,
        Self::Text,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
        }
    }

    /// How many arguments it takes, the receiver included.
    pub(super) const fn arguments(self) -> usize {
        match self {
            Self::Size | Self::Int | Self::Double | Self::Text => 1,
            Self::Contains | Self::StartsWith | Self::EndsWith => 2,
        }
    }

    /// Whether it may be called as `of.name(..)`.
    pub(super) const fn takes_receiver(self) -> bool {
        match self {
            Self::Size | Self::Contains | Self::StartsWith | Self::EndsWith => true,
            Self::Int | Self::Double | Self::Text => false,
        }
    }

    /// Whether it may be called as `name(..)`.
    pub(super) const fn is_global(self) -> bool {
        match self {
            Self::Size | Self::Int | Self::Double | Self::Text => true,
            Self::Contains | Self::StartsWith | Self::EndsWith => false,
        }
    }
}

/// What a function of one value comes to; `None` if it says nothing about such values.
pub(super) fn convert<'a>(function: Function, of: &Value<'a>) -> Option<Answer<'a>> {
    let int = |count: usize| {
        i64::try_from(count)
            .map(Value::Int)
            .map_err(|_| Stop::Absent)
    };
    Some(match (function, of) {
        (Function::Size, Value::Text(text)) => int(text.as_str().chars().count()),
        (Function::Size, Value::List(list)) => int(list.len()),
        (Function::Size, Value::Map(map)) => int(map.len()),
        (Function::Int, Value::Int(_))
        | (Function::Double, Value::Double(_))
        | (Function::Text, Value::Text(_)) => Ok(of.clone()),
        (Function::Int, Value::Double(double)) => truncated(*double),
        (Function::Int, Value::Text(text)) => {
            let int = text.as_str().parse().map(Value::Int);
            int.map_err(|_| Stop::Absent)
        }
        (Function::Double, Value::Int(int)) => Ok(Value::Double(to_double(*int))),
        (Function::Double, Value::Text(text)) => {
            let double = text.as_str().parse().map(Value::Double);
            double.map_err(|_| Stop::Absent)
        }
        (Function::Text, Value::Int(int)) => Ok(written(&int.to_string())),
        (Function::Text, Value::Double(double)) => Ok(written(&double.to_string())),
        (Function::Text, Value::Bool(bool)) => Ok(written(&bool.to_string())),
        _ => return None,
    })
}

fn written<'a>(text: &str) -> Value<'a> {
    Value::Text(Text::Made(text.into()))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the fraction is to be cut off, and the range is checked first"
)]
fn truncated<'a>(double: f64) -> Answer<'a> {
    // Two to the 63rd is the first that is too large; NaN is in no range.
    let limit = 9_223_372_036_854_775_808.0;
    if (-limit..limit).contains(&double) {
        Ok(Value::Int(double as i64))
    } else {
        Err(Stop::Absent)
    }
}
