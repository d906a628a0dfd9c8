//! What objects of a kind have, so that a filter can be refused before it is asked.

use super::{Expression, FilterError, Selector, Test};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Truth,
    /// A list of these.
    List(&'static Self),
    /// A map from any text to these.
    Map(&'static Self),
    /// An object with these fields and no others.
    Object(&'static [(&'static str, Self)]),
}

/// A filter that fits its objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked(Expression);

impl Checked {
    pub(super) const fn new(expression: Expression) -> Self {
        Self(expression)
    }

    pub(super) const fn expression(&self) -> &Expression {
        &self.0
    }
}

/// Names that `any` and `all` have bound, the innermost last.
type Bound<'a> = Vec<(&'a str, Shape)>;

pub(super) fn check(expression: &Expression, shape: &'static Shape) -> Result<(), FilterError> {
    check_within(expression, *shape, &mut Vec::new())
}

fn check_within<'a>(
    expression: &'a Expression,
    root: Shape,
    bound: &mut Bound<'a>,
) -> Result<(), FilterError> {
    match expression {
        Expression::Any(parts) | Expression::All(parts) => parts
            .iter()
            .try_for_each(|part| check_within(part, root, bound)),
        Expression::Not(inner) => check_within(inner, root, bound),
        Expression::Test {
            selector,
            test,
            is_negated,
        } => {
            let shape = find(selector, root, bound)?;
            check_test(selector, test, shape, test.operator(*is_negated))
        }
        Expression::Each {
            selector,
            names: (first, second),
            body,
            ..
        } => {
            let (key, element) = match find(selector, root, bound)? {
                Shape::List(element) => (Shape::Number, *element),
                Shape::Map(element) => (Shape::Text, *element),
                Shape::Text | Shape::Number | Shape::Truth | Shape::Object(_) => {
                    return Err(FilterError::Operator {
                        operator: "as",
                        selector: selector.to_string(),
                    });
                }
            };
            let before = bound.len();
            match (second, key) {
                (Some(second), _) => bound.extend([(first.as_str(), key), (second, element)]),
                (None, Shape::Text) => bound.push((first, key)),
                (None, _) => bound.push((first, element)),
            }
            let checked = check_within(body, root, bound);
            bound.truncate(before);
            checked
        }
    }
}

fn find(selector: &Selector, root: Shape, bound: &Bound<'_>) -> Result<Shape, FilterError> {
    let unknown = || FilterError::Selector {
        selector: selector.to_string(),
    };
    let mut names = selector.names().iter();
    let first = selector.names().first();
    let known = bound.iter().rev();
    let mut shape = root;
    let bound_to = known
        .filter(|(name, _)| *name != "_")
        .find(|(name, _)| first.is_some_and(|first| first == name));
    if let Some((_, found)) = bound_to {
        shape = *found;
        names.next();
    }
    for name in names {
        shape = match shape {
            Shape::Object(fields) => {
                let field = fields.iter().find(|(field, _)| field == name);
                field.map(|(_, shape)| *shape).ok_or_else(unknown)?
            }
            Shape::Map(element) => *element,
            Shape::Text | Shape::Number | Shape::Truth | Shape::List(_) => return Err(unknown()),
        };
    }
    Ok(shape)
}

fn check_test(
    selector: &Selector,
    test: &Test,
    shape: Shape,
    operator: &'static str,
) -> Result<(), FilterError> {
    let bad_value = |value: &str| FilterError::Value {
        value: value.to_owned(),
        selector: selector.to_string(),
    };
    let is_fine = match (test, shape) {
        (Test::Equal(value), Shape::Number) => match value.parse::<f64>() {
            Ok(_) => true,
            Err(_) => return Err(bad_value(value)),
        },
        (Test::Equal(value), Shape::Truth) => match truth(value) {
            Some(_) => true,
            None => return Err(bad_value(value)),
        },
        (Test::Equal(_) | Test::Matches(_), Shape::Text)
        | (
            Test::Contains(_),
            Shape::Text | Shape::Map(_) | Shape::List(Shape::Text | Shape::Number | Shape::Truth),
        )
        | (Test::Empty, Shape::Text | Shape::Map(_) | Shape::List(_))
        | (Test::Nil, Shape::Map(_) | Shape::List(_) | Shape::Object(_)) => true,
        (Test::Equal(_), Shape::List(_) | Shape::Map(_) | Shape::Object(_))
        | (Test::Contains(_), Shape::Number | Shape::Truth | Shape::Object(_) | Shape::List(_))
        | (
            Test::Matches(_),
            Shape::Number | Shape::Truth | Shape::Object(_) | Shape::List(_) | Shape::Map(_),
        )
        | (Test::Empty, Shape::Number | Shape::Truth | Shape::Object(_))
        | (Test::Nil, Shape::Text | Shape::Number | Shape::Truth) => false,
    };
    if is_fine {
        return Ok(());
    }
    Err(FilterError::Operator {
        operator,
        selector: selector.to_string(),
    })
}

/// The words that Go reads as true and false.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
