//! A tree against the tables: unknown fields, shapes, defaults, the environment.
//!
//! What comes out has every field that has a default, single items in place of
//! lists are lists, and plugs are maps with one member. What was wrong stays in
//! place, marked unsound, so that a reader can still use what stands beside it.

use std::collections::HashSet;

use portolan_model::Problem;

use crate::{
    Shelves, leaf,
    report::Report,
    substitute::substitute,
    suggest::did_you_mean,
    table::{Default, Field, Leaf, Object, Rule, Shape, Shelf},
    tree::{Member, Node, Scalar, Span, Value},
};

/// Reads a variable of the environment, for whoever may.
pub(crate) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Checks the parts of one object.
pub(crate) struct Checker<'a> {
    pub(crate) shelves: Shelves<'a>,
    /// None for what comes from the store: who may write there may not read the environment.
    pub(crate) variable: Option<Variable<'a>>,
    pub(crate) report: &'a mut Report,
}

impl Checker<'_> {
    /// Checks `node`, whose key stands at `at`.
    pub(crate) fn check(&mut self, node: Node, shape: Shape, at: Span) -> Node {
        match shape {
            Shape::Leaf(leaf) => self.leaf(node, leaf, at),
            Shape::List { of, min } => self.list(node, *of, min, at),
            Shape::Map { key, of } => self.map(node, key, *of, at),
            Shape::Object(object) => self.object(node, object, at),
            Shape::Either(leaf, object) => match node.value {
                Value::Scalar(_) => self.leaf(node, leaf, at),
                Value::List(_) | Value::Map(_) => self.object(node, object, at),
            },
            Shape::Plug(of) => self.plug(node, of, at),
        }
    }

    fn refuse(&mut self, mut node: Node, span: Span, problem: Problem) -> Node {
        self.report.error(span, problem);
        node.is_sound = false;
        node
    }

    fn leaf(&mut self, mut node: Node, leaf: Leaf, at: Span) -> Node {
        if node.is_null() {
            return self.refuse(
                node,
                at,
                Problem::new("", "nothing is given").with_help(QUOTES),
            );
        }
        if !self.substitute(&mut node) {
            return node;
        }
        let span = node.span;
        let Value::Scalar(scalar) = &mut node.value else {
            let problem = Problem::new("", format!("a single value is needed: {}", leaf.noun()));
            return self.refuse(node, at, problem);
        };
        scalar.is_plain = leaf.is_plain();
        match leaf::check(leaf, &scalar.text) {
            Ok(()) => node,
            Err(problem) => self.refuse(node, span, problem),
        }
    }

    /// Puts the environment into a scalar. Says whether that went well.
    fn substitute(&mut self, node: &mut Node) -> bool {
        let (Value::Scalar(scalar), Some(variable)) = (&mut node.value, self.variable) else {
            return true;
        };
        match substitute(&scalar.text, variable) {
            Ok(None) => {}
            Ok(Some(text)) => scalar.written = Some(std::mem::replace(&mut scalar.text, text)),
            Err(problem) => {
                self.report.error(node.span, problem);
                node.is_sound = false;
            }
        }
        node.is_sound
    }

    fn list(&mut self, node: Node, of: Shape, min: usize, at: Span) -> Node {
        let span = node.span;
        let is_null = node.is_null();
        let items = match node.value {
            Value::List(items) => items,
            Value::Scalar(_) if is_null => Vec::new(),
            // One item may stand for a list of one.
            Value::Scalar(_) | Value::Map(_) => vec![node],
        };
        if items.len() < min {
            let problem =
                Problem::new("", "the list is empty").with_help("remove it, or give an item");
            return self.refuse(Node::list(span, items), at, problem);
        }
        let place = |item: &Node| if item.span.line == 0 { at } else { item.span };
        let check = |item: Node| {
            let at = place(&item);
            self.check(item, of, at)
        };
        Node::list(span, items.into_iter().map(check).collect())
    }

    /// The members of a map; a repeated key is an error and its first value stays.
    fn members(&mut self, node: Node, what: &str, at: Span) -> Result<Vec<Member>, Node> {
        let is_null = node.is_null();
        match node.value {
            Value::Map(members) => Ok(members),
            Value::Scalar(_) if is_null => Ok(Vec::new()),
            Value::Scalar(_) | Value::List(_) => {
                let problem = Problem::new("", format!("a map is needed: {what}"))
                    .with_help("a map is written as lines of `key: value`");
                let span = if matches!(node.value, Value::Scalar(_)) {
                    node.span
                } else {
                    at
                };
                Err(self.refuse(node, span, problem))
            }
        }
    }

    /// Whether the key stands here for the first time.
    fn is_first(&mut self, seen: &mut HashSet<String>, member: &Member) -> bool {
        let is_first = seen.insert(member.key.clone());
        if !is_first {
            let problem = Problem::new("", format!("`{}` is given twice", member.key))
                .with_help("remove one of the two");
            self.report.error(member.key_span, problem);
        }
        is_first
    }

    fn map(&mut self, node: Node, key: Leaf, of: Shape, at: Span) -> Node {
        let span = node.span;
        let members = match self.members(node, "names and values", at) {
            Ok(members) => members,
            Err(refused) => return refused,
        };
        let mut seen = HashSet::new();
        let mut is_sound = true;
        let mut checked = Vec::with_capacity(members.len());
        for member in members {
            if !self.is_first(&mut seen, &member) {
                is_sound = false;
                continue;
            }
            if let Err(problem) = leaf::check(key, &member.key) {
                self.report.error(member.key_span, problem);
                is_sound = false;
            }
            let node = self.check(member.node, of, member.key_span);
            checked.push(Member { node, ..member });
        }
        let mut map = Node::map(span, checked);
        map.is_sound &= is_sound;
        map
    }

    pub(crate) fn object(&mut self, node: Node, object: &'static Object, at: Span) -> Node {
        let span = node.span;
        let given = match self.members(node, object.doc_short(), at) {
            Ok(members) => members,
            Err(refused) => return refused,
        };
        let mut seen = HashSet::new();
        let mut is_sound = true;
        let mut members = Vec::with_capacity(object.fields.len());
        for member in given {
            if !self.is_first(&mut seen, &member) {
                is_sound = false;
                continue;
            }
            if let Some(field) = object.field(&member.key) {
                members.push(self.member(member, field));
            } else {
                self.unknown(&member, object);
                is_sound = false;
            }
        }
        is_sound &= self.rules(object, &seen, at);
        for field in object
            .fields
            .iter()
            .filter(|field| !seen.contains(field.name))
        {
            match self.absent(field, at) {
                Ok(Some(member)) => members.push(member),
                Ok(None) => {}
                Err(()) => is_sound = false,
            }
        }
        let mut map = Node::map(span, members);
        map.is_sound &= is_sound;
        map
    }

    fn member(&mut self, member: Member, field: &Field) -> Member {
        let node = self.check(member.node, field.shape, member.key_span);
        let is_default = is_default(&node, field.default);
        Member {
            node,
            is_default,
            ..member
        }
    }

    fn unknown(&mut self, member: &Member, object: &Object) {
        let known = object.fields.iter().map(|field| field.name);
        let problem = Problem::new("", format!("unknown field `{}`", member.key));
        let help = match did_you_mean(&member.key, known.clone()) {
            Some(help) => help,
            None if member.key == "<<" => {
                "maps are not merged here; an alias stands for a whole value".to_owned()
            }
            None => format!("known are: {}", known.collect::<Vec<_>>().join(", ")),
        };
        self.report.error(member.key_span, problem.with_help(help));
    }

    fn rules(&mut self, object: &Object, seen: &HashSet<String>, at: Span) -> bool {
        let mut is_kept = true;
        for rule in object.rules {
            let (names, needs_one) = match rule {
                Rule::ExactlyOne(names) => (names, true),
                Rule::AtMostOne(names) => (names, false),
            };
            let given: Vec<_> = names.iter().filter(|name| seen.contains(**name)).collect();
            let problem = match given.as_slice() {
                [] if needs_one => format!("one of `{}` is missing", names.join("`, `")),
                [first, second, ..] => format!("`{first}` and `{second}` exclude each other"),
                [] | [_] => continue,
            };
            self.report.error(at, Problem::new("", problem));
            is_kept = false;
        }
        is_kept
    }

    /// What stands for a field that is not given.
    fn absent(&mut self, field: &Field, at: Span) -> Result<Option<Member>, ()> {
        let node = match (field.default, field.shape) {
            (Default::Absent, _) => return Ok(None),
            (Default::Required, _) => {
                self.report
                    .error(at, Problem::new("", format!("`{}` is missing", field.name)));
                return Err(());
            }
            (Default::Text(text), Shape::Plug(_)) => {
                let none = Node::text(at, "null", true);
                Node::map(at, vec![Member::new(text.to_owned(), at, none)])
            }
            (Default::Text(text), _) => {
                let is_plain = matches!(field.shape, Shape::Leaf(leaf) if leaf.is_plain());
                Node::text(at, text, is_plain)
            }
            (Default::Texts(texts), _) => Node::list(
                at,
                texts
                    .iter()
                    .map(|text| Node::text(at, text, false))
                    .collect(),
            ),
            (Default::Empty, Shape::Object(object)) => {
                self.object(Node::map(at, Vec::new()), object, at)
            }
            (Default::Empty, _) => Node::map(at, Vec::new()),
        };
        let member = Member::new(field.name.to_owned(), at, node);
        Ok(Some(Member {
            is_default: true,
            ..member
        }))
    }

    fn plug(&mut self, node: Node, of: Shelf, at: Span) -> Node {
        let span = node.span;
        let what = of.noun();
        let member = match node.value {
            Value::Scalar(Scalar { ref text, .. }) if !node.is_null() => {
                Member::new(text.clone(), span, Node::text(span, "null", true))
            }
            Value::Map(members) => match <[Member; 1]>::try_from(members) {
                Ok([member]) => member,
                Err(members) => {
                    let problem = Problem::new(
                        "",
                        format!("one {what} is needed here, as `{{kind: settings}}`"),
                    );
                    let span = members.get(1).map_or(at, |second| second.key_span);
                    return self.refuse(Node::map(span, members), span, problem);
                }
            },
            Value::Scalar(_) | Value::List(_) => {
                let problem =
                    Problem::new("", format!("a {what} is needed, as `{{kind: settings}}`"));
                return self.refuse(node, at, problem);
            }
        };
        let known: Vec<_> = self
            .shelves
            .kinds(of)
            .iter()
            .map(|kind| kind.name)
            .collect();
        if !known.contains(&member.key.as_str()) {
            let problem = Problem::new("", format!("there is no {what} `{}`", member.key));
            let help = did_you_mean(&member.key, known.iter().copied())
                .unwrap_or_else(|| format!("known are: {}", known.join(", ")));
            let key_span = member.key_span;
            return self.refuse(
                Node::map(span, vec![member]),
                key_span,
                problem.with_help(help),
            );
        }
        let settings = self.settings(member.node);
        Node::map(
            span,
            vec![Member {
                node: settings,
                ..member
            }],
        )
    }

    /// Settings are checked by their kind; here only what holds for any tree.
    fn settings(&mut self, mut node: Node) -> Node {
        match node.value {
            Value::Scalar(_) => {
                self.substitute(&mut node);
                node
            }
            Value::List(items) => Node::list(
                node.span,
                items.into_iter().map(|item| self.settings(item)).collect(),
            ),
            Value::Map(members) => {
                let mut seen = HashSet::new();
                let mut is_sound = true;
                let mut checked = Vec::with_capacity(members.len());
                for member in members {
                    if self.is_first(&mut seen, &member) {
                        let node = self.settings(member.node);
                        checked.push(Member { node, ..member });
                    } else {
                        is_sound = false;
                    }
                }
                let mut map = Node::map(node.span, checked);
                map.is_sound &= is_sound;
                map
            }
        }
    }
}

const QUOTES: &str = "remove the field, or write `\"\"` for an empty text";

fn is_default(node: &Node, default: Default) -> bool {
    match (default, &node.value) {
        (Default::Text(text), Value::Scalar(scalar)) => {
            scalar.text == text && scalar.written.is_none()
        }
        (Default::Text(text), Value::Map(members)) => {
            matches!(members.as_slice(), [member] if member.key == text && member.node.is_null())
        }
        (Default::Texts(texts), Value::List(items)) => {
            let is_same = |(item, text): (&Node, &&str)| {
                matches!(&item.value, Value::Scalar(scalar)
                    if scalar.text == **text && scalar.written.is_none())
            };
            items.len() == texts.len() && items.iter().zip(texts).all(is_same)
        }
        (Default::Empty, Value::Map(members)) => members.iter().all(|member| member.is_default),
        (Default::Required | Default::Absent, _)
        | (Default::Text(_), Value::List(_))
        | (Default::Texts(_), Value::Scalar(_) | Value::Map(_))
        | (Default::Empty, Value::Scalar(_) | Value::List(_)) => false,
    }
}
