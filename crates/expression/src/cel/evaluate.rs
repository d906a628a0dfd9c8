//! What a program comes to for an object, step by step.

use std::rc::Rc;

use serde_json::{Map, Value as Json};

use super::{
    expression::{Each, Form, Kind, Node, Operator},
    functions::{Function, convert},
    stop::{Answer, Stop, no_overload, unfit, wanted},
    value::{List, Text, Value, broken, text_steps, whole},
};

/// Whether the program holds, and the steps that it took.
pub(super) fn evaluate(
    program: &Node,
    object: &Map<String, Json>,
    steps: u64,
) -> (Result<bool, Stop>, u64) {
    let mut evaluation = Evaluation {
        object,
        names: Vec::new(),
        left: steps,
    };
    let answer = evaluation.truth(program);
    (answer, steps.saturating_sub(evaluation.left))
}

/// What the program comes to, and the steps that it took.
pub(super) fn value(
    program: &Node,
    object: &Map<String, Json>,
    steps: u64,
) -> (Result<Json, Stop>, u64) {
    let mut evaluation = Evaluation {
        object,
        names: Vec::new(),
        left: steps,
    };
    let answer = evaluation.value(program);
    let answer = answer.and_then(|value| evaluation.written(&value));
    (answer, steps.saturating_sub(evaluation.left))
}

pub(super) struct Evaluation<'a> {
    object: &'a Map<String, Json>,
    /// The elements that have names here.
    names: Vec<(&'a str, Value<'a>)>,
    left: u64,
}

impl<'a> Evaluation<'a> {
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), Stop> {
        self.left = self.left.checked_sub(steps).ok_or(Stop::Steps)?;
        Ok(())
    }

    fn value(&mut self, node: &'a Node) -> Answer<'a> {
        self.spend(1)?;
        Ok(match &node.kind {
            Kind::Null => Value::Null,
            Kind::Bool(bool) => Value::Bool(*bool),
            Kind::Int(int) => Value::Int(*int),
            Kind::Double(double) => Value::Double(*double),
            Kind::Text(text) => Value::Text(Text::Lent(text)),
            Kind::List(nodes) => {
                let elements: Result<Vec<_>, _> =
                    nodes.iter().map(|node| self.value(node)).collect();
                made(elements?)
            }
            Kind::Name(name) => self.named(name),
            Kind::Select(of, field) => {
                let of = self.value(of)?;
                member(node, &of, field)?.ok_or(Stop::Absent)?
            }
            Kind::Has(of, field) => {
                let of = self.value(of)?;
                Value::Bool(member(node, &of, field)?.is_some())
            }
            Kind::Index(of, index) => {
                let (of, index) = (self.value(of)?, self.value(index)?);
                element(node, &of, &index)?
            }
            Kind::Call(function, arguments) => self.call(node, *function, arguments)?,
            Kind::Matches(of, pattern) => {
                let of = self.text(of)?;
                self.spend(pattern.steps(of.as_str().len()))?;
                Value::Bool(pattern.is_match(of.as_str()))
            }
            Kind::Each(each) => self.each(node, each)?,
            Kind::Not(inner) => Value::Bool(!self.truth(inner)?),
            Kind::Negate(inner) => match self.value(inner)? {
                Value::Int(int) => Value::Int(int.checked_neg().ok_or(Stop::Absent)?),
                Value::Double(double) => Value::Double(-double),
                other => return Err(unfit(node, &format!("-{}", other.kind()), [&other])),
            },
            Kind::Any(parts) => self.junction(parts, true)?,
            Kind::All(parts) => self.junction(parts, false)?,
            Kind::Binary(operator, nodes) => {
                let [a, b] = &**nodes;
                let (a, b) = (self.value(a)?, self.value(b)?);
                self.binary(node, *operator, (&a, &b))?
            }
            Kind::Choice(nodes) => {
                let [condition, yes, no] = &**nodes;
                let chosen = if self.truth(condition)? { yes } else { no };
                self.value(chosen)?
            }
        })
    }

    fn named(&self, name: &str) -> Value<'a> {
        let mut names = self.names.iter().rev();
        match names.find(|(known, _)| *known == name) {
            Some((_, value)) => value.clone(),
            None => self.object.get(name).map_or(Value::Null, Value::from),
        }
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, Stop> {
        match self.value(node)? {
            Value::Bool(bool) => Ok(bool),
            other => Err(wanted(node, "a bool", &other)),
        }
    }

    fn text(&mut self, node: &'a Node) -> Result<Text<'a>, Stop> {
        match self.value(node)? {
            Value::Text(text) => Ok(text),
            other => Err(wanted(node, "a string", &other)),
        }
    }

    /// One that decides is enough, even if others have no answer.
    fn junction(&mut self, parts: &'a [Node], decisive: bool) -> Answer<'a> {
        let mut stopped = None;
        for part in parts {
            let answer = self.truth(part);
            if let Some(decided) = decided(answer, decisive, &mut stopped)? {
                return Ok(Value::Bool(decided));
            }
        }
        stopped.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn each(&mut self, node: &'a Node, each: &'a Each) -> Answer<'a> {
        let elements = match self.value(&each.over)? {
            Value::List(list) => {
                self.spend(list.len() as u64)?;
                list.to_vec()
            }
            Value::Map(map) => {
                self.spend(map.len() as u64)?;
                let keys = map.keys().map(|key| Value::Text(Text::Lent(key)));
                keys.collect()
            }
            other => return Err(wanted(node, "a list or map", &other)),
        };
        match each.form {
            Form::Exists => self.quantify(each, elements, true),
            Form::All => self.quantify(each, elements, false),
            Form::ExistsOne => Ok(Value::Bool(self.chosen(each, elements)?.len() == 1)),
            Form::Filter => self.chosen(each, elements).map(made),
            Form::Map => {
                let mut results = Vec::with_capacity(elements.len());
                for element in elements {
                    results.push(self.within(each, element, Self::value)?);
                }
                Ok(made(results))
            }
        }
    }

    fn quantify(&mut self, each: &'a Each, elements: Vec<Value<'a>>, decisive: bool) -> Answer<'a> {
        let mut stopped = None;
        for element in elements {
            let answer = self.within(each, element, Self::truth);
            if let Some(decided) = decided(answer, decisive, &mut stopped)? {
                return Ok(Value::Bool(decided));
            }
        }
        stopped.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn chosen(&mut self, each: &'a Each, elements: Vec<Value<'a>>) -> Result<Vec<Value<'a>>, Stop> {
        let mut chosen = Vec::new();
        for element in elements {
            if self.within(each, element.clone(), Self::truth)? {
                chosen.push(element);
            }
        }
        Ok(chosen)
    }

    /// Asks about the body with a name for an element.
    fn within<T>(
        &mut self,
        each: &'a Each,
        element: Value<'a>,
        ask: fn(&mut Self, &'a Node) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        self.names.push((&each.name, element));
        let answer = ask(self, &each.body);
        self.names.pop();
        answer
    }

    fn call(&mut self, node: &'a Node, function: Function, arguments: &'a [Node]) -> Answer<'a> {
        let [first, rest @ ..] = arguments else {
            return Err(Stop::Absent);
        };
        if let [second] = rest {
            let (of, part) = (self.text(first)?, self.text(second)?);
            let (of, part) = (of.as_str(), part.as_str());
            self.spend(text_steps(of.len()))?;
            return Ok(Value::Bool(match function {
                Function::StartsWith => of.starts_with(part),
                Function::EndsWith => of.ends_with(part),
                Function::Contains
                | Function::Size
                | Function::Int
                | Function::Double
                | Function::Text => of.contains(part),
            }));
        }
        let of = self.value(first)?;
        self.spend(of.steps())?;
        convert(function, &of).unwrap_or_else(|| {
            let call = format!("{}({})", function.as_str(), of.kind());
            Err(unfit(node, &call, [&of]))
        })
    }

    fn binary(
        &mut self,
        node: &Node,
        operator: Operator,
        (a, b): (&Value<'a>, &Value<'a>),
    ) -> Answer<'a> {
        match operator {
            Operator::Equal => self.is_equal(a, b).map(Value::Bool),
            Operator::NotEqual => self.is_equal(a, b).map(|equal| Value::Bool(!equal)),
            Operator::In => self.is_in(node, a, b).map(Value::Bool),
            Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast => {
                if !a.has_order(b) {
                    return Err(no_overload(node, operator, (a, b)));
                }
                self.spend(a.steps().min(b.steps()))?;
                let order = a.order(b);
                Ok(Value::Bool(order.is_some_and(|order| match operator {
                    Operator::Less => order.is_lt(),
                    Operator::AtMost => order.is_le(),
                    Operator::Greater => order.is_gt(),
                    _ => order.is_ge(),
                })))
            }
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder => self.arithmetic(node, operator, (a, b)),
        }
    }

    fn arithmetic(
        &mut self,
        node: &Node,
        operator: Operator,
        (a, b): (&Value<'a>, &Value<'a>),
    ) -> Answer<'a> {
        let value = match (a, b) {
            (Value::Int(a), Value::Int(b)) => {
                Value::Int(whole(operator, *a, *b).ok_or(Stop::Absent)?)
            }
            (Value::Double(x), Value::Double(y)) => match broken(operator, *x, *y) {
                Some(result) => Value::Double(result),
                None => return Err(no_overload(node, operator, (a, b))),
            },
            (Value::Text(a), Value::Text(b)) if operator == Operator::Add => {
                let (a, b) = (a.as_str(), b.as_str());
                self.spend(text_steps(a.len().saturating_add(b.len())))?;
                Value::Text(Text::Made([a, b].concat().into()))
            }
            (Value::List(a), Value::List(b)) if operator == Operator::Add => {
                self.spend((a.len() as u64).saturating_add(b.len() as u64))?;
                let mut elements = a.to_vec();
                elements.append(&mut b.to_vec());
                made(elements)
            }
            _ => return Err(no_overload(node, operator, (a, b))),
        };
        Ok(value)
    }

    /// Values of different kinds are different, save for numbers.
    fn is_equal(&mut self, a: &Value<'a>, b: &Value<'a>) -> Result<bool, Stop> {
        self.spend(a.steps().min(b.steps()))?;
        match (a, b) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::List(a), Value::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                self.spend(a.len() as u64)?;
                for (a, b) in a.to_vec().iter().zip(&b.to_vec()) {
                    if !self.is_equal(a, b)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Map(a), Value::Map(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (key, value) in *a {
                    let Some(other) = b.get(key) else {
                        return Ok(false);
                    };
                    if !self.is_equal(&value.into(), &other.into())? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(a.order(b).is_some_and(std::cmp::Ordering::is_eq)),
        }
    }

    fn is_in(&mut self, node: &Node, a: &Value<'a>, b: &Value<'a>) -> Result<bool, Stop> {
        match b {
            Value::List(list) => {
                for index in 0..list.len() {
                    let element = list.element(index).unwrap_or(Value::Null);
                    if self.is_equal(a, &element)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::Map(map) => Ok(match a {
                Value::Text(key) => map.contains_key(key.as_str()),
                _ => false,
            }),
            _ => Err(no_overload(node, Operator::In, (a, b))),
        }
    }
}

/// Takes an answer into account: `Some` if it decides.
fn decided(
    answer: Result<bool, Stop>,
    decisive: bool,
    stopped: &mut Option<Stop>,
) -> Result<Option<bool>, Stop> {
    match answer {
        Ok(answer) if answer == decisive => Ok(Some(answer)),
        Ok(_) => Ok(None),
        Err(Stop::Steps) => Err(Stop::Steps),
        Err(stop) => {
            stopped.get_or_insert(stop);
            Ok(None)
        }
    }
}

fn made(elements: Vec<Value<'_>>) -> Value<'_> {
    Value::List(List::Made(Rc::from(elements)))
}

/// The field of a map; `None` if it has none.
fn member<'a>(node: &Node, of: &Value<'a>, field: &str) -> Result<Option<Value<'a>>, Stop> {
    match of {
        Value::Map(map) => Ok(map.get(field).map(Value::from)),
        other => Err(wanted(node, "a map", other)),
    }
}

fn element<'a>(node: &Node, of: &Value<'a>, index: &Value<'a>) -> Answer<'a> {
    let found = match (of, index) {
        (Value::Map(map), Value::Text(key)) => map.get(key.as_str()).map(Value::from),
        (Value::List(list), Value::Int(index)) => {
            let index = usize::try_from(*index).ok();
            index.and_then(|index| list.element(index))
        }
        _ => {
            let what = format!("{}[{}]", of.kind(), index.kind());
            return Err(unfit(node, &what, [of, index]));
        }
    };
    found.ok_or(Stop::Absent)
}
