//! Where a parser stands among the words.

use super::{
    BadProgram,
    lex::{Placed, Token, bad},
};

/// The words that are still to be read.
pub(super) struct Cursor {
    tokens: Vec<Placed>,
    next: usize,
    /// The column after the last word.
    end: usize,
}

impl Cursor {
    pub(super) const fn new(tokens: Vec<Placed>, end: usize) -> Self {
        Self {
            tokens,
            next: 0,
            end,
        }
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    pub(super) fn column(&self) -> usize {
        let here = self.tokens.get(self.next);
        here.map_or(self.end, |(column, _)| *column)
    }

    pub(super) const fn step(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    pub(super) fn take(&mut self, sign: &str) -> bool {
        let is_here = matches!(self.peek(), Some(Token::Sign(here)) if *here == sign);
        if is_here {
            self.step();
        }
        is_here
    }

    pub(super) fn take_name(&mut self, name: &str) -> bool {
        let is_here = matches!(self.peek(), Some(Token::Name(here)) if here == name);
        if is_here {
            self.step();
        }
        is_here
    }

    pub(super) fn expect(&mut self, sign: &'static str) -> Result<(), BadProgram> {
        if self.take(sign) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{sign}`")))
        }
    }

    pub(super) fn unexpected(&self, wanted: &str) -> BadProgram {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Name(name)) => format!("`{name}`"),
            Some(Token::Int(int)) => format!("`{int}`"),
            Some(Token::Double(double)) => format!("`{double}`"),
            Some(Token::Text(_)) => "a text".to_owned(),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
        };
        bad(
            self.column(),
            format!("{wanted} is expected here, not {found}"),
        )
    }
}
