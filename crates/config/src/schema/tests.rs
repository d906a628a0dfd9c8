//! The schema against the parser: what one accepts, the other does.

use std::collections::HashSet;

use regex::Regex;
use serde_json::{Map, Value as Json};

use super::*;
use crate::{
    STARTING_FILE,
    tests::{EVERYTHING, SHELVES},
    tree,
};

/// As much of JSON Schema as the tables use. Gives the first place that does not fit.
fn check(root: &Json, schema: &Json, value: &Json, at: &str) -> Result<(), String> {
    let Json::Object(schema) = schema else {
        return Ok(());
    };
    for (word, rule) in schema {
        keyword(root, schema, (word, rule), value, at)?;
    }
    Ok(())
}

fn keyword(
    root: &Json,
    schema: &Map<String, Json>,
    (word, rule): (&str, &Json),
    value: &Json,
    at: &str,
) -> Result<(), String> {
    let fails = |why: &str| Err(format!("{at}: {word}: {why}: {value}"));
    let choices = || rule.as_array().unwrap().iter();
    let fitting = || {
        choices()
            .filter(|choice| check(root, choice, value, at).is_ok())
            .count()
    };
    let is_met = match word {
        "$schema" | "title" | "description" | "default" | "$defs" | "format" | "examples" => true,
        "$ref" => {
            let target = rule.as_str().unwrap().strip_prefix('#').unwrap();
            let target = root
                .pointer(target)
                .unwrap_or_else(|| panic!("{rule} leads nowhere"));
            return check(root, target, value, at);
        }
        "type" => {
            let types: Vec<_> = rule
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![rule.clone()]);
            types
                .iter()
                .any(|one| has_type(value, one.as_str().unwrap()))
        }
        "enum" => rule.as_array().unwrap().contains(value),
        "const" => rule == value,
        "anyOf" => fitting() > 0,
        "oneOf" => fitting() == 1,
        "allOf" => return choices().try_for_each(|choice| check(root, choice, value, at)),
        "not" => check(root, rule, value, at).is_err(),
        "required" => value
            .as_object()
            .is_none_or(|object| choices().all(|name| object.contains_key(name.as_str().unwrap()))),
        "properties" | "additionalProperties" | "propertyNames" => {
            return members(root, schema, (word, rule), value, at);
        }
        "items" => {
            let items = value.as_array().into_iter().flatten();
            return items
                .enumerate()
                .try_for_each(|(place, item)| check(root, rule, item, &format!("{at}/{place}")));
        }
        "minItems" => value
            .as_array()
            .is_none_or(|items| items.len() as u64 >= number(rule)),
        "minProperties" => value
            .as_object()
            .is_none_or(|o| o.len() as u64 >= number(rule)),
        "maxProperties" => value
            .as_object()
            .is_none_or(|o| o.len() as u64 <= number(rule)),
        "minLength" => value
            .as_str()
            .is_none_or(|text| text.len() as u64 >= number(rule)),
        "minimum" => value.as_u64().is_none_or(|given| given >= number(rule)),
        "maximum" => value.as_u64().is_none_or(|given| given <= number(rule)),
        "pattern" => value
            .as_str()
            .is_none_or(|text| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)),
        other => panic!("the schema has a word that this test does not know: {other}"),
    };
    if is_met {
        Ok(())
    } else {
        fails(&rule.to_string())
    }
}

fn number(rule: &Json) -> u64 {
    rule.as_u64().unwrap()
}

fn has_type(value: &Json, wanted: &str) -> bool {
    match value {
        Json::Null => wanted == "null",
        Json::Bool(_) => wanted == "boolean",
        Json::Number(number) => wanted == "number" || wanted == "integer" && !number.is_f64(),
        Json::String(_) => wanted == "string",
        Json::Array(_) => wanted == "array",
        Json::Object(_) => wanted == "object",
    }
}

fn members(
    root: &Json,
    schema: &Map<String, Json>,
    (word, rule): (&str, &Json),
    value: &Json,
    at: &str,
) -> Result<(), String> {
    let Json::Object(object) = value else {
        return Ok(());
    };
    let known = schema.get("properties").and_then(Json::as_object);
    for (name, member) in object {
        let at = format!("{at}/{name}");
        let known = known.and_then(|known| known.get(name));
        match (word, known) {
            ("properties", Some(known)) => check(root, known, member, &at)?,
            ("additionalProperties", None) if *rule == Json::Bool(false) => {
                return Err(format!("{at}: unknown"));
            }
            ("additionalProperties", None) => check(root, rule, member, &at)?,
            ("propertyNames", _) => check(root, rule, &Json::String(name.clone()), &at)?,
            _ => {}
        }
    }
    Ok(())
}

fn fits(text: &str) -> Result<(), String> {
    let schema = schema(SHELVES);
    let value = tree::parse(text).unwrap().to_json();
    check(&schema, &schema, &value, "")
}

#[test]
fn example_files_fit_the_schema() {
    fits(EVERYTHING).unwrap();
    fits(STARTING_FILE).unwrap();
    fits("{}").unwrap();
}

#[test]
fn what_the_parser_refuses_by_its_table_the_schema_refuses_too() {
    for bad in [
        "colour: red",
        "gateway: {workers: 0}",
        "gateway: {drain: 30}",
        "admin: {adress: 127.0.0.1:1}",
        "status: {}",
        "access_log: {format: xml}",
        "listeners: {a: {protocols: []}}",
        "listeners: {a: {limits: {head: 10 mb}}}",
        "listeners: {'a b': {}}",
        "routes: {a: {target: u, targets: [{upstream: u}]}}",
        "routes: {a: {match: {exact: /a, prefix: /a}}}",
        "routes: {a: {match: {headers: {a: {present: false}}}}}",
        "routes: {a: {policies: [{unknown: {}}]}}",
        "routes: {a: {policies: [{mark: {level: 1}, other: {}}]}}",
        "upstreams: {u: {}}",
        "upstreams: {u: {service: s, hosts: ['a:1']}}",
        "upstreams: {u: {service: s, balance: best}}",
        "sources: {s: {still: {colour: red}}}",
    ] {
        assert!(fits(bad).is_err(), "the schema accepts {bad}");
        assert!(
            !crate::tests::told(bad).is_empty(),
            "the parser accepts {bad}"
        );
    }
}

#[test]
fn names_of_objects_are_unique_and_fields_are_documented() {
    let mut seen = HashSet::new();
    let all = FILE.all();
    for object in &all {
        assert!(seen.insert(object.name), "{} is there twice", object.name);
        assert!(object.doc.ends_with('.'), "{}", object.name);
        for field in object.fields {
            assert!(field.doc.ends_with('.'), "{}.{}", object.name, field.name);
        }
        for inner in object
            .fields
            .iter()
            .filter_map(|field| field.shape.object())
        {
            let same = all
                .iter()
                .filter(|known| std::ptr::eq(**known, inner))
                .count();
            assert_eq!(same, 1, "{} has the name of another object", inner.name);
        }
    }
}

#[test]
fn every_default_is_a_value_of_its_field() {
    let schema = schema(SHELVES);
    for object in FILE.all() {
        for field in object.fields {
            let Some(default) = default(field) else {
                continue;
            };
            let writer = Writer { shelves: SHELVES };
            let fits = check(&schema, &writer.shape(field.shape), &default, field.name);
            assert_eq!(fits, Ok(()), "{}.{}", object.name, field.name);
        }
    }
}
