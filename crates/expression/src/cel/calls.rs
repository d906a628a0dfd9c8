//! Functions and macros, from their words to what they say.

use super::{
    PATTERNS_MAX,
    expression::{Each, Form, Kind, Node, Pattern},
    functions::Function,
    lex::bad,
    parse::{Parsed, Parser, RESERVED, node},
};

impl Parser<'_> {
    pub(super) fn function(&mut self, column: usize, name: &str) -> Parsed {
        if name == "has" {
            let of = self.expression()?;
            self.cursor.expect(")")?;
            return match of.kind {
                Kind::Select(of, field) => node(column, Kind::Has(of, field)),
                _ => Err(bad(column, "`has` asks about a field of a value: has(a.b)")),
            };
        }
        let arguments = self.list(")")?;
        if name == "matches" {
            return self.matches(column, arguments);
        }
        let found = Function::ALL
            .into_iter()
            .find(|function| function.as_str() == name && function.is_global());
        call(column, name, found, arguments)
    }

    /// What is called on a value, after the opening parenthesis.
    pub(super) fn method(&mut self, column: usize, of: Node, name: &str) -> Parsed {
        let name = if name == "existsOne" {
            Form::ExistsOne.as_str()
        } else {
            name
        };
        if let Some(form) = Form::ALL.into_iter().find(|form| form.as_str() == name) {
            return self.each(column, form, of);
        }
        let mut arguments = self.list(")")?;
        arguments.insert(0, of);
        if name == "matches" {
            return self.matches(column, arguments);
        }
        let found = Function::ALL
            .into_iter()
            .find(|function| function.as_str() == name && function.takes_receiver());
        call(column, name, found, arguments)
    }

    fn each(&mut self, column: usize, form: Form, over: Node) -> Parsed {
        let at = self.cursor.column();
        let name = self.selector()?;
        if RESERVED.contains(&name.as_str()) {
            return Err(bad(at, format!("`{name}` is a word of the language")));
        }
        self.cursor.expect(",")?;
        self.names.push(name.clone());
        let mut body = self.expression()?;
        let mut over = over;
        let mut form = form;
        if form == Form::Map && self.cursor.take(",") {
            // Of those elements only that pass the first.
            let name = name.clone();
            let filter = Each {
                form: Form::Filter,
                over,
                name,
                body,
            };
            over = node(column, Kind::Each(Box::new(filter)))?;
            form = Form::Map;
            body = self.expression()?;
        }
        self.names.pop();
        self.cursor.expect(")")?;
        let each = Each {
            form,
            over,
            name,
            body,
        };
        node(column, Kind::Each(Box::new(each)))
    }

    fn matches(&mut self, column: usize, arguments: Vec<Node>) -> Parsed {
        let Ok([of, pattern]) = <[Node; 2]>::try_from(arguments) else {
            return Err(bad(column, "`matches` takes a text and a pattern"));
        };
        // One that is made on the way could be compiled any number of times.
        let Kind::Text(text) = &pattern.kind else {
            return Err(bad(pattern.column, "a pattern stands in quotes"));
        };
        self.patterns = self.patterns.saturating_add(1);
        if self.patterns > PATTERNS_MAX {
            let message = format!("more than {PATTERNS_MAX} patterns");
            return Err(bad(pattern.column, message));
        }
        let compiled = Pattern::new(text)
            .ok_or_else(|| bad(pattern.column, "not a regular expression, or too large"))?;
        node(column, Kind::Matches(Box::new(of), compiled))
    }
}

fn call(column: usize, name: &str, found: Option<Function>, arguments: Vec<Node>) -> Parsed {
    let Some(function) = found else {
        let names = Function::ALL.map(Function::as_str).join(", ");
        let message = format!("no function `{name}` here; there are {names}, matches, has");
        return Err(bad(column, message));
    };
    if arguments.len() != function.arguments() {
        return Err(bad(column, format!("wrong number of values for `{name}`")));
    }
    node(column, Kind::Call(function, arguments))
}
