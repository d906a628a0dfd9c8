//! Whether a filter chooses an object.

use serde_json::Value;

use super::{Expression, Quantifier, Selector, Test, shape::truth};

/// What a selector found.
#[derive(Clone, Copy)]
enum Found<'a> {
    Json(&'a Value),
    Key(&'a str),
    Index(usize),
    Nothing,
}

type Bound<'a> = Vec<(&'a str, Found<'a>)>;

pub(super) fn evaluate(expression: &Expression, object: &Value) -> bool {
    holds(expression, object, &mut Vec::new())
}

fn holds<'a>(expression: &'a Expression, object: &'a Value, bound: &mut Bound<'a>) -> bool {
    match expression {
        Expression::Any(parts) => parts.iter().any(|part| holds(part, object, bound)),
        Expression::All(parts) => parts.iter().all(|part| holds(part, object, bound)),
        Expression::Not(inner) => !holds(inner, object, bound),
        Expression::Test {
            selector,
            test,
            is_negated,
        } => passes(test, find(selector, object, bound)) != *is_negated,
        Expression::Each {
            quantifier,
            selector,
            names: (first, second),
            body,
        } => {
            let elements: Vec<(Found<'a>, Found<'a>, bool)> = match find(selector, object, bound) {
                Found::Json(Value::Array(list)) => list
                    .iter()
                    .enumerate()
                    .map(|(index, element)| (Found::Index(index), Found::Json(element), false))
                    .collect(),
                Found::Json(Value::Object(map)) => map
                    .iter()
                    .map(|(key, element)| (Found::Key(key), Found::Json(element), true))
                    .collect(),
                Found::Json(_) | Found::Key(_) | Found::Index(_) | Found::Nothing => Vec::new(),
            };
            let mut fulfils = |(key, element, is_map): (Found<'a>, Found<'a>, bool)| {
                let before = bound.len();
                match second {
                    Some(second) => bound.extend([(first.as_str(), key), (second, element)]),
                    None if is_map => bound.push((first, key)),
                    None => bound.push((first, element)),
                }
                let holds = holds(body, object, bound);
                bound.truncate(before);
                holds
            };
            match quantifier {
                Quantifier::Any => elements.into_iter().any(&mut fulfils),
                Quantifier::All => elements.into_iter().all(&mut fulfils),
            }
        }
    }
}

fn find<'a>(selector: &Selector, object: &'a Value, bound: &Bound<'a>) -> Found<'a> {
    let mut names = selector.names();
    let mut found = Found::Json(object);
    if let Some((first, rest)) = names.split_first() {
        let known = bound
            .iter()
            .rev()
            .filter(|(name, _)| *name != "_")
            .find(|(name, _)| name == first);
        if let Some((_, value)) = known {
            found = *value;
            names = rest;
        }
    }
    for name in names {
        found = match found {
            Found::Json(Value::Object(map)) => map.get(name).map_or(Found::Nothing, Found::Json),
            Found::Json(_) | Found::Key(_) | Found::Index(_) | Found::Nothing => Found::Nothing,
        };
    }
    if matches!(found, Found::Json(Value::Null)) {
        return Found::Nothing;
    }
    found
}

fn passes(test: &Test, found: Found<'_>) -> bool {
    match test {
        Test::Equal(wanted) => is_equal(wanted, found),
        Test::Contains(wanted) => match found {
            Found::Json(Value::String(given)) => given.contains(wanted),
            Found::Json(Value::Array(list)) => {
                list.iter().any(|one| is_equal(wanted, Found::Json(one)))
            }
            Found::Json(Value::Object(map)) => map.contains_key(wanted),
            Found::Key(key) => key.contains(wanted),
            Found::Json(_) | Found::Index(_) | Found::Nothing => false,
        },
        Test::Matches(pattern) => match found {
            Found::Json(Value::String(given)) => pattern.is_match(given),
            Found::Key(key) => pattern.is_match(key),
            Found::Json(_) | Found::Index(_) | Found::Nothing => false,
        },
        Test::Empty => match found {
            Found::Json(Value::String(given)) => given.is_empty(),
            Found::Json(Value::Array(list)) => list.is_empty(),
            Found::Json(Value::Object(map)) => map.is_empty(),
            Found::Key(key) => key.is_empty(),
            Found::Nothing => true,
            Found::Json(_) | Found::Index(_) => false,
        },
        Test::Nil => matches!(found, Found::Nothing),
    }
}

fn is_equal(wanted: &str, found: Found<'_>) -> bool {
    match found {
        Found::Json(Value::String(given)) => given == wanted,
        Found::Json(Value::Number(number)) => match (number.as_i64(), wanted.parse::<i64>()) {
            (Some(number), Ok(wanted)) => number == wanted,
            _ => wanted.parse::<f64>().ok() == number.as_f64(),
        },
        Found::Json(Value::Bool(given)) => truth(wanted) == Some(*given),
        Found::Key(key) => key == wanted,
        Found::Index(index) => wanted.parse() == Ok(index),
        Found::Json(Value::Null | Value::Array(_) | Value::Object(_)) | Found::Nothing => false,
    }
}
