//! The place of a rule among all.

use std::cmp::Reverse;

use portolan_model::route::{HostMatch, Match, PathMatch};

use super::Rule;
use crate::{
    path::{End, PathTest, Piece},
    table::Token,
};

/// The place of a rule among all: fields are compared from the first to the last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order<'a> {
    pub(super) host: HostKey<'a>,
    pub(super) path: PathKey<'a>,
    any_method: bool,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    no_body: bool,
    /// Entries are sorted by name.
    entry: u32,
    place: u32,
}

impl<'a> Order<'a> {
    pub(super) fn of(
        host: Option<&'a HostMatch>,
        condition: &'a Match,
        path: &'a PathTest,
        rule: &Rule,
    ) -> Self {
        Self {
            host: HostKey::of(host),
            path: PathKey::of(&condition.path, path),
            any_method: condition.methods.is_empty(),
            headers: Reverse(condition.headers.len()),
            query: Reverse(condition.query.len()),
            no_body: condition.body.is_none(),
            entry: rule.entry,
            place: rule.place,
        }
    }
}

/// The host of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostKey<'a> {
    Exact(&'a str),
    Suffix(Reverse<usize>, &'a str),
    Any,
}

impl<'a> HostKey<'a> {
    fn of(host: Option<&'a HostMatch>) -> Self {
        let Some(host) = host else {
            return Self::Any;
        };
        let text = host_text(host);
        match host {
            HostMatch::Exact(_) => Self::Exact(text),
            HostMatch::Suffix(_) => Self::Suffix(Reverse(text.len()), text),
        }
    }

    /// The text that the table finds it by.
    pub(super) const fn text(self) -> Option<&'a str> {
        match self {
            Self::Exact(text) | Self::Suffix(_, text) => Some(text),
            Self::Any => None,
        }
    }
}

/// The text of a host, without a dot at its end.
pub(super) fn host_text(host: &HostMatch) -> &str {
    let (HostMatch::Exact(text) | HostMatch::Suffix(text)) = host;
    text.strip_suffix('.').unwrap_or(text)
}

/// The path of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathKey<'a> {
    Segments(Vec<Token<'a>>),
    Regex(Reverse<usize>, &'a str),
}

impl<'a> PathKey<'a> {
    fn of(given: &'a PathMatch, path: &'a PathTest) -> Self {
        let PathTest::Segments(segments) = path else {
            let (PathMatch::Exact(text)
            | PathMatch::Prefix(text)
            | PathMatch::Template(text)
            | PathMatch::Regex(text)) = given;
            return Self::Regex(Reverse(text.len()), text);
        };
        let end = match segments.end {
            End::Whole => Token::End,
            End::Rest(_) => Token::Rest,
            End::Prefix => Token::Prefix,
        };
        let tokens = segments.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => Token::Literal(text),
            Piece::Capture(_) => Token::Capture,
        });
        Self::Segments(tokens.chain([end]).collect())
    }
}
