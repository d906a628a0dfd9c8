//! A text taken apart into objects, nothing of them read yet.

use std::{collections::HashSet, sync::Arc};

use portolan_model::{Name, Problem};
use serde_json::Value as Json;

use crate::{
    Finding, ObjectKind, ObjectRef,
    report::{Document, Report},
    suggest::did_you_mean,
    table::{Default, FILE, Field, Shape},
    tree::{self, Member, Node, Span, Value},
};

/// The objects of a file.
#[derive(Debug)]
pub struct RawObjects {
    pub(crate) objects: Vec<RawObject>,
    /// Findings about single objects, like one that is given twice.
    pub(crate) findings: Vec<Finding>,
}

/// An object that is kept in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredObject {
    /// Its id in the store.
    pub id: Arc<str>,
    /// What it is.
    pub object: ObjectRef,
    /// What it says; the environment is not put in.
    pub value: Json,
}

/// An object as it stands in a document.
#[derive(Debug)]
pub(crate) struct RawObject {
    pub(crate) object: ObjectRef,
    pub(crate) document: Document,
    /// Where its name stands.
    pub(crate) at: Span,
    pub(crate) node: Node,
}

impl RawObject {
    /// Nobody wrote it.
    pub(crate) const fn is_default(&self) -> bool {
        matches!(self.document, Document::Default)
    }
}

impl From<StoredObject> for RawObject {
    fn from(stored: StoredObject) -> Self {
        Self {
            object: stored.object,
            document: Document::Stored(stored.id),
            at: Span::default(),
            node: Node::from_json(&stored.value),
        }
    }
}

/// What an object of a kind looks like; none if there is no such section.
pub(crate) fn shape_of(object: &ObjectRef) -> Option<Shape> {
    let field = FILE.fields.iter().find(|field| match named(field) {
        Some((kind, _)) => kind == object.kind,
        None => object.kind == ObjectKind::Section && field.name == object.name.as_str(),
    })?;
    Some(named(field).map_or(field.shape, |(_, shape)| shape))
}

/// The kind and the shape of the objects that a field of the file has many of.
fn named(field: &Field) -> Option<(ObjectKind, Shape)> {
    let kind = match field.name {
        "listeners" => ObjectKind::Listener,
        "routes" => ObjectKind::Route,
        "upstreams" => ObjectKind::Upstream,
        "sources" => ObjectKind::Source,
        _ => return None,
    };
    match field.shape {
        Shape::Map { of, .. } => Some((kind, *of)),
        Shape::Leaf(_)
        | Shape::List { .. }
        | Shape::Object(_)
        | Shape::Either(..)
        | Shape::Plug(_) => None,
    }
}

/// Name of the listener that is there when none is configured.
const DEFAULT_LISTENER: &str = "gateway";

impl RawObjects {
    /// Takes a text apart. `file` is its name for people.
    ///
    /// # Errors
    /// Findings about the file as a whole: it is not YAML, or has parts that nobody
    /// knows. Nothing of it can be used then.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let mut report = Report::new(Document::File(file.into()));
        let tree = match tree::parse(text) {
            Ok(tree) => tree,
            Err(broken) => {
                let problem = Problem::new("", broken.message);
                let help = broken.help.map(str::to_owned);
                report.error(broken.span, Problem { help, ..problem });
                return Err(report.findings);
            }
        };
        let mut splitter = Splitter {
            report,
            objects: Vec::new(),
        };
        splitter.split(tree);
        let Splitter { report, objects } = splitter;
        if report
            .findings
            .iter()
            .any(|finding| finding.object.is_none())
        {
            return Err(report.findings);
        }
        Ok(Self {
            objects,
            findings: report.findings,
        })
    }
}

struct Splitter {
    report: Report,
    objects: Vec<RawObject>,
}

impl Splitter {
    fn split(&mut self, tree: Node) {
        let is_null = tree.is_null();
        let members = match tree.value {
            Value::Map(members) => members,
            Value::Scalar(_) if is_null => Vec::new(),
            Value::Scalar(_) | Value::List(_) => {
                let problem =
                    Problem::new("", "a configuration is a map: `routes:`, `upstreams:`, ...");
                return self.report.error(tree.span, problem);
            }
        };
        let mut seen = HashSet::new();
        for member in members {
            let Some(field) = FILE.field(&member.key) else {
                self.unknown(&member);
                continue;
            };
            if !seen.insert(field.name) {
                let problem = Problem::new("", format!("`{}` is given twice", member.key));
                self.report.error(
                    member.key_span,
                    problem.with_help("put both parts together"),
                );
                continue;
            }
            match named(field) {
                Some((kind, _)) => self.split_map(kind, member),
                None => self.section(field, member),
            }
        }
        for field in FILE
            .fields
            .iter()
            .filter(|field| !seen.contains(field.name))
        {
            self.absent(field);
        }
    }

    fn unknown(&mut self, member: &Member) {
        let known = || FILE.fields.iter().map(|field| field.name);
        let help = did_you_mean(&member.key, known())
            .unwrap_or_else(|| format!("known are: {}", known().collect::<Vec<_>>().join(", ")));
        let problem = Problem::new("", format!("unknown section `{}`", member.key));
        self.report.error(member.key_span, problem.with_help(help));
    }

    fn split_map(&mut self, kind: ObjectKind, member: Member) {
        let is_null = member.node.is_null();
        let objects = match member.node.value {
            Value::Map(objects) => objects,
            Value::Scalar(_) if is_null => return,
            Value::Scalar(_) | Value::List(_) => {
                let problem = Problem::new("", format!("`{}` is a map of names", member.key));
                let help = format!("write the name of each {} as a key", kind.word());
                return self.report.error(member.key_span, problem.with_help(help));
            }
        };
        let mut seen = HashSet::new();
        for Member {
            key,
            key_span,
            node,
            ..
        } in objects
        {
            let name = match Name::parse(&key) {
                Ok(name) => name,
                Err(error) => {
                    let problem = Problem::new("", format!("a bad name: {error}"));
                    self.report.error(key_span, problem);
                    continue;
                }
            };
            let object = ObjectRef::new(kind, name);
            if seen.insert(object.clone()) {
                self.push(object, key_span, node);
            } else {
                self.report.object = Some(object.clone());
                let problem = Problem::new("", format!("{object} is given twice")).with_help(
                    "rename one of the two; names that differ only by case are the same",
                );
                self.report.error(key_span, problem);
                self.report.object = None;
            }
        }
    }

    fn push(&mut self, object: ObjectRef, at: Span, node: Node) {
        let document = self.report.document.clone();
        self.objects.push(RawObject {
            object,
            document,
            at,
            node,
        });
    }

    fn section(&mut self, field: &Field, member: Member) {
        let object = ObjectRef::new(ObjectKind::Section, section_name(field));
        self.push(object, member.key_span, member.node);
    }

    fn absent(&mut self, field: &Field) {
        let object = match (field.default, field.name) {
            (Default::Empty, _) => ObjectRef::new(ObjectKind::Section, section_name(field)),
            (_, "listeners") => ObjectRef::new(ObjectKind::Listener, default_listener()),
            _ => return,
        };
        let node = Node::map(Span::default(), Vec::new());
        self.objects.push(RawObject {
            object,
            document: Document::Default,
            at: Span::default(),
            node,
        });
    }
}

#[expect(clippy::expect_used, reason = "a constant of letters is a name")]
fn default_listener() -> Name {
    Name::parse(DEFAULT_LISTENER).expect("letters are a name")
}

#[expect(clippy::expect_used, reason = "the table's own words are names")]
fn section_name(field: &Field) -> Name {
    Name::parse(field.name).expect("words of the table have letters and underscores")
}
