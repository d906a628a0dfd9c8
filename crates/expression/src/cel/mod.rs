//! Conditions in the Common Expression Language: `zone == "z1" && "canary" in tags`.
//!
//! The grammar and the meaning are those of the specification, for null, booleans, signed
//! integers, doubles, texts, lists and the maps of an object. Bytes, unsigned integers,
//! times, messages, and maps written in the text are refused by name. A field that an
//! object does not have is null, as unset wrappers are in the specification.
//!
//! It is read and evaluated here rather than by a library because both must be metered:
//! the text may come from anybody, and short ones (`x.map(y, y + y)` a few times in a row)
//! can ask for any amount of memory. Invariants: work and memory of a parse are bounded by
//! [`TEXT_BYTES_MAX`], [`DEPTH_MAX`] and [`PATTERNS_MAX`], those of an evaluation by
//! [`STEPS_MAX`] and a [`Budget`]; a program prints as a text that compiles to the same
//! program.
//! Source: `google/cel-spec`, doc/langdef.md.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an operator names the kinds that it takes; all others get one answer, new ones too"
)]

mod calls;
mod cursor;
mod evaluate;
mod expression;
mod functions;
mod lex;
mod parse;
mod stop;
#[cfg(test)]
mod tests;
mod value;
mod written;

use std::fmt;

use serde_json::{Map, Value as Json};

use self::{expression::Node, stop::Stop};

/// The longest text of a program, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// How deep a program may be nested.
pub const DEPTH_MAX: usize = 32;
/// How many regular expressions a program may have.
pub const PATTERNS_MAX: usize = 8;
/// Steps that one evaluation may take: about one for each operator that is applied, each
/// element that is visited, and each 16 bytes of text that are read or made; 16 to 1,024 for each
/// 16 bytes that a pattern is held against, by its size.
pub const STEPS_MAX: u64 = 100_000;
/// Steps of a [`Budget`].
pub const BUDGET_STEPS: u64 = 10_000_000;

/// A text that is no program. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct BadProgram {
    /// Where, in characters from the start; the first is 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Why a program has no answer. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// An operator or function says nothing about values of these kinds.
    #[error("column {column}: {message}")]
    Mistake {
        /// Where, in characters from the start; the first is 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The object that it was asked about needs too many steps.
    #[error("it takes more than {STEPS_MAX} steps for one object")]
    TooManySteps,
    /// All objects together need too many steps.
    #[error("it takes more than {BUDGET_STEPS} steps for all objects")]
    BudgetSpent,
}

/// Steps that are left for many evaluations together.
#[derive(Clone, Debug)]
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(BUDGET_STEPS)
    }
}

impl Budget {
    /// Steps that were taken so far.
    #[must_use]
    pub const fn spent(&self) -> u64 {
        BUDGET_STEPS.saturating_sub(self.0)
    }
}

/// A condition that is ready to be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Program(Node);

impl Program {
    /// Reads a condition about objects that have these fields at most.
    ///
    /// # Errors
    /// [`BadProgram`] with the place: the text is not of the language, is out of its limits,
    /// or names a field or function that is not there.
    pub fn compile(text: &str, fields: &[&str]) -> Result<Self, BadProgram> {
        parse::parse(text, fields).map(Self)
    }

    /// Whether the condition holds for an object. It does not where its answer depends on
    /// something that the object does not have.
    ///
    /// # Errors
    /// [`Unanswered`] if the condition makes no sense for such objects, or costs too much.
    pub fn holds(
        &self,
        object: &Map<String, Json>,
        budget: &mut Budget,
    ) -> Result<bool, Unanswered> {
        let allowed = STEPS_MAX.min(budget.0);
        let (answer, spent) = evaluate::evaluate(&self.0, object, allowed);
        budget.0 = budget.0.saturating_sub(spent);
        answered(answer, allowed).map(|holds| holds.unwrap_or(false))
    }

    /// What the program comes to for an object; null where that depends on something that
    /// the object does not have.
    ///
    /// # Errors
    /// [`Unanswered`] if the program makes no sense for such objects, or costs too much.
    pub fn value(&self, object: &Map<String, Json>) -> Result<Json, Unanswered> {
        let (answer, _spent) = evaluate::value(&self.0, object, STEPS_MAX);
        answered(answer, STEPS_MAX).map(Option::unwrap_or_default)
    }
}

/// `None` is an answer that depends on something that is not there.
fn answered<T>(answer: Result<T, Stop>, allowed: u64) -> Result<Option<T>, Unanswered> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Stop::Absent) => Ok(None),
        Err(Stop::Mistake { column, message }) => Err(Unanswered::Mistake { column, message }),
        Err(Stop::Steps) if allowed < STEPS_MAX => Err(Unanswered::BudgetSpent),
        Err(Stop::Steps) => Err(Unanswered::TooManySteps),
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
