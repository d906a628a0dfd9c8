//! From the words of a filter to what it says.

use super::{
    DEPTH_MAX, Expression, FilterError, Pattern, QUANTIFIERS_MAX, Quantifier, Selector,
    TEXT_BYTES_MAX, Test,
    expression::is_identifier,
    lex::{Placed, Token, lex, syntax},
};

pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("a filter has at most {TEXT_BYTES_MAX} bytes");
        return Err(syntax(TEXT_BYTES_MAX, message));
    }
    let mut parser = Parser {
        tokens: lex(text)?,
        next: 0,
        end: text.len(),
        depth: 0,
        quantifiers: 0,
    };
    let expression = parser.any()?;
    if parser.peek().is_some() {
        return Err(parser.unexpected("`and`, `or` or the end"));
    }
    Ok(expression)
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    end: usize,
    depth: usize,
    quantifiers: usize,
}

/// What stands before an operator: a selector, or the value of `in`.
enum Term {
    Selector(Selector),
    Value(String),
}

impl Parser {
    fn any(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.all()?];
        while self.take_word("or") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.part()?];
        while self.take_word("and") {
            parts.push(self.part()?);
        }
        Ok(one_or(parts, Expression::All))
    }

    fn part(&mut self) -> Result<Expression, FilterError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX}");
            return Err(syntax(self.at(), message));
        }
        let part = if self.take_word("not") {
            Expression::Not(Box::new(self.part()?))
        } else if self.take_sign('(') {
            let inner = self.any()?;
            self.expect_sign(')')?;
            inner
        } else {
            match self.quantifier() {
                Some(quantifier) => self.each(quantifier)?,
                None => self.test()?,
            }
        };
        self.depth = self.depth.saturating_sub(1);
        Ok(part)
    }

    /// `any` and `all` are keywords where a selector follows them.
    fn quantifier(&mut self) -> Option<Quantifier> {
        let follows = self.tokens.get(self.next.saturating_add(1));
        if !matches!(follows, Some((_, Token::Word(_) | Token::Text(_)))) {
            return None;
        }
        let is_operator = |word: &str| matches!(word, "in" | "not" | "contains" | "matches" | "is");
        if matches!(follows, Some((_, Token::Word(word))) if is_operator(word)) {
            return None;
        }
        if self.take_word("any") {
            Some(Quantifier::Any)
        } else if self.take_word("all") {
            Some(Quantifier::All)
        } else {
            None
        }
    }

    fn each(&mut self, quantifier: Quantifier) -> Result<Expression, FilterError> {
        self.quantifiers = self.quantifiers.saturating_add(1);
        if self.quantifiers > QUANTIFIERS_MAX {
            let message = format!("`any` and `all` nested deeper than {QUANTIFIERS_MAX}");
            return Err(syntax(self.at(), message));
        }
        let selector = match self.term()? {
            Term::Selector(selector) => selector,
            Term::Value(_) => return Err(syntax(self.at(), "a selector is expected before this")),
        };
        if !self.take_word("as") {
            return Err(self.unexpected("`as`"));
        }
        let in_parentheses = self.take_sign('(');
        let first = self.name()?;
        let second = if self.take_sign(',') {
            Some(self.name()?)
        } else {
            None
        };
        if in_parentheses {
            self.expect_sign(')')?;
        }
        self.expect_sign('{')?;
        let body = Box::new(self.any()?);
        self.expect_sign('}')?;
        self.quantifiers = self.quantifiers.saturating_sub(1);
        Ok(Expression::Each {
            quantifier,
            selector,
            names: (first, second),
            body,
        })
    }

    fn name(&mut self) -> Result<String, FilterError> {
        match self.peek() {
            Some(Token::Word(word)) if is_identifier(word) || word == "_" => {
                let word = word.clone();
                self.step();
                Ok(word)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn test(&mut self) -> Result<Expression, FilterError> {
        let at = self.at();
        let term = self.term()?;
        let is_negated = self.take_word("not");
        if self.take_word("in") {
            let value = match term {
                Term::Value(value) => value,
                Term::Selector(selector) => selector.0.join("."),
            };
            return match self.term()? {
                Term::Selector(selector) => Ok(Expression::Test {
                    selector,
                    test: Test::Contains(value),
                    is_negated,
                }),
                Term::Value(_) => Err(syntax(at, "a selector is expected after `in`")),
            };
        }
        let selector = match term {
            Term::Selector(selector) => selector,
            Term::Value(text) => pointer(&text)
                .ok_or_else(|| syntax(at, "a value is followed by `in` or `not in`"))?,
        };
        let (test, is_negated) = self.operation(is_negated)?;
        Ok(Expression::Test {
            selector,
            test,
            is_negated,
        })
    }

    fn operation(&mut self, is_negated: bool) -> Result<(Test, bool), FilterError> {
        if self.take_word("contains") {
            return Ok((Test::Contains(self.value()?), is_negated));
        }
        if self.take_word("matches") {
            let at = self.at();
            let text = self.value()?;
            let pattern = Pattern::new(&text)
                .ok_or_else(|| syntax(at, "not a regular expression, or too large a one"))?;
            return Ok((Test::Matches(pattern), is_negated));
        }
        if is_negated {
            return Err(self.unexpected("`in`, `contains` or `matches`"));
        }
        if self.take(&Token::Equal) {
            return Ok((Test::Equal(self.value()?), false));
        }
        if self.take(&Token::NotEqual) {
            return Ok((Test::Equal(self.value()?), true));
        }
        if !self.take_word("is") {
            return Err(self.unexpected("an operator"));
        }
        let is_negated = self.take_word("not");
        if self.take_word("empty") {
            Ok((Test::Empty, is_negated))
        } else if self.take_word("nil") {
            Ok((Test::Nil, is_negated))
        } else {
            Err(self.unexpected("`empty` or `nil`"))
        }
    }

    /// A value: a text, a number, or a bare word with dots.
    fn value(&mut self) -> Result<String, FilterError> {
        match self.term()? {
            Term::Value(value) => Ok(value),
            Term::Selector(selector) => Ok(selector.0.join(".")),
        }
    }

    /// A text that is a pointer is a selector or a value; whoever asked decides.
    fn term(&mut self) -> Result<Term, FilterError> {
        let at = self.at();
        match self.peek().cloned() {
            Some(Token::Text(text)) => {
                self.step();
                let expects_selector = self.is_word("as");
                match pointer(&text).filter(|_| expects_selector || self.follows_in()) {
                    Some(selector) => Ok(Term::Selector(selector)),
                    None => Ok(Term::Value(text)),
                }
            }
            Some(Token::Number(text)) => {
                self.step();
                Ok(Term::Value(text))
            }
            Some(Token::Word(word)) => {
                self.step();
                if !is_identifier(&word) {
                    return Ok(Term::Value(word));
                }
                self.selector(word).map(Term::Selector)
            }
            Some(Token::Equal | Token::NotEqual | Token::Sign(_)) | None => {
                Err(syntax(at, "a selector or a value is expected here"))
            }
        }
    }

    /// Whether the word just taken stands after `in`.
    fn follows_in(&self) -> bool {
        let before = self.next.checked_sub(2);
        let before = before.and_then(|before| self.tokens.get(before));
        matches!(before, Some((_, Token::Word(word))) if word == "in")
    }

    fn selector(&mut self, first: String) -> Result<Selector, FilterError> {
        let mut names = vec![first];
        loop {
            if self.take_sign('.') {
                match self.peek().cloned() {
                    Some(Token::Word(word)) if is_identifier(&word) => names.push(word),
                    _ => return Err(self.unexpected("a name after the dot")),
                }
                self.step();
            } else if self.take_sign('[') {
                match self.peek().cloned() {
                    Some(Token::Text(text)) => names.push(text),
                    _ => return Err(self.unexpected("a key in quotes")),
                }
                self.step();
                self.expect_sign(']')?;
            } else {
                return Ok(Selector(names));
            }
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn step(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    fn take(&mut self, token: &Token) -> bool {
        let is_there = self.peek() == Some(token);
        if is_there {
            self.step();
        }
        is_there
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found == word)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_there = self.is_word(word);
        if is_there {
            self.step();
        }
        is_there
    }

    fn take_sign(&mut self, sign: char) -> bool {
        self.take(&Token::Sign(sign))
    }

    fn expect_sign(&mut self, sign: char) -> Result<(), FilterError> {
        if self.take_sign(sign) {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{sign}`")))
    }

    fn unexpected(&self, expected: &str) -> FilterError {
        syntax(self.at(), format!("{expected} is expected here"))
    }
}

fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            many(parts)
        }
    }
}

/// The names of a JSON pointer (RFC 6901).
fn pointer(text: &str) -> Option<Selector> {
    let names = text.strip_prefix('/')?.split('/');
    let names = names.map(|name| name.replace("~1", "/").replace("~0", "~"));
    Some(Selector(names.collect()))
}
