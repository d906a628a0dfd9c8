//! From the text of a program to its words.

use super::BadProgram;

/// A word of a program.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or keyword.
    Name(String),
    /// A whole number without its sign.
    Int(u64),
    /// Any other number, without its sign.
    Double(f64),
    /// A text in quotes, without them.
    Text(String),
    /// An operator or bracket.
    Sign(&'static str),
}

/// A word and its column.
pub(super) type Placed = (usize, Token);

/// Longer ones first.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];

pub(super) fn bad(column: usize, message: impl Into<String>) -> BadProgram {
    let message = message.into();
    BadProgram { column, message }
}

/// The words, and the column after the last.
pub(super) fn lex(text: &str) -> Result<(Vec<Placed>, usize), BadProgram> {
    let mut tokens = Vec::new();
    let mut column = 1_usize;
    let mut rest = text;
    loop {
        let tail = skip_blanks(rest);
        column = column.saturating_add(characters(rest, tail));
        if tail.is_empty() {
            return Ok((tokens, column));
        }
        let (token, after) = token(tail, column)?;
        tokens.push((column, token));
        column = column.saturating_add(characters(tail, after));
        rest = after;
    }
}

/// How many characters lie between a text and its end.
fn characters(text: &str, tail: &str) -> usize {
    let length = text.len().saturating_sub(tail.len());
    text.get(..length).unwrap_or_default().chars().count()
}

fn skip_blanks(mut text: &str) -> &str {
    loop {
        text = text.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']);
        let Some(comment) = text.strip_prefix("//") else {
            return text;
        };
        text = comment.find('\n').map_or("", |end| after(comment, end));
    }
}

fn token(rest: &str, column: usize) -> Result<(Token, &str), BadProgram> {
    let mut characters = rest.chars();
    let first = characters.next().unwrap_or_default();
    let is_quote = |c: Option<char>| matches!(c, Some('"' | '\''));
    match first {
        '"' | '\'' => quoted(rest, column, Quoting::Escaped),
        'r' | 'R' if is_quote(characters.next()) => quoted(after(rest, 1), column, Quoting::Raw),
        'b' | 'B' if is_quote(characters.next()) => Err(bad(column, "there are no bytes here")),
        'a'..='z' | 'A'..='Z' | '_' => {
            let (name, tail) = split(rest, |c| c.is_ascii_alphanumeric() || c == '_');
            Ok((Token::Name(name.to_owned()), tail))
        }
        '0'..='9' => number(rest, column),
        _ => {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| bad(column, format!("{first:?} begins no word")))?;
            Ok((Token::Sign(sign), after(rest, sign.len())))
        }
    }
}

fn after(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap_or_default()
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c: char| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn digits(text: &str) -> (&str, &str) {
    split(text, |c| c.is_ascii_digit())
}

fn number(rest: &str, column: usize) -> Result<(Token, &str), BadProgram> {
    let (token, tail) = match rest.strip_prefix("0x").or(rest.strip_prefix("0X")) {
        Some(hex) => {
            let (hex, tail) = split(hex, |c| c.is_ascii_hexdigit());
            (u64::from_str_radix(hex, 16).ok().map(Token::Int), tail)
        }
        None => decimal(rest),
    };
    if tail.starts_with(['u', 'U']) {
        return Err(bad(column, "there are no unsigned integers here"));
    }
    let token = token.ok_or_else(|| bad(column, "not a number that fits"))?;
    if tail.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        return Err(bad(column, "not a number"));
    }
    Ok((token, tail))
}

fn decimal(rest: &str) -> (Option<Token>, &str) {
    let (_, mut tail) = digits(rest);
    let mut is_whole = true;
    if let Some(fraction) = tail.strip_prefix('.')
        && fraction.starts_with(|c: char| c.is_ascii_digit())
    {
        is_whole = false;
        tail = digits(fraction).1;
    }
    if let Some(exponent) = tail.strip_prefix(['e', 'E']) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            is_whole = false;
            tail = digits(unsigned).1;
        }
    }
    let length = rest.len().saturating_sub(tail.len());
    let text = rest.get(..length).unwrap_or_default();
    let token = if is_whole {
        text.parse().ok().map(Token::Int)
    } else {
        let double = text.parse().ok().filter(|double: &f64| double.is_finite());
        double.map(Token::Double)
    };
    (token, tail)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    Escaped,
    Raw,
}

fn quoted(rest: &str, column: usize, quoting: Quoting) -> Result<(Token, &str), BadProgram> {
    let quote = rest.chars().next().unwrap_or_default();
    let triple: String = [quote; 3].iter().collect();
    let (end, is_long) = if rest.starts_with(&triple) {
        (triple.as_str(), true)
    } else {
        (triple.get(..1).unwrap_or_default(), false)
    };
    let mut text = String::new();
    let mut left = after(rest, end.len());
    loop {
        if let Some(tail) = left.strip_prefix(end) {
            return Ok((Token::Text(text), tail));
        }
        let next = left.chars().next();
        let next = next.filter(|next| is_long || !matches!(next, '\n' | '\r'));
        let next = next.ok_or_else(|| bad(column, format!("the closing {end} is missing")))?;
        if next == '\\' && quoting == Quoting::Escaped {
            let (character, tail) = escaped(after(left, 1)).ok_or_else(|| {
                let place = column.saturating_add(characters(rest, left));
                bad(place, "not an escape of a text in quotes")
            })?;
            text.push(character);
            left = tail;
        } else {
            text.push(next);
            left = after(left, next.len_utf8());
        }
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
        '\\' | '"' | '\'' | '`' | '?' => letter,
        'x' | 'X' => return coded(tail, 2, 16),
        'u' => return coded(tail, 4, 16),
        'U' => return coded(tail, 8, 16),
        '0'..='3' => return coded(rest, 3, 8),
        _ => return None,
    };
    Some((simple, tail))
}

fn coded(tail: &str, digits: usize, radix: u32) -> Option<(char, &str)> {
    let (code, tail) = tail.split_at_checked(digits)?;
    if !code.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(code, radix).ok()?;
    Some((char::from_u32(code)?, tail))
}
