//! Reads Rust source just well enough to count and search it.
//!
//! [`mask`] blanks out what is inside comments, strings and characters and keeps
//! every other byte in its place, so that braces and words that remain are code.

/// The source with the insides of comments and literals replaced by blanks.
/// Quotes and line ends stay where they are.
pub(crate) fn mask(source: &str) -> String {
    let mut masked = source.as_bytes().to_vec();
    let mut at = 0;
    while at < masked.len() {
        let end = token_end(source.as_bytes(), at);
        if let Token { end, hidden: true } = end {
            blank(&mut masked[at..end]);
        }
        at = end.end;
    }
    String::from_utf8(masked).unwrap_or_default()
}

struct Token {
    end: usize,
    hidden: bool,
}

/// The end of what begins at `at`: a comment, a literal, or one byte of code.
fn token_end(source: &[u8], at: usize) -> Token {
    let rest = &source[at..];
    let hidden = |length: usize| Token {
        end: (at + length).min(source.len()),
        hidden: true,
    };
    if rest.starts_with(b"//") {
        return hidden(find(rest, b"\n").unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return hidden(block_comment(rest));
    }
    if rest[0] == b'"' {
        return hidden(string(rest));
    }
    let in_word = at > 0 && is_word(source[at - 1]);
    if !in_word && let Some(length) = raw_string(rest) {
        return hidden(length);
    }
    if rest[0] == b'\''
        && let Some(length) = character(rest)
    {
        return hidden(length);
    }
    Token {
        end: at + 1,
        hidden: false,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// Length of `r"…"`, `r#"…"#`, `br"…"` and so on, if that is what begins here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = usize::from(rest[0] == b'b');
    let after = rest.get(prefix..)?.strip_prefix(b"r")?;
    let hashes = after.iter().take_while(|byte| **byte == b'#').count();
    after.get(hashes).filter(|byte| **byte == b'"')?;
    let open = prefix + 1 + hashes + 1;
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    Some(open + find(&rest[open..], &close)? + close.len())
}

/// Length of a character literal; `None` for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let after_escape = rest.get(3..)?;
        return Some(3 + find(after_escape, b"'")? + 1);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)]);
    let valid = match &text {
        Ok(text) => text,
        // A character was cut at the window's end; what is before it is whole.
        Err(error) => std::str::from_utf8(&rest[1..=error.valid_up_to()]).ok()?,
    };
    let width = valid.chars().next()?.len_utf8();
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

fn blank(token: &mut [u8]) {
    let quoted = token.len() > 1 && token.first() == Some(&b'"');
    let last = token.len() - 1;
    for (place, byte) in token.iter_mut().enumerate() {
        let is_quote = quoted && *byte == b'"' && (place == 0 || place == last);
        if *byte != b'\n' && !is_quote {
            *byte = b' ';
        }
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where each occurrence of `word` as a whole word begins.
pub(crate) fn words<'a>(masked: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = masked.as_bytes();
    masked
        .match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let before = at
                .checked_sub(1)
                .is_some_and(|before| is_word(bytes[before]));
            let after = bytes
                .get(at + word.len())
                .is_some_and(|byte| is_word(*byte));
            !before && !after
        })
}

/// The number of the line that holds the byte `at`, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The byte after the bracket that closes the one at `open`; the end if none does.
pub(crate) fn closing(masked: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in masked.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    masked.len()
}

/// The masked text without modules of tests.
pub(crate) fn without_tests(masked: &str) -> String {
    let mut kept = String::with_capacity(masked.len());
    let mut rest = masked;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let stop = rest[at..]
            .find([';', '{'])
            .map_or(rest.len(), |stop| at + stop);
        let end = if rest.as_bytes().get(stop) == Some(&b'{') {
            closing(rest, stop)
        } else {
            (stop + 1).min(rest.len())
        };
        rest = &rest[end..];
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_keep_code_and_places() {
        for (source, masked) in [
            ("a // b {\nc", "a       \nc"),
            ("/* { /* } */ */x", "               x"),
            ("f(\"{ \\\" }\")", "f(\"      \")"),
            ("r#\"a\"b\"# + 1", "         + 1"),
            ("br\"x\";var\"y\"", "     ;var\" \""),
            ("'{' 'a '\\'' '\\u{7b}' 'ü'", "    'a                  "),
        ] {
            let got = mask(source);
            assert_eq!(got.len(), source.len(), "{source}");
            assert_eq!(got.trim_end(), masked.trim_end(), "{source}");
        }
    }

    #[test]
    fn words_are_whole() {
        let found: Vec<_> = words("allow disallow allow_x (allow)", "allow").collect();
        assert_eq!(found, [0, 24]);
    }

    #[test]
    fn tests_are_left_out() {
        let source =
            "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { } }\nfn c() {}\n#[cfg(test)]\nmod t;\n";
        let kept = without_tests(source);
        assert!(kept.contains("fn a") && kept.contains("fn c"), "{kept}");
        assert!(!kept.contains("fn b") && !kept.contains("mod t"), "{kept}");
    }

    #[test]
    fn brackets_close_where_they_should() {
        assert_eq!(closing("f(a[1], {b}) c", 1), 12);
        assert_eq!(closing("f(a", 1), 3);
    }
}
