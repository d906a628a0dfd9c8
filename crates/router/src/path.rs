//! Conditions over paths, taken apart into segments.
//!
//! Texts are brought into the same canonical form that requests are in, so that a
//! route for `/a%62` serves `/ab`. A path is the list of texts between its slashes;
//! `/` is one empty segment.

use std::sync::Arc;

use portolan_model::{http::PathBuffer, route::PathMatch};
use regex::bytes::Regex;

use crate::{find::Captures, text::compile_regex};

/// Longest path of a condition, in bytes.
pub(crate) const PATH_BYTES_MAX: usize = 8 << 10;
/// Most segments of a path of a condition.
pub(crate) const SEGMENTS_MAX: usize = 256;

/// A condition over a path, ready to be put into the tree.
#[derive(Debug)]
pub(crate) enum PathTest {
    Segments(Segments),
    Regex(Regex),
}

/// Segments from the root on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) end: End,
}

/// One segment of a condition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(Box<str>),
    /// Any one segment that is not empty, by this name.
    Capture(Arc<str>),
}

/// What may follow the segments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing.
    Whole,
    /// A slash and then anything, by this name.
    Rest(Arc<str>),
    /// Nothing, or a slash and then anything.
    Prefix,
}

impl PathTest {
    /// Compiles a condition, or says in one sentence why it can't be.
    pub(crate) fn compile(path: &PathMatch) -> Result<Self, String> {
        Ok(Self::Segments(match path {
            PathMatch::Exact(text) => Segments {
                pieces: literals(&canonical(text)?),
                end: End::Whole,
            },
            PathMatch::Prefix(text) => Segments {
                pieces: literals(canonical(text)?.trim_end_matches('/')),
                end: End::Prefix,
            },
            PathMatch::Template(text) => template(&canonical(text)?)?,
            PathMatch::Regex(pattern) => return Ok(Self::Regex(compile_regex(pattern)?)),
        }))
    }
}

impl PathTest {
    /// Whether a search needs it once the table has found its place.
    pub(crate) fn is_kept(&self) -> bool {
        match self {
            Self::Segments(segments) => segments.has_captures(),
            Self::Regex(_) => true,
        }
    }
}

fn canonical(text: &str) -> Result<String, String> {
    if text.len() > PATH_BYTES_MAX {
        return Err(format!(
            "the path of {} bytes is over the limit of {PATH_BYTES_MAX}",
            text.len()
        ));
    }
    let mut buffer = PathBuffer::default();
    if !text.starts_with('/') {
        return Err(format!("the path `{text}` does not begin with a slash"));
    }
    buffer
        .set(text.as_bytes())
        .map_err(|bad| format!("`{text}` is no path: {bad}"))?;
    if buffer.query().is_some() {
        return Err(format!(
            "the path `{text}` holds a query; match it under `query`"
        ));
    }
    let segments = buffer.path().split('/').count() - 1;
    if segments > SEGMENTS_MAX {
        return Err(format!(
            "the path of {segments} segments is over the limit of {SEGMENTS_MAX}"
        ));
    }
    Ok(buffer.path().to_owned())
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
}

fn literals(path: &str) -> Vec<Piece> {
    segments(path)
        .map(|segment| Piece::Literal(segment.into()))
        .collect()
}

fn template(path: &str) -> Result<Segments, String> {
    let mut pieces = Vec::new();
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut end = End::Whole;
    for segment in segments(path) {
        if end != End::Whole {
            return Err("only the last segment of a template can capture the rest".to_owned());
        }
        let Some(inner) = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
        else {
            if segment.contains(['{', '}']) {
                return Err(format!(
                    "`{segment}` captures a part of a segment; a capture takes a whole one"
                ));
            }
            pieces.push(Piece::Literal(segment.into()));
            continue;
        };
        let (name, is_rest) = match inner.strip_prefix('*') {
            Some(name) => (name, true),
            None => (inner, false),
        };
        let name = capture_name(name)?;
        if names.contains(&name) {
            return Err(format!("the template captures `{name}` twice"));
        }
        names.push(Arc::clone(&name));
        if is_rest {
            end = End::Rest(name);
        } else {
            pieces.push(Piece::Capture(name));
        }
    }
    Ok(Segments { pieces, end })
}

fn capture_name(name: &str) -> Result<Arc<str>, String> {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.starts_with(starts) && name.chars().all(goes_on) {
        return Ok(name.into());
    }
    Err(format!(
        "`{name}` can't name a capture; use letters, digits and `_`, and begin with no digit"
    ))
}

impl Segments {
    /// Whether a path meets the condition: the plain way, for explanations.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let mut given = segments(path);
        let pieces_hold = self.pieces.iter().all(|piece| match (piece, given.next()) {
            (Piece::Literal(text), Some(segment)) => **text == *segment,
            (Piece::Capture(_), Some(segment)) => !segment.is_empty(),
            (Piece::Literal(_) | Piece::Capture(_), None) => false,
        });
        pieces_hold
            && match self.end {
                End::Whole => given.next().is_none(),
                End::Rest(_) => given.next().is_some(),
                End::Prefix => true,
            }
    }

    /// Whether there is something to capture.
    fn has_captures(&self) -> bool {
        let captures = |piece: &Piece| matches!(piece, Piece::Capture(_));
        matches!(self.end, End::Rest(_)) || self.pieces.iter().any(captures)
    }

    /// The captures of a path that meets the condition.
    pub(crate) fn captures(&self, path: &str) -> Captures {
        let mut captures = Captures::new();
        let mut rest = path.strip_prefix('/');
        for piece in &self.pieces {
            let Some(text) = rest else { break };
            let (segment, after) = match text.split_once('/') {
                Some((segment, after)) => (segment, Some(after)),
                None => (text, None),
            };
            rest = after;
            if let Piece::Capture(name) = piece {
                captures.push((Arc::clone(name), segment.into()));
            }
        }
        if let (End::Rest(name), Some(text)) = (&self.end, rest) {
            captures.push((Arc::clone(name), text.into()));
        }
        captures
    }
}

/// The named groups of a regular expression in a path that it matches.
pub(crate) fn regex_captures(regex: &Regex, path: &str) -> Captures {
    let mut captures = Captures::new();
    if regex.captures_len() == 1 {
        return captures;
    }
    let Some(found) = regex.captures(path.as_bytes()) else {
        return captures;
    };
    for name in regex.capture_names().flatten() {
        let part = found.name(name).and_then(|part| path.get(part.range()));
        if let Some(part) = part {
            captures.push((name.into(), part.into()));
        }
    }
    captures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(path: &PathMatch) -> Segments {
        match PathTest::compile(path).unwrap() {
            PathTest::Segments(segments) => segments,
            PathTest::Regex(_) => panic!("not segments"),
        }
    }

    #[test]
    fn paths_hold_by_whole_segments() {
        let exact = |text: &str| PathMatch::Exact(text.to_owned());
        let prefix = |text: &str| PathMatch::Prefix(text.to_owned());
        let template = |text: &str| PathMatch::Template(text.to_owned());
        for (path, good, bad) in [
            (exact("/"), &["/"][..], &["//", "/a"][..]),
            (exact("/a%62"), &["/ab"], &["/ab/", "/a"]),
            (prefix("/"), &["/", "/a", "//"], &[]),
            (prefix("/a/"), &["/a", "/a/", "/a/b"], &["/ab", "/"]),
            (prefix("/a/b"), &["/a/b", "/a/b/c"], &["/a", "/a/bc"]),
            (
                template("/u/{id}"),
                &["/u/7"],
                &["/u/", "/u", "/u/7/", "/u/7/x"],
            ),
            (
                template("/u/{id}/{*rest}"),
                &["/u/7/", "/u/7/a/b"],
                &["/u/7", "/u//a"],
            ),
            (template("/{*all}"), &["/", "/a/b"], &[]),
        ] {
            let segments = compile(&path);
            for text in good {
                assert!(segments.holds(text), "{path:?} serves {text}");
            }
            for text in bad {
                assert!(!segments.holds(text), "{path:?} does not serve {text}");
            }
        }
    }

    #[test]
    fn template_captures_by_name() {
        let segments = compile(&PathMatch::Template("/u/{id}/f/{*rest}".to_owned()));
        let captures = segments.captures("/u/7%2F8/f/a/b");
        let pairs: Vec<_> = captures.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(pairs, [("id", "7%2F8"), ("rest", "a/b")]);
    }

    #[test]
    fn bad_paths_are_refused_with_a_reason() {
        let template = |text: &str| PathMatch::Template(text.to_owned());
        for (path, reason) in [
            (PathMatch::Exact("a".into()), "does not begin with a slash"),
            (PathMatch::Exact("*".into()), "does not begin with a slash"),
            (PathMatch::Exact("/a?b".into()), "holds a query"),
            (PathMatch::Prefix("/../a".into()), "climbs above its root"),
            (template("/{id}.json"), "captures a part of a segment"),
            (template("/{*rest}/a"), "only the last segment"),
            (template("/{a}/{a}"), "captures `a` twice"),
            (template("/{1}"), "can't name a capture"),
            (template("/{}"), "can't name a capture"),
            (PathMatch::Regex("(".into()), "can't be read"),
        ] {
            let message = PathTest::compile(&path).unwrap_err();
            assert!(message.contains(reason), "{path:?}: {message}");
        }
    }

    #[test]
    fn long_paths_are_refused_at_one_past_the_limit() {
        let deep = |segments: usize| PathMatch::Exact("/a".repeat(segments));
        assert!(PathTest::compile(&deep(SEGMENTS_MAX)).is_ok());
        assert!(PathTest::compile(&deep(SEGMENTS_MAX + 1)).is_err());
        let long = |bytes: usize| PathMatch::Exact(format!("/{}", "a".repeat(bytes - 1)));
        assert!(PathTest::compile(&long(PATH_BYTES_MAX)).is_ok());
        assert!(PathTest::compile(&long(PATH_BYTES_MAX + 1)).is_err());
    }
}
