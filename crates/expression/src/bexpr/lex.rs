//! From the text of a filter to its words.

use super::FilterError;

/// A word of a filter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or keyword.
    Word(String),
    /// A number, as written.
    Number(String),
    /// A text in quotes, without them.
    Text(String),
    Equal,
    NotEqual,
    /// Any single sign of `.,[](){}`.
    Sign(char),
}

/// A word and where it begins.
pub(super) type Placed = (usize, Token);

pub(super) fn lex(text: &str) -> Result<Vec<Placed>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let at = text.len().saturating_sub(rest.len());
        let Some(first) = rest.chars().next() else {
            return Ok(tokens);
        };
        let (token, tail) = match first {
            '"' => quoted(rest, at)?,
            '`' => raw(rest, at)?,
            'a'..='z' | 'A'..='Z' | '_' => word(rest),
            '0'..='9' | '-' => number(rest, at)?,
            '.' | ',' | '[' | ']' | '(' | ')' | '{' | '}' => {
                (Token::Sign(first), after(rest, first.len_utf8()))
            }
            '=' if rest.starts_with("==") => (Token::Equal, after(rest, 2)),
            '!' if rest.starts_with("!=") => (Token::NotEqual, after(rest, 2)),
            other => return Err(syntax(at, format!("{other:?} begins no word"))),
        };
        tokens.push((at, token));
        rest = tail;
    }
}

pub(super) fn syntax(at: usize, message: impl Into<String>) -> FilterError {
    FilterError::Syntax {
        at,
        message: message.into(),
    }
}

fn after(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap_or_default()
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c: char| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn word(rest: &str) -> (Token, &str) {
    // A bare value may have slashes in it, as in `a/b`.
    let (word, tail) = split(rest, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '/')
    });
    (Token::Word(word.to_owned()), tail)
}

fn number(rest: &str, at: usize) -> Result<(Token, &str), FilterError> {
    let unsigned = rest.strip_prefix('-').unwrap_or(rest);
    let (whole, mut tail) = split(unsigned, |c| c.is_ascii_digit());
    let is_padded = whole.len() > 1 && whole.starts_with('0');
    if let Some(fraction) = tail.strip_prefix('.') {
        let (digits, after) = split(fraction, |c| c.is_ascii_digit());
        if digits.is_empty() {
            return Err(syntax(at, "a number has digits after its point"));
        }
        tail = after;
    }
    let goes_on = tail.starts_with(|c: char| c.is_ascii_alphanumeric() || "._-".contains(c));
    if whole.is_empty() || is_padded || goes_on {
        return Err(syntax(at, "not a number; texts that begin so need quotes"));
    }
    let length = rest.len().saturating_sub(tail.len());
    let (number, tail) = rest.split_at(length);
    Ok((Token::Number(number.to_owned()), tail))
}

/// A text in backquotes stands for itself.
fn raw(rest: &str, at: usize) -> Result<(Token, &str), FilterError> {
    let inside = after(rest, 1);
    let (text, tail) = inside
        .split_once('`')
        .ok_or_else(|| syntax(at, "the closing ` is missing"))?;
    Ok((Token::Text(text.to_owned()), tail))
}

fn quoted(rest: &str, at: usize) -> Result<(Token, &str), FilterError> {
    let mut text = String::new();
    let mut left = after(rest, 1);
    loop {
        let (plain, tail) = split(left, |c| !matches!(c, '"' | '\\' | '\n'));
        text.push_str(plain);
        if let Some(tail) = tail.strip_prefix('"') {
            return Ok((Token::Text(text), tail));
        }
        let Some(escape) = tail.strip_prefix('\\') else {
            return Err(syntax(at, "the closing \" is missing"));
        };
        let (character, tail) = escaped(escape).ok_or_else(|| {
            let place = at.saturating_add(rest.len().saturating_sub(tail.len()));
            syntax(place, "not an escape of a text in quotes")
        })?;
        text.push(character);
        left = tail;
    }
}

/// The character that stands after a backslash, and what follows.
fn escaped(rest: &str) -> Option<(char, &str)> {
    let letter = rest.chars().next()?;
    let tail = after(rest, letter.len_utf8());
    let simple = match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '"' | '\'' => letter,
        'x' => return coded(tail, 2),
        'u' => return coded(tail, 4),
        'U' => return coded(tail, 8),
        _ => return None,
    };
    Some((simple, tail))
}

fn coded(tail: &str, digits: usize) -> Option<(char, &str)> {
    let (code, tail) = tail.split_at_checked(digits)?;
    if !code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let code = u32::from_str_radix(code, 16).ok()?;
    Some((char::from_u32(code)?, tail))
}
