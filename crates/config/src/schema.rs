//! The tables of fields as a JSON Schema (draft 2020-12).

use serde_json::{Map, Value as Json, json};

use crate::{
    Shelves,
    table::{Default, FILE, Field, Leaf, Object, Rule, Shape, Shelf, Word},
};

/// The schema of a configuration file with these shelves.
#[must_use]
pub fn schema(shelves: Shelves<'_>) -> Json {
    let writer = Writer { shelves };
    let mut definitions = Map::new();
    definitions.insert(
        "environment".to_owned(),
        json!({
            "description": "Text with `${env:NAME}` or `${env:NAME:-default}` in it.",
            "type": "string",
            "pattern": ENVIRONMENT,
        }),
    );
    for object in FILE.all().into_iter().skip(1) {
        definitions.insert(object.name.to_owned(), writer.object(object));
    }
    let mut root = Map::new();
    root.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("title".to_owned(), json!("Portolan configuration"));
    if let Json::Object(file) = writer.object(&FILE) {
        root.extend(file);
    }
    root.insert("$defs".to_owned(), Json::Object(definitions));
    Json::Object(root)
}

const ENVIRONMENT: &str = r"\$\{env:";
const NAME: &str = r"^[A-Za-z0-9._:-]{1,200}$";
const DURATION: &str = r"^([0-9]+(ms|s|m|h|d))+$|\$\{env:";
const SIZE: &str = r"^[0-9]+ ?(B|kB|KB|KiB|MB|MiB|GB|GiB)?$|\$\{env:";

struct Writer<'a> {
    shelves: Shelves<'a>,
}

impl Writer<'_> {
    fn object(&self, object: &Object) -> Json {
        let mut properties = Map::new();
        for field in object.fields {
            properties.insert(field.name.to_owned(), self.field(field));
        }
        let mut schema = Map::new();
        schema.insert("description".to_owned(), json!(object.doc));
        schema.insert("type".to_owned(), json!("object"));
        schema.insert("properties".to_owned(), Json::Object(properties));
        schema.insert("additionalProperties".to_owned(), json!(false));
        let is_required = |field: &&Field| matches!(field.default, Default::Required);
        let required: Vec<_> = object
            .fields
            .iter()
            .filter(is_required)
            .map(|field| field.name)
            .collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if !object.rules.is_empty() {
            schema.insert(
                "allOf".to_owned(),
                object.rules.iter().copied().map(rule).collect(),
            );
        }
        Json::Object(schema)
    }

    fn field(&self, field: &Field) -> Json {
        let mut schema = Map::new();
        schema.insert("description".to_owned(), json!(field.doc));
        if let Json::Object(shape) = self.shape(field.shape) {
            schema.extend(shape);
        }
        if let Some(default) = default(field) {
            schema.insert("default".to_owned(), default);
        }
        Json::Object(schema)
    }

    fn shape(&self, shape: Shape) -> Json {
        match shape {
            Shape::Leaf(leaf) => self::leaf(leaf),
            Shape::List { of, min } => {
                let item = self.shape(*of);
                let list = json!({"type": "array", "items": item, "minItems": min});
                json!({"anyOf": [list, item]})
            }
            Shape::Map { key, of } => {
                let mut map = json!({"type": "object", "additionalProperties": self.shape(*of)});
                if let (Leaf::Name, Some(map)) = (key, map.as_object_mut()) {
                    map.insert("propertyNames".to_owned(), json!({"pattern": NAME}));
                }
                map
            }
            Shape::Object(object) => json!({"$ref": format!("#/$defs/{}", object.name)}),
            Shape::Either(leaf, object) => {
                json!({"anyOf": [self::leaf(leaf), self.shape(Shape::Object(object))]})
            }
            Shape::Plug(of) => self.plug(of),
        }
    }

    fn plug(&self, of: Shelf) -> Json {
        let kinds = self.shelves.kinds(of);
        let mut properties = Map::new();
        for kind in &kinds {
            let mut schema = (kind.schema)();
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("description".to_owned(), json!(kind.summary));
            }
            properties.insert(kind.name.to_owned(), schema);
        }
        let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
        json!({"anyOf": [
            {"enum": names},
            {
                "type": "object",
                "properties": properties,
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]})
    }
}

fn leaf(leaf: Leaf) -> Json {
    let or_environment = |schema: Json| json!({"anyOf": [schema, {"$ref": "#/$defs/environment"}]});
    match leaf {
        Leaf::Flag => or_environment(json!({"type": "boolean"})),
        Leaf::True => or_environment(json!({"const": true})),
        Leaf::Count { min, max } => {
            or_environment(json!({"type": "integer", "minimum": min, "maximum": max}))
        }
        Leaf::Duration | Leaf::DurationOrZero => json!({"type": "string", "pattern": DURATION}),
        Leaf::Size => json!({"type": ["string", "integer"], "pattern": SIZE, "minimum": 1}),
        // Labels like `version: 2` are texts however they look.
        Leaf::Text => json!({"type": ["string", "number", "boolean"]}),
        Leaf::Word(words) => or_environment(json!({"enum": word_values(words)})),
        Leaf::Name
        | Leaf::Service
        | Leaf::Address
        | Leaf::Ip
        | Leaf::Network
        | Leaf::Host
        | Leaf::HostPattern
        | Leaf::HostPort
        | Leaf::Path
        | Leaf::Target
        | Leaf::Pattern
        | Leaf::Method
        | Leaf::FieldName
        | Leaf::Scope
        | Leaf::SecretHash
        | Leaf::File => json!({"type": "string", "minLength": 1}),
    }
}

/// The words, and `false` where an editor takes a bare `off` for it.
fn word_values(words: &[Word]) -> Vec<Json> {
    let texts = words.iter().map(|word| json!(word.text));
    let off = words
        .iter()
        .any(|word| word.text == "off")
        .then(|| json!(false));
    texts.chain(off).collect()
}

fn rule(rule: Rule) -> Json {
    let require = |name: &&str| json!({"required": [name]});
    match rule {
        Rule::ExactlyOne(names) => json!({"oneOf": names.iter().map(require).collect::<Vec<_>>()}),
        Rule::AtMostOne(names) => {
            let none = json!({"not": {"anyOf": names.iter().map(require).collect::<Vec<_>>()}});
            let mut choices: Vec<_> = names.iter().map(require).collect();
            choices.push(none);
            json!({"oneOf": choices})
        }
    }
}

fn default(field: &Field) -> Option<Json> {
    let is_plain = |shape| matches!(shape, Shape::Leaf(leaf) if leaf.is_plain());
    match field.default {
        Default::Required | Default::Absent => None,
        Default::Text(text) if is_plain(field.shape) => serde_json::from_str(text).ok(),
        Default::Text(text) => Some(json!(text)),
        Default::Texts(texts) => Some(json!(texts)),
        Default::Empty => Some(json!({})),
    }
}

#[cfg(test)]
mod tests;
