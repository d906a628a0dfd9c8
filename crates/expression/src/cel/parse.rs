//! From the words of a program to what it says.

use super::{
    BadProgram, DEPTH_MAX, TEXT_BYTES_MAX,
    cursor::Cursor,
    expression::{Kind, Node, Operator},
    lex::{Token, bad, lex},
};

/// Words that the specification keeps for itself.
pub(super) const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];
const RELATIONS: &[Operator] = &[
    Operator::Equal,
    Operator::NotEqual,
    Operator::AtMost,
    Operator::AtLeast,
    Operator::Less,
    Operator::Greater,
    Operator::In,
];
const SUMS: &[Operator] = &[Operator::Add, Operator::Subtract];
const PRODUCTS: &[Operator] = &[Operator::Multiply, Operator::Divide, Operator::Remainder];
/// How an integer can be one more below zero than above.
const LOWEST: u64 = 1 << 63;

pub(super) fn parse(text: &str, fields: &[&str]) -> Result<Node, BadProgram> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("a condition has at most {TEXT_BYTES_MAX} bytes");
        return Err(bad(1, message));
    }
    let (tokens, end) = lex(text)?;
    let mut parser = Parser {
        cursor: Cursor::new(tokens, end),
        fields,
        names: Vec::new(),
        depth: 0,
        patterns: 0,
    };
    let node = parser.expression()?;
    if parser.cursor.peek().is_some() {
        return Err(parser.cursor.unexpected("an operator or the end"));
    }
    Ok(node)
}

pub(super) type Parsed = Result<Node, BadProgram>;

pub(super) struct Parser<'f> {
    pub(super) cursor: Cursor,
    fields: &'f [&'f str],
    /// What elements are called here.
    pub(super) names: Vec<String>,
    depth: usize,
    pub(super) patterns: usize,
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Parsed {
        let column = self.cursor.column();
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            return Err(too_deep(column));
        }
        let condition = self.any()?;
        let node = if self.cursor.take("?") {
            let yes = self.any()?;
            self.cursor.expect(":")?;
            let no = self.expression()?;
            node(column, Kind::Choice(Box::new([condition, yes, no])))?
        } else {
            condition
        };
        self.depth = self.depth.saturating_sub(1);
        Ok(node)
    }

    fn any(&mut self) -> Parsed {
        let column = self.cursor.column();
        let mut parts = vec![self.all()?];
        while self.cursor.take("||") {
            parts.push(self.all()?);
        }
        one_or(column, parts, Kind::Any)
    }

    fn all(&mut self) -> Parsed {
        let column = self.cursor.column();
        let mut parts = vec![self.relation()?];
        while self.cursor.take("&&") {
            parts.push(self.relation()?);
        }
        one_or(column, parts, Kind::All)
    }

    fn relation(&mut self) -> Parsed {
        self.chain(RELATIONS, Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.chain(SUMS, Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.chain(PRODUCTS, Self::unary)
    }

    /// Operators of one rank, from left to right.
    fn chain(&mut self, operators: &[Operator], part: fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = part(self)?;
        loop {
            let column = self.cursor.column();
            let Some(operator) = operators.iter().find(|operator| self.takes(**operator)) else {
                return Ok(left);
            };
            let right = part(self)?;
            left = node(column, Kind::Binary(*operator, Box::new([left, right])))?;
        }
    }

    fn takes(&mut self, operator: Operator) -> bool {
        match operator {
            Operator::In => self.cursor.take_name("in"),
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::AtMost
            | Operator::Greater
            | Operator::AtLeast
            | Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder => self.cursor.take(operator.as_str()),
        }
    }

    fn unary(&mut self) -> Parsed {
        let column = self.cursor.column();
        let sign = ["!", "-"].into_iter().find(|sign| self.cursor.take(sign));
        let Some(sign) = sign else {
            return self.member();
        };
        if sign == "-"
            && let Some(number) = self.negative()?
        {
            let number = node(column, number)?;
            return self.postfix(number);
        }
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            return Err(too_deep(column));
        }
        let inner = Box::new(self.unary()?);
        self.depth = self.depth.saturating_sub(1);
        let kind = if sign == "!" {
            Kind::Not(inner)
        } else {
            Kind::Negate(inner)
        };
        node(column, kind)
    }

    /// The number that follows a minus, if one does.
    fn negative(&mut self) -> Result<Option<Kind>, BadProgram> {
        let kind = match self.cursor.peek() {
            Some(Token::Int(LOWEST)) => Kind::Int(i64::MIN),
            Some(Token::Int(int)) => {
                let int = i64::try_from(*int).map_err(|_| self.too_large())?;
                Kind::Int(int.saturating_neg())
            }
            Some(Token::Double(double)) => Kind::Double(-*double),
            Some(Token::Name(_) | Token::Text(_) | Token::Sign(_)) | None => return Ok(None),
        };
        self.cursor.step();
        Ok(Some(kind))
    }

    fn too_large(&self) -> BadProgram {
        bad(self.cursor.column(), "the number is too large")
    }

    fn member(&mut self) -> Parsed {
        let primary = self.primary()?;
        self.postfix(primary)
    }

    fn postfix(&mut self, mut of: Node) -> Parsed {
        loop {
            let column = self.cursor.column();
            if self.cursor.take("[") {
                let index = self.expression()?;
                self.cursor.expect("]")?;
                of = node(column, Kind::Index(Box::new(of), Box::new(index)))?;
            } else if self.cursor.take(".") {
                let column = self.cursor.column();
                let name = self.selector()?;
                of = if self.cursor.take("(") {
                    self.method(column, of, &name)?
                } else {
                    node(column, Kind::Select(Box::new(of), name))?
                };
            } else {
                return Ok(of);
            }
        }
    }

    pub(super) fn selector(&mut self) -> Result<String, BadProgram> {
        let is_keyword = |name: &str| matches!(name, "in" | "true" | "false" | "null");
        match self.cursor.peek() {
            Some(Token::Name(name)) if !is_keyword(name) => {
                let name = name.clone();
                self.cursor.step();
                Ok(name)
            }
            _ => Err(self.cursor.unexpected("a name")),
        }
    }

    fn primary(&mut self) -> Parsed {
        let column = self.cursor.column();
        let kind = match self.cursor.peek().cloned() {
            Some(Token::Int(int)) => {
                let int = i64::try_from(int).map_err(|_| self.too_large())?;
                Kind::Int(int)
            }
            Some(Token::Double(double)) => Kind::Double(double),
            Some(Token::Text(text)) => Kind::Text(text),
            Some(Token::Name(name)) => {
                self.cursor.step();
                return self.named(column, name);
            }
            Some(Token::Sign("(")) => {
                self.cursor.step();
                let inner = self.expression()?;
                self.cursor.expect(")")?;
                return Ok(inner);
            }
            Some(Token::Sign("[")) => {
                self.cursor.step();
                let nodes = self.list("]")?;
                return node(column, Kind::List(nodes));
            }
            Some(Token::Sign("{")) => {
                return Err(bad(column, "a condition has no maps of its own"));
            }
            Some(Token::Sign(_)) | None => return Err(self.cursor.unexpected("a value")),
        };
        self.cursor.step();
        node(column, kind)
    }

    /// What begins with a name: a literal, a function, a field.
    fn named(&mut self, column: usize, name: String) -> Parsed {
        match name.as_str() {
            "null" => return node(column, Kind::Null),
            "true" => return node(column, Kind::Bool(true)),
            "false" => return node(column, Kind::Bool(false)),
            _ => {}
        }
        if self.cursor.take("(") {
            return self.function(column, &name);
        }
        let is_known = self.fields.contains(&name.as_str()) || self.names.contains(&name);
        if is_known {
            return node(column, Kind::Name(name));
        }
        let message = if RESERVED.contains(&name.as_str()) {
            format!("`{name}` is a word of the language")
        } else {
            format!("no field `{name}`; there are {}", self.fields.join(", "))
        };
        Err(bad(column, message))
    }

    /// Values with commas in between, up to a closing sign.
    pub(super) fn list(&mut self, end: &'static str) -> Result<Vec<Node>, BadProgram> {
        let mut nodes = Vec::new();
        while !self.cursor.take(end) {
            nodes.push(self.expression()?);
            if !self.cursor.take(",") {
                self.cursor.expect(end)?;
                break;
            }
        }
        Ok(nodes)
    }
}

fn one_or(column: usize, mut parts: Vec<Node>, join: fn(Vec<Node>) -> Kind) -> Parsed {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => Ok(only),
        (last, _) => {
            parts.extend(last);
            node(column, join(parts))
        }
    }
}

pub(super) fn node(column: usize, kind: Kind) -> Parsed {
    let depth = kind.depth().saturating_add(1);
    if depth > DEPTH_MAX {
        return Err(too_deep(column));
    }
    Ok(Node {
        column,
        depth,
        kind,
    })
}

fn too_deep(column: usize) -> BadProgram {
    bad(column, format!("nested deeper than {DEPTH_MAX}"))
}
