//! The filter language of the `filter` parameter: `Service.Meta.env == prod and web in Tags`.
//!
//! A filter is parsed, held against the [`Shape`] of what it is to choose from, so that a
//! selector that names nothing is an error even if there is nothing to choose from, and
//! then asked about each object as JSON. One filter language therefore serves services,
//! checks, nodes and catalogue rows.
//!
//! Invariants: a parsed filter prints as a text that parses to the same filter; work is
//! bounded by [`TEXT_BYTES_MAX`], [`DEPTH_MAX`] and [`QUANTIFIERS_MAX`].
//! Source: the grammar of `hashicorp/go-bexpr`, as the Consul API documents it.

mod evaluate;
mod expression;
mod lex;
mod parse;
mod shape;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use serde::Serialize;

pub use self::{
    expression::{Expression, Pattern, Quantifier, Selector, Test},
    shape::{Checked, Shape},
};

/// The longest filter, in bytes.
pub const TEXT_BYTES_MAX: usize = 8192;
/// How deep parentheses, braces and `not` may be nested.
pub const DEPTH_MAX: usize = 32;
/// How deep `any` and `all` may be nested: each level multiplies the work.
pub const QUANTIFIERS_MAX: usize = 2;

/// A text that is no filter, or none for these objects. The client's fault: 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The text is not of the language.
    #[error("{at}: {message}")]
    Syntax {
        /// Where, in bytes from the start.
        at: usize,
        /// What is wrong.
        message: String,
    },
    /// The selector names nothing that these objects have.
    #[error("Selector {selector:?} is not valid")]
    Selector {
        /// As written.
        selector: String,
    },
    /// The operator says nothing about values of that kind.
    #[error("Invalid match operator {operator:?} for selector {selector:?}")]
    Operator {
        /// As written.
        operator: &'static str,
        /// As written.
        selector: String,
    },
    /// The value can't be one of that selector.
    #[error("Failed to parse value {value:?} for selector {selector:?}")]
    Value {
        /// As written.
        value: String,
        /// As written.
        selector: String,
    },
}

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Expression);

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`FilterError::Syntax`] with the place.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(Self)
    }

    /// The filter for objects of a shape.
    ///
    /// # Errors
    /// [`FilterError`] of a selector, an operator or a value that does not fit.
    pub fn on(self, shape: &'static Shape) -> Result<Checked, FilterError> {
        shape::check(&self.0, shape)?;
        Ok(Checked::new(self.0))
    }

    /// What it says.
    #[must_use]
    pub const fn expression(&self) -> &Expression {
        &self.0
    }
}

impl Checked {
    /// Whether an object is chosen. One that has no JSON is not.
    #[must_use]
    pub fn chooses(&self, object: &impl Serialize) -> bool {
        serde_json::to_value(object)
            .is_ok_and(|value| evaluate::evaluate(self.expression(), &value))
    }

    /// Keeps those that are chosen.
    pub fn keep<T: Serialize>(&self, objects: &mut Vec<T>) {
        objects.retain(|object| self.chooses(object));
    }
}

impl From<Expression> for Filter {
    fn from(expression: Expression) -> Self {
        Self(expression)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
