//! The tables of fields as a page for people.

use std::fmt::Write;

use serde_json::Value as Json;

use crate::{
    Shelves,
    outside::Kind,
    table::{Default, FILE, Field, Leaf, Object, Rule, Shape, Shelf},
};

const INTRODUCTION: &str = "\
# Configuration reference

Made from the tables that the parser reads by; do not edit. `portolan schema` prints
the same as a JSON Schema, `portolan init` writes a file to start from, and
`portolan check` tells everything that is wrong with one.

A file is YAML, and JSON is YAML. Where a list is wanted, a single item may stand for
a list of one. `${env:NAME}` and `${env:NAME:-default}` put a variable of the
environment into a value; `$${` stands for `${` itself. File names are relative to the
folder of the file.
";

/// The reference of the configuration, in Markdown.
#[must_use]
pub fn reference_markdown(shelves: Shelves<'_>) -> String {
    let mut page = INTRODUCTION.to_owned();
    for object in FILE.all() {
        object_section(&mut page, object);
    }
    for (shelf, title) in [
        (Shelf::Policies, "Policies"),
        (Shelf::Sources, "Sources"),
        (Shelf::Balancers, "Balancing algorithms"),
    ] {
        let _infallible = write!(page, "\n## {title}\n");
        for kind in shelves.kinds(shelf) {
            kind_section(&mut page, &kind);
        }
    }
    page
}

fn object_section(page: &mut String, object: &Object) {
    let _infallible = write!(page, "\n## {}\n\n{}\n", object.name, object.doc);
    if !object.fields.is_empty() {
        page.push_str("\n| field | value | default | meaning |\n|---|---|---|---|\n");
    }
    for field in object.fields {
        let value = cell(&value_of(field.shape));
        let default = cell(&default_of(field));
        let _infallible = writeln!(
            page,
            "| `{}` | {value} | {default} | {} |",
            field.name,
            cell(field.doc)
        );
    }
    for rule in object.rules {
        let (names, how) = match rule {
            Rule::ExactlyOne(names) => (names, "Exactly one"),
            Rule::AtMostOne(names) => (names, "At most one"),
        };
        let _infallible = write!(page, "\n{how} of `{}` is given.\n", names.join("`, `"));
    }
}

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn value_of(shape: Shape) -> String {
    match shape {
        Shape::Leaf(Leaf::Count { min, max }) => format!("a whole number from {min} to {max}"),
        Shape::Leaf(Leaf::Word(words)) => {
            let words: Vec<_> = words
                .iter()
                .map(|word| format!("`{}`: {}", word.text, word.doc))
                .collect();
            words.join("; ")
        }
        Shape::Leaf(leaf) => leaf.noun().to_owned(),
        Shape::List { of, .. } => format!("a list of: {}", value_of(*of)),
        Shape::Map { key, of } => format!("a map from {} to: {}", key.noun(), value_of(*of)),
        Shape::Object(object) => link(object),
        Shape::Either(leaf, object) => format!("{}, or {}", leaf.noun(), link(object)),
        Shape::Plug(Shelf::Policies) => "`{kind: settings}`, see [Policies](#policies)".to_owned(),
        Shape::Plug(Shelf::Sources) => "`{kind: settings}`, see [Sources](#sources)".to_owned(),
        Shape::Plug(Shelf::Balancers) => {
            "a word or `{kind: settings}`, see [Balancing algorithms](#balancing-algorithms)"
                .to_owned()
        }
    }
}

fn link(object: &Object) -> String {
    format!("[{0}](#{0})", object.name)
}

fn default_of(field: &Field) -> String {
    match field.default {
        Default::Required => "must be given".to_owned(),
        Default::Absent => String::new(),
        Default::Text(text) => format!("`{text}`"),
        Default::Texts(texts) => format!("`[{}]`", texts.join(", ")),
        Default::Empty => "its defaults".to_owned(),
    }
}

fn kind_section(page: &mut String, kind: &Kind) {
    let _infallible = write!(page, "\n### {}\n\n{}\n", kind.name, kind.summary);
    let schema = (kind.schema)();
    if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
        page.push_str("\n| setting | type | default | meaning |\n|---|---|---|---|\n");
        for (name, property) in properties {
            let text = |key: &str| match property.get(key) {
                None => String::new(),
                Some(Json::String(text)) => cell(text),
                Some(other) => cell(&other.to_string()),
            };
            let (kind, default, meaning) = (text("type"), text("default"), text("description"));
            let _infallible = writeln!(page, "| `{name}` | {kind} | {default} | {meaning} |");
        }
    }
    if !kind.mapping.is_empty() {
        page.push_str("\n| there | becomes |\n|---|---|\n");
        for (theirs, ours) in kind
            .mapping
            .lines()
            .filter_map(|line| line.split_once(" -> "))
        {
            let _infallible = writeln!(page, "| {} | {} |", cell(theirs), cell(ours));
        }
    }
    if !kind.example.is_empty() {
        let _infallible = write!(page, "\n```yaml\n{}\n```\n", kind.example.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::SHELVES;

    use super::*;

    #[test]
    fn every_field_and_every_kind_is_in_the_reference() {
        let page = reference_markdown(SHELVES);
        for object in FILE.all() {
            assert!(
                page.contains(&format!("\n## {}\n", object.name)),
                "{}",
                object.name
            );
            for field in object.fields {
                assert!(
                    page.contains(&format!("| `{}` |", field.name)),
                    "{}",
                    field.name
                );
            }
        }
        for kind in ["mark", "still", "latency"] {
            assert!(page.contains(&format!("\n### {kind}\n")), "{kind}");
        }
        assert!(
            page.contains("| `level` | integer |  | How much. |"),
            "{page}"
        );
        assert!(page.contains("\n| word | tags |\n"), "{page}");
    }
}
